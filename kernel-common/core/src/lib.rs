//! The kernel core: threads, processes, system calls, signals.
//!
//! [`Kernel`] is a value. It is generic over [`maize_hal::Arch`] and holds everything an instance
//! knows; the same code runs on a machine, in a simulation of many instances in one test, and on
//! the host.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod boot;
mod capabilities;
mod console;
mod credentials;
mod executor;
mod fabric;
mod files;
mod futex;
mod group;
mod handle;
mod homes;
mod ids;
mod kernel;
mod lifecycle;
pub mod loader;
mod message_queues;
mod migrate;
mod process;
mod process_timer;
mod recent;
mod report;
mod robust;
mod rseq;
mod sched;
mod segments;
mod semaphores;
mod signal;
mod state;
mod stats;
mod syscall;
mod system_v;
mod tasks_report;
mod thread;
mod timer;
mod trap;
mod user_memory;
mod wait;

pub use fabric::{
    Arrival, Coherence, FabricSettings, LinkTransport, PageWords, Refused, Transport, WindowFrames,
};
pub use files::RootError;
pub use ids::{Pid, Tid};
pub use kernel::{Census, Config, Kernel, Step};
pub use lifecycle::{ProgramSpec, SpawnError};
pub use migrate::Placement;
pub use sched::{RUNS_AT_ONCE, TIME_SLICE};
