//! The host's three streams, which a program sees as the ends of pipes.

use alloc::collections::VecDeque;

use maize_abi::file::poll;

/// One of the host's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostStream {
    /// The launcher's standard input.
    Input,
    /// The launcher's standard output.
    Output,
    /// The launcher's standard error.
    Error,
}

/// Bytes of output that wait to be taken before a writer has to wait.
const OUTPUT_MAX: usize = 64 * 1024;

/// Standard input in a queue, as much as the host was given leave to send.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) bytes: VecDeque<u8>,
    pub(crate) closed: bool,
}

impl Input {
    pub(crate) fn poll(&self) -> u16 {
        let mut events = 0;
        if !self.bytes.is_empty() {
            events |= poll::POLLIN | poll::POLLRDNORM;
        }
        if self.closed {
            events |= poll::POLLHUP;
        }
        events
    }
}

/// Output that waits to be taken.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) bytes: VecDeque<u8>,
    /// Nobody reads it any more.
    pub(crate) closed: bool,
}

impl Output {
    /// Takes what fits and returns how many bytes that is.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(OUTPUT_MAX.saturating_sub(self.bytes.len()));
        self.bytes.extend(&bytes[..count]);
        count
    }

    /// Nobody reads it any more: what waits is lost.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.bytes.clear();
    }

    pub(crate) fn poll(&self) -> u16 {
        if self.closed {
            poll::POLLOUT | poll::POLLWRNORM | poll::POLLERR
        } else if OUTPUT_MAX - self.bytes.len() >= maize_abi::file::PIPE_BUF {
            poll::POLLOUT | poll::POLLWRNORM
        } else {
            0
        }
    }
}
