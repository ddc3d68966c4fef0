//! A peer that writes whatever it likes into its section: the other side neither panics nor hangs,
//! and says what is wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

use maize_hal::Nanos;
use maize_link::{Cause, Corruption, Event, FabricConfig, Life, News, Outgoing, enter};
use maize_msg_fabric::{HostFabric, create_window};
use maize_window::{Layout, Window};
use maize_wire::{
    Class, Epoch, FrameError, InstanceId, Kind, MAX_BODY_BYTES, PAGE_WORDS, SLOT_WORDS,
    checksum::Coverage,
};
use proptest::prelude::*;

const VICTIM: InstanceId = InstanceId(0);
const ATTACKER: InstanceId = InstanceId(1);

/// Two instances of a small window, in one thread and on a clock of its own.
struct Pair<'a> {
    victim: HostFabric<'a>,
    attacker: HostFabric<'a>,
    now: Nanos,
    layout: Layout,
}

impl<'a> Pair<'a> {
    fn new(window: &'a maize_window::HostWindow) -> Pair<'a> {
        let memory = window.window();
        let fabric = |me| enter(&memory, me, Nanos(0), FabricConfig::default()).unwrap();
        let ((victim, header), (attacker, _)) = (fabric(VICTIM), fabric(ATTACKER));
        let mut pair = Pair { victim, attacker, now: Nanos(0), layout: header.layout };
        while !matches!(pair.victim.life(ATTACKER), Some(Life::Up { .. }))
            || !matches!(pair.attacker.life(VICTIM), Some(Life::Up { .. }))
        {
            pair.pass(Nanos::from_millis(50));
            pair.attacker.poll(pair.now);
            pair.victim.poll(pair.now);
        }
        pair
    }

    fn pass(&mut self, span: Nanos) {
        self.now = self.now + span;
    }

    /// What the victim has to say now; bounded, or it hangs.
    fn drain(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..4096 {
            let Some((_, event)) = self.victim.poll(self.now) else { return events };
            if let Event::Message(message) = event {
                assert_eq!(self.victim.body().len(), message.length);
                let mut page = [0; PAGE_WORDS];
                let _ = self.victim.copy_page(self.now, &mut page);
            }
            events.push(event);
        }
        panic!("the victim never comes to an end");
    }
}

fn message(contents: &[u8]) -> Outgoing<'_> {
    Outgoing { class: Class::Normal, kind: Kind(50), contents, page: None }
}

/// Runs an attack on the first frame of a message with that body; returns how the session ended.
fn attack(
    coverage: Coverage,
    contents: &[u8],
    change: impl Fn(&dyn Fn(usize, u64)),
) -> Option<Cause> {
    let window = create_window(2, 8 << 20, coverage).unwrap();
    let mut pair = Pair::new(&window);
    pair.attacker.send(pair.now, VICTIM, message(contents)).unwrap();
    let ring = window.window().part(pair.layout.ring(ATTACKER, VICTIM).unwrap()).unwrap();
    change(&|word, value| ring.store(word, ring.load(word) ^ value));
    pair.drain().into_iter().find_map(|event| match event {
        Event::News(News::Down(cause)) => {
            assert_eq!(pair.victim.stats(ATTACKER).unwrap().corruptions, 1);
            // The attacker is told that, and why, it was given up.
            pair.pass(Nanos::from_millis(200));
            let heard = pair.attacker.poll(pair.now);
            let fenced = Event::News(News::Fenced(maize_link::Leave::Corrupt));
            assert_eq!(heard, Some((VICTIM, fenced)));
            Some(cause)
        }
        _ => None,
    })
}

