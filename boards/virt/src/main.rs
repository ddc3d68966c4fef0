//! The kernel for QEMU's `virt` machine.
#![cfg_attr(target_os = "none", no_std, no_main)]

/// On the host there is no machine to run.
#[cfg(not(target_os = "none"))]
fn main() {}
