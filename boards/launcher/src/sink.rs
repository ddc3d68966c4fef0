//! Where the program's output goes: a descriptor that must not block the launcher, or memory.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::FileType;
use rustix::io::Errno;

/// While a sink holds this many bytes nothing more is taken from the host link.
pub const PAUSE_AT: usize = 1024 * 1024;

/// A pipe that polls writable takes this many bytes without blocking (`PIPE_BUF`).
const PIPE_CHUNK: usize = 4096;

/// Files never make a writer wait for a reader.
const FILE_CHUNK: usize = 256 * 1024;

/// Where to write.
#[derive(Debug)]
pub enum Destination {
    /// Keep it in memory for [`Sink::into_captured`].
    Capture,
    /// A file, pipe, socket or terminal, whose flags are not changed: others may share it.
    Descriptor(OwnedFd),
}

/// One output stream, in order and byte for byte.
#[derive(Debug)]
pub struct Sink {
    destination: Destination,
    chunk: usize,
    pending: Vec<u8>,
    written: usize,
    closed: bool,
}

impl Sink {
    /// A sink with nothing written.
    #[must_use]
    pub fn new(destination: Destination) -> Self {
        let chunk = match &destination {
            Destination::Descriptor(fd) if is_regular(fd) => FILE_CHUNK,
            _ => PIPE_CHUNK,
        };
        Self { destination, chunk, pending: Vec::new(), written: 0, closed: false }
    }

    /// Takes bytes to be written; after [`Sink::is_closed`] they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// Bytes taken and not written; captured bytes count as written.
    #[must_use]
    pub fn backlog(&self) -> usize {
        match self.destination {
            Destination::Capture => 0,
            Destination::Descriptor(_) => self.pending.len() - self.written,
        }
    }

    /// Whether nobody reads this any more.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// What to wait for before [`Sink::flush`] can go on.
    #[must_use]
    pub fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        match &self.destination {
            Destination::Descriptor(fd) if self.backlog() > 0 => Some(fd.as_fd()),
            _ => None,
        }
    }

    /// Writes as much as can be written now.
    ///
    /// A reader that is gone closes the sink; other errors are given.
    pub fn flush(&mut self) -> io::Result<()> {
        let Destination::Descriptor(fd) = &self.destination else {
            return Ok(());
        };
        while let Some(rest) = self.pending.get(self.written..).filter(|rest| !rest.is_empty()) {
            let chunk = rest.get(..self.chunk).unwrap_or(rest);
            if !is_writable(fd)? {
                return Ok(());
            }
            match rustix::io::write(fd, chunk) {
                Ok(count) => self.written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    self.closed = true;
                    self.pending = Vec::new();
                    self.written = 0;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.pending.clear();
        self.written = 0;
        Ok(())
    }

    /// What was captured.
    #[must_use]
    pub fn into_captured(self) -> Vec<u8> {
        match self.destination {
            Destination::Capture => self.pending,
            Destination::Descriptor(_) => Vec::new(),
        }
    }

    /// Whether both descriptors are one open file, pipe or terminal, so that their order shows.
    #[must_use]
    pub fn same_file(a: &Destination, b: &Destination) -> bool {
        let (Destination::Descriptor(a), Destination::Descriptor(b)) = (a, b) else {
            return false;
        };
        match (rustix::fs::fstat(a), rustix::fs::fstat(b)) {
            (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
            _ => false,
        }
    }
}

fn is_regular(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
}

fn is_writable(fd: &OwnedFd) -> io::Result<bool> {
    let mut poll = [PollFd::new(fd, PollFlags::OUT)];
    let now = Timespec::try_from(Duration::ZERO).map_err(io::Error::other)?;
    match rustix::event::poll(&mut poll, Some(&now)) {
        // An error condition is writable too: the write says which.
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn pipe() -> (io::PipeReader, Sink) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, Sink::new(Destination::Descriptor(writer.into())))
    }

    #[test]
    fn a_full_pipe_never_blocks_and_nothing_is_lost() {
        let (mut reader, mut sink) = pipe();
        let data: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        sink.push(&data);
        sink.flush().unwrap();
        assert!(sink.backlog() > 0 && sink.waits_for().is_some());
        let mut seen = vec![0; 1000];
        let mut total = Vec::new();
        while total.len() < data.len() {
            let count = reader.read(&mut seen).unwrap();
            total.extend_from_slice(&seen[..count]);
            sink.flush().unwrap();
        }
        assert_eq!(total, data);
        assert!(sink.waits_for().is_none());
    }

    #[test]
    fn a_reader_that_left_closes_the_sink() {
        let (reader, mut sink) = pipe();
        drop(reader);
        sink.push(b"x");
        sink.flush().unwrap();
        assert!(sink.is_closed());
        sink.push(b"y");
        assert_eq!(sink.backlog(), 0);
    }

    #[test]
    fn captured_output_is_kept() {
        let mut sink = Sink::new(Destination::Capture);
        sink.push(b"a");
        sink.flush().unwrap();
        sink.push(b"b");
        assert_eq!(sink.backlog(), 0);
        assert_eq!(sink.into_captured(), b"ab");
    }

    #[test]
    fn two_names_of_one_pipe_are_seen() {
        let (_reader, writer) = io::pipe().unwrap();
        let twin = Destination::Descriptor(writer.try_clone().unwrap().into());
        let writer = Destination::Descriptor(writer.into());
        let (_reader, other) = io::pipe().unwrap();
        assert!(Sink::same_file(&writer, &twin));
        assert!(!Sink::same_file(&writer, &Destination::Descriptor(other.into())));
        assert!(!Sink::same_file(&Destination::Capture, &Destination::Capture));
    }
}
