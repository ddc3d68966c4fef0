//! Memory: frames, page tables, memory objects, address spaces.
#![no_std]
