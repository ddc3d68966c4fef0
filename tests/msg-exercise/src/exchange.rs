//! All pairs exchange numbered messages.

use alloc::boxed::Box;
use alloc::vec::Vec;

use maize_hal::Nanos;
use maize_link::{Event, News, Outgoing, SendError};
use maize_wire::{Class, InstanceId, Kind, PAGE_WORDS};

use crate::content::{Content, Direction};
use crate::{ExchangeRequest, Fault, PairOutcome, Traffic};

/// A numbered message.
const DATA: Kind = Kind(100);
/// There are no more of this class; its body is how many there were.
const END: Kind = Kind(101);

/// Messages sent to a peer before the next one has its turn.
const BURST: u32 = 16;
/// Events taken before something is sent again.
const EVENTS: u32 = 256;

/// What an exchange wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To go on at once: it has more to send.
    Again,
    /// To wait until something comes, or until this time.
    Wait(Nanos),
    /// Nothing: it is over.
    Done,
}

/// What is going on with a peer.
struct Pair {
    peer: InstanceId,
    to: Direction,
    from: Direction,
    outcome: PairOutcome,
    session: Option<Session>,
}

/// The state of a session; numbers begin anew with each.
#[derive(Default)]
struct Session {
    /// Messages sent of all classes.
    turn: u64,
    sent: [u64; Class::COUNT],
    received: [u64; Class::COUNT],
    /// Classes that wait for room.
    blocked: [bool; Class::COUNT],
    /// Classes whose end was sent.
    closed: [bool; Class::COUNT],
    /// Classes whose end has come.
    ended: [bool; Class::COUNT],
}

impl Session {
    fn is_complete(&self) -> bool {
        self.closed == [true; Class::COUNT] && self.ended == [true; Class::COUNT]
    }
}

/// An instance's part of the exchange: a state machine over its links.
pub struct Exchange {
    request: ExchangeRequest,
    pairs: Vec<Pair>,
    stop_at: Nanos,
    end_at: Nanos,
    content: Content,
    page: Box<[u64; PAGE_WORDS]>,
}

impl Exchange {
    /// The part of `me`, which begins now. Pairs begin as their peers come up.
    #[must_use]
    pub fn new(
        request: ExchangeRequest,
        me: InstanceId,
        peers: impl IntoIterator<Item = InstanceId>,
        now: Nanos,
    ) -> Exchange {
        let pair = |peer: InstanceId| Pair {
            peer,
            to: Direction::new(request.seed, me, peer),
            from: Direction::new(request.seed, peer, me),
            outcome: PairOutcome { peer: peer.0, ..PairOutcome::default() },
            session: None,
        };
        let stop_at = now + Nanos(request.send_for_ns);
        Exchange {
            request,
            pairs: peers.into_iter().map(pair).collect(),
            stop_at,
            end_at: stop_at + Nanos(request.grace_ns),
            content: Content::default(),
            page: Box::new([0; PAGE_WORDS]),
        }
    }

    /// What came of it with each peer.
    #[must_use]
    pub fn outcome(&self) -> Vec<PairOutcome> {
        let outcome = |pair: &Pair| {
            let mut outcome = pair.outcome.clone();
            outcome.complete = pair.session.as_ref().is_some_and(Session::is_complete);
            if let Some(session) = &pair.session {
                outcome.received_last = session.received;
            }
            outcome
        };
        self.pairs.iter().map(outcome).collect()
    }

    /// Takes what has come and sends what there is room for. Notify after it.
    pub fn step(&mut self, traffic: &mut impl Traffic, now: Nanos) -> Next {
        for _ in 0..EVENTS {
            let Some((peer, event)) = traffic.poll(now) else { break };
            self.take(traffic, now, peer, event);
        }
        let mut more = false;
        for index in 0..self.pairs.len() {
            more |= self.send_burst(traffic, now, index);
        }
        let complete = |pair: &Pair| pair.session.as_ref().is_some_and(Session::is_complete);
        let all = self.pairs.iter().all(complete);
        let there = |pair: &Pair| pair.session.as_ref().is_none_or(Session::is_complete);
        let all_there = now >= self.stop_at && self.pairs.iter().all(there);
        if now >= self.end_at || all_there || all && !self.request.stay {
            Next::Done
        } else if more {
            Next::Again
        } else {
            Next::Wait(if now < self.stop_at { self.stop_at } else { self.end_at })
        }
    }

