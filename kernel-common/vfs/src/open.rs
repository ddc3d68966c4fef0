//! Opening files.

use maize_abi::Errno;
use maize_abi::file::{access, inotify, o, s};

use crate::Vfs;
use crate::caller::{At, Caller, Surroundings, store_errno};
use crate::device::{DeviceKind, device_kind};
use crate::file::{File, Handle, NamedPlace, PipeEnd};
use crate::id::{FileId, InodeId, PipeId, TerminalId};
use crate::inode::{Content, Inode, Kind, Want};
use crate::node::Node;
use crate::outcome::{Io, Stop, WaitKey};
use crate::path::{Follow, Found, Last, Walk};
use crate::pipe::Pipe;
use crate::proc;

/// How a file is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct OpenHow {
    /// [`o`] flags; `O_CLOEXEC` has no meaning here.
    pub flags: u32,
    /// `O_DIRECTORY`.
    pub directory: bool,
    /// `O_NOFOLLOW`.
    pub nofollow: bool,
    /// Flags that only `F_GETFL` shows again.
    pub shown: u32,
    /// Permissions of a file that is made, before the file mode mask.
    pub mode: u32,
}

impl OpenHow {
    /// Opens an existing file for reading.
    pub const READ: OpenHow =
        OpenHow { flags: o::O_RDONLY, directory: false, nofollow: false, shown: 0, mode: 0 };

    pub(crate) const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// For reading and for writing. Access mode 3 allows neither, only `ioctl`.
    pub(crate) const fn access(&self) -> (bool, bool) {
        match self.flags & o::O_ACCMODE {
            o::O_RDONLY => (true, false),
            o::O_WRONLY => (false, true),
            o::O_RDWR => (true, true),
            _ => (false, false),
        }
    }

    fn want(&self) -> Want {
        let (read, write) = self.access();
        let odd = !read && !write;
        let mut bits = 0;
        if read || odd {
            bits |= access::R_OK;
        }
        if write || odd || self.has(o::O_TRUNC) {
            bits |= access::W_OK;
        }
        Want(bits)
    }
}

/// Flags that stay with the file.
const KEPT: u32 = o::O_APPEND | o::O_NONBLOCK | o::O_SYNC | o::O_ASYNC | o::O_NOATIME | o::O_PATH;

impl Vfs {
    /// Opens a file. The result may have to wait for the other end of a named pipe: see
    /// [`Self::finish_open`].
    ///
    /// # Errors
    /// As `openat`.
    pub fn open(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        at: At,
        path: &[u8],
        how: OpenHow,
    ) -> Result<FileId, Errno> {
        let file = self.open_quietly(env, caller, (at, path), how)?;
        if !how.has(o::O_PATH) {
            self.file_event(file, inotify::IN_OPEN);
        }
        Ok(file)
    }

    /// As [`Self::open`], and nobody is told that it was opened.
    fn open_quietly(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        (at, path): (At, &[u8]),
        how: OpenHow,
    ) -> Result<FileId, Errno> {
        self.check_file_room(1)?;
        if how.has(o::O_PATH) {
            return self.open_place(env, caller, at, path, how);
        }
        if how.has(o::O_TMPFILE_BIT) {
            return self.open_nameless(env, caller, at, path, how);
        }
        if how.has(o::O_CREAT) {
            return self.open_or_create(env, caller, at, path, how);
        }
        let follow = if how.nofollow { Follow::No } else { Follow::Yes };
        let found = Walk::new(self, env.proc(), caller).resolve(at, path, follow)?;
        self.open_found(env, caller, &found, how)
    }

    fn open_place(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        at: At,
        path: &[u8],
        how: OpenHow,
    ) -> Result<FileId, Errno> {
        let follow = if how.nofollow { Follow::No } else { Follow::Yes };
        let found = Walk::new(self, env.proc(), caller).resolve(at, path, follow)?;
        let node = found.node.ok_or(Errno::ENOENT)?;
        if how.directory && !self.is_dir(node) {
            return Err(Errno::ENOTDIR);
        }
        self.add_file(File {
            handle: Handle::Place,
            node,
            place: self.place_of(&found)?,
            readable: false,
            writable: false,
            status: o::O_PATH | how.shown,
            position: 0,
            holders: 1,
        })
    }

