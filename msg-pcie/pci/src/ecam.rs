//! Configuration space through PCIe's enhanced configuration access mechanism.
#![allow(unsafe_code, reason = "configuration space is memory-mapped")]

use core::error::Error;
use core::fmt;
use core::ptr::NonNull;

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

/// Bytes of configuration space per bus: 32 devices of 8 functions of 4 KiB.
const BUS_LEN: usize = 1 << 20;

/// The mapped configuration space of buses `first..first + count` of one segment.
///
/// A copy reaches the same devices; there is one core, so accesses never interleave.
#[derive(Clone, Copy, Debug)]
pub struct Ecam {
    base: NonNull<u8>,
    first: u8,
    count: u16,
}

/// A configuration space that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EcamError {
    /// No bus, or buses past number 255.
    Buses {
        /// The first bus.
        first: u8,
        /// How many.
        count: u16,
    },
}

impl fmt::Display for EcamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buses { first, count } => write!(f, "{count} PCI buses from number {first} on"),
        }
    }
}

impl Error for EcamError {}

impl Ecam {
    /// Configuration space of `count` buses from number `first` on, mapped at `base`.
    ///
    /// # Errors
    /// [`EcamError`] if there are no such buses.
    ///
    /// # Safety
    /// `base` points to `count` MiB of configuration space, mapped as device memory for as long as
    /// the program runs and reached through this value and its copies only.
    pub const unsafe fn new(base: NonNull<u8>, first: u8, count: u16) -> Result<Ecam, EcamError> {
        if count == 0 || first as u16 + count > 256 {
            return Err(EcamError::Buses { first, count });
        }
        Ok(Ecam { base, first, count })
    }

    /// The buses that may have devices.
    pub fn buses(&self) -> impl Iterator<Item = u8> + use<> {
        let first = u16::from(self.first);
        (first..first + self.count).filter_map(|bus| u8::try_from(bus).ok())
    }

    fn register(&self, at: DeviceFunction, offset: u8) -> Option<NonNull<u32>> {
        let bus = u16::from(at.bus).checked_sub(u16::from(self.first))?;
        if bus >= self.count || !at.valid() || !offset.is_multiple_of(4) {
            return None;
        }
        let function = usize::from(at.device) << 15 | usize::from(at.function) << 12;
        let offset = usize::from(bus) * BUS_LEN + function + usize::from(offset);
        // SAFETY: `bus < count`, and device, function and offset are below a bus's length, so the
        // sum lies in the `count` MiB that `new`'s caller vouched for.
        Some(unsafe { self.base.add(offset) }.cast())
    }
}

impl ConfigurationAccess for Ecam {
    /// Reads all ones where there is no such register, as the bus does.
    fn read_word(&self, at: DeviceFunction, offset: u8) -> u32 {
        match self.register(at, offset) {
            // SAFETY: `register` gave an aligned pointer into mapped configuration space.
            Some(register) => unsafe { register.read_volatile() },
            None => u32::MAX,
        }
    }

    fn write_word(&mut self, at: DeviceFunction, offset: u8, data: u32) {
        if let Some(register) = self.register(at, offset) {
            // SAFETY: `register` gave an aligned pointer into mapped configuration space.
            unsafe { register.write_volatile(data) };
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}
