//! Are atomics between two instances exact, and do fences order?
//!
//! Both sides of a pair run the same machine over three pieces of the window: a line that only
//! this side writes, one that only the peer does, and the pair's cell that both do.
//!
//! 1. *Meet.* Each publishes the session it is tested in; the lower one has emptied the cell.
//! 2. *Count.* Both add to one word and compare-and-exchange another one up, at the same time;
//!    afterwards both words must have the exact sum.
//! 3. *Order.* In rounds, each stores its word of the cell, fences, and loads the other's. If both
//!    miss the other's store, a fence has been dropped (store buffering, the one reordering that
//!    x86 shows too). Each side delays its turn by another amount each round, so that the two
//!    meet at every distance.

use core::fmt;

use maize_hal::Nanos;
use maize_window::Window;
use maize_wire::{SLOT_WORDS, Session};

/// How much is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfTestConfig {
    /// Additions, and exchanges, that each side makes.
    pub additions: u64,
    /// Rounds of the third part, at the most.
    pub rounds: u64,
    /// Time after which the third part ends with fewer rounds.
    pub order_for: Nanos,
    /// Time without any progress of the peer after which it is given up.
    pub patience: Nanos,
    /// The most of it that one poll counts. Who was itself stopped, or had to wait for its turn, has not
    /// looked meanwhile, and the peer may have waited for it: it does not blame the peer.
    pub longest_step: Nanos,
}

impl Default for SelfTestConfig {
    fn default() -> SelfTestConfig {
        SelfTestConfig {
            additions: 20_000,
            rounds: 2_000,
            order_for: Nanos::from_millis(50),
            patience: Nanos::from_millis(2_000),
            longest_step: Nanos::from_millis(200),
        }
    }
}

/// The memory of a test.
#[derive(Clone)]
pub struct SelfTestParts<W> {
    /// This side's line ([`maize_window::PeerLine::SelfTest`]).
    pub own: W,
    /// The peer's line.
    pub peer: W,
    /// The pair's cell ([`maize_window::Layout::pair_cell`]).
    pub cell: W,
}

/// What a test that was passed has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Additions and exchanges of both sides, all of which were counted.
    pub operations: u64,
    /// Rounds in which the order of stores and loads was tested.
    pub rounds: u64,
}

/// Why the window is not to be used with this peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Atomic additions of the two sides were lost.
    AdditionsLost {
        /// What the sum has to be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// Compare-and-exchange let two sides through at once.
    ExchangesLost {
        /// What the sum has to be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// A fence did not keep a store in front of a later load.
    FenceIgnored {
        /// The round in which that was seen.
        round: u64,
    },
    /// The peer does not come, or has stopped in the middle, or never comes to an end.
    PeerSilent,
    /// The peer has seen something wrong.
    PeerRefused,
    /// The memory that was given is too small for the test.
    TooSmall,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = "does the emulator run with -smp 1,maxcpus=2 and multi-threaded TCG?";
        match self {
            Refusal::AdditionsLost { expected, found } => {
                write!(f, "atomic additions are not exact: {found} of {expected}; {hint}")
            }
            Refusal::ExchangesLost { expected, found } => {
                write!(f, "compare-and-exchange is not exact: {found} of {expected}; {hint}")
            }
            Refusal::FenceIgnored { round } => {
                write!(f, "a fence did not order a store and a load (round {round}); {hint}")
            }
            Refusal::PeerSilent => f.write_str("peer does not take part in the self-test"),
            Refusal::PeerRefused => f.write_str("peer has refused the window"),
            Refusal::TooSmall => f.write_str("no room for the self-test"),
        }
    }
}

impl core::error::Error for Refusal {}

/// How far a test is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not at its end.
    Working,
    /// The window is good.
    Passed(Report),
    /// The window is not to be used.
    Refused(Refusal),
}

// Words of a side's line.
const SESSION: usize = 0;
const STAGE: usize = 1;
const READY: usize = 2;
const RESULT: usize = 3;

// Stages, as they stand in the line.
const MET: u64 = 1;
const COUNTED: u64 = 2;
const PASSED: u64 = 3;
const REFUSED: u64 = 4;

// Words of the cell, each in a line of its own.
const SUM: usize = 0;
const EXCHANGED: usize = SLOT_WORDS;
const FLAGS: [usize; 2] = [2 * SLOT_WORDS, 3 * SLOT_WORDS];
const CELL_WORDS: usize = 4 * SLOT_WORDS;

