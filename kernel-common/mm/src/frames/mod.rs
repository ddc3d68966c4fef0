//! Which frames of physical memory are free.
//!
//! Own code rather than a crate: `buddy_system_allocator`'s frame allocator keeps its free blocks
//! in B-trees, which allocate from the kernel heap inside the allocator that feeds that heap. A
//! tree of bits is sized once, at boot, and the frame most often asked for, a single one, takes
//! the same few steps always.

mod bit_tree;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use maize_hal::{Frame, FrameRange};

use bit_tree::BitTree;

/// Frames of a memory map beyond these (1 TiB) are left unused, so that a nonsensical map cannot
/// make the allocator's own tables exhaust memory.
const MAX_FRAMES: u64 = 1 << 28;

struct Region {
    range: FrameRange,
    free: BitTree,
}

impl Region {
    fn full(range: FrameRange) -> Region {
        Region { range, free: BitTree::full(range.len() as usize) }
    }

    fn has(&self, frame: Frame) -> bool {
        self.range.start <= frame && frame < self.range.end
    }

    fn take(&mut self) -> Option<Frame> {
        let at = self.free.first()?;
        self.free.remove(at);
        Some(Frame(self.range.start.0 + at as u64))
    }
}

/// The frame allocator of one instance.
///
/// Frames for programs come out of [`Frames::allocate`], which leaves a reserve: when programs
/// have used up everything, the kernel can still do what it must to recover.
pub struct Frames {
    regions: Vec<Region>,
    total: u64,
    free: u64,
    reserve: u64,
    /// References beyond the first of frames that several frozen objects share.
    shares: BTreeMap<Frame, u32>,
    /// Frames of others that can be mapped here, which are theirs to free.
    borrowed: Vec<FrameRange>,
    /// Frames of this instance that other machines see, too, and how many of them are free.
    window: Option<(Region, u64)>,
    /// How many want frames to be kept that are released.
    keepers: u32,
    /// Frames that were released meanwhile.
    kept: Vec<Frame>,
}

impl Frames {
    /// An allocator of the frames of `map` that no range of `reserved` touches. The ranges of
    /// either may overlap and come in any order. `reserve` frames are kept from programs.
    #[must_use]
    pub fn new(map: &[FrameRange], reserved: &[FrameRange], reserve: u64) -> Frames {
        let mut frames = Frames {
            regions: Vec::new(),
            total: 0,
            free: 0,
            reserve,
            shares: BTreeMap::new(),
            borrowed: Vec::new(),
            window: None,
            keepers: 0,
            kept: Vec::new(),
        };
        for range in usable(map, reserved) {
            let room = MAX_FRAMES - frames.total;
            let len = range.len().min(room);
            if len == 0 {
                continue;
            }
            let range = FrameRange { start: range.start, end: Frame(range.start.0 + len) };
            frames.regions.push(Region::full(range));
            frames.total += len;
        }
        frames.free = frames.total;
        frames
    }

    /// Frames managed.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Frames free, the reserve included.
    #[must_use]
    pub fn free_count(&self) -> u64 {
        self.free
    }

    /// A frame for a program, with unspecified content, or `None` if only the reserve is left.
    pub fn allocate(&mut self) -> Option<Frame> {
        if self.free <= self.reserve { None } else { self.allocate_kernel() }
    }

    /// A frame for the kernel itself, out of the reserve if need be, with unspecified content.
    pub fn allocate_kernel(&mut self) -> Option<Frame> {
        let frame = self.regions.iter_mut().find_map(Region::take)?;
        self.free -= 1;
        Some(frame)
    }

    /// A frame that other machines see, too, with unspecified content.
    pub fn allocate_window(&mut self) -> Option<Frame> {
        let (region, free) = self.window.as_mut()?;
        let frame = region.take()?;
        *free -= 1;
        Some(frame)
    }

    /// Frames that [`Frames::allocate_window`] still has.
    #[must_use]
    pub fn free_in_window(&self) -> u64 {
        self.window.as_ref().map_or(0, |(_, free)| *free)
    }

