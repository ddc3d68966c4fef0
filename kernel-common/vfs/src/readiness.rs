//! Readiness: what `poll`, `select` and `epoll` ask.

use maize_abi::Errno;
use maize_abi::file::poll;
use maize_abi::signal::SignalSet;

use crate::Vfs;
use crate::file::Handle;
use crate::id::FileId;
use crate::outcome::WaitKey;
use crate::process::Fate;
use crate::stream::HostStream;

/// Events that are always ready for what never waits.
const ALWAYS: u16 = poll::POLLIN | poll::POLLRDNORM | poll::POLLOUT | poll::POLLWRNORM;

impl Vfs {
    /// The poll events that hold for a file now, for somebody who has these signals pending.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn poll(&self, id: FileId, pending: SignalSet) -> Result<u16, Errno> {
        let file = self.file(id)?;
        let mut events = match file.handle {
            Handle::Regular(_) | Handle::Directory | Handle::Text(_) | Handle::Device(_) => ALWAYS,
            Handle::Place => poll::POLLNVAL,
            Handle::Pipe(end) => self.pipes.get(&end.pipe).map_or(poll::POLLERR, |pipe| {
                let had_writer = end.had_writer || pipe.writer_opens != end.opens_before.1;
                let read = if file.readable { pipe.poll_read(had_writer) } else { 0 };
                let write = if file.writable { pipe.poll_write() } else { 0 };
                read | write
            }),
            Handle::Terminal(id) => self.terminals.poll(id),
            Handle::Master(id) => self.terminals.poll_master(id),
            Handle::Stream(HostStream::Input) => self.input.poll(),
            Handle::Stream(HostStream::Output) => self.output.poll(),
            Handle::Stream(HostStream::Error) => self.error.poll(),
            Handle::Counter(id) => self.counters.get(&id).map_or(0, crate::counter::Counter::poll),
            Handle::Interests(id) => self.poll_interests(id, pending),
            Handle::Socket(id) => self.poll_socket(id),
            Handle::Watches(set) => self.tree.watches.poll(set),
            Handle::Signals(wanted) if wanted.intersection(pending) == SignalSet::EMPTY => 0,
            Handle::Signals(_) => poll::POLLIN | poll::POLLRDNORM,
            Handle::Process(_, Fate::Alive) => 0,
            Handle::Process(..) => poll::POLLIN | poll::POLLRDNORM,
        };
        if !file.readable {
            events &= !(poll::POLLIN | poll::POLLRDNORM);
        }
        if !file.writable {
            events &= !(poll::POLLOUT | poll::POLLWRNORM);
        }
        Ok(events)
    }

    /// What to wait for until a file's poll events may have changed: one key for reading, one for
    /// writing, none if they never change.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn poll_keys(&self, id: FileId) -> Result<[Option<WaitKey>; 2], Errno> {
        let file = self.file(id)?;
        Ok(match file.handle {
            Handle::Pipe(end) => [
                file.readable.then_some(WaitKey::PipeReadable(end.pipe)),
                file.writable.then_some(WaitKey::PipeWritable(end.pipe)),
            ],
            Handle::Terminal(id) => {
                [Some(WaitKey::TerminalReadable(id)), Some(WaitKey::TerminalWritable(id))]
            }
            Handle::Master(id) => {
                [Some(WaitKey::MasterReadable(id)), Some(WaitKey::MasterWritable(id))]
            }
            Handle::Stream(HostStream::Input) => [Some(WaitKey::InputReadable), None],
            Handle::Stream(HostStream::Output) => [None, Some(WaitKey::OutputWritable)],
            Handle::Stream(HostStream::Error) => [None, Some(WaitKey::ErrorWritable)],
            Handle::Counter(id) => {
                [Some(WaitKey::CounterReadable(id)), Some(WaitKey::CounterWritable(id))]
            }
            Handle::Interests(id) => [Some(WaitKey::InterestReady(id)), None],
            Handle::Socket(id) => {
                [Some(WaitKey::SocketReadable(id)), Some(WaitKey::SocketWritable(id))]
            }
            Handle::Watches(set) => [Some(WaitKey::WatchReadable(set)), None],
            Handle::Signals(_) => [Some(WaitKey::SignalSent(id)), None],
            Handle::Process(..) => [Some(WaitKey::ProcessEnded(id)), None],
            _ => [None, None],
        })
    }
}
