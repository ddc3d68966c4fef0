//! Starts the machines of a fabric and connects a program to the terminal.
//!
//! [`run::run`] is the whole of it: it builds the kernels and the RAM disk, starts one QEMU process
//! for each machine and carries bytes until the program ends. The command line (`maize run`), the
//! tests and the benchmarks are callers of it.

pub mod bench;
pub mod checks;
mod command;
pub mod compiler;
pub mod console;
pub mod cpio;
pub mod doctor;
pub mod fabric_window;
pub mod gdb;
pub mod image;
pub mod input;
pub mod ivshmem;
pub mod link;
pub mod live;
pub mod machine;
pub mod memory_size;
pub mod placement;
mod plugin;
pub mod process;
pub mod profile;
pub mod ramdisk;
pub mod root;
pub mod run;
pub mod session;
pub mod signals;
pub mod sink;
pub mod starter;
pub mod stats_report;
pub mod stops;
pub mod symbols;
pub mod terminal;
pub mod test_programs;
pub mod topology;
pub mod tour;
pub mod tree;
pub mod workspace;
