//! Whole kernels on emulated machines, in virtual time.
//!
//! One program: each of several would be linked with all kernels once more.

mod fabric_allocators;
mod fabric_balance;
mod fabric_between;
mod fabric_calls;
mod fabric_changes;
mod fabric_costs;
mod fabric_death;
mod fabric_files;
mod fabric_futex;
mod fabric_futex_peer;
mod fabric_homes;
mod fabric_hostile;
mod fabric_memory;
mod fabric_moves;
mod fabric_stress;
mod files;
mod hostile;
mod kernel_heap;
mod processes;
mod signals;
mod timers;
