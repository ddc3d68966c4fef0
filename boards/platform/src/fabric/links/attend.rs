//! What there is to attend to besides messages: peers that come and go, tests of windows, clocks, and
//! starting anew.

use alloc::format;
use alloc::string::ToString;

use maize_hal::Nanos;
use maize_hostlink::KernelMessage;
use maize_link::{Cause, Event, Gate, Life, News};
use maize_probe::{ClockOffset, Refusal};
use maize_trace::{Counter, EventKind};
use maize_window::{Doorbell, Window};
use maize_wire::InstanceId;

use super::{Links, REJOIN_AFTER, Ready, Rejoin, remote_epoch};
use crate::fabric::peer::{Finding, Peer};
use crate::siblings;

/// How often probes of clocks are looked at while nobody is known to measure.
const PROBE_EVERY: Nanos = Nanos::from_millis(100);
/// For how long an instance stays awake to measure a clock, when it begins to.
const PROBE_BURST: Nanos = Nanos::from_millis(20);
/// And when a measurement goes on.
const PROBE_SLICE: Nanos = Nanos::MILLI;
/// A gap between two polls that means that this instance was stopped: it polls with every heartbeat.
const PAUSE: Nanos = Nanos::from_millis(400);
/// Time without having been fenced off after which the wait is short again.
const REJOIN_CALM: Nanos = Nanos::from_millis(10_000);

impl<W: Window, D: Doorbell> Links<W, D> {
    /// Something became of a peer.
    #[cold]
    pub(super) fn hear(&mut self, now: Nanos, peer: InstanceId, news: News) {
        self.attend_by(Nanos(0));
        self.trace(now, EventKind::Peer, 0, [u64::from(peer.0), code(news)]);
        self.become_of(now, peer, news);
        self.note_ready();
    }

    fn become_of(&mut self, now: Nanos, peer: InstanceId, news: News) {
        let life = self.fabric.life(peer);
        let Some(index) = self.index(peer) else { return };
        match news {
            News::Up => {
                let Some(session) = life.and_then(Life::session) else { return };
                if self.peers[index].begin(self.me, session, now) {
                    self.ready(now, index);
                } else {
                    self.testing = true;
                }
            }
            News::Suspect => log::warn!("{peer} is silent"),
            News::Recovered => {
                log::info!("{peer} is heard again");
                self.measure(now, index);
            }
            News::Down(cause) => self.down(life, index, cause),
            News::Stopped => {
                log::info!("{peer} is known to have stopped");
                self.events.push_back((peer, Event::News(news)));
            }
            News::Fenced(why) => {
                log::warn!("{peer} has given this instance up {why}");
                if self.rejoin.due.is_none() {
                    self.plan_rejoin(now);
                    self.events.push_back((peer, Event::News(news)));
                }
            }
        }
    }

    /// To be called after anything that changes whether messages are exchanged with a peer.
    pub(super) fn note_ready(&mut self) {
        self.ready = Ready::default();
        let ready = if self.tracer.is_some() { Gate::Polled } else { Gate::Open };
        for peer in &self.peers {
            let gate = if peer.is_ready() { ready } else { Gate::Closed };
            self.fabric.set_gate(peer.id, gate);
            if peer.is_ready() {
                self.ready.insert(peer.id);
            }
        }
    }

    /// The window to a peer is good.
    fn ready(&mut self, now: Nanos, index: usize) {
        let peer = self.peers[index].id;
        let epoch = self.fabric.life(peer).map_or(0, remote_epoch);
        if self.settled {
            log::info!("{peer} is up in epoch {epoch}");
        }
        self.count(Counter::Sessions);
        self.reports.push_back(KernelMessage::PeerUp { peer: peer.0, epoch });
        self.events.push_back((peer, Event::News(News::Up)));
        self.measure(now, index);
    }

    fn down(&mut self, life: Option<Life>, index: usize, cause: Cause) {
        let peer = self.peers[index].id;
        let epoch = life.map_or(0, remote_epoch);
        let cause_said = match (cause, self.fabric.silence(peer)) {
            (Cause::Silent, Some(silence)) => format!("{cause}: {} ms", silence.0 / 1_000_000),
            _ => cause.to_string(),
        };
        log::warn!("{peer} is down in epoch {epoch}: {cause_said}");
        match cause {
            Cause::Silent => self.count(Counter::Silences),
            Cause::Corrupt(_) => self.count(Counter::Corruptions),
            Cause::Restarted | Cause::Left => {}
        }
        self.reports.push_back(KernelMessage::PeerDown {
            peer: peer.0,
            epoch,
            cause: cause_said,
            awaits_stop: !cause.is_final() && !siblings::has_stopped(peer.0, epoch),
        });
        if self.peers[index].end() {
            self.events.push_back((peer, Event::News(News::Down(cause))));
        }
    }

    /// Whether a message of a peer may be heard: its window has been tested. A peer that speaks has
    /// passed the test itself, so this side's ends with the next look at it.
    #[inline]
    pub(super) fn may_speak(&mut self, now: Nanos, peer: InstanceId) -> bool {
        let Some(index) = self.index(peer) else { return false };
        if !self.peers[index].is_ready() {
            self.hurry(now, index);
        }
        self.peers[index].is_ready()
    }

