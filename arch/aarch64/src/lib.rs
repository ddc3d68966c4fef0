//! aarch64: boot, traps, context switch, MMU.
#![no_std]
