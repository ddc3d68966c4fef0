//! The ring of events: one writer that never waits, any number of readers that never disturb it.
//!
//! ```text
//! header line   word 0  events written so far (by the instance)
//!               word 1  a mask of the kinds that are wanted, by number (by who reads)
//!               word 2  offset of this instance's clock, ns, two's complement (by the instance)
//! records       event n is at n modulo the capacity
//! ```
//!
//! The writer counts an event after it has written it, and starts to write one only after the
//! count before it is visible. A reader copies records first and looks at the count again
//! afterwards: what could have been replaced meanwhile it throws away.

use maize_window::{Span, TRACE_HEADER_WORDS, TRACE_RECORD_WORDS, Window};

use crate::{Event, EventKind, event::WORDS};

const COUNT: usize = 0;
const MASK: usize = 1;
const CLOCK_OFFSET: usize = 2;

/// The records of a trace; `None` if there is no room for a power of two of them.
fn records_of<W: Window>(trace: &W) -> Option<(W, u64)> {
    let words = trace.words().checked_sub(TRACE_HEADER_WORDS)?;
    let capacity = words / TRACE_RECORD_WORDS;
    if !capacity.is_power_of_two() || capacity < 2 {
        return None;
    }
    let span = Span { start: TRACE_HEADER_WORDS, words: capacity * TRACE_RECORD_WORDS };
    Some((trace.part(span)?, capacity as u64))
}

#[expect(clippy::cast_possible_truncation, reason = "reduced below the capacity")]
fn word_of(index: u64, capacity: u64) -> usize {
    (index & (capacity - 1)) as usize * TRACE_RECORD_WORDS
}

/// The writing end: an instance's own trace.
pub struct Tracer<W> {
    header: W,
    records: W,
    capacity: u64,
    count: u64,
}

impl<W: Window> Tracer<W> {
    /// A tracer over an instance's trace ([`maize_window::Layout::trace`]). It goes on where a
    /// predecessor has stopped. `None` if the memory cannot be a trace.
    #[must_use]
    pub fn new(trace: W) -> Option<Tracer<W>> {
        let (records, capacity) = records_of(&trace)?;
        let count = trace.load_acquire(COUNT);
        Some(Tracer { header: trace, records, capacity, count })
    }

    /// Writes an event, if its kind is wanted.
    #[inline]
    pub fn trace(&mut self, event: Event) {
        if self.header.load(MASK) & 1 << event.kind as u16 != 0 {
            self.write(event);
        }
    }

    #[inline]
    fn write(&mut self, event: Event) {
        // Keeps the count before in front of the record: see the module's documentation.
        self.records.fence_release();
        let words = event.to_words(self.count);
        self.records.copy_in(word_of(self.count, self.capacity), &words);
        self.count = self.count.wrapping_add(1);
        self.header.store_release(COUNT, self.count);
    }

    /// Publishes how far this instance's clock is ahead of instance 0's, for whoever puts the
    /// traces side by side.
    pub fn set_clock_offset(&self, nanoseconds: i64) {
        self.header.store(CLOCK_OFFSET, nanoseconds.cast_unsigned());
    }
}

/// Events that were replaced before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost(pub u64);

/// The reading end: somebody else's trace.
pub struct Reader<W> {
    header: W,
    records: W,
    capacity: u64,
    next: u64,
}

impl<W: Window> Reader<W> {
    /// A reader that starts with the oldest event that is still there. `None` if the memory
    /// cannot be a trace.
    #[must_use]
    pub fn new(trace: W) -> Option<Reader<W>> {
        Reader::at(trace, 0)
    }

    /// A reader that goes on where another has stopped, at its [`Reader::position`].
    #[must_use]
    pub fn at(trace: W, position: u64) -> Option<Reader<W>> {
        let (records, capacity) = records_of(&trace)?;
        Some(Reader { header: trace, records, capacity, next: position })
    }

