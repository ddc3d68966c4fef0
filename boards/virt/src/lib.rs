//! The kernel for QEMU's `virt` machine: bring-up.
//!
//! [`bring_up`] turns what the entry code passes into a [`Board`]: the device tree read, RAM and
//! devices mapped, the console open, the interrupt controller ready. [`pci`] opens the bus, [`hooks`]
//! connects `maize-platform`. [`start`] joins them, for each of the kernels.
//!
//! # The image
//! The ELF file's physical addresses are offsets from the image's first byte, which is an arm64
//! `Image` header: laying its loadable segments out by physical address gives a file that QEMU
//! boots. The bytes behind it, up to the size in the header, need not be zero.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod bring_up;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
pub mod hooks;
#[cfg(target_os = "none")]
mod mapping;
#[cfg(target_os = "none")]
pub mod pci;
#[cfg(target_os = "none")]
mod siblings;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
mod translations;

#[cfg(target_os = "none")]
pub use bring_up::{Board, BringUpError, bring_up};
#[cfg(target_os = "none")]
pub use start::{Virt, start};
