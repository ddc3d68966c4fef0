//! What the program reads: bytes in memory, or a descriptor of the launcher.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

/// A standard input.
#[derive(Debug)]
pub struct Input {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Bytes { bytes: Vec<u8>, taken: usize },
    Descriptor(OwnedFd),
    Ended,
}

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
pub enum InputRead {
    /// Bytes, at least one.
    Bytes(Vec<u8>),
    /// Nothing now.
    Later,
    /// Nothing ever again.
    End,
}

impl Input {
    /// Ends at once.
    #[must_use]
    pub const fn empty() -> Self {
        Self::bytes(Vec::new())
    }

    /// These bytes.
    #[must_use]
    pub const fn bytes(bytes: Vec<u8>) -> Self {
        Self { source: Source::Bytes { bytes, taken: 0 } }
    }

    /// A file, pipe or terminal.
    #[must_use]
    pub const fn descriptor(fd: OwnedFd) -> Self {
        Self { source: Source::Descriptor(fd) }
    }

    /// What to wait for before reading; `None` if there is nothing to wait for.
    #[must_use]
    pub fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        match &self.source {
            Source::Descriptor(fd) => Some(fd.as_fd()),
            _ => None,
        }
    }

    /// Whether the end has been read.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        matches!(self.source, Source::Ended)
    }

    /// Whether the end comes next, so that no room is needed to read it.
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        match &self.source {
            Source::Bytes { bytes, taken } => *taken == bytes.len(),
            _ => false,
        }
    }

    /// Reads at most `room` bytes. From a descriptor that is not ready it would block.
    pub fn read(&mut self, room: usize) -> io::Result<InputRead> {
        let read = match &mut self.source {
            Source::Ended => InputRead::End,
            Source::Bytes { bytes, taken } => {
                let rest = bytes.get(*taken..).unwrap_or_default();
                let part = rest.get(..room).unwrap_or(rest);
                *taken += part.len();
                if !part.is_empty() {
                    InputRead::Bytes(part.to_vec())
                } else if rest.is_empty() {
                    InputRead::End
                } else {
                    InputRead::Later
                }
            }
            Source::Descriptor(fd) => {
                let mut buffer = vec![0; room];
                match rustix::io::read(fd, &mut buffer[..]) {
                    Ok(0) if room > 0 => InputRead::End,
                    Ok(count) => {
                        buffer.truncate(count);
                        InputRead::Bytes(buffer)
                    }
                    Err(Errno::AGAIN | Errno::INTR) => InputRead::Later,
                    // A terminal that hung up, or that belongs to another process group.
                    Err(Errno::IO) => InputRead::End,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if read == InputRead::End {
            self.source = Source::Ended;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_pieces_and_end() {
        let mut input = Input::bytes(b"abc".to_vec());
        assert_eq!(input.read(2).unwrap(), InputRead::Bytes(b"ab".to_vec()));
        assert_eq!(input.read(0).unwrap(), InputRead::Later);
        assert_eq!(input.read(2).unwrap(), InputRead::Bytes(b"c".to_vec()));
        assert!(input.is_exhausted() && !input.has_ended());
        assert_eq!(input.read(0).unwrap(), InputRead::End);
        assert!(input.has_ended());
    }

    #[test]
    fn a_pipe_ends_when_its_writer_leaves() {
        let (reader, writer) = io::pipe().unwrap();
        let mut input = Input::descriptor(reader.into());
        io::Write::write_all(&mut &writer, b"x").unwrap();
        assert_eq!(input.read(10).unwrap(), InputRead::Bytes(b"x".to_vec()));
        drop(writer);
        assert_eq!(input.read(10).unwrap(), InputRead::End);
        assert!(input.waits_for().is_none());
    }
}
