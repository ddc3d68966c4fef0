//! Every order of accesses that the memory model allows, by loom: what aarch64 may do counts,
//! not what x86 happens to do.
//!
//! Each test also runs on a window that forgets one ordering, to show that the model would notice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by it")]

mod ring_memory;

use loom::{model::Builder, thread};
use maize_ring::{Broken, Consumer, Meanwhile, Producer, Refused};
use maize_window::{LoomWindow, Span, Window};
use ring_memory::{Line, RingMemory, send, words_for};

const SLOTS: usize = 4;

/// An ordering that a window may forget.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Forgets {
    Nothing,
    Release,
    Acquire,
    Fence,
}

#[derive(Clone)]
struct Forgetful(LoomWindow, Forgets);

impl Window for Forgetful {
    fn words(&self) -> usize {
        self.0.words()
    }
    fn part(&self, span: Span) -> Option<Forgetful> {
        self.0.part(span).map(|part| Forgetful(part, self.1))
    }
    fn load(&self, word: usize) -> u64 {
        self.0.load(word)
    }
    fn load_acquire(&self, word: usize) -> u64 {
        if self.1 == Forgets::Acquire { self.0.load(word) } else { self.0.load_acquire(word) }
    }
    fn store(&self, word: usize, value: u64) {
        self.0.store(word, value);
    }
    fn store_release(&self, word: usize, value: u64) {
        if self.1 == Forgets::Release {
            self.0.store(word, value);
        } else {
            self.0.store_release(word, value);
        }
    }
    fn fetch_add(&self, word: usize, value: u64) -> u64 {
        self.0.fetch_add(word, value)
    }
    fn compare_exchange(&self, word: usize, expected: u64, new: u64) -> Result<u64, u64> {
        self.0.compare_exchange(word, expected, new)
    }
    fn fence(&self) {
        if self.1 != Forgets::Fence {
            self.0.fence();
        }
    }
    fn fence_release(&self) {
        self.0.fence_release();
    }
    fn fence_acquire(&self) {
        if self.1 != Forgets::Acquire {
            self.0.fence_acquire();
        }
    }
}

type Ends = (RingMemory<Forgetful>, Producer<Forgetful>, Consumer<Forgetful>);

/// Runs `test` in every order, with at most `preemptions` forced switches.
fn check(forgets: Forgets, preemptions: usize, test: fn(Ends)) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(move || {
        let window = Forgetful(LoomWindow::new(words_for(SLOTS)), forgets);
        let ring = RingMemory::new(window, SLOTS / 2);
        let (producer, consumer) = ring.ends();
        test((ring, producer, consumer));
    });
}

/// Whether the model finds something wrong when the window forgets an ordering.
fn notices(forgets: Forgets, preemptions: usize, test: fn(Ends)) -> bool {
    std::panic::catch_unwind(|| check(forgets, preemptions, test)).is_err()
}

/// Receives the next frame, waiting for it.
fn receive(consumer: &mut Consumer<Forgetful>) -> (usize, u64) {
    loop {
        if let Some(front) = consumer.front().unwrap() {
            let mut last = [0];
            consumer.read(front.slots * 8 - 7, &mut last);
            assert_eq!(front.line[1], last[0]);
            consumer.pop();
            return (front.slots, last[0]);
        }
        thread::yield_now();
    }
}

