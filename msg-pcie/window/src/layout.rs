//! Which word of a window is whose.
//!
//! ```text
//! header            1 page    written once, by who creates the window
//! pair cells        8 lines a pair of instances; the only words that two instances write
//! section 0         written by instance 0 only
//!   presence        1 line    epoch, state, heartbeat
//!   peer lines      8 lines a peer: attachment, cursors, clock cell, self-test cell
//!   counters
//!   trace           header line, records
//!   rings           one to each other instance
//! section 1 …
//! frames            page frames for whoever the layers above give them to
//! ```
//!
//! Everything follows from two numbers, how many instances and how many bytes, so that two
//! instruction sets cannot disagree about it; the header repeats the results to be sure.

use core::fmt;

use maize_wire::{InstanceId, MAX_FRAME_SLOTS, PAGE_BYTES, PAGE_WORDS, SLOT_WORDS};

/// Fewest instances of a window.
pub const MIN_INSTANCES: usize = 2;
/// Most instances of a window.
pub const MAX_INSTANCES: usize = 16;
/// Slots of the smallest ring.
pub const MIN_RING_SLOTS: usize = 256;
/// Slots of the largest ring: 128 KiB, so that a ring in use stays in a core's second-level cache.
pub const MAX_RING_SLOTS: usize = 2048;
/// Words of a trace record.
pub const TRACE_RECORD_WORDS: usize = 4;
/// Words in front of the trace records.
pub const TRACE_HEADER_WORDS: usize = SLOT_WORDS;
/// Words of an instance's counters.
pub const COUNTER_WORDS: usize = 4 * PAGE_WORDS;

const MIN_TRACE_RECORDS: usize = 1024;
const MAX_TRACE_RECORDS: usize = 65536;
const PAIR_LINES: usize = 8;
const PEER_LINES: usize = 8;

// Two frames of the largest size, and the slot that always stays empty.
const _: () = assert!(MIN_RING_SLOTS > 2 * MAX_FRAME_SLOTS);
const _: () = assert!(MIN_RING_SLOTS.is_power_of_two() && MAX_RING_SLOTS.is_power_of_two());
const _: () = assert!(PAGE_BYTES.is_multiple_of(SLOT_WORDS * 8));

/// A range of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First word.
    pub start: usize,
    /// Number of words.
    pub words: usize,
}

impl Span {
    /// The word behind the last; saturates, so that a range that wraps is seen to stick out.
    #[must_use]
    pub const fn end(self) -> usize {
        self.start.saturating_add(self.words)
    }
}

/// The cache lines that an instance keeps for each of its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum PeerLine {
    /// The session this instance is attached to, and why it left the last.
    Attachment = 0,
    /// How far this instance has consumed the peer's ring.
    Consumed = 1,
    /// The index of the peer's ring at which this instance wants a doorbell.
    WantFrame = 2,
    /// The consumed index of its own ring at which this instance wants a doorbell.
    WantSpace = 3,
    /// Clock readings for the peer.
    Clock = 4,
    /// Progress of the self-test with the peer.
    SelfTest = 5,
}

/// The division of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    instances: usize,
    window_words: usize,
    ring_slots: usize,
    trace_records: usize,
    sections: usize,
    section_words: usize,
    status_words: usize,
    trace_words: usize,
}

impl Layout {
    /// Divides a window of that many bytes between that many instances. Rings take up to half of
    /// it and traces up to an eighth; what is left over are page frames.
    ///
    /// # Errors
    /// [`LayoutError`] if there are too few or too many instances, or the window is too small.
    pub fn new(instances: usize, window_bytes: u64) -> Result<Layout, LayoutError> {
        if !(MIN_INSTANCES..=MAX_INSTANCES).contains(&instances) {
            return Err(LayoutError::Instances(instances));
        }
        let too_small = LayoutError::TooSmall { bytes: window_bytes };
        let window_words = usize::try_from(window_bytes / 8).map_err(|_| too_small)?;
        let rings = instances * (instances - 1);
        let ring_slots = (window_words / 2 / rings / SLOT_WORDS)
            .checked_ilog2()
            .map_or(0, |bits| 1 << bits)
            .clamp(MIN_RING_SLOTS, MAX_RING_SLOTS);
        let trace_records = (window_words / 8 / instances / TRACE_RECORD_WORDS)
            .checked_ilog2()
            .map_or(0, |bits| 1 << bits)
            .clamp(MIN_TRACE_RECORDS, MAX_TRACE_RECORDS);
        let trace_words = pages(TRACE_HEADER_WORDS + trace_records * TRACE_RECORD_WORDS);
        let status_words = pages((1 + instances * PEER_LINES) * SLOT_WORDS);
        let section_words =
            status_words + COUNTER_WORDS + trace_words + (instances - 1) * ring_slots * SLOT_WORDS;
        let pairs = rings / 2;
        let layout = Layout {
            instances,
            window_words,
            ring_slots,
            trace_records,
            sections: PAGE_WORDS + pages(pairs * PAIR_LINES * SLOT_WORDS),
            section_words,
            status_words,
            trace_words,
        };
        if layout.frames_start() > window_words { Err(too_small) } else { Ok(layout) }
    }

