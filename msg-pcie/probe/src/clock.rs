//! How far the peer's clock is ahead of ours: ping-pong over the window, and the quickest of many
//! round trips counts.
//!
//! ```text
//! clock line   word 0  number of the ping          (asks)
//!              word 1  number of the ping answered  (answers)
//!              word 2  the answerer's time
//! ```
//!
//! Each side asks and answers at once. The time of an answer is read after the ping was seen and
//! before the answer is stored; so it lies between the asker's two readings, and half of the round
//! trip bounds the error, whatever is asymmetric about it. As `now` is read before a poll, what a
//! poll sees is dated with the next one's.

use maize_hal::Nanos;
use maize_window::Window;

const PING: usize = 0;
const PONG: usize = 1;
const TIME: usize = 2;

/// A measured offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// How far the peer's clock is ahead of this one, in nanoseconds.
    pub ahead: i64,
    /// How wrong that can be: half of the quickest round trip.
    pub error: Nanos,
}

enum Asking {
    /// Nothing is asked.
    No,
    /// Asked at that time.
    Asked(Nanos),
    /// Asked at that time, and answered with that one; the next poll dates it.
    Answered(Nanos, u64),
}

/// One side of the measurement with a peer. To be polled by both for as long as either measures.
pub struct ClockProbe<W> {
    own: W,
    peer: W,
    asking: Asking,
    ping: u64,
    answered: u64,
    /// A ping that was seen and is answered at the next poll.
    seen: Option<u64>,
    left: u32,
    best: Option<ClockOffset>,
}

impl<W: Window> ClockProbe<W> {
    /// A probe over this side's and the peer's clock lines ([`maize_window::PeerLine::Clock`]),
    /// which starts to measure at once and takes the best of `samples` round trips.
    #[must_use]
    pub fn new(own: W, peer: W, samples: u32) -> ClockProbe<W> {
        // The own line goes on where a predecessor has stopped: numbers never repeat.
        let (ping, answered) = (own.load(PING), own.load(PONG));
        ClockProbe {
            own,
            peer,
            asking: Asking::No,
            ping,
            answered,
            seen: None,
            left: samples,
            best: None,
        }
    }

    /// Measures anew, as after a pause of either side.
    pub fn restart(&mut self, samples: u32) {
        (self.asking, self.left, self.best) = (Asking::No, samples, None);
    }

