//! What the instances of a domain tell each other.

use serde::{Deserialize, Serialize};

use crate::event::ENVELOPE_BYTES;
use crate::{Access, Failure, WireSize};

/// Mappings that a Mapping may bring besides the one that was asked for.
pub const AHEAD_MAX: u8 = 8;

/// Neighbours of a page that come along with its mapping: bit `i` stands for the page `1 + i` later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ahead {
    /// Which pages are named.
    pub pages: u8,
    /// Which of them may be mapped writable.
    pub writable: u8,
}

/// What is left of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Left {
    /// Nothing: unmap.
    Nothing,
    /// The right to read.
    Read,
}

/// A message of an instance; `M` is what its node's machine tells other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message<M> {
    /// Between the leads of two nodes.
    Outside(M),
    /// To the lead: which frame is the page's? The sender wants to map it.
    Query {
        /// What the waiting threads need.
        access: Access,
    },
    /// From the lead, with the frame's address, and those of the neighbours that it names.
    Mapping {
        /// What the mapping may allow.
        access: Access,
        /// The frame is in the coherent window.
        window: bool,
        /// Neighbours that the domain has, too.
        ahead: Ahead,
    },
    /// From the lead: there is no page to map.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// From the lead: take your mapping back, flush it from the TLB, and say so.
    Revoke {
        /// What is left.
        left: Left,
    },
    /// To the lead: done.
    Revoked,
    /// To the lead: the sender has given its mapping up.
    Dropped,
}

impl<M: WireSize> WireSize for Message<M> {
    fn header_bytes(&self) -> usize {
        match self {
            Self::Outside(message) => message.header_bytes(),
            // A frame's address for each page that is named.
            Self::Mapping { ahead, .. } => {
                ENVELOPE_BYTES + 4 + 8 * (1 + ahead.pages.count_ones() as usize)
            }
            Self::Query { .. }
            | Self::Failed { .. }
            | Self::Revoke { .. }
            | Self::Revoked
            | Self::Dropped => ENVELOPE_BYTES,
        }
    }

    fn is_inside(&self) -> bool {
        !matches!(self, Self::Outside(_))
    }

    fn names_window(&self) -> bool {
        matches!(self, Self::Outside(message) if message.names_window())
    }

    fn carries_page(&self) -> bool {
        matches!(self, Self::Outside(message) if message.carries_page())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Outside(message) => message.name(),
            Self::Query { .. } => "Query",
            Self::Mapping { .. } => "Mapping",
            Self::Failed { .. } => "Failed",
            Self::Revoke { .. } => "Revoke",
            Self::Revoked => "Revoked",
            Self::Dropped => "Dropped",
        }
    }
}
