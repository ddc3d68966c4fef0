//! The traits by which the kernel core reaches a machine.
//!
//! An `arch/` crate implements [`Arch`] for one instruction set, or for an emulated machine on the
//! host. The core is generic over it and holds no other way to touch hardware.
//!
//! # One stack, no interrupts
//! The core runs on one stack per instance with interrupts masked. Interrupts are taken only while
//! user code runs ([`Arch::run_user`] then returns) and in [`Arch::wait_for_interrupt`]; between
//! them the core asks for what is pending with [`Arch::poll_interrupts`]. No core code is ever
//! entered from a handler.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod arch;
mod fpu;
mod heap;
mod host_io;
mod memory;
mod time;

pub use arch::{Arch, Exception, Interrupts, PageFault, Trap};
pub use fpu::FpuState;
pub use heap::KernelHeap;
pub use host_io::{HostEvent, HostIo, OutputStream, Report};
pub use memory::{Frame, FrameRange, PhysMemory, Tlb};
pub use time::Nanos;
