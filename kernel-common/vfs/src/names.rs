//! Making, moving and removing names.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::capability::Capability;
use maize_abi::file::{PATH_MAX, device_parts, rename, s};

use crate::Vfs;
use crate::caller::{At, Caller, Surroundings, store_errno};
use crate::directory::Directory;
use crate::file::NamedPlace;
use crate::id::{FileId, InodeId};
use crate::inode::{Content, Kind, Want};
use crate::node::Node;
use crate::path::{Follow, Last, Parent, Walk};

/// Where a name is, or is to be.
#[derive(Clone, Debug)]
struct Spot {
    dir: InodeId,
    name: Vec<u8>,
    slash: bool,
    /// What is there now.
    existing: Option<InodeId>,
}

/// What `mknod` is asked to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MakeNode {
    /// An empty regular file.
    Regular,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A device of this number; character or block.
    Device {
        /// `st_rdev`.
        number: u64,
        /// Whether it is a block device.
        block: bool,
    },
}

impl Vfs {
    /// Where a new name is to be. Slashes after it are allowed only for a directory.
    fn new_spot(
        &self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        (at, path): (At, &[u8]),
        for_directory: bool,
    ) -> Result<Spot, Errno> {
        let parent = Walk::new(self, env.proc(), caller).parent(at, path)?;
        let Last::Name(name) = parent.last.clone() else { return Err(Errno::EEXIST) };
        let existing =
            Walk::new(self, env.proc(), caller).look_up(parent.dir, &parent.last)?.is_some();
        if existing {
            return Err(Errno::EEXIST);
        }
        if parent.slash && !for_directory {
            return Err(Errno::ENOENT);
        }
        let Node::Inode(dir) = parent.dir else { return Err(Errno::EPERM) };
        self.check_create(caller, dir, &name)?;
        Ok(Spot { dir, name, slash: parent.slash, existing: None })
    }

    /// Makes an inode and its name.
    fn make(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        spot: &Spot,
        kind: Kind,
        mode: u32,
    ) -> Result<(), Errno> {
        let id = self.new_inode(env, caller, spot.dir, kind, mode)?;
        let linked = self.tree.link(spot.dir, &spot.name, id, env.wall_clock());
        if linked.is_err() {
            self.tree.free_unused(env.store(), id);
        }
        linked
    }

    /// `mkdir`.
    ///
    /// # Errors
    /// As `mkdirat`.
    pub fn make_directory(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        at: At,
        path: &[u8],
        mode: u32,
    ) -> Result<(), Errno> {
        let spot = self.new_spot(env, caller, (at, path), true)?;
        let kind = Kind::Directory(Directory::new(spot.dir, &spot.name));
        let mode = s::S_IFDIR | mode & 0o1777 & !caller.view.umask;
        self.make(env, caller, &spot, kind, mode)
    }

    /// `mknod`.
    ///
    /// # Errors
    /// As `mknodat`.
    pub fn make_node(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        (at, path): (At, &[u8]),
        what: MakeNode,
        mode: u32,
    ) -> Result<(), Errno> {
        let spot = self.new_spot(env, caller, (at, path), false)?;
        let (kind, file_type) = match what {
            MakeNode::Regular => {
                let object = env.store().create(0).map_err(store_errno)?;
                (Kind::Regular(Content::Object(object)), s::S_IFREG)
            }
            MakeNode::Fifo => (Kind::Fifo(None), s::S_IFIFO),
            MakeNode::Socket => (Kind::Socket, s::S_IFSOCK),
            MakeNode::Device { .. } if !caller.may(Capability::Mknod) => return Err(Errno::EPERM),
            MakeNode::Device { number, block } => {
                let (major, minor) = device_parts(number);
                (Kind::Device(major, minor), if block { s::S_IFBLK } else { s::S_IFCHR })
            }
        };
        let mode = file_type | mode & s::PERMISSIONS & !caller.view.umask;
        self.make(env, caller, &spot, kind, mode)
    }

