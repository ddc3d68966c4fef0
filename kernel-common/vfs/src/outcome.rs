//! How an operation ends that cannot give its result.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::signal::Signal;
use maize_hal::Nanos;
use maize_mm::NeedPage;

use crate::id::{CounterId, FileId, InodeId, InterestId, PipeId, SocketId, TerminalId, WatchSetId};

/// Something whose change a caller can wait for.
///
/// A wake says only that it is worth trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitKey {
    /// The pipe has bytes, or no writer is left.
    PipeReadable(PipeId),
    /// The pipe has room, or no reader is left.
    PipeWritable(PipeId),
    /// A reader or writer has opened the pipe.
    PipeOpened(PipeId),
    /// The terminal has input.
    TerminalReadable(TerminalId),
    /// The terminal has room for output, or all its output has been taken.
    TerminalWritable(TerminalId),
    /// The pseudo-terminal has output, or nobody has it open any more.
    MasterReadable(TerminalId),
    /// The pseudo-terminal takes input.
    MasterWritable(TerminalId),
    /// Standard input has bytes or has ended.
    InputReadable,
    /// Standard output has room.
    OutputWritable,
    /// Standard error has room.
    ErrorWritable,
    /// The counter is above zero.
    CounterReadable(CounterId),
    /// The counter can be added to.
    CounterWritable(CounterId),
    /// A file of the set may have become ready.
    InterestReady(InterestId),
    /// The socket has something to receive or to accept, or will not have any more.
    SocketReadable(SocketId),
    /// Something that the socket had under way was received, or its connection has changed.
    SocketWritable(SocketId),
    /// The socket takes another message or connection, or is gone.
    SocketRoom(SocketId),
    /// Something that is watched has happened.
    WatchReadable(WatchSetId),
    /// A signal that the file asks for was sent to somebody.
    SignalSent(FileId),
    /// The process that the file stands for has ended.
    ProcessEnded(FileId),
    /// A lock on the inode was given back.
    Unlocked(InodeId),
}

/// Why an operation gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It failed. Nothing was changed.
    Error(Errno),
    /// Nothing can be done now and nothing was changed: try again when `key` is woken.
    Wait {
        /// What to wait for.
        key: WaitKey,
        /// If the wait lasts longer than this, try again with [`Patience::Exhausted`].
        at_most: Nanos,
    },
    /// Another instance has a page of the file, and nothing was changed: try again when it is here.
    Page(NeedPage),
    /// Nobody can ever read this: SIGPIPE for the caller and `EPIPE`.
    BrokenPipe,
    /// The caller is not in the terminal's foreground: this signal for its process group, and
    /// the call is to be restarted.
    Background(Signal),
}

/// Whether a caller has already waited as long as it was told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The first try, or the wait was ended by its key.
    Left,
    /// [`Stop::Wait`]'s `at_most` has passed.
    Exhausted,
}

/// The result of an operation that may have to wait.
pub type Io<T> = Result<T, Stop>;

impl Stop {
    /// Waits for `key`, but no longer than `at_most`, if the call may wait: else there is nothing now.
    pub(crate) const fn wait_if(may_wait: bool, key: WaitKey, at_most: Nanos) -> Stop {
        if may_wait { Stop::Wait { key, at_most } } else { Stop::Error(Errno::EAGAIN) }
    }

    /// Waits for `key`, however long.
    #[must_use]
    pub const fn wait(key: WaitKey) -> Stop {
        Stop::Wait { key, at_most: Nanos::NEVER }
    }
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Error(errno)
    }
}

/// Keys that were woken and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Wakes(BTreeSet<WaitKey>);

impl Wakes {
    pub(crate) fn wake(&mut self, key: WaitKey) {
        self.0.insert(key);
    }

    pub(crate) fn take(&mut self) -> Vec<WaitKey> {
        core::mem::take(&mut self.0).into_iter().collect()
    }
}
