//! The link: one peer, one machine.

use alloc::collections::VecDeque;
use core::fmt;

use maize_hal::Nanos;
use maize_ring::{Broken, Meanwhile, Refused};
use maize_wire::{
    Body, Class, Epoch, Frame, FrameError, Header, InstanceId, Kind, MAX_BODY_BYTES,
    MAX_MESSAGE_BYTES, MAX_PAGE_BODY_BYTES, PAGE_WORDS, Parts, Route, Session, checksum::Coverage,
};

use crate::{
    Act, Corruption, Input, Life, LifeConfig, Lifeline, LinkStats, Message, News, OutboxConfig,
    Port,
    inbox::{Arrival, Inbox},
    outbox::{Outbox, Overflow, Pending, slot_limit},
};

/// Settings of a link; both ends need the same coverage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkConfig {
    /// How much of the traffic has checksums.
    pub coverage: Coverage,
    /// Bounds of what waits to be sent.
    pub outbox: OutboxConfig,
    /// Time limits.
    pub life: LifeConfig,
}

/// What a link has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something became of the peer.
    News(News),
    /// A message has arrived. Its body, and its page, stay until the link is polled again.
    Message(Message),
    /// There is room in this class, from which a message was turned away.
    Room(Class),
}

/// What a glance at a port has shown.
pub(crate) enum Glance {
    /// There is nothing to do.
    Nothing,
    /// A message, of that kind, the first word of whose body is this: [`Link::message`].
    Message(Kind, u64),
    /// Something else, or a frame that needs a closer look: [`Link::poll_other`].
    Other,
}

/// What a link does for those above it, while there is a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// Nothing is sent, and messages are shown by [`Link::poll`] only: whether the peer can be relied
    /// on is not known yet.
    Closed,
    /// Messages are shown by [`Link::poll`] only, by whom more is done with them.
    Polled,
    /// Everything.
    #[default]
    Open,
}

/// What of the port has been handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Held {
    /// Nothing, and nothing is to be done.
    #[default]
    Nothing,
    /// Nothing, but the link is eventful.
    Events,
    /// A frame of one slot, of whose message the bytes are not counted yet.
    Slot,
    /// Any frame.
    Frame,
}

/// Frames that one call takes in or puts out at the most, so that no call lasts for long.
const FRAMES_A_CALL: usize = 16;

/// Looks for room before a message is made to wait: some ten microseconds at the most, a few times as
/// long as a peer takes for a page.
const LOOKS_FOR_ROOM: usize = 256;

/// Looks at a peer that has left before what it has said is given up: time enough to take in a whole
/// ring, and no more than death takes.
const FAREWELL_LOOKS: u8 = 16;

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
struct Addressing {
    me: InstanceId,
    peer: InstanceId,
    coverage: Coverage,
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

/// The ordered message channel to one peer. See the crate's documentation for what it promises.
pub struct Link {
    addressing: Addressing,
    life: Lifeline,
    outbox: Outbox,
    inbox: Inbox,
    gate: Gate,
    /// The route of what this side sends in the session, if it sends plain frames.
    plain: Option<Route>,
    /// The route of what [`Link::express`] is about.
    route: Route,
    /// For each class the index of the port before which a plain frame of one slot may be sent with
    /// nothing else looked at: nothing waits, and there is room. Zero if that is not so, or not known.
    express: [u64; Class::COUNT],
    /// Slots of the port that may be in use when a frame of each class is added, in this session.
    limits: [usize; Class::COUNT],
    /// Number of the next message of each class in this session; its low half travels.
    sequence: [u64; Class::COUNT],
    /// What has been handed out and is to be given back, and what else a poll has to do before it
    /// looks at the port.
    held: Held,
    /// There may be news or messages that wait, there is no session, or frames have checksums.
    eventful: bool,
    /// What this side says of the link has changed since the last [`Link::notify`].
    owes_doorbell: bool,
    /// The peer's life has just changed, or is waiting for the peer: another look may tell more.
    unsettled: bool,
    /// Looks for which what a peer has said before it left is still heard.
    farewell: u8,
    /// News that have not been told yet: at most a look's and the end of a session.
    news: VecDeque<News>,
    stats: LinkStats,
}

impl Link {
    /// The end of `me`, in incarnation `local`, towards `peer`.
    #[must_use]
    pub fn new(config: LinkConfig, me: InstanceId, local: Epoch, peer: InstanceId) -> Link {
        let coverage = config.coverage;
        Link {
            addressing: Addressing { me, peer, coverage },
            life: Lifeline::new(config.life, local),
            outbox: Outbox::new(config.outbox),
            inbox: Inbox::new(me, peer, coverage),
            gate: Gate::Open,
            plain: None,
            route: Route::new(me, peer, local),
            express: [0; Class::COUNT],
            limits: [0; Class::COUNT],
            sequence: [0; Class::COUNT],
            held: Held::Events,
            eventful: true,
            owes_doorbell: false,
            unsettled: false,
            farewell: 0,
            news: VecDeque::with_capacity(4),
            stats: LinkStats::default(),
        }
    }

    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> InstanceId {
        self.addressing.peer
    }

    /// What is known of the peer.
    #[must_use]
    pub const fn life(&self) -> Life {
        self.life.life()
    }

