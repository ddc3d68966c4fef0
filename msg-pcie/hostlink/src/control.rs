//! Control messages, postcard-encoded, one per frame on [`Channel::Control`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::boot::WindowSize;
use crate::frame::{self, Channel, FrameError};

/// What a kernel tells the launcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KernelMessage {
    /// The first frame of a link.
    Hello {
        /// [`crate::VERSION`] of the kernel.
        version: u32,
    },
    /// The launcher may send this many more bytes of standard input. Credits add up.
    StdinCredit {
        /// Bytes.
        bytes: u32,
    },
    /// The next thing this instance does is the first user instruction.
    Ready {
        /// Nanoseconds since the kernel's entry, by its own clock.
        since_entry_ns: u64,
        /// Steps of the boot in order: name, and nanoseconds since the kernel's entry at its end.
        phases: Vec<(String, u64)>,
    },
    /// The program (the first process) ended. Nothing follows it.
    Exited {
        /// Status as `wait4` gives it: `code << 8`, or the number of the signal that killed it.
        status: i32,
    },
    /// Counts since boot; may come in several messages, each name in one of them.
    Stats(Stats),
    /// Text for a person: why a program was killed, what is not supported.
    Report {
        /// How bad.
        level: Level,
        /// One or more lines, without the last newline.
        text: String,
    },
    /// An instance has entered the fabric: its windows are mapped and have passed their self-test.
    Up {
        /// Its number.
        instance: u16,
        /// Its incarnation.
        epoch: u32,
    },
    /// The sender's link to a peer is up.
    PeerUp {
        /// The peer's number.
        peer: u16,
        /// The peer's incarnation.
        epoch: u32,
    },
    /// The sender's link to a peer is down.
    PeerDown {
        /// The peer's number.
        peer: u16,
        /// The incarnation that is given up.
        epoch: u32,
        /// Why, for a person.
        cause: String,
        /// Whether the sender waits for [`LauncherMessage::PeerStopped`] before it reuses what that
        /// incarnation could write.
        awaits_stop: bool,
    },
    /// What an exercise kernel has measured, in its own encoding.
    Exercise {
        /// At most a frame's payload.
        bytes: Vec<u8>,
    },
}

/// What the launcher tells a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LauncherMessage {
    /// The terminal has another size: `SIGWINCH` to the foreground.
    WindowSize(WindowSize),
    /// Send this signal (Linux number) to the foreground process group.
    Signal(u8),
    /// Nobody reads this output any more: writing to it is `EPIPE`.
    OutputClosed(Output),
    /// Send [`KernelMessage::Stats`] now.
    StatsRequest,
    /// End the machine in an orderly way, whatever runs.
    Shutdown,
    /// This incarnation of a peer writes nothing any more: its machine is stopped until everybody
    /// who asked has been told, or has ended.
    PeerStopped {
        /// The peer's number.
        peer: u16,
        /// The incarnation that the answer is for.
        epoch: u32,
    },
    /// Stop a sibling. Only to the first instance of a machine.
    StopInstance {
        /// The sibling's number.
        instance: u16,
    },
    /// Start a sibling that was stopped or has ended. Only to the first instance of a machine.
    StartInstance {
        /// The sibling's number.
        instance: u16,
    },
    /// Say on the console what every thread does, and what is under way.
    TasksRequest,
}

/// One of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// [`Channel::Stdout`].
    Stdout,
    /// [`Channel::Stderr`].
    Stderr,
}

/// Severity of a [`KernelMessage::Report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// For whoever looks.
    Info,
    /// Something is missing or odd; the program goes on.
    Warning,
    /// A program or the instance ended because of it.
    Error,
}

/// Counters and latency histograms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Name and value. Names are dotted: `syscall.read`, `syscall.unknown.io_uring_setup`.
    pub counters: Vec<(String, u64)>,
    /// Distributions.
    pub histograms: Vec<Histogram>,
}

/// A distribution in powers of two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Dotted name, such as `fault.write.ns`.
    pub name: String,
    /// Unit of the values: `ns`, `bytes`, `messages`.
    pub unit: String,
    /// Number of values.
    pub count: u64,
    /// Sum of the values.
    pub sum: u64,
    /// Smallest value, 0 if none.
    pub min: u64,
    /// Largest value, 0 if none.
    pub max: u64,
    /// `(b, n)`: `n` values `v` with `2^b <= v < 2^(b+1)` (zero counts in `b = 0`); ascending.
    pub buckets: Vec<(u8, u64)>,
}

/// Why a control message could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The payload is not a message: cut, or an unknown kind, or a bad string.
    Malformed,
    /// The payload has this many bytes after the message.
    Trailing(usize),
    /// The message does not fit a frame.
    Frame(FrameError),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "malformed control message"),
            Self::Trailing(n) => write!(f, "{n} bytes after a control message"),
            Self::Frame(error) => write!(f, "control message: {error}"),
        }
    }
}

impl core::error::Error for ControlError {}

impl From<FrameError> for ControlError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, ControlError> {
    match postcard::take_from_bytes(payload) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(ControlError::Trailing(rest.len())),
        Err(_) => Err(ControlError::Malformed),
    }
}

fn encode<T: Serialize>(message: &T, instance: u16, out: &mut Vec<u8>) -> Result<(), ControlError> {
    let payload = postcard::to_allocvec(message).map_err(|_| ControlError::Malformed)?;
    Ok(frame::encode(Channel::Control, instance, &payload, out)?)
}

impl KernelMessage {
    /// Reads the payload of a control frame that came from a kernel.
    pub fn decode(payload: &[u8]) -> Result<Self, ControlError> {
        decode(payload)
    }

    /// Appends the message as one frame.
    pub fn encode(&self, instance: u16, out: &mut Vec<u8>) -> Result<(), ControlError> {
        encode(self, instance, out)
    }
}

impl LauncherMessage {
    /// Reads the payload of a control frame that came from the launcher.
    pub fn decode(payload: &[u8]) -> Result<Self, ControlError> {
        decode(payload)
    }

    /// Appends the message as one frame.
    pub fn encode(&self, instance: u16, out: &mut Vec<u8>) -> Result<(), ControlError> {
        encode(self, instance, out)
    }
}

/// What a shell would show of a `wait4` status: the exit code, or 128 + the signal.
#[must_use]
pub const fn shell_status(wait_status: i32) -> u8 {
    let signal = wait_status & 0x7f;
    let code = if signal == 0 { wait_status >> 8 } else { 128 + signal };
    (code & 0xff) as u8
}
