//! aarch64: boot, traps, context switch, MMU.
//!
//! # On the machine
//! `boot.s` enters at EL2 or EL1 with the MMU off at any 2 MiB boundary, and calls the board's
//! `maize_main` at the addresses of [`layout`]. The board maps RAM and devices by [`Space`], and
//! builds a [`Machine`], which is `maize_hal::Arch`.
//!
//! # On the host
//! What is a function of values builds and is tested anywhere: [`syndrome`] (what an exception
//! means), [`features`] (capabilities), [`kernel_map`] (kernel page tables), [`clock`], [`asid`].
//!
//! # Barriers
//! TCG executes in order and keeps no stale translations between instructions, so a missing barrier
//! does not show there. Each place that needs one says which rule of the architecture it follows.
#![no_std]

extern crate alloc;

pub mod asid;
pub mod clock;
pub mod features;
pub mod kernel_map;
pub mod layout;
pub mod syndrome;

pub mod gic;

/// Exit status of a machine whose kernel panicked.
pub const FAILED: u8 = 101;

#[cfg(target_os = "none")]
mod copy;
#[cfg(target_os = "none")]
mod cpu;
#[cfg(target_os = "none")]
pub mod entry;
#[cfg(target_os = "none")]
pub mod fault;
#[cfg(target_os = "none")]
pub mod firmware;
#[cfg(target_os = "none")]
pub mod fpu;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
pub mod space;

#[cfg(target_os = "none")]
pub use machine::{Machine, Parts, boot_clock, counter, frame_pointer};
