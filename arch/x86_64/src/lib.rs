//! x86_64: boot, traps, context switch, MMU.
//!
//! # On the machine
//! `boot.s` enters by the PVH protocol at any 2 MiB boundary and calls the board's `maize_main` with
//! a [`BootInfo`], at the addresses of [`layout`]. The board maps RAM with [`paging::init`], then
//! builds an [`X86`], which is `maize_hal::Arch`.
//!
//! # On the host
//! What is a function of values builds and is tested anywhere: [`exception`] (what a trap means),
//! [`xstate`] (saved FPU state), [`clock`], [`layout`].
#![no_std]

extern crate alloc;

pub mod clock;
pub mod exception;
pub mod layout;
pub mod xstate;

/// Exit status of a machine whose kernel panicked.
pub const FAILED: u8 = 101;

#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod copy;
#[cfg(target_os = "none")]
mod cpu;
#[cfg(target_os = "none")]
mod fpu;
#[cfg(target_os = "none")]
mod local_apic;
#[cfg(target_os = "none")]
mod machine;
#[cfg(any(target_os = "none", all(test, target_arch = "x86_64")))]
mod memory_functions;
#[cfg(target_os = "none")]
pub mod paging;
#[cfg(target_os = "none")]
pub mod ports;
#[cfg(target_os = "none")]
mod segments;
#[cfg(target_os = "none")]
pub mod startup;
#[cfg(target_os = "none")]
pub mod timebase;
#[cfg(target_os = "none")]
mod trap;

#[cfg(target_os = "none")]
pub use boot::{BootInfo, Image, frame_pointer, image, keep_image, load_image, stack};
#[cfg(target_os = "none")]
pub use local_apic::{Commands, LocalApic};
#[cfg(target_os = "none")]
pub use machine::{MessageInterrupt, Messages, Parts, X86, set_up_processor};
#[cfg(target_os = "none")]
pub use trap::{FaultFrame, on_kernel_fault};
