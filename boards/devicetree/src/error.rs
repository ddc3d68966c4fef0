//! Why a device tree is refused.

use core::fmt;

use dtoolkit::error::{FdtErrorKind, FdtParseError};

use crate::Range;

/// Why a device tree is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceTreeError {
    /// No magic number.
    NotADeviceTree,
    /// More than 2 MiB: this many bytes.
    TooLarge(u32),
    /// The structure is broken.
    Structure(FdtErrorKind),
    /// The tree lacks this.
    Missing(&'static str),
    /// This property has a wrong length or a value that means nothing.
    Malformed(&'static str),
    /// There are more of these than a description holds.
    TooMany(&'static str),
    /// This range wraps, is empty or ends above [`crate::ADDRESS_LIMIT`].
    BadRange {
        /// Where it stands.
        what: &'static str,
        /// First byte.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// Two ranges of memory overlap.
    MemoryOverlaps(Range, Range),
    /// The initial RAM disk does not lie in memory.
    InitrdOutsideMemory(Range),
    /// The ECAM window is too small for its buses: bytes it has, bytes it needs.
    EcamTooSmall(u64, u64),
}

impl From<FdtParseError> for DeviceTreeError {
    fn from(error: FdtParseError) -> DeviceTreeError {
        DeviceTreeError::Structure(error.kind)
    }
}

impl fmt::Display for DeviceTreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADeviceTree => write!(f, "not a device tree"),
            Self::TooLarge(len) => write!(f, "device tree of {len} bytes, limit is 2 MiB"),
            Self::Structure(kind) => write!(f, "device tree is broken: {kind}"),
            Self::Missing(what) => write!(f, "device tree has no {what}"),
            Self::Malformed(what) => write!(f, "device tree has a malformed {what}"),
            Self::TooMany(what) => write!(f, "device tree has too many {what}"),
            Self::BadRange { what, start, len } => {
                write!(f, "device tree: {what} at {start:#x} of {len:#x} bytes is out of bounds")
            }
            Self::MemoryOverlaps(a, b) => {
                write!(f, "device tree: memory at {:#x} and {:#x} overlaps", a.start, b.start)
            }
            Self::InitrdOutsideMemory(r) => write!(
                f,
                "device tree: initial RAM disk at {:#x} of {:#x} bytes is not in memory",
                r.start, r.len
            ),
            Self::EcamTooSmall(has, needs) => {
                write!(f, "device tree: ECAM window of {has:#x} bytes, its buses need {needs:#x}")
            }
        }
    }
}

impl core::error::Error for DeviceTreeError {}
