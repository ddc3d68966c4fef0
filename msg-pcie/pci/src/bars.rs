//! Base address registers: where a device's memory lies, and putting it somewhere.

use core::error::Error;
use core::fmt;

use virtio_drivers::transport::pci::bus::{
    BarInfo, Command, ConfigurationAccess, DeviceFunction, MemoryBarType, PciError, PciRoot,
};

/// A range of physical addresses that is free for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aperture {
    next: u64,
    end: u64,
}

impl Aperture {
    /// The `len` bytes from physical address `start` on. Address 0 means "not assigned" to a BAR,
    /// so the first page is never given out.
    #[must_use]
    pub const fn new(start: u64, len: u64) -> Aperture {
        let next = if start < 4096 { 4096 } else { start };
        Aperture { next, end: start.saturating_add(len) }
    }

    /// Takes `size` bytes (a power of two) at a multiple of `size`.
    fn take(&mut self, size: u64) -> Option<u64> {
        let at = self.next.checked_next_multiple_of(size)?;
        let end = at.checked_add(size).filter(|end| *end <= self.end)?;
        self.next = end;
        Some(at)
    }
}

/// Where BARs may be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apertures {
    /// Below 4 GiB, for 32-bit BARs and for others when [`Self::high`] is full.
    pub low: Option<Aperture>,
    /// Anywhere, for 64-bit BARs.
    pub high: Option<Aperture>,
}

/// What is wrong with a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarError {
    /// The device's answer makes no sense.
    Invalid {
        /// Which BAR.
        bar: u8,
    },
    /// The device has no such BAR, or it is for I/O ports.
    NoMemory {
        /// Which BAR.
        bar: u8,
    },
    /// No aperture has room.
    NoRoom {
        /// Which BAR.
        bar: u8,
        /// Bytes it needs.
        size: u64,
    },
    /// The BAR has no address.
    Unassigned {
        /// Which BAR.
        bar: u8,
    },
}

impl fmt::Display for BarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { bar } => write!(f, "BAR {bar} is of no known type"),
            Self::NoMemory { bar } => write!(f, "BAR {bar} is no memory"),
            Self::NoRoom { bar, size } => write!(f, "no room for BAR {bar} of {size:#x} bytes"),
            Self::Unassigned { bar } => write!(f, "BAR {bar} has no address"),
        }
    }
}

impl Error for BarError {}

/// A device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Physical address, not 0, a multiple of `size`.
    pub address: u64,
    /// Bytes, a power of two.
    pub size: u64,
}

fn invalid(bar: u8) -> impl FnOnce(PciError) -> BarError {
    move |PciError::InvalidBarType| BarError::Invalid { bar }
}

/// Gives every memory BAR of a device that has no address one from `apertures`.
///
/// What firmware has assigned stays. The device does not decode meanwhile; call [`enable_device`]
/// after.
///
/// # Errors
/// [`BarError`] for the first BAR that cannot be placed; those before it are.
pub fn assign_bars<C: ConfigurationAccess>(
    root: &mut PciRoot<C>,
    device: DeviceFunction,
    apertures: &mut Apertures,
) -> Result<(), BarError> {
    let (_, command) = root.get_status_command(device);
    root.set_command(device, command - (Command::MEMORY_SPACE | Command::IO_SPACE));
    let mut bar = 0;
    while bar < 6 {
        let info = root.bar_info(device, bar).map_err(invalid(bar))?;
        let width = if info.as_ref().is_some_and(BarInfo::takes_two_entries) { 2 } else { 1 };
        if let Some(BarInfo::Memory { address_type, address: 0, size, .. }) = info {
            if !size.is_power_of_two() {
                return Err(BarError::Invalid { bar });
            }
            let wide = address_type == MemoryBarType::Width64;
            let high = apertures.high.as_mut().filter(|_| wide);
            let at = match high.and_then(|aperture| aperture.take(size)) {
                Some(at) => Some(at),
                None => apertures.low.as_mut().and_then(|aperture| aperture.take(size)),
            };
            match (at, at.and_then(|at| u32::try_from(at).ok())) {
                (Some(at), _) if wide => root.set_bar_64(device, bar, at),
                (Some(_), Some(at)) => root.set_bar_32(device, bar, at),
                _ => return Err(BarError::NoRoom { bar, size }),
            }
        }
        bar += width;
    }
    Ok(())
}

/// Where memory BAR `bar` of a device lies.
///
/// # Errors
/// [`BarError`] if it is no memory, has no address, or makes no sense.
pub fn bar_region<C: ConfigurationAccess>(
    root: &mut PciRoot<C>,
    device: DeviceFunction,
    bar: u8,
) -> Result<Region, BarError> {
    if bar >= 6 {
        return Err(BarError::NoMemory { bar });
    }
    let info = root.bar_info(device, bar).map_err(invalid(bar))?;
    let (address, size) = info
        .and_then(|info| info.memory_address_size())
        .filter(|(_, size)| *size != 0)
        .ok_or(BarError::NoMemory { bar })?;
    if !size.is_power_of_two() || address.checked_add(size).is_none() {
        return Err(BarError::Invalid { bar });
    }
    if address == 0 {
        return Err(BarError::Unassigned { bar });
    }
    Ok(Region { address, size })
}

/// Lets a device answer at its BARs and write to memory, and silences its INTx line.
pub fn enable_device<C: ConfigurationAccess>(root: &mut PciRoot<C>, device: DeviceFunction) {
    let (_, command) = root.get_status_command(device);
    let on = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE;
    root.set_command(device, command | on);
}
