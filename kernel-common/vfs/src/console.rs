//! The host's end of the standard streams and of the terminal.

use maize_abi::Errno;
use maize_abi::file::{o, s};
use maize_abi::signal::Signal;
use maize_abi::termios::{WindowSize, request};
use maize_hal::OutputStream;

use crate::Vfs;
use crate::caller::{At, Caller, Surroundings};
use crate::file::{File, Handle};
use crate::id::FileId;
use crate::inode::{Inode, Kind};
use crate::ioctl::Answer;
use crate::mount;
use crate::node::Node;
use crate::open::OpenHow;
use crate::outcome::{Io, WaitKey};
use crate::root::{kernel_caller, kernel_view};
use crate::stream::{HostStream, Output};
use crate::terminal::Requester;

/// What the launcher's standard streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    /// Three byte streams.
    Streams,
    /// One terminal of this size.
    Terminal(WindowSize),
}

impl Vfs {
    /// Says what the standard streams are, before they are opened.
    pub fn set_console(&mut self, console: Console) {
        self.console = console;
        if let Console::Terminal(size) = console {
            self.terminal.resize(size);
        }
    }

    /// Opens standard input, output and error of the first process. With a terminal the three are
    /// one file.
    ///
    /// # Errors
    /// `ENFILE`, `ENOSPC`; `ENOENT` before [`Self::mount_standard`].
    pub fn open_standard(&mut self, env: &mut dyn Surroundings) -> Result<[FileId; 3], Errno> {
        if let Console::Terminal(_) = self.console {
            let view = kernel_view(self.root);
            let how = OpenHow { flags: o::O_RDWR, ..OpenHow::READ };
            let caller = kernel_caller(&view);
            let file = self.open(env, &caller, At::Cwd, b"/dev/console", how)?;
            self.hold(file)?;
            self.hold(file)?;
            return Ok([file; 3]);
        }
        Ok([
            self.open_stream(env, HostStream::Input)?,
            self.open_stream(env, HostStream::Output)?,
            self.open_stream(env, HostStream::Error)?,
        ])
    }

    fn open_stream(
        &mut self,
        env: &mut dyn Surroundings,
        stream: HostStream,
    ) -> Result<FileId, Errno> {
        self.check_file_room(1)?;
        let mode = s::S_IFIFO | 0o600;
        let mut inode = Inode::new(Kind::Stream(stream), mode, (0, 0), env.wall_clock());
        inode.nlink = 1;
        inode.fs = mount::PIPE_FS;
        let id = self.tree.insert(inode)?;
        let readable = stream == HostStream::Input;
        self.add_file(File {
            handle: Handle::Stream(stream),
            node: Node::Inode(id),
            place: None,
            readable,
            writable: !readable,
            status: 0,
            position: 0,
            holders: 1,
        })
    }

    /// Makes the terminal the controlling one of a session, with this group in its foreground.
    pub fn control_terminal(&mut self, session: u32, foreground: u32) {
        self.terminal.control(session, foreground);
    }

    /// The leader of a session has ended: a terminal that controlled the session is free.
    pub fn session_ended(&mut self, session: u32) {
        self.terminal.session_ended(session);
    }

    /// The process group in the terminal's foreground, if the terminal controls this session.
    #[must_use]
    pub fn foreground(&self, session: u32) -> Option<u32> {
        let ours = self.terminal.session() == Some(session);
        ours.then(|| self.terminal.foreground()).flatten()
    }

    /// Takes input from the host, who sends no more than it was told that there is room for.
    pub fn host_input(&mut self, bytes: &[u8]) {
        match self.console {
            Console::Streams => {
                self.input.bytes.extend(bytes);
                self.wakes.wake(WaitKey::InputReadable);
            }
            Console::Terminal(_) => {
                self.held.extend(bytes);
                self.feed_terminal();
            }
        }
    }

    /// Standard input has ended.
    pub fn host_input_closed(&mut self) {
        match self.console {
            Console::Streams => {
                self.input.closed = true;
                self.wakes.wake(WaitKey::InputReadable);
            }
            Console::Terminal(_) => {
                self.terminal.hang_up();
                self.held.clear();
                self.wake_terminal();
            }
        }
    }

    /// Nobody reads a stream of the host any more.
    pub fn host_output_closed(&mut self, stream: OutputStream) {
        match stream {
            OutputStream::Stdout => {
                self.output.close();
                self.wakes.wake(WaitKey::OutputWritable);
            }
            OutputStream::Stderr => {
                self.error.close();
                self.wakes.wake(WaitKey::ErrorWritable);
            }
        }
    }

    /// The host's terminal has another size.
    pub fn host_window_size(&mut self, rows: u16, cols: u16) {
        self.terminal.resize(WindowSize { rows, cols });
    }

    /// Sends a signal to the terminal's foreground group. False if there is none.
    pub fn host_signal(&mut self, signal: Signal) -> bool {
        self.terminal.signal(signal)
    }

