//! What an instance leaves behind for whoever wants to know what it did: a ring of fixed-size
//! binary events and an array of counters, both in its section of the window.
//!
//! Writing an event is five stores and a fence; it is compiled in always and switched on at run
//! time by whoever reads. Nobody waits for anybody: the ring keeps the latest events, and a
//! [`Reader`] on the other side tells how many it has missed. With the feature `host`, [`chrome`]
//! turns the events of all instances into one timeline.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "host")]
pub mod chrome;
mod counters;
mod event;
mod ring;

pub use counters::{
    Counter, CounterError, Counters, Histogram, KINDS, KindCounts, LATENCIES, Latency,
};
pub use event::{Event, EventKind, flow};
pub use ring::{Lost, Reader, Tracer};
