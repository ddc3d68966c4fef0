//! Words that are mostly zero, as they travel: registers and FPU state.
//!
//! The number of words (16 bits, little-endian), then for every eight of them a byte that says which are
//! not zero, and those words. A thread that has not touched its vector registers has a tenth of its
//! state, and nothing has to be remembered on either side.

use alloc::vec;
use alloc::vec::Vec;

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
        for block in blocks {
            let mut words = [0; BLOCK];
            for (word, bytes) in words.iter_mut().zip(block.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            packed.push(&words);
        }
        let mut last = [0; 8 * BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        let words: Vec<u64> = last
            .as_chunks::<8>()
            .0
            .iter()
            .take(rest.len().div_ceil(8))
            .map(|bytes| u64::from_le_bytes(*bytes))
            .collect();
        packed.push_last(&words);
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
        } else {
            self.push_last(block);
        }
    }

    fn push_last(&mut self, block: &[u64]) {
        if block.is_empty() {
            return;
        }
        let at = self.0.len();
        self.0.push(0);
        let mut present = 0_u8;
        for (n, word) in block.iter().enumerate().filter(|(_, word)| **word != 0) {
            present |= 1 << n;
            self.0.extend_from_slice(&word.to_le_bytes());
        }
        self.0[at] = present;
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

    /// The words, if they are well packed and `most` at the most.
    pub(crate) fn to_words(&self, most: usize) -> Option<Vec<u64>> {
        let mut words = vec![0; most];
        let count = self.unpack(most, |at, word| words[at] = u64::from_le_bytes(*word))?;
        words.truncate(count);
        Some(words)
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.starts_with(&[0, 0])
    }

    /// All bytes, of whole words, if they are well packed and `most` words at the most.
    pub(crate) fn to_all_bytes(&self, most: usize) -> Option<Vec<u8>> {
        let (count, _) = self.0.split_first_chunk::<2>()?;
        let count = usize::from(u16::from_le_bytes(*count));
        if count > most { None } else { self.to_bytes(8 * count) }
    }

    /// The `len` bytes, if there are as many and they are well packed.
    pub(crate) fn to_bytes(&self, len: usize) -> Option<Vec<u8>> {
        let count = len.div_ceil(8);
        let mut bytes = vec![0; 8 * count];
        let found = self.unpack(count, |at, word| bytes[8 * at..][..8].copy_from_slice(word))?;
        bytes.truncate(len);
        (found == count).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_take_an_eighth_of_a_byte_each() {
        let packed = Packed::bytes(&[0; 832]);
        assert_eq!(packed.0.len(), 2 + 832 / 64);
        assert_eq!(packed.to_bytes(832), Some(vec![0; 832]));
        assert_eq!((packed.to_bytes(831), packed.to_bytes(824)), (Some(vec![0; 831]), None));
    }

    #[test]
    fn what_is_badly_packed_is_refused() {
        let packed = Packed::words(&[1, 0, 3]);
        assert_eq!(packed.0, [3, 0, 0b101, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(packed.to_words(2), None);
        for bytes in [vec![], vec![1], vec![1, 0], vec![1, 0, 1, 9], vec![1, 0, 0, 7]] {
            assert_eq!(Packed(bytes).to_words(100), None);
        }
    }

    proptest! {
        #[test]
        fn words_come_out_as_they_went_in(
            words in prop::collection::vec(prop_oneof![Just(0), any::<u64>()], 0..200),
        ) {
            prop_assert_eq!(Packed::words(&words).to_words(200), Some(words));
        }

        #[test]
        fn any_bytes_are_words_or_refused(bytes: Vec<u8>) {
            if let Some(words) = Packed(bytes).to_words(40) {
                prop_assert!(words.len() <= 40);
            }
        }
    }
}
