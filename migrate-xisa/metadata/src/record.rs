//! Records: the live values of one frame, in memory that every instruction set sees.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | address of the caller's record, zero for the outermost |
//! | 8 | 4 | site |
//! | 12 | 4 | bytes of the whole record, a multiple of [`ALIGNMENT`] |
//! | 16 | | values, where the site's metadata says |
//!
//! A thread's records form a stack that grows up, the outermost at the bottom.

/// Offset of the caller's record's address.
pub const PARENT: usize = 0;
/// Offset of the site.
pub const SITE: usize = 8;
/// Offset of the record's size.
pub const SIZE: usize = 12;
/// Bytes before the values.
pub const HEADER_BYTES: u32 = 16;
/// Alignment of a record in bytes, and of its size.
pub const ALIGNMENT: u32 = 16;

/// The site of a record that is no frame's: the frames above it are of a signal handler, the one below is
/// the frame that the signal interrupted.
pub const SIGNAL_SITE: u32 = u32::MAX;
/// Bytes of such a record.
pub const SIGNAL_BYTES: u32 = 48;

/// One record, in a copy of a thread's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it lies in the program's memory.
    pub address: u64,
    /// The caller's record, zero for the outermost.
    pub parent: u64,
    /// Which site it was saved at.
    pub site: u32,
    /// All its bytes, header included.
    pub bytes: &'a [u8],
}

/// Why bytes are not a thread's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say where and what")]
pub enum RecordError {
    /// A record begins outside the records, or is not aligned.
    Address { address: u64 },
    /// A record ends outside the records, or its size is none.
    Size { address: u64, bytes: u32 },
    /// A caller's record does not lie below its callee's.
    Order { address: u64, parent: u64 },
}

impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Address { address } => write!(f, "no record can begin at {address:#x}"),
            Self::Size { address, bytes } => {
                write!(f, "the record at {address:#x} claims {bytes} bytes")
            }
            Self::Order { address, parent } => {
                write!(f, "the record at {address:#x} has its caller at {parent:#x}, not below")
            }
        }
    }
}

impl core::error::Error for RecordError {}

/// Walks records outwards.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    base: u64,
    bytes: &'a [u8],
    next: u64,
}

impl<'a> Records<'a> {
    /// Walks the records in `bytes`, which lie at the address `base`, from the one at `head` on.
    #[must_use]
    pub fn new(base: u64, bytes: &'a [u8], head: u64) -> Self {
        Self { base, bytes, next: head }
    }

    fn read(&self) -> Result<Record<'a>, RecordError> {
        let address = self.next;
        let bad = RecordError::Address { address };
        if !address.is_multiple_of(u64::from(ALIGNMENT)) {
            return Err(bad);
        }
        let start = address.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
        let rest = start.and_then(|start| self.bytes.get(start..)).ok_or(bad)?;
        let header: [u8; HEADER_BYTES as usize] =
            rest.get(..HEADER_BYTES as usize).and_then(|h| h.try_into().ok()).ok_or(bad)?;
        let word = u128::from_le_bytes(header);
        let (parent, site, size) = (word as u64, (word >> 64) as u32, (word >> 96) as u32);
        let wrong = RecordError::Size { address, bytes: size };
        if size < HEADER_BYTES || size % ALIGNMENT != 0 {
            return Err(wrong);
        }
        let bytes = rest.get(..size as usize).ok_or(wrong)?;
        if parent >= address {
            return Err(RecordError::Order { address, parent });
        }
        Ok(Record { address, parent, site, bytes })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == 0 {
            return None;
        }
        let record = self.read();
        self.next = record.as_ref().map_or(0, |record| record.parent);
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn record(parent: u64, site: u32, size: u32) -> Vec<u8> {
        let mut bytes = parent.to_le_bytes().to_vec();
        bytes.extend(site.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.resize(size.max(16) as usize, 0xee);
        bytes
    }

    #[test]
    fn records_are_walked_outwards() {
        let bytes = [record(0, 7, 32), record(0x1000, 9, 16)].concat();
        let walked: Result<Vec<_>, _> = Records::new(0x1000, &bytes, 0x1020).collect();
        let sites: Vec<_> = walked.unwrap().iter().map(|r| (r.address, r.site)).collect();
        assert_eq!(sites, [(0x1020, 9), (0x1000, 7)]);
        assert_eq!(Records::new(0x1000, &bytes, 0).count(), 0);
    }

    #[test]
    fn a_bad_record_ends_the_walk() {
        fn last(bytes: &[u8], head: u64) -> Result<Record<'_>, RecordError> {
            Records::new(0x1000, bytes, head).last().unwrap()
        }
        let size = |bytes| Err(RecordError::Size { address: 0x1000, bytes });
        assert_eq!(last(&record(0, 1, 8), 0x1000), size(8));
        assert_eq!(last(&record(0, 1, 24), 0x1000), size(24));
        assert_eq!(last(&record(0, 1, 32)[..16], 0x1000), size(32));
        let order = RecordError::Order { address: 0x1000, parent: 0x1000 };
        assert_eq!(last(&record(0x1000, 1, 16), 0x1000), Err(order));
        for address in [0xff0, 0x1008, 0x1010, u64::MAX] {
            assert_eq!(last(&record(0, 1, 16), address), Err(RecordError::Address { address }));
        }
    }
}
