//! What a PC's firmware tells.
#![no_std]
#![forbid(unsafe_code)]
