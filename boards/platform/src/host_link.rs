//! The host link: frames on a byte stream, as the core's `HostIo`.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use maize_abi::signal::Signal;
use maize_hal::{HostEvent, HostIo, Nanos, OutputStream, Report};
use maize_hostlink::control::{Level, Output, Stats};
use maize_hostlink::frame::{HEADER_LEN, MAX_PAYLOAD};
use maize_hostlink::{
    Channel, ControlError, Decoder, FrameError, KernelMessage, LauncherMessage, frame,
};

/// An ordered, reliable stream of bytes in both directions that never waits.
pub trait ByteStream {
    /// Takes as many of `bytes` as there is room for and returns how many. After it took less than
    /// all, an interrupt tells that there may be room again.
    fn send(&mut self, bytes: &[u8]) -> usize;

    /// Fills `out` with what has arrived and returns how many bytes that was.
    fn receive(&mut self, out: &mut [u8]) -> usize;

    /// Whether all that was sent has left the machine. If not, an interrupt tells when to ask again.
    fn flushed(&mut self) -> bool;
}

impl<S: ByteStream + ?Sized> ByteStream for Box<S> {
    fn send(&mut self, bytes: &[u8]) -> usize {
        (**self).send(bytes)
    }

    fn receive(&mut self, out: &mut [u8]) -> usize {
        (**self).receive(out)
    }

    fn flushed(&mut self) -> bool {
        (**self).flushed()
    }
}

/// A stream that leads nowhere: what is sent is lost, and nothing comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unconnected;

impl ByteStream for Unconnected {
    fn send(&mut self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn receive(&mut self, _: &mut [u8]) -> usize {
        0
    }

    fn flushed(&mut self) -> bool {
        true
    }
}

/// Why the launcher's bytes make no sense. Nothing more is read after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// They are not frames.
    Frame(FrameError),
    /// A control frame holds no message.
    Control(ControlError),
    /// A frame came on a channel that only the kernel sends on.
    Direction(Channel),
    /// More input came than there was credit for.
    Credit,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Control(error) => error.fmt(f),
            Self::Direction(channel) => write!(f, "the launcher sent on channel {channel:?}"),
            Self::Credit => f.write_str("the launcher sent more input than there was credit for"),
        }
    }
}

impl Error for LinkError {}

/// Bytes of standard input that may be on their way or unread.
const INPUT_WINDOW: u32 = 64 * 1024;

/// Encoded bytes held back when the stream has no room. Beyond it output is refused; reports still
/// go in, being few and small.
const OUTPUT_LIMIT: usize = 256 * 1024;

/// Bytes taken from the stream at once.
const RECEIVE_LEN: usize = 4096;

/// The host's end of an instance's streams, over `S`.
#[derive(Debug)]
pub struct HostLink<S> {
    stream: S,
    instance: u16,
    /// The instance through which this one reaches the launcher, if it has no stream of its own.
    through: Option<u16>,
    decoder: Decoder,
    events: VecDeque<HostEvent>,
    /// What is for the fabric, or for a sibling, and not for the core; with the instance that it is
    /// addressed to.
    orders: VecDeque<(u16, LauncherMessage)>,
    /// Encoded, not yet taken by the stream, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    /// Input the launcher may still send.
    credit: u32,
    /// Input consumed, for which no credit was given back yet.
    consumed: u32,
    closed: [bool; 2],
    failed: Option<LinkError>,
    phases: Vec<(String, Nanos)>,
}

impl<S: ByteStream> HostLink<S> {
    /// Opens the link of `instance`: says hello and lets input come.
    #[must_use]
    pub fn new(stream: S, instance: u16) -> HostLink<S> {
        let mut link = HostLink::closed(stream, instance, None);
        link.tell(&KernelMessage::Hello { version: maize_hostlink::VERSION });
        link.tell(&KernelMessage::StdinCredit { bytes: INPUT_WINDOW });
        link.pump();
        link
    }

    /// The link of an instance that has no stream of its own: `through`, which has, passes on what
    /// [`Self::first_frame`] gives, and hands what comes for this instance to [`Self::hear`].
    #[must_use]
    pub fn relayed(stream: S, instance: u16, through: u16) -> HostLink<S> {
        HostLink::closed(stream, instance, Some(through))
    }

