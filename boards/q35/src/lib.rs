//! The kernel for QEMU's `q35` machine: bring-up.
//!
//! [`open`] makes the console, panics and faults of the kernel speak; [`bring_up`] turns what the
//! entry code passes into a [`Board`]: firmware's word read, RAM mapped. [`start_clocks`] starts
//! the local APIC. The kernel's `main` joins them with `maize-platform`.
#![cfg_attr(target_os = "none", no_std)]

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
pub use bring_up::{Board, BringUpError, bring_up, start_clocks};
#[cfg(target_os = "none")]
pub use hooks::open;
