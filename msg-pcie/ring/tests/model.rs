//! A ring against an oracle: a queue of vectors, and two sleepers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by it")]

mod ring_memory;

use std::{collections::VecDeque, sync::atomic::AtomicU64};

use maize_ring::{Consumer, GeometryError, Meanwhile, Producer, ProducerParts, Refused};
use maize_window::{Mapping, Window};
use maize_wire::{SLOT_WORDS, Session, Sink};
use proptest::prelude::*;
use ring_memory::{Line, RingMemory, send, session, words_for};

fn memory(slots: usize) -> Vec<AtomicU64> {
    // Not zero: a ring must not depend on what was there before.
    (0..words_for(slots)).map(|word| AtomicU64::new(word as u64 * 0x0101_0101)).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Send { slots: usize, limit: usize },
    DropClaim,
    Notify,
    AwaitRoom { slots: usize, limit: usize },
    Receive,
    NotifyProducer,
    Arm,
    Restart,
}

fn step(slots: usize) -> impl Strategy<Value = Step> {
    let largest = slots / 2;
    let send = (1..=largest + 1, prop_oneof![Just(slots), 1..=slots]);
    prop_oneof![
        6 => send.clone().prop_map(|(slots, limit)| Step::Send { slots, limit }),
        1 => Just(Step::DropClaim),
        4 => Just(Step::Notify),
        1 => send.prop_map(|(slots, limit)| Step::AwaitRoom { slots, limit }),
        6 => Just(Step::Receive),
        3 => Just(Step::NotifyProducer),
        2 => Just(Step::Arm),
        1 => Just(Step::Restart),
    ]
}

struct Model<'a> {
    ring: RingMemory<Mapping<'a>>,
    producer: Producer<Mapping<'a>>,
    consumer: Consumer<Mapping<'a>>,
    session: Session,
    queue: VecDeque<Vec<u64>>,
    in_flight: usize,
    next: u64,
    consumer_sleeps: bool,
    unnotified: usize,
    producer_sleeps: bool,
    producer_asks: u32,
    doorbells: usize,
}

