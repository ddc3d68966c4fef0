//! Programs: ELF files, scripts, and the stack a program starts with.

pub mod elf;
pub mod script;
pub mod stack;
