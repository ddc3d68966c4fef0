//! A terminal: Linux's line discipline as a machine of bytes in and bytes out.
//!
//! Input from the keyboard goes through [`Terminal::receive`], which edits lines, echoes and turns
//! control characters into signals; a program's output goes through [`Terminal::write`]. What is
//! to be shown collects in [`Terminal::output`]. The keyboard and the screen are the host's for the
//! console (`console.rs`), and a file for a pseudo-terminal (`pseudo.rs`). The behaviour is that of `n_tty` as seen by a
//! program: flags that no program uses (parity, `PARMRK`, case mapping, delays) are
//! kept in the modes and have no effect.

mod control;
mod edit;
mod output;

pub(crate) use control::{Request, Requester};

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::poll;
use maize_abi::signal::Signal;
use maize_abi::termios::{Termios, WindowSize, cc, lflag, packet};
use maize_hal::Nanos;

use crate::caller::Job;
use crate::id::TerminalId;
use crate::outcome::{Io, Patience, Stop, WaitKey};
use crate::queue;

/// Bytes of input that wait to be read, the line being typed included.
pub(crate) const INPUT_MAX: usize = 4095;
/// Bytes of output that wait to be taken before a writer has to wait.
pub(crate) const OUTPUT_MAX: usize = 16 * 1024;
/// Echo may go beyond [`OUTPUT_MAX`] by this much; further echo is lost.
const ECHO_RESERVE: usize = 4096;

/// Who gets a signal of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A process group.
    Group(u32),
    /// A process.
    Process(u32),
}

/// A signal that a terminal sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSignal {
    /// Who gets it.
    pub to: Recipient,
    /// The signal.
    pub signal: Signal,
}

#[derive(Debug, Default)]
pub(crate) struct Terminal {
    id: TerminalId,
    modes: Termios,
    size: WindowSize,
    /// Bytes that can be read.
    input: VecDeque<u8>,
    /// How `input` is cut into lines in canonical mode: bytes of each that remain to be read. A
    /// line of none reads as the end of file.
    lines: VecDeque<usize>,
    /// The line being typed.
    edit: Vec<u8>,
    /// Where on the screen the line being typed began.
    edit_column: usize,
    /// The next character is taken as it is (VLNEXT).
    literal: bool,
    output: VecDeque<u8>,
    column: usize,
    /// Output is held back (VSTOP).
    stopped: bool,
    hung_up: bool,
    session: Option<u32>,
    foreground: Option<u32>,
    /// Only the superuser may open it again (`TIOCEXCL`).
    exclusive: bool,
    /// What has happened that a master in packet mode is to be told; `None` in the ordinary mode.
    packet: Option<u8>,
    signals: Vec<TerminalSignal>,
}

impl Terminal {
    /// A pseudo-terminal's, in the modes that Linux gives those.
    pub(crate) fn pseudo(id: TerminalId) -> Terminal {
        Terminal { id, modes: Termios::PSEUDO, ..Terminal::default() }
    }

    const fn local(&self, flag: u32) -> bool {
        self.modes.lflag & flag != 0
    }

    const fn canonical(&self) -> bool {
        self.local(lflag::ICANON)
    }

    /// The session it controls.
    pub(crate) const fn session(&self) -> Option<u32> {
        self.session
    }

    /// The process group in the foreground.
    pub(crate) const fn foreground(&self) -> Option<u32> {
        self.foreground
    }

    /// Makes it the controlling terminal of a session.
    pub(crate) const fn control(&mut self, session: u32, foreground: u32) {
        self.session = Some(session);
        self.foreground = Some(foreground);
    }

    pub(crate) fn take_signals(&mut self) -> Vec<TerminalSignal> {
        core::mem::take(&mut self.signals)
    }

    /// Sends a signal to the foreground group. False if there is none.
    pub(crate) fn signal(&mut self, signal: Signal) -> bool {
        if let Some(group) = self.foreground {
            self.signals.push(TerminalSignal { to: Recipient::Group(group), signal });
        }
        self.foreground.is_some()
    }

    /// The session's leader has ended: SIGHUP to the foreground group, and it is free.
    pub(crate) fn session_ended(&mut self, session: u32) {
        if self.session == Some(session) {
            self.signal(Signal::SIGHUP);
            self.signal(Signal::SIGCONT);
            self.session = None;
            self.foreground = None;
        }
    }

    /// The other side is gone: reads give what is left, then the end of file.
    pub(crate) fn hang_up(&mut self) {
        self.hung_up = true;
        self.signal(Signal::SIGHUP);
        self.signal(Signal::SIGCONT);
    }

    /// Nobody has its keyboard and screen any more, for good: what was typed and shown is lost, and
    /// the leader of its session is told. The foreground is kept for when the leader ends.
    pub(crate) fn disconnect(&mut self) {
        self.flush_input();
        self.output.clear();
        self.hung_up = true;
        if let Some(leader) = self.session {
            for signal in [Signal::SIGHUP, Signal::SIGCONT] {
                self.signals.push(TerminalSignal { to: Recipient::Process(leader), signal });
            }
        }
    }

    /// The session has another terminal now.
    pub(crate) fn forget_session(&mut self, session: u32) {
        if self.session == Some(session) {
            self.session = None;
            self.foreground = None;
        }
    }

    /// Changes its size; the foreground group is told.
    pub(crate) fn resize(&mut self, size: WindowSize) {
        if self.size != size {
            self.size = size;
            self.signal(Signal::SIGWINCH);
        }
    }

    /// Whether a process may read.
    fn check_read(&self, job: Job) -> Io<()> {
        if !self.is_background(job) {
            return Ok(());
        }
        if job.ignores_ttin || job.orphaned {
            return Err(Errno::EIO.into());
        }
        Err(Stop::Background(Signal::SIGTTIN))
    }

