//! Which life pages of an object are in of which nothing else is noted.
//!
//! The page protocol keeps the generation of a page with its record, and most pages that are dropped have
//! none. An instance that has one, and was told, would name a later life of such a page than one that
//! touches it first; so the ranges that were dropped are remembered as well.

use alloc::collections::BTreeMap;
use core::ops::Range;

/// Ranges remembered of an object at the most.
const RANGES: usize = 64;

/// The lives of an object's pages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lives {
    /// The last that was begun.
    latest: u32,
    /// By its first page: where a range ends, and the life that its pages began. They do not overlap.
    ranges: BTreeMap<u64, (u64, u32)>,
}

impl Lives {
    /// A generation that no page of the object had before.
    pub(super) fn next(&mut self) -> u32 {
        self.latest = self.latest.wrapping_add(1);
        self.latest
    }

    /// The generation of a page that there is no record of.
    pub(super) fn of(&self, index: u64) -> u32 {
        let range = self.ranges.range(..=index).next_back();
        range.filter(|(_, (end, _))| index < *end).map_or(0, |(_, (_, generation))| *generation)
    }

    /// At the home: a range has begun this life. If there are too many ranges all become one, in the latest
    /// life of any page: who names an earlier one is told.
    pub(super) fn begin(&mut self, range: Range<u64>, generation: u32) {
        self.insert(range, generation);
        if self.ranges.len() > RANGES
            && let (Some(first), Some(last)) =
                (self.ranges.first_key_value(), self.ranges.last_key_value())
        {
            let (start, end) = (*first.0, last.1.0);
            self.ranges = BTreeMap::from([(start, (end, self.latest))]);
        }
    }

    /// At another instance: the home has said that a range has begun this life. If there are too many ranges
    /// all are forgotten: the home tells.
    pub(super) fn learn(&mut self, range: Range<u64>, generation: u32) {
        self.insert(range, generation);
        if self.ranges.len() > RANGES {
            self.ranges.clear();
        }
    }

    fn insert(&mut self, range: Range<u64>, generation: u32) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // One that begins before it is cut, and goes on behind it if it is longer.
        if let Some((_, (stop, known))) = self.ranges.range_mut(..start).next_back()
            && *stop > start
        {
            let (rest, life) = (*stop, *known);
            *stop = start;
            if rest > end {
                self.ranges.insert(end, (rest, life));
            }
        }
        while let Some((&first, &(stop, life))) = self.ranges.range(start..end).next() {
            self.ranges.remove(&first);
            if stop > end {
                self.ranges.insert(end, (stop, life));
            }
        }
        // Neighbours in the same life are one range.
        if let Some((&first, &(stop, life))) = self.ranges.range(..start).next_back()
            && (stop, life) == (start, generation)
        {
            self.ranges.remove(&first);
            start = first;
        }
        if let Some(&(stop, life)) = self.ranges.get(&end)
            && life == generation
        {
            self.ranges.remove(&end);
            end = stop;
        }
        self.ranges.insert(start, (end, generation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_in_the_last_life_that_it_began() {
        let mut lives = Lives::default();
        let mut pages = [0_u32; 64];
        let mut random = 1_u64;
        for _ in 0..400 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let start = random >> 33 & 63;
            let end = (start + (random >> 50 & 15)).min(64);
            let generation = lives.next();
            lives.begin(start..end, generation);
            pages[start as usize..end as usize].fill(generation);
            assert_eq!(core::array::from_fn(|index| lives.of(index as u64)), pages);
        }
        assert!(lives.ranges.len() <= 64);
    }

    #[test]
    fn too_many_ranges_are_one_at_the_home_and_none_elsewhere() {
        let (mut home, mut member) = (Lives::default(), Lives::default());
        for page in 0..RANGES as u64 + 1 {
            let generation = home.next();
            home.begin(2 * page..2 * page + 1, generation);
            member.learn(2 * page..2 * page + 1, generation);
            // Whatever a member names the home has begun.
            assert!((0..200).all(|index| member.of(index) <= home.of(index)));
        }
        assert_eq!(home.ranges.len(), 1);
        assert_eq!([0, 1, 128].map(|page| home.of(page)), [home.latest; 3]);
        assert_eq!(home.of(129), 0);
        assert!(member.ranges.is_empty());
    }

    #[test]
    fn neighbours_in_one_life_are_one_range() {
        let mut lives = Lives::default();
        lives.learn(4..8, 3);
        lives.learn(8..10, 3);
        lives.learn(2..4, 3);
        assert_eq!(lives.ranges, BTreeMap::from([(2, (10, 3))]));
        lives.learn(5..5, 4);
        assert_eq!(lives.of(5), 3);
    }
}
