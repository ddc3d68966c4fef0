//! Sending: what is put into the port at once, and what has to wait.

use core::fmt;

use maize_hal::Nanos;
use maize_ring::Refused;
use maize_wire::{
    Body, Class, Frame, FrameError, Header, InstanceId, Kind, MAX_BODY_BYTES, MAX_MESSAGE_BYTES,
    MAX_PAGE_BODY_BYTES, PAGE_WORDS, Parts, Session, checksum::Coverage,
};

use super::{FRAMES_A_CALL, Gate, Link};
use crate::{Port, outbox::Overflow};

/// Looks for room before a message is made to wait: some ten microseconds at the most, a few times as
/// long as a peer takes for a page.
const LOOKS_FOR_ROOM: usize = 256;

/// A message to send.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// Its priority.
    pub class: Class,
    /// What it is about.
    pub kind: Kind,
    /// Its body, of up to [`MAX_MESSAGE_BYTES`] bytes ([`MAX_PAGE_BODY_BYTES`] with a page). If
    /// it is aligned to eight bytes, as a `ControlBody` is, it is copied by whole words.
    pub contents: &'a [u8],
    /// A page that goes with it.
    pub page: Option<&'a [u64; PAGE_WORDS]>,
}

/// Who talks to whom, and with which checksums.
#[derive(Clone, Copy)]
pub(super) struct Addressing {
    pub(super) me: InstanceId,
    pub(super) peer: InstanceId,
    pub(super) coverage: Coverage,
}

impl Addressing {
    #[inline(never)]
    fn frame<'a>(
        self,
        session: Session,
        (class, kind, sequence): (Class, Kind, u32),
        body: Body<'a>,
        page: Option<&'a [u64; PAGE_WORDS]>,
    ) -> Result<Frame<'a>, FrameError> {
        let parts = Parts {
            checked: self.coverage != Coverage::Off,
            page_checked: self.coverage == Coverage::All,
            ..Parts::default()
        };
        let header = Header {
            kind,
            class,
            parts,
            length: 0,
            source: self.me,
            destination: self.peer,
            epoch: session.local,
            sequence,
        };
        Frame::new(header, body, page)
    }
}

