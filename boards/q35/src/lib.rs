//! The kernel for QEMU's q35 machine.
#![no_std]