    /// `count` consecutive frames for the kernel, the first a multiple of `align` (a power of
    /// two), with unspecified content. Takes time in proportion to memory: for use at start-up.
    pub fn allocate_contiguous(&mut self, count: u64, align: u64) -> Option<FrameRange> {
        debug_assert!(align.is_power_of_two());
        for region in &mut self.regions {
            let at = |frame: u64| (frame - region.range.start.0) as usize;
            let mut start = region.range.start.0.next_multiple_of(align);
            while start.checked_add(count)? <= region.range.end.0 {
                let range = start..start + count;
                if let Some(taken) = range.clone().rev().find(|&f| !region.free.contains(at(f))) {
                    start = (taken + 1).next_multiple_of(align);
                    continue;
                }
                range.clone().for_each(|frame| region.free.remove(at(frame)));
                self.free -= count;
                return Some(FrameRange { start: Frame(range.start), end: Frame(range.end) });
            }
        }
        None
    }

    /// `count` consecutive frames for the kernel, with unspecified content, out of what programs may
    /// have. From the end of memory, where programs come last: one look finds them as long as there
    /// is plenty.
    pub fn allocate_block(&mut self, count: u64) -> Option<FrameRange> {
        if count == 0 || self.free.checked_sub(count)? < self.reserve {
            return None;
        }
        for region in self.regions.iter_mut().rev() {
            let Some(at) = region.free.last_run(count as usize) else { continue };
            (at..at + count as usize).for_each(|frame| region.free.remove(frame));
            self.free -= count;
            let start = region.range.start.0 + at as u64;
            return Some(FrameRange { start: Frame(start), end: Frame(start + count) });
        }
        None
    }

    /// Says which frames are other instances': programs here may map them, and releasing one is
    /// nothing.
    pub fn borrow_from(&mut self, others: Vec<FrameRange>) {
        self.borrowed = others;
    }

    /// Says which frames of this instance other machines see, too.
    pub fn share_window(&mut self, own: FrameRange) {
        self.window = Some((Region::full(own), own.len()));
    }

    /// Whether another instance may lend the frame.
    #[must_use]
    pub fn is_borrowed(&self, frame: Frame) -> bool {
        self.borrowed.iter().any(|range| range.start <= frame && frame < range.end)
            && self.region(frame).is_none()
    }

    /// Whether the frame is one of these, and free.
    #[must_use]
    pub fn is_free(&self, frame: Frame) -> bool {
        let at = |region: &Region| (frame.0 - region.range.start.0) as usize;
        self.region(frame).is_some_and(|region| region.free.contains(at(region)))
    }

    fn region(&self, frame: Frame) -> Option<&Region> {
        let window = self.window.iter().map(|(region, _)| region);
        self.regions.iter().chain(window).find(|region| region.has(frame))
    }

    /// From now on frames that are released are kept: others may still map them.
    pub fn keep_released(&mut self) {
        self.keepers += 1;
    }

    /// Undoes one [`Frames::keep_released`]; with the last, what was kept becomes free.
    pub fn free_kept(&mut self) {
        self.keepers = self.keepers.saturating_sub(1);
        if self.keepers == 0 {
            for frame in core::mem::take(&mut self.kept) {
                self.release(frame);
            }
        }
    }

    /// Gives up one reference to `frame`, which the last makes free.
    ///
    /// # Panics
    /// If `frame` is free already or was never this allocator's: going on would hand one frame to
    /// two owners.
    pub fn release(&mut self, frame: Frame) {
        if let Some(extra) = self.shares.get_mut(&frame) {
            *extra -= 1;
            if *extra == 0 {
                self.shares.remove(&frame);
            }
            return;
        }
        if self.keepers > 0 && self.region(frame).is_some() {
            self.kept.push(frame);
            return;
        }
        if self.is_borrowed(frame) {
            return;
        }
        let (region, free) = match &mut self.window {
            Some((region, free)) if region.has(frame) => (region, free),
            _ => {
                let region = self.regions.iter_mut().find(|region| region.has(frame));
                let Some(region) = region else {
                    unreachable!("{frame:?} is not in the memory map")
                };
                (region, &mut self.free)
            }
        };
        let at = (frame.0 - region.range.start.0) as usize;
        assert!(!region.free.contains(at), "{frame:?} freed twice");
        region.free.insert(at);
        *free += 1;
    }