    /// Takes one event.
    pub fn take(&mut self, traffic: &mut impl Traffic, now: Nanos, peer: InstanceId, event: Event) {
        if let Event::News(News::Fenced(_)) = event {
            // Every session is over.
            self.pairs.iter_mut().for_each(|pair| pair.session = None);
            return;
        }
        let Some(pair) = self.pairs.iter_mut().find(|pair| pair.peer == peer) else { return };
        let message = match event {
            Event::News(News::Up) => {
                pair.outcome.sessions += 1;
                pair.session = Some(Session::default());
                return;
            }
            Event::News(News::Down(_)) => {
                pair.session = None;
                return;
            }
            Event::News(_) => return,
            Event::Room(class) => {
                if let Some(session) = &mut pair.session {
                    session.blocked[class.index()] = false;
                }
                return;
            }
            Event::Message(message) => message,
        };
        let Some(session) = &mut pair.session else { return };
        let has_page = message.has_page && traffic.copy_page(now, &mut self.page);
        let page = has_page.then_some(&*self.page);
        let (body, class) = (traffic.body(), message.class);
        let number = u64::from_le_bytes(body.first_chunk().copied().unwrap_or_default());
        let expected = session.received[class.index()];
        let fault = match message.kind {
            DATA if number != expected || session.ended[class.index()] => {
                Some(Fault::Order { class: class as u8, expected, found: number })
            }
            DATA => {
                let shape = pair.from.shape(class, number);
                let right = self.content.is((shape, number), body, page);
                (!right).then_some(Fault::Content { class: class as u8, number })
            }
            END if number != expected => {
                Some(Fault::Count { class: class as u8, sent: number, received: expected })
            }
            END => None,
            kind => Some(Fault::Unknown { kind: kind.0 }),
        };
        if message.kind == END {
            session.ended[class.index()] = true;
        } else {
            session.received[class.index()] = number.wrapping_add(1);
            if fault.is_none() {
                pair.outcome.received[class.index()] += 1;
                pair.outcome.bytes += (body.len() + page.map_or(0, |page| 8 * page.len())) as u64;
            }
        }
        if pair.outcome.fault.is_none() {
            pair.outcome.fault = fault;
        }
    }

    /// Sends to one peer. Returns whether there is more that might go.
    fn send_burst(&mut self, traffic: &mut impl Traffic, now: Nanos, index: usize) -> bool {
        let ExchangeRequest { messages, .. } = self.request;
        let time_is_up = now >= self.stop_at;
        let Some(pair) = self.pairs.get_mut(index) else { return false };
        let Some(session) = &mut pair.session else { return false };
        for _ in 0..BURST {
            let over = time_is_up || messages != 0 && session.turn >= messages;
            let next = if over {
                let open = |class: &Class| {
                    !session.closed[class.index()] && !session.blocked[class.index()]
                };
                let Some(class) = Class::ALL.into_iter().find(open) else { return false };
                class
            } else {
                pair.to.class(session.turn)
            };
            // One class that is full holds the others up: their turns follow from the seed.
            if session.blocked[next.index()] {
                return false;
            }
            let number = session.sent[next.index()];
            let end = number.to_le_bytes();
            let (contents, page) = if over {
                (&end[..], None)
            } else {
                self.content.make(pair.to.shape(next, number), number)
            };
            let kind = if over { END } else { DATA };
            match traffic.send(now, pair.peer, Outgoing { class: next, kind, contents, page }) {
                Ok(_) if over => session.closed[next.index()] = true,
                Ok(_) => {
                    session.turn += 1;
                    session.sent[next.index()] += 1;
                    pair.outcome.sent[next.index()] += 1;
                }
                Err(SendError::Full) => session.blocked[next.index()] = true,
                // It has just gone, or memory has run out for now: the next turn tells.
                Err(_) => return false,
            }
        }
        true
    }
}
