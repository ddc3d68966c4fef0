//! Whether a peer is there: joining, liveness, death, return. A pure state machine; `SPEC.md` has
//! its table.

use core::fmt;

use maize_hal::Nanos;
use maize_ring::Corrupt;
use maize_window::State;
use maize_wire::{Epoch, FrameError, Session};

use crate::{Leave, PeerView};

/// Time limits of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifeConfig {
    /// Silence after which a peer is suspect.
    pub suspect_after: Nanos,
    /// Silence after which it is declared dead.
    pub dead_after: Nanos,
    /// The most that one look adds to the silence. An instance that was itself stopped, or had to
    /// wait for its turn, has not listened meanwhile and does not blame its peers for it: however
    /// late it looks, it declares death after `dead_after / longest_step` looks at the earliest.
    pub longest_step: Nanos,
}

impl LifeConfig {
    /// The limits for peers that are to be declared dead after `dead_after` of silence, and are suspect a
    /// good half of it before.
    #[must_use]
    pub fn dying_after(dead_after: Nanos) -> LifeConfig {
        let usual = LifeConfig::default();
        let ninth = Nanos(dead_after.0 / 9);
        let longest_step = ninth.min(usual.longest_step);
        LifeConfig { suspect_after: Nanos(5 * ninth.0), dead_after, longest_step }
    }
}

impl Default for LifeConfig {
    fn default() -> LifeConfig {
        LifeConfig {
            suspect_after: Nanos::SECOND,
            dead_after: Nanos::from_millis(1800),
            longest_step: Nanos::from_millis(200),
        }
    }
}

/// What a link knows of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nobody to talk to. Incarnations up to `barred` are finished and will not be talked to.
    Down {
        /// The last finished incarnation.
        barred: Option<Epoch>,
    },
    /// This side is attached and waits for the peer to attach too.
    Joining {
        /// The session offered.
        session: Session,
    },
    /// Both sides are attached.
    Up {
        /// The session.
        session: Session,
    },
    /// Both sides are attached; the peer has been silent for [`LifeConfig::suspect_after`].
    Suspect {
        /// The session.
        session: Session,
    },
    /// The session is over, but the peer may not know it: until its stop is confirmed, nothing
    /// that it could still write may be reused.
    Dead {
        /// The session that is over.
        session: Session,
    },
    /// The peer has given this side up. This side must start anew, under another epoch.
    Fenced {
        /// The session that is over.
        session: Session,
    },
    /// This side has closed the link.
    Closed,
}

impl Life {
    /// The session in which messages can be exchanged.
    #[inline]
    #[must_use]
    pub const fn session(self) -> Option<Session> {
        match self {
            Life::Up { session } | Life::Suspect { session } => Some(session),
            _ => None,
        }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No heartbeat for [`LifeConfig::dead_after`].
    Silent,
    /// Another incarnation of the peer is there.
    Restarted,
    /// The peer left, or closed this link, orderly.
    Left,
    /// The peer wrote what no correct peer writes.
    Corrupt(Corruption),
}

/// What a peer wrote that no correct peer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corruption {
    /// Something is wrong in a ring.
    Ring(Corrupt),
    /// Something is wrong with a frame.
    Frame(FrameError),
    /// It says of itself what makes no sense, or goes back in time.
    Presence,
    /// The memory between the two did not stand its test, or the peer did not take part in it.
    SelfTest,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Silent => f.write_str("silent for too long"),
            Cause::Restarted => f.write_str("started anew"),
            Cause::Left => f.write_str("left"),
            Cause::Corrupt(corruption) => write!(f, "corrupt: {corruption}"),
        }
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corruption::Ring(corrupt) => corrupt.fmt(f),
            Corruption::Frame(error) => error.fmt(f),
            Corruption::Presence => f.write_str("what it says of itself makes no sense"),
            Corruption::SelfTest => f.write_str("the self-test of the window has failed"),
        }
    }
}

