//! Open file descriptions: what `open` makes, and `dup` and `fork` share.

use alloc::boxed::Box;

use maize_abi::Errno;
use maize_abi::file::{inotify, o};
use maize_abi::signal::SignalSet;

use crate::Vfs;
use crate::caller::Surroundings;
use crate::device::Device;
use crate::id::{CounterId, FileId, InodeId, InterestId, PipeId, SocketId, TerminalId, WatchSetId};
use crate::inode::Kind;
use crate::node::Node;
use crate::outcome::WaitKey;
use crate::proc;
use crate::process::Fate;
use crate::stream::HostStream;

/// What reads and writes of a file go to.
#[derive(Debug)]
pub(crate) enum Handle {
    /// A regular file.
    Regular(InodeId),
    /// A directory, kept or in `/proc`.
    Directory,
    /// A file of `/proc` and its text as it was when reading last began at its start, or the piece
    /// of it that was read last.
    Text(Option<proc::Text>),
    Pipe(PipeEnd),
    Device(Device),
    Terminal(TerminalId),
    /// The other side of a pseudo-terminal.
    Master(TerminalId),
    Stream(HostStream),
    Counter(CounterId),
    Interests(InterestId),
    Socket(SocketId),
    /// What happens to other files (`inotify`).
    Watches(WatchSetId),
    /// Signals of whoever reads it (`signalfd`).
    Signals(SignalSet),
    /// A process (`pidfd`), by its id.
    Process(u32, Fate),
    /// `O_PATH`: a place, not to be read or written.
    Place,
}

/// The ends of a pipe that a file has open: those its access mode says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PipeEnd {
    pub(crate) pipe: PipeId,
    /// How often the pipe had been opened for reading and for writing before.
    pub(crate) opens_before: (u64, u64),
    /// Whether the open waits for the other end.
    pub(crate) waits: bool,
    /// Whether there was a writer when it was opened.
    pub(crate) had_writer: bool,
}

/// A name in a directory.
pub(crate) type NamedPlace = (InodeId, Box<[u8]>);

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) handle: Handle,
    pub(crate) node: Node,
    /// The name it was opened by, for files that do not know their own.
    pub(crate) place: Option<NamedPlace>,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// What `F_GETFL` shows beside the access mode.
    pub(crate) status: u32,
    pub(crate) position: u64,
    /// Descriptors and others that hold it.
    pub(crate) holders: u32,
}

/// Status flags that `F_SETFL` changes.
const SETTABLE: u32 = o::O_APPEND | o::O_NONBLOCK | o::O_NOATIME | o::O_ASYNC;

impl File {
    pub(crate) const fn is_nonblocking(&self) -> bool {
        self.status & o::O_NONBLOCK != 0
    }

    /// # Errors
    /// `EBADF` if it was not opened for reading.
    pub(crate) const fn check_readable(&self) -> Result<(), Errno> {
        if self.readable { Ok(()) } else { Err(Errno::EBADF) }
    }

    /// # Errors
    /// `EBADF` if it was not opened for writing.
    pub(crate) const fn check_writable(&self) -> Result<(), Errno> {
        if self.writable { Ok(()) } else { Err(Errno::EBADF) }
    }
}

impl Vfs {
    /// # Errors
    /// `EBADF` if there is no such file: a name that outlived it.
    pub(crate) fn file(&self, id: FileId) -> Result<&File, Errno> {
        self.files.get(&id).ok_or(Errno::EBADF)
    }

    pub(crate) fn file_mut(&mut self, id: FileId) -> Result<&mut File, Errno> {
        self.files.get_mut(&id).ok_or(Errno::EBADF)
    }

    /// # Errors
    /// `ENFILE` if too many files are open.
    pub(crate) fn check_file_room(&self, more: usize) -> Result<(), Errno> {
        let fits = self.files.len() + more <= self.tree.limits.open_files;
        if fits { Ok(()) } else { Err(Errno::ENFILE) }
    }

    /// Adds a file with one holder. Its inode is counted as used.
    ///
    /// # Errors
    /// `ENFILE`.
    pub(crate) fn add_file(&mut self, file: File) -> Result<FileId, Errno> {
        self.check_file_room(1)?;
        if let Node::Inode(id) = file.node {
            self.tree.hold(id);
            if let (true, Handle::Regular(_)) = (file.writable, &file.handle) {
                self.tree.get_mut(id)?.writers += 1;
            }
        }
        if let Handle::Pipe(end) = &file.handle
            && let Some(pipe) = self.pipes.get_mut(&end.pipe)
        {
            if file.readable {
                pipe.readers += 1;
                pipe.reader_opens += 1;
            }
            if file.writable {
                pipe.writers += 1;
                pipe.writer_opens += 1;
            }
            self.wakes.wake(WaitKey::PipeOpened(end.pipe));
        }
        if let Handle::Terminal(id) = file.handle {
            self.terminals.opened(id);
        }
        let id = FileId(self.next_file);
        self.next_file += 1;
        self.files.insert(id, file);
        Ok(id)
    }