    fn closed(stream: S, instance: u16, through: Option<u16>) -> HostLink<S> {
        HostLink {
            stream,
            instance,
            through,
            decoder: Decoder::new(),
            events: VecDeque::new(),
            orders: VecDeque::new(),
            output: Vec::new(),
            sent: 0,
            credit: INPUT_WINDOW,
            consumed: 0,
            closed: [false; 2],
            failed: None,
            phases: Vec::new(),
        }
    }

    /// Notes that boot step `name` ended `at`; the launcher hears of all with `Report::Ready`.
    pub fn phase(&mut self, name: &str, at: Nanos) {
        self.phases.push((name.into(), at));
    }

    /// What made the link stop listening, if anything did.
    #[must_use]
    pub fn failure(&self) -> Option<LinkError> {
        self.failed
    }

    /// The next message of the launcher that concerns the fabric or a sibling, with the instance that
    /// it is for.
    /// [`HostIo::poll`] is what reads the stream.
    pub fn take_order(&mut self) -> Option<(u16, LauncherMessage)> {
        self.orders.pop_front()
    }

    /// The instance whose link this is.
    #[must_use]
    pub const fn instance(&self) -> u16 {
        self.instance
    }

    /// The instance that passes this one's frames on, if it has no stream of its own.
    #[must_use]
    pub const fn through(&self) -> Option<u16> {
        self.through
    }

    /// The first frame that is to be passed on, whole; [`Self::drop_frame`] takes it away.
    #[must_use]
    pub fn first_frame(&self) -> Option<&[u8]> {
        let waiting = self.output.get(self.sent..)?;
        waiting.get(..frame::len(waiting)?)
    }

    /// Takes the first frame away: it was passed on.
    pub fn drop_frame(&mut self) {
        self.sent += self.first_frame().map_or(0, <[u8]>::len);
        self.tidy();
    }

