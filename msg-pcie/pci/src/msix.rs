//! MSI-X: the capability, and the table in a BAR.
#![allow(unsafe_code, reason = "the table is device memory")]

use core::error::Error;
use core::fmt;
use core::ptr::NonNull;

use safe_mmio::fields::ReadPureWrite;
use safe_mmio::{UniqueMmioPointer, field};
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, PciRoot};

use crate::{BarError, MsiMessage, Region, bar_region};

const CAPABILITY_ID: u8 = 0x11;
const ENABLE: u16 = 1 << 15;
const FUNCTION_MASK: u16 = 1 << 14;

/// Bytes of one table entry.
const ENTRY_LEN: u64 = 16;

/// Why a device cannot interrupt by MSI-X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsixError {
    /// It has no such capability.
    Missing,
    /// The BAR of the table is not usable.
    Bar(BarError),
    /// The table does not lie inside its BAR.
    OutsideBar,
    /// The table has no entry of this index.
    NoEntry(u16),
}

impl fmt::Display for MsixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the device has no MSI-X"),
            Self::Bar(error) => write!(f, "MSI-X table: {error}"),
            Self::OutsideBar => f.write_str("the MSI-X table leaves its BAR"),
            Self::NoEntry(index) => write!(f, "the MSI-X table has no entry {index}"),
        }
    }
}

impl Error for MsixError {}

/// A device's MSI-X capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixCapability {
    offset: u8,
    control: u16,
    /// Physical address and bytes of the table.
    pub table: Region,
    /// Entries in the table, 1 to 2048.
    pub entries: u16,
}

impl MsixCapability {
    /// Finds the capability of a device whose BARs are assigned.
    ///
    /// # Errors
    /// [`MsixError`] if there is none, or its table is nowhere.
    pub fn find<C: ConfigurationAccess>(
        root: &mut PciRoot<C>,
        config: &C,
        device: DeviceFunction,
    ) -> Result<MsixCapability, MsixError> {
        // A looping list of a broken device ends after as many entries as configuration space has.
        let found = root.capabilities(device).take(48).find(|c| c.id == CAPABILITY_ID);
        let capability = found.ok_or(MsixError::Missing)?;
        let at = capability.offset.checked_add(4).ok_or(MsixError::Missing)?;
        let location = config.read_word(device, at);
        let bar = (location & 7) as u8;
        let offset = u64::from(location & !7);
        let entries = (capability.private_header & 0x7ff) + 1;
        let size = u64::from(entries) * ENTRY_LEN;
        let region = bar_region(root, device, bar).map_err(MsixError::Bar)?;
        if offset.checked_add(size).is_none_or(|end| end > region.size) {
            return Err(MsixError::OutsideBar);
        }
        Ok(MsixCapability {
            offset: capability.offset,
            control: capability.private_header,
            table: Region { address: region.address + offset, size },
            entries,
        })
    }

    /// Lets the device send messages. Entries that are masked stay silent.
    pub fn enable<C: ConfigurationAccess>(&self, config: &mut C, device: DeviceFunction) {
        let control = (self.control | ENABLE) & !FUNCTION_MASK;
        // The lower half, id and next pointer, is read-only.
        config.write_word(device, self.offset, u32::from(control) << 16);
    }
}

/// One entry of the table, as the device has it.
#[derive(Debug)]
#[repr(C)]
struct Entry {
    address_low: ReadPureWrite<u32>,
    address_high: ReadPureWrite<u32>,
    data: ReadPureWrite<u32>,
    /// Bit 0: masked.
    control: ReadPureWrite<u32>,
}

/// The mapped table of a device.
#[derive(Debug)]
pub struct MsixTable {
    entries: UniqueMmioPointer<'static, [Entry]>,
}

// SAFETY: the table is reached through this value only, from whichever thread owns it.
unsafe impl Send for MsixTable {}

impl MsixTable {
    /// The table of `capability`, mapped at `base`, with every entry masked.
    ///
    /// # Safety
    /// `base` points to the region [`MsixCapability::table`], mapped as device memory for as long
    /// as the program runs and reached through nothing else.
    #[must_use]
    pub unsafe fn new(base: NonNull<u8>, capability: &MsixCapability) -> MsixTable {
        // SAFETY: the caller's; the region holds exactly `entries` entries.
        let mut table = unsafe { MsixTable::attach(base, capability.entries) };
        for index in 0..capability.entries {
            let _ = table.set_masked(index, true);
        }
        table
    }

    /// A table of that many entries, mapped at `base`, that is left as it is: one of several
    /// instances that share a device may come to it when others use their entries already.
    ///
    /// # Safety
    /// `base` points to [`Self::len_of`] bytes of a device's table, mapped as device memory for as
    /// long as the program runs. Entries that are used through this value are used through nothing
    /// else.
    #[must_use]
    pub unsafe fn attach(base: NonNull<u8>, entries: u16) -> MsixTable {
        let entries = NonNull::slice_from_raw_parts(base.cast(), usize::from(entries));
        // SAFETY: the caller vouches for the mapping, which holds as many entries.
        MsixTable { entries: unsafe { UniqueMmioPointer::new(entries) } }
    }

    /// Bytes of a table of that many entries.
    #[must_use]
    pub const fn len_of(entries: u16) -> u64 {
        entries as u64 * ENTRY_LEN
    }

    /// Makes entry `index` send `message`, and unmasks it.
    ///
    /// # Errors
    /// [`MsixError::NoEntry`].
    pub fn set(&mut self, index: u16, message: MsiMessage) -> Result<(), MsixError> {
        let entry = self.entries.get(usize::from(index));
        let mut entry = entry.ok_or(MsixError::NoEntry(index))?;
        field!(entry, address_low).write(message.address as u32);
        field!(entry, address_high).write((message.address >> 32) as u32);
        field!(entry, data).write(message.data);
        field!(entry, control).write(0);
        Ok(())
    }

    /// Masks or unmasks entry `index`.
    ///
    /// # Errors
    /// [`MsixError::NoEntry`].
    pub fn set_masked(&mut self, index: u16, masked: bool) -> Result<(), MsixError> {
        let entry = self.entries.get(usize::from(index));
        let mut entry = entry.ok_or(MsixError::NoEntry(index))?;
        field!(entry, control).write(u32::from(masked));
        Ok(())
    }
}
