//! Who asks, and what the file system asks of the rest of the kernel.

use maize_abi::Errno;
use maize_abi::capability::{Capability, CapabilitySet};
use maize_hal::Nanos;
use maize_mm::{PageStore, StoreError};

use crate::id::FileId;
use crate::node::Node;
use crate::outcome::Stop;
use crate::proc::ProcSource;

/// What the file system needs around it. Nothing here waits.
pub trait Surroundings {
    /// The memory objects that hold files' bytes.
    fn store(&mut self) -> &mut dyn PageStore;

    /// What `/proc` shows.
    fn proc(&self) -> &dyn ProcSource;

    /// Time since the epoch.
    fn wall_clock(&self) -> Nanos;

    /// Called between steps of long work that each allocate a little.
    fn make_room(&mut self) {}

    /// Fills `out` with random bytes fit for keys.
    fn random(&mut self, out: &mut [u8]);
}

/// Where a process stands in the tree: its directories (each counted as a use of its inode) and
/// its file mode mask.
///
/// Made by [`crate::Vfs::initial_view`]; a copy for another process by [`crate::Vfs::share_view`],
/// given back by [`crate::Vfs::release_view`].
#[derive(Debug, PartialEq, Eq)]
pub struct View {
    pub(crate) cwd: Node,
    pub(crate) root: Node,
    /// Permission bits that files made by this process do not get.
    pub umask: u32,
}

/// Who asks for an operation.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// File-system user id.
    pub uid: u32,
    /// File-system group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: &'a [u32],
    /// The capabilities that it has now.
    pub capabilities: CapabilitySet,
    /// Where it stands.
    pub view: &'a View,
    /// Its place in job control.
    pub job: Job,
}

/// A process's place in job control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Job {
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// Whether nobody could continue the group if it stopped: no member has a parent in another
    /// group of the session.
    pub orphaned: bool,
    /// Whether SIGTTIN is blocked or ignored.
    pub ignores_ttin: bool,
    /// Whether SIGTTOU is blocked or ignored.
    pub ignores_ttou: bool,
}

/// Where a relative path starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The working directory (`AT_FDCWD`).
    Cwd,
    /// An open directory; with an empty path where that is allowed, any open file.
    File(FileId),
}

impl Caller<'_> {
    /// Whether it has a capability.
    #[must_use]
    pub const fn may(&self, capability: Capability) -> bool {
        self.capabilities.has(capability)
    }

    pub(crate) fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

/// The error number of a store's error, when bytes were to be written or read.
pub(crate) const fn store_errno(error: StoreError) -> Errno {
    match error {
        // Who can wait for a page does: see `store_stop`.
        StoreError::NoObject | StoreError::Elsewhere(_) => Errno::EIO,
        StoreError::OutOfMemory => Errno::ENOSPC,
        StoreError::TooLarge => Errno::EFBIG,
    }
}

/// As [`store_errno`], for operations that can be tried again.
pub(crate) const fn store_stop(error: StoreError) -> Stop {
    match error {
        StoreError::Elsewhere(page) => Stop::Page(page),
        error => Stop::Error(store_errno(error)),
    }
}
