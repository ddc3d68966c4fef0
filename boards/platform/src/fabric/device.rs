//! The shared-memory device of a machine.
#![allow(unsafe_code, reason = "maps the device")]

use core::fmt;

use maize_hal::Interrupts;
use maize_hostlink::BootRecord;
use maize_ivshmem::{Addresses, Ivshmem, IvshmemError, Maps};
use maize_pci::{Apertures, Ecam, Msi, MsiError};

use crate::hooks;

/// Why the shared-memory device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// The device itself.
    Device(IvshmemError),
    /// No interrupt is left for it.
    Msi(MsiError),
    /// There is none.
    Missing,
    /// No bus may have devices, or the board can map nothing.
    NoBus,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::Msi(error) => error.fmt(f),
            Self::Missing => f.write_str("there is no shared-memory device to other machines"),
            Self::NoBus => f.write_str("there is no bus for a shared-memory device"),
        }
    }
}

impl core::error::Error for DeviceError {}

impl From<IvshmemError> for DeviceError {
    fn from(error: IvshmemError) -> Self {
        Self::Device(error)
    }
}

impl From<MsiError> for DeviceError {
    fn from(error: MsiError) -> Self {
        Self::Msi(error)
    }
}

/// Finds the device on the first bus and places it: once a machine. `None` if the boot record says
/// that there are no other machines.
///
/// # Errors
/// [`DeviceError`] if there is one that cannot be used.
pub fn find_device(
    record: &BootRecord,
    ecam: Ecam,
    apertures: &mut Apertures,
) -> Result<Option<Addresses>, DeviceError> {
    if record.fabric == 0 {
        return Ok(None);
    }
    let bus = ecam.buses().next().ok_or(DeviceError::NoBus)?;
    maize_ivshmem::find(ecam, bus, apertures)?.ok_or(DeviceError::Missing).map(Some)
}

/// Opens the device for the instance with that index inside its machine, whose doorbell raises
/// [`Interrupts::DOORBELL`] by a message of `msi` from now on.
///
/// # Errors
/// [`DeviceError`].
///
/// # Safety
/// `addresses` were found by [`find_device`] in this machine, and this is called once an instance.
pub unsafe fn open_device(
    addresses: &Addresses,
    index: u16,
    msi: &mut impl Msi,
) -> Result<Ivshmem, DeviceError> {
    let hooks = hooks().ok_or(DeviceError::NoBus)?;
    let maps = Maps { device: hooks.map_device, memory: hooks.map_memory };
    // SAFETY: the caller's; the board's hooks map as they say.
    let mut device = unsafe { Ivshmem::open(addresses, index, maps)? };
    device.listen(msi.allocate(Interrupts::DOORBELL)?)?;
    Ok(device)
}