    /// Number of instances.
    #[must_use]
    pub const fn instances(&self) -> usize {
        self.instances
    }

    /// Bytes of the window, rounded down to whole words.
    #[must_use]
    pub const fn window_bytes(&self) -> u64 {
        self.window_words as u64 * 8
    }

    /// Slots of each ring, a power of two.
    #[must_use]
    pub const fn ring_slots(&self) -> usize {
        self.ring_slots
    }

    /// Records of each instance's trace, a power of two.
    #[must_use]
    pub const fn trace_records(&self) -> usize {
        self.trace_records
    }

    /// The window's header.
    #[must_use]
    pub const fn header(&self) -> Span {
        Span { start: 0, words: PAGE_WORDS }
    }

    /// All that only this instance writes; `None` if there is no such instance.
    #[must_use]
    pub fn section(&self, of: InstanceId) -> Option<Span> {
        let start = self.section_start(of)?;
        Some(Span { start, words: self.section_words })
    }

    /// An instance's presence line.
    #[must_use]
    pub fn presence(&self, of: InstanceId) -> Option<Span> {
        let start = self.section_start(of)?;
        Some(Span { start, words: SLOT_WORDS })
    }

    /// One of the lines that `of` keeps for `peer`.
    #[must_use]
    pub fn peer_line(&self, of: InstanceId, peer: InstanceId, line: PeerLine) -> Option<Span> {
        let start = self.section_start(of)?;
        self.section_start(peer)?;
        let index = 1 + peer.index() * PEER_LINES + line as usize;
        Some(Span { start: start + index * SLOT_WORDS, words: SLOT_WORDS })
    }

    /// An instance's counters.
    #[must_use]
    pub fn counters(&self, of: InstanceId) -> Option<Span> {
        let start = self.section_start(of)? + self.status_words;
        Some(Span { start, words: COUNTER_WORDS })
    }

    /// An instance's trace: the header line and the records.
    #[must_use]
    pub fn trace(&self, of: InstanceId) -> Option<Span> {
        let start = self.section_start(of)? + self.status_words + COUNTER_WORDS;
        let words = TRACE_HEADER_WORDS + self.trace_records * TRACE_RECORD_WORDS;
        Some(Span { start, words })
    }

    /// The ring that `from` fills and `to` empties; `None` if they are the same.
    #[must_use]
    pub fn ring(&self, from: InstanceId, to: InstanceId) -> Option<Span> {
        let start =
            self.section_start(from)? + self.status_words + COUNTER_WORDS + self.trace_words;
        self.section_start(to)?;
        let index = match to.index() {
            to if to < from.index() => to,
            to if to > from.index() => to - 1,
            _ => return None,
        };
        let words = self.ring_slots * SLOT_WORDS;
        Some(Span { start: start + index * words, words })
    }

    /// The lines that both instances of a pair write, for the self-test of atomics.
    #[must_use]
    pub fn pair_cell(&self, one: InstanceId, other: InstanceId) -> Option<Span> {
        self.section_start(one)?;
        self.section_start(other)?;
        let (low, high) = (one.min(other).index(), one.max(other).index());
        if low == high {
            return None;
        }
        // Pairs in the order (0,1) (0,2) (1,2) (0,3) …
        let index = high * (high - 1) / 2 + low;
        let words = PAIR_LINES * SLOT_WORDS;
        Some(Span { start: PAGE_WORDS + index * words, words })
    }

    /// Whole page frames behind the sections, possibly none.
    #[must_use]
    pub fn frames(&self) -> Span {
        let start = self.frames_start();
        let words = (self.window_words - start) / PAGE_WORDS * PAGE_WORDS;
        Span { start, words }
    }

    /// The peers of an instance.
    pub fn peers(&self, of: InstanceId) -> impl Iterator<Item = InstanceId> + use<> {
        (0..self.instances)
            .filter_map(|index| u16::try_from(index).ok())
            .map(InstanceId)
            .filter(move |peer| *peer != of)
    }

    fn section_start(&self, of: InstanceId) -> Option<usize> {
        (of.index() < self.instances).then(|| self.sections + of.index() * self.section_words)
    }

    fn frames_start(&self) -> usize {
        self.sections + self.instances * self.section_words
    }
}

/// Rounds words up to whole pages.
const fn pages(words: usize) -> usize {
    words.next_multiple_of(PAGE_WORDS)
}