/// The round that says that there is no other.
const NO_ROUND: u64 = u64::MAX;
/// Operations that one poll makes.
const OPERATIONS_A_POLL: u64 = 64;
/// Times that an exchange is tried.
const EXCHANGE_ATTEMPTS: u32 = 100_000;
/// The whole test may last for so many times the patience with the peer.
const PATIENCES: u64 = 8;
/// Times that one poll looks for the peer's part of a round: the two must be close in time.
const LOOKS_A_POLL: u32 = 256;

#[derive(Clone, Copy)]
enum Stage {
    Meeting,
    Counting { done: u64 },
    Summing,
    Ordering { round: u64, phase: Phase },
    Over(Progress),
}

#[derive(Clone, Copy)]
enum Phase {
    /// This side is ready for the round and waits for the other.
    Ready,
    /// This side has had its turn; whether it saw the other's store.
    Tried { saw: bool },
}

/// One side of the test of a pair.
pub struct SelfTest<W> {
    config: SelfTestConfig,
    parts: SelfTestParts<W>,
    session: Session,
    /// 0 for the lower instance of the pair, 1 for the higher.
    side: usize,
    stage: Stage,
    /// The peer's words when they last changed.
    last_seen: [u64; 4],
    /// For how long this side has waited for them to change, and for how long it has tested.
    waited: Nanos,
    lasted: Nanos,
    /// When this side looked last.
    looked: Nanos,
    ordering_since: Nanos,
}

impl<W: Window> SelfTest<W> {
    /// A test of the pair in that session, from that side; one a session. Both sides need the
    /// same configuration.
    #[must_use]
    pub fn new(
        config: SelfTestConfig,
        parts: SelfTestParts<W>,
        session: Session,
        side: Side,
        now: Nanos,
    ) -> SelfTest<W> {
        let words = [parts.own.words(), parts.peer.words()];
        let fits = words.iter().all(|words| *words > RESULT) && parts.cell.words() >= CELL_WORDS;
        let stage =
            if fits { Stage::Meeting } else { Stage::Over(Progress::Refused(Refusal::TooSmall)) };
        let test = SelfTest {
            config,
            parts,
            session,
            side: side as usize,
            stage,
            last_seen: [0; 4],
            waited: Nanos(0),
            lasted: Nanos(0),
            looked: now,
            ordering_since: now,
        };
        if fits {
            test.enter();
        }
        test
    }

    /// Publishes that this side is there.
    fn enter(&self) {
        let SelfTestParts { own, cell, .. } = &self.parts;
        for word in [STAGE, READY, RESULT] {
            own.store(word, 0);
        }
        if self.side == 0 {
            cell.clear();
        }
        own.store(STAGE, MET);
        own.store_release(SESSION, self.session.to_word());
    }

    /// Goes on with the test, for a bounded time.
    pub fn poll(&mut self, now: Nanos) -> Progress {
        if let Stage::Over(progress) = self.stage {
            return progress;
        }
        let mut seen = [self.parts.peer.load_acquire(SESSION), 0, 0, 0];
        let there = seen[0] == self.session.flipped().to_word();
        if there {
            for (word, seen) in seen.iter_mut().enumerate().skip(1) {
                *seen = self.parts.peer.load_acquire(word);
            }
        }
        let since = now.since(self.looked).min(self.config.longest_step);
        self.looked = now;
        self.lasted = self.lasted + since;
        self.waited = self.waited + since;
        if seen != self.last_seen {
            (self.last_seen, self.waited) = (seen, Nanos(0));
        }
        if seen[STAGE] == REFUSED {
            return self.refuse(Refusal::PeerRefused);
        }
        if self.waited.0.max(self.lasted.0 / PATIENCES) > self.config.patience.0 {
            return self.refuse(Refusal::PeerSilent);
        }
        match self.stage {
            Stage::Meeting if there && seen[STAGE] >= MET => {
                self.stage = Stage::Counting { done: 0 };
            }
            Stage::Counting { done } => self.count(done),
            Stage::Summing if seen[STAGE] >= COUNTED => return self.sum(now),
            Stage::Ordering { round, phase } => return self.order(now, round, phase),
            Stage::Meeting | Stage::Summing | Stage::Over(_) => {}
        }
        Progress::Working
    }

