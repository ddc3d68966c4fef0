//! Return addresses from the chain of frame pointers.
//!
//! The compiler is told to keep frame pointers. x86_64 (`rbp`) and aarch64 (`x29`) lay the record
//! they point to out the same way: the caller's frame pointer, then the return address.
#![allow(unsafe_code, reason = "reads the stack")]

use core::ops::Range;

/// Frames shown at most.
pub const MAX_FRAMES: usize = 64;

/// Gives the return addresses above the frame record at `frame`, innermost first, to `show`.
///
/// The chain ends where it leaves `stack` or does not go upwards: a broken one is cut, not followed.
pub fn walk(mut frame: usize, stack: &Range<usize>, mut show: impl FnMut(usize)) {
    const WORD: usize = size_of::<usize>();
    for _ in 0..MAX_FRAMES {
        let inside = frame >= stack.start && frame.saturating_add(2 * WORD) <= stack.end;
        if !inside || !frame.is_multiple_of(WORD) {
            return;
        }
        let record = frame as *const usize;
        // SAFETY: both words were just found to lie in `stack`, which is mapped, and aligned. They
        // may hold anything; nothing but this chain's end depends on it.
        let (caller, address) = unsafe { (record.read_volatile(), record.add(1).read_volatile()) };
        if address == 0 {
            return;
        }
        show(address);
        if caller <= frame {
            return;
        }
        frame = caller;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn trace(words: &[usize], first: usize) -> Vec<usize> {
        let base = words.as_ptr() as usize;
        let mut seen = Vec::new();
        walk(base + 8 * first, &(base..base + size_of_val(words)), |address| seen.push(address));
        seen
    }

    #[test]
    fn a_chain_is_followed_to_its_end() {
        let mut words = [0_usize; 8];
        let at = |i: usize| words.as_ptr() as usize + 8 * i;
        let (second, third) = (at(3), at(6));
        words[0] = second;
        words[1] = 11;
        words[3] = third;
        words[4] = 12;
        words[7] = 13;
        assert_eq!(trace(&words, 0), [11, 12, 13]);
    }

    #[test]
    fn a_broken_chain_is_cut() {
        let mut words = [0_usize; 4];
        words[0] = words.as_ptr() as usize;
        words[1] = 11;
        assert_eq!(trace(&words, 0), [11], "a frame that is its own caller");
        words[0] = usize::MAX - 4;
        assert_eq!(trace(&words, 0), [11], "a caller outside the stack");
        assert!(trace(&words, 3).is_empty(), "a record that ends outside the stack");
    }
}
