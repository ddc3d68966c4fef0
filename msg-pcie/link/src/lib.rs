//! Links: ordered message channels between instances, as state machines.
//!
//! A [`Link`] is one end of a channel to one peer; a [`Fabric`] holds an instance's links to all
//! its peers. Neither has a clock, a lock or a device: time comes in as `now`, memory is behind a
//! [`Port`], and doorbells are answers to a question. The same code runs over windows
//! ([`WindowPort`]) and over the simulated network.
//!
//! What a link promises, within a session (a pair of epochs):
//! - Messages of a class arrive once, in order, unchanged, or the session ends. Between classes
//!   there is no order.
//! - Nothing is dropped for want of room: a message is refused ([`SendError::Full`]), and there is
//!   an [`Event::Room`] when it is worth trying again. Queues, frames in flight and reassembly are
//!   bounded: one partial message of at most 256 KiB a class and peer.
//! - An urgent message waits behind no more than what the lower classes may have in the ring, and
//!   no class waits for ever.
//! - A session ends for both sides, with a reason. A peer that is silent is declared dead after a
//!   bounded time; a peer that is given up learns it before it can join again, under a new epoch.
//!
//! A receiver must never need to send in order to receive: two instances that both stop taking
//! messages until they can send would wait for each other.
//!
//! `SPEC.md` has the state table of a peer's life.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod enter;
mod fabric;
mod inbox;
mod life;
mod link;
mod outbox;
mod patience;
mod port;
mod stats;
mod window_port;

pub use enter::{EnterError, Entrance, WindowFabric, enter, enter_windows};
pub use fabric::{Announce, Fabric, FabricConfig, Glance, Idle, Seen};
pub use inbox::Message;
pub use life::{Act, Cause, Corruption, Input, Life, LifeConfig, Lifeline, News, Outcome};
pub use link::{Event, Gate, Link, LinkConfig, Outgoing, SendError};
pub use outbox::OutboxConfig;
pub use port::{Leave, PeerView, Port};
pub use stats::LinkStats;
pub use window_port::WindowPort;
