//! An emulated machine: MMU with a TLB, scripted programs, virtual time.
//!
//! It runs on the host, so it uses the standard library. It is stricter than any hardware: what a
//! processor may do by its manual, such as use a translation that nobody flushed, it always does,
//! and says so.
#![forbid(unsafe_code)]

mod memory;
mod mmu;

pub use memory::EmulatedMemory;
pub use mmu::Violation;
