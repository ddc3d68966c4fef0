//! The launcher's end of a host link.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use maize_hostlink::frame::{self, Channel, Decoder, FrameError, MAX_PAYLOAD};
use maize_hostlink::{ControlError, LauncherMessage};

/// Bytes asked of the socket at once.
const READ_SIZE: usize = 256 * 1024;

/// The host link of one machine.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
    credit: u64,
}

/// What reading a link came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Frames, or nothing now.
    Open,
    /// The machine has closed it.
    End,
}

/// A link that cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The kernel sent what is no frame.
    #[error("host link: {0}")]
    Frame(#[from] FrameError),
    /// The kernel sent what is no message.
    #[error("host link: {0}")]
    Control(#[from] ControlError),
    /// The kernel spoke for an instance that is not its machine's.
    #[error("host link: a frame of instance {0}, which is elsewhere")]
    Stranger(u16),
    /// The machine ended in the middle of a frame.
    #[error("host link: ended {0} bytes into a frame")]
    Cut(usize),
    /// The socket.
    #[error("host link: {0}")]
    Socket(#[from] io::Error),
}

impl Link {
    /// A link over a non-blocking socket.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            decoder: Decoder::new(),
            buffer: vec![0; READ_SIZE],
            outgoing: Vec::new(),
            sent: 0,
            credit: 0,
        }
    }

    /// The socket, to wait on.
    #[must_use]
    pub const fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Reads once and hands every complete frame to `handle`.
    pub fn receive(
        &mut self,
        mut handle: impl FnMut(frame::Frame<'_>) -> Result<(), LinkError>,
    ) -> Result<Received, LinkError> {
        let count = match self.stream.read(&mut self.buffer) {
            Ok(0) => {
                return match self.decoder.pending() {
                    0 => Ok(Received::End),
                    pending => Err(LinkError::Cut(pending)),
                };
            }
            Ok(count) => count,
            // A machine that was killed resets its sockets.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(Received::End);
            }
            Err(error) if is_transient(&error) => return Ok(Received::Open),
            Err(error) => return Err(error.into()),
        };
        let mut input = self.buffer.get(..count).unwrap_or_default();
        while let Some(frame) = self.decoder.next_frame(&mut input)? {
            handle(frame)?;
        }
        Ok(Received::Open)
    }

    /// Queues a control message for an instance.
    pub fn send(&mut self, message: LauncherMessage, instance: u16) -> Result<(), LinkError> {
        Ok(message.encode(instance, &mut self.outgoing)?)
    }

    /// The kernel takes this many more bytes of input.
    pub fn add_credit(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes.into());
    }

    /// Bytes of input that may be queued now: within the credit, and only when the last are gone.
    #[must_use]
    pub fn input_room(&self) -> usize {
        if self.wants_to_send() {
            0
        } else {
            usize::try_from(self.credit).unwrap_or(usize::MAX).min(MAX_PAYLOAD)
        }
    }

    /// Queues input, at most [`Link::input_room`] bytes; none says that the input has ended.
    pub fn send_input(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.credit = self.credit.saturating_sub(bytes.len() as u64);
        Ok(frame::encode(Channel::Stdin, 0, bytes, &mut self.outgoing)?)
    }

    /// Whether something is queued.
    #[must_use]
    pub const fn wants_to_send(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Sends what the socket takes now. To a machine that has ended nothing is sent, without error.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if is_transient(&error) => return Ok(()),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                    ) =>
                {
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(())
    }
}

/// Whether an operation is to be tried again after waiting.
pub fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