    /// How long the peer has been silent, see [`Lifeline::silence`].
    #[must_use]
    pub const fn silence(&self) -> Nanos {
        self.life.silence()
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        let mut stats = self.stats;
        if self.held == Held::Slot {
            stats.bytes_received += self.inbox.length() as u64;
        }
        for (sum, count) in stats.messages_sent.iter_mut().zip(self.sequence) {
            *sum += count;
        }
        for (sum, count) in stats.messages_received.iter_mut().zip(self.inbox.received()) {
            *sum += count;
        }
        // What was counted of frames is those that are not the only ones of a message.
        stats.frames_sent += stats.messages_sent.iter().sum::<u64>();
        stats.frames_sent -= stats.queued;
        stats.frames_received += stats.messages_received.iter().sum::<u64>();
        stats
    }

    /// Looks at what the peer says of itself. To be called with every heartbeat of this instance,
    /// and more often if one likes; what came of it is told by [`Link::poll`]. Until it has been
    /// told, there is no other look. That a peer has left is found out only once everything that it
    /// has said before is heard, or after some looks.
    pub fn look(&mut self, now: Nanos, port: &mut impl Port) {
        if !self.news.is_empty() {
            return;
        }
        let view = port.peer();
        let left = self.life.session().is_some_and(|session| view.has_left(session));
        if left && self.farewell > 0 && port.glimpse().is_some() {
            self.farewell -= 1;
            return;
        }
        self.step(now, port, Input::Look(view));
    }

    /// Tells the link what was found out or decided elsewhere.
    pub fn step(&mut self, now: Nanos, port: &mut impl Port, input: Input) {
        let (life, before) = (self.life(), self.life.session());
        let outcome = self.life.step(now, input);
        self.stir();
        self.unsettled = life != self.life() || matches!(self.life(), Life::Joining { .. });
        // Whoever sleeps is to see at once that somebody has come or gone.
        self.owes_doorbell |= outcome.act.is_some();
        match outcome.act {
            Some(Act::Attach(session)) => port.attach(session),
            Some(Act::Detach(reason)) => port.detach(reason),
            None => {}
        }
        match (before, self.life.session()) {
            (Some(_), None) => self.end_session(),
            (None, Some(session)) => self.start_session(session, port.capacity()),
            _ => {}
        }
        if let Some(news) = outcome.news {
            self.stats.count(news);
            self.news.push_back(news);
        }
    }

    /// The next poll looks at more than the port.
    #[inline]
    fn stir(&mut self) {
        self.eventful = true;
        if self.held == Held::Nothing {
            self.held = Held::Events;
        }
    }

    /// Stops counting the peer's silence while a debugger holds it, or counts it again.
    pub fn suspend(&mut self, suspended: bool) {
        self.life.suspend(suspended);
    }

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

    /// Opens or closes the gate to those above.
    pub fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
        self.inbox.show(gate == Gate::Open);
        self.express = [0; Class::COUNT];
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

    /// Whether the peer's doorbell is due for what was sent, taken or said since the last call.
    /// Asked once a batch; it costs a fence if anything was sent.
    #[inline]
    #[must_use = "the peer sleeps until its doorbell rings"]
    pub fn notify(&mut self, port: &mut impl Port) -> bool {
        let mut due = self.owes_doorbell;
        if self.life.session().is_some() {
            due |= port.notify();
        }
        if due {
            self.owes_doorbell = false;
            self.stats.doorbells += 1;
        }
        due
    }

    /// Asks the peer for a doorbell with whatever happens next. Returns whether the caller may
    /// sleep; otherwise there is something to poll for.
    #[must_use = "something may have come before the wish was visible"]
    pub fn arm(&mut self, now: Nanos, port: &mut impl Port, meanwhile: Meanwhile) -> bool {
        self.give_back(port);
        if self.unsettled {
            self.look(now, port);
        }
        if !self.news.is_empty() {
            return false;
        }
        if self.life.session().is_none() {
            return !self.owes_doorbell;
        }
        if let Some((class, limit)) = self.outbox.turn() {
            let slots = self.outbox.front(class).map_or(1, Pending::next_slots);
            if !matches!(port.await_room(slots, self.limits[limit.index()]), Ok(true)) {
                return false;
            }
        }
        port.arm(meanwhile)
    }

    /// Whether nothing waits to be sent.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Withdraws the wish of [`Link::arm`] for a doorbell with the next frame.
    pub(crate) fn disarm(&mut self, port: &mut impl Port) {
        if self.life.session().is_some() {
            port.disarm();
        }
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
    fn drain(&mut self, now: Nanos, port: &mut impl Port) {
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
    fn give_back(&mut self, port: &mut impl Port) {
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

    #[cold]
    fn broken(&mut self, now: Nanos, port: &mut impl Port, broken: Broken) {
        let input = match broken {
            Broken::Corrupt(corrupt) => Input::Corrupt(Corruption::Ring(corrupt)),
            Broken::Dead => Input::Look(port.peer()),
        };
        self.step(now, port, input);
    }

    fn start_session(&mut self, session: Session, capacity: usize) {
        let Addressing { me, peer, coverage } = self.addressing;
        self.route = Route::new(me, peer, session.local);
        self.plain = (coverage == Coverage::Off).then_some(self.route);
        self.limits = Class::ALL.map(|class| slot_limit(class, capacity));
        self.farewell = FAREWELL_LOOKS;
        self.inbox.start_session(session);
    }

    /// The body of a message that has been handed out stays; all else goes.
    fn end_session(&mut self) {
        // What was counted by numbers is added up: they start anew.
        let LinkStats { frames_sent, frames_received, .. } = self.stats;
        self.stats = LinkStats { frames_sent, frames_received, ..self.stats() };
        self.sequence = [0; Class::COUNT];
        self.stats.lost_in_queue += self.outbox.clear() as u64;
        self.inbox.end_session();
        (self.plain, self.held) = (None, Held::Events);
        self.eventful = true;
        self.express = [0; Class::COUNT];
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