impl Link {
    /// Sends a message, or makes it wait for its turn. Returns its number in its class.
    ///
    /// After a batch, [`Link::notify`] says whether the peer's doorbell is to be rung.
    ///
    /// # Errors
    /// [`SendError`]; the message was not taken.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "in emulation each call costs as much as all the rest"
    )]
    pub fn send(
        &mut self,
        now: Nanos,
        port: &mut impl Port,
        message: Outgoing<'_>,
    ) -> Result<u32, SendError> {
        let Outgoing { class, kind, contents, page } = message;
        let sequence = self.sequence[class.index()];
        let id = (class, kind, sequence as u32);
        if page.is_none() && self.push_slot(port, id, contents)
            || self.push_lines(port, id, contents, page)
        {
            self.sequence[class.index()] = sequence + 1;
            self.stats.bytes_sent += contents.len() as u64;
            return Ok(sequence as u32);
        }
        self.send_other(now, port, (class, kind), contents, page)
    }

    /// Publishes a message in a plain frame of one slot; `false` if that is not possible, or not now.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "in emulation each call costs as much as all the rest"
    )]
    fn push_slot(&mut self, port: &mut impl Port, id: (Class, Kind, u32), contents: &[u8]) -> bool {
        let until = self.express[id.0.index()];
        if let Some(words) = self.route.short_slot(id, contents) {
            return port.push_slot(words, until);
        }
        match self.route.slot(id, contents) {
            Some(words) => port.push_slot(words, until),
            None => false,
        }
    }

    /// The same of a message in a plain frame of any size.
    #[inline(never)]
    fn push_lines(
        &mut self,
        port: &mut impl Port,
        id: (Class, Kind, u32),
        contents: &[u8],
        page: Option<&[u64; PAGE_WORDS]>,
    ) -> bool {
        let Some(route) = self.plain else { return false };
        if self.gate == Gate::Closed || !self.outbox.is_empty() {
            return false;
        }
        let Some((slots, lines)) = route.lines(id, contents, page) else { return false };
        if slots == 1 {
            // It would have been sent before if there was known to be room.
            let class = id.0.index();
            self.express[class] = port.room_until(self.limits[class]).unwrap_or(0);
        }
        let sent = port.push_lines(slots, lines, self.limits[id.0.index()]).is_ok();
        self.stats.pages_sent += u64::from(sent && page.is_some());
        sent
    }

    /// Sends what is not a plain message with nothing in its way.
    #[inline(never)]
    fn send_other(
        &mut self,
        now: Nanos,
        port: &mut impl Port,
        (class, kind): (Class, Kind),
        contents: &[u8],
        page: Option<&[u64; PAGE_WORDS]>,
    ) -> Result<u32, SendError> {
        let Some(session) = self.life.session() else { return Err(SendError::NotUp) };
        if self.gate == Gate::Closed {
            return Err(SendError::NotUp);
        }
        let message = Outgoing { class, kind, contents, page };
        let most = if page.is_some() { MAX_PAGE_BODY_BYTES } else { MAX_MESSAGE_BYTES };
        if contents.len() > most {
            return Err(SendError::TooLong);
        }
        let sequence = self.sequence[class.index()];
        let mut sent = false;
        if contents.len() <= MAX_BODY_BYTES && self.outbox.may_overtake(class) {
            let id = (class, kind, sequence as u32);
            let frame = self.frame(session, id, Body { fragment: None, contents }, page);
            sent = self.publish(now, port, &frame.map_err(|_| SendError::TooLong)?, class)?;
        }
        if sent {
            self.sequence[class.index()] = sequence + 1;
        } else {
            self.send_later(now, port, message)?;
        }
        self.stats.bytes_sent += contents.len() as u64;
        self.stats.pages_sent += u64::from(page.is_some());
        Ok(sequence as u32)
    }

    /// The frame of a message, or of a part of one.
    #[inline]
    fn frame<'a>(
        &self,
        session: Session,
        id: (Class, Kind, u32),
        body: Body<'a>,
        page: Option<&'a [u64; PAGE_WORDS]>,
    ) -> Result<Frame<'a>, FrameError> {
        match (self.plain, body.fragment) {
            (Some(route), None) => Frame::plain(route, id, body.contents, page),
            _ => self.addressing.frame(session, id, body, page),
        }
    }

    /// Makes a message wait, and sends what there is room for. It is counted in between: the session,
    /// and with it the numbers, may end there.
    #[cold]
    fn send_later(
        &mut self,
        now: Nanos,
        port: &mut impl Port,
        Outgoing { class, kind, contents, page }: Outgoing<'_>,
    ) -> Result<(), SendError> {
        self.stir();
        self.express = [0; Class::COUNT];
        let id = (class, kind, self.sequence[class.index()] as u32);
        if let Err(overflow) = self.outbox.queue(id, contents, page) {
            self.stats.refused += 1;
            return Err(match overflow {
                Overflow::Full => SendError::Full,
                Overflow::NoMemory => SendError::NoMemory,
            });
        }
        self.stats.queued += 1;
        self.sequence[class.index()] += 1;
        self.drain(now, port);
        Ok(())
    }

    /// Puts a frame into the port. If there is no room for it and nothing waits yet, looks a few
    /// times whether the peer makes room: a peer that is just taking messages does so sooner than a
    /// message is copied into the queue and out of it again.
    #[inline]
    fn push(
        &mut self,
        port: &mut impl Port,
        frame: &Frame<'_>,
        limit: usize,
    ) -> Result<(), Refused> {
        let pushed = port.push(frame, limit);
        if pushed == Err(Refused::Full) && self.outbox.is_empty() {
            return Self::push_patiently(port, frame, limit);
        }
        pushed
    }

    #[cold]
    #[inline(never)]
    fn push_patiently(
        port: &mut impl Port,
        frame: &Frame<'_>,
        limit: usize,
    ) -> Result<(), Refused> {
        let looks = (0..LOOKS_FOR_ROOM).map(|_| port.push(frame, limit));
        let mut looks = looks.skip_while(|pushed| *pushed == Err(Refused::Full));
        looks.next().unwrap_or(Err(Refused::Full))
    }

    /// Publishes a frame of that class, if its limit allows. `false` if there is no room.
    #[inline]
    fn publish(
        &mut self,
        now: Nanos,
        port: &mut impl Port,
        frame: &Frame<'_>,
        class: Class,
    ) -> Result<bool, SendError> {
        match self.push(port, frame, self.limits[class.index()]) {
            Ok(()) => {
                self.outbox.passed(class, frame.slots());
                Ok(true)
            }
            Err(Refused::Full) => Ok(false),
            Err(Refused::Size) => Err(SendError::TooLong),
            Err(Refused::Broken(broken)) => {
                self.broken(now, port, broken);
                // A peer that is no longer attached, but does not say more yet, is given the
                // time that a silent one has.
                if self.life.session().is_some() { Ok(false) } else { Err(SendError::NotUp) }
            }
        }
    }

    /// Sends of what waits as much as there is room for.
    #[cold]
    pub(super) fn drain(&mut self, now: Nanos, port: &mut impl Port) {
        for _ in 0..FRAMES_A_CALL {
            let Some(session) = self.life.session() else { return };
            let Some((class, limit)) = self.outbox.turn() else { return };
            let Some(front) = self.outbox.front(class) else { return };
            let id = (class, front.kind, front.sequence);
            let body = front.next_body();
            let bytes = body.contents.len();
            let Ok(frame) = self.frame(session, id, body, front.page()) else { return };
            let slots = frame.slots();
            match port.push(&frame, self.limits[limit.index()]) {
                Ok(()) => {
                    self.outbox.advance(class, bytes);
                    self.outbox.passed(class, slots);
                    self.stats.frames_sent += 1;
                }
                Err(Refused::Full | Refused::Size) => return,
                Err(Refused::Broken(broken)) => return self.broken(now, port, broken),
            }
        }
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// There is no session with this peer.
    NotUp,
    /// Too much waits already. [`Event::Room`] will tell when there is room again.
    Full,
    /// The message would have to wait and there is no memory for it.
    NoMemory,
    /// No message can be that long.
    TooLong,
    /// There is no such peer.
    NoSuchPeer,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::NotUp => "no session with this peer",
            SendError::Full => "too much waits for this peer already",
            SendError::NoMemory => "no memory for a message that must wait",
            SendError::TooLong => "message is too long",
            SendError::NoSuchPeer => "no such peer",
        })
    }
}

impl core::error::Error for SendError {}
