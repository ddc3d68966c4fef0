//! Frames: an 8-byte header and a payload.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | magic, [`MAGIC`] |
//! | 1 | 1 | channel, see [`Channel`] |
//! | 2 | 2 | instance that sent it or is to get it, little-endian |
//! | 4 | 4 | payload length in bytes, little-endian, at most [`MAX_PAYLOAD`] |

use alloc::vec::Vec;
use core::fmt;

/// First byte of every frame. Not ASCII, so that text on a link is told from frames at once.
pub const MAGIC: u8 = 0xA7;

/// Bytes in a frame header.
pub const HEADER_LEN: usize = 8;

/// Largest payload, in bytes. Longer data goes in several frames.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    /// Launcher to kernel: input of the program, within the credit. Empty: end of input.
    Stdin = 0,
    /// Kernel to launcher: standard output, or everything when the program has a terminal.
    Stdout = 1,
    /// Kernel to launcher: standard error.
    Stderr = 2,
    /// Both directions: one [control message](crate::control) per frame.
    Control = 3,
}

impl TryFrom<u8> for Channel {
    type Error = FrameError;

    fn try_from(byte: u8) -> Result<Self, FrameError> {
        match byte {
            0 => Ok(Self::Stdin),
            1 => Ok(Self::Stdout),
            2 => Ok(Self::Stderr),
            3 => Ok(Self::Control),
            other => Err(FrameError::UnknownChannel(other)),
        }
    }
}

/// One frame; the payload lies in the input or in the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub channel: Channel,
    /// Instance that sent it, or is to get it.
    pub instance: u16,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: &'a [u8],
}

/// Why a byte stream is not one of frames. The stream cannot be resynchronised after any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A header began with this byte instead of [`MAGIC`].
    BadMagic(u8),
    /// A header named a channel that does not exist.
    UnknownChannel(u8),
    /// A header or a caller asked for more than [`MAX_PAYLOAD`] bytes.
    TooLong(u64),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMagic(byte) => write!(f, "frame begins with {byte:#04x}, not {MAGIC:#04x}"),
            Self::UnknownChannel(byte) => write!(f, "unknown frame channel {byte}"),
            Self::TooLong(len) => write!(f, "frame of {len} bytes, limit is {MAX_PAYLOAD}"),
        }
    }
}

impl core::error::Error for FrameError {}

/// The header of a frame whose payload is `len` bytes.
pub fn header(channel: Channel, instance: u16, len: usize) -> Result<[u8; HEADER_LEN], FrameError> {
    let wire_len = u32::try_from(len).unwrap_or(u32::MAX);
    if len > MAX_PAYLOAD {
        return Err(FrameError::TooLong(wire_len.into()));
    }
    let [i0, i1] = instance.to_le_bytes();
    let [l0, l1, l2, l3] = wire_len.to_le_bytes();
    Ok([MAGIC, channel as u8, i0, i1, l0, l1, l2, l3])
}

/// Appends one frame to `out`.
pub fn encode(
    channel: Channel,
    instance: u16,
    payload: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    out.extend_from_slice(&header(channel, instance, payload.len())?);
    out.extend_from_slice(payload);
    Ok(())
}

/// Bytes of the frame that `bytes` begin with, header included. `None` if they begin with no whole
/// header, or with none at all.
#[must_use]
pub fn len(bytes: &[u8]) -> Option<usize> {
    let (_, _, len) = parse_header(*bytes.first_chunk()?).ok()?;
    Some(HEADER_LEN + len)
}

fn parse_header(bytes: [u8; HEADER_LEN]) -> Result<(Channel, u16, usize), FrameError> {
    let [magic, channel, i0, i1, l0, l1, l2, l3] = bytes;
    if magic != MAGIC {
        return Err(FrameError::BadMagic(magic));
    }
    let channel = Channel::try_from(channel)?;
    let wire_len = u32::from_le_bytes([l0, l1, l2, l3]);
    match usize::try_from(wire_len) {
        Ok(len) if len <= MAX_PAYLOAD => Ok((channel, u16::from_le_bytes([i0, i1]), len)),
        _ => Err(FrameError::TooLong(wire_len.into())),
    }
}

/// Cuts a byte stream into frames, whatever pieces it comes in.
///
/// A frame that lies whole in one piece is lent from it without a copy; only a frame cut by the end
/// of a piece is collected in the decoder, which so holds at most `HEADER_LEN + MAX_PAYLOAD` bytes.
///
/// ```
/// use maize_hostlink::frame::{Channel, Decoder, encode};
/// let mut stream = Vec::new();
/// encode(Channel::Stdout, 0, b"hello", &mut stream).unwrap();
/// let (mut decoder, mut seen) = (Decoder::new(), Vec::new());
/// for piece in stream.chunks(3) {
///     let mut input = piece;
///     while let Some(frame) = decoder.next_frame(&mut input).unwrap() {
///         seen.extend_from_slice(frame.payload);
///     }
/// }
/// assert_eq!(seen, b"hello");
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Vec<u8>,
    lent: bool,
    failed: Option<FrameError>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self { partial: Vec::new(), lent: false, failed: None }
    }

    /// Takes the next frame from the front of `input`.
    ///
    /// `None` means that `input` is used up and no frame is complete. After an error every call
    /// gives that error again.
    pub fn next_frame<'f, 'i: 'f>(
        &'f mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Frame<'f>>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.advance(input);
        match result {
            Ok(None) => Ok(None),
            Ok(Some((channel, instance, Payload::Input(payload)))) => {
                Ok(Some(Frame { channel, instance, payload }))
            }
            Ok(Some((channel, instance, Payload::Partial))) => {
                let payload = self.partial.get(HEADER_LEN..).unwrap_or_default();
                Ok(Some(Frame { channel, instance, payload }))
            }
            Err(error) => {
                self.failed = Some(error);
                self.partial = Vec::new();
                Err(error)
            }
        }
    }

    /// Bytes of an unfinished frame held now; not zero at the end of a stream means it was cut.
    #[must_use]
    pub fn pending(&self) -> usize {
        if self.lent { 0 } else { self.partial.len() }
    }

    fn advance<'i>(
        &mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<(Channel, u16, Payload<'i>)>, FrameError> {
        if self.lent {
            self.partial.clear();
            self.lent = false;
        }
        if self.partial.is_empty()
            && let Some((head, rest)) = input.split_first_chunk::<HEADER_LEN>()
        {
            let (channel, instance, len) = parse_header(*head)?;
            if let Some((payload, rest)) = rest.split_at_checked(len) {
                *input = rest;
                return Ok(Some((channel, instance, Payload::Input(payload))));
            }
        }
        // An impossible first byte is reported at once, not when seven more have come.
        self.collect(input, 1);
        if let Some(&first) = self.partial.first()
            && first != MAGIC
        {
            return Err(FrameError::BadMagic(first));
        }
        self.collect(input, HEADER_LEN);
        let Some(head) = self.partial.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let (channel, instance, len) = parse_header(*head)?;
        self.collect(input, HEADER_LEN.saturating_add(len));
        if self.partial.len() < HEADER_LEN.saturating_add(len) {
            return Ok(None);
        }
        self.lent = true;
        Ok(Some((channel, instance, Payload::Partial)))
    }

    /// Moves bytes from `input` until `want` are held or the input is used up.
    fn collect(&mut self, input: &mut &[u8], want: usize) {
        let missing = want.saturating_sub(self.partial.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.partial.extend_from_slice(taken);
        *input = rest;
    }
}

/// Where the payload of a finished frame lies.
enum Payload<'i> {
    Input(&'i [u8]),
    Partial,
}
