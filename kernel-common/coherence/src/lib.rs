//! Page coherency as pure state machines.
//!
//! An [`Agent`] speaks for one *node* (a memory domain) about the pages of memory objects. It takes
//! an [`Event`] (a local fault, a message of a peer, a peer's death, …) with the current time and
//! appends [`Action`]s to a [`Sink`] of the caller's. It has no clock, no I/O, no lock and no
//! randomness, so the machines that ship are the ones that `tests/coherence-model` checks
//! exhaustively and `tests/coherence-sim` runs with a thousand instances.
//!
//! | policy | between | module |
//! |---|---|---|
//! | `voting` | nodes that do not share memory; the published Popcorn protocol | [`voting`] |
//! | `directory` | nodes that do not share memory; one ordering point per page | [`directory`] |
//! | `shared` | the instances of a node, over either of them | [`shared`] |
//!
//! `SPEC.md` beside this crate holds the state tables, the message bounds and the deviations from
//! the paper.
//!
//! # Order of actions
//!
//! Actions are carried out in the order in which they were pushed. A `Send` whose message carries a
//! page takes the content of the page's frame at that moment; an `Unmap` or a downgrade before it
//! has completed, TLB shoot-down included, by then. `Install` takes the payload of the message that
//! is being handled.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod adaptive;
mod agent;
pub mod directory;
mod event;
mod local;
#[cfg(feature = "model")]
pub mod model;
mod mutation;
mod node;
mod page;
pub mod shared;
mod table;
pub mod voting;

pub use agent::{Agent, Machine, Policy};
pub use event::{Action, Event, Failure, Sink, WireSize};
pub use local::{Addressee, Config, Cx, Deaths, Local};
pub use mutation::Mutation;
pub use node::{NodeId, Nodes, Sibling};
pub use page::{Access, Home, ObjectId, PageKey, Time};

/// Bytes of a page: every node uses a 4 KiB granule.
pub const PAGE_SIZE: usize = 4096;
