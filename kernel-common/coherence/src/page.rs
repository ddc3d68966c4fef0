//! What is kept coherent, and how it is named.

use serde::{Deserialize, Serialize};

use crate::{NodeId, Nodes};

/// Nanoseconds since some moment in the past, on this node's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

/// A memory object of the fabric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u64);

/// A page of a memory object, in one of its lives.
///
/// The object's home counts `generation` up whenever it discards a range; what is on its way for an
/// older generation is dropped, so nothing late lands in a reused range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageKey {
    /// The object.
    pub object: ObjectId,
    /// Which life of the page is meant.
    pub generation: u32,
    /// The page's place in the object, in pages.
    pub index: u32,
}

impl PageKey {
    /// The page of an object in its first generation.
    #[must_use]
    pub fn new(object: ObjectId, index: u32) -> Self {
        Self { object, generation: 0, index }
    }
}

/// What an access needs, or a mapping allows. `Write` includes `Read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Access {
    /// Loads and instruction fetches.
    Read,
    /// Stores and atomic operations.
    Write,
}

/// Which node orders the requests for a page (`directory`), lends window frames and decides about
/// discards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    /// One node for the whole object.
    At(NodeId),
    /// The pages are spread over the nodes `0..count` by a hash of object and index.
    Hashed(u16),
}

impl Home {
    /// The home of a page.
    #[must_use]
    pub fn of(self, page: PageKey) -> NodeId {
        match self {
            Self::At(node) => node,
            Self::Hashed(count) => {
                // Fibonacci hashing: neighbours spread evenly and the same on every ISA.
                let mixed = (page.object.0 ^ u64::from(page.index).rotate_left(32))
                    .wrapping_add(u64::from(page.index))
                    .wrapping_mul(0x9E37_79B9_7F4A_7C15);
                NodeId((((mixed >> 32) * u64::from(count.max(1))) >> 32) as u16)
            }
        }
    }

    /// Whether every page's home is one of `members`.
    #[must_use]
    pub fn is_within<const W: usize>(self, members: &Nodes<W>) -> bool {
        match self {
            Self::At(node) => members.contains(node),
            Self::Hashed(count) => (0..count).all(|n| members.contains(NodeId(n))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_homes_are_in_range_and_spread() {
        let mut per_node = [0u32; 7];
        for index in 0..7_000 {
            let node = Home::Hashed(7).of(PageKey::new(ObjectId(42), index));
            per_node[usize::from(node.0)] += 1;
        }
        assert!(per_node.iter().all(|&n| (700..1_300).contains(&n)), "{per_node:?}");
    }

    #[test]
    fn a_hash_over_no_node_is_node_zero() {
        assert_eq!(Home::Hashed(0).of(PageKey::new(ObjectId(1), 9)), NodeId(0));
    }
}
