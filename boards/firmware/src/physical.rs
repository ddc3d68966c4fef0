//! Reading physical memory, and ranges of it.

use crate::FirmwareError;

/// Physical memory that tables may lie in.
pub trait PhysicalMemory {
    /// Copies `out.len()` bytes from physical `address` on, or returns `false` if those bytes are
    /// not all readable memory.
    fn read(&self, address: u64, out: &mut [u8]) -> bool;
}

/// Reads `N` bytes of what is called `what` in errors.
pub(crate) fn bytes<const N: usize>(
    memory: &impl PhysicalMemory,
    address: u64,
    what: &'static str,
) -> Result<[u8; N], FirmwareError> {
    let mut out = [0; N];
    if memory.read(address, &mut out) {
        Ok(out)
    } else {
        Err(FirmwareError::Unreadable { what, address })
    }
}

/// Little-endian fields of a fixed-size structure, by constant offset.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&self, at: usize) -> [u8; N] {
        let found = self.0.get(at..).and_then(|rest| rest.first_chunk::<N>());
        // A structure is as long as the largest offset asked for; past it there is nothing.
        found.copied().unwrap_or([0; N])
    }

    pub(crate) fn u8(&self, at: usize) -> u8 {
        self.take::<1>(at)[0]
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.take(at))
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.take(at))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.take(at))
    }
}

/// Physical addresses `start..end`, not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhysRange {
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

impl PhysRange {
    /// The `len` bytes from `start` on, `None` if that is nothing or wraps.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Option<PhysRange> {
        match start.checked_add(len) {
            Some(end) if len > 0 => Some(PhysRange { start, end }),
            _ => None,
        }
    }

    /// Bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is no byte, which [`Self::new`] never makes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// Whether every byte of `other` lies here.
    #[must_use]
    pub const fn contains(&self, other: &PhysRange) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether there is a byte in both.
    #[must_use]
    pub const fn overlaps(&self, other: &PhysRange) -> bool {
        self.start < other.end && other.start < self.end
    }
}
