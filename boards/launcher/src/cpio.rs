//! Writes `newc` cpio archives, the format of Linux's initial RAM disk.
//!
//! Several archives may follow each other, with zeros between them; that is how the data of larger
//! files comes to lie on page boundaries ([`ALIGNED_FROM`]), so that a kernel can map it in place.

use crate::tree::{Content, Tree};

/// Size of a page, in bytes.
pub const PAGE: usize = 4096;

/// Files of at least this many bytes get page-aligned data.
pub const ALIGNED_FROM: usize = PAGE;

const HEADER_LEN: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";

/// A growing sequence of archives.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    inode: u32,
    open: bool,
}

/// A file is too large for the format.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}: 4 GiB or more do not fit a cpio archive")]
pub struct TooLarge(String);

impl Writer {
    /// Nothing written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends this archive, if one is begun: what follows is another.
    pub fn separate(&mut self) {
        if self.open {
            self.header(TRAILER, 0, 0);
            self.open = false;
        }
    }

    /// Adds an archive as it is.
    pub fn raw(&mut self, archive: &[u8]) {
        self.separate();
        self.pad_to(PAGE, 0);
        self.bytes.extend_from_slice(archive);
        self.pad_to(4, 0);
    }

    /// Adds every file of a tree.
    pub fn tree(&mut self, tree: &Tree) -> Result<(), TooLarge> {
        for (path, node) in tree.iter() {
            let data = match &node.content {
                Content::Directory => &[][..],
                Content::File(data) | Content::Symlink(data) => data,
            };
            let size = u32::try_from(data.len())
                .map_err(|_| TooLarge(String::from_utf8_lossy(path).into_owned()))?;
            if data.len() >= ALIGNED_FROM {
                self.align_data_of(path);
            }
            self.header(path, node.mode(), size);
            self.bytes.extend_from_slice(data);
            self.pad_to(4, 0);
        }
        Ok(())
    }

    /// Ends the last archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.separate();
        self.pad_to(PAGE, 0);
        self.bytes
    }

    /// Makes the data of a member with this path, written next, start on a page.
    fn align_data_of(&mut self, path: &[u8]) {
        let before_data = (HEADER_LEN + path.len() + 1).next_multiple_of(4);
        if !(self.bytes.len() + before_data).is_multiple_of(PAGE) {
            self.separate();
            self.pad_to(PAGE, before_data);
        }
    }

    /// Adds zeros until `extra` bytes more would make a multiple of `unit`.
    fn pad_to(&mut self, unit: usize, extra: usize) {
        let end = (self.bytes.len() + extra).next_multiple_of(unit) - extra;
        self.bytes.resize(end, 0);
    }

    fn header(&mut self, path: &[u8], mode: u32, size: u32) {
        self.open = true;
        self.inode += 1;
        let name_size = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path);
        self.bytes.push(0);
        self.pad_to(4, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads concatenated archives by the format's description: zeros between them are skipped.
    fn members(mut at: usize, bytes: &[u8]) -> Vec<(String, u32, usize, Vec<u8>)> {
        let mut found = Vec::new();
        while at < bytes.len() {
            if bytes[at..].starts_with(&[0; 4]) {
                at += 4;
                continue;
            }
            assert_eq!(&bytes[at..at + 6], b"070701", "at {at:#x}");
            let field = |n: usize| {
                let text = std::str::from_utf8(&bytes[at + 6 + n * 8..at + 14 + n * 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let name = &bytes[at + 110..at + 110 + name_size - 1];
            let data = (at + 110 + name_size).next_multiple_of(4);
            if name != TRAILER {
                let name = String::from_utf8(name.to_vec()).unwrap();
                found.push((name, mode, data, bytes[data..data + size].to_vec()));
            }
            at = (data + size).next_multiple_of(4);
        }
        found
    }

    #[test]
    fn larger_files_lie_on_pages() {
        let mut tree = Tree::new();
        tree.directory("bin", 0o755);
        tree.file("bin/a", 0o755, vec![1; 5000]);
        tree.file("bin/b", 0o644, vec![2; 10]);
        tree.file("bin/c", 0o644, vec![3; 4096]);
        tree.symlink("sh", "bin/a");
        let mut writer = Writer::new();
        writer.tree(&tree).unwrap();
        let bytes = writer.finish();
        assert!(bytes.len().is_multiple_of(PAGE));
        let members = members(0, &bytes);
        let names: Vec<_> = members.iter().map(|m| (m.0.as_str(), m.1)).collect();
        assert_eq!(
            names,
            [
                ("bin", 0o40755),
                ("bin/a", 0o100755),
                ("bin/b", 0o100644),
                ("bin/c", 0o100644),
                ("sh", 0o120777)
            ]
        );
        for (name, _, at, data) in &members {
            assert!(data.len() < 4096 || at.is_multiple_of(PAGE), "{name} at {at:#x}");
        }
        assert_eq!(members[4].3, b"bin/a");
    }

    proptest! {
        #[test]
        fn every_file_comes_back(
            files in prop::collection::btree_map("[a-z]{1,60}", 0usize..20_000, 0..12),
        ) {
            let mut tree = Tree::new();
            for (name, len) in &files {
                tree.file(name, 0o644, vec![name.as_bytes()[0]; *len]);
            }
            let mut writer = Writer::new();
            writer.raw(b"070701 an archive of another");
            let start = 28;
            writer.tree(&tree).unwrap();
            let bytes = writer.finish();
            let seen: Vec<_> = members(start, &bytes)
                .into_iter()
                .map(|(name, _, at, data)| (name, data.len(), data.len() < PAGE || at % PAGE == 0))
                .collect();
            let expected: Vec<_> = files.into_iter().map(|(name, len)| (name, len, true)).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    /// The oracle is the format's own program, where there is one.
    #[test]
    fn cpio_reads_the_first_archive() {
        let mut tree = Tree::new();
        tree.file("hello", 0o644, "world");
        let mut writer = Writer::new();
        writer.tree(&tree).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.cpio");
        std::fs::write(&archive, writer.finish()).unwrap();
        let read = std::process::Command::new("cpio")
            .args(["-i", "--quiet", "--to-stdout", "-F"])
            .arg(&archive)
            .output();
        if let Ok(output) = read {
            assert_eq!(output.stdout, b"world");
        }
    }
}
