//! Dividing the RAM of a machine between its instances.
//!
//! First comes what the machine shares, in one piece; then a *slot* for each instance but the first:
//! its image and what else must be there before it can map anything. Slots lie below an address
//! that depends on how an image is entered. What is left is divided evenly, in ascending order, so
//! that the shares differ by one frame at most.

use alloc::vec::Vec;
use core::fmt;

use maize_hal::{Frame, FrameRange};

use crate::memory;

/// Most instances of a machine.
pub const MAX_SIBLINGS: usize = maize_window::MAX_INSTANCES;

/// Most ranges that a share is made of.
pub const MAX_RANGES: usize = 64;

/// Frames in 2 MiB: images start on such a boundary.
const ALIGNMENT: u64 = 512;

/// What instances need besides their shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// How many instances there are, the first included.
    pub instances: usize,
    /// Frames of the memory that all share.
    pub shared: u64,
    /// Frames of a slot; it gets whole 2 MiB, so that slots in a row leave no holes.
    pub slot: u64,
    /// Shared memory and slots end at or below this frame.
    pub limit: Frame,
}

/// Who gets what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What all share; begins at a multiple of 2 MiB.
    pub shared: FrameRange,
    /// Slots of the second instance and those after it; each begins at a multiple of 2 MiB.
    pub slots: Vec<FrameRange>,
    /// Each instance's own RAM, ascending.
    pub shares: Vec<Vec<FrameRange>>,
}

/// Why RAM cannot be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionError {
    /// There are none, or more than [`MAX_SIBLINGS`].
    Instances(usize),
    /// Below the limit there is no piece of this many frames for what all share, or for a slot.
    NoPiece {
        /// What it is for.
        what: &'static str,
        /// Frames.
        wanted: u64,
    },
    /// The share of an instance has no piece that is large enough for its heap and devices.
    TooLittle {
        /// Which instance of the machine, from 0.
        index: usize,
        /// Why.
        error: memory::NoMemory,
    },
    /// A share has more pieces than [`MAX_RANGES`].
    Scattered {
        /// Which instance of the machine, from 0.
        index: usize,
    },
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instances(count) => write!(f, "a machine cannot host {count} instances"),
            Self::NoPiece { what, wanted } => {
                write!(f, "no piece of {wanted} frames of low memory is left for {what}")
            }
            Self::TooLittle { index, error } => {
                write!(f, "too little memory for instance {index} of this machine: {error}")
            }
            Self::Scattered { index } => {
                write!(f, "the memory of instance {index} of this machine is in too many pieces")
            }
        }
    }
}

impl core::error::Error for PartitionError {}

/// Divides `free`, whole frames that do not overlap.
///
/// # Errors
/// [`PartitionError`].
pub fn divide(free: &[FrameRange], needs: &Needs) -> Result<Partition, PartitionError> {
    let count = needs.instances;
    if !(1..=MAX_SIBLINGS).contains(&count) {
        return Err(PartitionError::Instances(count));
    }
    let mut free: Vec<FrameRange> =
        free.iter().filter(|range| !range.is_empty()).copied().collect();
    free.sort_unstable_by_key(|range| range.start);
    let slot = needs.slot.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX);
    let shared = take(&mut free, needs.shared, needs.limit, "what the instances share")?;
    let slots = (1..count)
        .map(|_| take(&mut free, slot, needs.limit, "the image of an instance"))
        .collect::<Result<_, _>>()?;
    let shares = shares(&free, count as u64);
    for (index, share) in shares.iter().enumerate() {
        if share.len() > MAX_RANGES {
            return Err(PartitionError::Scattered { index });
        }
        memory::suffices(share).map_err(|error| PartitionError::TooLittle { index, error })?;
    }
    Ok(Partition { shared, slots, shares })
}

