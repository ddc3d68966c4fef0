//! What `/proc` shows, as the rest of the kernel tells it.

use alloc::string::String;
use alloc::vec::Vec;

use maize_abi::capability::CapabilitySet;
use maize_abi::message_queue::MsqidDs;
use maize_abi::semaphore::SemidDs;
use maize_abi::shm::ShmidDs;
use maize_abi::signal::SignalSet;
use maize_hal::Nanos;

use crate::caller::View;
use maize_mm::AreaUsage;

use crate::descriptor::FdTable;
use crate::id::FileId;

/// Where the facts of `/proc` come from. Nothing is kept: each is asked for when it is shown.
pub trait ProcSource {
    /// Process ids in rising order.
    fn processes(&self) -> Vec<u32>;

    /// The ids of a process's threads in rising order; none if there is no such process.
    fn threads(&self, pid: u32) -> Vec<u32>;

    /// Facts of one thread; those of a process are its first thread's.
    fn task(&self, pid: u32, tid: u32) -> Option<Task>;

    /// A process's descriptors.
    fn descriptors(&self, pid: u32) -> Option<&FdTable>;

    /// Where a process stands in the tree.
    fn view(&self, pid: u32) -> Option<&View>;

    /// The file a process runs.
    fn executable(&self, pid: u32) -> Option<FileId>;

    /// Arguments, each ended by a zero byte.
    fn arguments(&self, pid: u32) -> Vec<u8>;

    /// Environment, each entry ended by a zero byte.
    fn environment(&self, pid: u32) -> Vec<u8>;

    /// The auxiliary vector as the program got it.
    fn auxiliary_vector(&self, pid: u32) -> Vec<u8>;

    /// The areas of a process's address space in order, `most` from the first that starts at or
    /// above the address `from`.
    fn areas(&self, pid: u32, from: u64, most: usize) -> Vec<Area>;

    /// As [`Self::areas`], each with what it takes.
    fn areas_in_use(&self, pid: u32, from: u64, most: usize) -> Vec<(Area, AreaUsage)>;

    /// Resource limits of a process by `RLIMIT_*` number: soft and hard.
    fn limits(&self, pid: u32) -> [(u64, u64); 16];

    /// The session of a process group, if there is such a group.
    fn session_of_group(&self, group: u32) -> Option<u32>;

    /// Facts of the whole system.
    fn system(&self) -> System;

    /// System V's segments of shared memory with their numbers, and the bytes of each that are in memory.
    fn segments(&self) -> Vec<(i32, ShmidDs, u64)>;

    /// System V's message queues with their numbers.
    fn message_queues(&self) -> Vec<(i32, MsqidDs)>;

    /// System V's sets of semaphores with their numbers.
    fn semaphores(&self) -> Vec<(i32, SemidDs)>;

    /// The lines that describe each core in `/proc/cpuinfo`, without the `processor` line.
    fn cpus(&self) -> Vec<Vec<(&'static str, String)>>;

    /// The files of `/proc/maize`, and the text of each: the kernel's own counters.
    fn counters(&self) -> Vec<(&'static str, String)>;
}

/// Facts of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Its name.
    pub name: Vec<u8>,
    /// As `ps` shows it: R, S, D, T, Z, X.
    pub state: char,
    /// Parent process.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// Real, effective, saved and file-system user ids.
    pub uids: [u32; 4],
    /// Capabilities: effective, permitted, inheritable, bounding, ambient.
    pub capabilities: [CapabilitySet; 5],
    /// Real, effective, saved and file-system group ids.
    pub gids: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Threads in its process.
    pub threads: usize,
    /// When it started, since boot.
    pub started: Nanos,
    /// Time in user mode and in the kernel.
    pub times: (Nanos, Nanos),
    /// The same of children that were waited for.
    pub child_times: (Nanos, Nanos),
    /// Page faults without and with input or output.
    pub faults: (u64, u64),
    /// Times it waited, and times it was preempted.
    pub switches: (u64, u64),
    /// The core it runs on, by global number.
    pub cpu: u32,
    /// The cores it may run on, as a list (`0-3`), and how many there are.
    pub affinity: (String, u32),
    /// `nice` value.
    pub nice: i32,
    /// Signals: pending for the thread, pending for the process, blocked, ignored, handled.
    pub signals: [SignalSet; 5],
    /// What the process's memory takes; zero of a process that has ended.
    pub memory: Memory,
    /// What it waits in, if it waits.
    pub waits_in: Option<&'static str>,
}

/// What a process's memory takes, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Of all areas.
    pub total: u64,
    /// The most that it ever was.
    pub peak: u64,
    /// In memory.
    pub resident: u64,
    /// Of these, from files and shared.
    pub shared: u64,
    /// Code.
    pub text: u64,
    /// Data and heap.
    pub data: u64,
    /// Stack.
    pub stack: u64,
    /// Address of the first byte of the stack that the program started with.
    pub stack_start: u64,
    /// Addresses of the code's first byte and the one behind its last.
    pub code: (u64, u64),
}

/// An area of an address space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// The first address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
    /// Readable, writable, executable.
    pub access: [bool; 3],
    /// Whether changes are seen by others.
    pub shared: bool,
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// Device number and inode number of the file.
    pub identity: (u64, u64),
    /// The file's path, or what else it is (`[heap]`); empty if nothing.
    pub name: Vec<u8>,
}

/// Facts of the whole system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Time since boot, and the sum of all cores' idle time.
    pub uptime: (Nanos, Nanos),
    /// When it booted, since the epoch.
    pub booted: Nanos,
    /// Load averages over 1, 5 and 15 minutes, in hundredths.
    pub load: [u64; 3],
    /// Threads that are ready, and all.
    pub threads: (usize, usize),
    /// The last process id given.
    pub last_pid: u32,
    /// Processes made since boot.
    pub forks: u64,
    /// Switches from one thread to another since boot.
    pub switches: u64,
    /// Interrupts since boot.
    pub interrupts: u64,
    /// For each core: time in user mode, in the kernel, idle.
    pub cpu_times: Vec<[Nanos; 3]>,
    /// Memory.
    pub memory: SystemMemory,
    /// The name that `uname` gives.
    pub host_name: String,
    /// The kernel's release, as `uname -r` gives it.
    pub release: String,
    /// The kernel's version, as `uname -v` gives it.
    pub version: String,
    /// The arguments that the kernel was started with.
    pub command_line: String,
    /// Random bytes that stay the same until the next boot.
    pub boot_id: [u8; 16],
}

/// The memory of the whole system, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemMemory {
    /// All.
    pub total_pages: u64,
    /// Free.
    pub free_pages: u64,
    /// With files' bytes.
    pub file_pages: u64,
    /// Anonymous.
    pub anonymous_pages: u64,
    /// Page tables.
    pub table_pages: u64,
    /// The kernel's heap.
    pub heap_pages: u64,
}
