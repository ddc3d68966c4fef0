//! All the links of an instance: what a kernel holds.

use alloc::vec::Vec;

use maize_hal::Nanos;
use maize_ring::Meanwhile;
use maize_window::{Doorbell, Presence, State};
use maize_wire::{Class, Epoch, InstanceId, Kind, PAGE_WORDS};

use crate::patience::Patience;
use crate::{
    Corruption, Event, Gate, Input, Life, Link, LinkConfig, LinkStats, Message, Outgoing, Port,
    SendError, link,
};

/// Where an instance says of itself that it is there.
pub trait Announce {
    /// Says it to everybody.
    fn announce(&mut self, presence: Presence);
}

/// Settings of a fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FabricConfig {
    /// Settings of each link.
    pub link: LinkConfig,
    /// Time between heartbeats, and between looks at the peers.
    pub beat_every: Nanos,
    /// For how long to poll after the last message, sent or received, before going to sleep. Zero where there are
    /// more virtual cores than host cores.
    pub poll_for: Nanos,
}

impl Default for FabricConfig {
    fn default() -> FabricConfig {
        FabricConfig {
            link: LinkConfig::default(),
            beat_every: Nanos::from_millis(100),
            poll_for: Nanos(50_000),
        }
    }
}

/// What to do when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Poll again, there is or may soon be something.
    Poll,
    /// Sleep until a doorbell rings, or until this time: a heartbeat is due then.
    Sleep(Nanos),
}

/// What a glance at the links has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// There is nothing.
    Nothing,
    /// There is a message: [`Fabric::message`].
    Message(Seen),
    /// Something else, perhaps: [`Fabric::poll`] tells.
    Other,
}

/// What a glance shows of a message: as much as fits registers. The whole of it would be moved through
/// memory from caller to caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose it is.
    pub peer: InstanceId,
    /// What it is about.
    pub kind: Kind,
    /// The first word of its body; of a shorter one it means nothing.
    pub first: u64,
}

struct Peer<P> {
    link: Link,
    port: P,
}

/// An instance's links to all its peers.
pub struct Fabric<P, A> {
    config: FabricConfig,
    me: InstanceId,
    epoch: Epoch,
    announce: A,
    state: State,
    beat: u64,
    next_beat: Nanos,
    /// When a glance has to do more than to look at the links: with the next heartbeat, when whoever
    /// holds the fabric has asked for it, at once where peers were asked for a doorbell.
    attend_at: Nanos,
    /// When whoever holds the fabric wants a glance to tell it to poll.
    call_at: Nanos,
    peers: Vec<Peer<P>>,
    /// Who sent the message that was handed out last. It is the turn of the next to be polled.
    current: usize,
    last_activity: Nanos,
    /// Whether peers were asked for a doorbell since the last poll.
    armed: bool,
    /// A doorbell has rung since the peers were looked at.
    heard: bool,
    /// Whether a peer that works was rung for since the last poll: see [`Fabric::idle`].
    interrupts: bool,
    patience: Patience,
    /// The wait that goes on: since when, and what was done meanwhile.
    wait: Wait,
}

/// Time in which nothing came and nothing was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    since: Nanos,
    polled: bool,
    slept: bool,
}

impl<P: Port, A: Announce> Fabric<P, A> {
    /// Enters the fabric in incarnation `epoch`, which must be greater than any before in this
    /// place. `ports` are this instance's ends towards its peers.
    pub fn new(
        config: FabricConfig,
        now: Nanos,
        (me, epoch): (InstanceId, Epoch),
        announce: A,
        ports: impl IntoIterator<Item = (InstanceId, P)>,
    ) -> Fabric<P, A> {
        let mut peers: Vec<Peer<P>> = ports
            .into_iter()
            .filter(|(peer, _)| *peer != me)
            .map(|(peer, port)| Peer { link: Link::new(config.link, me, epoch, peer), port })
            .collect();
        peers.sort_by_key(|peer| peer.link.peer());
        let mut fabric = Fabric {
            config,
            me,
            epoch,
            announce,
            state: State::Starting,
            beat: 0,
            next_beat: now,
            attend_at: now,
            call_at: Nanos::NEVER,
            peers,
            current: usize::MAX,
            last_activity: now,
            armed: false,
            heard: false,
            interrupts: false,
            patience: Patience::default(),
            wait: Wait::default(),
        };
        fabric.enter(now, epoch);
        fabric
    }

