//! Looks into transformation metadata, verifies and compares it.
//!
//! Everything is read from a program's ELF files alone: [`elf`] reads them, [`unwind`] and [`code`]
//! say what their unwind tables and machine code do, and [`verify`] holds both files against each
//! other and against their metadata. No file is trusted; what is wrong with one has a name.
#![forbid(unsafe_code)]

pub mod code;
pub mod diff;
pub mod elf;
pub mod frames;
pub mod inspect;
pub mod unwind;
pub mod verify;

pub use elf::{Elf, ElfError};
