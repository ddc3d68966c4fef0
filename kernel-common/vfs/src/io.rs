//! Reading, writing and positioning.

use maize_abi::Errno;
use maize_abi::capability::Capability;
use maize_abi::file::{fcntl, inotify, o, s, seek};
use maize_mm::ObjectId;

use crate::Vfs;
use crate::caller::{Caller, Surroundings, store_errno, store_stop};
use crate::device::Device;
use crate::file::{File, Handle};
use crate::id::{CounterId, FileId, InodeId, PipeId};
use crate::node::Node;
use crate::outcome::{Io, Patience, Stop, WaitKey};
use crate::pipe::PipeStop;
use crate::proc;
use crate::queue;
use crate::socket::Sent;
use crate::stream::HostStream;

/// Where in a file to read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the file's position, which moves along.
    Position,
    /// At this byte; the position stays (`pread`, `pwrite`).
    Byte(u64),
}

/// How a read of more than there is goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Up to the file's end.
    ToEnd,
    /// As long as there is something without waiting.
    WhileThere,
    /// Not at all: one read gives one piece.
    Once,
}

/// Bytes in a file at most.
pub(crate) const FILE_SIZE_MAX: u64 = i64::MAX as u64;

impl File {
    fn byte(&self, place: Place) -> u64 {
        match place {
            Place::Position => self.position,
            Place::Byte(byte) => byte,
        }
    }

    fn advance(&mut self, place: Place, count: usize) {
        if place == Place::Position {
            self.position = self.position.saturating_add(count as u64);
        }
    }

    const fn is_seekable(&self) -> bool {
        matches!(
            self.handle,
            Handle::Regular(_) | Handle::Directory | Handle::Text(_) | Handle::Device(_)
        )
    }
}

impl File {
    /// # Errors
    /// `ESPIPE` if it has no bytes at places; `EBADF` if it is a place itself.
    fn check_place(&self, place: Place) -> Result<(), Errno> {
        match self.handle {
            Handle::Place => Err(Errno::EBADF),
            _ if place != Place::Position && !self.is_seekable() => Err(Errno::ESPIPE),
            _ => Ok(()),
        }
    }
}

fn pipe_stop(stop: PipeStop, key: WaitKey) -> Stop {
    match stop {
        PipeStop::NotNow => Stop::wait(key),
        PipeStop::Broken => Stop::BrokenPipe,
        PipeStop::NoMemory => Errno::ENOMEM.into(),
    }
}

impl Vfs {
    /// Reads at most `out.len()` bytes in one step. The caller bounds `out` to what it is ready to
    /// copy in one step.
    ///
    /// # Errors
    /// As `read`, and [`Stop::Wait`] if it is not non-blocking.
    pub fn read(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        id: FileId,
        place: Place,
        out: &mut [u8],
        patience: Patience,
    ) -> Io<usize> {
        let file = self.file(id)?;
        file.check_place(place)?;
        file.check_readable()?;
        let nonblocking = file.is_nonblocking();
        let result = match file.handle {
            Handle::Regular(inode) => self.read_regular(env, id, inode, place, out),
            Handle::Text(_) => self.read_text(env, caller, id, place, out),
            Handle::Directory => Err(Errno::EISDIR.into()),
            Handle::Pipe(end) => self.read_pipe(end.pipe, out),
            Handle::Device(device) => Ok(device.read(env, out)),
            Handle::Terminal(id) => {
                self.read_terminal(id, caller.job, out, (nonblocking, patience))
            }
            Handle::Master(id) => self.read_master(id, out),
            Handle::Stream(stream) => self.read_stream(stream, out),
            Handle::Counter(counter) => self.read_counter(counter, out),
            Handle::Socket(_) => {
                let now = (false, nonblocking);
                let received = self.receive(id, out, now, None, patience)?;
                for file in &received.files {
                    self.release(env, *file);
                }
                Ok(received.count)
            }
            Handle::Watches(set) => self.tree.watches.read(set, out),
            // Signals are the caller's, who takes them itself.
            Handle::Interests(_) | Handle::Signals(_) | Handle::Process(..) => {
                Err(Errno::EINVAL.into())
            }
            Handle::Place => Err(Errno::EBADF.into()),
        };
        refuse_wait(result, nonblocking)
    }

