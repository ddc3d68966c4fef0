//! Words that are mostly zero, as they travel: registers and FPU state.
//!
//! The number of words (16 bits, little-endian), then for every eight of them a byte that says which are
//! not zero, and those words. A thread that has not touched its vector registers has a tenth of its
//! state, and nothing has to be remembered on either side.

use alloc::vec::Vec;

use maize_hal::{Arch, FpuState};
use serde::{Deserialize, Serialize};

const BLOCK: usize = 8;

/// Packed words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Packed(#[serde(with = "serde_bytes")] Vec<u8>);

impl Packed {
    /// Packs words; more than 65,535 are cut off.
    pub(crate) fn words(words: &[u64]) -> Packed {
        let count = u16::try_from(words.len()).unwrap_or(u16::MAX);
        let (blocks, rest) = words[..usize::from(count)].as_chunks::<BLOCK>();
        let mut packed = Packed::with_count(count);
        blocks.iter().for_each(|block| packed.push(block));
        packed.push_last(rest);
        packed
    }

    /// Packs bytes; the last word is filled up with zeros.
    pub(crate) fn bytes(bytes: &[u8]) -> Packed {
        let count = u16::try_from(bytes.len().div_ceil(8)).unwrap_or(u16::MAX);
        let bytes = &bytes[..bytes.len().min(8 * usize::from(count))];
        let (blocks, rest) = bytes.as_chunks::<{ 8 * BLOCK }>();
        let mut packed = Packed::with_count(count);
        blocks.iter().for_each(|block| packed.push(&words_of(block)));
        if !rest.is_empty() {
            let mut last = [0; 8 * BLOCK];
            last[..rest.len()].copy_from_slice(rest);
            packed.push(&words_of(&last));
        }
        packed
    }

    fn with_count(count: u16) -> Packed {
        // Most of a thread's state is either general registers or zero.
        let mut out = Vec::with_capacity(64 + 8 * usize::from(count).min(40));
        out.extend_from_slice(&count.to_le_bytes());
        Packed(out)
    }

    fn push(&mut self, block: &[u64; BLOCK]) {
        // All at once, since most blocks are nothing but zeros.
        if block.iter().fold(0, |any, word| any | word) == 0 {
            self.0.push(0);
            return;
        }
        // Each word goes where the next one stands if it is zero, so nothing depends on which are.
        let mut bytes = [0; 1 + 8 * BLOCK];
        let mut end = 1;
        for (n, word) in block.iter().enumerate() {
            bytes[end..][..8].copy_from_slice(&word.to_le_bytes());
            let present = *word != 0;
            bytes[0] |= u8::from(present) << n;
            end += 8 * usize::from(present);
        }
        self.0.extend_from_slice(&bytes[..end]);
    }

