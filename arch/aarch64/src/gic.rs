//! The generic interrupt controller.
//!
//! What the rest needs of it is the same for every version: [`Gic::enable_private`],
//! [`Gic::allocate_msi`], [`Gic::acknowledge`], [`Gic::end`] and [`Gic::bells`].

pub mod its;
mod sgi;
mod v2;
mod v2m;
#[cfg(target_os = "none")]
mod v3;

use core::fmt;

pub use sgi::Bells;
pub use v2::{CpuInterfaceRegisters, DistributorRegisters, GicV2};
pub use v2m::{GicV2m, V2mRegisters};
#[cfg(target_os = "none")]
pub use v3::GicV3;

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
    /// No redistributor is this processor's, which has this affinity.
    NoRedistributor(u64),
    /// No memory is left for the controller's tables.
    NoMemory,
    /// The controller does not take a change of its registers.
    NotReady,
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
            Self::NoRedistributor(affinity) => {
                write!(f, "no redistributor for the processor with affinity {affinity:#x}")
            }
            Self::NoMemory => f.write_str("no memory for the interrupt controller's tables"),
            Self::NotReady => f.write_str("the interrupt controller does not get ready"),
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
    /// Version 3, with what its translation service gives this instance if there is one.
    #[cfg(target_os = "none")]
    V3(GicV3, Option<its::Lpis>),
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
            #[cfg(target_os = "none")]
            Gic::V3(gic, _) => gic.enable(number),
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
            #[cfg(target_os = "none")]
            Gic::V3(_, lpis) => lpis.as_mut().ok_or(GicError::NoMessages)?.allocate(),
        }
    }

    /// Leaves the next `count` messages to other instances of the machine.
    pub const fn skip_messages(&mut self, count: u32) {
        if let Gic::V2(_, Some(v2m)) = self {
            v2m.skip(count);
        }
    }

    /// The interrupt that is pending for this processor, which becomes active. What its source
    /// wrote to memory before is visible after.
    pub fn acknowledge(&mut self) -> Option<Acknowledged> {
        match self {
            Gic::V2(gic, _) => gic.acknowledge(),
            #[cfg(target_os = "none")]
            Gic::V3(gic, _) => gic.acknowledge(),
        }
    }

    /// Ends an interrupt.
    pub fn end(&mut self, interrupt: Acknowledged) {
        match self {
            Gic::V2(gic, _) => gic.end(interrupt),
            #[cfg(target_os = "none")]
            Gic::V3(gic, _) => gic.end(interrupt),
        }
    }

    /// A way to interrupt siblings, beside this value.
    #[must_use]
    pub fn bells(&mut self) -> Bells {
        match self {
            Gic::V2(gic, _) => gic.bells(),
            #[cfg(target_os = "none")]
            Gic::V3(..) => Bells::V3,
        }
    }
}

/// An active interrupt, to be given to [`Gic::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Acknowledged {
    /// What the controller wants back.
    raw: u32,
    number: u32,
}

impl Acknowledged {
    /// The interrupt number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }
}