    fn read_regular(
        &mut self,
        env: &mut dyn Surroundings,
        id: FileId,
        inode: InodeId,
        place: Place,
        out: &mut [u8],
    ) -> Io<usize> {
        let at = self.file(id)?.byte(place);
        let object = self.tree.get_mut(inode)?.object(env.store())?;
        let count = env.store().read(object, at, out).map_err(store_stop)?;
        let now = env.wall_clock();
        let file = self.file_mut(id)?;
        file.advance(place, count);
        let keeps_time = file.status & o::O_NOATIME != 0;
        // As with `relatime`: a read is noted once after each change.
        let inode = self.tree.get_mut(inode)?;
        if !keeps_time && count > 0 && inode.atime <= inode.mtime.max(inode.ctime) {
            inode.atime = now;
        }
        if count > 0 {
            self.file_event(id, inotify::IN_ACCESS);
        }
        Ok(count)
    }

    fn read_text(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        id: FileId,
        place: Place,
        out: &mut [u8],
    ) -> Io<usize> {
        let file = self.file(id)?;
        let (Node::Proc(node), at) = (file.node, file.byte(place)) else {
            return Err(Errno::EIO.into());
        };
        // The text is made when reading starts at the start, and stays the same until then; of a
        // long one each piece when reading comes to it.
        let mut made = match &file.handle {
            Handle::Text(Some(text)) if at > 0 && at >= text.start => None,
            _ if proc::is_random(node) => {
                let mut bytes = [0; 16];
                env.random(&mut bytes);
                Some(proc::Text::whole(proc::uuid(bytes)))
            }
            _ => Some(proc::text(self, node, env.proc(), caller)?),
        };
        while let Some(text) = made.as_ref().or(match &self.file(id)?.handle {
            Handle::Text(text) => text.as_ref(),
            _ => None,
        }) && at >= text.end()
            && let Some(next) = proc::next_piece(text, node, env.proc())
        {
            made = Some(next);
        }
        let file = self.file_mut(id)?;
        if let Some(made) = made {
            file.handle = Handle::Text(Some(made));
        }
        let Handle::Text(Some(text)) = &file.handle else { return Err(Errno::EIO.into()) };
        let rest = text.from(at);
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        file.advance(place, count);
        Ok(count)
    }

    fn read_pipe(&mut self, id: PipeId, out: &mut [u8]) -> Io<usize> {
        let pipe = self.pipes.get_mut(&id).ok_or(Errno::EIO)?;
        let count = pipe.peek(out).map_err(|stop| pipe_stop(stop, WaitKey::PipeReadable(id)))?;
        pipe.consume(count);
        if count > 0 {
            self.wakes.wake(WaitKey::PipeWritable(id));
        }
        Ok(count)
    }

    fn read_stream(&mut self, stream: HostStream, out: &mut [u8]) -> Io<usize> {
        if stream != HostStream::Input {
            return Err(Errno::EBADF.into());
        }
        let count = queue::take(&mut self.input.bytes, out);
        self.consumed += count;
        if count == 0 && !out.is_empty() && !self.input.closed {
            return Err(Stop::wait(WaitKey::InputReadable));
        }
        Ok(count)
    }

    fn read_counter(&mut self, id: CounterId, out: &mut [u8]) -> Io<usize> {
        let counter = self.counters.get_mut(&id).ok_or(Errno::EIO)?;
        let Some(out) = out.first_chunk_mut() else { return Err(Errno::EINVAL.into()) };
        let value = counter.read().ok_or(Stop::wait(WaitKey::CounterReadable(id)))?;
        *out = value.to_le_bytes();
        self.wakes.wake(WaitKey::CounterWritable(id));
        Ok(8)
    }

