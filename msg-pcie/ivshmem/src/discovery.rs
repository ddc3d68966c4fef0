//! Finding the device, and what it must be.

use core::error::Error;
use core::fmt;

use maize_pci::bus::{ConfigurationAccess, DeviceFunction, DeviceFunctionInfo, PciRoot};
use maize_pci::{
    Apertures, BarError, MsixCapability, MsixError, Region, assign_bars, bar_region, enable_device,
};

const VENDOR: u16 = 0x1af4;
const DEVICE: u16 = 0x1110;
/// The revision whose protocol and registers this is; before it vectors were not negotiated.
const REVISION: u8 = 1;

const REGISTERS_BAR: u8 = 0;
const WINDOW_BAR: u8 = 2;

/// Bytes of registers that are used.
pub(crate) const REGISTERS_LEN: u64 = 16;
/// Bytes of the smallest window that can hold anything.
const MIN_WINDOW: u64 = 1 << 20;
/// Bytes of the largest window that is mapped.
const MAX_WINDOW: u64 = 1 << 40;

/// Where the parts of the device lie, for every instance of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Physical address of the registers.
    pub registers: u64,
    /// The shared memory.
    pub window: Region,
    /// Physical address of the MSI-X table.
    pub table: u64,
    /// Entries of that table: instances of this machine that can be rung.
    pub vectors: u16,
}

/// Why the device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IvshmemError {
    /// It is of another revision.
    Revision(u8),
    /// One of its BARs cannot be used.
    Bar(BarError),
    /// Its registers are fewer than they have to be.
    Registers {
        /// Bytes there are.
        size: u64,
    },
    /// The shared memory has a size that no window has.
    Window {
        /// Bytes there are.
        size: u64,
    },
    /// It cannot interrupt: it is an `ivshmem-plain`, or broken.
    Msix(MsixError),
    /// Registers, table or memory cannot be mapped.
    NoMapping {
        /// Physical address.
        address: u64,
        /// Bytes.
        size: u64,
    },
    /// The server has given it no id.
    NoId,
    /// The device has no vector for this instance of its machine.
    NoVector {
        /// The instance, counted inside the machine.
        index: u16,
        /// Vectors there are.
        vectors: u16,
    },
}

impl fmt::Display for IvshmemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ivshmem: ")?;
        match self {
            Self::Revision(found) => write!(f, "revision {found}, not {REVISION}"),
            Self::Bar(error) => error.fmt(f),
            Self::Registers { size } => write!(f, "{size} bytes of registers"),
            Self::Window { size } => write!(f, "shared memory of {size:#x} bytes"),
            Self::Msix(error) => error.fmt(f),
            Self::NoMapping { address, size } => {
                write!(f, "{size:#x} bytes at {address:#x} cannot be mapped")
            }
            Self::NoId => f.write_str("the server has given no id"),
            Self::NoVector { index, vectors } => {
                write!(f, "{vectors} vectors, but instance {index} of the machine needs one")
            }
        }
    }
}

impl Error for IvshmemError {}

impl From<BarError> for IvshmemError {
    fn from(error: BarError) -> Self {
        Self::Bar(error)
    }
}

impl From<MsixError> for IvshmemError {
    fn from(error: MsixError) -> Self {
        Self::Msix(error)
    }
}

fn search<C: ConfigurationAccess>(
    root: &PciRoot<C>,
    bus: u8,
) -> Option<(DeviceFunction, DeviceFunctionInfo)> {
    let mut devices = root.enumerate_bus(bus);
    devices.find(|(_, info)| (info.vendor_id, info.device_id) == (VENDOR, DEVICE))
}

/// Looks for the device on `bus`, gives its BARs addresses from `apertures` where they have none,
/// and lets it answer and interrupt; every vector is left as it was, which after a reset is masked.
/// `None` if there is no such device. Called by one instance of a machine.
///
/// # Errors
/// [`IvshmemError`] if there is one that cannot be used.
pub fn find<C: ConfigurationAccess + Copy>(
    mut config: C,
    bus: u8,
    apertures: &mut Apertures,
) -> Result<Option<Addresses>, IvshmemError> {
    let mut root = PciRoot::new(config);
    let Some((at, info)) = search(&root, bus) else { return Ok(None) };
    if info.revision != REVISION {
        return Err(IvshmemError::Revision(info.revision));
    }
    assign_bars(&mut root, at, apertures)?;
    let registers = bar_region(&mut root, at, REGISTERS_BAR)?;
    if registers.size < REGISTERS_LEN {
        return Err(IvshmemError::Registers { size: registers.size });
    }
    let window = bar_region(&mut root, at, WINDOW_BAR)?;
    if !(MIN_WINDOW..=MAX_WINDOW).contains(&window.size) {
        return Err(IvshmemError::Window { size: window.size });
    }
    let capability = MsixCapability::find(&mut root, &config, at)?;
    enable_device(&mut root, at);
    capability.enable(&mut config, at);
    Ok(Some(Addresses {
        registers: registers.address,
        window,
        table: capability.table.address,
        vectors: capability.entries,
    }))
}

#[cfg(test)]
mod tests;
