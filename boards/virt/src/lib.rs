//! The kernel for QEMU's virt machine.
#![no_std]