    /// Writes `bytes`, or the first of them, in one step. Of a longer write the caller passes a
    /// part; parts of a pipe write that is to go in as a whole must not be split.
    ///
    /// # Errors
    /// As `write`, and [`Stop::Wait`] if it is not non-blocking.
    pub fn write(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        id: FileId,
        place: Place,
        bytes: &[u8],
    ) -> Io<usize> {
        let file = self.file(id)?;
        file.check_place(place)?;
        file.check_writable()?;
        let nonblocking = file.is_nonblocking();
        let result = match file.handle {
            Handle::Regular(inode) => self.write_regular(env, caller, id, inode, place, bytes),
            // Nothing in /proc can be set.
            Handle::Text(_) => Err(Errno::EINVAL.into()),
            Handle::Directory | Handle::Place => Err(Errno::EBADF.into()),
            Handle::Pipe(end) => self.write_pipe(end.pipe, bytes),
            Handle::Device(device) => Ok(device.write(bytes)?),
            Handle::Terminal(id) => self.write_terminal(id, caller.job, bytes),
            Handle::Master(id) => self.write_master(id, bytes),
            Handle::Stream(stream) => self.write_stream(stream, bytes),
            Handle::Counter(counter) => self.write_counter(counter, bytes),
            Handle::Socket(_) => {
                let sent = Sent { now: nonblocking, ..Sent::bytes(bytes) };
                self.send(env, caller, id, sent, Patience::Left)
            }
            Handle::Watches(_)
            | Handle::Interests(_)
            | Handle::Signals(_)
            | Handle::Process(..) => Err(Errno::EINVAL.into()),
        };
        refuse_wait(result, nonblocking)
    }