    /// Whether a process may change the terminal (or write to it where TOSTOP is set).
    fn check_change(&self, job: Job) -> Io<()> {
        if !self.is_background(job) || job.ignores_ttou {
            return Ok(());
        }
        if job.orphaned {
            return Err(Errno::EIO.into());
        }
        Err(Stop::Background(Signal::SIGTTOU))
    }

    fn is_background(&self, job: Job) -> bool {
        self.session == Some(job.session)
            && self.foreground.is_some_and(|foreground| foreground != job.group)
    }

    /// How many bytes one read of `want` bytes may take now, or why it must wait.
    fn readable(&self, want: usize, nonblocking: bool, patience: Patience) -> Io<usize> {
        let wait = |at_most| Stop::Wait { key: WaitKey::TerminalReadable(self.id), at_most };
        if want == 0 {
            return Ok(0);
        }
        if self.canonical() {
            return match self.lines.front() {
                Some(line) => Ok(want.min(*line)),
                None if self.hung_up => Ok(0),
                None => Err(wait(Nanos::NEVER)),
            };
        }
        let minimum = usize::from(self.modes.cc[cc::VMIN]);
        let span = u64::from(self.modes.cc[cc::VTIME]) * 100;
        let there = self.input.len().min(want);
        let enough = if minimum == 0 { 1 } else { minimum.min(want) };
        if there >= enough || there > 0 && nonblocking || self.hung_up {
            return Ok(there);
        }
        match (minimum, span) {
            (0, 0) => Ok(0),
            // The time runs from the call, or, if a minimum is asked for, from the last byte.
            (_, span) if span > 0 && (minimum == 0 || there > 0) => match patience {
                Patience::Exhausted => Ok(there),
                Patience::Left => Err(wait(Nanos::from_millis(span))),
            },
            _ => Err(wait(Nanos::NEVER)),
        }
    }

    /// Reads as a program does.
    pub(crate) fn read(
        &mut self,
        job: Job,
        out: &mut [u8],
        nonblocking: bool,
        patience: Patience,
    ) -> Io<usize> {
        self.check_read(job)?;
        let count = self.readable(out.len(), nonblocking, patience)?;
        queue::take(&mut self.input, &mut out[..count]);
        if !out.is_empty()
            && let Some(line) = self.lines.front_mut()
        {
            *line -= count;
            if *line == 0 {
                self.lines.pop_front();
            }
        }
        Ok(count)
    }

    /// Writes as a program does, and returns how much was taken.
    pub(crate) fn write(&mut self, job: Job, bytes: &[u8]) -> Io<usize> {
        if self.local(lflag::TOSTOP) {
            self.check_change(job)?;
        }
        if self.hung_up {
            return Err(Errno::EIO.into());
        }
        let count = if self.stopped { 0 } else { self.show(bytes) };
        if count == 0 && !bytes.is_empty() {
            return Err(Stop::wait(WaitKey::TerminalWritable(self.id)));
        }
        Ok(count)
    }

    /// Poll events.
    pub(crate) fn poll(&self) -> u16 {
        let mut events = 0;
        let (minimum, time) = (self.modes.cc[cc::VMIN], self.modes.cc[cc::VTIME]);
        let enough = if time == 0 { usize::from(minimum).max(1) } else { 1 };
        let readable =
            if self.canonical() { !self.lines.is_empty() } else { self.input.len() >= enough };
        if readable || self.hung_up {
            events |= poll::POLLIN | poll::POLLRDNORM;
        }
        if self.hung_up {
            events |= poll::POLLHUP;
        } else if !self.stopped && self.output.len() < OUTPUT_MAX / 2 {
            events |= poll::POLLOUT | poll::POLLWRNORM;
        }
        events
    }

    /// Bytes that a read could take now (`FIONREAD`).
    pub(crate) fn pending_input(&self) -> usize {
        self.input.len()
    }

    /// Whether all output has been taken.
    pub(crate) fn is_drained(&self) -> bool {
        self.output.is_empty()
    }

    /// What is to be shown now.
    pub(crate) fn output(&self) -> &[u8] {
        if self.stopped { &[] } else { self.output.as_slices().0 }
    }

    /// Removes `count` bytes that were shown.
    pub(crate) fn output_taken(&mut self, count: usize) {
        self.output.drain(..count.min(self.output.len()));
    }

    /// Takes what is to be shown, whether or not it is held back: who reads it sees what was written
    /// before.
    pub(crate) fn take_output(&mut self, out: &mut [u8]) -> usize {
        queue::take(&mut self.output, out)
    }

    /// Bytes that are to be shown.
    pub(crate) fn pending_output(&self) -> usize {
        self.output.len()
    }

    /// Whether it takes a byte from the keyboard.
    pub(crate) fn takes_input(&self) -> bool {
        !self.is_full()
    }

    /// Notes what a master in packet mode is to be told.
    const fn note(&mut self, event: u8) {
        if let Some(status) = &mut self.packet {
            *status |= event;
        }
    }

    /// Holds output back, or lets it go on.
    fn stop(&mut self, stopped: bool) {
        if self.stopped != stopped {
            self.stopped = stopped;
            self.note(if stopped { packet::TIOCPKT_STOP } else { packet::TIOCPKT_START });
        }
    }

    fn flush_output(&mut self) {
        self.output.clear();
        self.note(packet::TIOCPKT_FLUSHWRITE);
    }

    fn flush_input(&mut self) {
        self.note(packet::TIOCPKT_FLUSHREAD);
        self.input.clear();
        self.lines.clear();
        self.edit.clear();
        self.literal = false;
    }
}

#[cfg(test)]
mod tests;