/// What became of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Messages can be exchanged with it from now on.
    Up,
    /// It is silent.
    Suspect,
    /// It is not silent any more.
    Recovered,
    /// The session is over. Unless the cause implies it, its stop is yet to be confirmed
    /// ([`Cause::is_final`]).
    Down(Cause),
    /// The incarnation that was declared dead is known to have stopped: what it could write may be
    /// reused.
    Stopped,
    /// It has given this instance up: this instance must start anew under another epoch.
    Fenced(Leave),
}

impl Cause {
    /// Whether the incarnation is known to have stopped. Otherwise [`News::Stopped`] follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Cause::Restarted | Cause::Left)
    }
}

/// What is to be done to the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// [`crate::Port::attach`].
    Attach(Session),
    /// [`crate::Port::detach`].
    Detach(Leave),
}

/// What happens to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A look at what the peer says.
    Look(PeerView),
    /// The peer was found to be corrupt.
    Corrupt(Corruption),
    /// Who controls the peer confirms that the incarnation which was declared dead has stopped.
    Stopped,
    /// This instance closes the link.
    Close,
    /// This instance starts anew.
    Rejoin(Epoch),
}

/// What a step of the machine results in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// To be done first.
    pub act: Option<Act>,
    /// To be told.
    pub news: Option<News>,
}

impl Outcome {
    const NOTHING: Outcome = Outcome { act: None, news: None };

    const fn act(act: Act) -> Outcome {
        Outcome { act: Some(act), news: None }
    }

    const fn news(news: News) -> Outcome {
        Outcome { act: None, news: Some(news) }
    }

    const fn detach(reason: Leave, news: News) -> Outcome {
        Outcome { act: Some(Act::Detach(reason)), news: Some(news) }
    }
}

/// The machine: what is known of the peer, and for how long it has been silent.
#[derive(Clone, Debug)]
pub struct Lifeline {
    config: LifeConfig,
    life: Life,
    local: Epoch,
    beat: u64,
    silence: Nanos,
    looked: Option<Nanos>,
    suspended: bool,
}

impl Lifeline {
    /// A machine that knows nothing of its peer. `local` is this instance's epoch.
    #[must_use]
    pub const fn new(config: LifeConfig, local: Epoch) -> Lifeline {
        Lifeline {
            config,
            life: Life::Down { barred: None },
            local,
            beat: 0,
            silence: Nanos(0),
            looked: None,
            suspended: false,
        }
    }

    /// What is known of the peer.
    #[must_use]
    pub const fn life(&self) -> Life {
        self.life
    }

    /// The session in which messages can be exchanged.
    #[inline]
    #[must_use]
    pub const fn session(&self) -> Option<Session> {
        self.life.session()
    }

    /// How long the peer has been silent, as far as this side has listened; of one that was given up,
    /// how long it had been by then.
    #[must_use]
    pub const fn silence(&self) -> Nanos {
        self.silence
    }

