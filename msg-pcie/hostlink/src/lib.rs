//! The contract between a kernel and the launcher.
//!
//! A machine has one *host link*: a reliable, ordered byte stream in each direction (a virtio
//! serial port whose other end the launcher holds). It carries [frames](frame): the standard streams of
//! the program, byte for byte, and [control messages](control). Before that, the launcher hands the
//! kernel a [boot record](boot) as the last member of the initial RAM disk, [`boot::BOOT_RECORD_PATH`].
//!
//! Order on the link is order of events: what a program wrote comes before its
//! [`KernelMessage::Exited`]. The life of a link, seen from the kernel:
//!
//! 1. [`KernelMessage::Hello`] is the first frame; the launcher checks [`VERSION`].
//! 2. [`KernelMessage::StdinCredit`] as often as there is room for input; without credit nothing comes
//!    on [`Channel::Stdin`] (its end needs none: an empty stdin frame).
//! 3. [`KernelMessage::Ready`] just before the first user instruction.
//! 4. Output frames, reports, statistics.
//! 5. [`KernelMessage::Exited`] last; the machine then ends itself, or is ended by the launcher.
//!
//! A machine with several instances has one link, its first instance's. What the others send comes
//! over it unchanged, each frame with the number of its sender; what is for them is addressed to them.
//! In a fabric of several instances each says [`KernelMessage::Up`] once it is in, tells of its peers
//! with [`KernelMessage::PeerUp`] and [`KernelMessage::PeerDown`], and is told with
//! [`LauncherMessage::PeerStopped`] when a silent peer can write nothing any more.
//!
//! Nothing received is trusted: whatever the bytes, the decoders give a frame, a message or a named
//! error, never panic, and hold at most [`frame::MAX_PAYLOAD`] bytes plus a header.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod boot;
pub mod control;
pub mod frame;

pub use boot::{BootRecord, BootRecordError};
pub use control::{ControlError, KernelMessage, LauncherMessage};
pub use frame::{Channel, Decoder, Frame, FrameError};

/// The version of frames, control messages and boot record together. Kernel and launcher are built
/// from one tree, so there is no negotiation: another version is an error.
pub const VERSION: u32 = 6;
