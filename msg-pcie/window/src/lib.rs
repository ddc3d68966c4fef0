//! Memory that instances share.
//!
//! A *window* is DRAM that two or more instances can address: a PCIe BAR between machines, plain
//! reserved RAM inside one. To everything above it is an array of 64-bit words behind the
//! [`Window`] trait, and a way to wake the other side, [`Doorbell`]. [`Layout`] says which word is
//! whose: except for one small area, each word is written by exactly one instance.
//!
//! No reference to shared memory is ever made, and no word is read twice for one decision: callers
//! load a word into a private copy, validate the copy, then use it.
#![no_std]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "host", feature = "loom"))]
extern crate std;

mod fence;
mod header;
#[cfg(feature = "host")]
mod host;
mod layout;
#[cfg(feature = "loom")]
mod loom_window;
mod mapping;
mod presence;

pub use header::{HeaderError, WindowHeader};
#[cfg(feature = "host")]
pub use host::HostWindow;
pub use layout::{
    COUNTER_WORDS, Layout, LayoutError, MAX_INSTANCES, MAX_RING_SLOTS, MIN_INSTANCES,
    MIN_RING_SLOTS, PeerLine, Span, TRACE_HEADER_WORDS, TRACE_RECORD_WORDS,
};
#[cfg(feature = "loom")]
pub use loom_window::LoomWindow;
pub use mapping::{MapError, Mapping};
pub use presence::{Presence, PresenceCell, State};

use maize_wire::InstanceId;

/// Shared memory, as 64-bit words. Copies of a window are the same memory.
///
/// Word offsets come from a [`Layout`] or from arithmetic that the caller has validated, never
/// from a peer. An offset outside the window is a bug on this side and panics, as it does for
/// slices.
///
/// Orderings are those of the language's memory model. What one side stores before a
/// `store_release` is seen by the other after a `load_acquire` that returns the stored value; a
/// store and a later load of another word are ordered only by a [`Window::fence`] between them on
/// both sides. x86 would forgive most omissions, aarch64 none.
pub trait Window: Clone {
    /// Number of words.
    fn words(&self) -> usize;

    /// The part of this window at `span`; `None` if it sticks out.
    fn part(&self, span: Span) -> Option<Self>;

    /// Loads a word, unordered.
    fn load(&self, word: usize) -> u64;

    /// Loads a word; later accesses stay behind it.
    fn load_acquire(&self, word: usize) -> u64;

    /// Stores a word, unordered.
    fn store(&self, word: usize, value: u64);

    /// Stores a word; earlier accesses stay in front of it.
    fn store_release(&self, word: usize, value: u64);

    /// Adds to a word atomically, in one total order with every other such operation. Returns the
    /// value before.
    fn fetch_add(&self, word: usize, value: u64) -> u64;

    /// Replaces a word if it has the expected value, in that same total order.
    ///
    /// # Errors
    /// The value it has instead.
    fn compare_exchange(&self, word: usize, expected: u64, new: u64) -> Result<u64, u64>;

    /// Keeps every access before it in front of every access behind it, stores and later loads
    /// included.
    fn fence(&self);

    /// Keeps earlier accesses in front of later *stores*.
    fn fence_release(&self);

    /// Keeps earlier *loads* in front of later accesses.
    fn fence_acquire(&self);

    /// Loads as many words as the array has, unordered. Where the number is known, this is
    /// straight code with one check of its bounds.
    #[inline]
    fn load_array<const N: usize>(&self, word: usize) -> [u64; N] {
        core::array::from_fn(|offset| self.load(word + offset))
    }

    /// Stores the array's words, unordered, as [`Window::load_array`] loads them.
    #[inline]
    fn store_array<const N: usize>(&self, word: usize, values: [u64; N]) {
        for (offset, value) in values.into_iter().enumerate() {
            self.store(word + offset, value);
        }
    }

    /// The first word of a line of eight, given by its number, and the `N` behind it, if the first
    /// is not `nothing`: then it is loaded first and the others stay behind it, unordered among
    /// themselves. Finding nothing orders nothing, so that looking again and again is cheap.
    #[inline]
    fn load_line<const N: usize>(&self, line: usize, nothing: u64) -> Option<(u64, [u64; N])> {
        const { assert!(N < 8) };
        let first = self.load(line * 8);
        if first == nothing {
            return None;
        }
        self.fence_acquire();
        Some((first, self.load_array(line * 8 + 1)))
    }

    /// Stores the first words of a line of eight, given by its number; the very first last, behind
    /// all accesses before it.
    #[inline]
    fn store_line<const N: usize>(&self, line: usize, first: u64, rest: [u64; N]) {
        const { assert!(N < 8) };
        self.store_array(line * 8 + 1, rest);
        self.store_release(line * 8, first);
    }

    /// Copies words out, unordered.
    fn copy_out(&self, word: usize, into: &mut [u64]) {
        for (offset, value) in into.iter_mut().enumerate() {
            *value = self.load(word + offset);
        }
    }

    /// Copies words in, unordered.
    fn copy_in(&self, word: usize, from: &[u64]) {
        for (offset, value) in from.iter().enumerate() {
            self.store(word + offset, *value);
        }
    }

    /// Sets every word to zero, unordered.
    fn clear(&self) {
        for word in 0..self.words() {
            self.store(word, 0);
        }
    }
}

/// Wakes another instance.
///
/// Only a hint: rings may be merged, may come late or for nothing, and one rung before the peer
/// listens is lost. What there is to find is in the window, and whoever goes to sleep looks there
/// once more after it has said that it wants to be woken. Ringing a dead peer is harmless.
pub trait Doorbell {
    /// Makes `peer` look into its rings.
    fn ring(&mut self, peer: InstanceId);
}

impl<F: FnMut(InstanceId)> Doorbell for F {
    fn ring(&mut self, peer: InstanceId) {
        self(peer);
    }
}