/// A frame of `slots` slots whose first word and whose word at the start of its last slot are
/// `value`.
fn send_waiting(producer: &mut Producer<Forgetful>, slots: usize, value: u64) {
    let words = [value; 9];
    loop {
        match send(producer, &words[..(slots - 1) * 8 + 1], usize::MAX) {
            Ok(()) => return,
            Err(Refused::Full) => thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Frames of one and of two slots, across the ring's end, more than the ring can hold.
fn transfer((_, mut producer, mut consumer): Ends) {
    let frames = [(1, 11), (2, 22), (2, 33)];
    let sender = thread::spawn(move || {
        for (slots, value) in frames {
            send_waiting(&mut producer, slots, value);
        }
    });
    for frame in frames {
        assert_eq!(receive(&mut consumer), frame);
    }
    assert_eq!(consumer.front(), Ok(None));
    sender.join().unwrap();
}

#[test]
fn frames_arrive_whole_and_in_order() {
    check(Forgets::Nothing, 2, transfer);
    assert!(notices(Forgets::Release, 2, transfer));
    assert!(notices(Forgets::Acquire, 2, transfer));
}

/// Frames of one slot, taken by glances, sent as a link sends them: one clears the slot behind it,
/// `notify` the one behind that. The last is longer than a glance understands.
fn glances((_, mut producer, mut consumer): Ends) {
    let sender = thread::spawn(move || {
        let until = producer.room_until(usize::MAX).unwrap();
        assert!(producer.push_slot([5; 7], until));
        let _ = producer.notify();
        send(&mut producer, &[6; 7], usize::MAX).unwrap();
        send(&mut producer, &[9; 2], usize::MAX).unwrap();
        send_waiting(&mut producer, 2, 8);
    });
    for value in [5, 6, 9] {
        let glimpse = loop {
            match consumer.glimpse() {
                Some(glimpse) => break glimpse,
                None => thread::yield_now(),
            }
        };
        assert_eq!((glimpse.differs, &glimpse.words[..2]), (0, &[value; 2][..]));
        if value != 9 {
            assert_eq!((glimpse.words, consumer.rest_of_slot()), ([value; 4], [value; 3]));
        }
        consumer.pop_slot();
    }
    while consumer.glimpse().is_none() {
        thread::yield_now();
    }
    assert_ne!(consumer.glimpse().unwrap().differs, 0);
    assert_eq!(receive(&mut consumer), (2, 8));
    sender.join().unwrap();
}

#[test]
fn glances_see_whole_slots() {
    check(Forgets::Nothing, 2, glances);
    assert!(notices(Forgets::Release, 2, glances));
    assert!(notices(Forgets::Acquire, 2, glances));
}

/// The consumer may sleep only if the doorbell will ring.
fn sleep_for_frame((_, mut producer, mut consumer): Ends) {
    let sender = thread::spawn(move || {
        send_waiting(&mut producer, 1, 5);
        producer.notify()
    });
    let sleeps = consumer.arm(Meanwhile::Sleeps);
    let rang = sender.join().unwrap();
    assert!(rang || !sleeps, "asleep, and nobody rang");
    assert_eq!(receive(&mut consumer), (1, 5));
}

#[test]
fn no_wake_up_for_a_frame_is_lost() {
    check(Forgets::Nothing, 3, sleep_for_frame);
    assert!(notices(Forgets::Fence, 3, sleep_for_frame));
}

/// The producer may sleep only if the consumer, having consumed everything, will ring.
fn sleep_for_room((_, mut producer, mut consumer): Ends) {
    send_waiting(&mut producer, 2, 1);
    send_waiting(&mut producer, 1, 2);
    let receiver = thread::spawn(move || {
        assert_eq!(receive(&mut consumer), (2, 1));
        let early = consumer.notify();
        assert_eq!(receive(&mut consumer), (1, 2));
        early | consumer.notify()
    });
    let sleeps = producer.await_room(2, usize::MAX).unwrap();
    let rang = receiver.join().unwrap();
    assert!(rang || !sleeps, "asleep, and nobody rang");
    send_waiting(&mut producer, 2, 3);
}

#[test]
fn no_wake_up_for_room_is_lost() {
    check(Forgets::Nothing, 3, sleep_for_room);
    assert!(notices(Forgets::Fence, 3, sleep_for_room));
}

/// A producer leaves and empties its ring for another session while the consumer still looks: it
/// finds the frame, nothing, or a dead peer, but never corruption.
fn leave((ring, mut producer, mut consumer): Ends) {
    send_waiting(&mut producer, 1, 7);
    let own = ring.line(Line::ProducerAttachment);
    let leaver = thread::spawn(move || {
        own.store_release(0, 0);
        let mut session = ring_memory::session();
        session.local = session.local.next().unwrap();
        producer.start(session);
        send_waiting(&mut producer, 2, 8);
    });
    match consumer.front() {
        Ok(Some(front)) => {
            assert_eq!((front.slots, front.line[0] >> 32 & 0xffff), (1, 1));
            consumer.pop();
            assert!(matches!(consumer.front(), Ok(None) | Err(Broken::Dead)));
        }
        Ok(None) => panic!("an emptied ring is a dead peer's"),
        Err(Broken::Dead) => {}
        Err(Broken::Corrupt(corrupt)) => panic!("{corrupt}"),
    }
    leaver.join().unwrap();
    assert_eq!(consumer.front(), Err(Broken::Dead));
}

#[test]
fn leaving_is_not_corruption() {
    check(Forgets::Nothing, 2, leave);
    assert!(notices(Forgets::Acquire, 2, leave));
}
