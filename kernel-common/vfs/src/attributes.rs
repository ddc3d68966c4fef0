//! What is known of a file besides its bytes.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::capability::Capability;
use maize_abi::file::{Statfs, access, device_number, fcntl, inotify, s};
use maize_abi::isa::Stat;
use maize_hal::Nanos;

use crate::Vfs;
use crate::caller::{At, Caller, Surroundings, store_errno, store_stop};
use crate::file::Handle;
use crate::id::{FileId, InodeId};
use crate::inode::{Kind, Want, permits};
use crate::io::{FILE_SIZE_MAX, drop_privileges};
use crate::mount::{self, device_of};
use crate::node::Node;
use crate::outcome::Io;
use crate::path::{Follow, Link, Walk};
use crate::proc::{self, ProcSource};

/// What a call on attributes is about.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// What a path leads to.
    Path(At, &'a [u8], Follow),
    /// An open file (an `f` call, or an empty path where that is allowed).
    File(FileId),
    /// The working directory (an empty path from `AT_FDCWD`).
    Cwd,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// `UTIME_OMIT`: it stays.
    Keep,
    /// `UTIME_NOW`.
    Now,
    /// Time since the epoch.
    At(Nanos),
}

/// Bytes in a block as `st_blocks` counts them.
const BLOCK: u64 = 512;

impl Vfs {
    pub(crate) fn permits(
        &self,
        node: Node,
        source: &dyn ProcSource,
        caller: &Caller<'_>,
        want: Want,
    ) -> Result<(), Errno> {
        match node {
            Node::Inode(id) => self.tree.get(id)?.permits(caller, want),
            Node::Proc(node) => {
                let (uid, gid) = proc::owner(node, source);
                permits((proc::mode(node), uid, gid), caller, want)
            }
        }
    }

    fn target(
        &self,
        source: &dyn ProcSource,
        caller: &Caller<'_>,
        target: Target<'_>,
    ) -> Result<Node, Errno> {
        match target {
            Target::Path(at, path, follow) => {
                Walk::new(self, source, caller).existing(at, path, follow)
            }
            Target::File(file) => Ok(self.file(file)?.node),
            Target::Cwd => Ok(caller.view.cwd),
        }
    }

    /// As [`Self::target`], for a call that changes it; `O_PATH` files cannot be changed through
    /// their descriptor.
    fn target_to_change(
        &self,
        source: &dyn ProcSource,
        caller: &Caller<'_>,
        target: Target<'_>,
    ) -> Result<InodeId, Errno> {
        if let Target::File(file) = target
            && self.is_place(file)
        {
            return Err(Errno::EBADF);
        }
        match self.target(source, caller, target)? {
            Node::Inode(id) => Ok(id),
            Node::Proc(_) => Err(Errno::EPERM),
        }
    }

    /// `stat` and its kind.
    ///
    /// # Errors
    /// As `fstatat`.
    pub fn stat(
        &self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        target: Target<'_>,
    ) -> Result<Stat, Errno> {
        let node = self.target(env.proc(), caller, target)?;
        self.stat_node(env, node)
    }

    fn stat_node(&self, env: &mut dyn Surroundings, node: Node) -> Result<Stat, Errno> {
        let id = match node {
            Node::Inode(id) => id,
            Node::Proc(node) => {
                let (uid, gid) = proc::owner(node, env.proc());
                let now = env.wall_clock().0;
                return Ok(Stat {
                    dev: device_of(mount::PROC_FS),
                    ino: proc::number(node),
                    nlink: if proc::is_dir(node) { 2 } else { 1 },
                    mode: proc::mode(node),
                    uid,
                    gid,
                    blksize: 1024,
                    atime: now,
                    mtime: now,
                    ctime: now,
                    ..Stat::default()
                });
            }
        };
        let inode = self.tree.get(id)?;
        let size = inode.len(env.store());
        let rdev = match inode.kind {
            Kind::Device(major, minor) => device_number(major, minor),
            _ => 0,
        };
        Ok(Stat {
            dev: device_of(inode.fs),
            ino: id.number(),
            nlink: inode.nlink.into(),
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            rdev,
            size: size as i64,
            blksize: 4096,
            blocks: match inode.kind {
                Kind::Regular(_) => (size.div_ceil(4096) * (4096 / BLOCK)) as i64,
                _ => 0,
            },
            atime: inode.atime.0,
            mtime: inode.mtime.0,
            ctime: inode.ctime.0,
        })
    }

