//! The one place that turns an address into a [`Window`].
#![allow(unsafe_code, reason = "a mapping starts from an address that a driver vouches for")]

use core::{
    fmt,
    ptr::NonNull,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
        fence,
    },
};

use crate::{Span, Window};

/// A mapped window (or a part of one).
///
/// Every access is a naturally aligned 64-bit atomic, so a peer that writes at the same moment can
/// give a wrong value but never a torn word, and never undefined behaviour on this side.
#[derive(Clone, Copy)]
pub struct Mapping<'a>(&'a [AtomicU64]);

impl fmt::Debug for Mapping<'_> {
    /// Where it is, not what is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({:p}, {} words)", self.0, self.0.len())
    }
}

impl<'a> Mapping<'a> {
    /// The window of `bytes` bytes that is mapped at `base`.
    ///
    /// # Errors
    /// [`MapError`] if the address is not a multiple of 64, or the size not one of 8.
    ///
    /// # Safety
    /// For all of `'a`, the range must stay mapped readable and writable as ordinary cacheable
    /// memory, and whoever else can reach it in this program must do so by aligned 64-bit atomics
    /// only. Peers outside the program may do what they like to it.
    pub unsafe fn new(base: NonNull<u8>, bytes: usize) -> Result<Mapping<'a>, MapError> {
        if !base.addr().get().is_multiple_of(64) {
            return Err(MapError::Address(base.addr().get()));
        }
        if bytes == 0 || !bytes.is_multiple_of(8) || isize::try_from(bytes).is_err() {
            return Err(MapError::Size(bytes));
        }
        // SAFETY: the caller keeps the range mapped for 'a and reaches it by atomics only, so
        // shared references to atomics, which allow for changes from elsewhere, may cover it. It
        // is aligned (checked), not larger than an object can be (checked), and any bits are a
        // valid AtomicU64.
        let words = unsafe { core::slice::from_raw_parts(base.cast().as_ptr(), bytes / 8) };
        Ok(Mapping(words))
    }

    /// A window over words that this program owns: for tests and simulations.
    #[must_use]
    pub const fn from_words(words: &'a [AtomicU64]) -> Mapping<'a> {
        Mapping(words)
    }
}

impl Window for Mapping<'_> {
    #[inline]
    fn words(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn part(&self, span: Span) -> Option<Self> {
        self.0.get(span.start..span.end()).map(Mapping)
    }

    #[inline]
    fn load(&self, word: usize) -> u64 {
        self.0[word].load(Relaxed)
    }

    #[inline]
    fn load_acquire(&self, word: usize) -> u64 {
        self.0[word].load(Acquire)
    }

    #[inline]
    fn store(&self, word: usize, value: u64) {
        self.0[word].store(value, Relaxed);
    }

    #[inline]
    fn store_release(&self, word: usize, value: u64) {
        self.0[word].store(value, Release);
    }

    #[inline]
    fn fetch_add(&self, word: usize, value: u64) -> u64 {
        self.0[word].fetch_add(value, SeqCst)
    }

    #[inline]
    fn compare_exchange(&self, word: usize, expected: u64, new: u64) -> Result<u64, u64> {
        self.0[word].compare_exchange(expected, new, SeqCst, SeqCst)
    }

    #[inline]
    fn fence(&self) {
        crate::fence::full();
    }

    #[inline]
    fn fence_release(&self) {
        fence(Release);
    }

    #[inline]
    fn fence_acquire(&self) {
        fence(Acquire);
    }

    #[inline]
    fn load_array<const N: usize>(&self, word: usize) -> [u64; N] {
        let from = &self.0[word..word + N];
        core::array::from_fn(|offset| from[offset].load(Relaxed))
    }

    #[inline]
    fn store_array<const N: usize>(&self, word: usize, values: [u64; N]) {
        let into = &self.0[word..word + N];
        for (into, value) in into.iter().zip(values) {
            into.store(value, Relaxed);
        }
    }

    #[inline]
    fn load_line<const N: usize>(&self, line: usize, nothing: u64) -> Option<(u64, [u64; N])> {
        const { assert!(N < 8) };
        // One check of the bounds for all of them.
        let line = &self.0.as_chunks::<8>().0[line];
        let first = line[0].load(Relaxed);
        if first == nothing {
            return None;
        }
        // A fence rather than an acquiring load: on aarch64 `dmb ishld`, which costs less than
        // `ldar` behind a store to another line, and only where there is something.
        fence(Acquire);
        Some((first, core::array::from_fn(|offset| line[offset + 1].load(Relaxed))))
    }

    #[inline]
    fn store_line<const N: usize>(&self, line: usize, first: u64, rest: [u64; N]) {
        const { assert!(N < 8) };
        let line = &self.0.as_chunks::<8>().0[line];
        for (into, value) in line[1..].iter().zip(rest) {
            into.store(value, Relaxed);
        }
        crate::fence::release();
        line[0].store(first, Relaxed);
    }

    #[inline]
    fn copy_out(&self, word: usize, into: &mut [u64]) {
        let from = &self.0[word..word + into.len()];
        let (into_turns, into_rest) = into.as_chunks_mut::<TURN>();
        let (from_turns, from_rest) = from.as_chunks::<TURN>();
        for (into, from) in into_turns.iter_mut().zip(from_turns) {
            for (into, from) in into.iter_mut().zip(from) {
                *into = from.load(Relaxed);
            }
        }
        for (into, from) in into_rest.iter_mut().zip(from_rest) {
            *into = from.load(Relaxed);
        }
    }

    #[inline]
    fn copy_in(&self, word: usize, from: &[u64]) {
        let into = &self.0[word..word + from.len()];
        let (into_turns, into_rest) = into.as_chunks::<TURN>();
        let (from_turns, from_rest) = from.as_chunks::<TURN>();
        for (into, from) in into_turns.iter().zip(from_turns) {
            for (into, from) in into.iter().zip(from) {
                into.store(*from, Relaxed);
            }
        }
        for (into, from) in into_rest.iter().zip(from_rest) {
            into.store(*from, Relaxed);
        }
    }
}