    /// Counts another holder of a file (`dup`, `fork`).
    ///
    /// # Errors
    /// `EBADF`.
    pub fn hold(&mut self, file: FileId) -> Result<(), Errno> {
        self.file_mut(file)?.holders += 1;
        Ok(())
    }

    /// Drops a holder; the last one closes the file.
    pub fn release(&mut self, env: &mut dyn Surroundings, id: FileId) {
        let may_be_lost = self.sockets_under_way > 0 && self.socket_of(id).is_ok();
        if let Some(socket) = self.drop_holder(env, id) {
            self.close_socket(env, socket);
        }
        if may_be_lost {
            self.close_lost_sockets(env);
        }
    }

    /// Drops a holder. If it was the last of a socket's file, the socket is to be closed by the caller:
    /// the files that are under way to it may be sockets too, however many deep.
    pub(crate) fn drop_holder(
        &mut self,
        env: &mut dyn Surroundings,
        id: FileId,
    ) -> Option<SocketId> {
        let file = self.files.get_mut(&id)?;
        file.holders = file.holders.saturating_sub(1);
        if file.holders > 0 {
            return None;
        }
        let file = self.files.remove(&id)?;
        self.forget_interest(id);
        self.close(env, id, &file);
        match file.handle {
            Handle::Socket(socket) => Some(socket),
            _ => None,
        }
    }

    fn close(&mut self, env: &mut dyn Surroundings, id: FileId, file: &File) {
        if !matches!(file.handle, Handle::Place) {
            let closed =
                if file.writable { inotify::IN_CLOSE_WRITE } else { inotify::IN_CLOSE_NOWRITE };
            self.tell_of(file.node, file.place.as_ref(), closed);
        }
        match file.handle {
            Handle::Pipe(end) => self.close_pipe_end(end.pipe, file),
            Handle::Terminal(id) => self.close_terminal(id),
            Handle::Master(id) => self.close_master(env, id),
            Handle::Counter(counter) => {
                self.counters.remove(&counter);
                // Whoever counts for it learns that it is gone.
                self.wakes.wake(WaitKey::CounterReadable(counter));
            }
            Handle::Interests(set) => {
                self.interests.remove(&set);
            }
            Handle::Watches(set) => self.tree.watches.remove(set),
            Handle::Signals(_) => self.signal_files -= 1,
            Handle::Process(..) => self.process_files -= 1,
            _ => {}
        }
        let Node::Inode(inode) = file.node else { return };
        self.unlock_file(inode, id);
        if let (true, Handle::Regular(_)) = (file.writable, &file.handle)
            && let Ok(inode) = self.tree.get_mut(inode)
        {
            inode.writers = inode.writers.saturating_sub(1);
        }
        self.tree.release(env.store(), inode);
    }

    fn close_pipe_end(&mut self, id: PipeId, file: &File) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        pipe.readers -= u32::from(file.readable);
        pipe.writers -= u32::from(file.writable);
        let unused = pipe.readers == 0 && pipe.writers == 0;
        if unused {
            self.pipe_bytes = self.pipe_bytes.saturating_sub(pipe.capacity());
            self.pipes.remove(&id);
            if let Node::Inode(inode) = file.node
                && let Ok(inode) = self.tree.get_mut(inode)
            {
                inode.kind = Kind::Fifo(None);
            }
        }
        self.wakes.wake(WaitKey::PipeReadable(id));
        self.wakes.wake(WaitKey::PipeWritable(id));
    }

    /// What `F_GETFL` shows.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn status(&self, file: FileId) -> Result<u32, Errno> {
        let file = self.file(file)?;
        let access = match (file.readable, file.writable) {
            (true, true) => o::O_RDWR,
            (false, true) => o::O_WRONLY,
            _ => o::O_RDONLY,
        };
        Ok(file.status | access)
    }

    /// `F_SETFL`: changes those of `O_APPEND`, `O_NONBLOCK`, `O_NOATIME` and `O_ASYNC` that are in
    /// `mask` to what `flags` says.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_status(&mut self, file: FileId, flags: u32, mask: u32) -> Result<(), Errno> {
        let file = self.file_mut(file)?;
        if let Handle::Place = file.handle {
            return Err(Errno::EBADF);
        }
        let mask = mask & SETTABLE;
        file.status = file.status & !mask | flags & mask;
        Ok(())
    }

    /// Whether the file was opened with `O_PATH`: most calls then fail with `EBADF`.
    #[must_use]
    pub fn is_place(&self, file: FileId) -> bool {
        self.file(file).is_ok_and(|file| matches!(file.handle, Handle::Place))
    }
}
