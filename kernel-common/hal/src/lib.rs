//! The traits by which the kernel core reaches a machine.
#![no_std]
#![forbid(unsafe_code)]
