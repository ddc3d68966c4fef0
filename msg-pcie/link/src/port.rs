//! What a link needs of whatever lies between it and its peer.

use core::fmt;

use maize_ring::{Broken, Front, GLIMPSE_WORDS, Glimpse, Meanwhile, Refused};
use maize_window::{Presence, State};
use maize_wire::{Frame, Lines, SLOT_WORDS, Session};

/// One end of the connection between two instances: a ring in each direction, and the few words
/// by which each side says what it thinks of the other.
///
/// [`crate::WindowPort`] is the one over a window; the simulated network has another.
pub trait Port {
    /// A snapshot of what the peer says. What it says of this link is read before what it says of
    /// itself: a peer that starts anew publishes its epoch before it leaves its old sessions, so
    /// who sees it gone sees why.
    fn peer(&self) -> PeerView;

    /// Empties both directions for the session, then says that this side is attached to it.
    fn attach(&mut self, session: Session);

    /// Says that this side is attached to nothing, and why it left.
    fn detach(&mut self, reason: Leave);

    /// Slots that frames may fill at the most.
    fn capacity(&self) -> usize;

    /// Publishes a frame unless more than `limit` slots would be in use.
    ///
    /// # Errors
    /// As [`maize_ring::Producer::claim`].
    fn push(&mut self, frame: &Frame<'_>, limit: usize) -> Result<(), Refused>;

    /// The index before which slots may be filled so that no more than `limit` are in use, see
    /// [`maize_ring::Producer::room_until`].
    ///
    /// # Errors
    /// [`Broken`] if there is nobody to send to.
    fn room_until(&mut self, limit: usize) -> Result<u64, Broken>;

    /// Publishes a frame of one slot, given by its words behind the stamp as far as they mean
    /// anything, if it is before an index that [`Port::room_until`] has returned in this session.
    fn push_slot<const N: usize>(&mut self, words: [u64; N], until: u64) -> bool;

    /// Publishes a frame of that many slots, given by its lines.
    ///
    /// # Errors
    /// As [`Port::push`].
    fn push_lines(&mut self, slots: usize, lines: Lines<'_>, limit: usize) -> Result<(), Refused>;

    /// A glance at the head of the peer's ring, see [`maize_ring::Consumer::glimpse`].
    fn glimpse(&mut self) -> Option<Glimpse>;

    /// The words of the slot at the head behind those of a glimpse.
    fn rest_of_slot(&self) -> [u64; SLOT_WORDS - 1 - GLIMPSE_WORDS];

    /// Takes note of the slots that a glimpse has shown, see [`maize_ring::Consumer::open`].
    fn open(&mut self, slots: usize) -> bool;

    /// The first words of the slot behind the first, of a frame that has one.
    fn second_slot<const N: usize>(&self) -> [u64; N];

    /// Gives the frame at the head back, which a glimpse has shown to be one of one slot.
    fn pop_slot(&mut self);

    /// The frame at the head of the peer's ring; `None` if there is none.
    ///
    /// # Errors
    /// [`Broken`] if the peer has left, or what is there is no frame.
    fn front(&mut self) -> Result<Option<Front>, Broken>;

    /// Copies words of the frame at the head, from its word `word` on.
    fn read(&self, word: usize, into: &mut [u64]);

    /// Gives the frame at the head back.
    fn pop(&mut self);

    /// Whether the peer's doorbell is due, for frames or for room. Asks once.
    fn notify(&mut self) -> bool;

    /// Asks for a doorbell with the next frame; whether the caller may sleep. It may not while it
    /// owes a doorbell itself ([`Port::notify`]).
    fn arm(&mut self, meanwhile: Meanwhile) -> bool;

    /// Whether the peer, when it last wanted a doorbell, worked meanwhile.
    fn peer_works(&self) -> bool;

    /// Withdraws the wish of [`Port::arm`]: who polls needs no doorbell.
    fn disarm(&mut self);

    /// Asks for a doorbell once a frame of `slots` slots would be taken; whether the caller may
    /// sleep.
    ///
    /// # Errors
    /// As [`maize_ring::Producer::await_room`].
    fn await_room(&mut self, slots: usize, limit: usize) -> Result<bool, Refused>;
}

/// What a peer says, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// What it says of itself; `None` if nothing, or nothing that makes sense.
    pub presence: Option<Presence>,
    /// The session that it is attached to, as this side sees it.
    pub attached: Option<Session>,
    /// Why it left the last.
    pub left: Leave,
}

impl PeerView {
    /// Whether the peer has left the session orderly: the whole fabric, or this link. It says
    /// nothing more, but what it has said before may not have been heard yet.
    #[must_use]
    pub fn has_left(&self, session: Session) -> bool {
        let Some(peer) = self.presence else { return false };
        let closed = self.attached.is_none() && self.left == Leave::Closed;
        peer.epoch == session.remote && (peer.state == State::Left || closed)
    }
}

/// Why a side is not attached to a session. The number is what stands in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub enum Leave {
    /// It never was, or does not say.
    #[default]
    Unsaid = 0,
    /// It closed the link.
    Closed = 1,
    /// It starts anew under another epoch.
    Restarting = 2,
    /// The peer was silent for too long.
    Silent = 3,
    /// The peer wrote what no correct peer writes.
    Corrupt = 4,
    /// The peer had left, or had started anew.
    PeerGone = 5,
}

impl Leave {
    /// The reason that has this number; an unknown one says nothing.
    #[must_use]
    pub const fn from_word(word: u64) -> Leave {
        match word {
            1 => Leave::Closed,
            2 => Leave::Restarting,
            3 => Leave::Silent,
            4 => Leave::Corrupt,
            5 => Leave::PeerGone,
            _ => Leave::Unsaid,
        }
    }
}

impl fmt::Display for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Leave::Unsaid => "for no stated reason",
            Leave::Closed => "because it closed the link",
            Leave::Restarting => "because it starts anew",
            Leave::Silent => "because of silence",
            Leave::Corrupt => "because of corruption",
            Leave::PeerGone => "because it found the session left",
        })
    }
}
