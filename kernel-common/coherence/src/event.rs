//! What goes into the machines and what comes out.

use serde::{Deserialize, Serialize};

use crate::{Access, NodeId, ObjectId, PageKey, Sibling, Time};

/// Something that happened at this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event<M> {
    /// A thread of this node faulted; it waits for a `Wake` that allows `access`, then tries again. If that
    /// is among the actions of this very event, the page is mapped when the last of them is done.
    Fault {
        /// Where.
        page: PageKey,
        /// What the thread needs.
        access: Access,
    },
    /// A peer's message arrived. Its payload, if any, stays at hand during the call.
    Message {
        /// Who sent it, as the link knows it: a node, or a sibling if the message is one between
        /// siblings.
        from: NodeId,
        /// The page it is about.
        page: PageKey,
        /// What it says.
        message: M,
    },
    /// A peer is confirmed dead, and its links to this node are drained and closed.
    Died {
        /// Which.
        node: NodeId,
    },
    /// Another instance of this node's domain is confirmed dead, and its link is drained (`shared`).
    SiblingDied {
        /// Its number in the domain.
        sibling: Sibling,
    },
    /// The access that a page arrived for has retired: the hold ends.
    Retired {
        /// Which page.
        page: PageKey,
    },
    /// The moment of a `Timer` action has come.
    Expire {
        /// The timer's page.
        page: PageKey,
    },
    /// This node would like its frame back. Answered by `Release` (now or later) or `Kept`.
    Evict {
        /// Which page.
        page: PageKey,
    },
    /// At the home: a node that has not asked for a page will need it. It gets the page if nobody else
    /// has it or waits for it (`directory`), which the home can know before
    /// ([`Directory::may_be_given`](crate::directory::Directory::may_be_given)).
    Give {
        /// Which page.
        page: PageKey,
        /// Who gets it.
        to: NodeId,
    },
    /// The page's home has given it to this node, and has said so before the page itself: it is on its
    /// way and need not be asked for (`directory`).
    Expect {
        /// Which page.
        page: PageKey,
    },
    /// The content that `WriteBack` named is in the backing store.
    WrittenBack {
        /// Which page.
        page: PageKey,
    },
    /// This node's faults on a page say that it ping-pongs; its home should know.
    Hot {
        /// Which page.
        page: PageKey,
    },
    /// At the home: move a page that is writable here into the coherent window.
    Promote {
        /// Which page.
        page: PageKey,
    },
    /// At the home: everybody is to leave the coherent window, after which the page is as it was before
    /// it came there. Who uses it meanwhile comes back.
    Retreat {
        /// Which page.
        page: PageKey,
    },
    /// This node's mapping of a window frame has not been used for a while.
    Idle {
        /// Which page.
        page: PageKey,
    },
    /// The object's home has discarded a range: the content is gone everywhere, from now on its
    /// pages are of `generation`. Every member applies this before the discarding call returns.
    Discard {
        /// The object.
        object: ObjectId,
        /// The new generation of the range.
        generation: u32,
        /// First page.
        first: u32,
        /// How many pages.
        count: u32,
    },
}

/// Why a fault cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// The only valid copy was on a node that died: SIGBUS.
    Lost,
    /// The page's home died: the object has come to its end.
    HomeDied,
    /// The fault names a generation that was discarded: look the address up again.
    Stale,
}

/// Something that this node must do, in the order in which it was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action<M> {
    /// Send a message on the link to `to`; if it carries a page, with the frame's content of now.
    Send {
        /// To whom: a node, or a sibling if the message is one between siblings
        /// ([`WireSize::is_inside`]).
        to: NodeId,
        /// About which page.
        page: PageKey,
        /// What.
        message: M,
    },
    /// Give the page a frame with its initial content (zeros, or the file's).
    Fill {
        /// Which page.
        page: PageKey,
    },
    /// Give the page a frame with the payload of the message in hand.
    Install {
        /// Which page.
        page: PageKey,
    },
    /// Map the page's frame with exactly this access; `Read` takes a write permission away.
    Map {
        /// Which page.
        page: PageKey,
        /// What the mapping allows.
        access: Access,
    },
    /// Remove every mapping of the page on this node, and flush it from the TLBs.
    Unmap {
        /// Which page.
        page: PageKey,
    },
    /// The frame's content is worthless here now; the frame can be freed.
    Release {
        /// Which page.
        page: PageKey,
    },
    /// Let the threads that wait for at most this access try again.
    Wake {
        /// Which page.
        page: PageKey,
        /// What is served.
        access: Access,
    },
    /// Deliver `Expire` at or after a moment.
    Timer {
        /// Which page.
        page: PageKey,
        /// When.
        at: Time,
    },
    /// Put the frame's content into the backing store and report `WrittenBack`.
    WriteBack {
        /// Which page.
        page: PageKey,
    },
    /// Map the page's frame in the coherent window, writable and never executable.
    MapWindow {
        /// Which page.
        page: PageKey,
    },
    /// At the home: move the content into a frame of the coherent window; the page's own frame is
    /// free then.
    ToWindow {
        /// Which page.
        page: PageKey,
    },
    /// At the home: give the page a frame with the content of its window frame, which is free then.
    FromWindow {
        /// Which page.
        page: PageKey,
    },
    /// At the home: a node says that the page ping-pongs.
    Hot {
        /// Which page.
        page: PageKey,
    },
    /// An `Evict` was refused: the fabric needs this copy.
    Kept {
        /// Which page.
        page: PageKey,
    },
    /// Put the payload of the message in hand aside in a frame of its own: siblings may still have the
    /// page's frame mapped (`shared`).
    Stash {
        /// Which page.
        page: PageKey,
    },
    /// Give the page the frame that was stashed for it first.
    InstallStashed {
        /// Which page.
        page: PageKey,
    },
    /// On a sibling: the page's frame is the one that the lead's message in hand names. A `Release`
    /// forgets it; the frame itself is the lead's.
    Adopt {
        /// Which page.
        page: PageKey,
    },
    /// The threads that wait for the page get an error.
    Fail {
        /// Which page.
        page: PageKey,
        /// Why.
        failure: Failure,
    },
}