    /// How many bytes of input were used up since the last call: the host may send as many again.
    #[must_use]
    pub fn take_consumed(&mut self) -> usize {
        core::mem::take(&mut self.consumed)
    }

    /// Gives the terminal what it takes of the input that it could not take before.
    pub(crate) fn feed_terminal(&mut self) {
        while let Some(byte) = self.held.front() {
            if !self.terminal.receive(*byte) {
                break;
            }
            self.held.pop_front();
            self.consumed += 1;
        }
        self.wake_terminal();
    }

    fn wake_terminal(&mut self) {
        self.wakes.wake(WaitKey::TerminalReadable);
        self.wakes.wake(WaitKey::TerminalWritable);
    }

    /// Bytes that are to be sent to a stream of the host now; none if nothing waits.
    #[must_use]
    pub fn pending_output(&self, stream: OutputStream) -> &[u8] {
        let terminal = self.terminal.output();
        match (self.console, stream) {
            (Console::Terminal(_), OutputStream::Stdout) => terminal,
            (Console::Terminal(_), OutputStream::Stderr) => &[],
            (Console::Streams, OutputStream::Stdout) => front(&self.output),
            // What programs write to /dev/console has to go somewhere, and not into data.
            (Console::Streams, OutputStream::Stderr) => match front(&self.error) {
                [] => terminal,
                bytes => bytes,
            },
        }
    }

    /// Removes the first `count` bytes of [`Self::pending_output`]: they were sent.
    pub fn output_sent(&mut self, stream: OutputStream, count: usize) {
        let (queue, key) = match (self.console, stream) {
            (Console::Streams, OutputStream::Stdout) => {
                (Some(&mut self.output), WaitKey::OutputWritable)
            }
            (Console::Streams, OutputStream::Stderr) if !self.error.bytes.is_empty() => {
                (Some(&mut self.error), WaitKey::ErrorWritable)
            }
            _ => (None, WaitKey::TerminalWritable),
        };
        match queue {
            Some(queue) => {
                queue.bytes.drain(..count.min(queue.bytes.len()));
            }
            None => self.terminal.output_taken(count),
        }
        if count > 0 {
            self.wakes.wake(key);
        }
    }

    /// Whether all output was sent.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.terminal.is_drained() && self.output.bytes.is_empty() && self.error.bytes.is_empty()
    }

    /// Whether a file knows an `ioctl` request.
    ///
    /// # Errors
    /// `ENOTTY`, `EBADF`.
    pub fn check_ioctl(&self, id: FileId, number: u32) -> Result<(), Errno> {
        match (number, &self.file(id)?.handle) {
            (_, Handle::Place) => Err(Errno::EBADF),
            (request::FIONBIO | request::FIOASYNC, _) => Ok(()),
            (_, Handle::Terminal) if crate::ioctl::is_known(number) => Ok(()),
            (
                request::FIONREAD,
                Handle::Pipe(_)
                | Handle::Regular(_)
                | Handle::Socket(_)
                | Handle::Stream(HostStream::Input),
            ) => Ok(()),
            _ => Err(Errno::ENOTTY),
        }
    }

    /// `ioctl`. `argument` is the call's third argument, `input` the bytes it points to, as many
    /// as [`crate::ioctl::extent`] says. Requests on descriptors (`FIOCLEX`) are not served here.
    ///
    /// # Errors
    /// `ENOTTY` for a request that the file does not know; as the request.
    pub fn ioctl(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        id: FileId,
        number: u32,
        (argument, input): (u64, &[u8]),
    ) -> Io<Answer> {
        let file = self.file(id)?;
        match (number, &file.handle) {
            (_, Handle::Place) => return Err(Errno::EBADF.into()),
            (request::FIONBIO, _) => {
                let on = *input.first_chunk().ok_or(Errno::EFAULT)? != [0; 4];
                let flags = if on { o::O_NONBLOCK } else { 0 };
                self.set_status(id, flags, o::O_NONBLOCK)?;
                return Ok(Answer::DONE);
            }
            (request::FIOASYNC, _) => return Ok(Answer::DONE),
            (_, Handle::Terminal) => {}
            (request::FIONREAD, _) => {
                let count = self.readable_now(env, id)?;
                return Ok(Answer::number(u32::try_from(count).unwrap_or(i32::MAX as u32)));
            }
            _ => return Err(Errno::ENOTTY.into()),
        }
        let by = Requester { pid: caller.pid, privileged: caller.is_privileged(), job: caller.job };
        let session_of = |group| env.proc().session_of_group(group);
        let answer = self.terminal.control_request(by, number, (argument, input), &session_of);
        // Modes decide what can be read, and flushing makes room.
        self.feed_terminal();
        answer
    }
}

fn front(output: &Output) -> &[u8] {
    output.bytes.as_slices().0
}