    /// Adds a reference to `frame`: it is then read-only to each that refers to it.
    pub(crate) fn share(&mut self, frame: Frame) {
        *self.shares.entry(frame).or_insert(0) += 1;
    }

    /// Whether more than one refers to `frame`.
    pub(crate) fn is_shared(&self, frame: Frame) -> bool {
        // Nearly always empty: the page fault path asks this for each write.
        !self.shares.is_empty() && self.shares.contains_key(&frame)
    }
}

/// The parts of `map` outside `reserved`, merged and in order.
fn usable(map: &[FrameRange], reserved: &[FrameRange]) -> Vec<FrameRange> {
    let mut parts = Vec::new();
    let mut end = Frame(0);
    for range in sorted(map) {
        let start = range.start.max(end);
        end = end.max(range.end);
        if start < range.end {
            parts.push(FrameRange { start, end: range.end });
        }
    }
    for hole in sorted(reserved) {
        let mut rest = Vec::with_capacity(parts.len() + 1);
        for part in parts {
            let before = FrameRange { start: part.start, end: part.end.min(hole.start) };
            let after = FrameRange { start: part.start.max(hole.end), end: part.end };
            rest.extend([before, after].into_iter().filter(|r| !r.is_empty()));
        }
        parts = rest;
    }
    parts
}

