//! The kernel for QEMU's `q35` machine.
#![cfg_attr(target_os = "none", no_std, no_main)]

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
mod start;

/// On the host there is no machine to run.
#[cfg(not(target_os = "none"))]
fn main() {}
