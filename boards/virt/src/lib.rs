//! The kernel for QEMU's `virt` machine: bring-up.
//!
//! [`bring_up`] turns what the entry code passes into a [`Board`]: the device tree read, RAM and
//! devices mapped, the console open, the interrupt controller ready.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(target_os = "none")]
mod bring_up;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod mapping;

#[cfg(target_os = "none")]
pub use bring_up::{Board, BringUpError, bring_up};
