//! The generic interrupt controller.
//!
//! What the rest needs of it is the same for every version: [`Gic::enable_private`],
//! [`Gic::allocate_msi`], [`Gic::acknowledge`] and [`Gic::end`].

mod v2;
mod v2m;

use core::fmt;

pub use v2::{CpuInterfaceRegisters, DistributorRegisters, GicV2};
pub use v2m::{GicV2m, V2mRegisters};

/// Interrupts that a processor has for itself: 16 to 31.
const PRIVATE: core::ops::Range<u32> = 16..32;

/// A message that raises an interrupt: a device writes `data` to `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Physical address.
    pub address: u64,
    /// 32-bit value.
    pub data: u32,
    /// The interrupt number that it raises.
    pub interrupt: u32,
}

/// What an interrupt controller cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicError {
    /// The number is not that of a private interrupt.
    NotPrivate(u32),
    /// There is no unit that turns messages into interrupts.
    NoMessages,
    /// All messages are given out.
    OutOfMessages,
    /// The message frame claims interrupts that the controller does not have.
    BadMessageFrame {
        /// First interrupt number claimed.
        first: u32,
        /// How many.
        count: u32,
    },
}

impl fmt::Display for GicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPrivate(n) => write!(f, "interrupt {n} is not private to a processor"),
            Self::NoMessages => write!(f, "the interrupt controller takes no messages"),
            Self::OutOfMessages => write!(f, "no message-signalled interrupt is left"),
            Self::BadMessageFrame { first, count } => {
                write!(f, "the message frame claims {count} interrupts from {first}")
            }
        }
    }
}

impl core::error::Error for GicError {}

/// An interrupt controller with its unit for messages.
#[derive(Debug)]
pub enum Gic {
    /// Version 2, with a v2m frame if there is one.
    V2(GicV2<'static>, Option<GicV2m>),
}

impl Gic {
    /// Lets private interrupt `number` through to this processor.
    ///
    /// # Errors
    /// [`GicError::NotPrivate`].
    pub fn enable_private(&mut self, number: u32) -> Result<(), GicError> {
        if !PRIVATE.contains(&number) {
            return Err(GicError::NotPrivate(number));
        }
        match self {
            Gic::V2(gic, _) => gic.enable(number),
        }
        Ok(())
    }

    /// Takes a message whose interrupt comes to this processor.
    ///
    /// # Errors
    /// [`GicError::NoMessages`], [`GicError::OutOfMessages`].
    pub fn allocate_msi(&mut self) -> Result<Message, GicError> {
        match self {
            Gic::V2(gic, v2m) => {
                let message = v2m.as_mut().ok_or(GicError::NoMessages)?.allocate()?;
                gic.route_edge_here(message.interrupt);
                gic.enable(message.interrupt);
                Ok(message)
            }
        }
    }

    /// The interrupt that is pending for this processor, which becomes active. What its source
    /// wrote to memory before is visible after.
    pub fn acknowledge(&mut self) -> Option<Acknowledged> {
        match self {
            Gic::V2(gic, _) => gic.acknowledge(),
        }
    }

    /// Ends an interrupt.
    pub fn end(&mut self, interrupt: Acknowledged) {
        match self {
            Gic::V2(gic, _) => gic.end(interrupt),
        }
    }
}

/// An active interrupt, to be given to [`Gic::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Acknowledged {
    raw: u32,
}

impl Acknowledged {
    /// The interrupt number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.raw & 0x3ff
    }
}
