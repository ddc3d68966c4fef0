//! Files without a name: pipes, event counters, timers, memfds.

use maize_abi::Errno;
use maize_abi::file::{fcntl, o, s};

use crate::Vfs;
use crate::caller::{Caller, Surroundings, store_errno};
use crate::counter::{Counter, Counts};
use crate::file::{File, Handle, PipeEnd};
use crate::id::{CounterId, FileId, InodeId};
use crate::inode::{Content, Inode, Kind};
use crate::mount;
use crate::node::Node;
use crate::pipe::Pipe;

impl Vfs {
    /// An inode that no path leads to, and that is gone with its last use.
    pub(crate) fn nameless(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        kind: Kind,
        (fs, mode): (usize, u32),
    ) -> Result<InodeId, Errno> {
        let ids = (caller.uid, caller.gid);
        let mut inode = Inode::new(kind, mode, ids, env.wall_clock());
        inode.fs = fs;
        self.tree.insert(inode)
    }

    /// An open file, read and written, of what only its handle leads to. `status` is `O_NONBLOCK` or
    /// nothing.
    ///
    /// # Errors
    /// `ENFILE`.
    pub(crate) fn add_nameless(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        handle: Handle,
        status: u32,
    ) -> Result<FileId, Errno> {
        self.check_file_room(1)?;
        let (kind, place) = match handle {
            Handle::Socket(_) => (Kind::Socket, (mount::SOCKET_FS, s::S_IFSOCK | 0o777)),
            _ => (Kind::Anonymous, (mount::ANON_FS, 0o600)),
        };
        let id = self.nameless(env, caller, kind, place).map_err(|_| Errno::ENFILE)?;
        self.add_file(File {
            handle,
            node: Node::Inode(id),
            place: None,
            readable: true,
            writable: true,
            status: status & o::O_NONBLOCK,
            position: 0,
            holders: 1,
        })
    }

    /// `pipe2`: the read end and the write end. `status` is `O_NONBLOCK` or nothing.
    ///
    /// # Errors
    /// `ENFILE`.
    pub fn make_pipe(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        status: u32,
    ) -> Result<(FileId, FileId), Errno> {
        self.check_file_room(2)?;
        self.tree.check_room().map_err(|_| Errno::ENFILE)?;
        let pipe = self.new_pipe()?;
        let place = (mount::PIPE_FS, s::S_IFIFO | 0o600);
        let id = self.nameless(env, caller, Kind::Fifo(Some(pipe)), place)?;
        let end = PipeEnd { pipe, opens_before: (0, 0), waits: false, had_writer: true };
        let file = |readable| File {
            handle: Handle::Pipe(end),
            node: Node::Inode(id),
            place: None,
            readable,
            writable: !readable,
            status: status & o::O_NONBLOCK,
            position: 0,
            holders: 1,
        };
        Ok((self.add_file(file(true))?, self.add_file(file(false))?))
    }

    /// `F_GETPIPE_SZ`.
    ///
    /// # Errors
    /// `EBADF` for what is no pipe.
    pub fn pipe_capacity(&self, file: FileId) -> Result<usize, Errno> {
        match self.file(file)?.handle {
            Handle::Pipe(end) => self.pipes.get(&end.pipe).map(Pipe::capacity).ok_or(Errno::EIO),
            _ => Err(Errno::EBADF),
        }
    }

    /// `F_SETPIPE_SZ`; returns the new capacity.
    ///
    /// # Errors
    /// `EBADF` for what is no pipe, `EPERM`, `EBUSY`, `EINVAL`.
    pub fn set_pipe_capacity(&mut self, file: FileId, capacity: u64) -> Result<usize, Errno> {
        let Handle::Pipe(end) = self.file(file)?.handle else { return Err(Errno::EBADF) };
        let room = self.tree.limits.pipe_bytes.saturating_sub(self.pipe_bytes) as u64;
        let pipe = self.pipes.get_mut(&end.pipe).ok_or(Errno::EIO)?;
        let old = pipe.capacity();
        if capacity > old as u64 + room {
            return Err(Errno::EPERM);
        }
        let new = pipe.set_capacity(capacity)?;
        self.pipe_bytes = self.pipe_bytes - old + new;
        self.wakes.wake(crate::WaitKey::PipeWritable(end.pipe));
        Ok(new)
    }

