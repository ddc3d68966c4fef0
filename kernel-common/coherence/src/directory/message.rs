//! The messages of the directory.

use core::mem::size_of;

use serde::{Deserialize, Serialize};

use crate::event::ENVELOPE_BYTES;
use crate::{Addressee, Deaths, NodeId, Nodes, WireSize};

/// A message about a page, in one epoch of its directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message<const W: usize = 1> {
    /// Counted up by the home when a death makes it ask everybody what they hold; what is on its
    /// way from an earlier epoch is void.
    pub epoch: u8,
    /// What it says.
    pub body: Body<W>,
}

/// What a node holds of a page when its home asks after a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Holding {
    /// Nothing.
    Nothing,
    /// Nothing, and content may be on its way here.
    Awaiting,
    /// The content.
    Copy,
    /// The content, with the right to write.
    Exclusive,
}

/// What nodes tell each other about a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body<const W: usize = 1> {
    /// To the home: a reader wants a copy.
    GetS {
        /// Deaths that the sender knows of; a home that has not heard of one waits until it has.
        deaths: Option<Deaths<W>>,
    },
    /// To the home: a writer wants the page.
    GetM {
        /// The sender has a copy.
        upgrade: bool,
        /// As in `GetS`.
        deaths: Option<Deaths<W>>,
    },
    /// To the home: the sender gave its copy up. An owner's Put carries the content.
    Put {
        /// Whether the content comes along.
        content: bool,
    },
    /// From the home: the Put is done.
    PutAck,
    /// From the home to the owner: send a copy to `to`.
    FwdGetS {
        /// Who reads.
        to: Addressee,
    },
    /// From the home to the owner: give the page to `to`.
    FwdGetM {
        /// Who writes.
        to: Addressee,
        /// Whose InvAcks the writer has to wait for.
        acks: Nodes<W>,
    },
    /// From the home to a sharer: drop your copy and tell `to`.
    Inv {
        /// Who writes.
        to: Addressee,
    },
    /// From a sharer to the writer: my copy is gone.
    InvAck,
    /// From the home to a writer that has a copy: it is your turn.
    Grant {
        /// Whose InvAcks to wait for.
        acks: Nodes<W>,
    },
    /// To who asked: the page.
    Data {
        /// Nobody else has a copy once `acks` have come.
        exclusive: bool,
        /// The content comes along; otherwise it is the initial one.
        content: bool,
        /// Whose InvAcks to wait for.
        acks: Nodes<W>,
    },
    /// From the home to a node that will need the page and may not have asked for it: the page, of which
    /// nobody else has a copy.
    Gift,
    /// To the home: the Gift has come. What the sender asked for before is served by it.
    Accepted,
    /// To who asked: the page is in the coherent window.
    Window,
    /// From the home to the last user of a window frame: unmap it and leave.
    Recall,
    /// To the home: the sender has unmapped the window frame.
    Leave,
    /// To the home: the page ping-pongs.
    Hot,
    /// To who asked: the content died with its node.
    Lost,
    /// To the home, after a death: I am waiting, perhaps for the dead.
    Stuck,
    /// From the home, after a death: stop, and tell what you hold. Starts the message's epoch.
    Freeze,
    /// To the home: what is held here.
    Frozen {
        /// What.
        holding: Holding,
    },
    /// From the home: nobody holds the page, but it may be on its way to one of `targets`.
    Drain {
        /// Who waits.
        targets: Nodes<W>,
        /// From whom it may come: who was asked what it holds. Members that have joined since were not.
        sources: Nodes<W>,
    },
    /// Follows all that the sender ever sent to a target of a Drain.
    Flush,
    /// From the home: go on.
    Thaw {
        /// You answer for the content from now on.
        owner: bool,
        /// Nobody has the content.
        lost: bool,
    },
}

impl<const W: usize> WireSize for Message<W> {
    fn header_bytes(&self) -> usize {
        let node = size_of::<NodeId>();
        let set = size_of::<Nodes<W>>();
        let fields = match self.body {
            Body::Put { .. }
            | Body::PutAck
            | Body::InvAck
            | Body::Lost
            | Body::Gift
            | Body::Accepted
            | Body::Window
            | Body::Recall
            | Body::Leave
            | Body::Hot
            | Body::Stuck
            | Body::Freeze
            | Body::Frozen { .. }
            | Body::Flush
            | Body::Thaw { .. } => 0,
            Body::FwdGetS { .. } | Body::Inv { .. } => node,
            Body::FwdGetM { .. } => node + set,
            Body::GetS { deaths } | Body::GetM { deaths, .. } => deaths.map_or(0, |_| 2 * set),
            Body::Grant { .. } | Body::Data { .. } => set,
            Body::Drain { .. } => 2 * set,
        };
        // Epoch and a byte of flags.
        ENVELOPE_BYTES + 2 + fields
    }

    fn names_window(&self) -> bool {
        self.body == Body::Window
    }

    fn carries_page(&self) -> bool {
        matches!(
            self.body,
            Body::Data { content: true, .. } | Body::Put { content: true } | Body::Gift
        )
    }

    fn name(&self) -> &'static str {
        match self.body {
            Body::GetS { .. } => "GetS",
            Body::GetM { .. } => "GetM",
            Body::Put { .. } => "Put",
            Body::PutAck => "PutAck",
            Body::FwdGetS { .. } => "FwdGetS",
            Body::FwdGetM { .. } => "FwdGetM",
            Body::Inv { .. } => "Inv",
            Body::InvAck => "InvAck",
            Body::Grant { .. } => "Grant",
            Body::Data { .. } => "Data",
            Body::Gift => "Gift",
            Body::Accepted => "Accepted",
            Body::Lost => "Lost",
            Body::Window => "Window",
            Body::Recall => "Recall",
            Body::Leave => "Leave",
            Body::Hot => "Hot",
            Body::Stuck => "Stuck",
            Body::Freeze => "Freeze",
            Body::Frozen { .. } => "Frozen",
            Body::Drain { .. } => "Drain",
            Body::Flush => "Flush",
            Body::Thaw { .. } => "Thaw",
        }
    }
}
