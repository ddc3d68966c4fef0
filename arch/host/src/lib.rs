//! An emulated machine: MMU with a TLB, scripted programs, virtual time.
#![no_std]
