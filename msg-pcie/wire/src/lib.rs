//! The wire format between instances.
//!
//! Everything two instances exchange through a window is a sequence of little-endian 64-bit words.
//! This crate says what those words are and nothing else: it holds no state, knows no memory and
//! gives no meaning to a message's kind. Both instruction sets build it, and the constant
//! assertions below hold in both builds.
//!
//! A *frame* is what one publication puts into a ring: a whole number of 64-byte slots.
//!
//! ```text
//! word  0     stamp   (ring: index, slots, tag; written last)
//!       1     version, flags, kind, body length
//!       2     source, destination, epoch
//!       3     sequence, checksum
//!       4..   body, zero-padded to a word; then the page's checksum word, if the frame has one
//!       8·k.. the page, 512 words, from the next slot boundary, if the frame carries one
//! ```
//!
//! A control body is a `postcard` value ([`control`]). A page is never serialised: its 512 words
//! are copied as they are.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod checksum;
pub mod control;
mod frame;
mod header;
mod id;
mod page;
mod plain;

pub use frame::{Body, FRAGMENT_WORDS, Fragment, Frame, Lines, Sink, body_matches};
pub use header::{Class, FrameError, Header, Kind, Parts, VERSION};
pub use id::{Epoch, InstanceId, Session};
pub use page::{PAGE_BYTES, PAGE_WORDS, Page};
pub use plain::{Plain, Route, class_index};

/// Bytes of a slot: the unit in which rings are filled, one cache line on both instruction sets.
pub const SLOT_BYTES: usize = 64;
/// 64-bit words of a slot.
pub const SLOT_WORDS: usize = SLOT_BYTES / 8;
/// Words before a frame's body: the ring's stamp and the three of [`Header`].
pub const HEADER_WORDS: usize = 4;
/// Body words that share the header's slot.
pub const INLINE_WORDS: usize = SLOT_WORDS - HEADER_WORDS;
/// Slots of the largest frame without a page.
pub const MAX_BODY_SLOTS: usize = 64;
/// Bytes of the largest body of a frame without a page.
pub const MAX_BODY_BYTES: usize = (MAX_BODY_SLOTS * SLOT_WORDS - HEADER_WORDS) * 8;
/// Bytes of the largest body that can travel in front of a page.
pub const MAX_PAGE_BODY_BYTES: usize = 216;
/// Slots of the largest frame of all: header, body and checksum word in four slots, and a page.
pub const MAX_FRAME_SLOTS: usize = 4 + PAGE_BYTES / SLOT_BYTES;
/// Bytes of the largest message. What does not fit a frame travels in fragments.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

// What both instruction sets must agree on. A build in which one of these is false does not exist.
const _: () = {
    assert!(cfg!(target_endian = "little"), "words are copied as they lie in memory");
    assert!(SLOT_BYTES == 64 && SLOT_WORDS == 8);
    assert!(PAGE_BYTES == 4096 && PAGE_WORDS == 512 && size_of::<Page>() == 4096);
    assert!(align_of::<Page>() == 4096);
    assert!(HEADER_WORDS * 8 == 32 && INLINE_WORDS * 8 == 32);
    assert!(MAX_BODY_BYTES == 4064);
    assert!(HEADER_WORDS * 8 + MAX_PAGE_BODY_BYTES + 8 == 4 * SLOT_BYTES);
    assert!(MAX_FRAME_SLOTS == 68);
    assert!(MAX_MESSAGE_BYTES <= u32::MAX as usize);
    assert!((MAX_BODY_BYTES - FRAGMENT_WORDS * 8).is_multiple_of(8));
    assert!(size_of::<Epoch>() == 4 && size_of::<Option<Epoch>>() == 4);
    assert!(size_of::<InstanceId>() == 2);
};
