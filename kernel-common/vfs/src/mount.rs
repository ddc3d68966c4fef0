//! File systems and where they are mounted.

use alloc::string::String;

use crate::id::InodeId;
use crate::node::Node;

/// A mounted file system. Its place in the mount table is part of the device number that `stat`
/// shows.
#[derive(Debug)]
pub(crate) struct Mount {
    /// The type's name.
    pub(crate) kind: &'static str,
    /// The type's magic number, as `statfs` shows it.
    pub(crate) magic: u64,
    /// The path it is mounted at; empty for one that no path leads to.
    pub(crate) path: &'static str,
    /// As `/proc/mounts` shows them.
    pub(crate) options: &'static str,
    pub(crate) root: Option<Node>,
    /// The directory it is mounted on; none for the root and for what no path leads to.
    pub(crate) covered: Option<InodeId>,
}

/// Magic numbers that `statfs` shows.
pub(crate) const TMPFS_MAGIC: u64 = 0x0102_1994;
pub(crate) const PROC_MAGIC: u64 = 0x9fa0;
pub(crate) const DEVPTS_MAGIC: u64 = 0x1cd1;
pub(crate) const PIPEFS_MAGIC: u64 = 0x5049_5045;
pub(crate) const ANON_MAGIC: u64 = 0x0904_1934;
pub(crate) const SOCKFS_MAGIC: u64 = 0x534f_434b;

/// The place in the mount table of pipes. The root file system has the first.
pub(crate) const PIPE_FS: usize = 1;
/// That of what else has no path: memfds, event counters.
pub(crate) const ANON_FS: usize = 2;
/// That of sockets.
pub(crate) const SOCKET_FS: usize = 3;
/// That of `/proc`.
pub(crate) const PROC_FS: usize = 4;
/// That of `/dev/pts`.
pub(crate) const PTS_FS: usize = 6;

impl Mount {
    pub(crate) const fn hidden(kind: &'static str, magic: u64) -> Mount {
        Mount { kind, magic, path: "", options: "", root: None, covered: None }
    }
}

/// `st_dev` of the file system at this place of the mount table.
pub(crate) const fn device_of(fs: usize) -> u64 {
    maize_abi::file::device_number(0, 2 + fs as u32)
}

/// `/proc/PID/mountinfo`: numbers of the mount and of the one that it is on, device, paths, types.
pub(crate) fn table(mounts: &[Mount]) -> String {
    use core::fmt::Write;
    /// The number of the first mount; those of others follow.
    const FIRST: usize = 20;
    let mut text = String::new();
    for (at, mount) in mounts.iter().enumerate().filter(|(_, mount)| !mount.path.is_empty()) {
        // The mount whose path is the longest one above. The root is on one that nothing shows.
        let above = mounts.iter().enumerate().filter(|(_, other)| is_above(other.path, mount.path));
        let on = above.max_by_key(|(_, other)| other.path.len()).map_or(1, |(at, _)| FIRST + at);
        let (major, minor) = maize_abi::file::device_parts(device_of(at));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{id} {on} {major}:{minor} / {path} {options} - {kind} {kind} rw",
            id = FIRST + at,
            path = mount.path,
            options = mount.options,
            kind = mount.kind,
        );
    }
    text
}

/// Whether something is mounted at one path that a mount at another path is on.
fn is_above(path: &str, other: &str) -> bool {
    let rest = other.strip_prefix(path.trim_end_matches('/'));
    !path.is_empty() && path != other && rest.is_some_and(|rest| rest.starts_with('/'))
}

/// `/proc/mounts`.
pub(crate) fn list(mounts: &[Mount]) -> String {
    use core::fmt::Write;
    let mut text = String::new();
    for mount in mounts.iter().filter(|mount| !mount.path.is_empty()) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{kind} {path} {kind} {options} 0 0",
            kind = mount.kind,
            path = mount.path,
            options = mount.options
        );
    }
    text
}
