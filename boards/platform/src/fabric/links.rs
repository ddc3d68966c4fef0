//! The links of an instance, with what belongs to them on a machine: tests of the windows, clocks,
//! doorbells, counters, trace, and news for the launcher.

mod attend;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use maize_hal::Nanos;
use maize_hostlink::KernelMessage;
use maize_link::{
    Event, FabricConfig, Gate, Glance, Idle, Life, Message, Outgoing, Seen, SendError,
    WindowFabric, enter_windows,
};
use maize_probe::Refusal;
use maize_trace::{Counter, Counters, Event as TraceEvent, EventKind, Tracer, flow};
use maize_window::{Doorbell, Layout, MAX_INSTANCES, Span, Window};
use maize_wire::{Class, Epoch, InstanceId, Kind, PAGE_BYTES, PAGE_WORDS};

use super::peer::{Peer, test_among};
use super::stats;
use super::windows::{JoinError, Reached};

/// Frames of the host link, between the first instance of a machine and its siblings.
const HOST_FRAMES: Kind = Kind(1);
const _: () = assert!(HOST_FRAMES.is_reserved());

/// How often tests of windows get on while user code runs.
const TEST_EVERY: Nanos = Nanos(200_000);
/// Time after which an instance that was fenced off joins again, and the most that it becomes when
/// that happens again and again.
const REJOIN_AFTER: (Nanos, Nanos) = (Nanos::from_millis(50), Nanos::from_millis(2_000));

/// When to start anew after having been fenced off.
#[derive(Clone, Copy, Debug)]
struct Rejoin {
    due: Option<Nanos>,
    last: Option<Nanos>,
    wait: Nanos,
}

/// Instances, as bits: those whose numbers are beyond are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ready(u64);

const _: () = assert!(MAX_INSTANCES <= 64);

impl Ready {
    #[inline]
    fn contains(self, instance: InstanceId) -> bool {
        self.0.checked_shr(u32::from(instance.0)).is_some_and(|bits| bits & 1 != 0)
    }

    fn insert(&mut self, instance: InstanceId) {
        self.0 |= 1_u64.checked_shl(u32::from(instance.0)).unwrap_or(0);
    }
}

/// What of an instance is asked about its messages.
#[derive(Clone, Debug)]
pub struct LinksConfig {
    /// This instance.
    pub me: InstanceId,
    /// Settings of the links.
    pub fabric: FabricConfig,
    /// Whether to trace.
    pub trace: bool,
    /// Whether a debugger may stop machines: then nobody's silence is counted.
    pub debugged: bool,
}

/// An instance's links to all others.
///
/// To be polled as a [`maize_link::Fabric`] is, whose news it passes on: a peer is up only once the
/// window to it has been tested. After `Fenced` everything that was said to anybody is void; the
/// instance joins again by itself, and every peer comes up anew.
pub struct Links<W: Window, D> {
    me: InstanceId,
    fabric: WindowFabric<W>,
    doorbell: D,
    peers: Vec<Peer<W>>,
    counters: Option<Counters<W>>,
    /// Whether the launcher can read the counters itself.
    counters_are_seen: bool,
    tracer: Option<Tracer<W>>,
    /// The peers that messages are exchanged with, as bits.
    ready: Ready,
    /// When a poll has to do more than to look at the links; in the past if it has to now.
    attend_at: Nanos,
    /// Whether the message that was handed out last is not counted yet.
    uncounted: bool,
    /// Events to be handed out before anything else.
    events: VecDeque<(InstanceId, Event)>,
    reports: VecDeque<KernelMessage>,
    /// Frames of the host link that have come from others.
    host_frames: VecDeque<(InstanceId, Vec<u8>)>,
    /// The first window that did not stand its test, if no peer was ready before.
    refused: Option<(InstanceId, Refusal)>,
    testing: bool,
    /// A doorbell has rung since the last look at what it may mean.
    heard: bool,
    probing_until: Nanos,
    next_probe: Nanos,
    last_probe: Nanos,
    last_poll: Nanos,
    rejoin: Rejoin,
    /// Whether the instance has joined: from then on, each peer that comes is worth a line.
    settled: bool,
}