    /// This instance's incarnation.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The peers' numbers, in order.
    pub fn peers(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.peers.iter().map(|peer| peer.link.peer())
    }

    /// What is known of a peer.
    #[must_use]
    pub fn life(&self, peer: InstanceId) -> Option<Life> {
        self.find(peer).map(|index| self.peers[index].link.life())
    }

    /// How long a peer has been silent, or had been when it was given up.
    #[must_use]
    pub fn silence(&self, peer: InstanceId) -> Option<Nanos> {
        self.find(peer).map(|index| self.peers[index].link.silence())
    }

    /// What was counted on the link to a peer.
    #[must_use]
    pub fn stats(&self, peer: InstanceId) -> Option<LinkStats> {
        self.find(peer).map(|index| self.peers[index].link.stats())
    }

    /// The next event, and whose it is; `None` if there is none now. Peers take turns. Heartbeats
    /// are published, and the peers' looked at, when they are due.
    #[inline]
    pub fn poll(&mut self, now: Nanos) -> Option<(InstanceId, Event)> {
        match self.glance(now) {
            Glance::Nothing => None,
            Glance::Message(Seen { peer, .. }) => Some((peer, Event::Message(self.message()))),
            Glance::Other => self.poll_other(now),
        }
    }

    /// What [`Fabric::poll`] does first, and nearly always all it does: to find nothing, or a short
    /// message. A caller that handles these two by itself is quicker.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "in emulation each call costs as much as all the rest"
    )]
    pub fn glance(&mut self, now: Nanos) -> Glance {
        if now >= self.attend_at && !self.get_ready(now) {
            return Glance::Other;
        }
        let mut index = self.current;
        for _ in 0..self.peers.len() {
            index = self.behind(index);
            let Some(Peer { link, port }) = self.peers.get_mut(index) else { break };
            match link.glance(port) {
                link::Glance::Nothing => {}
                link::Glance::Message(kind, first) => {
                    (self.current, self.last_activity) = (index, now);
                    return Glance::Message(Seen { peer: link.peer(), kind, first });
                }
                link::Glance::Other => {
                    self.current = index.wrapping_sub(1);
                    return Glance::Other;
                }
            }
        }
        if self.heard { Glance::Other } else { Glance::Nothing }
    }

    /// Whose turn it is behind a peer, by their places; the first's behind none.
    #[inline]
    fn behind(&self, index: usize) -> usize {
        let next = index.wrapping_add(1);
        if next < self.peers.len() { next } else { 0 }
    }

    /// Whether a glance may look at the links: no heartbeat is due.
    #[cold]
    fn get_ready(&mut self, now: Nanos) -> bool {
        if self.armed {
            self.disarm();
        }
        self.attend_at = self.next_beat.min(self.call_at);
        now < self.attend_at
    }

    /// Has [`Fabric::glance`] return [`Glance::Other`] from that time on, until another time is given:
    /// who holds the fabric has something to do then, and needs no look at the clock of its own.
    pub fn call_at(&mut self, time: Nanos) {
        self.call_at = time;
        self.attend_at = self.attend_at.min(time);
    }

    /// Opens or closes the gate to a peer, see [`Gate`].
    pub fn set_gate(&mut self, peer: InstanceId, gate: Gate) {
        if let Some(index) = self.find(peer) {
            self.peers[index].link.set_gate(gate);
        }
    }

    #[inline(never)]
    fn poll_other(&mut self, now: Nanos) -> Option<(InstanceId, Event)> {
        if now >= self.next_beat {
            self.beat(now);
        }
        let event = self.poll_in_turn(now);
        if event.is_none() && core::mem::take(&mut self.heard) {
            self.look(now);
            return self.poll_in_turn(now);
        }
        event
    }

    fn poll_in_turn(&mut self, now: Nanos) -> Option<(InstanceId, Event)> {
        for _ in 0..self.peers.len() {
            self.current = self.behind(self.current);
            let Peer { link, port } = &mut self.peers[self.current];
            if let Some(event) = link.poll(now, port) {
                self.last_activity = now;
                return Some((link.peer(), event));
            }
        }
        None
    }

    /// The message that [`Fabric::glance`] or [`Fabric::poll`] has just shown.
    #[inline]
    #[must_use]
    pub fn message(&self) -> Message {
        self.peers.get(self.current).map_or(Message::NONE, |peer| peer.link.message())
    }

    /// The body of the message that [`Fabric::poll`] has just returned.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.peers.get(self.current).map_or(&[], |peer| peer.link.body())
    }

    /// Copies the page of the message that [`Fabric::poll`] has just returned; `false` if there is
    /// none to be had (see [`Link::copy_page`]).
    pub fn copy_page(&mut self, now: Nanos, into: &mut [u64; PAGE_WORDS]) -> bool {
        let Some(Peer { link, port }) = self.peers.get_mut(self.current) else { return false };
        link.copy_page(now, port, into)
    }

    /// Sends a message, or makes it wait for its turn. Returns its number in its class. After a
    /// batch, call [`Fabric::notify`].
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
        to: InstanceId,
        message: Outgoing<'_>,
    ) -> Result<u32, SendError> {
        // Where there is an instance of each number, this is where a peer is.
        let index = to.index() - usize::from(to > self.me);
        let sent = match self.peers.get_mut(index) {
            Some(Peer { link, port }) if link.peer() == to => link.send(now, port, message),
            _ => {
                // By its parts, which fit registers: it is not to be put into memory for this.
                let Outgoing { class, kind, contents, page } = message;
                self.search_and_send(now, to, (class, kind), contents, page)
            }
        };
        // What is sent is often answered.
        self.last_activity = now;
        sent
    }

    #[cold]
    #[inline(never)]
    fn search_and_send(
        &mut self,
        now: Nanos,
        to: InstanceId,
        (class, kind): (Class, Kind),
        contents: &[u8],
        page: Option<&[u64; PAGE_WORDS]>,
    ) -> Result<u32, SendError> {
        let index = self.find(to).ok_or(SendError::NoSuchPeer)?;
        let Peer { link, port } = &mut self.peers[index];
        link.send(now, port, Outgoing { class, kind, contents, page })
    }

    /// Rings the doorbells that are due for what was sent and taken since the last call.
    #[inline]
    pub fn notify(&mut self, doorbell: &mut impl Doorbell) {
        for Peer { link, port } in &mut self.peers {
            if link.notify(port) {
                doorbell.ring(link.peer());
                self.interrupts |= port.peer_works();
            }
        }
    }

    /// Takes note that this instance's doorbell has rung. Mostly there is a message, which is to be
    /// had at once; that somebody may have come or gone is looked at when a poll finds no more.
    pub fn heard_doorbell(&mut self) {
        self.heard = true;
    }

    fn look(&mut self, now: Nanos) {
        for Peer { link, port } in &mut self.peers {
            link.look(now, port);
        }
    }

    /// Replaces [`FabricConfig::poll_for`].
    pub fn set_poll_for(&mut self, time: Nanos) {
        self.config.poll_for = time;
    }

    /// What to do now that [`Fabric::poll`] has returned nothing. Notify first.
    ///
    /// While a peer is interrupted that works, this instance does not poll: on a host without cores to
    /// spare, whatever delivers the doorbell would have to wait for it.
    pub fn idle(&mut self, now: Nanos) -> Idle {
        if self.wait.since != self.last_activity {
            if self.wait.polled && !self.wait.slept {
                self.patience.reward();
            }
            self.wait = Wait { since: self.last_activity, ..Wait::default() };
        }
        let poll_for = self.patience.poll_for(self.config.poll_for);
        if !self.interrupts && now.since(self.last_activity) < poll_for {
            self.wait.polled = true;
            return Idle::Poll;
        }
        if !self.arm_all(now, Meanwhile::Sleeps) {
            return Idle::Poll;
        }
        if !core::mem::replace(&mut self.wait.slept, true) && !self.interrupts {
            self.patience.disappoint();
        }
        Idle::Sleep(self.next_beat)
    }

    /// Asks all peers for a doorbell with what they send next, so that this instance can do
    /// something else meanwhile. `false` if there is something to poll for already. Notify first.
    pub fn arm(&mut self, now: Nanos) -> bool {
        self.arm_all(now, Meanwhile::Works)
    }

    fn arm_all(&mut self, now: Nanos, meanwhile: Meanwhile) -> bool {
        (self.armed, self.attend_at) = (true, Nanos(0));
        let mut armed = true;
        for Peer { link, port } in &mut self.peers {
            armed &= link.arm(now, port, meanwhile);
        }
        armed
    }

    /// Who polls needs no doorbell: ringing one costs the peer, and hearing it this instance, more
    /// than the message.
    #[cold]
    fn disarm(&mut self) {
        (self.armed, self.interrupts) = (false, false);
        for Peer { link, port } in &mut self.peers {
            link.disarm(port);
        }
    }

    /// When [`Fabric::poll`] has to be called at the latest: a heartbeat is due then.
    #[must_use]
    pub const fn next_beat(&self) -> Nanos {
        self.next_beat
    }

    /// Tells that who controls a peer has confirmed the stop of the incarnation that was declared
    /// dead ([`crate::News::Down`] with a cause that is not final).
    pub fn confirm_stopped(&mut self, now: Nanos, peer: InstanceId) {
        self.step(now, peer, Input::Stopped);
    }

    /// Gives a peer up because the memory between the two cannot be relied on. As with every
    /// corrupt peer, its stop is yet to be confirmed, and it may come back under another epoch.
    pub fn refuse(&mut self, now: Nanos, peer: InstanceId) {
        self.step(now, peer, Input::Corrupt(Corruption::SelfTest));
    }

    /// Closes the link to a peer, until this instance starts anew.
    pub fn close(&mut self, now: Nanos, peer: InstanceId) {
        self.step(now, peer, Input::Close);
    }

    /// Stops counting anybody's silence while a debugger holds the fabric, or counts it again.
    pub fn suspend(&mut self, suspended: bool) {
        for Peer { link, .. } in &mut self.peers {
            link.suspend(suspended);
        }
    }

    /// Starts anew under the next epoch, after a peer has fenced this instance off. All sessions
    /// end. `None`, and nothing is done, if epochs have run out.
    pub fn rejoin(&mut self, now: Nanos) -> Option<Epoch> {
        let epoch = self.epoch.next()?;
        self.enter(now, epoch);
        Some(epoch)
    }

    /// Whether all that was sent is where the peers find it.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.peers.iter().all(|peer| peer.link.is_flushed())
    }

    /// Leaves, orderly. The peers still hear what was sent before, but not what waits for room
    /// ([`Fabric::is_flushed`]).
    pub fn leave(&mut self, now: Nanos) {
        self.announce(State::Left);
        for Peer { link, port } in &mut self.peers {
            link.step(now, port, Input::Close);
        }
    }

    /// Says who it is before it leaves what an earlier incarnation was attached to: peers that
    /// find themselves left then know why.
    fn enter(&mut self, now: Nanos, epoch: Epoch) {
        self.epoch = epoch;
        self.announce(State::Starting);
        for Peer { link, port } in &mut self.peers {
            link.step(now, port, Input::Rejoin(epoch));
        }
        self.announce(State::Up);
        (self.next_beat, self.attend_at) = (now, now);
    }

    fn announce(&mut self, state: State) {
        self.state = state;
        self.beat += 1;
        self.announce.announce(Presence { epoch: self.epoch, state, beat: self.beat });
    }

    #[cold]
    fn beat(&mut self, now: Nanos) {
        self.next_beat = now + self.config.beat_every;
        self.announce(self.state);
        self.look(now);
    }

    fn step(&mut self, now: Nanos, peer: InstanceId, input: Input) {
        if let Some(index) = self.find(peer) {
            let Peer { link, port } = &mut self.peers[index];
            link.step(now, port, input);
        }
    }

    #[inline]
    fn find(&self, peer: InstanceId) -> Option<usize> {
        self.peers.binary_search_by_key(&peer, |peer| peer.link.peer()).ok()
    }
}
