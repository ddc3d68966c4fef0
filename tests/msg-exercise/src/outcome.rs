//! Requests and answers, as postcard carries them.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// What an instance is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exercise {
    /// Be there, and answer nothing.
    Serve,
    /// All pairs exchange messages.
    Exchange(ExchangeRequest),
    /// Instances 0 and 1 measure the link between them; instance 0 tells the figures.
    Bench(BenchRequest),
}

/// How much is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeRequest {
    /// Messages that each instance sends to each other one in a session; with 0, as many as the time
    /// allows.
    pub messages: u64,
    /// Time after which an instance stops sending, in nanoseconds.
    pub send_for_ns: u64,
    /// Time after that in which what is under way must have come.
    pub grace_ns: u64,
    /// What the content of all messages follows from.
    pub seed: u64,
    /// Whether an instance that has exchanged everything goes on to its end of time, because others
    /// may come or go.
    pub stay: bool,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchRequest {
    /// Samples of polled round trips.
    pub batches: u32,
    /// Round trips of each sample.
    pub batch: u32,
    /// Samples of round trips by doorbell, each one round trip.
    pub doorbells: u32,
    /// Messages of 64 bytes that are streamed.
    pub messages: u64,
    /// Pages that are streamed.
    pub pages: u64,
    /// For how long a receiver polls before it sleeps while it is streamed to, in nanoseconds.
    pub poll_ns: u64,
}

impl BenchRequest {
    /// Enough for steady figures in about a second.
    pub const DEFAULT: BenchRequest = BenchRequest {
        batches: 200,
        batch: 200,
        doorbells: 2_000,
        messages: 400_000,
        pages: 60_000,
        poll_ns: 50_000,
    };
}

/// What came of an exercise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Of the exchange with each peer.
    Exchange(Vec<PairOutcome>),
    /// The figures.
    Bench(Box<BenchOutcome>),
    /// The exercise could not be done.
    Failed(String),
}

/// What was exchanged with a peer. Counts are of all sessions together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairOutcome {
    /// The peer.
    pub peer: u16,
    /// Sessions there were.
    pub sessions: u32,
    /// Whether in the last session everything that either side has sent has come.
    pub complete: bool,
    /// Messages sent, by class.
    pub sent: [u64; 3],
    /// Messages received and found right, by class.
    pub received: [u64; 3],
    /// Messages received in the last session, by class.
    pub received_last: [u64; 3],
    /// Bytes of right bodies and pages.
    pub bytes: u64,
    /// The first thing that was wrong.
    pub fault: Option<Fault>,
}

/// What must not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// A message was lost, came twice, or came out of turn.
    Order {
        /// Its class.
        class: u8,
        /// The number that was due.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A message has another content than it was sent with.
    Content {
        /// Its class.
        class: u8,
        /// Its number.
        number: u64,
    },
    /// The peer has sent more or fewer than have come.
    Count {
        /// The class.
        class: u8,
        /// What the peer says that it has sent.
        sent: u64,
        /// What has come.
        received: u64,
    },
    /// A message that nobody sends.
    Unknown {
        /// Its kind.
        kind: u16,
    },
}

/// The figures of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BenchOutcome {
    /// Round trips over two words that both sides spin on.
    pub bare_polled: Spread,
    /// Round trips over lines of their own with a header that is checked, both sides polling: the
    /// least that a link could cost.
    pub line_polled: Spread,
    /// Round trips over two words, each side asleep until its doorbell rings.
    pub bare_doorbell: Spread,
    /// Round trips of 8 bytes through the link, both sides polling.
    pub link_polled: Spread,
    /// Round trips of 8 bytes through the link, both sides asleep in between.
    pub link_doorbell: Spread,
    /// Messages of 64 bytes, one way.
    pub messages: Rate,
    /// Pages, one way.
    pub pages: Rate,
    /// Pages, one way, that are only copied to and from the memory.
    pub bare_pages: Rate,
}

/// A distribution of times, in picoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min_ps: u64,
    /// Half took no longer.
    pub median_ps: u64,
    /// 99 of 100 took no longer.
    pub p99_ps: u64,
}

impl Spread {
    /// Of these samples, in picoseconds, which are put in order.
    pub fn of(samples: &mut [u64]) -> Spread {
        samples.sort_unstable();
        let at = |part: usize| samples.get(samples.len() * part / 100).copied().unwrap_or_default();
        Spread { min_ps: at(0), median_ps: at(50), p99_ps: at(99) }
    }
}

/// One-way traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Messages.
    pub count: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// From the first sent to the last received and acknowledged, in nanoseconds.
    pub ns: u64,
    /// Doorbells that the sender rang.
    pub doorbells: u64,
    /// Doorbells that the receiver rang.
    pub doorbells_back: u64,
}

impl AddAssign for Rate {
    fn add_assign(&mut self, other: Rate) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.ns += other.ns;
        self.doorbells += other.doorbells;
        self.doorbells_back += other.doorbells_back;
    }
}