impl<M> Event<M> {
    /// The event under a machine whose messages are others; `None` if it is a message itself.
    pub(crate) fn without_message<N>(self) -> Option<Event<N>> {
        Some(match self {
            Self::Message { .. } => return None,
            Self::Fault { page, access } => Event::Fault { page, access },
            Self::Died { node } => Event::Died { node },
            Self::SiblingDied { sibling } => Event::SiblingDied { sibling },
            Self::Retired { page } => Event::Retired { page },
            Self::Expire { page } => Event::Expire { page },
            Self::Evict { page } => Event::Evict { page },
            Self::Give { page, to } => Event::Give { page, to },
            Self::Expect { page } => Event::Expect { page },
            Self::WrittenBack { page } => Event::WrittenBack { page },
            Self::Hot { page } => Event::Hot { page },
            Self::Promote { page } => Event::Promote { page },
            Self::Retreat { page } => Event::Retreat { page },
            Self::Idle { page } => Event::Idle { page },
            Self::Discard { object, generation, first, count } => {
                Event::Discard { object, generation, first, count }
            }
        })
    }
}

impl<M> Action<M> {
    /// The page that the action is about.
    #[must_use]
    pub fn page(&self) -> PageKey {
        match *self {
            Self::Send { page, .. }
            | Self::Fill { page }
            | Self::Install { page }
            | Self::Map { page, .. }
            | Self::Unmap { page }
            | Self::Release { page }
            | Self::Wake { page, .. }
            | Self::Timer { page, .. }
            | Self::WriteBack { page }
            | Self::MapWindow { page }
            | Self::ToWindow { page }
            | Self::FromWindow { page }
            | Self::Hot { page }
            | Self::Kept { page }
            | Self::Stash { page }
            | Self::InstallStashed { page }
            | Self::Adopt { page }
            | Self::Fail { page, .. } => page,
        }
    }

    /// The action with another kind of message.
    pub(crate) fn with_message<N>(self, message: impl FnOnce(M) -> N) -> Action<N> {
        match self {
            Self::Send { to, page, message: sent } => {
                Action::Send { to, page, message: message(sent) }
            }
            Self::Fill { page } => Action::Fill { page },
            Self::Install { page } => Action::Install { page },
            Self::Map { page, access } => Action::Map { page, access },
            Self::Unmap { page } => Action::Unmap { page },
            Self::Release { page } => Action::Release { page },
            Self::Wake { page, access } => Action::Wake { page, access },
            Self::Timer { page, at } => Action::Timer { page, at },
            Self::WriteBack { page } => Action::WriteBack { page },
            Self::MapWindow { page } => Action::MapWindow { page },
            Self::ToWindow { page } => Action::ToWindow { page },
            Self::FromWindow { page } => Action::FromWindow { page },
            Self::Hot { page } => Action::Hot { page },
            Self::Kept { page } => Action::Kept { page },
            Self::Stash { page } => Action::Stash { page },
            Self::InstallStashed { page } => Action::InstallStashed { page },
            Self::Adopt { page } => Action::Adopt { page },
            Self::Fail { page, failure } => Action::Fail { page, failure },
        }
    }
}

/// Where actions go: the caller's queue, or code that carries them out at once.
pub trait Sink<M> {
    /// Takes the next action.
    fn push(&mut self, action: Action<M>);
}

impl<M> Sink<M> for alloc::vec::Vec<Action<M>> {
    fn push(&mut self, action: Action<M>) {
        Self::push(self, action);
    }
}

/// The size of a message on a link, for accounting; the encoding itself belongs to the wire crate.
pub trait WireSize {
    /// Bytes besides the page's content: addresses, kind and fields.
    fn header_bytes(&self) -> usize;
    /// Whether the page's content follows.
    fn carries_page(&self) -> bool;
    /// All bytes.
    fn wire_bytes(&self) -> usize {
        self.header_bytes() + if self.carries_page() { crate::PAGE_SIZE } else { 0 }
    }
    /// Whether it tells the receiver which frame of the coherent window the page is in.
    fn names_window(&self) -> bool {
        false
    }
    /// Whether it goes to an instance of the sender's own domain: then sender and receiver are told
    /// apart by their numbers as siblings, else by those of their nodes.
    fn is_inside(&self) -> bool {
        false
    }
    /// The kind's name, for counters and traces.
    fn name(&self) -> &'static str;
}

/// Bytes that every message spends on link header, page key and kind: sender and receiver (2 each),
/// object (8), generation and index (4 each), kind and flags (4).
pub(crate) const ENVELOPE_BYTES: usize = 24;