    /// `access`: whether the caller could do what `mode` says. For `access` without `AT_EACCESS`
    /// the caller is one with the real ids.
    ///
    /// # Errors
    /// As `faccessat2`.
    pub fn access(
        &self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        target: Target<'_>,
        mode: u32,
    ) -> Result<(), Errno> {
        if mode & !(access::R_OK | access::W_OK | access::X_OK) != 0 {
            return Err(Errno::EINVAL);
        }
        let node = self.target(env.proc(), caller, target)?;
        if mode == access::F_OK {
            return Ok(());
        }
        self.permits(node, env.proc(), caller, Want(mode))
    }

    /// Whether the caller may execute a file: a regular one, with the permission to.
    ///
    /// # Errors
    /// `EACCES`, `EBADF`.
    pub fn check_executable(&self, caller: &Caller<'_>, file: FileId) -> Result<(), Errno> {
        let file = self.file(file)?;
        let Node::Inode(id) = file.node else { return Err(Errno::EACCES) };
        let inode = self.tree.get(id)?;
        if !matches!(inode.kind, Kind::Regular(_)) {
            return Err(Errno::EACCES);
        }
        inode.permits(caller, Want::SEARCH)
    }

    /// Counts a program that runs from a file, which then cannot be written; its executable is to
    /// be held, and given to [`Self::end_execution`] at the end.
    ///
    /// # Errors
    /// `ETXTBSY` if the file is open for writing, `EBADF`.
    pub fn begin_execution(&mut self, file: FileId) -> Result<(), Errno> {
        let Node::Inode(id) = self.file(file)?.node else { return Err(Errno::EACCES) };
        let inode = self.tree.get_mut(id)?;
        if inode.writers > 0 {
            return Err(Errno::ETXTBSY);
        }
        inode.executions += 1;
        Ok(())
    }

    /// Ends what [`Self::begin_execution`] began.
    pub fn end_execution(&mut self, file: FileId) {
        if let Ok(Node::Inode(id)) = self.file(file).map(|file| file.node)
            && let Ok(inode) = self.tree.get_mut(id)
        {
            inode.executions = inode.executions.saturating_sub(1);
        }
    }

    /// `chmod` and its kind.
    ///
    /// # Errors
    /// As `fchmodat2`.
    pub fn chmod(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        target: Target<'_>,
        mode: u32,
    ) -> Result<(), Errno> {
        let id = self.target_to_change(env.proc(), caller, target)?;
        let inode = self.tree.get_mut(id)?;
        if let Kind::Symlink(_) = inode.kind {
            return Err(Errno::EOPNOTSUPP);
        }
        if !inode.is_owned_by(caller) {
            return Err(Errno::EPERM);
        }
        let mut mode = mode & s::PERMISSIONS;
        if !caller.may(Capability::Fsetid) && !caller.in_group(inode.gid) {
            mode &= !s::S_ISGID;
        }
        inode.mode = inode.mode & s::S_IFMT | mode;
        inode.ctime = env.wall_clock();
        self.target_event(env, caller, target, inotify::IN_ATTRIB);
        Ok(())
    }

    /// `chown` and its kind; `None` leaves an id as it is.
    ///
    /// # Errors
    /// As `fchownat`.
    pub fn chown(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        target: Target<'_>,
        (uid, gid): (Option<u32>, Option<u32>),
    ) -> Result<(), Errno> {
        let id = self.target_to_change(env.proc(), caller, target)?;
        let inode = self.tree.get_mut(id)?;
        if !caller.may(Capability::Chown) {
            let keeps_owner = uid.is_none_or(|uid| uid == inode.uid);
            let own_group = gid.is_none_or(|gid| gid == inode.gid || caller.in_group(gid));
            if caller.uid != inode.uid || !keeps_owner || !own_group {
                return Err(Errno::EPERM);
            }
        }
        inode.uid = uid.unwrap_or(inode.uid);
        inode.gid = gid.unwrap_or(inode.gid);
        // Whoever it belongs to now, it is not to run with the old owner's rights.
        if inode.mode & s::S_IFMT == s::S_IFREG {
            inode.mode &= !s::S_ISUID;
            if inode.mode & 0o010 != 0 {
                inode.mode &= !s::S_ISGID;
            }
        }
        inode.ctime = env.wall_clock();
        self.target_event(env, caller, target, inotify::IN_ATTRIB);
        Ok(())
    }