/// Why a window cannot be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// Not between [`MIN_INSTANCES`] and [`MAX_INSTANCES`].
    Instances(usize),
    /// The smallest rings and traces do not fit.
    TooSmall {
        /// Bytes of the window.
        bytes: u64,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::Instances(count) => {
                write!(f, "{count} instances: a window has {MIN_INSTANCES} to {MAX_INSTANCES}")
            }
            LayoutError::TooSmall { bytes } => {
                write!(f, "window of {bytes} bytes is too small for its instances")
            }
        }
    }
}

impl core::error::Error for LayoutError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const MIB: u64 = 1 << 20;

    fn spans(layout: &Layout) -> Vec<Span> {
        let ids = || (0..u16::try_from(layout.instances()).unwrap()).map(InstanceId);
        let mut all = std::vec![layout.header(), layout.frames()];
        for of in ids() {
            all.extend(
                [layout.presence(of), layout.counters(of), layout.trace(of)].map(Option::unwrap),
            );
            for peer in layout.peers(of) {
                all.push(layout.ring(of, peer).unwrap());
                if of < peer {
                    all.push(layout.pair_cell(of, peer).unwrap());
                    assert_eq!(layout.pair_cell(of, peer), layout.pair_cell(peer, of));
                }
                for line in [
                    PeerLine::Attachment,
                    PeerLine::Consumed,
                    PeerLine::WantFrame,
                    PeerLine::WantSpace,
                    PeerLine::Clock,
                    PeerLine::SelfTest,
                ] {
                    all.push(layout.peer_line(of, peer, line).unwrap());
                }
            }
        }
        all
    }

    proptest! {
        #[test]
        fn spans_are_aligned_and_disjoint(instances in 2usize..=16, bytes in 0..96 * MIB) {
            let Ok(layout) = Layout::new(instances, bytes) else {
                // Six megabytes always suffice.
                prop_assert!(bytes < 6 * MIB);
                return Ok(());
            };
            let mut all = spans(&layout);
            all.sort_by_key(|span| span.start);
            for pair in all.windows(2) {
                prop_assert!(pair[0].end() <= pair[1].start, "{pair:?}");
            }
            prop_assert!(all.iter().all(|span| span.start.is_multiple_of(SLOT_WORDS)));
            prop_assert!(all.last().unwrap().end() as u64 <= bytes / 8);
            prop_assert!(layout.frames().start.is_multiple_of(PAGE_WORDS));
        }

        #[test]
        fn what_an_instance_writes_is_in_its_section(instances in 2usize..=16) {
            let layout = Layout::new(instances, 64 * MIB).unwrap();
            for of in (0..u16::try_from(instances).unwrap()).map(InstanceId) {
                let section = layout.section(of).unwrap();
                prop_assert!(section.start.is_multiple_of(PAGE_WORDS));
                prop_assert!(section.words.is_multiple_of(PAGE_WORDS));
                let inside = |span: Span| section.start <= span.start && span.end() <= section.end();
                prop_assert!(inside(layout.trace(of).unwrap()));
                for peer in layout.peers(of) {
                    prop_assert!(inside(layout.ring(of, peer).unwrap()));
                    prop_assert!(inside(layout.peer_line(of, peer, PeerLine::SelfTest).unwrap()));
                }
            }
        }
    }

    #[test]
    fn sizes_of_the_usual_windows() {
        // Both ends compute these numbers for themselves: a change here changes the format.
        let two = Layout::new(2, 64 * MIB).unwrap();
        assert_eq!((two.ring_slots(), two.trace_records()), (2048, 65536));
        let sixteen = Layout::new(16, 64 * MIB).unwrap();
        assert_eq!((sixteen.ring_slots(), sixteen.trace_records()), (2048, 16384));
        let tight = Layout::new(16, 8 * MIB).unwrap();
        assert_eq!((tight.ring_slots(), tight.trace_records()), (256, 2048));
        assert_eq!(two.section(InstanceId(1)).unwrap().start, 1024 + 281_600);
    }

    #[test]
    fn impossible_windows_are_refused() {
        assert_eq!(Layout::new(1, 64 * MIB), Err(LayoutError::Instances(1)));
        assert_eq!(Layout::new(17, 64 * MIB), Err(LayoutError::Instances(17)));
        assert_eq!(Layout::new(2, 4096), Err(LayoutError::TooSmall { bytes: 4096 }));
        let layout = Layout::new(3, 64 * MIB).unwrap();
        assert_eq!(layout.ring(InstanceId(2), InstanceId(2)), None);
        assert_eq!(layout.ring(InstanceId(0), InstanceId(3)), None);
        assert_eq!(layout.peer_line(InstanceId(0), InstanceId(3), PeerLine::Clock), None);
    }
}
