//! The Linux ABI as data: numbers, structures and register files of each instruction set.
//!
//! Nothing here runs on a particular machine: a host test can build an aarch64 signal frame, and a
//! model can walk an x86_64 page table.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod capability;
pub mod errno;
pub mod file;
pub mod ipc;
pub mod isa;
pub mod message_queue;
pub mod migration;
pub mod pte;
pub mod semaphore;
pub mod shm;
pub mod signal;
pub mod socket;
pub mod syscall;
pub mod termios;

pub use errno::Errno;
pub use isa::{AnyRegs, Isa, IsaKind, UserRegs};
pub use syscall::Sysno;

/// Bytes in a page, on every instruction set (4 KiB granule everywhere).
pub const PAGE_SIZE: usize = 4096;

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
