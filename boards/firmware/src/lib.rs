//! What a PC's firmware tells a kernel: the PVH start information, the memory map and the ACPI
//! tables, parsed from bytes that nobody vouches for.
//!
//! Everything is read through [`PhysicalMemory`], so the parsers are pure, need no heap (they run
//! before there is one), and are tested on the host with mutated tables. Whatever the bytes: a named
//! error, no panic, and no read outside what `PhysicalMemory` allows.
//!
//! The field's `acpi` crate (5.2, the last for a stable compiler) is not used: it maps whatever
//! address and length a table gives through a callback that cannot refuse, subtracts a header's
//! length from an unchecked one, and reads all of that to sum it up before anything is validated. A
//! table with a wrong length would so fault in the kernel instead of being reported.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod acpi;
mod error;
mod memory_map;
mod physical;
mod start_info;

pub use acpi::{AcpiTables, Hpet, MAX_CORES, PowerOff, Register, RegisterSpace, ResetRegister};
pub use acpi::{EcamRange, PmTimer};
pub use error::FirmwareError;
pub use memory_map::{MAX_FREE, MAX_RANGES, MemoryKind, MemoryMap, MemoryRange};
pub use physical::{PhysRange, PhysicalMemory};
pub use start_info::{CommandLine, MAX_COMMAND_LINE, MAX_MODULES, Module, StartInfo};
