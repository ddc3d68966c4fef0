//! A reader beside a writer, in every order that the memory model allows: no torn event.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use loom::{model::Builder, thread};
use maize_hal::Nanos;
use maize_trace::{Event, EventKind, Lost, Reader, Tracer};
use maize_window::{LoomWindow, TRACE_HEADER_WORDS, TRACE_RECORD_WORDS};

fn event(number: u64) -> Event {
    Event { at: Nanos(number), kind: EventKind::Mark, thread: 7, words: [number, number] }
}

#[test]
fn no_event_is_torn() {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let window = LoomWindow::new(TRACE_HEADER_WORDS + 2 * TRACE_RECORD_WORDS);
        let mut reader = Reader::new(window.clone()).unwrap();
        reader.want([EventKind::Mark]);
        let mut tracer = Tracer::new(window).unwrap();
        tracer.trace(event(0));
        let writer = thread::spawn(move || {
            tracer.trace(event(1));
            tracer.trace(event(2));
        });
        let mut next = 0;
        let take = |next: &mut u64, found: Event, lost: u64| {
            assert!(found.at.0 >= *next && found.at.0 <= *next + lost + 2);
            assert_eq!(found, event(found.at.0));
            *next = found.at.0 + 1;
        };
        let Lost(_) = reader.read(|found| take(&mut next, found, 0));
        writer.join().unwrap();
        let Lost(_) = reader.read(|found| take(&mut next, found, 2));
        // The last event is never lost: nothing comes to replace it.
        assert_eq!(next, 3);
    });
}
