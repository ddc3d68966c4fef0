//! Files: the tree, tmpfs over a read-only image, pipes, terminals, proc.
//!
//! A [`Vfs`] is a value without a clock, devices or waiting. Every operation is one step: it
//! succeeds, fails with nothing changed, or says what it would have to wait for ([`Stop::Wait`]).
//! What a step made possible for others collects and is fetched with [`Vfs::take_wakes`]
//! and [`Vfs::take_signals`] after it.
//!
//! Whoever opens a file is its first holder; see [`Vfs::hold`] and [`Vfs::release`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(test)]
extern crate std;

mod anonymous;
mod attributes;
mod caller;
mod console;
mod counter;
pub mod cpio;
mod descriptor;
mod device;
mod directory;
mod file;
mod id;
mod inode;
mod interest;
mod io;
pub mod ioctl;
mod lock;
mod mount;
mod names;
mod node;
mod open;
#[cfg(test)]
mod oracle;
mod outcome;
mod path;
mod pipe;
mod place;
mod proc;
mod process;
mod pseudo;
#[cfg(test)]
mod pseudo_tests;
mod queue;
mod read_dir;
mod readiness;
mod root;
#[cfg(test)]
mod root_tests;
mod signals;
mod socket;
mod splice;
mod stream;
mod terminal;
#[cfg(test)]
mod testing;
mod tree;
mod watch;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

pub use attributes::{SetTime, Target};
pub use caller::{At, Caller, Job, Surroundings, View};
pub use console::Console;
pub use descriptor::{Descriptor, FdTable, NR_OPEN};
pub use id::{CounterId, FileId, InodeId, InterestId, PipeId, SocketId, TerminalId, WatchSetId};
pub use interest::{Change, Interest, Told};
pub use io::{Flow, Place};
pub use lock::{LockKind, LockOwner, Record};
pub use names::MakeNode;
pub use node::Node;
pub use open::OpenHow;
pub use outcome::{Io, Patience, Stop, WaitKey};
pub use path::Follow;
pub use pipe::{PIPE_CAPACITY, PIPE_CAPACITY_MAX};
pub use proc::{Area, Memory, ProcNode, ProcSource, System, SystemMemory, Task};
pub use process::Fate;
pub use read_dir::DirEntry;
pub use root::Loaded;
pub use socket::{
    Address, Credentials, Family, Received, Sent, SocketKind, SocketOption, SocketValue,
    socket_timeout,
};
pub use stream::HostStream;
pub use terminal::{Recipient, TerminalSignal};
pub use tree::Limits;

use counter::Counter;
use file::File;
use interest::InterestSet;
use lock::LockTable;
use mount::Mount;
use outcome::Wakes;
use pipe::Pipe;
use pseudo::Terminals;
use socket::{Bound, Socket};
use stream::{Input, Output};
use tree::Tree;

/// All files of one kernel.
#[derive(Debug)]
pub struct Vfs {
    tree: Tree,
    mounts: Vec<Mount>,
    root: Node,
    files: BTreeMap<FileId, File>,
    next_file: u64,
    pipes: BTreeMap<PipeId, Pipe>,
    next_pipe: u64,
    /// Bytes that all pipes can hold.
    pipe_bytes: usize,
    counters: BTreeMap<CounterId, Counter>,
    next_counter: u64,
    interests: BTreeMap<InterestId, InterestSet>,
    next_interest: u64,
    sockets: BTreeMap<SocketId, Socket>,
    next_socket: u64,
    /// The sockets that have a name.
    bound: BTreeMap<Bound, SocketId>,
    /// The sockets of the Internet's families that have a port.
    ports: BTreeMap<(SocketKind, u16), Vec<SocketId>>,
    /// The last port that the system gave a socket.
    last_port: u16,
    /// The last name that the system gave a socket.
    next_name: u32,
    /// How often sockets are among the files that go along with messages.
    sockets_under_way: usize,
    /// Open files that are [`file::Handle::Signals`].
    signal_files: usize,
    /// Open files that are [`file::Handle::Process`].
    process_files: usize,
    locks: LockTable,
    console: Console,
    terminals: Terminals,
    /// Input that the console could not take yet.
    held: VecDeque<u8>,
    input: Input,
    output: Output,
    error: Output,
    /// Bytes of the host's input that were used up since it was last told.
    consumed: usize,
    wakes: Wakes,
}

impl Vfs {
    /// The keys that were woken since the last call.
    #[must_use]
    pub fn take_wakes(&mut self) -> Vec<WaitKey> {
        for set in self.tree.watches.take_woken() {
            self.wakes.wake(WaitKey::WatchReadable(set));
        }
        let mut woken = self.wakes.take();
        if woken.is_empty() {
            return woken;
        }
        let sets = self.wake_interests(&woken);
        woken.extend(sets);
        woken
    }

    /// The signals that terminals sent since the last call, those of each in order.
    #[must_use]
    pub fn take_signals(&mut self) -> Vec<TerminalSignal> {
        self.terminals.take_signals()
    }
}
