//! Reading directories.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::{inotify, s};

use crate::Vfs;
use crate::caller::Surroundings;
use crate::directory::Cookie;
use crate::file::Handle;
use crate::id::FileId;
use crate::node::Node;
use crate::proc;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Inode number.
    pub ino: u64,
    /// The position behind it.
    pub next: u64,
    /// File type, as in `st_mode`.
    pub mode: u32,
    /// Name.
    pub name: Vec<u8>,
}

impl Vfs {
    /// Gives the entries from the file's position on to `take`, until it takes no more or `limit`
    /// were given, and leaves the position behind the last it took. Returns how many it took.
    ///
    /// # Errors
    /// `EBADF`, `ENOTDIR`; `ENOENT` if the directory was removed.
    pub fn read_dir(
        &mut self,
        env: &mut dyn Surroundings,
        id: FileId,
        limit: usize,
        take: &mut dyn FnMut(&DirEntry) -> bool,
    ) -> Result<usize, Errno> {
        let file = self.file(id)?;
        match file.handle {
            Handle::Directory => {}
            Handle::Place => return Err(Errno::EBADF),
            _ => return Err(Errno::ENOTDIR),
        }
        let mut position = file.position;
        let mut count = 0;
        for entry in self.entries(env, file.node, position, limit)? {
            if !take(&entry) {
                break;
            }
            position = entry.next;
            count += 1;
        }
        self.file_mut(id)?.position = position;
        self.file_event(id, inotify::IN_ACCESS);
        Ok(count)
    }

    fn entries(
        &self,
        env: &mut dyn Surroundings,
        node: Node,
        position: u64,
        limit: usize,
    ) -> Result<Vec<DirEntry>, Errno> {
        let mut entries = Vec::new();
        for (at, name) in [b".".as_slice(), b".."].into_iter().enumerate() {
            if position <= at as u64 {
                let there = if at == 0 { node } else { self.parent_of(node, self.root) };
                entries.push(DirEntry {
                    ino: number(there),
                    next: at as u64 + 1,
                    mode: s::S_IFDIR,
                    name: name.to_vec(),
                });
            }
        }
        match node {
            Node::Inode(id) => {
                let inode = self.tree.get(id)?;
                if inode.nlink == 0 {
                    return Err(Errno::ENOENT);
                }
                let listed = inode.directory()?.entries_from(Cookie(position));
                for (next, name, id) in listed.take(limit) {
                    entries.push(DirEntry {
                        ino: id.number(),
                        next: next.0,
                        mode: self.tree.get(id).map_or(0, |inode| inode.mode & s::S_IFMT),
                        name: name.to_vec(),
                    });
                }
            }
            Node::Proc(node) => {
                let listed = proc::entries(node, position.max(2), env.proc());
                entries.extend(listed.into_iter().take(limit).map(|entry| DirEntry {
                    ino: proc::number(entry.node),
                    next: entry.next,
                    mode: proc::mode(entry.node) & s::S_IFMT,
                    name: entry.name,
                }));
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }
}

fn number(node: Node) -> u64 {
    match node {
        Node::Inode(id) => id.number(),
        Node::Proc(node) => proc::number(node),
    }
}