    /// `symlink`.
    ///
    /// # Errors
    /// As `symlinkat`.
    pub fn make_symlink(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        target: &[u8],
        at: At,
        path: &[u8],
    ) -> Result<(), Errno> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let spot = self.new_spot(env, caller, (at, path), false)?;
        self.make(env, caller, &spot, Kind::Symlink(target.into()), s::S_IFLNK | 0o777)
    }

    /// `link`: another name for what a path leads to.
    ///
    /// # Errors
    /// As `linkat`.
    pub fn link(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        (from_at, from, follow): (At, &[u8], Follow),
        to: (At, &[u8]),
    ) -> Result<(), Errno> {
        let node = Walk::new(self, env.proc(), caller).existing(from_at, from, follow)?;
        self.link_node(env, caller, node, to)
    }

    /// `linkat` with `AT_EMPTY_PATH`: a name for an open file.
    ///
    /// # Errors
    /// As `linkat`.
    pub fn link_file(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        file: FileId,
        to: (At, &[u8]),
    ) -> Result<(), Errno> {
        if !caller.may(Capability::DacReadSearch) {
            return Err(Errno::ENOENT);
        }
        let node = self.file(file)?.node;
        self.link_node(env, caller, node, to)
    }

    fn link_node(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        node: Node,
        to: (At, &[u8]),
    ) -> Result<(), Errno> {
        let spot = self.new_spot(env, caller, to, false)?;
        let Node::Inode(id) = node else { return Err(Errno::EXDEV) };
        let inode = self.tree.get(id)?;
        if inode.fs != self.tree.get(spot.dir)?.fs {
            return Err(Errno::EXDEV);
        }
        if inode.is_dir() {
            return Err(Errno::EPERM);
        }
        self.tree.link(spot.dir, &spot.name, id, env.wall_clock())
    }

    fn spot(
        &self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        parent: Parent,
        name: Vec<u8>,
    ) -> Result<Spot, Errno> {
        let found = Walk::new(self, env.proc(), caller).look_up(parent.dir, &parent.last)?;
        let Node::Inode(dir) = parent.dir else {
            return Err(if found.is_some() { Errno::EPERM } else { Errno::ENOENT });
        };
        // The entry itself, not what is mounted on it.
        let existing = self.tree.get(dir)?.directory()?.get(&name);
        Ok(Spot { dir, name, slash: parent.slash, existing })
    }

    /// Whether the caller may remove the entry `id` from `dir`.
    fn check_delete(&self, caller: &Caller<'_>, dir: InodeId, id: InodeId) -> Result<(), Errno> {
        let parent = self.tree.get(dir)?;
        parent.permits(caller, Want::CHANGE)?;
        let sticky = parent.mode & s::S_ISVTX != 0;
        let owns = parent.is_owned_by(caller) || self.tree.get(id)?.is_owned_by(caller);
        if sticky && !owns { Err(Errno::EPERM) } else { Ok(()) }
    }

    fn is_mount_point(&self, id: InodeId) -> bool {
        let directory = self.tree.get(id).and_then(|inode| inode.directory());
        directory.is_ok_and(|directory| directory.covered_by.is_some())
    }

    /// `unlink`.
    ///
    /// # Errors
    /// As `unlinkat`.
    pub fn unlink(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        at: At,
        path: &[u8],
    ) -> Result<(), Errno> {
        let parent = Walk::new(self, env.proc(), caller).parent(at, path)?;
        let Last::Name(name) = parent.last.clone() else { return Err(Errno::EISDIR) };
        let spot = self.spot(env, caller, parent, name)?;
        let id = spot.existing.ok_or(Errno::ENOENT)?;
        let is_dir = self.tree.get(id)?.is_dir();
        if spot.slash {
            return Err(if is_dir { Errno::EISDIR } else { Errno::ENOTDIR });
        }
        self.check_delete(caller, spot.dir, id)?;
        if is_dir {
            return Err(Errno::EISDIR);
        }
        let now = env.wall_clock();
        self.tree.unlink(env.store(), spot.dir, &spot.name, now)
    }

    /// `rmdir`.
    ///
    /// # Errors
    /// As `rmdir`.
    pub fn remove_directory(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        at: At,
        path: &[u8],
    ) -> Result<(), Errno> {
        let parent = Walk::new(self, env.proc(), caller).parent(at, path)?;
        let name = match parent.last.clone() {
            Last::Name(name) => name,
            Last::Root => return Err(Errno::EBUSY),
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
        };
        let spot = self.spot(env, caller, parent, name)?;
        let id = spot.existing.ok_or(Errno::ENOENT)?;
        self.check_delete(caller, spot.dir, id)?;
        let directory = self.tree.get(id)?.directory()?;
        if directory.covered_by.is_some() {
            return Err(Errno::EBUSY);
        }
        if !directory.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        let now = env.wall_clock();
        self.tree.unlink(env.store(), spot.dir, &spot.name, now)
    }

    /// `rename` and `renameat2`. The order of checks is Linux's.
    ///
    /// # Errors
    /// As `renameat2`.
    pub fn rename(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        from: (At, &[u8]),
        to: (At, &[u8]),
        flags: u32,
    ) -> Result<(), Errno> {
        let exchange = flags & rename::RENAME_EXCHANGE != 0;
        let no_replace = flags & rename::RENAME_NOREPLACE != 0;
        let known = rename::RENAME_EXCHANGE | rename::RENAME_NOREPLACE;
        if flags & !known != 0 || exchange && no_replace {
            return Err(Errno::EINVAL);
        }
        let from = Walk::new(self, env.proc(), caller).parent(from.0, from.1)?;
        let to = Walk::new(self, env.proc(), caller).parent(to.0, to.1)?;
        if self.fs_of(from.dir)? != self.fs_of(to.dir)? {
            return Err(Errno::EXDEV);
        }
        let Last::Name(from_name) = from.last.clone() else { return Err(Errno::EBUSY) };
        let Last::Name(to_name) = to.last.clone() else {
            return Err(if no_replace { Errno::EEXIST } else { Errno::EBUSY });
        };
        let from = self.spot(env, caller, from, from_name)?;
        let source = from.existing.ok_or(Errno::ENOENT)?;
        let to = self.spot(env, caller, to, to_name)?;
        if to.existing.is_some() && no_replace {
            return Err(Errno::EEXIST);
        }
        self.check_rename(caller, &from, &to, source, exchange)?;
        if to.existing == Some(source) {
            return Ok(());
        }
        let now = env.wall_clock();
        let (from_at, to_at) = ((from.dir, from.name.as_slice()), (to.dir, to.name.as_slice()));
        if exchange {
            self.tree.exchange(from_at, to_at, now)?;
        } else {
            self.tree.rename(env.store(), from_at, to_at, now)?;
        }
        self.move_places(from_at, to_at, source, to.existing.filter(|_| exchange));
        Ok(())
    }

    fn check_rename(
        &self,
        caller: &Caller<'_>,
        from: &Spot,
        to: &Spot,
        source: InodeId,
        exchange: bool,
    ) -> Result<(), Errno> {
        let source_is_dir = self.tree.get(source)?.is_dir();
        let target_is_dir = match to.existing {
            Some(target) => Some(self.tree.get(target)?.is_dir()),
            None => None,
        };
        if exchange {
            match target_is_dir {
                None => return Err(Errno::ENOENT),
                Some(false) if to.slash => return Err(Errno::ENOTDIR),
                _ => {}
            }
        }
        if !source_is_dir && (from.slash || !exchange && to.slash) {
            return Err(Errno::ENOTDIR);
        }
        if self.is_above(source, to.dir) {
            return Err(Errno::EINVAL);
        }
        if let Some(target) = to.existing
            && self.is_above(target, from.dir)
        {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        if to.existing == Some(source) {
            return Ok(());
        }
        self.check_delete(caller, from.dir, source)?;
        match to.existing {
            None => self.check_create_entry(caller, to)?,
            Some(target) => {
                self.check_delete(caller, to.dir, target)?;
                if !exchange {
                    match (source_is_dir, target_is_dir) {
                        (true, Some(false)) => return Err(Errno::ENOTDIR),
                        (false, Some(true)) => return Err(Errno::EISDIR),
                        _ => {}
                    }
                }
            }
        }
        // A directory that gets another parent has its `..` changed.
        if from.dir != to.dir {
            if source_is_dir {
                self.tree.get(source)?.permits(caller, Want::WRITE)?;
            }
            if let (true, Some(true), Some(target)) = (exchange, target_is_dir, to.existing) {
                self.tree.get(target)?.permits(caller, Want::WRITE)?;
            }
        }
        if self.is_mount_point(source) || to.existing.is_some_and(|id| self.is_mount_point(id)) {
            return Err(Errno::EBUSY);
        }
        if let (false, Some(true), Some(target)) = (exchange, target_is_dir, to.existing)
            && !self.tree.get(target)?.directory()?.is_empty()
        {
            return Err(Errno::ENOTEMPTY);
        }
        Ok(())
    }

    fn check_create_entry(&self, caller: &Caller<'_>, spot: &Spot) -> Result<(), Errno> {
        let directory = self.tree.get(spot.dir)?;
        if directory.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        directory.permits(caller, Want::CHANGE)
    }

    fn fs_of(&self, node: Node) -> Result<usize, Errno> {
        match node {
            Node::Inode(id) => Ok(self.tree.get(id)?.fs),
            Node::Proc(_) => Ok(crate::mount::PROC_FS),
        }
    }

    /// Whether `above` is `id` or a directory above it in the same file system.
    fn is_above(&self, above: InodeId, mut id: InodeId) -> bool {
        loop {
            if id == above {
                return true;
            }
            match self.tree.get(id).and_then(|inode| inode.directory()) {
                Ok(directory) if directory.parent != id => id = directory.parent,
                _ => return false,
            }
        }
    }

    /// Tells open files that their names have moved.
    fn move_places(
        &mut self,
        from: (InodeId, &[u8]),
        to: (InodeId, &[u8]),
        source: InodeId,
        exchanged: Option<InodeId>,
    ) {
        let is_at = |place: &Option<NamedPlace>, spot: (InodeId, &[u8])| {
            place.as_ref().is_some_and(|(dir, name)| *dir == spot.0 && **name == *spot.1)
        };
        for file in self.files.values_mut() {
            if file.node == Node::Inode(source) && is_at(&file.place, from) {
                file.place = Some((to.0, to.1.into()));
            } else if exchanged.is_some_and(|id| file.node == Node::Inode(id))
                && is_at(&file.place, to)
            {
                file.place = Some((from.0, from.1.into()));
            }
        }
    }
}
