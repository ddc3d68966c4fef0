//! The table of inodes: links, uses, and the bounds on both.
//!
//! The root is one file tree in memory that starts as an index of the read-only image: names and
//! attributes are copied from it once, bytes stay there until a file is first used, and then come
//! page by page ([`maize_mm::PageStore::create_from_image`]). Writing, renaming and removing
//! change the tree only. That is an overlay's behaviour without an overlay's two layers: nothing
//! is ever merged at look-up, so there is nothing to copy up as a whole, no whiteout and no
//! opaque directory.

use alloc::collections::BTreeMap;

use maize_abi::Errno;
use maize_abi::file::inotify;
use maize_hal::Nanos;
use maize_mm::PageStore;

use crate::id::InodeId;
use crate::inode::{Content, Inode, Kind};
use crate::watch::Watches;

/// What the programs of one kernel can take of its memory, other than by files' bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Inodes, pipes included.
    pub inodes: usize,
    /// Bytes of all names and link targets.
    pub name_bytes: usize,
    /// Open file descriptions.
    pub open_files: usize,
    /// Bytes that all pipes can hold.
    pub pipe_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { inodes: 1 << 16, name_bytes: 8 << 20, open_files: 1 << 14, pipe_bytes: 64 << 20 }
    }
}

/// Links to one file at most.
const LINK_MAX: u32 = 65_000;

/// What is told beside an event of a directory.
const fn directory_flag(is_dir: bool) -> u32 {
    if is_dir { inotify::IN_ISDIR } else { 0 }
}

#[derive(Debug)]
pub(crate) struct Tree {
    inodes: BTreeMap<InodeId, Inode>,
    next: u64,
    name_bytes: usize,
    pub(crate) limits: Limits,
    /// Who is told of what happens to names.
    pub(crate) watches: Watches,
}

impl Tree {
    pub(crate) fn new(limits: Limits) -> Tree {
        let (inodes, watches) = (BTreeMap::new(), Watches::default());
        Tree { inodes, next: 1, name_bytes: 0, limits, watches }
    }

    /// # Errors
    /// `ENOENT` if the inode is gone: a name that outlived it.
    pub(crate) fn get(&self, id: InodeId) -> Result<&Inode, Errno> {
        self.inodes.get(&id).ok_or(Errno::ENOENT)
    }

