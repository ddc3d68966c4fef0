//! Memory: frames, page tables, memory objects, address spaces.
//!
//! [`Memory`] is all memory of one instance as a value. It holds no machine: each operation is
//! handed one (`PhysMemory + Tlb`), and the format of page-table entries is data, so the same code
//! runs in a kernel and, with both formats, in tests on the host.
//!
//! What is mapped and kept coherent is a page of an object; see [`ObjectId`]. Long operations are
//! cut into steps; see [`Memory::advance`] and [`Memory::run_background`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod advise;
mod area;
mod area_usage;
mod budget;
mod change;
mod error;
mod fault;
mod frames;
mod image;
mod kernel_heap;
mod luggage;
mod map;
mod memory;
mod object;
mod page_store;
mod page_table;
mod replica;
mod space;
mod steps;
mod store;

pub use advise::Advice;
pub use area::{Area, AreaFlags, Label, Sharing};
pub use area_usage::AreaUsage;
pub use budget::{Budget, Progress};
pub use change::{OldRange, Relocation};
pub use error::{FaultError, FaultOutcome, MapError, NeedPage, OutOfMemory};
pub use fault::Resolved;
pub use frames::Frames;
pub use image::ImageSource;
pub use luggage::Origin;
pub use map::{Backing, MapRequest, Placement};
pub use memory::{Memory, MemoryUsage};
pub use object::ObjectId;
pub use page_store::{PageStore, StoreError};
pub use space::{Layout, Limits, SpaceId, SpaceUsage};
pub use store::Store;
