//! The window between machines: QEMU's `ivshmem-doorbell` device, revision 1.
//!
//! The device has three BARs: four registers (0), the MSI-X table (1), and the memory that all
//! machines share (2). [`find`] looks for it, places its BARs where firmware has not, and checks
//! what it says of itself; what remains is [`Addresses`], plain data that an instance can hand to
//! the others of its machine. Each of them then makes an [`Ivshmem`] of it: the memory as a
//! [`Mapping`], a vector of its own, and the register by which others are rung.
//!
//! Instance *i* of a machine (counted inside the machine) has vector *i*, and machine *m* has the
//! device's id *m*.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

mod device;
mod discovery;

pub use device::{Bell, Ivshmem, Maps};
pub use discovery::{Addresses, IvshmemError, find};
