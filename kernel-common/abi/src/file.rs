//! Numbers and structures of Linux's file system calls, where all 64-bit instruction sets agree.
//!
//! The four `open` flags that differ are in [`crate::isa::OpenFlags`].

use alloc::vec::Vec;

use crate::isa::Stat;

/// Longest file name, in bytes.
pub const NAME_MAX: usize = 255;
/// Longest path, in bytes with the terminating zero.
pub const PATH_MAX: usize = 4096;
/// Symbolic links followed in one path.
pub const MAX_SYMLINKS: u32 = 40;
/// Bytes that one call reads or writes at most (`MAX_RW_COUNT`).
pub const MAX_RW_COUNT: u64 = 0x7fff_f000;
/// Buffers of one `readv` or `writev` (`UIO_MAXIOV`).
pub const IOV_MAX: u64 = 1024;
/// Writes to a pipe of so many bytes are not mixed with others.
pub const PIPE_BUF: usize = 4096;

/// `open` flags.
pub mod o {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const O_ACCMODE: u32 = 3;
    pub const O_RDONLY: u32 = 0;
    pub const O_WRONLY: u32 = 1;
    pub const O_RDWR: u32 = 2;
    pub const O_CREAT: u32 = 0o100;
    pub const O_EXCL: u32 = 0o200;
    pub const O_NOCTTY: u32 = 0o400;
    pub const O_TRUNC: u32 = 0o1000;
    pub const O_APPEND: u32 = 0o2000;
    pub const O_NONBLOCK: u32 = 0o4000;
    pub const O_DSYNC: u32 = 0o10_000;
    pub const O_ASYNC: u32 = 0o20_000;
    pub const O_NOATIME: u32 = 0o1_000_000;
    pub const O_CLOEXEC: u32 = 0o2_000_000;
    pub const O_SYNC: u32 = 0o4_010_000;
    pub const O_PATH: u32 = 0o10_000_000;
    /// Comes with `O_DIRECTORY`.
    pub const O_TMPFILE_BIT: u32 = 0o20_000_000;
}

/// Events and flags of `inotify`.
pub mod inotify {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const IN_ACCESS: u32 = 1;
    pub const IN_MODIFY: u32 = 2;
    pub const IN_ATTRIB: u32 = 4;
    pub const IN_CLOSE_WRITE: u32 = 8;
    pub const IN_CLOSE_NOWRITE: u32 = 0x10;
    pub const IN_OPEN: u32 = 0x20;
    pub const IN_MOVED_FROM: u32 = 0x40;
    pub const IN_MOVED_TO: u32 = 0x80;
    pub const IN_CREATE: u32 = 0x100;
    pub const IN_DELETE: u32 = 0x200;
    pub const IN_DELETE_SELF: u32 = 0x400;
    pub const IN_MOVE_SELF: u32 = 0x800;
    pub const IN_ALL_EVENTS: u32 = 0xfff;
    pub const IN_Q_OVERFLOW: u32 = 0x4000;
    pub const IN_IGNORED: u32 = 0x8000;
    pub const IN_ONLYDIR: u32 = 0x0100_0000;
    pub const IN_DONT_FOLLOW: u32 = 0x0200_0000;
    pub const IN_EXCL_UNLINK: u32 = 0x0400_0000;
    pub const IN_MASK_CREATE: u32 = 0x1000_0000;
    pub const IN_MASK_ADD: u32 = 0x2000_0000;
    pub const IN_ISDIR: u32 = 0x4000_0000;
    pub const IN_ONESHOT: u32 = 0x8000_0000;
}

/// File type and permission bits of `st_mode`.
pub mod s {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const S_IFMT: u32 = 0o170_000;
    pub const S_IFSOCK: u32 = 0o140_000;
    pub const S_IFLNK: u32 = 0o120_000;
    pub const S_IFREG: u32 = 0o100_000;
    pub const S_IFBLK: u32 = 0o060_000;
    pub const S_IFDIR: u32 = 0o040_000;
    pub const S_IFCHR: u32 = 0o020_000;
    pub const S_IFIFO: u32 = 0o010_000;
    pub const S_ISUID: u32 = 0o4000;
    pub const S_ISGID: u32 = 0o2000;
    pub const S_ISVTX: u32 = 0o1000;
    /// All bits that `chmod` sets.
    pub const PERMISSIONS: u32 = 0o7777;
}

/// Flags of the `*at` calls.
pub mod at {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const AT_FDCWD: i32 = -100;
    pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
    /// Of `faccessat2`.
    pub const AT_EACCESS: u32 = 0x200;
    /// Of `unlinkat`: the same bit as `AT_EACCESS`.
    pub const AT_REMOVEDIR: u32 = 0x200;
    pub const AT_SYMLINK_FOLLOW: u32 = 0x400;
    pub const AT_NO_AUTOMOUNT: u32 = 0x800;
    pub const AT_EMPTY_PATH: u32 = 0x1000;
    /// `AT_STATX_SYNC_AS_STAT`, `_FORCE_SYNC`, `_DONT_SYNC`.
    pub const AT_STATX_SYNC_TYPE: u32 = 0x6000;
}

