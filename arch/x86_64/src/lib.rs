//! x86_64: boot, traps, context switch, MMU.
#![no_std]
