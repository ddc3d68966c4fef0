//! Why firmware's word cannot be used.

use core::error::Error;
use core::fmt;

/// What is wrong with the start information, the memory map or a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirmwareError {
    /// These bytes are not readable memory.
    Unreadable {
        /// What should be there.
        what: &'static str,
        /// Physical address.
        address: u64,
    },
    /// The magic number or signature of this structure is wrong.
    Signature(&'static str),
    /// This structure is shorter than its fields, or longer than makes sense.
    Length {
        /// Which structure.
        what: &'static str,
        /// Its length in bytes, as it says.
        len: u64,
    },
    /// The bytes of this structure do not add up to zero.
    Checksum(&'static str),
    /// More of these than there is room for.
    TooMany(&'static str),
    /// This is not there.
    Missing(&'static str),
    /// This range of addresses is empty, wraps, or is where it cannot be.
    Range {
        /// What has this range.
        what: &'static str,
        /// Its first address.
        start: u64,
        /// Its length in bytes.
        len: u64,
    },
}

impl fmt::Display for FirmwareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { what, address } => {
                write!(f, "{what} at {address:#x} is not in readable memory")
            }
            Self::Signature(what) => write!(f, "no {what} where it should be"),
            Self::Length { what, len } => write!(f, "{what} of {len} bytes"),
            Self::Checksum(what) => write!(f, "checksum of {what} is wrong"),
            Self::TooMany(what) => write!(f, "too many {what}"),
            Self::Missing(what) => write!(f, "no {what}"),
            Self::Range { what, start, len } => {
                write!(f, "{what} of {len:#x} bytes at {start:#x} cannot be")
            }
        }
    }
}

impl Error for FirmwareError {}
