//! The kernel for QEMU's `q35` machine: bring-up.
//!
//! [`open`] makes the console, panics and faults of the kernel speak; [`bring_up`] turns what the
//! entry code passes into a [`Board`]: firmware's word read, RAM mapped. [`start_clocks`] starts
//! the local APIC. The machine's first instance starts its siblings, each with a boot block in place
//! of start information. [`start`] joins them with `maize-platform`, for each of the kernels.
#![cfg_attr(target_os = "none", no_std)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod bring_up;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod firmware;
#[cfg(target_os = "none")]
mod hooks;
#[cfg(target_os = "none")]
mod power;
#[cfg(target_os = "none")]
mod siblings;
#[cfg(target_os = "none")]
mod start;

#[cfg(target_os = "none")]
pub use bring_up::{Board, BringUpError, bring_up};
#[cfg(target_os = "none")]
pub use hooks::open;
#[cfg(target_os = "none")]
pub use start::{Q35, start};
