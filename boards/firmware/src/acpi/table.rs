//! One checked table.

use crate::physical::{Fields, bytes};
use crate::{FirmwareError, PhysicalMemory};

/// Bytes of the header that every table begins with.
pub(super) const HEADER_LEN: u32 = 36;

/// The longest table that is believed: real ones have some 10 KiB.
const MAX_LEN: u32 = 1 << 20;

/// A table whose length and checksum are right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) address: u64,
    /// Bytes, header and all; at least [`HEADER_LEN`].
    pub(super) len: u32,
    what: &'static str,
    signature: [u8; 4],
}

impl Table {
    /// Checks the table at physical `address`.
    pub(super) fn open(
        memory: &impl PhysicalMemory,
        address: u64,
        what: &'static str,
    ) -> Result<Table, FirmwareError> {
        let header: [u8; HEADER_LEN as usize] = bytes(memory, address, what)?;
        let [a, b, c, d, ..] = header;
        let len = Fields(&header).u32(4);
        if !(HEADER_LEN..=MAX_LEN).contains(&len) || address.checked_add(len.into()).is_none() {
            return Err(FirmwareError::Length { what, len: len.into() });
        }
        let table = Table { address, len, what, signature: [a, b, c, d] };
        let mut sum: u8 = 0;
        table.for_each_piece(memory, |piece| {
            sum = piece.iter().fold(sum, |sum, b| sum.wrapping_add(*b));
        })?;
        if sum == 0 { Ok(table) } else { Err(FirmwareError::Checksum(what)) }
    }

    /// The table itself, if it has this signature.
    pub(super) fn expect(self, signature: &[u8; 4]) -> Result<Table, FirmwareError> {
        if self.signature == *signature {
            Ok(self)
        } else {
            Err(FirmwareError::Signature(self.what))
        }
    }

    /// Hands all bytes over in order, in pieces.
    pub(super) fn for_each_piece(
        &self,
        memory: &impl PhysicalMemory,
        mut piece: impl FnMut(&[u8]),
    ) -> Result<(), FirmwareError> {
        let mut buffer = [0; 256];
        let (mut at, end) = (self.address, self.address + u64::from(self.len));
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(buffer.len()).min(buffer.len());
            let Some(part) = buffer.get_mut(..want) else { break };
            if !memory.read(at, part) {
                return Err(FirmwareError::Unreadable { what: self.what, address: at });
            }
            piece(part);
            at += want as u64;
        }
        Ok(())
    }

    /// `N` bytes from byte `at` of the table on.
    pub(super) fn bytes<const N: usize>(
        &self,
        memory: &impl PhysicalMemory,
        at: u32,
    ) -> Result<[u8; N], FirmwareError> {
        if N > self.len.saturating_sub(at) as usize {
            return Err(FirmwareError::Length { what: self.what, len: self.len.into() });
        }
        bytes(memory, self.address + u64::from(at), self.what)
    }

    /// The first `N` bytes.
    pub(super) fn fields<const N: usize>(
        &self,
        memory: &impl PhysicalMemory,
    ) -> Result<[u8; N], FirmwareError> {
        self.bytes(memory, 0)
    }
}