/// RAM of a machine's instances, without what is in `own`: what others may lend. As far as there are
/// no more than [`MAX_RANGES`] pieces.
#[must_use]
pub fn of_others(all: &[FrameRange], own: &[FrameRange]) -> Vec<FrameRange> {
    let mut pieces = all.to_vec();
    for hole in own {
        let cut = |piece: FrameRange| {
            let before = FrameRange { start: piece.start, end: piece.end.min(hole.start) };
            let after = FrameRange { start: piece.start.max(hole.end), end: piece.end };
            [before, after].into_iter().filter(|range| !range.is_empty())
        };
        pieces = pieces.into_iter().flat_map(cut).collect();
    }
    pieces.truncate(MAX_RANGES);
    pieces
}

/// Takes the lowest aligned piece of `wanted` frames.
fn take(
    free: &mut Vec<FrameRange>,
    wanted: u64,
    limit: Frame,
    what: &'static str,
) -> Result<FrameRange, PartitionError> {
    let none = PartitionError::NoPiece { what, wanted };
    for index in 0..free.len() {
        let range = free[index];
        let start = range.start.0.checked_next_multiple_of(ALIGNMENT).ok_or(none)?;
        let end = start.checked_add(wanted).ok_or(none)?;
        if end > range.end.0 || end > limit.0 {
            continue;
        }
        let taken = FrameRange { start: Frame(start), end: Frame(end) };
        let before = FrameRange { start: range.start, end: taken.start };
        let after = FrameRange { start: taken.end, end: range.end };
        free.splice(index..=index, [before, after].into_iter().filter(|r| !r.is_empty()));
        return Ok(taken);
    }
    Err(none)
}

