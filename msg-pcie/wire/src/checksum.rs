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

/// A checksum in the making.
pub struct Crc32c(Digest<'static, u32, Table<16>>);

impl Default for Crc32c {
    fn default() -> Crc32c {
        Crc32c(CRC32C.digest())
    }
}

impl Crc32c {
    /// Adds whole words.
    #[inline]
    pub fn words(&mut self, words: &[u64]) {
        self.0.update(bytemuck::cast_slice(words));
    }

    /// Adds bytes, and zeros up to a whole number of words.
    #[inline]
    pub fn padded_bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
        let padding = bytes.len().next_multiple_of(8) - bytes.len();
        self.0.update(&[0; 8][..padding]);
    }

    /// The checksum of all that was added.
    #[must_use]
    pub fn finish(self) -> u32 {
        self.0.finalize()
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
        assert_eq!(padded.finish(), of_words(&[0x03_0201]));
        let mut none = Crc32c::default();
        none.padded_bytes(&[]);
        assert_eq!(none.finish(), of_words(&[]));
    }
}
