//! The contract between a kernel and the launcher: boot record and framed channel.
#![no_std]
