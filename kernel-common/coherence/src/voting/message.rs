//! The seven messages.

use core::mem::size_of;

use serde::{Deserialize, Serialize};

use crate::event::ENVELOPE_BYTES;
use crate::{Nodes, WireSize};

/// Whether who votes is writing itself, and how far it is (D8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rival {
    /// It is not in a Writing state.
    No,
    /// It is in Writing Pend 1 or 2: its Invalid is on its way or here.
    Voting,
    /// It is in Writing Read: it has yet to send an Invalid.
    Reading,
}

/// What the copies of a page tell each other. Sections 4.2 to 4.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message<const W: usize = 1> {
    /// Asks for the content, for a read or for the read before a first write.
    Fetch {
        /// The stamp of a sender that was Unmapped, `None` of one in the Replicated macro-state (D1).
        joining: Option<u64>,
    },
    /// Asks for the content after a lost vote.
    FetchWrite,
    /// The content.
    Copy {
        /// Elections that the content has seen (D2).
        version: u32,
        /// The users of the page that the sender knows.
        group: Nodes<W>,
        /// Whether the sender is in a Writing state (D4).
        writing: bool,
    },
    /// No content here.
    CopyVoid {
        /// The latest version that the sender knows of (D2).
        version: u32,
        /// The sender's copy is, or was, in the Replicated macro-state (D6).
        replicated: bool,
        /// The users of the page that the sender knows.
        group: Nodes<W>,
        /// Whether the sender is in a Writing state (D4).
        writing: bool,
    },
    /// The sender wants to write: drop your copy, and vote.
    Invalid {
        /// When its write began.
        stamp: u64,
    },
    /// A vote for the writer; the copy here is dropped.
    Ack {
        /// Whether the sender is a rival (4.7, rounds).
        rival: Rival,
    },
    /// From the home: the page is in the coherent window.
    Window,
    /// From the home to the last user of a window frame: unmap it and leave.
    Recall,
    /// To the home: the sender has unmapped the window frame.
    Leave,
    /// To the home: the page ping-pongs.
    Hot,
    /// A vote against the writer.
    Nack {
        /// Whether the sender is a rival (4.7, rounds).
        rival: Rival,
    },
}

impl<const W: usize> WireSize for Message<W> {
    fn header_bytes(&self) -> usize {
        let fields = match self {
            Self::Fetch { .. } | Self::Invalid { .. } => size_of::<u64>(),
            Self::FetchWrite
            | Self::Ack { .. }
            | Self::Nack { .. }
            | Self::Window
            | Self::Recall
            | Self::Leave
            | Self::Hot => 0,
            Self::Copy { .. } | Self::CopyVoid { .. } => size_of::<u32>() + size_of::<Nodes<W>>(),
        };
        ENVELOPE_BYTES + fields
    }

    fn names_window(&self) -> bool {
        matches!(self, Self::Window)
    }

    fn carries_page(&self) -> bool {
        matches!(self, Self::Copy { .. })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Fetch { .. } => "Fetch",
            Self::FetchWrite => "Fetch_Write",
            Self::Copy { .. } => "Copy",
            Self::CopyVoid { .. } => "Copy_Void",
            Self::Invalid { .. } => "Invalid",
            Self::Ack { .. } => "Ack",
            Self::Nack { .. } => "Nack",
            Self::Window => "Window",
            Self::Recall => "Recall",
            Self::Leave => "Leave",
            Self::Hot => "Hot",
        }
    }
}
