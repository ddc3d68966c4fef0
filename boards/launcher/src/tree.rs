//! A file tree for the initial RAM disk, in memory.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use maize_vfs::cpio::{CpioError, Member, Members};

/// Bits of a mode that say what a file is, as in `stat`.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_REGULAR: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// Symbolic links followed in one look-up, as in Linux.
const MAX_LINKS: usize = 40;

/// Files by path: relative to the root, components joined by single `/`, no `.` or `..`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<Vec<u8>, Node>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Permission bits.
    pub permissions: u32,
    /// What it is and holds.
    pub content: Content,
}

/// What a file is and holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A directory.
    Directory,
    /// A regular file.
    File(Vec<u8>),
    /// A symbolic link to this path.
    Symlink(Vec<u8>),
}

/// Why a tree could not be read from the host.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file or directory could not be read.
    #[error("{0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// A device, socket or pipe.
    #[error("{0}: neither a file, a directory nor a symbolic link")]
    Special(PathBuf),
    /// A path that leaves the root, or has an empty name.
    #[error("`{0}` is no absolute path of a file")]
    BadGuestPath(String),
    /// The archive is compressed or not one.
    #[error("{0}: not an uncompressed `newc` cpio archive")]
    NotCpio(PathBuf),
    /// The archive is damaged.
    #[error("{0}: {1}")]
    Cpio(PathBuf, CpioError),
}

impl Node {
    /// Type and permission bits, as in `stat`.
    #[must_use]
    pub const fn mode(&self) -> u32 {
        let kind = match self.content {
            Content::Directory => TYPE_DIRECTORY,
            Content::File(_) => TYPE_REGULAR,
            Content::Symlink(_) => TYPE_SYMLINK,
        };
        kind | self.permissions
    }
}

impl Tree {
    /// A tree with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str, permissions: u32) {
        self.insert(path.into(), permissions, Content::Directory);
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, permissions: u32, data: impl Into<Vec<u8>>) {
        self.insert(path.into(), permissions, Content::File(data.into()));
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.insert(path.into(), 0o777, Content::Symlink(target.into()));
    }

    fn insert(&mut self, path: Vec<u8>, permissions: u32, content: Content) {
        self.nodes.insert(path, Node { permissions, content });
    }

    /// Puts a file or directory of the host at an absolute path of the guest, with the directories
    /// that lead there where `below` does not have them.
    pub fn add_host_file(
        &mut self,
        host: &Path,
        guest: &str,
        below: &Self,
    ) -> Result<(), TreeError> {
        let bad = || TreeError::BadGuestPath(guest.to_owned());
        let relative = guest.strip_prefix('/').ok_or_else(bad)?;
        let names: Vec<&str> = relative.split('/').collect();
        if names.iter().any(|name| matches!(*name, "" | "." | "..") || name.contains('\0')) {
            return Err(bad());
        }
        for depth in 1..names.len() {
            let parent = names.iter().take(depth).copied().collect::<Vec<_>>().join("/");
            if !self.nodes.contains_key(parent.as_bytes())
                && !below.nodes.contains_key(parent.as_bytes())
            {
                self.directory(&parent, 0o755);
            }
        }
        self.add_from_host(host, names.join("/").into())
    }

    /// The tree that lies under a directory of the host; everything belongs to root in the guest.
    pub fn from_directory(directory: &Path) -> Result<Self, TreeError> {
        let mut tree = Self::new();
        tree.add_children(directory, &[])?;
        Ok(tree)
    }

    fn add_children(&mut self, directory: &Path, at: &[u8]) -> Result<(), TreeError> {
        let failed = |error| TreeError::Read(directory.to_owned(), error);
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let path = if at.is_empty() {
                name.as_bytes().to_vec()
            } else {
                [at, b"/", name.as_bytes()].concat()
            };
            let host = directory.join(&name);
            let kind = host.symlink_metadata().map_err(|e| TreeError::Read(host.clone(), e))?;
            if kind.is_symlink() {
                let target =
                    std::fs::read_link(&host).map_err(|e| TreeError::Read(host.clone(), e))?;
                self.insert(path, 0o777, Content::Symlink(target.as_os_str().as_bytes().into()));
            } else {
                self.add_from_host(&host, path)?;
            }
        }
        Ok(())
    }

    /// Follows `host` if it is a symbolic link.
    fn add_from_host(&mut self, host: &Path, path: Vec<u8>) -> Result<(), TreeError> {
        let failed = |error| TreeError::Read(host.to_owned(), error);
        let metadata = host.metadata().map_err(failed)?;
        let permissions = metadata.mode() & 0o7777;
        if metadata.is_dir() {
            self.insert(path.clone(), permissions, Content::Directory);
            self.add_children(host, &path)
        } else if metadata.is_file() {
            let data = std::fs::read(host).map_err(failed)?;
            self.insert(path, permissions, Content::File(data));
            Ok(())
        } else {
            Err(TreeError::Special(host.to_owned()))
        }
    }

    /// The names, types and link targets in `newc` archives, for look-ups; without files' data. They
    /// are read as a kernel reads them.
    pub fn outline_of_archive(archive: &Vec<u8>, path: &Path) -> Result<Self, TreeError> {
        if !archive.starts_with(b"07070") {
            return Err(TreeError::NotCpio(path.to_owned()));
        }
        let mut tree = Self::new();
        for member in Members::new(archive) {
            let member = member.map_err(|error| TreeError::Cpio(path.to_owned(), error))?;
            let content = match member.mode & TYPE_MASK {
                TYPE_DIRECTORY => Content::Directory,
                TYPE_SYMLINK => Content::Symlink(data_of(archive, &member)),
                _ => Content::File(Vec::new()),
            };
            tree.insert(member.path, member.mode & 0o7777, content);
        }
        Ok(tree)
    }

    /// Every file with its path, parents before children.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_slice(), node))
    }

    /// Adds every file of `other`, in place of those of the same path.
    pub fn overlay(&mut self, other: &Self) {
        self.nodes.extend(other.nodes.iter().map(|(path, node)| (path.clone(), node.clone())));
    }

    /// The regular file at an absolute path, symbolic links followed.
    #[must_use]
    pub fn resolve(&self, path: &str) -> Option<&Node> {
        let mut left: Vec<Vec<u8>> = components(path.as_bytes()).rev().collect();
        let mut at: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop() {
            match name.as_slice() {
                b"." => {}
                b".." => {
                    at.pop();
                }
                _ => {
                    at.push(name);
                    let node = self.nodes.get(&at.join(&b'/'));
                    if let Some(Content::Symlink(target)) = node.map(|n| &n.content) {
                        links += 1;
                        if links > MAX_LINKS {
                            return None;
                        }
                        at.pop();
                        if target.starts_with(b"/") {
                            at.clear();
                        }
                        left.extend(components(target).rev());
                    }
                }
            }
        }
        let node = self.nodes.get(&at.join(&b'/'))?;
        matches!(node.content, Content::File(_)).then_some(node)
    }
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|b| *b == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
}

