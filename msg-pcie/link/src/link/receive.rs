//! Receiving: what is looked at, shown and given back.

use maize_hal::Nanos;
use maize_wire::{Kind, PAGE_WORDS, Session};

use super::{Event, FRAMES_A_CALL, Glance, Held, Link};
use crate::{Corruption, Input, Message, Port, inbox::Arrival};

impl Link {
    /// The next thing that the link has to say: news, a message, room; `None` if nothing. Also
    /// sends what waited. Never takes long, and never waits.
    #[inline]
    pub fn poll(&mut self, now: Nanos, port: &mut impl Port) -> Option<Event> {
        match self.glance(port) {
            Glance::Nothing => None,
            Glance::Message(..) => Some(Event::Message(self.message())),
            Glance::Other => self.poll_other(now, port),
        }
    }

    /// What [`Link::poll`] does nearly always: it finds nothing, or a message in a plain frame; what
    /// fills one slot most quickly.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "in emulation each call costs as much as all the rest"
    )]
    pub(crate) fn glance(&mut self, port: &mut impl Port) -> Glance {
        if self.held != Held::Nothing
            && let Some(nothing) = self.get_ready(port)
        {
            return if nothing { Glance::Nothing } else { Glance::Other };
        }
        let Some(glimpse) = port.glimpse() else { return Glance::Nothing };
        if let Some((kind, first)) = self.inbox.accept_slot(port, glimpse) {
            self.held = Held::Slot;
            return Glance::Message(kind, first);
        }
        if !self.glance_at_frame(port) {
            return Glance::Other;
        }
        let (kind, first) = self.inbox.shows();
        Glance::Message(kind, first)
    }

    /// The same for a plain frame of any size; whether it is one that a glance shows. Looks anew: what
    /// was seen would have to be put into memory for this, with every frame.
    #[inline(never)]
    fn glance_at_frame(&mut self, port: &mut impl Port) -> bool {
        if !self.inbox.is_shown() {
            return false;
        }
        let Some(glimpse) = port.glimpse() else { return false };
        let [first, second, third, a] = glimpse.words;
        if Kind((first >> 16) as u16).is_reserved() {
            return false;
        }
        let Some(slots) = glimpse.slots().filter(|slots| port.open(*slots)) else { return false };
        let [b, c, d] = port.rest_of_slot();
        let taken = self.inbox.accept_plain(port, slots, [first, second, third, a, b, c, d]);
        if taken {
            self.deliver();
        }
        taken
    }

    /// Gives back what was handed out. If a glance must not look at the port, whether that means that
    /// there is nothing.
    #[inline]
    fn get_ready(&mut self, port: &mut impl Port) -> Option<bool> {
        self.give_back(port);
        if self.eventful { self.look_for_events() } else { None }
    }

    #[inline(never)]
    fn look_for_events(&mut self) -> Option<bool> {
        let waits = !self.news.is_empty() || self.unsettled;
        let talks = self.life.session().is_some();
        self.eventful = waits || !talks || self.plain.is_none() || !self.outbox.is_quiet();
        self.hold_nothing();
        self.eventful.then_some(!waits && !talks)
    }

    /// Does what is left to do after a glance at the port that has shown anything out of the
    /// ordinary. Of what was seen then, nothing is used: frames are copied and validated anew.
    #[inline(never)]
    pub(crate) fn poll_other(&mut self, now: Nanos, port: &mut impl Port) -> Option<Event> {
        self.stir();
        if !self.news.is_empty() {
            return self.news.pop_front().map(Event::News);
        }
        let Some(session) = self.life.session() else {
            return self.poll_without_session(now, port);
        };
        if let Some(message) = self.receive(now, port, session) {
            return Some(Event::Message(message));
        }
        if !self.outbox.is_empty() {
            self.drain(now, port);
        }
        if !self.news.is_empty() {
            return self.news.pop_front().map(Event::News);
        }
        self.outbox.take_room().map(Event::Room)
    }

    /// Joining does not wait for heartbeats: while one look may lead to the next, each poll looks.
    #[cold]
    fn poll_without_session(&mut self, now: Nanos, port: &mut impl Port) -> Option<Event> {
        if self.unsettled {
            self.look(now, port);
        }
        self.news.pop_front().map(Event::News)
    }

    /// The message that [`Link::poll`] has just returned.
    #[inline]
    #[must_use]
    pub fn message(&self) -> Message {
        self.inbox.message()
    }

    /// The body of the message that [`Link::poll`] has just returned; its first byte is aligned
    /// to eight, unless it came in fragments.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.inbox.body()
    }

    /// Copies the page of the message that [`Link::poll`] has just returned. `false` if there is
    /// none to be had: the message had none, or the link has been polled since, or the page is
    /// corrupt (then the link is, too).
    pub fn copy_page(
        &mut self,
        now: Nanos,
        port: &mut impl Port,
        into: &mut [u64; PAGE_WORDS],
    ) -> bool {
        match self.inbox.copy_page(port, into) {
            Ok(copied) => copied,
            Err(error) => {
                self.step(now, port, Input::Corrupt(Corruption::Frame(error)));
                false
            }
        }
    }

    fn receive(&mut self, now: Nanos, port: &mut impl Port, session: Session) -> Option<Message> {
        for _ in 0..FRAMES_A_CALL {
            let front = match port.front() {
                Ok(front) => front?,
                Err(broken) => {
                    self.broken(now, port, broken);
                    return None;
                }
            };
            let [_, words @ ..] = front.line;
            if self.inbox.accept_plain(port, front.slots, words) {
                self.deliver();
                return Some(self.message());
            }
            match self.inbox.accept(port, session, &front) {
                Ok(Arrival::Message(message)) => {
                    self.deliver();
                    return Some(message);
                }
                Ok(Arrival::Part) => self.stats.frames_received += 1,
                Ok(Arrival::Stale) => self.stats.stale += 1,
                Ok(Arrival::NoMemory) => {
                    self.stats.no_memory += 1;
                    return None;
                }
                Err(error) => {
                    self.step(now, port, Input::Corrupt(Corruption::Frame(error)));
                    return None;
                }
            }
            port.pop();
        }
        None
    }

    /// Notes that a message is handed out, whose frame is to be given back.
    fn deliver(&mut self) {
        self.held = Held::Frame;
        let message = self.message();
        self.stats.bytes_received += message.length as u64;
        self.stats.pages_received += u64::from(message.has_page);
    }

    #[inline]
    pub(super) fn give_back(&mut self, port: &mut impl Port) {
        match self.held {
            Held::Slot => {
                self.stats.bytes_received += self.inbox.length() as u64;
                port.pop_slot();
                self.hold_nothing();
            }
            Held::Frame => self.give_frame_back(port),
            Held::Nothing | Held::Events => {}
        }
    }

    #[inline(never)]
    fn give_frame_back(&mut self, port: &mut impl Port) {
        self.inbox.forget();
        port.pop();
        self.hold_nothing();
    }

    #[inline]
    fn hold_nothing(&mut self) {
        self.held = if self.eventful { Held::Events } else { Held::Nothing };
    }
}
