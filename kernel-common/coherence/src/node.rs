//! Nodes and sets of nodes.

use core::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A coherence node: a memory domain of the fabric, numbered from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u16);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// An instance of a coherence node, by its number in the domain: counted from zero, like the nodes
/// of a fabric, and kept in the same sets.
pub type Sibling = NodeId;

/// A set of nodes, one bit each; `W` words hold the nodes `0..64 * W`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nodes<const W: usize = 1>([u64; W]);

impl<const W: usize> Nodes<W> {
    /// The empty set.
    pub const EMPTY: Self = Self([0; W]);
    /// How many nodes a set can tell apart.
    pub const CAPACITY: usize = 64 * W;

    /// The set of one node.
    #[must_use]
    pub fn only(node: NodeId) -> Self {
        let mut set = Self::EMPTY;
        set.insert(node);
        set
    }

    /// The nodes `0..count`, at most [`Self::CAPACITY`].
    #[must_use]
    pub fn first_n(count: usize) -> Self {
        (0..count.min(Self::CAPACITY)).map(|n| NodeId(n as u16)).collect()
    }

    /// Adds a node; false if it was there or the set cannot hold its number.
    pub fn insert(&mut self, node: NodeId) -> bool {
        let bit = 1 << (node.0 % 64);
        match self.0.get_mut(usize::from(node.0 / 64)) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    /// Removes a node; false if it was not there.
    pub fn remove(&mut self, node: NodeId) -> bool {
        let bit = 1 << (node.0 % 64);
        match self.0.get_mut(usize::from(node.0 / 64)) {
            Some(word) if *word & bit != 0 => {
                *word &= !bit;
                true
            }
            _ => false,
        }
    }

    /// Whether a node is in the set.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.0.get(usize::from(node.0 / 64)).is_some_and(|word| word & (1 << (node.0 % 64)) != 0)
    }

    /// Whether the set has no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// How many nodes are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The nodes of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// The nodes of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// The nodes of this set that are not in the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    /// This set without one node.
    #[must_use]
    pub fn without(&self, node: NodeId) -> Self {
        let mut set = *self;
        set.remove(node);
        set
    }

    /// Whether every node of this set is in the other.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    /// The lowest node.
    #[must_use]
    pub fn first(&self) -> Option<NodeId> {
        self.iter().next()
    }

    /// The nodes in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + use<W> {
        self.0.into_iter().enumerate().flat_map(|(index, word)| {
            let mut rest = word;
            core::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                Some(NodeId((index * 64) as u16 + bit as u16))
            })
        })
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let mut out = *self;
        for (word, &with) in out.0.iter_mut().zip(&other.0) {
            *word = f(*word, with);
        }
        out
    }
}

impl<const W: usize> Serialize for Nodes<W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(W)?;
        for word in &self.0 {
            tuple.serialize_element(word)?;
        }
        tuple.end()
    }
}

impl<'de, const W: usize> Deserialize<'de> for Nodes<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words<const W: usize>;

        impl<'de, const W: usize> Visitor<'de> for Words<W> {
            type Value = Nodes<W>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{W} words")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Nodes<W>, A::Error> {
                let mut words = [0; W];
                for (n, word) in words.iter_mut().enumerate() {
                    *word = seq.next_element()?.ok_or_else(|| Error::invalid_length(n, &self))?;
                }
                Ok(Nodes(words))
            }
        }

        deserializer.deserialize_tuple(W, Words::<W>)
    }
}

impl<const W: usize> Default for Nodes<W> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const W: usize> FromIterator<NodeId> for Nodes<W> {
    fn from_iter<I: IntoIterator<Item = NodeId>>(nodes: I) -> Self {
        let mut set = Self::EMPTY;
        for node in nodes {
            set.insert(node);
        }
        set
    }
}

impl<const W: usize> fmt::Debug for Nodes<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_operations_cross_word_borders() {
        let mut set = Nodes::<2>::EMPTY;
        assert!(set.insert(NodeId(3)) && set.insert(NodeId(64)) && set.insert(NodeId(127)));
        assert!(!set.insert(NodeId(3)), "already there");
        assert!(!set.insert(NodeId(128)), "beyond the capacity");
        assert_eq!(set.iter().map(|n| n.0).collect::<alloc::vec::Vec<_>>(), [3, 64, 127]);
        assert_eq!(set.len(), 3);
        assert!(set.without(NodeId(64)).is_subset(&set));
        assert_eq!(set.minus(&Nodes::only(NodeId(3))).first(), Some(NodeId(64)));
        assert_eq!(Nodes::<2>::first_n(70).len(), 70);
        assert_eq!(Nodes::<2>::first_n(1000).len(), 128);
    }
}