    /// Takes bytes that the launcher has sent to this instance through another.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.decode(bytes);
    }

    /// Whether there is something that [`HostIo::poll`] gives.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Passes on what a sibling sends, unchanged. Returns whether it is frames of that instance, of
    /// kinds that a kernel sends; anything else is dropped.
    pub fn pass_on(&mut self, from: u16, bytes: &[u8]) -> bool {
        let (mut decoder, mut input) = (Decoder::new(), bytes);
        loop {
            let allowed = match decoder.next_frame(&mut input) {
                Ok(Some(frame)) => frame.instance == from && frame.channel != Channel::Stdin,
                Ok(None) => break,
                Err(_) => false,
            };
            if !allowed {
                return false;
            }
        }
        if decoder.pending() != 0 {
            return false;
        }
        self.output.extend_from_slice(bytes);
        true
    }

    /// Tells the launcher something.
    pub fn tell(&mut self, message: &KernelMessage) {
        if let Err(error) = message.encode(self.instance, &mut self.output) {
            log::error!("host link: cannot say {message:?}: {error}");
        }
    }

    fn pending(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Moves held output to the stream.
    pub fn pump(&mut self) {
        if self.sent < self.output.len() && self.through.is_none() {
            self.sent += self.stream.send(&self.output[self.sent..]);
        }
        self.tidy();
    }

    /// Forgets what was sent.
    fn tidy(&mut self) {
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        } else if self.sent >= OUTPUT_LIMIT / 2 {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Reads what has arrived until an event is found.
    fn listen(&mut self) {
        let mut buffer = vec![0; RECEIVE_LEN];
        while self.events.is_empty() && self.failed.is_none() {
            let n = self.stream.receive(&mut buffer);
            if n == 0 {
                return;
            }
            self.decode(&buffer[..n]);
        }
    }

    fn decode(&mut self, mut input: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.take_frames(&mut input) {
            log::error!("host link: {error}; no longer listening");
            self.failed = Some(error);
            // Without the launcher's word nothing can be asked for any more.
            self.events.push_back(HostEvent::InputClosed);
        }
    }

    fn take_frames(&mut self, input: &mut &[u8]) -> Result<(), LinkError> {
        while let Some(frame) = self.decoder.next_frame(input).map_err(LinkError::Frame)? {
            match frame.channel {
                Channel::Stdin if frame.payload.is_empty() => {
                    self.events.push_back(HostEvent::InputClosed);
                }
                Channel::Stdin => {
                    let len = u32::try_from(frame.payload.len()).map_err(|_| LinkError::Credit)?;
                    self.credit = self.credit.checked_sub(len).ok_or(LinkError::Credit)?;
                    self.events.push_back(HostEvent::Input(frame.payload.into()));
                }
                Channel::Control => {
                    let message =
                        LauncherMessage::decode(frame.payload).map_err(LinkError::Control)?;
                    if frame.instance != self.instance {
                        // For a sibling, to whom it is passed on.
                        self.orders.push_back((frame.instance, message));
                        continue;
                    }
                    match event(message, &mut self.closed) {
                        Some(Heard::Event(event)) => self.events.push_back(event),
                        Some(Heard::Order) => self.orders.push_back((frame.instance, message)),
                        None => {}
                    }
                }
                Channel::Stdout | Channel::Stderr => {
                    return Err(LinkError::Direction(frame.channel));
                }
            }
        }
        Ok(())
    }
}

/// Whom a message of the launcher concerns.
enum Heard {
    /// The core.
    Event(HostEvent),
    /// The fabric.
    Order,
}

fn event(message: LauncherMessage, closed: &mut [bool; 2]) -> Option<Heard> {
    Some(Heard::Event(match message {
        LauncherMessage::WindowSize(size) => {
            HostEvent::WindowSize { rows: size.rows, cols: size.columns }
        }
        LauncherMessage::Signal(number) => match Signal::new(number.into()) {
            Some(signal) => HostEvent::Signal(signal),
            None => {
                log::warn!("host link: the launcher asked for signal {number}, which is none");
                return None;
            }
        },
        LauncherMessage::OutputClosed(output) => {
            let stream = match output {
                Output::Stdout => OutputStream::Stdout,
                Output::Stderr => OutputStream::Stderr,
            };
            closed[index(stream)] = true;
            HostEvent::OutputClosed(stream)
        }
        LauncherMessage::StatsRequest => HostEvent::StatsRequest,
        LauncherMessage::TasksRequest => HostEvent::TasksRequest,
        LauncherMessage::Shutdown => HostEvent::Shutdown,
        LauncherMessage::PeerStopped { .. }
        | LauncherMessage::StopInstance { .. }
        | LauncherMessage::StartInstance { .. } => return Some(Heard::Order),
    }))
}

const fn index(stream: OutputStream) -> usize {
    match stream {
        OutputStream::Stdout => 0,
        OutputStream::Stderr => 1,
    }
}

impl<S: ByteStream> HostIo for HostLink<S> {
    fn write(&mut self, stream: OutputStream, bytes: &[u8]) -> usize {
        if self.closed[index(stream)] {
            return bytes.len();
        }
        let channel = match stream {
            OutputStream::Stdout => Channel::Stdout,
            OutputStream::Stderr => Channel::Stderr,
        };
        let mut taken = 0;
        loop {
            self.pump();
            let room = OUTPUT_LIMIT.saturating_sub(self.pending() + HEADER_LEN);
            let n = (bytes.len() - taken).min(room).min(MAX_PAYLOAD);
            let piece = &bytes[taken..taken + n];
            if n == 0 || frame::encode(channel, self.instance, piece, &mut self.output).is_err() {
                return taken;
            }
            taken += n;
        }
    }

    fn poll(&mut self) -> Option<HostEvent> {
        self.pump();
        if self.events.is_empty() {
            self.listen();
        }
        self.events.pop_front()
    }

    fn consumed(&mut self, bytes: usize) {
        self.consumed = self.consumed.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        // Credit goes back in pieces of a quarter of the window, or at once when all is used up.
        if self.consumed >= INPUT_WINDOW / 4 || (self.consumed > 0 && self.credit == 0) {
            let bytes = core::mem::take(&mut self.consumed);
            self.credit = self.credit.saturating_add(bytes);
            self.tell(&KernelMessage::StdinCredit { bytes });
            self.pump();
        }
    }

    fn report(&mut self, report: Report) {
        let message = match report {
            Report::Ready { at } => KernelMessage::Ready {
                since_entry_ns: at.0,
                phases: self.phases.drain(..).map(|(name, at)| (name, at.0)).collect(),
            },
            Report::Exited { status } => KernelMessage::Exited { status: status as i32 },
            Report::Fault { text } => KernelMessage::Report { level: Level::Error, text },
            Report::Stats { counters } => {
                KernelMessage::Stats(Stats { counters, histograms: Vec::new() })
            }
        };
        self.tell(&message);
        self.pump();
    }

    fn flushed(&mut self) -> bool {
        self.pump();
        self.pending() == 0 && self.stream.flushed()
    }
}

#[cfg(test)]
mod tests;
