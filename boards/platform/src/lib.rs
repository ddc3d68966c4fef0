//! What every board shares.
//!
//! A board finds its machine out, [installs](install) its [`Hooks`], gives memory to the
//! [heap](heap) and to [DMA](dma), builds its `maize_hal::Arch`, opens the host link and ends in
//! [`run_instance`]. What lies between is here and is the same on every board:
//!
//! - [`heap`]: the kernel's heap; [`dma`]: memory that devices read and write;
//! - [`console`]: the log and the panic report on the board's serial line;
//! - [`virtio`]: finding the host link's device on PCI, its queues and its MSI-X interrupts;
//! - [`fabric`]: the links to other instances, over PCI and over shared RAM;
//! - [`HostLink`]: the frames of `maize-hostlink` on a byte stream, as `maize_hal::HostIo`;
//! - [`siblings`]: several instances in one machine;
//! - [`boot_record`]: what the launcher asks for, from the initial RAM disk.
//!
//! On the host only what needs no machine is in use: the link, the record and their tests.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod backtrace;
pub mod boot_record;
pub mod console;
pub mod dma;
pub mod fabric;
pub mod heap;
mod hooks;
mod host_link;
mod instance;
pub mod memory;
pub mod orders;
mod panic;
mod shared_link;
pub mod siblings;
pub mod virtio;

pub use hooks::{End, Hooks, end, hooks, install};
pub use host_link::{ByteStream, HostLink, LinkError, Unconnected};
pub use instance::{Machine, flush, give_up, run_instance};
pub use panic::{KernelFault, fault};
