//! Transformation metadata, and the state of a thread that belongs to no instruction set.
//!
//! `maize-cc` writes a [`Program`] into the section [`SECTION`] of each ELF that it links; the
//! kernels, the program's runtime and `migrate-xisa` read it. A [`ThreadState`] is a thread between
//! two instruction sets. Both are sealed the same way ([`container`]): versioned, checksummed, and
//! checked as a whole before anybody sees a field ([`Program::read`], [`ThreadState::read`]).
//!
//! The crate asks for no instruction set of its own: source and target are values ([`Isa`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod address;
pub mod container;
pub mod fpu;
mod isa;
mod program;
pub mod record;
pub mod role;
mod state;
mod value;

pub use container::ContainerError;
pub use isa::Isa;
pub use program::{
    BuildId, Callee, Function, Location, MAX_RECORD_BYTES, MAX_SITES, MetadataError, Polls,
    Program, SECTION, Site, ThreadLocals,
};
pub use state::{MAX_STATE_FRAMES, Signals, StateError, ThreadState};
pub use value::{LiveValue, ValueType};
