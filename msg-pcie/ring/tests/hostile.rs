//! Peers that die at any store, and peers that write whatever they like.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by it")]

mod ring_memory;

use std::{
    cell::Cell,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use maize_ring::{Broken, Corrupt, Meanwhile, Refused};
use maize_window::{Mapping, Span, Window};
use maize_wire::SLOT_WORDS;
use proptest::prelude::*;
use ring_memory::{Line, RingMemory, send, session, words_for};

fn memory(slots: usize) -> Vec<AtomicU64> {
    (0..words_for(slots)).map(|_| AtomicU64::new(0)).collect()
}

/// A window through which only so many stores get: the side that uses it dies after them.
#[derive(Clone)]
struct Dying<'a> {
    window: Mapping<'a>,
    stores: Rc<Cell<usize>>,
}

impl Dying<'_> {
    fn lives(&self) -> bool {
        let left = self.stores.get();
        self.stores.set(left.saturating_sub(1));
        left > 0
    }
}

impl Window for Dying<'_> {
    fn words(&self) -> usize {
        self.window.words()
    }
    fn part(&self, span: Span) -> Option<Self> {
        let window = self.window.part(span)?;
        Some(Dying { window, stores: self.stores.clone() })
    }
    fn load(&self, word: usize) -> u64 {
        self.window.load(word)
    }
    fn load_acquire(&self, word: usize) -> u64 {
        self.window.load_acquire(word)
    }
    fn store(&self, word: usize, value: u64) {
        if self.lives() {
            self.window.store(word, value);
        }
    }
    fn store_release(&self, word: usize, value: u64) {
        if self.lives() {
            self.window.store_release(word, value);
        }
    }
    fn fetch_add(&self, _: usize, _: u64) -> u64 {
        unreachable!("rings have no read-modify-writes")
    }
    fn compare_exchange(&self, _: usize, _: u64, _: u64) -> Result<u64, u64> {
        unreachable!("rings have no read-modify-writes")
    }
    fn fence(&self) {
        self.window.fence();
    }
    fn fence_release(&self) {
        self.window.fence_release();
    }
    fn fence_acquire(&self) {
        self.window.fence_acquire();
    }
}

#[test]
fn a_producer_may_die_at_any_store() {
    let frames: Vec<Vec<u64>> = [3, 20, 7, 9, 31]
        .iter()
        .map(|length| (0..*length).map(|word| word + 1000).collect())
        .collect();
    let mut deaths = 0;
    for stores in 0.. {
        let memory = memory(16);
        let ring = RingMemory::new(Mapping::from_words(&memory), 8);
        let (_, mut consumer) = ring.ends();
        let window =
            Dying { window: Mapping::from_words(&memory), stores: Rc::new(Cell::new(usize::MAX)) };
        let budget = window.stores.clone();
        let mut producer = RingMemory::new(window, 8).producer();
        producer.start(session());
        budget.set(stores);
        let mut received = 0;
        for frame in &frames {
            // Full is what a dead producer's own view may say in the end; it does not matter.
            let _ = send(&mut producer, frame, usize::MAX);
            while let Some(front) = consumer.front().expect("a cut is not corruption") {
                let mut words = vec![0; front.slots * SLOT_WORDS - 1];
                consumer.read(1, &mut words);
                assert_eq!(words[..frames[received].len()], frames[received], "{stores} stores");
                consumer.pop();
                received += 1;
            }
        }
        deaths += usize::from(received < frames.len());
        if received == frames.len() {
            break;
        }
    }
    // A frame's words, its stamp and the empty stamp behind it.
    assert!(deaths > frames.iter().map(|frame| frame.len() + 2).sum::<usize>() - 3, "{deaths}");
}

