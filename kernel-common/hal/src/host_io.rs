//! What connects a program's terminal and the launcher with the kernel.

use alloc::string::String;
use alloc::vec::Vec;

use maize_abi::signal::Signal;

use crate::Nanos;

/// Where a program's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// The launcher's standard output; also the terminal.
    Stdout,
    /// The launcher's standard error.
    Stderr,
}

/// What comes from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// Bytes for standard input, in order.
    Input(Vec<u8>),
    /// Standard input has ended.
    InputClosed,
    /// The terminal's size in character cells.
    WindowSize {
        /// Rows.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// Send this signal to the program's foreground process group.
    Signal(Signal),
    /// Nobody reads this stream any more: writing to it is `EPIPE`.
    OutputClosed(OutputStream),
    /// Send [`Report::Stats`] now.
    StatsRequest,
    /// Say on the console what every thread does, and what is under way.
    TasksRequest,
    /// End the instance.
    Shutdown,
}

/// What the kernel reports to the host beside a program's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The first user instruction is about to run.
    Ready {
        /// When, on this instance's clock.
        at: Nanos,
    },
    /// The program ended, with a `wait4` status.
    Exited {
        /// As `wait4` gives it.
        status: u32,
    },
    /// A program died of a fault: what to show beside its output.
    Fault {
        /// Lines of text.
        text: String,
    },
    /// Counters by name.
    Stats {
        /// Name and count.
        counters: Vec<(String, u64)>,
    },
}

/// The host's end of an instance's streams.
///
/// Nothing here waits: output that has no room now is refused in part, and
/// [`crate::Interrupts::HOST`] says when to try again.
pub trait HostIo {
    /// Takes as many of `bytes` as there is room for and returns how many.
    fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> usize;

    /// The next event, if there is one.
    fn poll(&mut self) -> Option<HostEvent>;

    /// Tells that `bytes` of input were consumed, so that the host may send as many again.
    fn consumed(&mut self, bytes: usize);

    /// Sends a report. Reports are few and small: an implementation keeps room for them.
    fn report(&mut self, report: Report);

    /// Whether all that was written has left the machine.
    fn flushed(&mut self) -> bool;
}