/// Cuts `free` into `count` shares, in order.
fn shares(free: &[FrameRange], count: u64) -> Vec<Vec<FrameRange>> {
    let total: u64 = free.iter().map(FrameRange::len).sum();
    let mut rest = free.iter().copied().filter(|range| !range.is_empty());
    let mut current = rest.next();
    (0..count)
        .map(|index| {
            let mut left = total / count + u64::from(index < total % count);
            let mut share = Vec::new();
            while let Some(range) = current.filter(|_| left > 0) {
                let len = range.len().min(left);
                let cut = Frame(range.start.0 + len);
                share.push(FrameRange { start: range.start, end: cut });
                left -= len;
                let remains = FrameRange { start: cut, end: range.end };
                current = if remains.is_empty() { rest.next() } else { Some(remains) };
            }
            share
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const MIB: u64 = 256;
    const LOW: Frame = Frame(4096 * MIB);

    fn range(start: u64, end: u64) -> FrameRange {
        FrameRange { start: Frame(start), end: Frame(end) }
    }

    fn needs(instances: usize) -> Needs {
        Needs { instances, shared: 8 * MIB, slot: 3 * MIB, limit: LOW }
    }

    fn frames(ranges: &[FrameRange]) -> u64 {
        ranges.iter().map(FrameRange::len).sum()
    }

    #[test]
    fn four_instances_of_half_a_gibibyte() {
        let free = [range(MIB, 2 * MIB), range(4 * MIB, 500 * MIB), range(501 * MIB, 512 * MIB)];
        let partition = divide(&free, &needs(4)).unwrap();
        assert_eq!(partition.shared, range(4 * MIB, 12 * MIB));
        let slots = [12, 16, 20].map(|at| range(at * MIB, (at + 4) * MIB));
        assert_eq!(partition.slots, slots);
        // 1 + 496 + 11 MiB, less 8 and three times 4.
        let each = (508 - 20) * MIB / 4;
        for share in &partition.shares {
            assert_eq!(frames(share), each);
        }
        assert_eq!(partition.shares[0][0], free[0]);
        assert_eq!(partition.shares[3].last(), Some(&free[2]));
    }

    #[test]
    fn what_must_lie_low_does() {
        let high = range(4096 * MIB, 8192 * MIB);
        let free = [range(16 * MIB, 64 * MIB), high];
        let partition = divide(&free, &needs(8)).unwrap();
        assert!(partition.slots.iter().all(|slot| slot.end <= LOW));
        let none = PartitionError::NoPiece { what: "what the instances share", wanted: 8 * MIB };
        assert_eq!(divide(&[high], &needs(2)), Err(none));
        let none = PartitionError::NoPiece { what: "the image of an instance", wanted: 4 * MIB };
        assert_eq!(divide(&free, &needs(16)), Err(none));
    }

    #[test]
    fn what_cannot_be_has_a_name() {
        let free = [range(4 * MIB, 40 * MIB)];
        assert_eq!(divide(&free, &needs(0)), Err(PartitionError::Instances(0)));
        assert_eq!(divide(&free, &needs(17)), Err(PartitionError::Instances(17)));
        assert!(matches!(
            divide(&free, &needs(8)),
            Err(PartitionError::TooLittle { index: 0, .. })
        ));
        let mut free = vec![range(16 * MIB, 264 * MIB)];
        free.extend((300..500).map(|i| range(i * MIB, i * MIB + MIB / 2)));
        assert_eq!(divide(&free, &needs(2)), Err(PartitionError::Scattered { index: 1 }));
    }

    #[test]
    fn what_others_may_lend_is_not_ones_own() {
        let all = [range(10, 100), range(200, 300)];
        let own = [range(50, 60), range(290, 400), range(5, 20)];
        let others = [range(20, 50), range(60, 100), range(200, 290)];
        assert_eq!(of_others(&all, &own), others);
        assert_eq!(of_others(&all, &[]), all);
        assert_eq!(of_others(&all, &all), []);
    }

    /// Memory maps with holes: lengths of holes and of RAM in turn, in frames.
    fn maps() -> impl Strategy<Value = Vec<FrameRange>> {
        prop::collection::vec((1_u64..3000, 1_u64..60_000), 1..12).prop_map(|pieces| {
            let mut at = 0;
            let piece = |(hole, len): (u64, u64)| {
                let start = at + hole;
                at = start + len;
                range(start, at)
            };
            pieces.into_iter().map(piece).collect()
        })
    }

    proptest! {
        #[test]
        fn every_frame_is_given_once(
            free in maps(),
            instances in 1_usize..=MAX_SIBLINGS,
            (shared, slot) in (1_u64..10_000, 1_u64..2000),
            limit in 0_u64..400_000,
        ) {
            let needs = Needs { instances, shared, slot, limit: Frame(limit) };
            let Ok(partition) = divide(&free, &needs) else { return Ok(()) };
            prop_assert_eq!(partition.slots.len(), instances - 1);
            prop_assert_eq!(partition.shares.len(), instances);
            prop_assert_eq!(partition.shared.len(), shared);
            for low in partition.slots.iter().chain([&partition.shared]) {
                prop_assert!(low.start.0.is_multiple_of(ALIGNMENT) && low.end.0 <= limit);
            }
            prop_assert!(partition.slots.iter().all(|s| s.len() == slot.next_multiple_of(ALIGNMENT)));

            let mut given: Vec<FrameRange> = partition.slots.clone();
            given.push(partition.shared);
            given.extend(partition.shares.iter().flatten());
            given.sort_unstable_by_key(|range| range.start);
            prop_assert_eq!(frames(&given), frames(&free));
            for pair in given.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start, "{:?}", pair);
            }
            for range in &given {
                prop_assert!(!range.is_empty());
                let inside = |ram: &FrameRange| ram.start <= range.start && range.end <= ram.end;
                prop_assert!(free.iter().any(inside));
            }
            let sizes: Vec<u64> = partition.shares.iter().map(|share| frames(share)).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 1);
        }

        #[test]
        fn plenty_is_never_refused(instances in 1_usize..=MAX_SIBLINGS, start in 0_u64..5000) {
            let free = [range(start, start + 16 * MIB + instances as u64 * 16 * MIB)];
            let partition = divide(&free, &needs(instances));
            prop_assert!(partition.is_ok(), "{:?}", partition);
        }
    }
}
