//! The memory map, and what of it is free.

use heapless::Vec;

use crate::{FirmwareError, PhysRange};

const PAGE: u64 = 4096;

/// Most entries of a memory map.
pub const MAX_RANGES: usize = 128;

/// Most pieces of free memory.
pub const MAX_FREE: usize = 64;

/// What a range of addresses is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryKind {
    /// RAM that the kernel may use.
    Usable,
    /// Firmware's own, or no memory at all.
    Reserved,
    /// ACPI tables: RAM once they have been read.
    Acpi,
    /// Firmware keeps state here.
    AcpiNvs,
    /// Memory with errors, or of a kind nobody knows.
    Unusable,
}

impl MemoryKind {
    /// The kind with this number in an E820 map.
    #[must_use]
    pub const fn from_e820(number: u32) -> MemoryKind {
        match number {
            1 => MemoryKind::Usable,
            2 => MemoryKind::Reserved,
            3 => MemoryKind::Acpi,
            4 => MemoryKind::AcpiNvs,
            _ => MemoryKind::Unusable,
        }
    }
}

/// One entry of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// Where.
    pub range: PhysRange,
    /// What.
    pub kind: MemoryKind,
}

/// What lies where, in firmware's order; ranges may overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryMap {
    ranges: Vec<MemoryRange, MAX_RANGES>,
}

impl MemoryMap {
    /// Adds an entry.
    ///
    /// # Errors
    /// [`FirmwareError::TooMany`] if there are [`MAX_RANGES`] already.
    pub fn add(&mut self, range: MemoryRange) -> Result<(), FirmwareError> {
        self.ranges.push(range).map_err(|_| FirmwareError::TooMany("memory ranges"))
    }

    /// The entries.
    #[must_use]
    pub fn ranges(&self) -> &[MemoryRange] {
        &self.ranges
    }

    /// Bytes of RAM that may be used.
    #[must_use]
    pub fn usable_bytes(&self) -> u64 {
        let usable = self.ranges.iter().filter(|r| r.kind == MemoryKind::Usable);
        usable.fold(0, |sum: u64, r| sum.saturating_add(r.range.len()))
    }

    /// Usable RAM without a byte of `taken` or of what is not usable: whole 4 KiB pages, ascending,
    /// no two overlapping, each as long as it can be.
    ///
    /// # Errors
    /// [`FirmwareError::TooMany`] if those are more than [`MAX_FREE`] pieces.
    pub fn free(&self, taken: &[PhysRange]) -> Result<Vec<PhysRange, MAX_FREE>, FirmwareError> {
        let usable = |r: &&MemoryRange| r.kind == MemoryKind::Usable;
        let busy = || {
            let other = self.ranges.iter().filter(move |r| !usable(r));
            other.map(|r| &r.range).chain(taken)
        };
        let mut free: Vec<PhysRange, MAX_FREE> = Vec::new();
        let mut at = 0;
        // Whole pages of a usable entry from `from` on, if any.
        let pages = |ram: &MemoryRange, from: u64| {
            let start = ram.range.start.max(from).checked_next_multiple_of(PAGE)?;
            let end = ram.range.end / PAGE * PAGE;
            (start < end).then_some((start, end))
        };
        // The lowest of them, however the entries are ordered and overlap.
        while let Some((start, end)) =
            self.ranges.iter().filter(usable).filter_map(|ram| pages(ram, at)).min()
        {
            let next = busy().filter(|b| b.end > start && b.start < end).min_by_key(|b| b.start);
            let stop = next.map_or(end, |b| b.start.max(start) / PAGE * PAGE);
            at = match next {
                Some(b) => b.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX).max(stop),
                None => end,
            };
            if stop <= start {
                continue;
            }
            match free.last_mut() {
                Some(last) if last.end == start => last.end = stop,
                _ => free
                    .push(PhysRange { start, end: stop })
                    .map_err(|_| FirmwareError::TooMany("pieces of free memory"))?,
            }
        }
        Ok(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(ranges: &[(u64, u64, u32)]) -> MemoryMap {
        let mut map = MemoryMap::default();
        for &(start, end, kind) in ranges {
            let kind = MemoryKind::from_e820(kind);
            map.add(MemoryRange { range: PhysRange { start, end }, kind }).unwrap();
        }
        map
    }

    #[test]
    fn what_is_taken_is_not_free() {
        let map = map(&[(0, 0x9_fc00, 1), (0x9_fc00, 0xa_0000, 2), (0x10_0000, 0x100_0000, 1)]);
        let taken = [
            PhysRange { start: 0, end: 0x10_0000 },
            PhysRange { start: 0x20_0000, end: 0x21_0001 },
        ];
        assert_eq!(
            map.free(&taken).unwrap()[..],
            [
                PhysRange { start: 0x10_0000, end: 0x20_0000 },
                PhysRange { start: 0x21_1000, end: 0x100_0000 }
            ]
        );
    }

    proptest! {
        /// Against a bitmap of 256 pages, with ranges that overlap, repeat and start anywhere.
        #[test]
        fn free_is_what_a_bitmap_says(
            ranges in prop::collection::vec((0_u64..0x10_0000, 1_u64..0x8_0000, 1_u32..4), 1..12),
            taken in prop::collection::vec((0_u64..0x10_0000, 1_u64..0x2_0000), 0..4),
        ) {
            let ranges: std::vec::Vec<_> =
                ranges.into_iter().map(|(s, l, k)| (s, (s + l).min(0x10_0000).max(s + 1), k)).collect();
            let taken: std::vec::Vec<_> =
                taken.into_iter().map(|(s, l)| PhysRange { start: s, end: s + l }).collect();
            let map = map(&ranges);
            let covers = |page: u64, s: u64, e: u64| s < (page + 1) * PAGE && e > page * PAGE;
            // Pages wholly inside one usable entry: entries that only together cover a page do not
            // make it usable.
            let expect: std::vec::Vec<bool> = (0..257).map(|page| {
                ranges.iter().any(|r| r.2 == 1 && r.0 <= page * PAGE && (page + 1) * PAGE <= r.1)
                    && !ranges.iter().any(|r| r.2 != 1 && covers(page, r.0, r.1))
                    && !taken.iter().any(|t| covers(page, t.start, t.end))
            }).collect();
            let free = map.free(&taken).unwrap();
            let found: std::vec::Vec<bool> = (0..257).map(|page| {
                free.iter().any(|r| r.start <= page * PAGE && (page + 1) * PAGE <= r.end)
            }).collect();
            prop_assert_eq!(found, expect);
            prop_assert!(free.windows(2).all(|w| w[0].end < w[1].start));
        }

        #[test]
        fn a_hostile_map_never_panics(
            ranges in prop::collection::vec((any::<u64>(), any::<u64>(), 0_u32..6), 0..20),
        ) {
            let mut map = MemoryMap::default();
            for (start, len, kind) in ranges {
                if let Some(range) = PhysRange::new(start, len) {
                    map.add(MemoryRange { range, kind: MemoryKind::from_e820(kind) }).unwrap();
                }
            }
            if let Ok(free) = map.free(&[]) {
                prop_assert!(free.iter().all(|r| r.start < r.end && r.start % PAGE == 0));
            }
            let _ = map.usable_bytes();
        }
    }
}
