//! Threads away from home: where they are to run, and how user mode moves there and back.

mod ahead;
mod balance;
mod between;
mod futex;
mod guest;
mod luggage;
mod packed;
mod place;
mod run;
mod travel;

pub(crate) use balance::Balance;
pub(crate) use between::MovePage;
pub(crate) use packed::Packed;
pub use place::Placement;
pub(crate) use place::{core_bit, is_nth, next_core};
pub(crate) use travel::{Departure, Stay, UserMode, rseq_area, rseq_record};