impl Model<'_> {
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Send { slots, limit } => self.send(slots, limit),
            Step::DropClaim => {
                if let Ok(mut claim) = self.producer.claim(1, usize::MAX) {
                    claim.word(0xdead);
                }
            }
            Step::Notify => {
                let due = self.producer.notify();
                // Rings exactly when a sleeper waits for what was sent since the last look.
                assert_eq!(due, self.consumer_sleeps && self.unnotified > 0);
                self.doorbells += usize::from(due);
                self.consumer_sleeps &= !due;
                self.unnotified = 0;
            }
            Step::AwaitRoom { slots, limit } => match self.producer.await_room(slots, limit) {
                Ok(sleeps) => {
                    assert!(sleeps || self.producer.claim(slots, limit).is_ok());
                    self.producer_sleeps = sleeps;
                    self.producer_asks += u32::from(sleeps);
                }
                Err(Refused::Size) => {
                    assert!(
                        slots > self.ring.largest
                            || slots + self.ring.slots.div_ceil(8) > limit.min(self.ring.slots - 1)
                    );
                }
                Err(other) => panic!("{other}"),
            },
            Step::Receive => {
                self.receive();
            }
            Step::Arm => {
                let sleeps = self.consumer.arm(Meanwhile::Sleeps);
                assert!(!sleeps || self.queue.is_empty());
                let owed = self.notify_producer();
                // Nobody sleeps who owes a doorbell, and nobody else is kept awake.
                assert_eq!(sleeps, self.queue.is_empty() && !owed);
                self.consumer_sleeps = sleeps;
                // What was sent before the wish lies before its index.
                if sleeps {
                    self.unnotified = 0;
                }
            }
            Step::NotifyProducer => {
                self.notify_producer();
            }
            Step::Restart => self.restart(),
        }
    }

    fn send(&mut self, slots: usize, limit: usize) {
        let words: Vec<u64> = (0..slots * SLOT_WORDS - 1)
            .map(|_| {
                self.next += 1;
                self.next
            })
            .collect();
        match send(&mut self.producer, &words, limit) {
            Ok(()) => {
                assert!(self.in_flight + slots <= limit.min(self.ring.slots - 1));
                self.in_flight += slots;
                self.queue.push_back(words);
                self.unnotified += 1;
            }
            Err(Refused::Full) => {
                // Full may be out of date by what the consumer has not announced, no more.
                let slack = (self.ring.slots / 8).clamp(1, 64) - 1;
                assert!(self.in_flight + slack + slots > limit.min(self.ring.slots - 1));
            }
            Err(Refused::Size) => {
                assert!(slots > self.ring.largest || slots > limit.min(self.ring.slots - 1));
            }
            Err(other) => panic!("{other}"),
        }
    }

    fn receive(&mut self) -> bool {
        let front = self.consumer.front().unwrap();
        let Some(front) = front else {
            assert!(self.queue.is_empty());
            return false;
        };
        let expected = self.queue.pop_front().expect("nothing was sent");
        assert_eq!(front.line[1..], expected[..7]);
        assert_eq!(front.slots * SLOT_WORDS, expected.len() + 1);
        let mut words = vec![0; expected.len()];
        self.consumer.read(1, &mut words);
        assert_eq!(words, expected);
        self.consumer.pop();
        self.in_flight -= front.slots;
        true
    }

    fn notify_producer(&mut self) -> bool {
        let due = self.consumer.notify();
        // It may have found room by itself meanwhile; but it did ask. A second wish may be there
        // before the doorbell for the first has rung, and has one of its own.
        assert!(!due || self.producer_asks > 0);
        self.producer_asks -= u32::from(due);
        self.producer_sleeps &= !due;
        due
    }

    /// Both ends leave in the middle and meet again in a new session.
    fn restart(&mut self) {
        self.session.local = self.session.local.next().unwrap();
        self.producer.start(self.session);
        self.ring.line(Line::ProducerAttachment).store_release(0, self.session.to_word());
        self.consumer.start(self.session.flipped());
        self.ring.line(Line::ConsumerAttachment).store_release(0, self.session.flipped().to_word());
        self.queue.clear();
        (self.in_flight, self.unnotified) = (0, 0);
        (self.consumer_sleeps, self.producer_sleeps) = (false, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ring_is_a_queue(
        bits in 2usize..=6,
        steps in (2usize..=6).prop_flat_map(|bits| prop::collection::vec(step(1 << bits), 1..200)),
    ) {
        let slots = 1 << bits;
        let memory = memory(slots);
        let ring = RingMemory::new(Mapping::from_words(&memory), slots / 2);
        let (producer, consumer) = ring.ends();
        let mut model = Model {
            ring, producer, consumer, session: session(), queue: VecDeque::new(), in_flight: 0,
            next: 0, consumer_sleeps: false, unnotified: 0, producer_sleeps: false,
            producer_asks: 0, doorbells: 0,
        };
        for step in &steps {
            model.apply(step);
        }
        while model.receive() {}
        model.notify_producer();
        // Emptied, the ring owes nobody anything.
        prop_assert!(!model.producer_sleeps);
        prop_assert_eq!(model.in_flight, 0);
    }
}

#[test]
fn a_burst_costs_one_doorbell() {
    let memory = memory(256);
    let ring = RingMemory::new(Mapping::from_words(&memory), 68);
    let (mut producer, mut consumer) = ring.ends();
    assert!(consumer.arm(Meanwhile::Sleeps));
    let mut doorbells = 0;
    for word in 0..100 {
        send(&mut producer, &[word], usize::MAX).unwrap();
        doorbells += usize::from(producer.notify());
    }
    assert_eq!(doorbells, 1);
}

#[test]
fn sizes_that_do_not_go_together_are_refused() {
    let memory = memory(16);
    let ring = RingMemory::new(Mapping::from_words(&memory), 8);
    let line = || ring.line(Line::Consumed);
    let make = |words: usize, largest| {
        let parts = ProducerParts {
            ring: Mapping::from_words(&memory[..words]),
            consumed: line(),
            want_frame: line(),
            want_space: line(),
            attachment: line(),
        };
        Producer::new(parts, largest).err()
    };
    assert_eq!(make(16 * 8, 8), None);
    assert_eq!(make(16 * 8, 9), Some(GeometryError::Frame(9)));
    assert_eq!(make(16 * 8, 0), Some(GeometryError::Frame(0)));
    assert_eq!(make(2 * 8, 1), Some(GeometryError::Slots(2)));
    assert_eq!(make(12 * 8, 1), Some(GeometryError::Slots(12)));
    assert_eq!(make(16 * 8 + 1, 1), Some(GeometryError::Slots(16)));
}