#[test]
fn lies_in_a_frame_are_named() {
    let frame = |error| Some(Cause::Corrupt(Corruption::Frame(error)));
    let off = |word: usize, bits: u64| attack(Coverage::Off, &[1; 8], |xor| xor(word, bits));
    assert_eq!(off(7, 0), None);
    assert_eq!(off(1, 0xff), frame(FrameError::Version(1 ^ 0xff)));
    assert_eq!(off(1, 0xc0 << 8), frame(FrameError::Flags(0xc1)));
    assert_eq!(off(1, 1 << 63), frame(FrameError::Length(8 | 1 << 31)));
    assert_eq!(off(1, 56 << 32), frame(FrameError::Slots { needed: 2, found: 1 }));
    assert_eq!(off(2, 5), frame(FrameError::Address));
    assert_eq!(off(2, 5 << 16), frame(FrameError::Address));
    assert_eq!(off(3, 9), frame(FrameError::Sequence { expected: 0, found: 9 }));
    assert_eq!(off(2, 1 << 32), frame(FrameError::Epoch));
    assert!(matches!(off(0, 1), Some(Cause::Corrupt(Corruption::Ring(_)))));
    assert!(matches!(off(0, 70 << 32), Some(Cause::Corrupt(Corruption::Ring(_)))));
    let long = vec![3; MAX_BODY_BYTES + 1];
    let fragment = attack(Coverage::Off, &long, |xor| xor(4, 1 << 32));
    assert_eq!(fragment, frame(FrameError::Fragment));
    // With checksums every flipped bit of header and body is noticed.
    for word in 1..5 {
        for bit in (0..64).step_by(5) {
            let cause = attack(Coverage::Control, &[1; 8], |xor| xor(word, 1 << bit));
            assert!(matches!(cause, Some(Cause::Corrupt(Corruption::Frame(_)))), "{word} {bit}");
        }
    }
}

#[test]
fn a_flipped_bit_in_a_page_is_noticed() {
    let window = create_window(2, 8 << 20, Coverage::All).unwrap();
    let mut pair = Pair::new(&window);
    let page = [9; PAGE_WORDS];
    let with_page = Outgoing { page: Some(&page), ..message(&[1; 8]) };
    pair.attacker.send(pair.now, VICTIM, with_page).unwrap();
    let ring = window.window().part(pair.layout.ring(ATTACKER, VICTIM).unwrap()).unwrap();
    ring.store(SLOT_WORDS + 100, 9 ^ 1 << 40);
    assert!(matches!(pair.victim.poll(pair.now), Some((_, Event::Message(_)))));
    let mut copy = [0; PAGE_WORDS];
    assert!(!pair.victim.copy_page(pair.now, &mut copy));
    let cause = Cause::Corrupt(Corruption::Frame(FrameError::PageChecksum));
    assert_eq!(pair.drain(), [Event::News(News::Down(cause))]);
}

#[test]
fn stale_frames_are_dropped_not_delivered() {
    // A frame of another epoch, otherwise perfect.
    let window = create_window(2, 8 << 20, Coverage::Off).unwrap();
    let mut pair = Pair::new(&window);
    pair.attacker.send(pair.now, VICTIM, message(&[1; 8])).unwrap();
    let ring = window.window().part(pair.layout.ring(ATTACKER, VICTIM).unwrap()).unwrap();
    ring.store(2, ring.load(2) + (7 << 32));
    assert_eq!(pair.drain(), []);
    assert_eq!(pair.victim.stats(ATTACKER).unwrap().stale, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scribbling_never_panics_or_hangs(
        coverage in prop_oneof![Just(Coverage::Off), Just(Coverage::Control), Just(Coverage::All)],
        attacks in prop::collection::vec(
            (0usize..6, any::<prop::sample::Index>(), any::<u64>(), 0u64..300), 1..40,
        ),
    ) {
        let window = create_window(2, 8 << 20, coverage).unwrap();
        let memory = window.window();
        let mut pair = Pair::new(&window);
        let section = pair.layout.section(ATTACKER).unwrap();
        let ring = pair.layout.ring(ATTACKER, VICTIM).unwrap();
        for (place, index, value, millis) in attacks {
            // Its lines, the head of its ring, anywhere; whole words, or single bits of them.
            let word = match place {
                0 => section.start + index.index(200),
                1 | 2 => ring.start + index.index(2 * SLOT_WORDS),
                3 => ring.start + index.index(ring.words),
                _ => section.start + index.index(section.words),
            };
            let value = if value.is_multiple_of(3) { value } else { memory.load(word) ^ 1 << (value % 64) };
            memory.store(word, value);
            let contents = vec![value as u8; index.index(6000)];
            let _ = pair.victim.send(pair.now, ATTACKER, message(&contents));
            let _ = pair.attacker.send(pair.now, VICTIM, message(&contents));
            pair.pass(Nanos::from_millis(millis));
            pair.drain();
            pair.victim.notify(&mut |_| {});
            let _ = pair.victim.idle(pair.now);
            pair.drain();
        }
        // Whatever it was told, the victim can start anew, and an honest successor can join.
        pair.victim.rejoin(pair.now).unwrap();
        prop_assert!(pair.victim.epoch() > Epoch::FIRST);
    }
}