    /// `utimensat` and its kind.
    ///
    /// # Errors
    /// As `utimensat`.
    pub fn set_times(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        target: Target<'_>,
        (atime, mtime): (SetTime, SetTime),
    ) -> Result<(), Errno> {
        let id = self.target_to_change(env.proc(), caller, target)?;
        let inode = self.tree.get_mut(id)?;
        if !inode.is_owned_by(caller) {
            let both_now = (atime, mtime) == (SetTime::Now, SetTime::Now);
            if !both_now {
                return Err(Errno::EPERM);
            }
            inode.permits(caller, Want::WRITE)?;
        }
        let now = env.wall_clock();
        let apply = |time: SetTime, old: Nanos| match time {
            SetTime::Keep => old,
            SetTime::Now => now,
            SetTime::At(time) => time,
        };
        inode.atime = apply(atime, inode.atime);
        inode.mtime = apply(mtime, inode.mtime);
        inode.ctime = now;
        // One time alone is as if the bytes had been read or written.
        let what = match (atime, mtime) {
            (SetTime::Keep, SetTime::Keep) => return Ok(()),
            (_, SetTime::Keep) => inotify::IN_ACCESS,
            (SetTime::Keep, _) => inotify::IN_MODIFY,
            _ => inotify::IN_ATTRIB,
        };
        self.target_event(env, caller, target, what);
        Ok(())
    }

    /// `truncate` and `ftruncate`.
    ///
    /// # Errors
    /// As those, and [`Stop::Page`](crate::Stop::Page).
    pub fn truncate(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        target: Target<'_>,
        len: i64,
    ) -> Io<()> {
        let len = u64::try_from(len).map_err(|_| Errno::EINVAL)?;
        let id = if let Target::File(file) = target {
            let file = self.file(file)?;
            match file.handle {
                Handle::Place => return Err(Errno::EBADF.into()),
                Handle::Regular(id) if file.writable => id,
                _ => return Err(Errno::EINVAL.into()),
            }
        } else {
            match self.target(env.proc(), caller, target)? {
                Node::Inode(id) => id,
                Node::Proc(node) if proc::is_dir(node) => return Err(Errno::EISDIR.into()),
                Node::Proc(_) => return Err(Errno::EPERM.into()),
            }
        };
        let inode = self.tree.get(id)?;
        match inode.kind {
            Kind::Regular(_) => {}
            Kind::Directory(_) => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
        if !matches!(target, Target::File(_)) {
            inode.permits(caller, Want::WRITE)?;
            if inode.executions > 0 {
                return Err(Errno::ETXTBSY.into());
            }
        }
        self.set_len(env, caller, id, len)?;
        self.target_event(env, caller, target, inotify::IN_MODIFY);
        Ok(())
    }

    fn set_len(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        id: InodeId,
        len: u64,
    ) -> Io<()> {
        if len > FILE_SIZE_MAX {
            return Err(Errno::EFBIG.into());
        }
        let inode = self.tree.get_mut(id)?;
        let object = inode.object(env.store())?;
        let old = env.store().len(object).map_err(store_errno)?;
        if let Some(seals) = inode.seals {
            let sealed = if len < old { fcntl::F_SEAL_SHRINK } else { fcntl::F_SEAL_GROW };
            if len != old && seals & sealed != 0 {
                return Err(Errno::EPERM.into());
            }
        }
        env.store().truncate(object, len).map_err(store_stop)?;
        inode.modified(env.wall_clock());
        drop_privileges(&mut inode.mode, caller);
        Ok(())
    }

    /// `fallocate` of mode 0: the file is at least `offset + len` bytes long after it. Pages come
    /// when they are touched, as everywhere. `keep_size` (`FALLOC_FL_KEEP_SIZE`) leaves the length.
    ///
    /// # Errors
    /// As `fallocate`, and [`Stop::Page`](crate::Stop::Page).
    pub fn allocate(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        file: FileId,
        (offset, len): (i64, i64),
        keep_size: bool,
    ) -> Io<()> {
        let opened = self.file(file)?;
        opened.check_writable()?;
        let id = match opened.handle {
            Handle::Regular(id) => id,
            Handle::Pipe(_) => return Err(Errno::ESPIPE.into()),
            _ => return Err(Errno::ENODEV.into()),
        };
        let (true, true) = (offset >= 0, len > 0) else { return Err(Errno::EINVAL.into()) };
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)? as u64;
        let old = self.tree.get(id)?.len(env.store());
        if keep_size || end <= old {
            return Ok(());
        }
        self.set_len(env, caller, id, end)
    }

