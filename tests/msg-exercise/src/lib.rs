//! What instances do with their links when there is no program.
//!
//! A boot record may carry an [`Exercise`]; a kernel that is built for it does what it says and
//! tells the launcher an [`Outcome`]. [`Exchange`] lets all pairs exchange numbered messages and
//! checks every byte; [`bench`] measures a pair beside a bare ping-pong in the same memory.
//!
//! Both are written against [`Traffic`] and [`Station`], so that the same code runs on the kernels'
//! links (the feature `kernel`), on threads of the host, and on the simulated network.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bench;
pub mod content;
mod exchange;
mod floor;
#[cfg(feature = "kernel")]
pub mod kernel;
mod outcome;
mod station;

pub use exchange::{Exchange, Next};
pub use outcome::{
    BenchOutcome, BenchRequest, ExchangeRequest, Exercise, Fault, Outcome, PairOutcome, Rate,
    Spread,
};
pub use station::{Station, Traffic};
