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

impl Mount {
    pub(crate) const fn hidden(kind: &'static str, magic: u64) -> Mount {
        Mount { kind, magic, path: "", options: "", root: None, covered: None }
    }
}

/// `st_dev` of the file system at this place of the mount table.
pub(crate) const fn device_of(fs: usize) -> u64 {
    maize_abi::file::device_number(0, 2 + fs as u32)
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