    fn count(&mut self, done: u64) {
        let end = self.config.additions.min(done + OPERATIONS_A_POLL);
        let cell = &self.parts.cell;
        for _ in done..end {
            cell.fetch_add(SUM, 1);
            let mut expected = cell.load(EXCHANGED);
            // Whenever this side fails the other has got on, so an honest one ends this long
            // before the bound does. A dishonest one is found out by the sum.
            for _ in 0..EXCHANGE_ATTEMPTS {
                match cell.compare_exchange(EXCHANGED, expected, expected.wrapping_add(1)) {
                    Ok(_) => break,
                    Err(found) => expected = found,
                }
            }
        }
        if end == self.config.additions {
            self.parts.own.store_release(STAGE, COUNTED);
            self.stage = Stage::Summing;
        } else {
            self.stage = Stage::Counting { done: end };
        }
    }

    fn sum(&mut self, now: Nanos) -> Progress {
        let expected = 2 * self.config.additions;
        let found = self.parts.cell.load_acquire(SUM);
        if found != expected {
            return self.refuse(Refusal::AdditionsLost { expected, found });
        }
        let found = self.parts.cell.load_acquire(EXCHANGED);
        if found != expected {
            return self.refuse(Refusal::ExchangesLost { expected, found });
        }
        self.ordering_since = now;
        self.begin_round(1);
        Progress::Working
    }

    fn begin_round(&mut self, round: u64) {
        self.stage = Stage::Ordering { round, phase: Phase::Ready };
        self.parts.own.store_release(READY, round);
    }

    fn order(&mut self, now: Nanos, mut round: u64, mut phase: Phase) -> Progress {
        for _ in 0..LOOKS_A_POLL {
            let SelfTestParts { own, peer, cell } = &self.parts;
            match phase {
                Phase::Ready => {
                    let ready = peer.load_acquire(READY);
                    if ready == NO_ROUND {
                        return self.pass(round - 1);
                    }
                    if ready < round {
                        continue;
                    }
                    self.dawdle(round);
                    cell.store(FLAGS[self.side], round);
                    cell.fence();
                    let saw = cell.load(FLAGS[1 - self.side]) >= round;
                    own.store_release(RESULT, round << 1 | u64::from(saw));
                    phase = Phase::Tried { saw };
                }
                Phase::Tried { saw } => {
                    let result = peer.load_acquire(RESULT);
                    if result >> 1 != round {
                        continue;
                    }
                    if !saw && result & 1 == 0 {
                        return self.refuse(Refusal::FenceIgnored { round });
                    }
                    // The lower side decides when it is enough.
                    let enough = round == self.config.rounds
                        || now.since(self.ordering_since) > self.config.order_for;
                    if self.side == 0 && enough {
                        own.store_release(READY, NO_ROUND);
                        return self.pass(round);
                    }
                    round += 1;
                    phase = Phase::Ready;
                    own.store_release(READY, round);
                }
            }
        }
        self.stage = Stage::Ordering { round, phase };
        Progress::Working
    }

    /// Lets some time pass, another amount in each round and on each side.
    fn dawdle(&self, round: u64) {
        for _ in 0..round % [61, 67][self.side] {
            core::hint::spin_loop();
        }
    }

    fn pass(&mut self, rounds: u64) -> Progress {
        self.parts.own.store_release(STAGE, PASSED);
        let operations = 4 * self.config.additions;
        self.end(Progress::Passed(Report { operations, rounds }))
    }

    fn refuse(&mut self, refusal: Refusal) -> Progress {
        self.parts.own.store_release(STAGE, REFUSED);
        self.end(Progress::Refused(refusal))
    }

    fn end(&mut self, progress: Progress) -> Progress {
        self.stage = Stage::Over(progress);
        progress
    }
}

