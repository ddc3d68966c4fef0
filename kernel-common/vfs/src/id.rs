//! Names of what the file system holds. None is ever used again, so a name held too long finds
//! nothing rather than something else.

/// An inode; its number is what `st_ino` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub(crate) u64);

/// An open file description: what `open` makes and `dup` and `fork` share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub(crate) u64);

/// A pipe, with or without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipeId(pub(crate) u64);

/// An event counter (`eventfd`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterId(pub(crate) u64);

/// A set of files to be told about (`epoll`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterestId(pub(crate) u64);

/// A terminal: the console or a pseudo-terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TerminalId(pub(crate) u64);

impl TerminalId {
    /// The one whose keyboard and screen the host has.
    pub const CONSOLE: TerminalId = TerminalId(0);
}

/// A set of watches (`inotify`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchSetId(pub(crate) u64);

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub(crate) u64);

impl InodeId {
    /// The number that `st_ino` shows.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}