    /// `O_TMPFILE`: a regular file without a name.
    fn open_nameless(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        at: At,
        path: &[u8],
        how: OpenHow,
    ) -> Result<FileId, Errno> {
        if !how.access().1 || how.has(o::O_CREAT) {
            return Err(Errno::EINVAL);
        }
        let dir = Walk::new(self, env.proc(), caller).existing(at, path, Follow::Yes)?;
        if !self.is_dir(dir) {
            return Err(Errno::ENOTDIR);
        }
        let Node::Inode(dir) = dir else { return Err(Errno::EOPNOTSUPP) };
        self.tree.get(dir)?.permits(caller, Want::CHANGE)?;
        let id = self.new_regular(env, caller, dir, how.mode)?;
        let opened = self.open_node(env, caller, Node::Inode(id), how);
        self.tree.free_unused(env.store(), id);
        opened
    }

    fn open_or_create(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        at: At,
        path: &[u8],
        how: OpenHow,
    ) -> Result<FileId, Errno> {
        if how.directory {
            return Err(Errno::EINVAL);
        }
        let exclusive = how.has(o::O_EXCL);
        let mut walk = Walk::new(self, env.proc(), caller);
        let parent = walk.parent(at, path)?;
        match parent.last {
            Last::Name(_) if parent.slash => return Err(Errno::EISDIR),
            Last::Name(_) => {}
            _ => return Err(if exclusive { Errno::EEXIST } else { Errno::EISDIR }),
        }
        let follow = if how.nofollow || exclusive { Follow::No } else { Follow::Yes };
        let found = walk.finish(parent, follow)?;
        if found.node.is_some() {
            if exclusive {
                return Err(Errno::EEXIST);
            }
            return self.open_found(env, caller, &found, how);
        }
        let Last::Name(name) = &found.parent.last else { return Err(Errno::ENOENT) };
        if found.parent.slash {
            return Err(Errno::EISDIR);
        }
        let dir = match found.parent.dir {
            Node::Inode(dir) => dir,
            Node::Proc(_) => return Err(Errno::ENOENT),
        };
        self.check_create(caller, dir, name)?;
        let now = env.wall_clock();
        let id = self.new_regular(env, caller, dir, how.mode)?;
        if let Err(errno) = self.tree.link(dir, name, id, now) {
            self.tree.free_unused(env.store(), id);
            return Err(errno);
        }
        // Whoever makes a file may open it as it likes, whatever the permissions are to be.
        let how = OpenHow { flags: how.flags & !o::O_TRUNC, ..how };
        let file = self.open_node(env, caller, Node::Inode(id), how)?;
        self.file_mut(file)?.place = Some((dir, name.as_slice().into()));
        Ok(file)
    }

    /// Opens what a path was found to lead to.
    fn open_found(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        found: &Found,
        how: OpenHow,
    ) -> Result<FileId, Errno> {
        let node = found.node.ok_or(Errno::ENOENT)?;
        let is_dir = self.is_dir(node);
        if is_dir && how.has(o::O_CREAT) {
            return Err(Errno::EISDIR);
        }
        if !is_dir && how.directory {
            return Err(Errno::ENOTDIR);
        }
        if let Node::Inode(id) = node
            && let Kind::Symlink(_) = self.tree.get(id)?.kind
        {
            return Err(Errno::ELOOP);
        }
        if matches!(node, Node::Proc(node) if proc::is_link(node)) {
            return Err(Errno::ELOOP);
        }
        if is_dir && (how.access().1 || how.want().0 & access::W_OK != 0) {
            return Err(Errno::EISDIR);
        }
        self.permits(node, env.proc(), caller, how.want())?;
        if let Node::Inode(id) = node {
            let inode = self.tree.get(id)?;
            if how.has(o::O_NOATIME) && !inode.is_owned_by(caller) {
                return Err(Errno::EPERM);
            }
            if how.want().0 & access::W_OK != 0 && inode.executions > 0 {
                return Err(Errno::ETXTBSY);
            }
        }
        let file = self.open_node(env, caller, node, how)?;
        self.file_mut(file)?.place = self.place_of(found)?;
        if how.has(o::O_TRUNC)
            && let Err(errno) = self.truncate_open(env, file)
        {
            self.release(env, file);
            return Err(errno);
        }
        Ok(file)
    }