    /// `readlink`.
    ///
    /// # Errors
    /// As `readlinkat`; an open file is one opened with `O_PATH`.
    pub fn read_link(
        &self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        target: Target<'_>,
    ) -> Result<Vec<u8>, Errno> {
        let of_file = matches!(target, Target::File(_));
        let target = self.target(env.proc(), caller, target)?;
        let link = match target {
            Node::Inode(id) => match &self.tree.get(id)?.kind {
                Kind::Symlink(target) => Some(Link::Text(target.to_vec())),
                _ => None,
            },
            Node::Proc(node) => proc::link(node, env.proc(), caller)?,
        };
        match link {
            None if of_file => Err(Errno::ENOENT),
            None => Err(Errno::EINVAL),
            Some(Link::Text(text)) => Ok(text),
            Some(Link::Node(node)) => Ok(self.path_of_node(node)),
            Some(Link::File(file)) => Ok(self.path_of(file)),
        }
    }

    /// `statfs` and `fstatfs`. `free` is how many of all `frames` of memory are free.
    ///
    /// # Errors
    /// As `statfs`.
    pub fn statfs(
        &self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        target: Target<'_>,
    ) -> Result<Statfs, Errno> {
        let node = self.target(env.proc(), caller, target)?;
        let (fs, inode) = match node {
            Node::Inode(id) => (self.tree.get(id)?.fs, Some(id)),
            Node::Proc(_) => (mount::PROC_FS, None),
        };
        let mount = self.mounts.get(fs).ok_or(Errno::EIO)?;
        let mut statfs =
            Statfs { kind: mount.magic, bsize: 4096, fsid: device_of(fs), ..Statfs::default() };
        if inode.is_some() && mount.magic == mount::TMPFS_MAGIC {
            let memory = env.proc().system().memory;
            statfs.blocks = memory.total_pages;
            statfs.bfree = memory.free_pages;
            statfs.files = self.tree.limits.inodes as u64;
            statfs.ffree = statfs.files.saturating_sub(self.tree.len() as u64);
        }
        Ok(statfs)
    }

    /// The device number and inode number of an open file, as `/proc/PID/maps` shows them.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn identity(&self, file: FileId) -> Result<(u64, u64), Errno> {
        Ok(match self.file(file)?.node {
            Node::Inode(id) => (device_of(self.tree.get(id)?.fs), id.number()),
            Node::Proc(node) => (device_of(mount::PROC_FS), proc::number(node)),
        })
    }

    /// `fcntl(F_GET_SEALS)`.
    ///
    /// # Errors
    /// `EINVAL` for what is no memfd.
    pub fn seals(&self, file: FileId) -> Result<u32, Errno> {
        let Handle::Regular(id) = self.file(file)?.handle else { return Err(Errno::EINVAL) };
        self.tree.get(id)?.seals.ok_or(Errno::EINVAL)
    }

    /// `fcntl(F_ADD_SEALS)`.
    ///
    /// # Errors
    /// `EINVAL` for what is no memfd and for unknown seals, `EPERM` if sealed against seals or not
    /// open for writing.
    pub fn add_seals(&mut self, file: FileId, seals: u32) -> Result<(), Errno> {
        let opened = self.file(file)?;
        let writable = opened.writable;
        let Handle::Regular(id) = opened.handle else { return Err(Errno::EINVAL) };
        let known =
            fcntl::F_SEAL_SEAL | fcntl::F_SEAL_SHRINK | fcntl::F_SEAL_GROW | fcntl::F_SEAL_WRITE;
        if !writable {
            return Err(Errno::EPERM);
        }
        if seals & !known != 0 {
            return Err(Errno::EINVAL);
        }
        let old = self.tree.get_mut(id)?.seals.as_mut().ok_or(Errno::EINVAL)?;
        if *old & fcntl::F_SEAL_SEAL != 0 {
            return Err(Errno::EPERM);
        }
        *old |= seals;
        Ok(())
    }
}