    /// Whether this side has asked and not been answered, or has an answer to give: polled again
    /// at once, it gets on.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.left > 0 || self.seen.is_some()
    }

    /// The offset, once all round trips are done.
    #[must_use]
    pub fn offset(&self) -> Option<ClockOffset> {
        if self.left == 0 { self.best } else { None }
    }

    /// Asks and answers. `now` is to be read just before each call.
    pub fn poll(&mut self, now: Nanos) {
        self.answer(now);
        match self.asking {
            Asking::No if self.left > 0 => {
                self.ping = self.ping.wrapping_add(1);
                self.asking = Asking::Asked(now);
                self.own.store_release(PING, self.ping);
            }
            Asking::Asked(asked) if self.peer.load_acquire(PONG) == self.ping => {
                self.asking = Asking::Answered(asked, self.peer.load(TIME));
            }
            Asking::Answered(asked, time) => {
                self.take(asked, time, now);
                (self.asking, self.left) = (Asking::No, self.left - 1);
            }
            Asking::No | Asking::Asked(_) => {}
        }
    }

    fn answer(&mut self, now: Nanos) {
        if let Some(ping) = self.seen.take() {
            self.own.store(TIME, now.0);
            self.own.store_release(PONG, ping);
            self.answered = ping;
        }
        let ping = self.peer.load_acquire(PING);
        if ping != self.answered {
            self.seen = Some(ping);
        }
    }

    /// A round trip, from `asked` to `now`, in the middle of which the peer's clock stood at `time`.
    fn take(&mut self, asked: Nanos, time: u64, now: Nanos) {
        let error = Nanos(now.since(asked).0.div_ceil(2));
        if self.best.is_none_or(|best| error < best.error) {
            let middle = asked + error;
            // Clocks, and what a peer says of its own, may be anything: the difference wraps.
            let ahead = time.wrapping_sub(middle.0).cast_signed();
            self.best = Some(ClockOffset { ahead, error });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;
    use maize_window::{Mapping, Span};
    use proptest::prelude::*;
    use std::{thread, time::Instant, vec::Vec};

    fn lines(words: &[AtomicU64]) -> (Mapping<'_>, Mapping<'_>) {
        let window = Mapping::from_words(words);
        let part = |start| window.part(Span { start, words: 8 }).unwrap();
        (part(0), part(8))
    }

    fn words() -> Vec<AtomicU64> {
        (0..16).map(|_| AtomicU64::new(0)).collect()
    }

    proptest! {
        /// Whoever is polled when, the error is what it is said to be.
        #[test]
        fn the_error_is_bounded(
            ahead in -1_000_000_000i64..1_000_000_000,
            gaps in prop::collection::vec((0u64..2000, any::<bool>()), 600),
        ) {
            let words = words();
            let (a, b) = lines(&words);
            let (mut near, mut far) = (ClockProbe::new(a, b, 16), ClockProbe::new(b, a, 16));
            let mut time = 5_000_000_000u64;
            for (gap, turn) in gaps {
                // `now` is read some time before what it dates happens.
                let early = Nanos(time);
                time += gap;
                if turn {
                    near.poll(early);
                } else {
                    far.poll(Nanos(early.0.wrapping_add_signed(ahead)));
                }
            }
            for (offset, truth) in [(near.offset(), ahead), (far.offset(), -ahead)] {
                if let Some(offset) = offset {
                    prop_assert!(offset.ahead.abs_diff(truth) <= offset.error.0 + 1, "{offset:?} {truth}");
                }
            }
        }
    }

    #[test]
    fn two_threads_measure_each_other() {
        const AHEAD: u64 = 123_456_789;
        let words = words();
        let (a, b) = lines(&words);
        let start = Instant::now();
        let now = || Nanos(start.elapsed().as_nanos() as u64);
        let done = AtomicU64::new(0);
        let measure = |own, peer, shift: u64| {
            let mut probe = ClockProbe::new(own, peer, 200);
            let mut told = false;
            while done.load(core::sync::atomic::Ordering::SeqCst) < 2 {
                probe.poll(now() + Nanos(shift));
                if probe.offset().is_some() && !told {
                    told = true;
                    done.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
                }
                thread::yield_now();
            }
            probe.offset().unwrap()
        };
        thread::scope(|scope| {
            let far = scope.spawn(|| measure(b, a, AHEAD));
            let near = measure(a, b, 0);
            let far = far.join().unwrap();
            assert!(near.ahead.abs_diff(AHEAD.cast_signed()) <= near.error.0, "{near:?}");
            assert!(far.ahead.abs_diff(-AHEAD.cast_signed()) <= far.error.0, "{far:?}");
        });
    }

    #[test]
    fn a_successor_and_a_liar_do_no_harm() {
        let words = words();
        let (a, b) = lines(&words);
        let mut near = ClockProbe::new(a, b, 1);
        near.poll(Nanos(10));
        // A liar that answers at once, with nonsense.
        b.store(TIME, u64::MAX);
        b.store_release(PONG, 1);
        near.poll(Nanos(20));
        near.poll(Nanos(30));
        assert_eq!(near.offset().map(|offset| offset.error), Some(Nanos(10)));
        // A successor asks with numbers that were not asked before.
        let mut successor = ClockProbe::new(a, b, 1);
        successor.poll(Nanos(40));
        assert_eq!(a.load(PING), 2);
        successor.poll(Nanos(50));
        assert_eq!(successor.offset(), None);
    }
}
