//! Memory: frames, page tables, memory objects, address spaces.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod object_id;
mod page_store;

pub use object_id::ObjectId;
pub use page_store::{PageStore, StoreError};