    /// `eventfd2`. `one_by_one` is `EFD_SEMAPHORE`.
    ///
    /// # Errors
    /// `ENFILE`.
    pub fn make_counter(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        (value, one_by_one): (u32, bool),
        status: u32,
    ) -> Result<FileId, Errno> {
        let counts = if one_by_one { Counts::OneByOne } else { Counts::Writes };
        self.add_counter(env, caller, Counter::new(value.into(), counts), status)
    }

    /// `timerfd_create`: a counter of expiries, which the caller tells of with
    /// [`Self::expire_timer`]. `wall` is whether it follows the wall clock, which
    /// [`Self::timer_of`] says again.
    ///
    /// # Errors
    /// `ENFILE`.
    pub fn make_timer(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        wall: bool,
        status: u32,
    ) -> Result<FileId, Errno> {
        self.add_counter(env, caller, Counter::new(0, Counts::Expiries { wall }), status)
    }

    fn add_counter(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        counter: Counter,
        status: u32,
    ) -> Result<FileId, Errno> {
        let id = CounterId(self.next_counter);
        let file = self.add_nameless(env, caller, Handle::Counter(id), status)?;
        self.next_counter += 1;
        self.counters.insert(id, counter);
        Ok(file)
    }

    /// The timer that a file is, and whether it follows the wall clock.
    ///
    /// # Errors
    /// `EBADF`; `EINVAL` for what is no timer.
    pub fn timer_of(&self, file: FileId) -> Result<(CounterId, bool), Errno> {
        let Handle::Counter(id) = self.file(file)?.handle else { return Err(Errno::EINVAL) };
        let counter = self.counters.get(&id).filter(|counter| counter.is_timer());
        counter.map(|counter| (id, counter.follows_wall_clock())).ok_or(Errno::EINVAL)
    }

    /// Whether a timer is still open.
    #[must_use]
    pub fn has_timer(&self, id: CounterId) -> bool {
        self.counters.contains_key(&id)
    }

    /// A timer expired, that many times.
    pub fn expire_timer(&mut self, id: CounterId, times: u64) {
        if let Some(counter) = self.counters.get_mut(&id) {
            counter.expire(times);
            self.wakes.wake(crate::WaitKey::CounterReadable(id));
        }
    }

    /// A timer starts anew: what it has counted is forgotten.
    pub fn reset_timer(&mut self, id: CounterId) {
        if let Some(counter) = self.counters.get_mut(&id) {
            counter.reset();
        }
    }

    /// `memfd_create`. The name is only shown.
    ///
    /// # Errors
    /// `ENFILE`, `ENOSPC`.
    pub fn make_memfd(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        name: &[u8],
        allow_sealing: bool,
    ) -> Result<FileId, Errno> {
        self.check_file_room(1)?;
        self.tree.check_room()?;
        let object = env.store().create(0).map_err(store_errno)?;
        let kind = Kind::Regular(Content::Object(object));
        let id = self.nameless(env, caller, kind, (mount::ANON_FS, s::S_IFREG | 0o777))?;
        let seals = if allow_sealing { 0 } else { fcntl::F_SEAL_SEAL };
        self.tree.get_mut(id)?.seals = Some(seals);
        let Node::Inode(root) = self.root else { return Err(Errno::EIO) };
        let shown = [b"memfd:", name].concat();
        self.add_file(File {
            handle: Handle::Regular(id),
            node: Node::Inode(id),
            place: Some((root, shown.into())),
            readable: true,
            writable: true,
            status: 0,
            position: 0,
            holders: 1,
        })
    }
}
