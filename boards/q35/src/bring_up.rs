//! From the entry code to a described and mapped machine.
#![allow(unsafe_code, reason = "memory and devices that firmware describes")]

use core::fmt;

use heapless::Vec;
use maize_arch_x86_64::paging::{self, MapError, direct, map_device};
use maize_arch_x86_64::timebase::{Calibration, Reference};
use maize_arch_x86_64::{BootInfo, LocalApic, image};
use maize_firmware::{
    AcpiTables, CommandLine, FirmwareError, MAX_FREE, MemoryMap, PhysRange, PhysicalMemory,
    StartInfo,
};
use maize_hal::{Frame, FrameRange};
use maize_platform::siblings::partition::MAX_SIBLINGS;
use maize_platform::siblings::{BootBlock, BootBlockError};
use maize_wire::PAGE_WORDS;

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
    /// What firmware says of memory.
    pub memory: MemoryMap,
}

/// Why the machine cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BringUpError {
    /// Firmware's word makes no sense.
    Firmware(FirmwareError),
    /// Memory or a device could not be mapped.
    Map(MapError),
    /// A sibling's boot block is damaged.
    BootBlock(BootBlockError),
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
            Self::BootBlock(error) => error.fmt(f),
            Self::NoMemory => f.write_str("no memory below 4 GiB for page tables"),
        }
    }
}

/// The boot block of a sibling instance; `None` in the machine's first, which has the boot loader's
/// start information instead.
///
/// # Safety
/// `boot` is what the entry code passed, and its tables are in use.
///
/// # Errors
/// [`BringUpError`] if it is damaged.
pub(crate) unsafe fn boot_block(boot: &BootInfo) -> Result<Option<BootBlock>, BringUpError> {
    // SAFETY: the caller's.
    let memory = unsafe { LowMemory::new(None) };
    let mut page = [0; 8 * PAGE_WORDS];
    if !boot.start_info.is_multiple_of(PAGE) || !memory.read(boot.start_info, &mut page) {
        return Ok(None);
    }
    let mut words = [0; PAGE_WORDS];
    for (word, bytes) in words.iter_mut().zip(page.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    match BootBlock::from_words(&words) {
        Ok(block) => Ok(Some(block)),
        Err(BootBlockError::Magic(_)) => Ok(None),
        Err(error) => Err(BringUpError::BootBlock(error)),
    }
}

/// Reads what firmware tells and maps the machine. A sibling gives its boot block.
///
/// # Safety
/// `boot` is what the entry code passed, its tables are in use, and this is called once.
///
/// # Errors
/// [`BringUpError`]; the boot tables are then still in use.
pub unsafe fn bring_up(boot: &BootInfo, block: Option<&BootBlock>) -> Result<Board, BringUpError> {
    // SAFETY: the boot tables are in use until `map_memory`, after the last use of this.
    let memory = unsafe { LowMemory::new(None) };
    let start_info = block.map_or(boot.start_info, |block| block.firmware);
    let info = StartInfo::read(&memory, start_info)?;
    let rsdp = info.rsdp.ok_or(FirmwareError::Missing("ACPI root pointer"))?;
    // SAFETY: as above.
    let memory = unsafe { LowMemory::new(Some(&info.memory)) };
    let tables = AcpiTables::read(&memory, rsdp)?;
    power::learn(&tables);
    let disk = info.modules.first().copied();
    // SAFETY: the caller's.
    let free = unsafe { map_memory(boot, &info.memory, disk, block)? };
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
        memory: info.memory,
    })
}

/// The first instance's image, and those of its siblings, with low memory and the RAM disk.
const MAX_TAKEN: usize = MAX_SIBLINGS + 2;

/// Builds the kernel's tables and returns what is free then: in a sibling, its own share.
///
/// All RAM of the machine is in the direct map but for low memory and the images: the first
/// instance has its siblings' images there, to write them.
///
/// # Safety
/// As [`bring_up`].
unsafe fn map_memory(
    boot: &BootInfo,
    map: &MemoryMap,
    disk: Option<PhysRange>,
    block: Option<&BootBlock>,
) -> Result<Vec<FrameRange, MAX_FREE>, BringUpError> {
    let mut taken: Vec<PhysRange, MAX_TAKEN> = Vec::new();
    // There are no more than it holds.
    let _ = taken.push(LOW_MEMORY);
    match block {
        None => {
            let parts = image();
            let end = boot.image + (parts.end - parts.text);
            let _ = taken.push(PhysRange { start: boot.image, end });
        }
        Some(block) => taken.extend(block.images.iter().map(bytes)),
    }
    if let Some(disk) = disk {
        // The disk must be RAM that is nothing else, or mapping it would let the root file system
        // show the kernel's memory, or touch a device.
        if !map.free(&taken)?.iter().any(|ram| ram.contains(&disk)) {
            let (start, len) = (disk.start, disk.len());
            return Err(FirmwareError::Range { what: "initial RAM disk", start, len }.into());
        }
        let _ = taken.push(disk);
    }
    let ram = map.free(&taken)?;
    let (tables, free) = match block {
        None => {
            let mut free = ram.clone();
            let end = free.iter().map(|r| r.end).max().unwrap_or(0);
            let wanted = paging::tables_len(end);
            let source = free.iter_mut().find(|r| r.len() > wanted && r.start + wanted <= 1 << 32);
            let source = source.ok_or(BringUpError::NoMemory)?;
            let tables = source.start..source.start + wanted;
            source.start += wanted;
            (tables, free.iter().map(frames).collect())
        }
        Some(block) => {
            let tables = bytes(&block.tables);
            (tables.start..tables.end, block.ram.iter().copied().collect())
        }
    };
    let writable = ram.iter().map(|r| (r.start..r.end, false));
    let disk_pages = disk.map(|d| (d.start / PAGE * PAGE..d.end.next_multiple_of(PAGE), true));
    // SAFETY: the ranges are RAM that the memory map has once, none is the image's, and `tables`
    // was just taken from the free ones, or by the first instance for this one.
    unsafe { paging::init(boot, writable.chain(disk_pages), tables)? };
    Ok(free)
}

fn frames(range: &PhysRange) -> FrameRange {
    FrameRange { start: Frame::containing(range.start), end: Frame::containing(range.end) }
}

fn bytes(frames: &FrameRange) -> PhysRange {
    PhysRange { start: frames.start.address(), end: frames.end.address() }
}

/// Starts this processor's local APIC.
#[must_use]
pub(crate) fn local_apic(tables: &AcpiTables) -> Option<LocalApic> {
    // SAFETY: the ACPI tables say where the registers are, and only this value uses them.
    unsafe { LocalApic::new(|| map_device(tables.local_apic, 4096).ok()) }
}

/// Starts the local APIC, and a watch over the clocks beside the best reference there is.
#[must_use]
pub(crate) fn start_clocks(tables: &AcpiTables) -> Option<(LocalApic, Calibration)> {
    let mut apic = local_apic(tables)?;
    let hpet = tables.hpet.and_then(|hpet| {
        let registers = map_device(hpet.address, 1024).ok()?;
        // SAFETY: the ACPI tables say that this is a HPET; it was just mapped for good.
        unsafe { Reference::hpet(registers) }
    });
    let timer = || tables.pm_timer.map(|t| Reference::PmTimer { port: t.port, bits: t.bits });
    let calibration = Calibration::begin(hpet.or_else(timer)?, &mut apic);
    Some((apic, calibration))
}
