//! Which life pages of an object are in of which nothing else is noted.
//!
//! The page protocol keeps the generation of a page with its record, and most pages that are dropped have
//! none. An instance that has one, and was told, would name a later life of such a page than one that
//! touches it first; so the ranges that were dropped are remembered as well.

use alloc::vec::Vec;
use core::ops::Range;

/// Ranges remembered of an object at the most.
const RANGES: usize = 64;

/// Pages that began the same life together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u64,
    end: u64,
    generation: u32,
}

/// The lives of an object's pages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lives {
    /// The last that was begun.
    latest: u32,
    /// In order. None is empty, and they do not overlap.
    spans: Vec<Span>,
}

impl Lives {
    /// A generation that no page of the object had before.
    pub(super) fn next(&mut self) -> u32 {
        self.latest = self.latest.wrapping_add(1);
        self.latest
    }

    /// The generation of a page that there is no record of.
    pub(super) fn of(&self, index: u64) -> u32 {
        let span = self.spans.get(self.spans.partition_point(|span| span.end <= index));
        span.filter(|span| span.start <= index).map_or(0, |span| span.generation)
    }

    /// At the home: a range has begun this life. If there are too many ranges all become one, in the latest
    /// life of any page: who names an earlier one is told.
    pub(super) fn begin(&mut self, range: Range<u64>, generation: u32) {
        self.insert(range, generation);
        if self.spans.len() > RANGES
            && let (Some(first), Some(last)) = (self.spans.first(), self.spans.last())
        {
            let all = Span { start: first.start, end: last.end, generation: self.latest };
            self.spans.clear();
            self.spans.push(all);
        }
    }

    /// At another instance: the home has said that a range has begun this life. If there are too many ranges
    /// all are forgotten: the home tells.
    pub(super) fn learn(&mut self, range: Range<u64>, generation: u32) {
        self.insert(range, generation);
        if self.spans.len() > RANGES {
            self.spans.clear();
        }
    }

    fn insert(&mut self, Range { start, end }: Range<u64>, generation: u32) {
        if start >= end {
            return;
        }
        let mut new = Span { start, end, generation };
        let mut first = self.spans.partition_point(|span| span.end <= start);
        let over = self.spans.iter().skip(first).take_while(|span| span.start < end);
        let mut last = first + over.count();
        // Neighbours in the same life are one span.
        let near = |at: usize| self.spans.get(at).filter(|span| span.generation == generation);
        if first > 0 && near(first - 1).is_some_and(|span| span.end == start) {
            first -= 1;
        }
        if near(last).is_some_and(|span| span.start == end) {
            last += 1;
        }
        let (mut before, mut behind) = (None, None);
        for span in &self.spans[first..last] {
            if span.generation == generation {
                new.start = new.start.min(span.start);
                new.end = new.end.max(span.end);
                continue;
            }
            if span.start < start {
                before = Some(Span { end: start, ..*span });
            }
            if span.end > end {
                behind = Some(Span { start: end, ..*span });
            }
        }
        if first == last {
            self.spans.insert(first, new);
        } else {
            let parts = [before, Some(new), behind];
            self.spans.splice(first..last, parts.into_iter().flatten());
        }
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
        assert!(lives.spans.len() <= RANGES);
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
        assert_eq!(home.spans.len(), 1);
        assert_eq!([0, 1, 128].map(|page| home.of(page)), [home.latest; 3]);
        assert_eq!(home.of(129), 0);
        assert!(member.spans.is_empty());
    }

    #[test]
    fn neighbours_in_one_life_are_one_range() {
        let mut lives = Lives::default();
        lives.learn(4..8, 3);
        lives.learn(8..10, 3);
        lives.learn(2..4, 3);
        assert_eq!(lives.spans, [Span { start: 2, end: 10, generation: 3 }]);
        lives.learn(5..5, 4);
        assert_eq!(lives.of(5), 3);
    }
}