fn data_of(archive: &[u8], member: &Member) -> Vec<u8> {
    let end = member.data.saturating_add(member.len);
    match (usize::try_from(member.data), usize::try_from(end)) {
        (Ok(start), Ok(end)) => archive.get(start..end).unwrap_or_default().to_vec(),
        _ => Vec::new(),
    }
}

/// The last component of a path, if it has one.
#[must_use]
pub fn base_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(OsStr::to_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tree {
        let mut tree = Tree::new();
        tree.directory("bin", 0o755);
        tree.file("bin/busybox", 0o755, "elf");
        tree.symlink("bin/sh", "busybox");
        tree.directory("usr", 0o755);
        tree.symlink("usr/bin", "../bin");
        tree.symlink("loop", "loop");
        tree.symlink("abs", "/usr/bin/sh");
        tree
    }

    #[test]
    fn links_are_followed() {
        let tree = sample();
        for path in ["/bin/busybox", "/bin/sh", "/usr/bin/sh", "/abs", "//usr//bin/./sh"] {
            assert!(tree.resolve(path).is_some(), "{path}");
        }
        for path in ["/bin", "/loop", "/usr/bin/none", "/", ""] {
            assert!(tree.resolve(path).is_none(), "{path}");
        }
    }

    #[test]
    fn files_bring_the_directories_that_lead_to_them() {
        let host = tempfile::tempdir().unwrap();
        let file = host.path().join("f");
        std::fs::write(&file, "data").unwrap();
        let (below, mut overlay) = (sample(), Tree::new());
        overlay.add_host_file(&file, "/usr/local/share/f", &below).unwrap();
        let paths: Vec<_> = overlay.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, [&b"usr/local"[..], b"usr/local/share", b"usr/local/share/f"]);
        for bad in ["f", "/", "/a/../b", "/a//b", ""] {
            assert!(matches!(
                overlay.add_host_file(&file, bad, &below),
                Err(TreeError::BadGuestPath(_))
            ));
        }
        let gone = overlay.add_host_file(&host.path().join("gone"), "/gone", &below);
        assert!(matches!(gone, Err(TreeError::Read(..))));
    }

    #[test]
    fn directories_of_the_host_are_taken_with_links_and_modes() {
        let host = tempfile::tempdir().unwrap();
        std::fs::create_dir(host.path().join("d")).unwrap();
        std::fs::write(host.path().join("d/f"), "data").unwrap();
        std::os::unix::fs::symlink("f", host.path().join("d/l")).unwrap();
        let tree = Tree::from_directory(host.path()).unwrap();
        let modes: Vec<_> = tree.iter().map(|(path, node)| (path, node.mode() >> 12)).collect();
        assert_eq!(modes, [(&b"d"[..], 0o4), (b"d/f", 0o10), (b"d/l", 0o12)]);
        let socket = host.path().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(matches!(Tree::from_directory(host.path()), Err(TreeError::Special(_))));
    }

    #[test]
    fn what_is_no_archive_has_a_name() {
        for bytes in [&b""[..], b"\x1f\x8b\x08 gzip"] {
            let result = Tree::outline_of_archive(&bytes.to_vec(), Path::new("x"));
            assert!(matches!(result, Err(TreeError::NotCpio(_))));
        }
        let cut = Tree::outline_of_archive(&b"07070".to_vec(), Path::new("x"));
        assert!(matches!(cut, Err(TreeError::Cpio(..))));
    }

    #[test]
    fn programs_are_found_in_an_archive_that_was_written_here() {
        let mut tree = sample();
        tree.file("bin/large", 0o755, vec![1; 10_000]);
        let mut writer = crate::cpio::Writer::new();
        writer.tree(&tree).unwrap();
        let outline = Tree::outline_of_archive(&writer.finish(), Path::new("x")).unwrap();
        for path in ["/bin/large", "/usr/bin/sh", "/abs"] {
            assert!(outline.resolve(path).is_some(), "{path}");
        }
        assert!(outline.resolve("/loop").is_none());
    }
}
