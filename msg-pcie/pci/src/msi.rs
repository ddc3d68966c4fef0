//! Message-signalled interrupts: what a device writes where, and who decides that.

use core::error::Error;
use core::fmt;

use maize_hal::Interrupts;

/// What a device writes, and where, to raise one interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiMessage {
    /// Physical address of the doorbell of the interrupt controller, a multiple of 4.
    pub address: u64,
    /// The word written there.
    pub data: u32,
}

/// No interrupt can be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsiError {
    /// The controller takes no messages.
    Unsupported,
    /// All vectors are given out.
    Exhausted,
}

impl fmt::Display for MsiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "the interrupt controller takes no messages",
            Self::Exhausted => "all message interrupts are given out",
        })
    }
}

impl Error for MsiError {}

/// An interrupt controller that takes messages: the local APIC, GICv2m, the ITS.
pub trait Msi {
    /// Gives out a message that raises `raises` at this core.
    ///
    /// # Errors
    /// [`MsiError`] if there is none left.
    fn allocate(&mut self, raises: Interrupts) -> Result<MsiMessage, MsiError>;
}