    fn truncate_open(&mut self, env: &mut dyn Surroundings, file: FileId) -> Result<(), Errno> {
        let Handle::Regular(id) = self.file(file)?.handle else { return Ok(()) };
        let now = env.wall_clock();
        let inode = self.tree.get_mut(id)?;
        let object = inode.object(env.store())?;
        env.store().truncate(object, 0).map_err(store_errno)?;
        inode.modified(now);
        self.file_event(file, inotify::IN_MODIFY);
        Ok(())
    }

    /// The name a file was found by, for files that do not know their own. A link that led
    /// straight to an open file passes on that file's.
    fn place_of(&self, found: &Found) -> Result<Option<NamedPlace>, Errno> {
        if let Some(file) = found.file {
            return Ok(self.file(file)?.place.clone());
        }
        Ok(match (found.parent.dir, &found.parent.last) {
            (Node::Inode(dir), Last::Name(name)) => Some((dir, name.as_slice().into())),
            _ => None,
        })
    }

    /// Whether the caller may make `name` in `dir`.
    pub(crate) fn check_create(
        &self,
        caller: &Caller<'_>,
        dir: InodeId,
        name: &[u8],
    ) -> Result<(), Errno> {
        let directory = self.tree.get(dir)?;
        if directory.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        directory.permits(caller, Want::CHANGE)?;
        self.tree.check_room()?;
        self.tree.check_name_room(name)
    }

    /// Adds an inode for a caller, to be linked into `dir` or never.
    pub(crate) fn new_inode(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        dir: InodeId,
        kind: Kind,
        mode: u32,
    ) -> Result<InodeId, Errno> {
        let parent = self.tree.get(dir)?;
        let (fs, mut gid, mut mode) = (parent.fs, caller.gid, mode);
        if parent.mode & s::S_ISGID != 0 {
            gid = parent.gid;
            if mode & s::S_IFMT == s::S_IFDIR {
                mode |= s::S_ISGID;
            }
        }
        let mut inode = Inode::new(kind, mode, (caller.uid, gid), env.wall_clock());
        inode.fs = fs;
        self.tree.insert(inode)
    }

    fn new_regular(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        dir: InodeId,
        mode: u32,
    ) -> Result<InodeId, Errno> {
        let object = env.store().create(0).map_err(store_errno)?;
        let mode = s::S_IFREG | mode & s::PERMISSIONS & !caller.view.umask;
        let kind = Kind::Regular(Content::Object(object));
        let made = self.new_inode(env, caller, dir, kind, mode);
        if made.is_err() {
            env.store().release(object);
        }
        made
    }

    /// Opens a node without looking at its permissions.
    pub(crate) fn open_node(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        node: Node,
        how: OpenHow,
    ) -> Result<FileId, Errno> {
        let (readable, writable) = how.access();
        let handle = match node {
            Node::Proc(node) if proc::is_dir(node) => Handle::Directory,
            Node::Proc(_) => Handle::Text(None),
            Node::Inode(id) => match self.tree.get_mut(id)?.kind {
                Kind::Regular(_) => {
                    // Made now, so that later uses cannot fail for it.
                    self.tree.get_mut(id)?.object(env.store())?;
                    Handle::Regular(id)
                }
                Kind::Directory(_) => Handle::Directory,
                Kind::Symlink(_) => return Err(Errno::ELOOP),
                Kind::Fifo(_) => self.open_fifo(id, how)?,
                Kind::Device(..) => self.open_device(env, caller, id, how)?,
                Kind::Stream(stream) => Handle::Stream(stream),
                Kind::Socket | Kind::Anonymous => return Err(Errno::ENXIO),
            },
        };
        self.add_file(File {
            handle,
            node,
            place: None,
            readable,
            writable,
            status: how.flags & KEPT | how.shown,
            position: 0,
            holders: 1,
        })
    }