    /// Stops counting silence (a debugger holds the peer), or counts it again from zero.
    pub fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
        self.silence = Nanos(0);
    }

    /// One step.
    pub fn step(&mut self, now: Nanos, input: Input) -> Outcome {
        let since = self.looked.replace(now).map_or(Nanos(0), |looked| now.since(looked));
        match input {
            Input::Look(view) => self.look(since.min(self.config.longest_step), view),
            Input::Corrupt(corruption) => match self.session() {
                Some(session) => self.give_up(session, Leave::Corrupt, Cause::Corrupt(corruption)),
                None => Outcome::NOTHING,
            },
            Input::Stopped => match self.life {
                Life::Dead { session } => {
                    self.life = Life::Down { barred: Some(session.remote) };
                    Outcome::news(News::Stopped)
                }
                _ => Outcome::NOTHING,
            },
            // A dead peer stays dead until its stop is confirmed, whatever this side does.
            Input::Close => {
                if !matches!(self.life, Life::Dead { .. }) {
                    self.life = Life::Closed;
                }
                Outcome::act(Act::Detach(Leave::Closed))
            }
            Input::Rejoin(local) => {
                self.local = local;
                self.life = match self.life {
                    unchanged @ (Life::Down { .. } | Life::Dead { .. }) => unchanged,
                    _ => Life::Down { barred: None },
                };
                Outcome::act(Act::Detach(Leave::Restarting))
            }
        }
    }

    fn look(&mut self, since: Nanos, view: PeerView) -> Outcome {
        match self.life {
            Life::Down { barred } => match view.presence {
                Some(peer) if peer.state == State::Up && Some(peer.epoch) > barred => {
                    let session = Session { local: self.local, remote: peer.epoch };
                    self.life = Life::Joining { session };
                    Outcome::act(Act::Attach(session))
                }
                _ => Outcome::NOTHING,
            },
            Life::Joining { session } => match view.presence {
                Some(peer) if (peer.epoch, peer.state) == (session.remote, State::Up) => {
                    if view.attached != Some(session) {
                        return Outcome::NOTHING;
                    }
                    self.life = Life::Up { session };
                    (self.beat, self.silence) = (peer.beat, Nanos(0));
                    Outcome::news(News::Up)
                }
                _ => {
                    self.life = Life::Down { barred: Some(session.remote) };
                    Outcome::act(Act::Detach(Leave::PeerGone))
                }
            },
            Life::Up { session } | Life::Suspect { session } => {
                self.look_at_partner(since, session, view)
            }
            Life::Dead { session } | Life::Fenced { session } => match view.presence {
                // One section has one owner: the new incarnation proves that the old one is over.
                Some(peer) if peer.epoch > session.remote => {
                    let dead = matches!(self.life, Life::Dead { .. });
                    self.life = Life::Down { barred: Some(session.remote) };
                    if dead { Outcome::news(News::Stopped) } else { Outcome::NOTHING }
                }
                _ => Outcome::NOTHING,
            },
            Life::Closed => Outcome::NOTHING,
        }
    }

    fn look_at_partner(&mut self, since: Nanos, session: Session, view: PeerView) -> Outcome {
        let Some(peer) = view.presence else {
            let corrupt = Cause::Corrupt(Corruption::Presence);
            return self.give_up(session, Leave::Corrupt, corrupt);
        };
        if peer.epoch > session.remote {
            return self.let_go(session, Cause::Restarted);
        }
        match peer.state {
            _ if peer.epoch < session.remote => {}
            State::Left => return self.let_go(session, Cause::Left),
            State::Up if view.attached == Some(session) => {
                return self.listen(since, session, peer.beat);
            }
            State::Up if view.left == Leave::Closed => return self.let_go(session, Cause::Left),
            State::Up => {
                self.life = Life::Fenced { session };
                return Outcome::detach(Leave::PeerGone, News::Fenced(view.left));
            }
            State::Starting => {}
        }
        self.give_up(session, Leave::Corrupt, Cause::Corrupt(Corruption::Presence))
    }

    fn listen(&mut self, since: Nanos, session: Session, beat: u64) -> Outcome {
        if beat != self.beat || self.suspended {
            (self.beat, self.silence) = (beat, Nanos(0));
            if self.life == (Life::Suspect { session }) {
                self.life = Life::Up { session };
                return Outcome::news(News::Recovered);
            }
            return Outcome::NOTHING;
        }
        self.silence = self.silence + since;
        if self.silence >= self.config.dead_after {
            self.give_up(session, Leave::Silent, Cause::Silent)
        } else if self.silence >= self.config.suspect_after && self.life == (Life::Up { session }) {
            self.life = Life::Suspect { session };
            Outcome::news(News::Suspect)
        } else {
            Outcome::NOTHING
        }
    }

    /// Ends a session whose peer may not know it.
    fn give_up(&mut self, session: Session, reason: Leave, cause: Cause) -> Outcome {
        self.life = Life::Dead { session };
        Outcome::detach(reason, News::Down(cause))
    }

    /// Ends a session that the peer has ended.
    fn let_go(&mut self, session: Session, cause: Cause) -> Outcome {
        self.life = Life::Down { barred: Some(session.remote) };
        Outcome::detach(Leave::PeerGone, News::Down(cause))
    }
}
