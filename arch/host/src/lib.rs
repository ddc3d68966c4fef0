//! An emulated machine: MMU with a TLB, scripted programs, virtual time.
//!
//! It runs on the host, so it uses the standard library. It is stricter than any hardware: what a
//! processor may do by its manual, such as use a translation that nobody flushed, it always does,
//! and says so.
#![forbid(unsafe_code)]

mod host_io;
mod machine;
mod memory;
mod mmu;
mod regs;
mod script;

pub use host_io::ScriptedHost;
pub use machine::{HostArch, INSTRUCTION_TIME, Wires};
pub use memory::EmulatedMemory;
pub use mmu::Violation;
pub use regs::{Link, Reg, ScriptRegs};
pub use script::{CODE, DATA, Place, Script};