    #[cold]
    fn hurry(&mut self, now: Nanos, index: usize) {
        for _ in 0..2 {
            if let Some(finding) = self.peers[index].test(now) {
                self.find(now, index, finding);
            }
        }
        let peer = &mut self.peers[index];
        if peer.is_testing() {
            log::error!("{} speaks before the window to it has been tested", peer.id);
            peer.end();
            self.fabric.refuse(now, peer.id);
        }
        self.note_ready();
        self.attend_by(Nanos(0));
    }

    /// Gets on with all that is not messages.
    #[cold]
    pub(super) fn check(&mut self, now: Nanos) {
        let pause = now.since(core::mem::replace(&mut self.last_poll, now));
        if pause > PAUSE {
            log::info!("this instance has not looked at its links for {} ms", pause.0 / 1_000_000);
            (0..self.peers.len()).for_each(|index| self.measure(now, index));
        }
        if now >= self.next_probe {
            self.next_probe = now + PROBE_EVERY;
            self.probe(now);
            if !self.clocks_measured() {
                self.probing_until = self.probing_until.max(now + PROBE_SLICE);
            }
        } else if now < self.probing_until {
            self.probe(now);
        }
        if self.testing {
            for index in 0..self.peers.len() {
                if let Some(finding) = self.peers[index].test(now) {
                    self.find(now, index, finding);
                }
            }
            self.testing = self.peers.iter().any(Peer::is_testing);
            self.note_ready();
        }
        if self.rejoin.due.is_some_and(|due| now >= due) {
            self.start_anew(now);
        }
    }

    fn probe(&mut self, now: Nanos) {
        // What a probe has seen is dated with the next reading of the clock: the same one twice
        // would be too early.
        if core::mem::replace(&mut self.last_probe, now) >= now {
            return;
        }
        for index in 0..self.peers.len() {
            if let Some(finding) = self.peers[index].probe(now) {
                self.find(now, index, finding);
            }
        }
    }

    /// Measures the clock of a peer in another machine anew, which is woken to answer.
    fn measure(&mut self, now: Nanos, index: usize) {
        if self.peers[index].measure() {
            self.doorbell.ring(self.peers[index].id);
            self.probing_until = now + PROBE_BURST;
        }
    }

    fn find(&mut self, now: Nanos, index: usize, finding: Finding) {
        let peer = self.peers[index].id;
        match finding {
            Finding::Passed => self.ready(now, index),
            Finding::Refused(refusal) => {
                log::error!("the window to {peer} cannot be relied on: {refusal}");
                let inexact = !matches!(refusal, Refusal::PeerSilent | Refusal::PeerRefused);
                if inexact && !self.peers.iter().any(Peer::is_ready) {
                    self.refused.get_or_insert((peer, refusal));
                }
                self.fabric.refuse(now, peer);
            }
            Finding::Clock(ClockOffset { ahead, error }) => {
                log::info!("the clock of {peer} is {ahead} ns ahead, to {} ns", error.0);
                if let (InstanceId(0), Some(tracer)) = (peer, &self.tracer) {
                    tracer.set_clock_offset(ahead.wrapping_neg());
                }
            }
        }
    }

    /// Ends all that was going on, and plans to start anew: soon, and later and later if it happens
    /// again and again.
    fn plan_rejoin(&mut self, now: Nanos) {
        for index in 0..self.peers.len() {
            let peer = self.peers[index].id;
            if let (true, Some(life)) = (self.peers[index].end(), self.fabric.life(peer)) {
                self.reports.push_back(KernelMessage::PeerDown {
                    peer: peer.0,
                    epoch: remote_epoch(life),
                    cause: "this instance was given up and starts anew".into(),
                    awaits_stop: false,
                });
            }
        }
        self.testing = false;
        let Rejoin { due, last, wait } = &mut self.rejoin;
        let calm = last.is_none_or(|last| now.since(last) > REJOIN_CALM);
        *wait = if calm { REJOIN_AFTER.0 } else { Nanos(wait.0 * 2).min(REJOIN_AFTER.1) };
        *due = Some(now + *wait);
    }

    fn start_anew(&mut self, now: Nanos) {
        (self.rejoin.due, self.rejoin.last) = (None, Some(now));
        match self.fabric.rejoin(now) {
            Some(epoch) => {
                log::info!("joining again in {epoch}");
                self.report_up();
            }
            None => log::error!("epochs have run out: this instance stays alone"),
        }
    }
}

/// News as a number, for the trace.
const fn code(news: News) -> u64 {
    match news {
        News::Up => 1,
        News::Suspect => 2,
        News::Recovered => 3,
        News::Down(Cause::Silent) => 4,
        News::Down(Cause::Restarted) => 5,
        News::Down(Cause::Left) => 6,
        News::Down(Cause::Corrupt(_)) => 7,
        News::Stopped => 8,
        News::Fenced(_) => 9,
    }
}