    fn write_regular(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        id: FileId,
        inode: InodeId,
        place: Place,
        bytes: &[u8],
    ) -> Io<usize> {
        let file = self.file(id)?;
        let appends = file.status & o::O_APPEND != 0;
        let mut at = file.byte(place);
        let node = self.tree.get_mut(inode)?;
        let object = node.object(env.store())?;
        let len = env.store().len(object).map_err(store_errno)?;
        if appends {
            at = len;
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        if at >= FILE_SIZE_MAX {
            return Err(Errno::EFBIG.into());
        }
        let room = usize::try_from(FILE_SIZE_MAX - at).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        if let Some(seals) = node.seals {
            let grows = at + bytes.len() as u64 > len;
            if seals & fcntl::F_SEAL_WRITE != 0 || grows && seals & fcntl::F_SEAL_GROW != 0 {
                return Err(Errno::EPERM.into());
            }
        }
        let count = env.store().write(object, at, bytes).map_err(store_stop)?;
        let node = self.tree.get_mut(inode)?;
        node.modified(env.wall_clock());
        drop_privileges(&mut node.mode, caller);
        let file = self.file_mut(id)?;
        if place == Place::Position {
            file.position = at + count as u64;
        }
        if count > 0 {
            self.file_event(id, inotify::IN_MODIFY);
        }
        Ok(count)
    }

    fn write_pipe(&mut self, id: PipeId, bytes: &[u8]) -> Io<usize> {
        let pipe = self.pipes.get_mut(&id).ok_or(Errno::EIO)?;
        let count = pipe.write(bytes).map_err(|stop| pipe_stop(stop, WaitKey::PipeWritable(id)))?;
        if count > 0 {
            self.wakes.wake(WaitKey::PipeReadable(id));
        }
        Ok(count)
    }

    fn write_stream(&mut self, stream: HostStream, bytes: &[u8]) -> Io<usize> {
        let (output, key) = match stream {
            HostStream::Input => return Err(Errno::EBADF.into()),
            HostStream::Output => (&mut self.output, WaitKey::OutputWritable),
            HostStream::Error => (&mut self.error, WaitKey::ErrorWritable),
        };
        if output.closed {
            return Err(Stop::BrokenPipe);
        }
        let count = output.write(bytes);
        if count == 0 && !bytes.is_empty() { Err(Stop::wait(key)) } else { Ok(count) }
    }

    fn write_counter(&mut self, id: CounterId, bytes: &[u8]) -> Io<usize> {
        let counter = self.counters.get_mut(&id).ok_or(Errno::EIO)?;
        let value = bytes.first_chunk().ok_or(Errno::EINVAL)?;
        if !counter.write(u64::from_le_bytes(*value))? {
            return Err(Stop::wait(WaitKey::CounterWritable(id)));
        }
        self.wakes.wake(WaitKey::CounterReadable(id));
        Ok(8)
    }

    /// `lseek`.
    ///
    /// # Errors
    /// `EBADF`, `ESPIPE`, `EINVAL`, `ENXIO`, `EOVERFLOW`.
    pub fn seek(
        &mut self,
        env: &mut dyn Surroundings,
        id: FileId,
        offset: i64,
        whence: u32,
    ) -> Result<u64, Errno> {
        let file = self.file(id)?;
        if let Handle::Place = file.handle {
            return Err(Errno::EBADF);
        }
        if whence > seek::SEEK_HOLE {
            return Err(Errno::EINVAL);
        }
        // A terminal answers as on Linux, a memory device stays at its start.
        if !file.is_seekable() {
            return Err(Errno::ESPIPE);
        }
        if let Handle::Device(_) = file.handle {
            return if whence <= seek::SEEK_END { Ok(0) } else { Err(Errno::EINVAL) };
        }
        // As on Linux's tmpfs, a directory has no end to seek from.
        if matches!(file.handle, Handle::Directory) && whence >= seek::SEEK_END {
            return Err(Errno::EINVAL);
        }
        let len = match file.node {
            Node::Inode(inode) if !self.is_dir(file.node) => self.tree.get(inode)?.len(env.store()),
            _ => 0,
        };
        let offset_in_file = u64::try_from(offset).ok().filter(|offset| *offset < len);
        let target = match whence {
            seek::SEEK_SET => Some(offset),
            seek::SEEK_CUR => i64::try_from(file.position).ok().and_then(|p| p.checked_add(offset)),
            seek::SEEK_END => i64::try_from(len).ok().and_then(|len| len.checked_add(offset)),
            // Every file counts as one piece of data with a hole behind it.
            seek::SEEK_DATA | seek::SEEK_HOLE if offset_in_file.is_none() => {
                return Err(Errno::ENXIO);
            }
            seek::SEEK_DATA => Some(offset),
            seek::SEEK_HOLE => i64::try_from(len).ok(),
            _ => return Err(Errno::EINVAL),
        };
        let target = target.ok_or(Errno::EOVERFLOW)?;
        let target = u64::try_from(target).map_err(|_| Errno::EINVAL)?;
        self.file_mut(id)?.position = target;
        Ok(target)
    }

    /// Whether a file has content that a file system keeps, which is what can be synchronised.
    ///
    /// # Errors
    /// `EBADF`; `EINVAL` for pipes, sockets, devices and the like.
    pub fn check_kept(&self, id: FileId) -> Result<(), Errno> {
        match self.file(id)?.handle {
            Handle::Regular(_) | Handle::Directory => Ok(()),
            Handle::Place => Err(Errno::EBADF),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The memory object of a regular file, to be mapped: the caller takes a reference of its own.
    ///
    /// # Errors
    /// `ENODEV` for anything that cannot be mapped; `EACCES` if the file is not open for reading,
    /// or, for a shared mapping that is `written`, not for writing; `EPERM` if sealed.
    pub fn object_to_map(
        &mut self,
        env: &mut dyn Surroundings,
        id: FileId,
        written: bool,
    ) -> Result<ObjectId, Errno> {
        let file = self.file(id)?;
        if matches!(file.handle, Handle::Place) {
            return Err(Errno::EBADF);
        }
        if !file.readable || written && !file.writable {
            return Err(Errno::EACCES);
        }
        let Handle::Regular(inode) = file.handle else { return Err(Errno::ENODEV) };
        let node = self.tree.get_mut(inode)?;
        if written && node.seals.is_some_and(|seals| seals & fcntl::F_SEAL_WRITE != 0) {
            return Err(Errno::EPERM);
        }
        node.object(env.store())
    }

    /// Whether the file is a device whose mappings are fresh anonymous memory: `/dev/zero`.
    ///
    /// # Errors
    /// `EBADF`; `EACCES` as for [`Self::object_to_map`].
    pub fn maps_as_anonymous(&self, id: FileId, written: bool) -> Result<bool, Errno> {
        let file = self.file(id)?;
        match file.handle {
            Handle::Device(Device::Zero) if !file.readable || written && !file.writable => {
                Err(Errno::EACCES)
            }
            Handle::Device(Device::Zero) => Ok(true),
            _ => Ok(false),
        }
    }

    /// The memory object of a regular file, whatever it was opened for.
    ///
    /// # Errors
    /// `EBADF`; `EACCES` for what is no regular file.
    pub fn object_of(&mut self, env: &mut dyn Surroundings, id: FileId) -> Result<ObjectId, Errno> {
        match self.file(id)?.node {
            Node::Inode(inode) if !self.is_dir(Node::Inode(inode)) => {
                let object = self.tree.get_mut(inode)?.object(env.store());
                object.map_err(|errno| if errno == Errno::EINVAL { Errno::EACCES } else { errno })
            }
            _ => Err(Errno::EACCES),
        }
    }

    /// How a long read is made of short ones, and how many bytes the next is likely to give: room
    /// for more need not be made ready.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn expected(
        &self,
        env: &mut dyn Surroundings,
        id: FileId,
        place: Place,
    ) -> Result<(Flow, u64), Errno> {
        let file = self.file(id)?;
        Ok(match file.handle {
            Handle::Regular(inode) => {
                let len = self.tree.get(inode)?.len(env.store());
                (Flow::ToEnd, len.saturating_sub(file.byte(place)))
            }
            Handle::Pipe(_) | Handle::Stream(HostStream::Input) => {
                (Flow::WhileThere, self.readable_now(env, id)?)
            }
            Handle::Terminal(_) | Handle::Master(_) => (Flow::Once, self.readable_now(env, id)?),
            Handle::Counter(_) => (Flow::Once, 8),
            // All of an event or nothing is read: as much room as the caller has.
            Handle::Watches(_) => (Flow::Once, u64::MAX),
            _ => (Flow::ToEnd, u64::MAX),
        })
    }

    /// Bytes that can be read now (`FIONREAD`), for what is read as a stream.
    pub(crate) fn readable_now(
        &self,
        env: &mut dyn Surroundings,
        id: FileId,
    ) -> Result<u64, Errno> {
        let file = self.file(id)?;
        Ok(match file.handle {
            Handle::Pipe(end) => self.pipes.get(&end.pipe).map_or(0, |pipe| pipe.len() as u64),
            Handle::Stream(HostStream::Input) => self.input.bytes.len() as u64,
            Handle::Terminal(id) => self.terminals.get(id).map_or(0, |t| t.pending_input() as u64),
            // With what tells of a packet.
            Handle::Master(id) => {
                self.terminals.get(id).map_or(0, |t| 1 + t.pending_output() as u64)
            }
            Handle::Socket(_) => self.receivable(id)? as u64,
            Handle::Watches(set) => self.tree.watches.pending(set) as u64,
            Handle::Regular(inode) => {
                self.tree.get(inode)?.len(env.store()).saturating_sub(file.position)
            }
            _ => return Err(Errno::ENOTTY),
        })
    }
}

/// A writer other than the superuser takes the set-id bits of a file away.
pub(crate) const fn drop_privileges(mode: &mut u32, caller: &Caller<'_>) {
    if caller.may(Capability::Fsetid) || *mode & s::S_IFMT != s::S_IFREG {
        return;
    }
    *mode &= !s::S_ISUID;
    if *mode & 0o010 != 0 {
        *mode &= !s::S_ISGID;
    }
}

fn refuse_wait(result: Io<usize>, nonblocking: bool) -> Io<usize> {
    match result {
        Err(Stop::Wait { .. }) if nonblocking => Err(Errno::EAGAIN.into()),
        other => other,
    }
}
