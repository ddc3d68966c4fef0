//! What an instance finds out about a peer before, and while, it talks to it: does the window hold
//! what it promises, and how far are the clocks apart.

use maize_hal::Nanos;
use maize_probe::{
    ClockOffset, ClockProbe, Progress, Refusal, SelfTest, SelfTestConfig, SelfTestParts, Side,
};
use maize_window::{Layout, PeerLine, Window};
use maize_wire::{InstanceId, Session};

/// Round trips of which the quickest tells the offset of a clock.
const CLOCK_SAMPLES: u32 = 16;

/// How far an instance is with a peer.
enum State<W> {
    /// There is no session.
    Down,
    /// The window between the two is being tested.
    Testing(SelfTest<W>),
    /// Messages are exchanged.
    Ready,
}

/// What came of a look at a peer's tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The window is good: messages may be exchanged.
    Passed,
    /// It is not.
    Refused(Refusal),
    /// This is how far the peer's clock is ahead.
    Clock(ClockOffset),
}

/// A peer, beside its link.
pub(super) struct Peer<W> {
    pub(super) id: InstanceId,
    /// The page frames of the window between the two.
    pub(super) frames: W,
    /// For the test of the window between the two, if it needs one.
    test: Option<(SelfTestParts<W>, SelfTestConfig)>,
    /// This side's and the peer's line for clocks; `None` in one machine, whose instances have one
    /// clock.
    clock_lines: Option<(W, W)>,
    state: State<W>,
    probe: Option<ClockProbe<W>>,
    /// Whether the offset that the probe measures has been told.
    told: bool,
}

/// How the windows to `tested` peers are tested. Less is tested with each where there are many: all of them are
/// tested at once. A peer that may be silent for `dead_after` may take as long to go on with the test.
pub(super) fn test_among(tested: usize, dead_after: Nanos) -> SelfTestConfig {
    let whole = SelfTestConfig::default();
    let share = tested.max(1) as u64;
    SelfTestConfig {
        additions: (whole.additions / share).max(1_000),
        rounds: (whole.rounds / share).max(100),
        order_for: Nanos(whole.order_for.0 / share),
        patience: whole.patience.max(dead_after),
        ..whole
    }
}

impl<W: Window> Peer<W> {
    /// A peer with which there is no session yet. Both sides have to test the window between them alike. `None` if
    /// the peer is in this machine: then there is nothing to find out.
    pub(super) fn new(
        (window, layout): (&W, &Layout),
        me: InstanceId,
        id: InstanceId,
        test: Option<SelfTestConfig>,
    ) -> Option<Peer<W>> {
        let line = |of, other, line| window.part(layout.peer_line(of, other, line)?);
        let parts = SelfTestParts {
            own: line(me, id, PeerLine::SelfTest)?,
            peer: line(id, me, PeerLine::SelfTest)?,
            cell: window.part(layout.pair_cell(me, id)?)?,
        };
        let clock_lines = match test {
            Some(_) => Some((line(me, id, PeerLine::Clock)?, line(id, me, PeerLine::Clock)?)),
            None => None,
        };
        let frames = window.part(layout.frames())?;
        let test = test.map(|config| (parts, config));
        Some(Peer { id, frames, test, clock_lines, state: State::Down, probe: None, told: false })
    }

    /// Whether messages are exchanged.
    #[inline]
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// Whether the window is being tested.
    pub(super) const fn is_testing(&self) -> bool {
        matches!(self.state, State::Testing(_))
    }

    /// Whether a clock is being measured, by this side or by the peer.
    pub(super) fn is_measuring(&self) -> bool {
        self.probe.as_ref().is_some_and(ClockProbe::is_busy)
    }

    /// There is a session. Returns whether the peer is ready without a test.
    pub(super) fn begin(&mut self, me: InstanceId, session: Session, now: Nanos) -> bool {
        let probe = |(own, peer)| ClockProbe::new(own, peer, CLOCK_SAMPLES);
        self.probe = self.clock_lines.clone().map(probe);
        self.told = false;
        self.state = match &self.test {
            Some((parts, config)) => {
                let side = if me < self.id { Side::Lower } else { Side::Higher };
                State::Testing(SelfTest::new(*config, parts.clone(), session, side, now))
            }
            None => State::Ready,
        };
        self.is_ready()
    }

    /// The session is over. Returns whether messages were exchanged.
    pub(super) fn end(&mut self) -> bool {
        self.probe = None;
        matches!(core::mem::replace(&mut self.state, State::Down), State::Ready)
    }

    /// Measures the clock anew, as after a pause. Returns whether there is something to measure.
    pub(super) fn measure(&mut self) -> bool {
        if let Some(probe) = &mut self.probe {
            probe.restart(CLOCK_SAMPLES);
            self.told = false;
        }
        self.probe.is_some()
    }

    /// How far the peer's clock is ahead, once it was measured.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        match (&self.probe, &self.clock_lines) {
            (Some(probe), _) => probe.offset().map(|offset| offset.ahead),
            // The instances of a machine have one clock.
            (None, None) => Some(0),
            (None, Some(_)) => None,
        }
    }

    /// Gets on with the test of the window.
    pub(super) fn test(&mut self, now: Nanos) -> Option<Finding> {
        let State::Testing(test) = &mut self.state else { return None };
        match test.poll(now) {
            Progress::Working => None,
            Progress::Passed(_) => {
                self.state = State::Ready;
                Some(Finding::Passed)
            }
            Progress::Refused(refusal) => {
                self.state = State::Down;
                Some(Finding::Refused(refusal))
            }
        }
    }

    /// Gets on with measuring the clock, and answers the peer that measures its own.
    pub(super) fn probe(&mut self, now: Nanos) -> Option<Finding> {
        let probe = self.probe.as_mut()?;
        probe.poll(now);
        if self.told {
            return None;
        }
        let offset = probe.offset()?;
        self.told = true;
        Some(Finding::Clock(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_silent_for_long_may_test_for_long() {
        let usual = SelfTestConfig::default();
        assert_eq!(test_among(1, Nanos::MILLI), usual);
        let long = Nanos(10 * usual.patience.0);
        assert_eq!(test_among(2, long).patience, long);
        assert_eq!(test_among(2, long).additions, usual.additions / 2);
    }
}
