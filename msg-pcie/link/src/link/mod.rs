//! The link: one peer, one machine.

mod receive;
mod send;

use alloc::collections::VecDeque;

use maize_hal::Nanos;
use maize_ring::{Broken, Meanwhile};
use maize_wire::{Class, Epoch, InstanceId, Kind, Route, Session, checksum::Coverage};

use send::Addressing;
pub use send::{Outgoing, SendError};

use crate::{
    Act, Corruption, Input, Life, LifeConfig, Lifeline, LinkStats, Message, News, OutboxConfig,
    Port,
    inbox::Inbox,
    outbox::{Outbox, Pending, slot_limit},
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

/// Looks at a peer that has left before what it has said is given up: time enough to take in a whole
/// ring, and no more than death takes.
const FAREWELL_LOOKS: u8 = 16;

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

    /// Opens or closes the gate to those above.
    pub fn set_gate(&mut self, gate: Gate) {
        self.gate = gate;
        self.inbox.show(gate == Gate::Open);
        self.express = [0; Class::COUNT];
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