/// Which side of a pair an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Side {
    /// It has the lower number.
    Lower = 0,
    /// It has the higher number.
    Higher = 1,
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::{cell::Cell, sync::atomic::AtomicU64};
    use maize_window::{HostWindow, Mapping, Span};
    use maize_wire::Epoch;
    use std::{rc::Rc, thread, time::Instant, vec::Vec};

    const WORDS: usize = 2 * SLOT_WORDS + CELL_WORDS;

    fn parts<W: Window>(window: &W, side: Side) -> SelfTestParts<W> {
        let part = |start, words| window.part(Span { start, words }).unwrap();
        let lines = [part(0, SLOT_WORDS), part(SLOT_WORDS, SLOT_WORDS)];
        let [low, high] = lines;
        let cell = part(2 * SLOT_WORDS, CELL_WORDS);
        match side {
            Side::Lower => SelfTestParts { own: low, peer: high, cell },
            Side::Higher => SelfTestParts { own: high, peer: low, cell },
        }
    }

    fn session(side: Side) -> Session {
        let low = Session { local: Epoch::new(2).unwrap(), remote: Epoch::new(5).unwrap() };
        if side == Side::Lower { low } else { low.flipped() }
    }

    fn words() -> Vec<AtomicU64> {
        // Not zero: the test must not depend on what was there before.
        (0..WORDS).map(|word| AtomicU64::new(word as u64 * 7)).collect()
    }

    #[test]
    fn two_threads_pass() {
        let near = HostWindow::create("maize-self-test", 4096).unwrap();
        let far = near.again().unwrap();
        let start = Instant::now();
        let run = |window: &HostWindow, side| {
            let now = || Nanos(start.elapsed().as_nanos() as u64);
            // A host with other work to do may keep one of them waiting for seconds.
            let patience = Nanos::from_millis(60_000);
            let config = SelfTestConfig { patience, ..SelfTestConfig::default() };
            let parts = parts(&window.window(), side);
            let mut test = SelfTest::new(config, parts, session(side), side, now());
            loop {
                match test.poll(now()) {
                    Progress::Working => thread::yield_now(),
                    over => return over,
                }
            }
        };
        let (low, high) = thread::scope(|scope| {
            let high = scope.spawn(|| run(&far, Side::Higher));
            (run(&near, Side::Lower), high.join().unwrap())
        });
        let Progress::Passed(report) = low else { panic!("{low:?}") };
        assert_eq!(report.operations, 80_000);
        assert!(report.rounds >= 1);
        assert_eq!(high, low);
    }

    /// A window with the faults of an emulator that thinks it has one core.
    #[derive(Clone)]
    struct Faulty<'a> {
        window: Mapping<'a>,
        fault: Fault,
        /// What another side stores in the middle of this side's read-modify-writes.
        torn: Rc<Cell<u64>>,
        /// This side's store buffer: a word of the window and its value.
        buffer: Rc<Cell<Option<(Mapping<'a>, usize, u64)>>>,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        Add,
        Exchange,
        Fence,
    }

    impl Faulty<'_> {
        /// Every seventh operation is interrupted between its load and its store.
        fn is_interrupted(&self, fault: Fault) -> bool {
            self.torn.set(self.torn.get() + 1);
            self.fault == fault && self.torn.get().is_multiple_of(7)
        }

        fn flush(&self) {
            if let Some((window, word, value)) = self.buffer.take() {
                window.store(word, value);
            }
        }
    }

    impl<'a> Window for Faulty<'a> {
        fn words(&self) -> usize {
            self.window.words()
        }
        fn part(&self, span: Span) -> Option<Faulty<'a>> {
            self.window.part(span).map(|window| Faulty { window, ..self.clone() })
        }
        fn load(&self, word: usize) -> u64 {
            self.window.load(word)
        }
        fn load_acquire(&self, word: usize) -> u64 {
            self.window.load_acquire(word)
        }
        fn store(&self, word: usize, value: u64) {
            if self.fault == Fault::Fence && FLAGS.contains(&word) {
                self.flush();
                self.buffer.set(Some((self.window, word, value)));
            } else {
                self.window.store(word, value);
            }
        }
        fn store_release(&self, word: usize, value: u64) {
            // The round's result follows its flag: stores stay in order.
            if word != RESULT {
                self.flush();
            }
            self.window.store_release(word, value);
        }
        fn fetch_add(&self, word: usize, value: u64) -> u64 {
            let lost = self.is_interrupted(Fault::Add);
            self.window.fetch_add(word, if lost { 0 } else { value })
        }
        fn compare_exchange(&self, word: usize, expected: u64, new: u64) -> Result<u64, u64> {
            let lost = self.is_interrupted(Fault::Exchange);
            self.window.compare_exchange(word, expected, if lost { expected } else { new })
        }
        fn fence(&self) {
            if self.fault != Fault::Fence {
                self.flush();
                self.window.fence();
            }
        }
        fn fence_release(&self) {
            self.window.fence_release();
        }
        fn fence_acquire(&self) {
            self.window.fence_acquire();
        }
    }

    /// Runs both sides in turns, on windows with that fault.
    fn run_faulty(fault: Fault) -> [Progress; 2] {
        let words = words();
        let config = SelfTestConfig { additions: 500, ..SelfTestConfig::default() };
        let mut sides = [Side::Lower, Side::Higher].map(|side| {
            let window = Faulty {
                window: Mapping::from_words(&words),
                fault,
                torn: Rc::default(),
                buffer: Rc::default(),
            };
            SelfTest::new(config, parts(&window, side), session(side), side, Nanos(0))
        });
        for step in 0..10_000 {
            let progress = sides.each_mut().map(|side| side.poll(Nanos(step * 1000)));
            if progress.iter().all(|progress| *progress != Progress::Working) {
                return progress;
            }
        }
        panic!("the test does not end");
    }

    #[test]
    fn every_fault_is_named_by_one_side_and_believed_by_the_other() {
        let reason = |fault| {
            let [low, high] = run_faulty(fault);
            let refused = |progress| match progress {
                Progress::Refused(refusal) => refusal,
                other => panic!("{other:?}"),
            };
            let (low, high) = (refused(low), refused(high));
            // One of them may learn it from the other, but not both.
            if low == Refusal::PeerRefused { high } else { low }
        };
        assert!(matches!(reason(Fault::Add), Refusal::AdditionsLost { expected: 1000, .. }));
        assert!(matches!(reason(Fault::Exchange), Refusal::ExchangesLost { expected: 1000, .. }));
        assert!(matches!(reason(Fault::Fence), Refusal::FenceIgnored { .. }));
    }

    #[test]
    fn a_peer_that_does_not_come_is_not_waited_for_without_end() {
        let words = words();
        let window = Mapping::from_words(&words);
        let side = Side::Lower;
        let config = SelfTestConfig::default();
        let mut test = SelfTest::new(config, parts(&window, side), session(side), side, Nanos(0));
        // What stood there before is its first word.
        for tenth in 1..=21 {
            assert_eq!(test.poll(Nanos::from_millis(tenth * 100)), Progress::Working);
        }
        let late = Nanos::from_millis(2_200);
        assert_eq!(test.poll(late), Progress::Refused(Refusal::PeerSilent));
    }

    #[test]
    fn who_was_stopped_does_not_blame_the_peer() {
        let words = words();
        let window = Mapping::from_words(&words);
        let mut sides = [Side::Lower, Side::Higher].map(|side| {
            let config = SelfTestConfig { additions: 100, rounds: 20, ..SelfTestConfig::default() };
            SelfTest::new(config, parts(&window, side), session(side), side, Nanos(0))
        });
        // The higher has its turn every 1.5 s only, longer than either would wait for the other in two turns.
        let mut over = [Progress::Working; 2];
        for turn in 1..1_000 {
            let now = Nanos::from_millis(turn * 1_500);
            over = [sides[0].poll(now), sides[1].poll(now + Nanos::from_millis(1_400))];
            if over.iter().all(|progress| *progress != Progress::Working) {
                break;
            }
        }
        assert!(over.iter().all(|over| matches!(over, Progress::Passed(_))), "{over:?}");
    }

    #[test]
    fn a_peer_that_scribbles_is_not_waited_for_without_end_either() {
        let words = words();
        let window = Mapping::from_words(&words);
        let side = Side::Higher;
        let config = SelfTestConfig { additions: 10, ..SelfTestConfig::default() };
        let mut test = SelfTest::new(config, parts(&window, side), session(side), side, Nanos(0));
        window.store(SESSION, session(Side::Lower).to_word());
        window.store(STAGE, COUNTED);
        for step in 1u64.. {
            assert!(step < 1_000);
            window.store(RESULT, step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            window.store(2 * SLOT_WORDS + EXCHANGED, u64::MAX);
            if let Progress::Refused(_) = test.poll(Nanos::from_millis(step * 100)) {
                break;
            }
        }
    }

    #[test]
    fn small_memory_is_refused() {
        let words = words();
        let window = Mapping::from_words(&words);
        let side = Side::Lower;
        let mut parts = parts(&window, side);
        parts.cell = window.part(Span { start: 0, words: 8 }).unwrap();
        let mut test =
            SelfTest::new(SelfTestConfig::default(), parts, session(side), side, Nanos(0));
        assert_eq!(test.poll(Nanos(1)), Progress::Refused(Refusal::TooSmall));
    }
}
