//! Exhaustive checks of the page coherency machines that ship.
//!
//! A [`World`] is a whole fabric: the agents, the frames and mappings that their actions made, the
//! links, and a thread per node that reads and writes. [`Fabric`] is the [`stateright::Model`] of
//! it: every order of deliveries between links (first in, first out within one), every choice of
//! accesses, every reading of unsynchronised clocks, and a crash at any point. [`progress`] walks
//! the same states and proves that every access that began ends.

mod compiled;
mod fabric;
mod profile;
mod progress;
mod setup;
mod subject;
mod table;
mod world;

pub use compiled::{DIRECTORY, Machine, SHARED, VOTING};
pub use fabric::{Fabric, Forbidden, Outcome, check, check_symmetric};
pub use profile::Profile;
pub use progress::{Progress, progress};
pub use setup::{Op, Program, Setup};
pub use subject::Subject;
pub use table::{Table, markdown, transitions};
pub use world::{Packet, Step, Thread, World};
