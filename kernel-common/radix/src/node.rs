//! Nodes of the tree. `shift` is how many bits of an index lie below those that name a node's slot: zero
//! for leaves.

use alloc::boxed::Box;
use core::ops::RangeInclusive;

/// Bits of an index that name a slot of a node.
pub(crate) const BITS: u32 = 4;
pub(crate) const SLOTS: usize = 1 << BITS;

/// Slots, and which of them are used.
pub(crate) struct Slots<S> {
    used: u16,
    slots: [Option<S>; SLOTS],
}

impl<S> Slots<S> {
    fn new() -> Box<Slots<S>> {
        Box::new(Slots { used: 0, slots: [const { None }; SLOTS] })
    }

    fn put(&mut self, slot: usize, value: S) -> Option<S> {
        self.used |= 1 << slot;
        self.slots[slot].replace(value)
    }

    fn take(&mut self, slot: usize) -> Option<S> {
        self.used &= !(1 << slot);
        self.slots[slot].take()
    }

    /// What is in a slot.
    pub(crate) fn get(&self, slot: usize) -> Option<&S> {
        self.slots[slot].as_ref()
    }

    /// The first used slot from `start` on.
    pub(crate) fn next(&self, start: usize) -> Option<usize> {
        let rest = u32::from(self.used) & u32::MAX.checked_shl(start as u32)?;
        (rest != 0).then(|| rest.trailing_zeros() as usize)
    }
}

pub(crate) enum Node<T> {
    Leaf(Box<Slots<T>>),
    Inner(Box<Slots<Node<T>>>),
}

fn slot_of(shift: u32, index: u64) -> usize {
    (index >> shift) as usize % SLOTS
}

impl<T> Node<T> {
    pub(crate) fn leaf() -> Node<T> {
        Node::Leaf(Slots::new())
    }

    pub(crate) fn inner() -> Node<T> {
        Node::Inner(Slots::new())
    }

    /// Puts a node into a slot of this one, which is no leaf.
    pub(crate) fn adopt(&mut self, slot: usize, below: Node<T>) {
        if let Node::Inner(inner) = self {
            inner.put(slot, below);
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Node::Leaf(leaf) => leaf.used == 0,
            Node::Inner(inner) => inner.used == 0,
        }
    }

    /// Entries below.
    pub(crate) fn count(&self) -> usize {
        match self {
            Node::Leaf(leaf) => leaf.used.count_ones() as usize,
            Node::Inner(inner) => inner.slots.iter().flatten().map(Node::count).sum(),
        }
    }

    pub(crate) fn get(&self, mut shift: u32, index: u64) -> Option<&T> {
        let mut node = self;
        loop {
            let slot = slot_of(shift, index);
            match node {
                Node::Leaf(leaf) => return leaf.slots[slot].as_ref(),
                Node::Inner(inner) => node = inner.slots[slot].as_ref()?,
            }
            shift -= BITS;
        }
    }

    pub(crate) fn get_mut(&mut self, mut shift: u32, index: u64) -> Option<&mut T> {
        let mut node = self;
        loop {
            let slot = slot_of(shift, index);
            match node {
                Node::Leaf(leaf) => return leaf.slots[slot].as_mut(),
                Node::Inner(inner) => node = inner.slots[slot].as_mut()?,
            }
            shift -= BITS;
        }
    }

    pub(crate) fn insert(&mut self, mut shift: u32, index: u64, value: T) -> Option<T> {
        let mut node = self;
        loop {
            let slot = slot_of(shift, index);
            match node {
                Node::Leaf(leaf) => return leaf.put(slot, value),
                Node::Inner(inner) => {
                    shift -= BITS;
                    inner.used |= 1 << slot;
                    let new = || if shift == 0 { Node::leaf() } else { Node::inner() };
                    node = inner.slots[slot].get_or_insert_with(new);
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, shift: u32, index: u64) -> Option<T> {
        let slot = slot_of(shift, index);
        match self {
            Node::Leaf(leaf) => leaf.take(slot),
            Node::Inner(inner) => {
                let below = inner.slots[slot].as_mut()?;
                let value = below.remove(shift - BITS, index)?;
                if below.is_empty() {
                    inner.take(slot);
                }
                Some(value)
            }
        }
    }

    /// The first leaf with an entry at or behind `from`, and that entry's slot; and the leaf's first
    /// index. Indices are relative to the node's first.
    pub(crate) fn next(&self, shift: u32, from: u64) -> Option<(u64, &Slots<T>, usize)> {
        let start = slot_of(shift, from);
        match self {
            Node::Leaf(leaf) => leaf.next(start).map(|slot| (0, &**leaf, slot)),
            Node::Inner(inner) => {
                let mut inside = from & ((1 << shift) - 1);
                let mut at = start;
                while let Some(slot) = inner.next(at) {
                    if slot != start {
                        inside = 0;
                    }
                    let below = inner.slots[slot].as_ref()?;
                    if let Some((first, leaf, at)) = below.next(shift - BITS, inside) {
                        return Some(((slot as u64) << shift | first, leaf, at));
                    }
                    at = slot + 1;
                }
                None
            }
        }
    }

    /// Takes the entries of a range out, in a node of the same height, if there are any. Indices are relative
    /// to the node's first.
    pub(crate) fn take_range(&mut self, shift: u32, range: RangeInclusive<u64>) -> Option<Node<T>> {
        let (first, last) = range.into_inner();
        let (from, to) = (slot_of(shift, first), slot_of(shift, last));
        match self {
            Node::Leaf(leaf) => {
                let mut taken = None;
                while let Some(slot) = leaf.next(from).filter(|&slot| slot <= to) {
                    let value = leaf.take(slot)?;
                    taken.get_or_insert_with(Slots::new).put(slot, value);
                }
                taken.map(Node::Leaf)
            }
            Node::Inner(inner) => {
                let mut taken = None;
                let mut at = from;
                while let Some(slot) = inner.next(at).filter(|&slot| slot <= to) {
                    at = slot + 1;
                    let start = (slot as u64) << shift;
                    let end = start | ((1 << shift) - 1);
                    let part = first.max(start) - start..=last.min(end) - start;
                    let cut = if *part.end() - *part.start() == end - start {
                        inner.take(slot)
                    } else {
                        let below = inner.slots[slot].as_mut()?;
                        let cut = below.take_range(shift - BITS, part);
                        if below.is_empty() {
                            inner.take(slot);
                        }
                        cut
                    };
                    if let Some(cut) = cut {
                        taken.get_or_insert_with(Slots::new).put(slot, cut);
                    }
                }
                taken.map(Node::Inner)
            }
        }
    }
}