    fn open_device(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        id: InodeId,
        how: OpenHow,
    ) -> Result<Handle, Errno> {
        let inode = self.tree.get(id)?;
        let Kind::Device(major, minor) = inode.kind else { return Err(Errno::ENXIO) };
        if inode.mode & s::S_IFMT != s::S_IFCHR {
            return Err(Errno::ENXIO);
        }
        match device_kind(major, minor).ok_or(Errno::ENXIO)? {
            DeviceKind::Memory(device) => Ok(Handle::Device(device)),
            DeviceKind::Console => Ok(Handle::Terminal(TerminalId::CONSOLE)),
            DeviceKind::ControllingTerminal => {
                let terminal = self.terminals.controlling(caller.job.session);
                terminal.map(Handle::Terminal).ok_or(Errno::ENXIO)
            }
            DeviceKind::Multiplexer => self.open_master(env, caller),
            DeviceKind::Pseudo(number) => {
                let controls = how.access().0 && !how.has(o::O_NOCTTY);
                self.open_pseudo(caller, number, controls)
            }
        }
    }

    /// A new pipe, counted.
    ///
    /// # Errors
    /// `ENFILE` if pipes take too much memory.
    pub(crate) fn new_pipe(&mut self) -> Result<PipeId, Errno> {
        let pipe = Pipe::new();
        if self.pipe_bytes + pipe.capacity() > self.tree.limits.pipe_bytes {
            return Err(Errno::ENFILE);
        }
        self.pipe_bytes += pipe.capacity();
        let id = PipeId(self.next_pipe);
        self.next_pipe += 1;
        self.pipes.insert(id, pipe);
        Ok(id)
    }

    fn open_fifo(&mut self, id: InodeId, how: OpenHow) -> Result<Handle, Errno> {
        let inode = self.tree.get(id)?;
        let Kind::Fifo(existing) = inode.kind else { return Err(Errno::EINVAL) };
        // Who opens the end of a pipe again, through /proc, waits for nobody.
        let named = inode.fs != crate::mount::PIPE_FS;
        let (readers, writers) =
            existing.and_then(|p| self.pipes.get(&p)).map_or((0, 0), |p| (p.readers, p.writers));
        let nonblocking = how.has(o::O_NONBLOCK);
        let waits = match how.access() {
            (true, false) => named && writers == 0 && !nonblocking,
            (false, true) if named && readers == 0 && nonblocking => return Err(Errno::ENXIO),
            (false, true) => named && readers == 0,
            (true, true) => false,
            (false, false) => return Err(Errno::EINVAL),
        };
        let pipe = match existing {
            Some(pipe) => pipe,
            None => {
                let pipe = self.new_pipe()?;
                self.tree.get_mut(id)?.kind = Kind::Fifo(Some(pipe));
                pipe
            }
        };
        let opens_before =
            self.pipes.get(&pipe).map_or((0, 0), |p| (p.reader_opens, p.writer_opens));
        Ok(Handle::Pipe(PipeEnd { pipe, opens_before, waits, had_writer: !named || writers > 0 }))
    }

    /// Whether an open is complete: that of a named pipe waits until the other end is opened. A
    /// caller that gives up releases the file.
    ///
    /// # Errors
    /// [`Stop::Wait`]; `EBADF`.
    pub fn finish_open(&mut self, file: FileId) -> Io<()> {
        let opened = self.file(file)?;
        let Handle::Pipe(end) = opened.handle else { return Ok(()) };
        if !end.waits {
            return Ok(());
        }
        let pipe = self.pipes.get(&end.pipe).ok_or(Errno::EBADF)?;
        // A writer that came and went has been there: compare counts of opens, not of ends.
        let came = if opened.readable {
            pipe.writer_opens != end.opens_before.1
        } else {
            pipe.reader_opens != end.opens_before.0
        };
        if !came {
            return Err(Stop::wait(WaitKey::PipeOpened(end.pipe)));
        }
        if let Handle::Pipe(end) = &mut self.file_mut(file)?.handle {
            end.waits = false;
        }
        Ok(())
    }
}
