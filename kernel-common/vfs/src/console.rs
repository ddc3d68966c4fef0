//! The host's end of the standard streams and of the terminal.

use maize_abi::Errno;
use maize_abi::file::{o, s};
use maize_abi::signal::Signal;
use maize_abi::termios::WindowSize;
use maize_hal::OutputStream;

use crate::Vfs;
use crate::caller::{At, Surroundings};
use crate::file::{File, Handle};
use crate::id::{FileId, TerminalId};
use crate::inode::{Inode, Kind};
use crate::mount;
use crate::node::Node;
use crate::open::OpenHow;
use crate::outcome::WaitKey;
use crate::root::{kernel_caller, kernel_view};
use crate::stream::{HostStream, Output};

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
            self.terminals.console.resize(size);
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

    /// Makes the console the controlling terminal of a session, with this group in its foreground.
    pub fn control_terminal(&mut self, session: u32, foreground: u32) {
        self.terminals.console.control(session, foreground);
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
                self.terminals.console.hang_up();
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
        self.terminals.console.resize(WindowSize { rows, cols });
    }

    /// Sends a signal to the terminal's foreground group. False if there is none.
    pub fn host_signal(&mut self, signal: Signal) -> bool {
        self.terminals.console.signal(signal)
    }

    /// How many bytes of input were used up since the last call: the host may send as many again.
    #[must_use]
    pub fn take_consumed(&mut self) -> usize {
        core::mem::take(&mut self.consumed)
    }

    /// Gives the terminal what it takes of the input that it could not take before.
    pub(crate) fn feed_terminal(&mut self) {
        while let Some(byte) = self.held.front() {
            if !self.terminals.console.receive(*byte) {
                break;
            }
            self.held.pop_front();
            self.consumed += 1;
        }
        self.wake_terminal();
    }

    fn wake_terminal(&mut self) {
        self.wakes.wake(WaitKey::TerminalReadable(TerminalId::CONSOLE));
        self.wakes.wake(WaitKey::TerminalWritable(TerminalId::CONSOLE));
    }

    /// Bytes that are to be sent to a stream of the host now; none if nothing waits.
    #[must_use]
    pub fn pending_output(&self, stream: OutputStream) -> &[u8] {
        let terminal = self.terminals.console.output();
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
            _ => (None, WaitKey::TerminalWritable(TerminalId::CONSOLE)),
        };
        match queue {
            Some(queue) => {
                queue.bytes.drain(..count.min(queue.bytes.len()));
            }
            None => self.terminals.console.output_taken(count),
        }
        if count > 0 {
            self.wakes.wake(key);
        }
    }

    /// Whether all output was sent.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.terminals.console.is_drained()
            && self.output.bytes.is_empty()
            && self.error.bytes.is_empty()
    }
}

fn front(output: &Output) -> &[u8] {
    output.bytes.as_slices().0
}
