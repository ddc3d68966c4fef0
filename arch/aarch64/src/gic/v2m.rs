//! The GICv2m frame (Arm DEN 0029, "GICv2m"): a write to it raises a shared interrupt.

use safe_mmio::fields::{ReadPure, WriteOnly};
use safe_mmio::{UniqueMmioPointer, field_shared};

use super::{GicError, Message};

/// The frame's registers.
#[repr(C, align(4))]
#[allow(missing_docs, reason = "the names are the architecture's")]
pub struct V2mRegisters {
    _reserved0: [u32; 2],
    pub msi_typer: ReadPure<u32>,
    _reserved1: [u32; 13],
    pub msi_setspi_ns: WriteOnly<u32>,
}

/// Byte offset of `MSI_SETSPI_NS`, which devices write.
const SET_SPI: u64 = 0x40;

const _: () = assert!(core::mem::offset_of!(V2mRegisters, msi_setspi_ns) as u64 == SET_SPI);

/// The shared interrupts of a frame, given out in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GicV2m {
    frame: u64,
    next: u32,
    end: u32,
}

impl GicV2m {
    /// The frame at physical address `frame`. `first` and `count` override what its register says.
    ///
    /// # Errors
    /// [`GicError::BadMessageFrame`] if the interrupts are not shared ones of a GICv2.
    pub fn new(
        frame: u64,
        registers: &UniqueMmioPointer<'_, V2mRegisters>,
        first: Option<u32>,
        count: Option<u32>,
    ) -> Result<GicV2m, GicError> {
        const SHARED: core::ops::Range<u32> = 32..1020;
        let typer = field_shared!(registers, msi_typer).read();
        let first = first.unwrap_or(typer >> 16 & 0x3ff);
        let count = count.unwrap_or(typer & 0x3ff);
        match first.checked_add(count) {
            Some(end) if SHARED.contains(&first) && end <= SHARED.end => {
                Ok(GicV2m { frame, next: first, end })
            }
            _ => Err(GicError::BadMessageFrame { first, count }),
        }
    }

    /// Leaves the next `count` messages to somebody else.
    pub(crate) const fn skip(&mut self, count: u32) {
        let next = self.next.saturating_add(count);
        self.next = if next < self.end { next } else { self.end };
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// [`GicError::OutOfMessages`].
    pub fn allocate(&mut self) -> Result<Message, GicError> {
        if self.next == self.end {
            return Err(GicError::OutOfMessages);
        }
        let interrupt = self.next;
        self.next += 1;
        Ok(Message { address: self.frame + SET_SPI, data: interrupt, interrupt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ptr::NonNull;

    #[test]
    #[allow(unsafe_code, reason = "registers in plain memory")]
    fn messages_are_the_interrupts_that_the_frame_owns() {
        let mut registers = V2mRegisters {
            _reserved0: [0; 2],
            msi_typer: ReadPure(112 << 16 | 2),
            _reserved1: [0; 13],
            msi_setspi_ns: WriteOnly(0),
        };
        // SAFETY: the structure outlives the pointer and is not used otherwise.
        let pointer = unsafe { UniqueMmioPointer::new(NonNull::from(&mut registers)) };
        let mut v2m = GicV2m::new(0x802_0000, &pointer, None, None).unwrap();
        let message = |n| Message { address: 0x802_0040, data: n, interrupt: n };
        assert_eq!(v2m.allocate(), Ok(message(112)));
        assert_eq!(v2m.allocate(), Ok(message(113)));
        assert_eq!(v2m.allocate(), Err(GicError::OutOfMessages));
        let mut other = GicV2m::new(0x802_0000, &pointer, None, None).unwrap();
        other.skip(1);
        assert_eq!(other.allocate(), Ok(message(113)));
        other.skip(7);
        assert_eq!(other.allocate(), Err(GicError::OutOfMessages));
        for (first, count) in [(31, 4), (1000, 21), (u32::MAX, 1)] {
            assert_eq!(
                GicV2m::new(0, &pointer, Some(first), Some(count)),
                Err(GicError::BadMessageFrame { first, count })
            );
        }
    }
}