impl<W: Window, D: Doorbell> Links<W, D> {
    /// Enters the fabric over the windows reached. The first of them holds the instance's counters
    /// and trace.
    ///
    /// # Errors
    /// [`JoinError::Enter`].
    pub(super) fn enter(
        config: &LinksConfig,
        reached: &[Reached<W>],
        doorbell: D,
        now: Nanos,
    ) -> Result<Links<W, D>, JoinError> {
        let me = config.me;
        let tested = reached.iter().filter(|r| r.between_machines);
        let tested: usize = tested.map(|r| r.header.layout.instances() - 1).sum();
        let test = test_among(tested, config.fabric.link.life.dead_after);
        let mut peers = Vec::new();
        for Reached { entrance, header, between_machines } in reached {
            for id in &entrance.peers {
                let memory = (&entrance.window, &header.layout);
                let peer = Peer::new(memory, me, *id, between_machines.then_some(test));
                peers.push(peer.ok_or(maize_link::EnterError::NoSuchInstance(*id))?);
            }
        }
        peers.sort_by_key(|peer| peer.id);
        let entrances: Vec<_> = reached.iter().map(|r| r.entrance.clone()).collect();
        let mut fabric = enter_windows(&entrances, me, now, config.fabric)?;
        fabric.suspend(config.debugged);
        peers.iter().for_each(|peer| fabric.set_gate(peer.id, Gate::Closed));
        fabric.call_at(now);
        let first = reached.first();
        let part = |span: fn(&Layout, InstanceId) -> Option<Span>| {
            let Reached { entrance, header, .. } = first?;
            entrance.window.part(span(&header.layout, me)?)
        };
        let (counters, trace) = (part(Layout::counters), part(Layout::trace));
        Ok(Links {
            me,
            fabric,
            doorbell,
            peers,
            counters_are_seen: first.is_some_and(|reached| reached.between_machines),
            counters: counters.and_then(|words| Counters::new(words).ok()),
            tracer: trace.filter(|_| config.trace).and_then(Tracer::new),
            ready: Ready::default(),
            attend_at: now,
            uncounted: false,
            events: VecDeque::new(),
            reports: VecDeque::new(),
            host_frames: VecDeque::new(),
            refused: None,
            testing: false,
            heard: false,
            probing_until: Nanos(0),
            next_probe: now,
            last_probe: Nanos(0),
            last_poll: now,
            rejoin: Rejoin { due: None, last: None, wait: REJOIN_AFTER.0 },
            settled: false,
        })
    }

    /// This instance.
    #[must_use]
    pub const fn me(&self) -> InstanceId {
        self.me
    }

