//! What a run cost.

use std::collections::BTreeMap;

/// Messages, bytes and faults of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages by kind.
    pub messages: BTreeMap<&'static str, u64>,
    /// Bytes of all messages.
    pub bytes: u64,
    /// Messages that carried a page.
    pub pages: u64,
    /// Faults of loads that the node could not serve alone.
    pub read_misses: u64,
    /// Faults of stores that the node could not serve alone.
    pub write_misses: u64,
    /// Accesses that ended.
    pub accesses: u64,
    /// Evictions that were refused.
    pub kept: u64,
    /// Accesses that failed because a node died.
    pub failed: u64,
    /// Virtual time at the end, in nanoseconds.
    pub ended_ns: u64,
}

impl Tally {
    /// All messages.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.messages.values().sum()
    }

    /// Messages of one kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> u64 {
        self.messages.get(kind).copied().unwrap_or(0)
    }

    /// Faults that needed another node.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.read_misses + self.write_misses
    }
}
