//! CRC32C (Castagnoli) over the words of a frame or page, by tables (slicing by 16).
//!
//! Whether frames carry it is a property of the fabric, written in the window's header: memory
//! between instances does not rot, so the checksum finds bugs and tampering, not noise.

use crc::{CRC_32_ISCSI, Crc, Digest, Table};

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// How much of the traffic carries a checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Coverage {
    /// Nothing.
    Off = 0,
    /// Headers and bodies, not pages.
    #[default]
    Control = 1,
    /// Pages too.
    All = 2,
}

impl Coverage {
    /// The coverage that has this number in the window's header.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Coverage> {
        match number {
            0 => Some(Coverage::Off),
            1 => Some(Coverage::Control),
            2 => Some(Coverage::All),
            _ => None,
        }
    }
}

/// A checksum in the making, over words that are padded with zeros to whole blocks at the end.
///
/// Blocks have 16 bytes because that is what the tables take at once; the few bytes of a short
/// frame would otherwise be worked off one by one, at twice the cost of all the rest.
pub struct Crc32c {
    digest: Digest<'static, u32, Table<16>>,
    bytes: usize,
}

impl Default for Crc32c {
    fn default() -> Crc32c {
        Crc32c { digest: CRC32C.digest(), bytes: 0 }
    }
}

const BLOCK: usize = 16;

impl Crc32c {
    /// Adds whole words.
    #[inline]
    pub fn words(&mut self, words: &[u64]) {
        self.digest.update(bytemuck::cast_slice(words));
        self.bytes += words.len() * 8;
    }

    /// Adds bytes, and zeros up to a whole number of words.
    #[inline]
    pub fn padded_bytes(&mut self, bytes: &[u8]) {
        let (blocks, tail) = bytes.split_at(bytes.len() - bytes.len() % BLOCK);
        self.digest.update(blocks);
        self.bytes += blocks.len();
        if !tail.is_empty() {
            let mut block = [0; BLOCK];
            block[..tail.len()].copy_from_slice(tail);
            let padded = tail.len().next_multiple_of(8);
            self.digest.update(&block[..padded]);
            self.bytes += padded;
        }
    }

    /// The checksum of all that was added.
    #[inline]
    #[must_use]
    pub fn finish(mut self) -> u32 {
        let padding = self.bytes.next_multiple_of(BLOCK) - self.bytes;
        self.digest.update(&[0; BLOCK][..padding]);
        self.digest.finalize()
    }
}

/// Checksum of whole words.
#[must_use]
pub fn of_words(words: &[u64]) -> u32 {
    CRC32C.checksum(bytemuck::cast_slice(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_castagnolis() {
        // RFC 3720, B.4: 32 bytes of zeros, and 32 of ones.
        assert_eq!(of_words(&[0; 4]), 0x8a91_36aa);
        assert_eq!(of_words(&[u64::MAX; 4]), 0x62a8_ab43);
    }

    #[test]
    fn padding_is_zeros() {
        let mut padded = Crc32c::default();
        padded.padded_bytes(&[1, 2, 3]);
        assert_eq!(padded.finish(), of_words(&[0x03_0201, 0]));
        let mut mixed = Crc32c::default();
        mixed.words(&[7]);
        mixed.padded_bytes(&[1; 17]);
        let one = 0x0101_0101_0101_0101;
        assert_eq!(mixed.finish(), of_words(&[7, one, one, 1]));
        let mut none = Crc32c::default();
        none.padded_bytes(&[]);
        assert_eq!(none.finish(), of_words(&[]));
    }
}