/// `access` modes.
pub mod access {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const F_OK: u32 = 0;
    pub const X_OK: u32 = 1;
    pub const W_OK: u32 = 2;
    pub const R_OK: u32 = 4;
}

/// `renameat2` flags.
pub mod rename {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const RENAME_NOREPLACE: u32 = 1;
    pub const RENAME_EXCHANGE: u32 = 2;
    pub const RENAME_WHITEOUT: u32 = 4;
}

/// `poll` events.
pub mod poll {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const POLLIN: u16 = 1;
    pub const POLLPRI: u16 = 2;
    pub const POLLOUT: u16 = 4;
    pub const POLLERR: u16 = 8;
    pub const POLLHUP: u16 = 0x10;
    pub const POLLNVAL: u16 = 0x20;
    pub const POLLRDNORM: u16 = 0x40;
    pub const POLLRDBAND: u16 = 0x80;
    pub const POLLWRNORM: u16 = 0x100;
    pub const POLLWRBAND: u16 = 0x200;
    pub const POLLRDHUP: u16 = 0x2000;
}

/// `epoll` commands and events. Events below [`epoll::EPOLLEXCLUSIVE`] are those of `poll`.
pub mod epoll {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const EPOLL_CTL_ADD: u32 = 1;
    pub const EPOLL_CTL_DEL: u32 = 2;
    pub const EPOLL_CTL_MOD: u32 = 3;
    pub const EPOLLIN: u32 = 1;
    pub const EPOLLOUT: u32 = 4;
    pub const EPOLLERR: u32 = 8;
    pub const EPOLLHUP: u32 = 16;
    pub const EPOLLEXCLUSIVE: u32 = 1 << 28;
    pub const EPOLLWAKEUP: u32 = 1 << 29;
    pub const EPOLLONESHOT: u32 = 1 << 30;
    pub const EPOLLET: u32 = 1 << 31;
    /// What can happen to a file, of all bits.
    pub const EVENTS: u32 = EPOLLEXCLUSIVE - 1;
    /// All that may be asked for together with `EPOLLEXCLUSIVE`.
    pub const WITH_EXCLUSIVE: u32 =
        EPOLLEXCLUSIVE | EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET;
}

/// `fcntl` commands and values.
pub mod fcntl {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const F_DUPFD: u32 = 0;
    pub const F_GETFD: u32 = 1;
    pub const F_SETFD: u32 = 2;
    pub const F_GETFL: u32 = 3;
    pub const F_SETFL: u32 = 4;
    pub const F_GETLK: u32 = 5;
    pub const F_SETLK: u32 = 6;
    pub const F_SETLKW: u32 = 7;
    pub const F_SETOWN: u32 = 8;
    pub const F_GETOWN: u32 = 9;
    pub const F_OFD_GETLK: u32 = 36;
    pub const F_OFD_SETLK: u32 = 37;
    pub const F_OFD_SETLKW: u32 = 38;
    pub const F_DUPFD_CLOEXEC: u32 = 1030;
    pub const F_SETPIPE_SZ: u32 = 1031;
    pub const F_GETPIPE_SZ: u32 = 1032;
    pub const F_ADD_SEALS: u32 = 1033;
    pub const F_GET_SEALS: u32 = 1034;
    pub const FD_CLOEXEC: u64 = 1;
    pub const F_RDLCK: u16 = 0;
    pub const F_WRLCK: u16 = 1;
    pub const F_UNLCK: u16 = 2;
    pub const F_SEAL_SEAL: u32 = 1;
    pub const F_SEAL_SHRINK: u32 = 2;
    pub const F_SEAL_GROW: u32 = 4;
    pub const F_SEAL_WRITE: u32 = 8;
}

/// `flock` operations.
pub mod flock {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const LOCK_SH: u32 = 1;
    pub const LOCK_EX: u32 = 2;
    pub const LOCK_NB: u32 = 4;
    pub const LOCK_UN: u32 = 8;
}

/// `lseek` origins.
pub mod seek {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const SEEK_SET: u32 = 0;
    pub const SEEK_CUR: u32 = 1;
    pub const SEEK_END: u32 = 2;
    pub const SEEK_DATA: u32 = 3;
    pub const SEEK_HOLE: u32 = 4;
}

/// `d_type` of a directory entry: the file type bits of `st_mode`, shifted.
#[must_use]
pub const fn dirent_type(mode: u32) -> u8 {
    ((mode & s::S_IFMT) >> 12) as u8
}

/// A device number as `st_dev` and `st_rdev` hold it.
#[must_use]
pub const fn device_number(major: u32, minor: u32) -> u64 {
    (minor as u64 & 0xff) | ((major as u64) << 8) | ((minor as u64 & !0xff) << 12)
}

/// The major and minor parts of a device number.
#[must_use]
pub const fn device_parts(dev: u64) -> (u32, u32) {
    (((dev >> 8) & 0xfff) as u32, ((dev & 0xff) | ((dev >> 12) & 0xf_ff00)) as u32)
}

