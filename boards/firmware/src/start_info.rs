//! The start information of the PVH boot protocol (`hvm_start_info`, version 1).

use heapless::Vec;

use crate::memory_map::MemoryMap;
use crate::physical::{Fields, bytes};
use crate::{FirmwareError, MemoryKind, MemoryRange, PhysRange, PhysicalMemory};

const MAGIC: u32 = 0x336e_c578;
const LEN: usize = 56;
const MODULE_LEN: u64 = 32;
const MEMORY_RANGE_LEN: u64 = 24;

/// Most modules that are looked at.
pub const MAX_MODULES: usize = 4;

/// Most bytes of a command line.
pub const MAX_COMMAND_LINE: usize = 256;

/// What the boot loader was asked to pass on, without the closing zero.
pub type CommandLine = Vec<u8, MAX_COMMAND_LINE>;

/// A file that was loaded beside the kernel.
pub type Module = PhysRange;

/// What the boot loader hands to a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartInfo {
    /// Physical address of the ACPI root pointer, if there is one.
    pub rsdp: Option<u64>,
    /// The modules; the first is the initial RAM disk.
    pub modules: Vec<Module, MAX_MODULES>,
    /// What lies where.
    pub memory: MemoryMap,
    /// The command line; empty if there is none.
    pub command_line: CommandLine,
}

impl StartInfo {
    /// Reads the structure at physical `address` and what it points to.
    ///
    /// # Errors
    /// [`FirmwareError`] if it is not one, has no memory map, or names what cannot be.
    pub fn read(memory: &impl PhysicalMemory, address: u64) -> Result<StartInfo, FirmwareError> {
        let info: [u8; LEN] = bytes(memory, address, "start information")?;
        let info = Fields(&info);
        if info.u32(0) != MAGIC {
            return Err(FirmwareError::Signature("start information"));
        }
        if info.u32(4) < 1 {
            return Err(FirmwareError::Missing("memory map in the start information"));
        }
        Ok(StartInfo {
            rsdp: Some(info.u64(32)).filter(|address| *address != 0),
            modules: modules(memory, info.u64(16), info.u32(12))?,
            memory: memory_map(memory, info.u64(40), info.u32(48))?,
            command_line: command_line(memory, info.u64(24))?,
        })
    }
}

fn command_line(memory: &impl PhysicalMemory, start: u64) -> Result<CommandLine, FirmwareError> {
    const WHAT: &str = "command line";
    let mut line = CommandLine::new();
    if start == 0 {
        return Ok(line);
    }
    for at in start.. {
        let [byte] = bytes(memory, at, WHAT)?;
        if byte == 0 {
            break;
        }
        line.push(byte).map_err(|_| FirmwareError::TooMany("bytes of command line"))?;
    }
    Ok(line)
}

/// Address of entry `index` of a table.
fn entry(table: u64, index: u32, len: u64, what: &'static str) -> Result<u64, FirmwareError> {
    let offset = u64::from(index) * len;
    table.checked_add(offset).ok_or(FirmwareError::Unreadable { what, address: table })
}

fn modules(
    memory: &impl PhysicalMemory,
    table: u64,
    count: u32,
) -> Result<Vec<Module, MAX_MODULES>, FirmwareError> {
    let mut modules = Vec::new();
    for index in 0..count {
        let at = entry(table, index, MODULE_LEN, "module list")?;
        let module: [u8; MODULE_LEN as usize] = bytes(memory, at, "module list")?;
        let module = Fields(&module);
        let (start, len) = (module.u64(0), module.u64(8));
        let range = PhysRange::new(start, len);
        let range = range.ok_or(FirmwareError::Range { what: "module", start, len })?;
        modules.push(range).map_err(|_| FirmwareError::TooMany("modules"))?;
    }
    Ok(modules)
}

fn memory_map(
    memory: &impl PhysicalMemory,
    table: u64,
    count: u32,
) -> Result<MemoryMap, FirmwareError> {
    let mut map = MemoryMap::default();
    for index in 0..count {
        let at = entry(table, index, MEMORY_RANGE_LEN, "memory map")?;
        let range: [u8; MEMORY_RANGE_LEN as usize] = bytes(memory, at, "memory map")?;
        let range = Fields(&range);
        let (start, len) = (range.u64(0), range.u64(8));
        if len == 0 {
            continue;
        }
        let found = PhysRange::new(start, len);
        let found = found.ok_or(FirmwareError::Range { what: "memory", start, len })?;
        map.add(MemoryRange { range: found, kind: MemoryKind::from_e820(range.u32(16)) })?;
    }
    Ok(map)
}
