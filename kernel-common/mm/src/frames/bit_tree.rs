//! A set of small integers that finds its lowest member in constant time.

use alloc::vec;
use alloc::vec::Vec;

const WORD: usize = u64::BITS as usize;

/// A set of integers below a bound fixed at creation.
///
/// Level 0 has one bit per member. A bit of a higher level says that the word of 64 bits under it
/// is not zero, so insertion, removal and finding the lowest member take one step per level: four
/// for 64 GiB of frames.
pub(super) struct BitTree {
    levels: Vec<Vec<u64>>,
}

impl BitTree {
    /// The set of all integers below `len`.
    pub(super) fn full(len: usize) -> BitTree {
        let mut levels = Vec::new();
        let mut bits = len.max(1);
        let mut members = len;
        loop {
            let words = bits.div_ceil(WORD);
            let mut level = vec![u64::MAX; words];
            for (at, word) in level.iter_mut().enumerate() {
                let here = members.saturating_sub(at * WORD);
                if here < WORD {
                    *word = (1u64 << here) - 1;
                }
            }
            levels.push(level);
            if words == 1 {
                return BitTree { levels };
            }
            bits = words;
            members = members.div_ceil(WORD);
        }
    }

    /// Whether `value` is in the set.
    pub(super) fn contains(&self, value: usize) -> bool {
        self.levels[0][value / WORD] & (1 << (value % WORD)) != 0
    }

    /// Adds `value`.
    pub(super) fn insert(&mut self, mut value: usize) {
        for level in &mut self.levels {
            let word = &mut level[value / WORD];
            let had = *word != 0;
            *word |= 1 << (value % WORD);
            if had {
                return;
            }
            value /= WORD;
        }
    }

    /// Takes `value` out.
    pub(super) fn remove(&mut self, mut value: usize) {
        for level in &mut self.levels {
            let word = &mut level[value / WORD];
            *word &= !(1 << (value % WORD));
            if *word != 0 {
                return;
            }
            value /= WORD;
        }
    }

    /// The first of `count` consecutive members, as far up as whole words of 64 allow.
    pub(super) fn last_run(&self, count: usize) -> Option<usize> {
        let wanted = count.div_ceil(WORD);
        let words = &self.levels[0];
        let mut end = words.len();
        while end >= wanted {
            let run = &words[end - wanted..end];
            match run.iter().rposition(|word| *word != u64::MAX) {
                None => return Some((end - wanted) * WORD),
                // A run that reaches up to here or beyond would have this word in it.
                Some(taken) => end = end - wanted + taken,
            }
        }
        None
    }

    /// The lowest member.
    pub(super) fn first(&self) -> Option<usize> {
        let mut at = 0;
        for level in self.levels.iter().rev() {
            let word = level[at];
            if word == 0 {
                return None;
            }
            at = at * WORD + word.trailing_zeros() as usize;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(len in 1usize..20_000, ops in prop::collection::vec((any::<bool>(), any::<usize>()), 0..400)) {
            let mut tree = BitTree::full(len);
            let mut model: BTreeSet<usize> = (0..len).collect();
            for (insert, value) in ops {
                let value = value % len;
                if insert { tree.insert(value); model.insert(value); }
                else { tree.remove(value); model.remove(&value); }
                prop_assert_eq!(tree.first(), model.first().copied());
                prop_assert_eq!(tree.contains(value), insert);
            }
        }
    }

    #[test]
    fn the_last_run_is_found() {
        let mut tree = BitTree::full(1000);
        // The last word is not whole.
        assert_eq!(tree.last_run(64), Some(14 * 64));
        assert_eq!(tree.last_run(65), Some(13 * 64));
        assert_eq!(tree.last_run(15 * 64), Some(0));
        assert_eq!(tree.last_run(15 * 64 + 1), None);
        tree.remove(13 * 64 + 5);
        assert_eq!(tree.last_run(128), Some(11 * 64));
        assert_eq!(tree.last_run(64), Some(14 * 64));
        (0..15).for_each(|word| tree.remove(word * 64));
        assert_eq!(tree.last_run(1), None);
    }

    #[test]
    fn an_emptied_set_has_no_first() {
        let mut tree = BitTree::full(5000);
        for value in 0..5000 {
            assert_eq!(tree.first(), Some(value));
            tree.remove(value);
        }
        assert_eq!(tree.first(), None);
        assert_eq!(BitTree::full(0).first(), None);
    }
}
