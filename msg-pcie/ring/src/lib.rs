//! A ring of frames in a window: one [`Producer`], one [`Consumer`], no lock, no read-modify-write.
//!
//! A ring is an array of 64-byte slots that only its producer writes. A frame fills one or more
//! consecutive slots (modulo the ring). The first word of a frame's first slot is its *stamp*;
//! storing it publishes the frame, so a frame that fits one slot costs one cache line.
//!
//! ```text
//! slot          head                    tail
//!   … consumed │ stamp frame │ stamp fr…│ EMPTY │ free …
//! ```
//!
//! - The slot at the tail always holds the stamp `EMPTY`: the producer clears the slot *behind*
//!   a frame before it publishes the frame (or has done so already, after the frame before). So at
//!   its head the consumer finds either `EMPTY` or the stamp of the next frame; anything else is
//!   corruption, not an old frame.
//! - One slot therefore stays free, and a frame may fill half of the ring at most.
//! - How far it has consumed, the consumer says in a line of its own, in steps of an eighth of the
//!   ring (at most 64 slots); that line is the producer's credit.
//! - Who wants to sleep publishes the index at which it wants a doorbell, fences, and looks once
//!   more; who makes progress fences, and looks at that index. One of the two sees the other.
//!   Each index rings at most once, so a burst costs one doorbell.
//!
//! A producer that dies between any two stores leaves whole frames and then `EMPTY`. A peer's
//! words are each loaded once, validated, and kept: *empty*, *corrupt* and *dead* are different
//! answers ([`Broken`]). A peer is dead, to a ring, when its attachment line no longer names the
//! session that the ring was started for.
#![no_std]
#![forbid(unsafe_code)]

mod consumer;
mod producer;
mod stamp;

pub use consumer::{Consumer, ConsumerParts, Front, GLIMPSE_WORDS, Glimpse};
pub use producer::{Claim, Producer, ProducerParts, Refused};

use core::fmt;

use maize_window::Window;
use maize_wire::SLOT_WORDS;

/// What a consumer that wants a doorbell does until it rings. A hint to the producer and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Meanwhile {
    /// It sleeps.
    Sleeps = 0,
    /// It does something else, on a core that is busy.
    Works = 1,
}

/// Where in its line with the wish for a doorbell a consumer says what it does meanwhile.
const WANT_MEANWHILE: usize = 1;

/// An index that no ring reaches: no doorbell is wanted.
const NEVER: u64 = u64::MAX;

/// Words of a ring's size and frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Geometry {
    slots: usize,
    /// One less, which is all ones below the power of two that it is.
    last: u64,
    largest_frame: usize,
    /// The most slots that the consumer frees before it says so. A producer that waits for room
    /// waits for an index at least this far behind its tail (see [`Producer::await_room`]), so
    /// the consumer's next announcement always ends the wait.
    announce_every: u64,
}

impl Geometry {
    fn of<W: Window>(ring: &W, largest_frame: usize) -> Result<Geometry, GeometryError> {
        let slots = ring.words() / SLOT_WORDS;
        if !slots.is_power_of_two() || !ring.words().is_multiple_of(SLOT_WORDS) || slots < 4 {
            return Err(GeometryError::Slots(slots));
        }
        if largest_frame == 0 || largest_frame > slots / 2 || largest_frame > stamp::MAX_SLOTS {
            return Err(GeometryError::Frame(largest_frame));
        }
        let announce_every = (slots as u64 / 8).clamp(1, 64);
        Ok(Geometry { slots, last: slots as u64 - 1, largest_frame, announce_every })
    }

    /// The slot with this index: its number in the ring.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "reduced below the number of slots")]
    const fn slot_of(self, index: u64) -> usize {
        (index & self.last) as usize
    }

    /// Word of the ring at which the slot with this index starts.
    #[inline]
    const fn word_of(self, index: u64) -> usize {
        self.slot_of(index) * SLOT_WORDS
    }

    /// Slots that may be in use at the most.
    #[inline]
    fn capacity(self) -> usize {
        self.slots - 1
    }
}

/// [`Geometry::slot_of`] for a ring whose geometry is known to be one: of what is needed to check the
/// bounds anyway.
#[inline]
fn line_of<W: Window>(ring: &W, index: u64) -> usize {
    let slots = (ring.words() / SLOT_WORDS) as u64;
    (index & slots.wrapping_sub(1)) as usize
}

/// Why memory cannot be a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryError {
    /// Not a power of two, or fewer than four.
    Slots(usize),
    /// The largest frame is larger than half of the ring, or of no slots.
    Frame(usize),
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GeometryError::Slots(slots) => write!(f, "ring of {slots} slots"),
            GeometryError::Frame(slots) => write!(f, "frames of {slots} slots in such a ring"),
        }
    }
}

impl core::error::Error for GeometryError {}

/// Why a ring gives no more answers in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The peer wrote what no correct peer writes.
    Corrupt(Corrupt),
    /// The peer has left the session, or another incarnation of it is there.
    Dead,
}

/// What is wrong in a ring. Always the peer's fault (or the memory's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// At the head is neither nothing nor the frame that is due.
    Stamp {
        /// The low half of the index that is due, and the session's tag above it.
        expected: u64,
        /// The word that was found.
        found: u64,
    },
    /// A frame has no slots, or more than a frame can have.
    Slots(u16),
    /// The peer says it has consumed less than it said before, or more than was sent.
    Consumed {
        /// The least it can have consumed.
        least: u64,
        /// The most it can have consumed.
        most: u64,
        /// What it says.
        found: u64,
    },
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corrupt::Stamp { expected, found } => {
                write!(f, "stamp {found:#018x} where {expected:#018x} is due")
            }
            Corrupt::Slots(slots) => write!(f, "frame of {slots} slots"),
            Corrupt::Consumed { least, most, found } => {
                write!(f, "consumed index {found} is not between {least} and {most}")
            }
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Corrupt(corrupt) => corrupt.fmt(f),
            Broken::Dead => f.write_str("peer has left the session"),
        }
    }
}

impl core::error::Error for Broken {}