fn sorted(ranges: &[FrameRange]) -> Vec<FrameRange> {
    let mut ranges: Vec<_> = ranges.iter().copied().filter(|r| !r.is_empty()).collect();
    ranges.sort_by_key(|r| r.start);
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn range(start: u64, end: u64) -> FrameRange {
        FrameRange { start: Frame(start), end: Frame(end) }
    }

    #[test]
    fn a_memory_map_may_overlap_and_come_in_any_order() {
        let map = [range(100, 200), range(0, 50), range(40, 60), range(150, 160), range(7, 7)];
        let reserved = [range(0, 1), range(190, 300), range(20, 30), range(25, 35), range(90, 90)];
        let expected = [range(1, 20), range(35, 50), range(50, 60), range(100, 190)];
        assert_eq!(usable(&map, &reserved), expected);
        let mut frames = Frames::new(&map, &reserved, 0);
        assert_eq!(frames.total(), 19 + 15 + 10 + 90);
        let mut seen = Vec::new();
        while let Some(frame) = frames.allocate() {
            seen.push(frame);
        }
        assert_eq!(seen.len() as u64, frames.total());
        assert!(seen.iter().all(|f| expected.iter().any(|r| r.start <= *f && *f < r.end)));
        seen.dedup();
        assert_eq!(seen.len() as u64, frames.total());
        for frame in seen {
            frames.release(frame);
        }
        assert_eq!(frames.free_count(), frames.total());
    }

    #[test]
    fn a_reserved_range_may_swallow_several_parts() {
        assert_eq!(
            usable(&[range(0, 10), range(20, 30)], &[range(5, 25)]),
            [range(0, 5), range(25, 30)]
        );
        assert_eq!(usable(&[range(5, 10)], &[range(0, u64::MAX)]), []);
    }

    #[test]
    fn programs_leave_the_reserve() {
        let mut frames = Frames::new(&[range(0, 10)], &[], 3);
        let taken: Vec<_> = core::iter::from_fn(|| frames.allocate()).collect();
        assert_eq!(taken.len(), 7);
        assert!(frames.allocate_kernel().is_some());
        assert_eq!(frames.free_count(), 2);
        assert!(frames.allocate().is_none());
    }

    #[test]
    fn consecutive_frames_are_aligned_and_skip_what_is_taken() {
        let mut frames = Frames::new(&[range(3, 40)], &[range(10, 11)], 0);
        assert_eq!(frames.allocate_contiguous(8, 4), Some(range(12, 20)));
        assert_eq!(frames.allocate_contiguous(4, 4), Some(range(4, 8)));
        assert_eq!(frames.allocate_contiguous(100, 1), None);
        assert_eq!(frames.free_count(), 36 - 12);
        assert_eq!(frames.allocate(), Some(Frame(3)));
        assert_eq!(frames.allocate(), Some(Frame(8)));
    }

    #[test]
    fn blocks_come_from_the_end_and_leave_the_reserve() {
        let mut frames = Frames::new(&[range(10, 1000), range(2000, 2100)], &[], 64);
        assert_eq!(frames.allocate_block(64), Some(range(2000, 2064)));
        assert_eq!(frames.allocate_block(128), Some(range(10 + 64 * 13, 10 + 64 * 15)));
        assert_eq!(frames.allocate_block(0), None);
        assert_eq!(frames.allocate_block(10_000), None);
        let mut blocks = 0;
        while let Some(block) = frames.allocate_block(64) {
            assert_eq!(block.len(), 64);
            blocks += 1;
        }
        // All of 10..842; the next block would leave 2 frames of the reserve's 64.
        assert_eq!((blocks, frames.free_count()), (13, 66));
    }

    #[test]
    fn a_shared_frame_is_free_after_the_last_reference() {
        let mut frames = Frames::new(&[range(0, 2)], &[], 0);
        let frame = frames.allocate().unwrap();
        frames.share(frame);
        assert!(frames.is_shared(frame));
        frames.release(frame);
        assert!(!frames.is_shared(frame));
        assert_eq!(frames.free_count(), 1);
        frames.release(frame);
        assert_eq!(frames.free_count(), 2);
    }

    #[test]
    fn frames_that_are_kept_become_free_with_the_last_keeper() {
        let mut frames = Frames::new(&[range(0, 4)], &[], 0);
        let (one, two) = (frames.allocate().unwrap(), frames.allocate().unwrap());
        frames.keep_released();
        frames.release(one);
        frames.keep_released();
        frames.release(two);
        frames.free_kept();
        assert!(!frames.is_free(one) && !frames.is_free(two));
        frames.free_kept();
        assert!(frames.is_free(one) && frames.is_free(two));
        assert_eq!(frames.free_count(), 4);
    }

    #[test]
    fn frames_of_the_window_are_given_out_apart() {
        let mut frames = Frames::new(&[range(0, 4)], &[], 0);
        assert_eq!((frames.allocate_window(), frames.free_in_window()), (None, 0));
        frames.borrow_from(vec![range(100, 108)]);
        frames.share_window(range(100, 102));
        let own = frames.allocate_window().unwrap();
        assert_eq!((own, frames.free_in_window(), frames.free_count()), (Frame(100), 1, 4));
        assert!(!frames.is_borrowed(own) && frames.is_borrowed(Frame(102)), "another's part");
        frames.keep_released();
        frames.release(own);
        assert_eq!(frames.free_in_window(), 1, "somebody may still map it");
        frames.free_kept();
        assert_eq!((frames.free_in_window(), frames.free_count()), (2, 4));
    }

    #[test]
    fn borrowed_frames_are_their_owners_to_free() {
        let mut frames = Frames::new(&[range(0, 4)], &[], 0);
        frames.borrow_from(vec![range(0, 100)]);
        assert!(frames.is_borrowed(Frame(50)) && !frames.is_borrowed(Frame(100)));
        assert!(!frames.is_borrowed(Frame(2)), "its own");
        frames.release(Frame(50));
        assert_eq!(frames.free_count(), 4);
        assert!(!frames.is_free(Frame(50)));
    }

    #[test]
    #[should_panic(expected = "freed twice")]
    fn a_frame_freed_twice_is_caught() {
        let mut frames = Frames::new(&[range(0, 2)], &[], 0);
        frames.release(Frame(1));
    }
}
