//! The Linux ABI as data: numbers, structures and register files of each instruction set.
#![no_std]
#![forbid(unsafe_code)]