    /// The number of the event that comes next.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.next
    }

    /// Says which kinds of events are wanted; for one reader of each trace only.
    pub fn want(&self, kinds: impl IntoIterator<Item = EventKind>) {
        let mask = kinds.into_iter().fold(0, |mask, kind| mask | 1 << kind as u16);
        self.header.store_release(MASK, mask);
    }

    /// How far the instance says that its clock is ahead of instance 0's, in nanoseconds.
    #[must_use]
    pub fn clock_offset(&self) -> i64 {
        self.header.load(CLOCK_OFFSET).cast_signed()
    }

    /// Hands the events that have come since the last call to `take`, oldest first. Returns how
    /// many were lost in between. What the instance writes meanwhile is left for the next call.
    ///
    /// Records that are no events (a hostile or dying instance) count as lost.
    pub fn read(&mut self, mut take: impl FnMut(Event)) -> Lost {
        let end = self.header.load_acquire(COUNT);
        if end < self.next || end - self.next > 1 << 48 {
            // Not a count that only grew: a new start, or nonsense. Begin again from there.
            self.next = end.saturating_sub(self.capacity);
        }
        let mut lost = 0;
        let oldest = end.saturating_sub(self.capacity);
        if self.next < oldest {
            lost += oldest - self.next;
            self.next = oldest;
        }
        while self.next < end {
            let mut words = [0; WORDS];
            self.records.copy_out(word_of(self.next, self.capacity), &mut words);
            // Whatever was counted before the record was replaced is seen here.
            self.records.fence_acquire();
            let now = self.header.load(COUNT);
            // Event `now` may be half written, in the place of `now - capacity`.
            let safe = now.wrapping_sub(self.next) < self.capacity;
            match Event::from_words(words, self.next) {
                Some(event) if safe => take(event),
                _ => lost += 1,
            }
            self.next += 1;
        }
        Lost(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;
    use maize_hal::Nanos;
    use maize_window::Mapping;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    fn memory(records: usize) -> Vec<AtomicU64> {
        (0..TRACE_HEADER_WORDS + records * TRACE_RECORD_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn event(number: u64) -> Event {
        Event { at: Nanos(number), kind: EventKind::Mark, thread: 3, words: [number, !number] }
    }

    #[test]
    fn nothing_is_written_unless_wanted() {
        let memory = memory(8);
        let mut tracer = Tracer::new(Mapping::from_words(&memory)).unwrap();
        let mut reader = Reader::new(Mapping::from_words(&memory)).unwrap();
        tracer.trace(event(1));
        reader.want([EventKind::Send]);
        tracer.trace(event(2));
        reader.want([EventKind::Send, EventKind::Mark]);
        tracer.trace(event(3));
        let mut seen = vec![];
        assert_eq!(reader.read(|event| seen.push(event)), Lost(0));
        assert_eq!(seen, [event(3)]);
        tracer.trace(event(4));
        let mut successor = Reader::at(Mapping::from_words(&memory), reader.position()).unwrap();
        assert_eq!(successor.read(|event| seen.push(event)), Lost(0));
        assert_eq!(seen, [event(3), event(4)]);
        tracer.set_clock_offset(-5);
        assert_eq!(reader.clock_offset(), -5);
    }

    #[test]
    fn odd_memory_is_refused() {
        assert!(Tracer::new(Mapping::from_words(&memory(3))).is_none());
        assert!(Reader::new(Mapping::from_words(&memory(8)[..4])).is_none());
    }

    proptest! {
        /// Whatever the bursts, events arrive in order, and every one is either seen or counted
        /// as lost.
        #[test]
        fn events_are_seen_or_lost(bits in 1u32..6, bursts in prop::collection::vec(0u64..80, 1..20)) {
            let memory = memory(1 << bits);
            let mut tracer = Tracer::new(Mapping::from_words(&memory)).unwrap();
            let mut reader = Reader::new(Mapping::from_words(&memory)).unwrap();
            reader.want(EventKind::ALL);
            let (mut written, mut expected) = (0, 0);
            for burst in bursts {
                for _ in 0..burst {
                    tracer.trace(event(written));
                    written += 1;
                }
                let mut seen = vec![];
                let Lost(lost) = reader.read(|event| seen.push(event));
                prop_assert!(lost == 0 || burst >= 1 << bits);
                expected += lost;
                for found in seen {
                    prop_assert_eq!(found, event(expected));
                    expected += 1;
                }
                prop_assert_eq!(expected, written);
            }
        }

        #[test]
        fn scribbling_is_survived(words in prop::collection::vec((0usize..40, any::<u64>()), 0..40)) {
            let memory = memory(8);
            let window = Mapping::from_words(&memory);
            let mut tracer = Tracer::new(window).unwrap();
            let mut reader = Reader::new(window).unwrap();
            reader.want(EventKind::ALL);
            for (word, value) in words {
                tracer.trace(event(value));
                window.store(word, value);
                let mut seen = 0;
                reader.read(|_| seen += 1);
                prop_assert!(seen <= 8);
            }
        }
    }
}