#[test]
fn each_lie_has_its_name() {
    let memory = memory(16);
    let ring = RingMemory::new(Mapping::from_words(&memory), 4);
    let slot = ring.ring();
    let good = {
        let (mut producer, mut consumer) = ring.ends();
        send(&mut producer, &[1], usize::MAX).unwrap();
        consumer.front().unwrap().unwrap().line[0]
    };
    let front = |stamp| {
        let (_, mut consumer) = ring.ends();
        slot.store(0, stamp);
        consumer.front()
    };
    assert!(matches!(front(good), Ok(Some(_))));
    assert!(matches!(front(good + 1), Err(Broken::Corrupt(Corrupt::Stamp { .. }))));
    assert!(matches!(front(good ^ 1 << 63), Err(Broken::Corrupt(Corrupt::Stamp { .. }))));
    assert_eq!(front(good & !(0xffff << 32) | 5 << 32), Err(Broken::Corrupt(Corrupt::Slots(5))));
    assert_eq!(front(good & !(0xffff << 32)), Err(Broken::Corrupt(Corrupt::Slots(0))));
    assert_eq!(front(0), Ok(None));

    let (mut producer, _) = ring.ends();
    send(&mut producer, &[1], usize::MAX).unwrap();
    ring.line(Line::Consumed).store(0, 2);
    assert_eq!(
        producer.await_room(1, usize::MAX),
        Err(Refused::Broken(Broken::Corrupt(Corrupt::Consumed { least: 0, most: 1, found: 2 })))
    );
}

#[test]
fn dead_is_neither_empty_nor_full_nor_corrupt() {
    let memory = memory(4);
    let ring = RingMemory::new(Mapping::from_words(&memory), 2);
    let (mut producer, mut consumer) = ring.ends();
    send(&mut producer, &[1; 12], usize::MAX).unwrap();
    send(&mut producer, &[1], usize::MAX).unwrap();
    assert_eq!(send(&mut producer, &[1], usize::MAX), Err(Refused::Full));
    ring.line(Line::ConsumerAttachment).store(0, 0);
    assert_eq!(send(&mut producer, &[1], usize::MAX), Err(Refused::Broken(Broken::Dead)));
    // What was published before the peer died still arrives; then it is dead, not empty.
    ring.line(Line::ProducerAttachment).store(0, session().to_word() + (1 << 32));
    for _ in 0..2 {
        assert!(consumer.front().unwrap().is_some());
        consumer.pop();
    }
    assert_eq!(consumer.front(), Err(Broken::Dead));
    assert!(!consumer.arm(Meanwhile::Sleeps), "nobody would ring");
    // Garbage from a peer that has left is not corruption either.
    ring.ring().store(3 * SLOT_WORDS, 0xbad);
    assert_eq!(consumer.front(), Err(Broken::Dead));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A peer scribbles over everything that a peer can write, while this side works.
    #[test]
    fn scribbling_never_panics_or_hangs(
        writes in prop::collection::vec((0usize..words_for(8), any::<u64>(), 0usize..4), 0..60),
        mask in prop_oneof![Just(u64::MAX), Just(0xff), Just(0xffff_0000_000f), Just(0xf_0000_0003)],
    ) {
        let memory = memory(8);
        let ring = RingMemory::new(Mapping::from_words(&memory), 4);
        let (mut producer, mut consumer) = ring.ends();
        let mut received = 0;
        for (word, value, action) in writes {
            memory[word].fetch_xor(value & mask, Relaxed);
            match action {
                0 => {
                    let _ = send(&mut producer, &[value; 9], usize::MAX);
                    let _ = producer.notify();
                }
                1 => {
                    let _ = producer.await_room(2, usize::MAX);
                }
                2 => {
                    let _ = consumer.arm(Meanwhile::Sleeps);
                }
                _ => {}
            }
            // However it lies, a peer gives no more frames than it makes writes for in the end:
            // each look ends, and each frame moves the head on.
            for _ in 0..16 {
                match consumer.front() {
                    Ok(Some(front)) => {
                        prop_assert!((1..=4).contains(&front.slots));
                        let mut words = vec![0; front.slots * SLOT_WORDS];
                        consumer.read(0, &mut words);
                        consumer.pop();
                        let _ = consumer.notify();
                        received += 1;
                    }
                    Ok(None) | Err(_) => break,
                }
            }
        }
        prop_assert!(received <= 60 * 16);
    }
}
