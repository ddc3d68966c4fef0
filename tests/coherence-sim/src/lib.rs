//! The page coherency machines that ship, on a simulated network in virtual time.
//!
//! A [`Sim`] has a machine per node, a thread or more on each, links that are first in, first out
//! and take a random time, and an oracle: every load is compared with the last store to its page.
//! One seed determines a run entirely. [`bench::run`] is the benchmark behind
//! `./maize bench coherence`.

pub mod adaptive;
pub mod bench;
pub mod figure7;
pub mod patterns;
pub mod report;
mod sim;
mod tally;

pub use sim::{Op, Settings, Sim};
pub use tally::Tally;
