//! The boot record: what the launcher asks of a kernel.
//!
//! The initial RAM disk is a concatenation of newc cpio archives: the root file system, an overlay
//! with the files of this run, and last an archive with one member, [`BOOT_RECORD_PATH`], that holds
//! an encoded [`BootRecord`]: [`MAGIC`], [`crate::VERSION`] as little-endian `u32`, then postcard.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// Path of the record inside the initial RAM disk. It is no file of the root.
pub const BOOT_RECORD_PATH: &str = "maize/boot";

/// First bytes of an encoded record.
pub const MAGIC: [u8; 8] = *b"MAIZEBR\0";

/// Largest encoded record, in bytes: arguments and environment have Linux's order of size.
pub const MAX_LEN: usize = 1024 * 1024;

/// What the launcher asks of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    /// What is to happen.
    pub action: Action,
    /// What the three standard streams are.
    pub console: Console,
    /// The instance that reads this record: the first of its machine. The machine's others are those
    /// of `instances` with the same `machine`; the first gives each a copy with its own number.
    pub instance: u16,
    /// Every instance of the fabric, this one too, ordered by number.
    pub instances: Vec<Instance>,
    /// Wall clock when the launcher wrote the record, nanoseconds since 1970 (UTC).
    pub wall_clock_ns: u64,
    /// Seed of the kernel's random numbers, from the host's.
    pub entropy: [u8; 32],
    /// Whether [`KernelMessage::Stats`](crate::KernelMessage::Stats) are sent before `Exited`.
    pub stats: bool,
    /// The number in the header of the window between machines, by which an instance knows that
    /// window for its fabric's. 0: there is no such window.
    pub fabric: u64,
    /// For how long an instance polls after the last activity on its links before it sleeps, in
    /// nanoseconds. 0 where there are more virtual cores than host cores.
    pub poll_ns: u64,
    /// Silence after which an instance gives a peer up, in milliseconds: more where instances wait
    /// long for their turn.
    pub dead_after_ms: u32,
    /// Whether events are to be traced into the window.
    pub trace: bool,
    /// Whether a debugger may stop machines: then nobody's silence is counted.
    pub debugged: bool,
    /// How instances share a program's threads.
    pub sharing: Sharing,
    /// What a kernel that only exercises the fabric is asked to do, in its own encoding. Empty for
    /// every other kernel.
    pub exercise: Vec<u8>,
}

/// What an instance does once it is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Run this as the first process; its end is the end of the fabric.
    Run(Program),
    /// Wait for work from other instances.
    Serve,
}

/// The first process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Absolute path of the file to execute, in the root.
    pub path: Vec<u8>,
    /// Arguments; the first is the name of the program.
    pub argv: Vec<Vec<u8>>,
    /// Environment, `NAME=value` each.
    pub env: Vec<Vec<u8>>,
    /// Absolute path of the working directory.
    pub cwd: Vec<u8>,
}

/// What the three standard streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Console {
    /// Three byte streams; none is a terminal.
    Streams,
    /// All three are one terminal of this size, whose line discipline is the kernel's. Its output
    /// goes to [`Channel::Stdout`](crate::Channel::Stdout).
    Terminal(WindowSize),
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// How instances share a program's threads: the same for all instances of a fabric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharing {
    /// Where new threads go.
    pub placement: Placement,
    /// How pages are kept coherent.
    pub coherence: Coherence,
    /// If not 0: a thread is moved to a random other CPU of its mask at every n-th trap that reaches
    /// its home. It is for tests.
    pub migrate_every: u32,
    /// Where processes go when they load a program.
    pub homes: Placement,
    /// If not 0: at every n-th trap that reaches its home, a process is moved to a random other one.
    /// It is for tests.
    pub move_processes_every: u32,
    /// Whether threads are moved from crowded CPUs to idle ones.
    pub balance: bool,
    /// Pages that are fetched ahead at the most: 0 to 8.
    pub prefetch: u8,
    /// Whether pages that ping-pong between machines move into the window that both see.
    pub promote: bool,
}

