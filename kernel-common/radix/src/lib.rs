//! Maps from indices that come in runs, such as those of an object's pages.
//!
//! A radix tree of 16 slots per node, as high as the indices that it holds are apart: what is looked up
//! passes one node per four bits in which they differ, without a comparison. An ordered map finds one of
//! a thousand pages by some thirty comparisons, and a page fault looks a dozen times.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod node;

use core::fmt::{self, Debug, Formatter};
use core::ops::{Bound, RangeBounds, RangeInclusive};

use node::{BITS, Node, SLOTS, Slots};

/// A map from `u64` indices to values, in the order of the indices.
pub struct RadixMap<T> {
    root: Option<Root<T>>,
    len: usize,
}

/// The highest node, and which indices it holds.
struct Root<T> {
    /// The lowest of them: a multiple of their number.
    first: u64,
    /// Bits of an index below those that name a slot of the node.
    shift: u32,
    node: Node<T>,
}

impl<T> Root<T> {
    fn of(index: u64) -> Root<T> {
        Root { first: index & !(SLOTS as u64 - 1), shift: 0, node: Node::leaf() }
    }

    fn covers(&self, index: u64) -> bool {
        (index ^ self.first).checked_shr(self.shift + BITS).is_none_or(|above| above == 0)
    }

    /// Puts the node into a higher one, which holds 16 times as many indices.
    fn grow(&mut self) {
        self.shift += BITS;
        let slot = (self.first >> self.shift) as usize % SLOTS;
        let below = core::mem::replace(&mut self.node, Node::inner());
        self.node.adopt(slot, below);
        self.first &= u64::MAX.checked_shl(self.shift + BITS).unwrap_or(0);
    }

    /// The indices of a range that the node can hold, relative to its first.
    fn clip(&self, range: RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
        let last = u64::MAX.checked_shl(self.shift + BITS).map_or(u64::MAX, |above| !above);
        let end = range.end().checked_sub(self.first)?;
        let start = range.start().saturating_sub(self.first);
        (start <= last).then(|| start..=end.min(last))
    }
}

impl<T> Default for RadixMap<T> {
    fn default() -> RadixMap<T> {
        RadixMap::new()
    }
}

impl<T> RadixMap<T> {
    /// A map without entries.
    #[must_use]
    pub const fn new() -> RadixMap<T> {
        RadixMap { root: None, len: 0 }
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value at `index`.
    #[must_use]
    pub fn get(&self, index: u64) -> Option<&T> {
        let root = self.root.as_ref().filter(|root| root.covers(index))?;
        root.node.get(root.shift, index)
    }

    /// As [`Self::get`].
    #[must_use]
    pub fn get_mut(&mut self, index: u64) -> Option<&mut T> {
        let root = self.root.as_mut().filter(|root| root.covers(index))?;
        root.node.get_mut(root.shift, index)
    }

    /// Sets the value at `index`; returns the one that was there.
    pub fn insert(&mut self, index: u64, value: T) -> Option<T> {
        let root = self.root.get_or_insert_with(|| Root::of(index));
        while !root.covers(index) {
            root.grow();
        }
        let old = root.node.insert(root.shift, index, value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes the value at `index` out.
    pub fn remove(&mut self, index: u64) -> Option<T> {
        let root = self.root.as_mut().filter(|root| root.covers(index))?;
        let value = root.node.remove(root.shift, index)?;
        self.lost(1);
        Some(value)
    }

    /// Takes the entry with the lowest index out.
    pub fn pop_first(&mut self) -> Option<(u64, T)> {
        let (index, _) = self.iter().next()?;
        self.remove(index).map(|value| (index, value))
    }

    /// Takes all entries of a range out: what lies together is not looked at one by one.
    pub fn take_range(&mut self, range: impl RangeBounds<u64>) -> RadixMap<T> {
        let mut taken = RadixMap::new();
        if let Some(root) = &mut self.root
            && let Some(range) = bounds(&range).and_then(|range| root.clip(range))
            && let Some(node) = root.node.take_range(root.shift, range)
        {
            taken.len = node.count();
            taken.root = Some(Root { first: root.first, shift: root.shift, node });
        }
        self.lost(taken.len);
        taken
    }

    fn lost(&mut self, entries: usize) {
        self.len -= entries;
        if self.len == 0 {
            self.root = None;
        }
    }

    /// The entries of a range, lowest first.
    pub fn range(&self, range: impl RangeBounds<u64>) -> Range<'_, T> {
        let rest = self.root.as_ref().and_then(|root| root.clip(bounds(&range)?));
        Range { root: self.root.as_ref(), rest, leaf: None }
    }

    /// All entries, lowest first.
    pub fn iter(&self) -> Range<'_, T> {
        self.range(..)
    }

    /// All values, that of the lowest index first.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }
}

/// The first and the last index of a range, if there is any in it.
fn bounds(range: &impl RangeBounds<u64>) -> Option<RangeInclusive<u64>> {
    let first = match range.start_bound() {
        Bound::Included(&first) => first,
        Bound::Excluded(&before) => before.checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let last = match range.end_bound() {
        Bound::Included(&last) => last,
        Bound::Excluded(&end) => end.checked_sub(1)?,
        Bound::Unbounded => u64::MAX,
    };
    (first <= last).then_some(first..=last)
}

/// The entries of a range: see [`RadixMap::range`].
pub struct Range<'a, T> {
    root: Option<&'a Root<T>>,
    /// What is still to come, relative to the root's first index.
    rest: Option<RangeInclusive<u64>>,
    /// The leaf that the last entry was in, and its first index.
    leaf: Option<(u64, &'a Slots<T>)>,
}

impl<'a, T> Iterator for Range<'a, T> {
    type Item = (u64, &'a T);

    fn next(&mut self) -> Option<(u64, &'a T)> {
        let root = self.root?;
        let (first, last) = self.rest.take()?.into_inner();
        let near = self.leaf.and_then(|(start, leaf)| {
            let inside = usize::try_from(first - start).ok().filter(|inside| *inside < SLOTS)?;
            leaf.next(inside).map(|slot| (start, leaf, slot))
        });
        let (start, leaf, slot) = near.or_else(|| root.node.next(root.shift, first))?;
        let index = start + slot as u64;
        if index > last {
            return None;
        }
        self.leaf = Some((start, leaf));
        self.rest = index.checked_add(1).filter(|&next| next <= last).map(|next| next..=last);
        leaf.get(slot).map(|value| (root.first + index, value))
    }
}

/// All entries by value, lowest first.
pub struct IntoIter<T>(RadixMap<T>);

impl<T> Iterator for IntoIter<T> {
    type Item = (u64, T);

    fn next(&mut self) -> Option<(u64, T)> {
        self.0.pop_first()
    }
}

impl<T> IntoIterator for RadixMap<T> {
    type Item = (u64, T);
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}

impl<'a, T> IntoIterator for &'a RadixMap<T> {
    type Item = (u64, &'a T);
    type IntoIter = Range<'a, T>;

    fn into_iter(self) -> Range<'a, T> {
        self.iter()
    }
}

impl<T> Extend<(u64, T)> for RadixMap<T> {
    fn extend<I: IntoIterator<Item = (u64, T)>>(&mut self, entries: I) {
        for (index, value) in entries {
            self.insert(index, value);
        }
    }
}

impl<T: Debug> Debug for RadixMap<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}
