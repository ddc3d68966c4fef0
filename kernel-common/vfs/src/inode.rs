//! Inodes: files, directories and the rest, all kept in memory.

use alloc::boxed::Box;

use maize_abi::Errno;
use maize_abi::capability::Capability;
use maize_abi::file::{access, s};
use maize_hal::Nanos;
use maize_mm::{ObjectId, PageStore};

use crate::caller::{Caller, store_errno};
use crate::directory::Directory;
use crate::id::PipeId;
use crate::mount;
use crate::stream::HostStream;

/// A regular file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// As in the root image, and not looked at yet.
    Image { start: u64, len: u64 },
    /// In a memory object of which the inode holds one reference.
    Object(ObjectId),
}

/// What an inode is.
#[derive(Debug)]
pub(crate) enum Kind {
    Regular(Content),
    Directory(Directory),
    Symlink(Box<[u8]>),
    /// A pipe with a name, or one made by `pipe`. The pipe exists while it is open.
    Fifo(Option<PipeId>),
    /// A character or block device, by major and minor number.
    Device(u32, u32),
    Socket,
    /// One of the host's streams, which a program sees as a pipe.
    Stream(HostStream),
    /// What has a descriptor and no more: an event counter, an epoll set.
    Anonymous,
}

#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) kind: Kind,
    /// Index of its file system in the mount table.
    pub(crate) fs: usize,
    /// Type and permissions, as `st_mode`.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u32,
    /// Open files, working directories and running programs that use it.
    pub(crate) uses: u32,
    /// Programs that run from it: it must not be written.
    pub(crate) executions: u32,
    /// Open files that may write it: it must not be executed.
    pub(crate) writers: u32,
    /// Seals of a memfd; `None` for all other files.
    pub(crate) seals: Option<u32>,
    pub(crate) atime: Nanos,
    pub(crate) mtime: Nanos,
    pub(crate) ctime: Nanos,
}

/// What an operation does to a file, for permission checks: bits as of `access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want(pub(crate) u32);

impl Want {
    pub(crate) const SEARCH: Want = Want(access::X_OK);
    pub(crate) const WRITE: Want = Want(access::W_OK);
    /// Changing a directory's entries.
    pub(crate) const CHANGE: Want = Want(access::W_OK | access::X_OK);
}

/// Whether the permission bits of a file of this owner and group let the caller do this.
pub(crate) fn permits(
    (mode, uid, gid): (u32, u32, u32),
    caller: &Caller<'_>,
    want: Want,
) -> Result<(), Errno> {
    let is_dir = mode & s::S_IFMT == s::S_IFDIR;
    let searches = want.0 & access::W_OK == 0 && (is_dir || want.0 & access::X_OK == 0);
    let allowed = if caller.may(Capability::DacReadSearch) && searches {
        true
    } else if caller.may(Capability::DacOverride) {
        // All but executing a file that nobody may execute.
        want.0 & access::X_OK == 0 || is_dir || mode & 0o111 != 0
    } else {
        let bits = if caller.uid == uid {
            mode >> 6
        } else if caller.in_group(gid) {
            mode >> 3
        } else {
            mode
        };
        want.0 & !bits & 7 == 0
    };
    if allowed { Ok(()) } else { Err(Errno::EACCES) }
}

impl Inode {
    /// A new inode that nothing names or uses.
    pub(crate) fn new(kind: Kind, mode: u32, (uid, gid): (u32, u32), now: Nanos) -> Inode {
        Inode {
            kind,
            fs: 0,
            mode,
            uid,
            gid,
            nlink: 0,
            uses: 0,
            executions: 0,
            writers: 0,
            seals: None,
            atime: now,
            mtime: now,
            ctime: now,
        }
    }

    pub(crate) fn permits(&self, caller: &Caller<'_>, want: Want) -> Result<(), Errno> {
        // Names of pseudo-terminals come and go with them.
        if want == Want::CHANGE && self.fs == mount::PTS_FS {
            return Err(Errno::EPERM);
        }
        permits((self.mode, self.uid, self.gid), caller, want)
    }

    /// Whether the caller may change owner, mode and times.
    pub(crate) fn is_owned_by(&self, caller: &Caller<'_>) -> bool {
        caller.may(Capability::Fowner) || caller.uid == self.uid
    }

    pub(crate) const fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// The directory that this is.
    ///
    /// # Errors
    /// `ENOTDIR` if it is none.
    pub(crate) const fn directory(&self) -> Result<&Directory, Errno> {
        match &self.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// As [`Self::directory`], to be changed.
    pub(crate) const fn directory_mut(&mut self) -> Result<&mut Directory, Errno> {
        match &mut self.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The memory object of a regular file, made now if it has not been used before.
    pub(crate) fn object(&mut self, store: &mut dyn PageStore) -> Result<ObjectId, Errno> {
        let Kind::Regular(content) = &mut self.kind else { return Err(Errno::EINVAL) };
        match *content {
            Content::Object(object) => Ok(object),
            Content::Image { start, len } => {
                let object = store.create_from_image(start, len).map_err(store_errno)?;
                *content = Content::Object(object);
                Ok(object)
            }
        }
    }

    /// Length in bytes, as `st_size`.
    pub(crate) fn len(&self, store: &dyn PageStore) -> u64 {
        match &self.kind {
            Kind::Regular(Content::Image { len, .. }) => *len,
            // An object that is gone has no bytes.
            Kind::Regular(Content::Object(object)) => store.len(*object).unwrap_or(0),
            Kind::Directory(directory) => directory.listed_size(),
            Kind::Symlink(target) => target.len() as u64,
            _ => 0,
        }
    }

    /// Writing, or changing what `stat` shows of content, is a change of the inode too.
    pub(crate) const fn modified(&mut self, now: Nanos) {
        self.mtime = now;
        self.ctime = now;
    }
}