/// Appends a `linux_dirent64` if it fits in `limit` bytes. Returns whether it did.
pub fn push_dirent64(
    out: &mut Vec<u8>,
    limit: usize,
    (ino, next, mode): (u64, u64, u32),
    name: &[u8],
) -> bool {
    let len = (19 + name.len() + 1).next_multiple_of(8);
    if out.len() + len > limit {
        return false;
    }
    let end = out.len() + len;
    out.extend_from_slice(&ino.to_le_bytes());
    out.extend_from_slice(&next.to_le_bytes());
    out.extend_from_slice(&(len as u16).to_le_bytes());
    out.push(dirent_type(mode));
    out.extend_from_slice(name);
    out.resize(end, 0);
    true
}

/// Appends a `linux_dirent` (of the old `getdents`), whose type is its last byte, if it fits in
/// `limit` bytes. Returns whether it did.
pub fn push_dirent(
    out: &mut Vec<u8>,
    limit: usize,
    (ino, next, mode): (u64, u64, u32),
    name: &[u8],
) -> bool {
    let len = (18 + name.len() + 2).next_multiple_of(8);
    if out.len() + len > limit {
        return false;
    }
    let end = out.len() + len;
    out.extend_from_slice(&ino.to_le_bytes());
    out.extend_from_slice(&next.to_le_bytes());
    out.extend_from_slice(&(len as u16).to_le_bytes());
    out.extend_from_slice(name);
    out.resize(end - 1, 0);
    out.push(dirent_type(mode));
    true
}

/// Bytes of a `struct statx`.
pub const STATX_LEN: usize = 256;

/// `STATX_BASIC_STATS`: what [`encode_statx`] fills in.
pub const STATX_BASIC_STATS: u32 = 0x7ff;

/// Lays out a `struct statx`.
#[must_use]
pub fn encode_statx(stat: &Stat) -> [u8; STATX_LEN] {
    let mut out = [0; STATX_LEN];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &STATX_BASIC_STATS.to_le_bytes());
    put(4, &(stat.blksize as u32).to_le_bytes());
    put(16, &(stat.nlink as u32).to_le_bytes());
    put(20, &stat.uid.to_le_bytes());
    put(24, &stat.gid.to_le_bytes());
    put(28, &(stat.mode as u16).to_le_bytes());
    put(32, &stat.ino.to_le_bytes());
    put(40, &stat.size.to_le_bytes());
    put(48, &stat.blocks.to_le_bytes());
    for (at, time) in [(64, stat.atime), (96, stat.ctime), (112, stat.mtime)] {
        put(at, &(time / 1_000_000_000).to_le_bytes());
        put(at + 8, &((time % 1_000_000_000) as u32).to_le_bytes());
    }
    let (major, minor) = device_parts(stat.rdev);
    put(128, &major.to_le_bytes());
    put(132, &minor.to_le_bytes());
    let (major, minor) = device_parts(stat.dev);
    put(136, &major.to_le_bytes());
    put(140, &minor.to_le_bytes());
    out
}

/// What `statfs` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are Linux's own")]
pub struct Statfs {
    /// Magic number of the file system's type.
    pub kind: u64,
    /// Bytes in a block.
    pub bsize: u64,
    pub blocks: u64,
    pub bfree: u64,
    pub files: u64,
    pub ffree: u64,
    pub fsid: u64,
    pub flags: u64,
}

/// Bytes of a `struct statfs`.
pub const STATFS_LEN: usize = 120;

impl Statfs {
    /// The `struct statfs` that a program sees.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; STATFS_LEN] {
        let words = [
            self.kind,
            self.bsize,
            self.blocks,
            self.bfree,
            self.bfree,
            self.files,
            self.ffree,
            self.fsid,
            NAME_MAX as u64,
            self.bsize,
            self.flags,
        ];
        let mut out = [0; STATFS_LEN];
        for (chunk, word) in out.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_split_again() {
        for (major, minor) in [(0, 2), (1, 3), (5, 0), (136, 300), (0xfff, 0xf_ffff)] {
            assert_eq!(device_parts(device_number(major, minor)), (major, minor));
        }
        assert_eq!(device_number(5, 1), 0x501);
    }

    #[test]
    fn directory_entries_are_aligned_and_bounded() {
        let mut out = Vec::new();
        assert!(push_dirent64(&mut out, 48, (7, 2, s::S_IFDIR), b".."));
        assert_eq!(out.len(), 24);
        assert_eq!(out[16..22], [24, 0, 4, b'.', b'.', 0]);
        assert!(push_dirent64(&mut out, 48, (8, 3, s::S_IFREG), b"abcd"));
        assert!(!push_dirent64(&mut out, 48, (9, 4, s::S_IFREG), b""));
        assert_eq!(out.len(), 48);

        let mut old = Vec::new();
        assert!(push_dirent(&mut old, 24, (7, 2, s::S_IFLNK), b"abcd"));
        assert_eq!((old.len(), old[23]), (24, 10));
    }
}