    fn push_last(&mut self, rest: &[u64]) {
        if !rest.is_empty() {
            let mut block = [0; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            self.push(&block);
        }
    }

    /// How many words there are, and each that is not zero with its number, to `put`. `None` if they are
    /// badly packed, or more than `most`.
    fn unpack(&self, most: usize, mut put: impl FnMut(usize, &[u8; 8])) -> Option<usize> {
        let (count, mut rest) = self.0.split_first_chunk::<2>()?;
        let count = usize::from(u16::from_le_bytes(*count));
        if count > most {
            return None;
        }
        for first in (0..count).step_by(BLOCK) {
            let (present, after) = rest.split_first()?;
            rest = after;
            let mut left = *present;
            while left != 0 {
                let at = first + left.trailing_zeros() as usize;
                left &= left - 1;
                if at >= count {
                    return None;
                }
                let (word, after) = rest.split_first_chunk::<8>()?;
                rest = after;
                put(at, word);
            }
        }
        rest.is_empty().then_some(count)
    }

    /// Writes the words to zeros, of which there may be more; returns how many words there are. `None` if
    /// they are badly packed or too many.
    pub(crate) fn to_words(&self, zeros: &mut [u64]) -> Option<usize> {
        self.unpack(zeros.len(), |at, word| zeros[at] = u64::from_le_bytes(*word))
    }

    /// Whether they are well packed, and this many.
    pub(crate) fn is_of(&self, words: usize) -> bool {
        self.unpack(words, |_, _| ()) == Some(words)
    }

    /// The FPU state of an instance on `arch` that these are. `None` if they are badly packed, or not as
    /// many.
    pub(crate) fn to_fpu<A: Arch>(&self, arch: &A) -> Option<FpuState> {
        let mut state = FpuState::zeroed(arch.fpu_len());
        self.to_bytes(state.bytes_mut())?;
        arch.sanitize_whole_fpu(&mut state);
        Some(state)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.starts_with(&[0, 0])
    }

    /// How many words there are, if `most` at the most.
    pub(crate) fn count(&self, most: usize) -> Option<usize> {
        let (count, _) = self.0.split_first_chunk::<2>()?;
        Some(usize::from(u16::from_le_bytes(*count))).filter(|count| *count <= most)
    }

    /// Writes the words to bytes that are zero. `None` if they are badly packed, or not as many as the bytes
    /// fill, with a part of the last one.
    pub(crate) fn to_bytes(&self, zeros: &mut [u8]) -> Option<()> {
        let (words, last) = zeros.as_chunks_mut::<8>();
        let count = words.len() + usize::from(!last.is_empty());
        let found = self.unpack(count, |at, word| match words.get_mut(at) {
            Some(place) => *place = *word,
            None => last.copy_from_slice(&word[..last.len()]),
        })?;
        (found == count).then_some(())
    }
}

fn words_of(block: &[u8; 8 * BLOCK]) -> [u64; BLOCK] {
    let mut words = [0; BLOCK];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn zeros_take_an_eighth_of_a_byte_each() {
        let packed = Packed::bytes(&[0; 832]);
        assert_eq!(packed.0.len(), 2 + 832 / 64);
        let unpacked = |len| {
            let mut bytes = vec![0; len];
            packed.to_bytes(&mut bytes).map(|()| bytes)
        };
        assert_eq!(unpacked(832), Some(vec![0; 832]));
        assert_eq!((unpacked(831), unpacked(824)), (Some(vec![0; 831]), None));
        assert_eq!((packed.count(104), packed.count(103)), (Some(104), None));
    }

    #[test]
    fn what_is_badly_packed_is_refused() {
        let packed = Packed::words(&[1, 0, 3]);
        assert_eq!(packed.0, [3, 0, 0b101, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(packed.to_words(&mut [0; 2]), None);
        assert!(packed.is_of(3) && !packed.is_of(2) && !packed.is_of(4));
        for bytes in [vec![], vec![1], vec![1, 0], vec![1, 0, 1, 9], vec![1, 0, 0, 7]] {
            let packed = Packed(bytes);
            assert_eq!(packed.to_words(&mut [0; 100]), None);
            assert!(!packed.is_of(1));
        }
    }

    proptest! {
        #[test]
        fn words_come_out_as_they_went_in(
            words in prop::collection::vec(prop_oneof![Just(0), any::<u64>()], 0..200),
        ) {
            let mut out = [0; 200];
            prop_assert_eq!(Packed::words(&words).to_words(&mut out), Some(words.len()));
            prop_assert_eq!(&out[..words.len()], words);
        }

        #[test]
        fn bytes_come_out_as_they_went_in(
            bytes in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..300),
        ) {
            let mut out = vec![0; bytes.len()];
            prop_assert_eq!(Packed::bytes(&bytes).to_bytes(&mut out), Some(()));
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn any_bytes_are_words_or_refused(bytes: Vec<u8>) {
            if let Some(count) = Packed(bytes).to_words(&mut [0; 40]) {
                prop_assert!(count <= 40);
            }
        }
    }
}
