//! From the entry code to a described and mapped machine.
#![allow(unsafe_code, reason = "memory and devices that firmware describes")]

use core::fmt;

use heapless::Vec;
use maize_arch_x86_64::paging::{self, MapError, direct, map_device};
use maize_arch_x86_64::timebase::{Calibration, Reference};
use maize_arch_x86_64::{BootInfo, LocalApic, image};
use maize_firmware::{
    AcpiTables, CommandLine, FirmwareError, MAX_FREE, MemoryMap, PhysRange, StartInfo,
};
use maize_hal::{Frame, FrameRange};

use crate::firmware::LowMemory;
use crate::power;

/// Below this are firmware's data and, later, what siblings start from.
const LOW_MEMORY: PhysRange = PhysRange { start: 0, end: 1 << 20 };

const PAGE: u64 = 4096;

/// The machine, described and mapped.
#[derive(Debug)]
pub struct Board {
    /// What the ACPI tables say.
    pub tables: AcpiTables,
    /// RAM that nothing uses, in the direct map.
    pub free: Vec<FrameRange, MAX_FREE>,
    /// Bytes of RAM in all.
    pub ram: u64,
    /// The initial RAM disk.
    pub initrd: &'static [u8],
    /// What the boot loader was asked to pass on.
    pub command_line: CommandLine,
}

/// Why the machine cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BringUpError {
    /// Firmware's word makes no sense.
    Firmware(FirmwareError),
    /// Memory or a device could not be mapped.
    Map(MapError),
    /// No piece of free RAM below 4 GiB is large enough for the page tables.
    NoMemory,
}

impl From<FirmwareError> for BringUpError {
    fn from(error: FirmwareError) -> BringUpError {
        BringUpError::Firmware(error)
    }
}

impl From<MapError> for BringUpError {
    fn from(error: MapError) -> BringUpError {
        BringUpError::Map(error)
    }
}

impl core::error::Error for BringUpError {}

impl fmt::Display for BringUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Firmware(error) => error.fmt(f),
            Self::Map(error) => error.fmt(f),
            Self::NoMemory => f.write_str("no memory below 4 GiB for page tables"),
        }
    }
}

/// Reads what firmware tells and maps the machine.
///
/// # Safety
/// `boot` is what the entry code passed, its tables are in use, and this is called once.
///
/// # Errors
/// [`BringUpError`]; the boot tables are then still in use.
pub unsafe fn bring_up(boot: &BootInfo) -> Result<Board, BringUpError> {
    // SAFETY: the boot tables are in use until `map_memory`, after the last use of this.
    let memory = unsafe { LowMemory::new(None) };
    let info = StartInfo::read(&memory, boot.start_info)?;
    let rsdp = info.rsdp.ok_or(FirmwareError::Missing("ACPI root pointer"))?;
    // SAFETY: as above.
    let memory = unsafe { LowMemory::new(Some(&info.memory)) };
    let tables = AcpiTables::read(&memory, rsdp)?;
    power::learn(&tables);
    let disk = info.modules.first().copied();
    // SAFETY: the caller's.
    let free = unsafe { map_memory(boot, &info.memory, disk)? };
    let initrd = match disk {
        // SAFETY: mapped read-only by `map_memory`, inside one range of RAM; nobody writes it.
        Some(disk) => unsafe {
            core::slice::from_raw_parts(direct(disk.start), disk.len() as usize)
        },
        None => &[],
    };
    Ok(Board {
        tables,
        free,
        ram: info.memory.usable_bytes(),
        initrd,
        command_line: info.command_line,
    })
}

/// Builds the kernel's tables and returns what is free then.
///
/// # Safety
/// As [`bring_up`].
unsafe fn map_memory(
    boot: &BootInfo,
    map: &MemoryMap,
    disk: Option<PhysRange>,
) -> Result<Vec<FrameRange, MAX_FREE>, BringUpError> {
    let parts = image();
    let own = PhysRange { start: boot.image, end: boot.image + (parts.end - parts.text) };
    let mut taken: Vec<PhysRange, 3> = Vec::new();
    if let Some(disk) = disk {
        // The disk must be RAM that is nothing else, or mapping it would let the root file system
        // show the kernel's memory, or touch a device.
        let inside = map
            .free(&[LOW_MEMORY, own])?
            .iter()
            .any(|ram| ram.contains(&PhysRange { start: disk.start, end: disk.end }));
        if !inside {
            let (start, len) = (disk.start, disk.len());
            return Err(FirmwareError::Range { what: "initial RAM disk", start, len }.into());
        }
    }
    for range in [Some(LOW_MEMORY), Some(own), disk].into_iter().flatten() {
        // There are three at most.
        let _ = taken.push(range);
    }
    let mut free = map.free(&taken)?;
    let end = free.iter().map(|r| r.end).max().unwrap_or(0);
    let wanted = paging::tables_len(end);
    let ram = free.clone();
    let source = free.iter_mut().find(|r| r.len() > wanted && r.start + wanted <= 1 << 32);
    let source = source.ok_or(BringUpError::NoMemory)?;
    let tables = source.start..source.start + wanted;
    source.start += wanted;
    let writable = ram.iter().map(|r| (r.start..r.end, false));
    let disk_pages = disk.map(|d| (d.start / PAGE * PAGE..d.end.next_multiple_of(PAGE), true));
    // SAFETY: the ranges are RAM that the memory map has once, none is the image's, and `tables`
    // was just taken from the free ones.
    unsafe { paging::init(boot, writable.chain(disk_pages), tables)? };
    let frames = |r: &PhysRange| FrameRange {
        start: Frame::containing(r.start),
        end: Frame::containing(r.end),
    };
    Ok(free.iter().map(frames).collect())
}

/// Starts the local APIC, and a watch over the clocks beside the best reference there is.
#[must_use]
pub fn start_clocks(tables: &AcpiTables) -> Option<(LocalApic, Calibration)> {
    // SAFETY: the ACPI tables say where the registers are, and only this value uses them.
    let mut apic = unsafe { LocalApic::new(|| map_device(tables.local_apic, 4096).ok()) }?;
    let hpet = tables.hpet.and_then(|hpet| {
        let registers = map_device(hpet.address, 1024).ok()?;
        // SAFETY: the ACPI tables say that this is a HPET; it was just mapped for good.
        unsafe { Reference::hpet(registers) }
    });
    let timer = || tables.pm_timer.map(|t| Reference::PmTimer { port: t.port, bits: t.bits });
    let calibration = Calibration::begin(hpet.or_else(timer)?, &mut apic);
    Some((apic, calibration))
}