impl Default for Sharing {
    fn default() -> Self {
        Self {
            placement: Placement::Local,
            coherence: Coherence::Directory,
            migrate_every: 0,
            homes: Placement::Local,
            move_processes_every: 0,
            balance: false,
            prefetch: 0,
            promote: true,
        }
    }
}

/// Where new threads go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Placement {
    /// Where their creators are.
    #[default]
    Local,
    /// To one CPU of the fabric after the other.
    Spread,
    /// To one CPU of this list after the other. A CPU has its instance's number.
    List(Vec<u16>),
}

/// How pages are kept coherent between instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coherence {
    /// Each page is ordered by its object's home.
    #[default]
    Directory,
    /// The published Popcorn protocol.
    Voting,
}

/// One instance of the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Machine that hosts it.
    pub machine: u16,
    /// Instruction set.
    pub isa: Isa,
}

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Isa {
    /// AMD64.
    X86_64,
    /// ARMv8-A, 64-bit.
    Aarch64,
}

impl Isa {
    /// Every instruction set.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The name that topologies and `uname -m` use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes are not a boot record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootRecordError {
    /// Shorter than magic and version.
    Short,
    /// Longer than [`MAX_LEN`].
    TooLong(usize),
    /// Does not begin with [`MAGIC`].
    BadMagic,
    /// Written by a launcher of this version.
    Version(u32),
    /// What follows the version is not a record.
    Malformed,
    /// `instance` is not in `instances`.
    NoSuchInstance(u16),
    /// Threads are to be placed on this CPU, which is none of `instances`.
    NoSuchCpu(u16),
}

impl fmt::Display for BootRecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(f, "boot record is cut"),
            Self::TooLong(len) => write!(f, "boot record of {len} bytes, limit is {MAX_LEN}"),
            Self::BadMagic => write!(f, "not a boot record"),
            Self::Version(version) => {
                write!(f, "boot record of version {version}, kernel has {}", crate::VERSION)
            }
            Self::Malformed => write!(f, "malformed boot record"),
            Self::NoSuchInstance(instance) => {
                write!(f, "boot record is for instance {instance}, which it does not list")
            }
            Self::NoSuchCpu(cpu) => {
                write!(f, "boot record places threads on CPU {cpu}, which it does not list")
            }
        }
    }
}

impl core::error::Error for BootRecordError {}

impl BootRecord {
    /// The record as it lies in the RAM disk.
    pub fn encode(&self) -> Result<Vec<u8>, BootRecordError> {
        let mut out = Vec::from(MAGIC);
        out.extend_from_slice(&crate::VERSION.to_le_bytes());
        let out = postcard::to_extend(self, out).map_err(|_| BootRecordError::Malformed)?;
        if out.len() > MAX_LEN { Err(BootRecordError::TooLong(out.len())) } else { Ok(out) }
    }

    /// Reads a record; bytes after it (padding of the archive) are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, BootRecordError> {
        if bytes.len() > MAX_LEN {
            return Err(BootRecordError::TooLong(bytes.len()));
        }
        let (magic, rest) = bytes.split_first_chunk().ok_or(BootRecordError::Short)?;
        if *magic != MAGIC {
            return Err(BootRecordError::BadMagic);
        }
        let (version, rest) = rest.split_first_chunk().ok_or(BootRecordError::Short)?;
        let version = u32::from_le_bytes(*version);
        if version != crate::VERSION {
            return Err(BootRecordError::Version(version));
        }
        let (record, _) =
            postcard::take_from_bytes::<Self>(rest).map_err(|_| BootRecordError::Malformed)?;
        if usize::from(record.instance) >= record.instances.len() {
            return Err(BootRecordError::NoSuchInstance(record.instance));
        }
        if let Placement::List(cpus) = &record.sharing.placement
            && let Some(cpu) = cpus.iter().find(|cpu| usize::from(**cpu) >= record.instances.len())
        {
            return Err(BootRecordError::NoSuchCpu(*cpu));
        }
        Ok(record)
    }
}
