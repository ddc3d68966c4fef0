//! What a home has told a member of a space's areas.
//!
//! A member that was told nothing of a range has nothing to forget of it: neither areas nor pages, which it
//! can only ask for where it knows an area. Who was told once is told of every change from then on: when it
//! has forgotten an area, requests for pages of it may still be under way there, in whatever life.

use core::ops::Range;

use rangemap::RangeSet;

/// Ranges remembered of a member at the most.
const RANGES: usize = 64;

/// The addresses that a member may know something of: those, and perhaps more.
#[derive(Debug, Default)]
pub(super) struct Told(RangeSet<u64>);

impl Told {
    /// The member is told of an area. If there are too many it may know of all that is between them.
    pub(super) fn tell(&mut self, area: Range<u64>) {
        if area.is_empty() {
            return;
        }
        self.0.insert(area);
        if self.0.len() > RANGES
            && let (Some(first), Some(last)) = (self.0.first(), self.0.last())
        {
            let all = first.start..last.end;
            self.0.insert(all);
        }
    }

    /// The member may know anything.
    pub(super) fn tell_all(&mut self) {
        self.tell(0..u64::MAX);
    }

    /// Whether the member may know something of a range.
    pub(super) fn knows(&self, range: &Range<u64>) -> bool {
        !range.is_empty() && self.0.overlaps(range)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    proptest::proptest! {
        #[test]
        fn nothing_that_was_told_is_missed(
            areas: Vec<(u16, u8)>,
            asked: Vec<(u16, u8)>,
        ) {
            let range = |(start, len): (u16, u8)| u64::from(start)..u64::from(start) + u64::from(len);
            let mut told = Told::default();
            let mut areas: Vec<Range<u64>> = areas.into_iter().map(range).collect();
            for area in &areas {
                told.tell(area.clone());
            }
            areas.retain(|area| !area.is_empty());
            for asked in asked.into_iter().map(range) {
                let overlap = |area: &Range<u64>| area.start < asked.end && asked.start < area.end;
                let knows = !asked.is_empty() && areas.iter().any(overlap);
                // As long as there are few there is no mistake either way.
                assert!(told.knows(&asked) || !knows);
                assert!(told.knows(&asked) == knows || areas.len() > RANGES);
            }
            assert!(told.0.len() <= RANGES);
            told.tell_all();
            assert!(told.knows(&(7..8)) && told.0.len() == 1);
        }
    }
}
