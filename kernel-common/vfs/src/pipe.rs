//! Pipes: a bounded queue of bytes with counted ends.

use alloc::collections::VecDeque;

use maize_abi::Errno;
use maize_abi::file::{PIPE_BUF, poll};

use crate::queue;

/// Bytes that a new pipe holds.
pub const PIPE_CAPACITY: usize = 64 * 1024;
/// Bytes that `F_SETPIPE_SZ` makes a pipe hold at most.
pub const PIPE_CAPACITY_MAX: usize = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    pub(crate) readers: u32,
    pub(crate) writers: u32,
    /// How often an end was opened: what the open of the other end of a named pipe waits for.
    pub(crate) reader_opens: u64,
    pub(crate) writer_opens: u64,
}

/// Why a pipe moved nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PipeStop {
    /// Nothing there, or no room, but the other end is open.
    NotNow,
    /// No reader is left.
    Broken,
    /// No memory for the bytes.
    NoMemory,
}

impl Pipe {
    pub(crate) const fn new() -> Pipe {
        Pipe {
            bytes: VecDeque::new(),
            capacity: PIPE_CAPACITY,
            readers: 0,
            writers: 0,
            reader_opens: 0,
            writer_opens: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.capacity
    }

    const fn room(&self, len: usize) -> usize {
        self.capacity.saturating_sub(len)
    }

    /// Copies what can be read without taking it.
    pub(crate) fn peek(&self, out: &mut [u8]) -> Result<usize, PipeStop> {
        let count = queue::peek(&self.bytes, out);
        if count == 0 && !out.is_empty() && self.writers > 0 {
            return Err(PipeStop::NotNow);
        }
        Ok(count)
    }

    /// Takes `count` bytes that were peeked at.
    pub(crate) fn consume(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
    }

    /// Takes all bytes that fit in one call; up to `PIPE_BUF` bytes go in together or not at all.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, PipeStop> {
        if self.readers == 0 {
            return Err(PipeStop::Broken);
        }
        let room = self.room(self.bytes.len());
        let count = bytes.len().min(room);
        if count == 0 && !bytes.is_empty() || count < bytes.len() && bytes.len() <= PIPE_BUF {
            return Err(PipeStop::NotNow);
        }
        self.bytes.try_reserve(count).map_err(|_| PipeStop::NoMemory)?;
        self.bytes.extend(&bytes[..count]);
        Ok(count)
    }

    /// Changes how much it holds and returns the new capacity: whole pages, a power of two.
    ///
    /// # Errors
    /// `EPERM` above the largest, `EBUSY` if more is in it, `EINVAL` for nothing.
    pub(crate) fn set_capacity(&mut self, capacity: u64) -> Result<usize, Errno> {
        if capacity > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        let capacity = (capacity.max(PIPE_BUF as u64) as usize).next_power_of_two();
        if capacity > PIPE_CAPACITY_MAX {
            return Err(Errno::EPERM);
        }
        if capacity < self.bytes.len() {
            return Err(Errno::EBUSY);
        }
        self.capacity = capacity;
        Ok(capacity)
    }

    /// Poll events of a read end. A named pipe that no writer has opened yet is not hung up.
    pub(crate) fn poll_read(&self, had_writer: bool) -> u16 {
        let mut events = 0;
        if !self.bytes.is_empty() {
            events |= poll::POLLIN | poll::POLLRDNORM;
        }
        if self.writers == 0 && had_writer {
            events |= poll::POLLHUP;
        }
        events
    }

    /// Poll events of a write end.
    pub(crate) fn poll_write(&self) -> u16 {
        let mut events = 0;
        if self.room(self.bytes.len()) >= PIPE_BUF {
            events |= poll::POLLOUT | poll::POLLWRNORM;
        }
        if self.readers == 0 {
            events |= poll::POLLERR;
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn open() -> Pipe {
        Pipe { readers: 1, writers: 1, reader_opens: 1, writer_opens: 1, ..Pipe::new() }
    }

    fn read(pipe: &mut Pipe, len: usize) -> Result<Vec<u8>, PipeStop> {
        let mut out = alloc::vec![0; len];
        let count = pipe.peek(&mut out)?;
        pipe.consume(count);
        out.truncate(count);
        Ok(out)
    }

    #[test]
    fn small_writes_are_whole_and_large_ones_partial() {
        let mut pipe = open();
        assert_eq!(pipe.write(&[1; PIPE_CAPACITY - 10]), Ok(PIPE_CAPACITY - 10));
        assert_eq!(pipe.write(&[2; 11]), Err(PipeStop::NotNow));
        assert_eq!(pipe.write(&[2; 10]), Ok(10));
        assert_eq!(pipe.poll_write(), 0);
        assert_eq!(read(&mut pipe, 100), Ok(alloc::vec![1; 100]));
        assert_eq!(pipe.write(&[3; PIPE_BUF + 1]), Ok(100));
    }

    #[test]
    fn ends_are_noticed() {
        let mut pipe = open();
        assert_eq!(read(&mut pipe, 1), Err(PipeStop::NotNow));
        assert_eq!(pipe.write(b"x"), Ok(1));
        pipe.writers = 0;
        assert_eq!(pipe.poll_read(true), poll::POLLIN | poll::POLLRDNORM | poll::POLLHUP);
        assert_eq!(read(&mut pipe, 9), Ok(b"x".to_vec()));
        assert_eq!(read(&mut pipe, 9), Ok(Vec::new()));
        pipe.readers = 0;
        assert_eq!(pipe.write(b"x"), Err(PipeStop::Broken));
    }

    #[test]
    fn capacity_is_whole_pages() {
        let mut pipe = open();
        assert_eq!(pipe.set_capacity(5000), Ok(8192));
        assert_eq!(pipe.write(&[0; 9000]), Ok(8192));
        assert_eq!(pipe.set_capacity(1), Err(Errno::EBUSY));
        assert_eq!(pipe.set_capacity(PIPE_CAPACITY_MAX as u64 + 1), Err(Errno::EPERM));
    }

    proptest! {
        #[test]
        fn bytes_come_out_in_order(sizes in prop::collection::vec((0_usize..9000, 0_usize..9000), 1..60)) {
            let mut pipe = open();
            let mut sent = 0_u64;
            let mut received = 0_u64;
            for (write, want) in sizes {
                let bytes: Vec<u8> = (sent..sent + write as u64).map(|n| (n % 251) as u8).collect();
                match pipe.write(&bytes) {
                    Ok(n) => sent += n as u64,
                    Err(stop) => prop_assert_eq!(stop, PipeStop::NotNow),
                }
                if let Ok(bytes) = read(&mut pipe, want) {
                    for byte in bytes {
                        prop_assert_eq!(byte, (received % 251) as u8);
                        received += 1;
                    }
                }
                prop_assert!(pipe.len() <= PIPE_CAPACITY);
                prop_assert_eq!(pipe.len() as u64, sent - received);
            }
        }
    }
}
