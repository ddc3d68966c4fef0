//! A simulated network under the links: seeded, deterministic, in virtual time.
//!
//! [`Sim`] runs any number of instances, each a [`maize_link::Fabric`] over simulated [`Port`]s:
//! the link code is the one that ships. What an instance stores becomes visible to each peer after
//! a delay of its own, in order on each link and in any order between links; whole instances stop,
//! freeze, thaw, die and start again; doorbells travel too, and an instance that sleeps is woken
//! by nothing else. [`Network`] is the same without the loop, for whoever runs the instances. Two runs with the same seed and the same calls are the same.
//!
//! [`Port`]: maize_link::Port
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod net;
mod network;
mod pipe;
mod port;
mod sim;

pub use net::NetConfig;
pub use network::Network;
pub use port::{SimAnnounce, SimPort};
pub use sim::{Sim, SimFabric};