    /// Its incarnation.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.fabric.epoch()
    }

    /// All other instances, in order.
    pub fn peers(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.peers.iter().map(|peer| peer.id)
    }

    /// Where in `peers` a peer is.
    #[inline]
    fn index(&self, peer: InstanceId) -> Option<usize> {
        self.peers.binary_search_by_key(&peer, |p| p.id).ok()
    }

    /// Whether messages are exchanged with a peer.
    #[inline]
    #[must_use]
    pub fn is_ready(&self, peer: InstanceId) -> bool {
        self.ready.contains(peer)
    }

    /// Whether messages are exchanged with everybody.
    #[must_use]
    pub fn all_ready(&self) -> bool {
        self.peers.iter().all(Peer::is_ready)
    }

    /// Whether nobody's clock is being measured.
    #[must_use]
    pub fn clocks_measured(&self) -> bool {
        !self.peers.iter().any(Peer::is_measuring)
    }

    /// The window that did not stand its test before any peer was ready: such an instance must not
    /// go on.
    #[must_use]
    pub fn refusal(&self) -> Option<JoinError> {
        let (peer, refusal) = self.refused?;
        Some(JoinError::Refused { peer, refusal })
    }

    /// The next event, and whose it is; `None` if there is none now.
    #[inline]
    pub fn poll(&mut self, now: Nanos) -> Option<(InstanceId, Event)> {
        match self.glance(now) {
            Glance::Nothing => None,
            Glance::Message(Seen { peer, .. }) => Some((peer, Event::Message(self.message()))),
            Glance::Other => self.poll_other(now),
        }
    }

    /// What [`Self::poll`] does first, see [`WindowFabric::glance`].
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "in emulation each call costs as much as all the rest"
    )]
    pub fn glance(&mut self, now: Nanos) -> Glance {
        if self.uncounted {
            self.uncounted = false;
            self.count_received(self.fabric.message());
        }
        let glance = self.fabric.glance(now);
        if let Glance::Message(_) = glance {
            self.uncounted = true;
        }
        glance
    }

    /// Sets when a poll has to do more than to look at the links.
    fn attend_by(&mut self, time: Nanos) {
        self.attend_at = time;
        self.fabric.call_at(time);
    }

    #[inline]
    fn count_received(&self, message: Message) {
        if let Some(counters) = &self.counters {
            counters.received(message.kind, bytes_of(message) as u64);
        }
    }

    #[inline(never)]
    fn poll_other(&mut self, now: Nanos) -> Option<(InstanceId, Event)> {
        if now >= self.attend_at
            && let Some(event) = self.attend(now)
        {
            return Some(event);
        }
        while let Some((peer, event)) = self.fabric.poll(now) {
            if let Some(event) = self.take_in(now, peer, event) {
                return Some(event);
            }
        }
        if !core::mem::take(&mut self.heard) {
            return None;
        }
        // Whoever rang may also wait for a test or have clocks measured, but messages come first.
        self.next_probe = now;
        self.attend(now)
    }

    /// Does what a poll has to do besides looking at the links. Returns what is to be handed out
    /// first.
    fn attend(&mut self, now: Nanos) -> Option<(InstanceId, Event)> {
        if now >= self.next_probe || self.is_measuring(now) {
            self.check(now);
        }
        let event = self.events.pop_front();
        let at_once = self.is_measuring(now) || !self.events.is_empty();
        self.attend_by(if at_once { Nanos(0) } else { self.next_probe });
        event
    }

    /// Whether a window is being tested or a clock measured, which goes on with every poll.
    fn is_measuring(&self, now: Nanos) -> bool {
        self.testing || now < self.probing_until
    }

    /// Takes in an event of the links that is not just a message for the instance.
    fn take_in(
        &mut self,
        now: Nanos,
        peer: InstanceId,
        event: Event,
    ) -> Option<(InstanceId, Event)> {
        let event = self.understand(now, peer, event);
        if self.events.is_empty() {
            return event;
        }
        // What became of peers is told in front of what they say.
        self.events.extend(event);
        self.attend_by(Nanos(0));
        self.events.pop_front()
    }

    /// Gets on with joining: as [`Self::poll`], but what there is for the instance is kept for it.
    /// Returns whether a message is among it: then nothing more is taken.
    pub fn settle(&mut self, now: Nanos) -> bool {
        let is_message = |event: &Event| matches!(event, Event::Message(_));
        if self.events.iter().any(|(_, event)| is_message(event)) {
            return true;
        }
        if core::mem::take(&mut self.heard) {
            self.next_probe = now;
        }
        self.check(now);
        self.attend_by(Nanos(0));
        while let Some((peer, event)) = self.fabric.poll(now) {
            let Some(event) = self.understand(now, peer, event) else { continue };
            self.events.push_back(event);
            if is_message(&event.1) {
                return true;
            }
        }
        false
    }

    /// Takes note of an event of the links. Returns it if it is for the instance; others may have put
    /// one into the queue.
    fn understand(
        &mut self,
        now: Nanos,
        peer: InstanceId,
        event: Event,
    ) -> Option<(InstanceId, Event)> {
        match event {
            Event::News(news) => {
                self.hear(now, peer, news);
                return None;
            }
            Event::Message(message) => {
                if !self.may_speak(now, peer) {
                    return None;
                }
                self.count_received(message);
                if message.kind == HOST_FRAMES {
                    self.host_frames.push_back((peer, self.fabric.body().to_vec()));
                    return None;
                }
                if self.tracer.is_some() {
                    let flow = flow(peer, self.me, message.class, message.sequence);
                    let what = what(message.kind.0, bytes_of(message));
                    self.trace(now, EventKind::Receive, 0, [flow, what]);
                }
            }
            Event::Room(_) => {}
        }
        Some((peer, event))
    }

    /// The message that [`Self::glance`] or [`Self::poll`] has just shown.
    #[inline]
    #[must_use]
    pub fn message(&self) -> Message {
        self.fabric.message()
    }

    /// The body of the message that [`Self::poll`] has just returned.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.fabric.body()
    }

    /// Copies the page of the message that [`Self::poll`] has just returned; `false` if there is
    /// none to be had.
    #[inline]
    pub fn copy_page(&mut self, now: Nanos, into: &mut [u64; PAGE_WORDS]) -> bool {
        self.fabric.copy_page(now, into)
    }

    /// Sends a message, or makes it wait for its turn. After a batch, call [`Self::notify`].
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
        let sequence = self.fabric.send(now, to, message)?;
        let page = if message.page.is_some() { PAGE_BYTES } else { 0 };
        let bytes = message.contents.len() + page;
        if let Some(counters) = &self.counters {
            counters.sent(message.kind, bytes as u64);
        }
        if self.tracer.is_some() {
            let flow = flow(self.me, to, message.class, sequence);
            self.trace(now, EventKind::Send, 0, [flow, what(message.kind.0, bytes)]);
        }
        Ok(sequence)
    }

    /// Rings the doorbells that are due.
    #[inline]
    pub fn notify(&mut self) {
        let Links { fabric, doorbell, counters, .. } = self;
        fabric.notify(&mut |peer| {
            doorbell.ring(peer);
            if let Some(counters) = counters {
                counters.add(Counter::DoorbellsRung, 1);
            }
        });
    }

    /// Rings a peer, whether it is due or not.
    pub fn ring(&mut self, peer: InstanceId) {
        self.doorbell.ring(peer);
    }

    /// Takes note that this instance's doorbell has rung.
    pub fn heard_doorbell(&mut self) {
        self.count(Counter::DoorbellsHeard);
        self.fabric.heard_doorbell();
        self.heard = true;
    }

    /// What to do now that [`Self::poll`] has returned nothing. Notify first.
    pub fn idle(&mut self, now: Nanos) -> Idle {
        if self.events.is_empty() { self.idle_while_settling(now) } else { Idle::Poll }
    }

    /// As [`Self::idle`], after [`Self::settle`].
    pub fn idle_while_settling(&mut self, now: Nanos) -> Idle {
        let measuring = now < self.probing_until && !self.clocks_measured();
        if self.testing || measuring {
            return Idle::Poll;
        }
        match self.fabric.idle(now) {
            Idle::Poll => Idle::Poll,
            Idle::Sleep(until) => Idle::Sleep(until.min(self.rejoin.due.unwrap_or(Nanos::NEVER))),
        }
    }

    /// For how long to poll after the last activity before going to sleep, from now on.
    pub fn set_poll_for(&mut self, time: Nanos) {
        self.fabric.set_poll_for(time);
    }

    /// The page frames of the window that is shared with a peer, which no link uses.
    #[must_use]
    pub fn page_frames(&self, peer: InstanceId) -> Option<W> {
        Some(self.peers[self.index(peer)?].frames.clone())
    }

    /// Asks for a doorbell with what arrives next; `false` if there is something to poll for.
    pub fn arm(&mut self, now: Nanos) -> bool {
        self.fabric.arm(now) && self.events.is_empty()
    }

    /// When [`Self::poll`] has to be called at the latest.
    #[must_use]
    pub fn next_beat(&self) -> Nanos {
        let beat = self.fabric.next_beat().min(self.rejoin.due.unwrap_or(Nanos::NEVER));
        if self.testing { beat.min(self.last_poll + TEST_EVERY) } else { beat }
    }

    /// How far a peer's clock is ahead of this instance's, in nanoseconds; `None` if that is not known
    /// yet, or not known any more.
    #[must_use]
    pub fn clock_ahead(&self, peer: InstanceId) -> Option<i64> {
        self.peers[self.index(peer)?].clock_ahead()
    }

    /// The incarnation of a peer that messages are exchanged with.
    #[must_use]
    pub fn incarnation(&self, peer: InstanceId) -> Option<Epoch> {
        Some(self.fabric.life(peer)?.session()?.remote)
    }

    /// Closes the link to a peer that broke the rules of those above the links.
    pub fn close(&mut self, now: Nanos, peer: InstanceId) {
        self.fabric.close(now, peer);
        if let Some(index) = self.index(peer) {
            self.peers[index].end();
            self.note_ready();
        }
    }

    /// Tells that the incarnation of a peer that was declared dead has stopped.
    pub fn confirm_stopped(&mut self, now: Nanos, peer: InstanceId, epoch: u32) {
        let dead = match self.fabric.life(peer) {
            Some(Life::Dead { session }) => session.remote.get() == epoch,
            _ => false,
        };
        if dead {
            self.fabric.confirm_stopped(now, peer);
        }
    }

    /// Whether all that was sent is where the peers find it.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.fabric.is_flushed()
    }

    /// Leaves the fabric, orderly, and wakes who sleeps to see it.
    pub fn leave(&mut self, now: Nanos) {
        self.fabric.leave(now);
        self.notify();
    }

    /// Sends frames of the host link to an instance of this machine. `false` if it does not take
    /// them now.
    pub fn send_host_frames(&mut self, now: Nanos, to: InstanceId, frames: &[u8]) -> bool {
        let (class, kind) = (Class::Normal, HOST_FRAMES);
        let message = Outgoing { class, kind, contents: frames, page: None };
        self.send(now, to, message).is_ok()
    }

    /// The next frames of the host link that another instance has sent.
    pub fn take_host_frames(&mut self) -> Option<(InstanceId, Vec<u8>)> {
        self.host_frames.pop_front()
    }

    /// The peers that were given up in an incarnation that is not known to have stopped.
    pub fn awaiting_stop(&self) -> impl Iterator<Item = (InstanceId, u32)> + '_ {
        self.peers().filter_map(|peer| match self.fabric.life(peer) {
            Some(Life::Dead { session }) => Some((peer, session.remote.get())),
            _ => None,
        })
    }

    /// The next thing that the launcher is to be told.
    pub fn take_report(&mut self) -> Option<KernelMessage> {
        self.reports.pop_front()
    }

    /// Says that the instance has joined, after some time.
    pub(super) fn settled(&mut self, took: Nanos) {
        self.settled = true;
        let ready = self.peers.iter().filter(|peer| peer.is_ready()).count();
        let (epoch, all) = (self.epoch(), self.peers.len());
        log::info!("joined {ready} of {all} others in {epoch} after {} us", took.0 / 1000);
    }

    /// Tells the launcher that this instance has joined.
    pub fn report_up(&mut self) {
        let (instance, epoch) = (self.me.0, self.epoch().get());
        self.reports.push_back(KernelMessage::Up { instance, epoch });
    }

    /// The links' counts, by name; with those in the window if that is of this machine alone, where
    /// the launcher does not see them.
    #[must_use]
    pub fn counts(&self) -> Vec<(String, u64)> {
        let own = self.counters.as_ref().filter(|_| !self.counters_are_seen);
        let mut counts = own.map(Counters::named).unwrap_or_default();
        for peer in &self.peers {
            if let Some(link) = self.fabric.stats(peer.id) {
                stats::add(&mut counts, peer.id, &link);
            }
        }
        counts
    }

    /// What was counted on the link to a peer.
    #[must_use]
    pub fn stats(&self, peer: InstanceId) -> Option<maize_link::LinkStats> {
        self.fabric.stats(peer)
    }

    /// Counts, where others can read it.
    #[inline]
    pub fn count(&self, counter: Counter) {
        if let Some(counters) = &self.counters {
            counters.add(counter, 1);
        }
    }

    /// Whether there is a trace.
    #[must_use]
    pub const fn is_traced(&self) -> bool {
        self.tracer.is_some()
    }

    /// Writes an event into the trace, if there is one and it wants such events.
    #[inline]
    pub fn trace(&mut self, at: Nanos, kind: EventKind, thread: u32, words: [u64; 2]) {
        if let Some(tracer) = &mut self.tracer {
            tracer.trace(TraceEvent { at, kind, thread, words });
        }
    }
}

/// The incarnation of the peer that a link is or was about; 0 if there was none.
fn remote_epoch(life: Life) -> u32 {
    match life {
        Life::Down { barred } => barred.map_or(0, Epoch::get),
        Life::Closed => 0,
        Life::Joining { session }
        | Life::Up { session }
        | Life::Suspect { session }
        | Life::Dead { session }
        | Life::Fenced { session } => session.remote.get(),
    }
}

/// Bytes of a message's body and page.
#[inline]
fn bytes_of(message: Message) -> usize {
    message.length + if message.has_page { PAGE_BYTES } else { 0 }
}

/// A message's kind and length in one word of a trace.
#[inline]
fn what(kind: u16, bytes: usize) -> u64 {
    u64::from(kind) | (bytes as u64) << 16
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