    pub(crate) fn get_mut(&mut self, id: InodeId) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&id).ok_or(Errno::ENOENT)
    }

    /// How many inodes there are.
    pub(crate) fn len(&self) -> usize {
        self.inodes.len()
    }

    /// How many regular files there are.
    #[cfg(test)]
    pub(crate) fn count_regular(&self) -> usize {
        self.inodes.values().filter(|inode| matches!(inode.kind, Kind::Regular(_))).count()
    }

    /// The name that the next inode gets: a new directory of no parent is its own.
    pub(crate) const fn next_id(&self) -> InodeId {
        InodeId(self.next)
    }

    /// # Errors
    /// `ENOSPC` if there are too many.
    pub(crate) fn check_room(&self) -> Result<(), Errno> {
        if self.inodes.len() < self.limits.inodes { Ok(()) } else { Err(Errno::ENOSPC) }
    }

    /// # Errors
    /// `ENOSPC` if names take too much memory.
    pub(crate) fn check_name_room(&self, name: &[u8]) -> Result<(), Errno> {
        let fits = self.name_bytes + name.len() <= self.limits.name_bytes;
        if fits { Ok(()) } else { Err(Errno::ENOSPC) }
    }

    /// Adds an inode, which is gone again at the next [`Self::release`] unless it gets a link.
    ///
    /// # Errors
    /// `ENOSPC`.
    pub(crate) fn insert(&mut self, inode: Inode) -> Result<InodeId, Errno> {
        self.check_room()?;
        if let Kind::Symlink(target) = &inode.kind {
            self.check_name_room(target)?;
            self.name_bytes += target.len();
        }
        let id = self.next_id();
        self.next += 1;
        self.inodes.insert(id, inode);
        Ok(id)
    }

    /// Counts a use, which keeps the inode when its last name goes.
    pub(crate) fn hold(&mut self, id: InodeId) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.uses += 1;
        }
    }

    /// Ends a use.
    pub(crate) fn release(&mut self, store: &mut dyn PageStore, id: InodeId) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.uses = inode.uses.saturating_sub(1);
        }
        self.free_unused(store, id);
    }

    /// Frees the inode if nothing names or uses it.
    pub(crate) fn free_unused(&mut self, store: &mut dyn PageStore, id: InodeId) {
        let unused = self.inodes.get(&id).is_some_and(|i| i.nlink == 0 && i.uses == 0);
        if !unused {
            return;
        }
        self.watches.gone(id);
        match self.inodes.remove(&id).map(|inode| inode.kind) {
            Some(Kind::Regular(Content::Object(object))) => store.release(object),
            Some(Kind::Symlink(target)) => self.name_bytes -= target.len(),
            _ => {}
        }
    }

    /// Whether another link to the inode may be made.
    ///
    /// # Errors
    /// `EMLINK`.
    pub(crate) fn check_link_room(&self, id: InodeId) -> Result<(), Errno> {
        if self.get(id)?.nlink < LINK_MAX { Ok(()) } else { Err(Errno::EMLINK) }
    }

    /// Adds a name, which is not there yet, to a directory.
    ///
    /// # Errors
    /// `ENOTDIR`, `ENOENT` if the directory was removed, `ENOSPC`, `EMLINK`. Nothing has changed
    /// then.
    pub(crate) fn link(
        &mut self,
        dir: InodeId,
        name: &[u8],
        id: InodeId,
        now: Nanos,
    ) -> Result<(), Errno> {
        self.check_name_room(name)?;
        let is_dir = self.get(id)?.is_dir();
        self.check_link_room(if is_dir { dir } else { id })?;
        let parent = self.get_mut(dir)?;
        let removed = parent.nlink == 0;
        let directory = parent.directory_mut()?;
        if removed {
            return Err(Errno::ENOENT);
        }
        directory.insert(name, id);
        parent.modified(now);
        if is_dir {
            parent.nlink += 1;
        }
        self.name_bytes += name.len();
        let inode = self.get_mut(id)?;
        if let Kind::Directory(directory) = &mut inode.kind {
            directory.parent = dir;
            directory.name = name.into();
            inode.nlink = 2;
        } else {
            inode.nlink += 1;
        }
        inode.ctime = now;
        if inode.nlink > 1 && !is_dir {
            self.watches.tell(id, (inotify::IN_ATTRIB, 0), 0, b"");
        }
        self.watches.tell(dir, (inotify::IN_CREATE, directory_flag(is_dir)), 0, name);
        Ok(())
    }

    /// Removes a name and the inode with its last use.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub(crate) fn unlink(
        &mut self,
        store: &mut dyn PageStore,
        dir: InodeId,
        name: &[u8],
        now: Nanos,
    ) -> Result<(), Errno> {
        let parent = self.get_mut(dir)?;
        let id = parent.directory_mut()?.remove(name).ok_or(Errno::ENOENT)?;
        parent.modified(now);
        self.name_bytes -= name.len();
        let is_dir = self.get(id).is_ok_and(Inode::is_dir);
        if !is_dir {
            self.watches.tell(id, (inotify::IN_ATTRIB, 0), 0, b"");
        }
        self.drop_link(store, dir, id, now);
        // As on Linux, after what is told of the file itself.
        self.watches.tell(dir, (inotify::IN_DELETE, directory_flag(is_dir)), 0, name);
        Ok(())
    }

    /// Counts one link less of an inode whose name in `dir` is gone.
    fn drop_link(&mut self, store: &mut dyn PageStore, dir: InodeId, id: InodeId, now: Nanos) {
        let Some(inode) = self.inodes.get_mut(&id) else { return };
        inode.ctime = now;
        if inode.is_dir() {
            inode.nlink = 0;
            if let Some(parent) = self.inodes.get_mut(&dir) {
                parent.nlink = parent.nlink.saturating_sub(1);
            }
        } else {
            inode.nlink = inode.nlink.saturating_sub(1);
        }
        self.free_unused(store, id);
    }

    /// Moves a name to another place, replacing what is there. The caller has checked that both
    /// are of one kind, that a replaced directory is empty, and that no loop comes about.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOSPC`, `EMLINK`. Nothing has changed then.
    pub(crate) fn rename(
        &mut self,
        store: &mut dyn PageStore,
        (from_dir, from): (InodeId, &[u8]),
        (to_dir, to): (InodeId, &[u8]),
        now: Nanos,
    ) -> Result<(), Errno> {
        let id = self.get(from_dir)?.directory()?.get(from).ok_or(Errno::ENOENT)?;
        let is_dir = self.get(id)?.is_dir();
        let target = self.get(to_dir)?.directory()?;
        let replaced = target.get(to);
        if self.get(to_dir)?.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        if replaced.is_none() {
            self.check_name_room(to)?;
            if is_dir && from_dir != to_dir {
                self.check_link_room(to_dir)?;
            }
        }
        // From here on nothing can fail.
        if from_dir == to_dir {
            self.get_mut(from_dir)?.directory_mut()?.rename(from, to);
        } else {
            self.get_mut(from_dir)?.directory_mut()?.remove(from);
            let target = self.get_mut(to_dir)?.directory_mut()?;
            target.remove(to);
            target.insert(to, id);
        }
        self.name_bytes -= from.len();
        if replaced.is_none() {
            self.name_bytes += to.len();
        }
        if is_dir && from_dir != to_dir {
            self.get_mut(from_dir)?.nlink -= 1;
            self.get_mut(to_dir)?.nlink += 1;
        }
        self.tell_moved(id, (from_dir, from), (to_dir, to), replaced);
        if let Some(replaced) = replaced {
            self.drop_link(store, to_dir, replaced, now);
        }
        self.get_mut(from_dir)?.modified(now);
        self.get_mut(to_dir)?.modified(now);
        self.place(id, to_dir, to, now)
    }

    /// Exchanges what two names lead to.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`.
    pub(crate) fn exchange(
        &mut self,
        (from_dir, from): (InodeId, &[u8]),
        (to_dir, to): (InodeId, &[u8]),
        now: Nanos,
    ) -> Result<(), Errno> {
        let one = self.get(from_dir)?.directory()?.get(from).ok_or(Errno::ENOENT)?;
        let other = self.get(to_dir)?.directory()?.get(to).ok_or(Errno::ENOENT)?;
        let (one_is_dir, other_is_dir) = (self.get(one)?.is_dir(), self.get(other)?.is_dir());
        self.get_mut(from_dir)?.directory_mut()?.replace(from, other);
        self.get_mut(to_dir)?.directory_mut()?.replace(to, one);
        if one_is_dir != other_is_dir {
            let (loses, gains) = if one_is_dir { (from_dir, to_dir) } else { (to_dir, from_dir) };
            self.get_mut(loses)?.nlink -= 1;
            self.get_mut(gains)?.nlink += 1;
        }
        self.get_mut(from_dir)?.modified(now);
        self.get_mut(to_dir)?.modified(now);
        self.tell_moved(one, (from_dir, from), (to_dir, to), None);
        self.tell_moved(other, (to_dir, to), (from_dir, from), None);
        self.place(one, to_dir, to, now)?;
        self.place(other, from_dir, from, now)
    }

    /// Tells of a move, and of what it replaced.
    fn tell_moved(
        &mut self,
        id: InodeId,
        (from_dir, from): (InodeId, &[u8]),
        (to_dir, to): (InodeId, &[u8]),
        replaced: Option<InodeId>,
    ) {
        let flag = directory_flag(self.get(id).is_ok_and(Inode::is_dir));
        let cookie = self.watches.next_move();
        self.watches.tell(from_dir, (inotify::IN_MOVED_FROM, flag), cookie, from);
        self.watches.tell(to_dir, (inotify::IN_MOVED_TO, flag), cookie, to);
        if let Some(replaced) = replaced {
            self.watches.tell(replaced, (inotify::IN_ATTRIB, 0), 0, b"");
        }
        self.watches.tell(id, (inotify::IN_MOVE_SELF, 0), 0, b"");
    }

    /// Tells a moved inode where it is.
    fn place(&mut self, id: InodeId, dir: InodeId, name: &[u8], now: Nanos) -> Result<(), Errno> {
        let inode = self.get_mut(id)?;
        inode.ctime = now;
        if let Kind::Directory(directory) = &mut inode.kind {
            directory.parent = dir;
            directory.name = name.into();
        }
        Ok(())
    }
}