/// Words that are copied in one turn of a loop: compilers neither merge atomic accesses nor unroll
/// loops of them by themselves, and under emulation the loop's overhead is what one pays for.
const TURN: usize = 16;

/// Why memory cannot be a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The address is not a multiple of 64.
    Address(usize),
    /// The size is zero, not a multiple of 8, or beyond what can be addressed.
    Size(usize),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::Address(address) => {
                write!(f, "window address {address:#x} is not aligned to 64 bytes")
            }
            MapError::Size(bytes) => write!(f, "window size {bytes} is not valid"),
        }
    }
}

impl core::error::Error for MapError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{boxed::Box, vec::Vec};

    #[repr(align(64))]
    struct Aligned([u8; 128]);

    #[test]
    fn addresses_and_sizes_are_checked() {
        let mut memory = Box::new(Aligned([0; 128]));
        let base = NonNull::from(&mut memory.0).cast::<u8>();
        // SAFETY: the box outlives the mapping and nothing else touches it meanwhile.
        let map =
            |offset, bytes| unsafe { Mapping::new(base.add(offset), bytes).map(|m| m.words()) };
        assert_eq!(map(0, 128), Ok(16));
        assert_eq!(map(64, 64), Ok(8));
        assert!(matches!(map(8, 64), Err(MapError::Address(_))));
        assert_eq!(map(0, 0), Err(MapError::Size(0)));
        assert_eq!(map(0, 12), Err(MapError::Size(12)));
    }

    #[test]
    fn copies_move_every_word_once() {
        let words: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(u64::MAX)).collect();
        let window = Mapping::from_words(&words);
        for length in 0..40 {
            window.clear();
            let from: Vec<u64> = (1..=length).collect();
            window.copy_in(9, &from);
            let mut all = [0; 64];
            window.copy_out(0, &mut all);
            let end = 9 + from.len();
            assert!(all[..9].iter().chain(&all[end..]).all(|word| *word == 0));
            assert_eq!(all[9..end], from);
            let mut back = std::vec![0; from.len()];
            window.copy_out(9, &mut back);
            assert_eq!(back, from);
        }
    }

    #[test]
    fn arrays_are_their_words() {
        let words: Vec<AtomicU64> = (0..16).map(AtomicU64::new).collect();
        let window = Mapping::from_words(&words);
        assert_eq!(window.load_array(9), [9, 10, 11, 12, 13, 14, 15]);
        window.store_array(3, [70, 71]);
        assert_eq!(window.load_array(2), [2, 70, 71, 5]);
    }

    #[test]
    fn lines_are_their_words() {
        let words: Vec<AtomicU64> = (0..24).map(AtomicU64::new).collect();
        let window = Mapping::from_words(&words);
        assert_eq!(window.load_line(1, 0), Some((8, [9, 10, 11, 12, 13, 14, 15])));
        assert_eq!(window.load_line(1, 0), Some((8, [9])));
        assert_eq!(window.load_line::<2>(1, 8), None);
        window.store_line(2, 50, [51, 52, 53, 54, 55, 56, 57]);
        assert_eq!(window.load_array(14), [14, 15, 50, 51, 52, 53, 54, 55, 56, 57]);
        window.store_line(2, 60, [61]);
        assert_eq!(window.load_array(14), [14, 15, 60, 61, 52]);
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn arrays_do_not_stick_out() {
        let words = [const { AtomicU64::new(0) }; 8];
        let _: [u64; 4] = Mapping::from_words(&words).load_array(5);
    }

    #[test]
    fn parts_do_not_stick_out() {
        let words: Vec<AtomicU64> = (0..16).map(AtomicU64::new).collect();
        let window = Mapping::from_words(&words);
        let part = window.part(Span { start: 8, words: 8 }).unwrap();
        assert_eq!((part.words(), part.load(0)), (8, 8));
        assert!(window.part(Span { start: 9, words: 8 }).is_none());
        assert!(window.part(Span { start: usize::MAX, words: 8 }).is_none());
    }
}
