//! The kernel for QEMU's `q35` machine.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod start;

/// On the host there is no machine to run.
#[cfg(not(target_os = "none"))]
fn main() {}
