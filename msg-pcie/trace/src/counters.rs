//! Counters: words that only their instance writes and anybody may read at any time.
//!
//! ```text
//! 0..64                 counters, by number
//! 64 + 4·kind ..        for each message kind below 128: sent, bytes sent, received, bytes received
//! 576 + 64·latency ..   for each latency: counts by power of two of nanoseconds
//! ```

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use maize_hal::Nanos;
use maize_window::{COUNTER_WORDS, Window};
use maize_wire::Kind;

/// Counters without a finer division. The number is the word in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Doorbells rung.
    DoorbellsRung = 0,
    /// Doorbells heard.
    DoorbellsHeard = 1,
    /// Times the instance went to sleep.
    Sleeps = 2,
    /// Polls that found nothing.
    EmptyPolls = 3,
    /// Messages that had to wait for room.
    MessagesQueued = 4,
    /// Messages refused for want of room.
    MessagesRefused = 5,
    /// Frames dropped because they were of another session.
    StaleFrames = 6,
    /// Sessions that came up.
    Sessions = 7,
    /// Peers declared dead by silence.
    Silences = 8,
    /// Peers found corrupt.
    Corruptions = 9,
    /// Page faults.
    Faults = 10,
    /// System calls.
    Syscalls = 11,
    /// Threads that left for another instance.
    MigrationsOut = 12,
    /// Threads that came from another instance.
    MigrationsIn = 13,
    /// Interrupts.
    Interrupts = 14,
    /// Context switches.
    Switches = 15,
}

impl Counter {
    /// All counters, in order of their numbers.
    pub const ALL: [Counter; 16] = [
        Counter::DoorbellsRung,
        Counter::DoorbellsHeard,
        Counter::Sleeps,
        Counter::EmptyPolls,
        Counter::MessagesQueued,
        Counter::MessagesRefused,
        Counter::StaleFrames,
        Counter::Sessions,
        Counter::Silences,
        Counter::Corruptions,
        Counter::Faults,
        Counter::Syscalls,
        Counter::MigrationsOut,
        Counter::MigrationsIn,
        Counter::Interrupts,
        Counter::Switches,
    ];

    /// What it is called in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Counter::DoorbellsRung => "doorbells-rung",
            Counter::DoorbellsHeard => "doorbells-heard",
            Counter::Sleeps => "sleeps",
            Counter::EmptyPolls => "empty-polls",
            Counter::MessagesQueued => "messages-queued",
            Counter::MessagesRefused => "messages-refused",
            Counter::StaleFrames => "stale-frames",
            Counter::Sessions => "sessions",
            Counter::Silences => "silences",
            Counter::Corruptions => "corruptions",
            Counter::Faults => "faults",
            Counter::Syscalls => "syscalls",
            Counter::MigrationsOut => "migrations-out",
            Counter::MigrationsIn => "migrations-in",
            Counter::Interrupts => "interrupts",
            Counter::Switches => "switches",
        }
    }
}

/// Latencies that have a histogram. The number is its place in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Latency {
    /// From asking for a page that is elsewhere to going on, for reading.
    ReadFault = 0,
    /// The same for writing.
    WriteFault = 1,
    /// The same for writing to a page of which there was a copy.
    UpgradeFault = 2,
    /// A fault that needed nobody else.
    LocalFault = 3,
    /// From deciding that a thread moves to its running elsewhere, on the same instruction set.
    Migration = 4,
    /// The same to another instruction set.
    CrossMigration = 5,
    /// A request to another instance, from sending to its answer.
    Request = 6,
    /// From a futex wake to the thread's running.
    Wake = 7,
    /// A system call that did not wait.
    Syscall = 8,
}

/// Number of latencies that have room.
pub const LATENCIES: usize = 16;
/// Message kinds that are counted by kind; those above are counted together in the last.
pub const KINDS: usize = 128;

const KIND_COUNTS: usize = 64;
const KIND_WORDS: usize = 4;
const HISTOGRAMS: usize = KIND_COUNTS + KINDS * KIND_WORDS;
const BUCKETS: usize = 64;

const _: () = assert!(HISTOGRAMS + LATENCIES * BUCKETS <= COUNTER_WORDS);
const _: () = assert!(Counter::ALL.len() <= KIND_COUNTS);

/// A latency's counts by power of two: `counts[n]` were of at least 2ⁿ ns and less than 2ⁿ⁺¹ (the
/// first also of 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The counts.
    pub counts: [u64; BUCKETS],
}

impl Histogram {
    /// How many there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// A latency below which at least `part` of `whole` were: the end of the bucket in which that
    /// rank lies. `None` if there were none at all.
    #[must_use]
    pub fn below(&self, part: u64, whole: u64) -> Option<Nanos> {
        let total = self.total();
        let rank = u128::from(total) * u128::from(part);
        let mut sum = 0u128;
        let bucket = self.counts.iter().position(|count| {
            sum += u128::from(*count) * u128::from(whole);
            sum >= rank && sum > 0
        })?;
        Some(Nanos(1u64.checked_shl(bucket as u32 + 1).map_or(u64::MAX, |end| end - 1)))
    }
}

/// Counts of one message kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Messages sent.
    pub sent: u64,
    /// Bytes of their bodies and pages.
    pub bytes_sent: u64,
    /// Messages received.
    pub received: u64,
    /// Bytes of their bodies and pages.
    pub bytes_received: u64,
}

/// An instance's counters in the window. The instance writes, others read.
#[derive(Clone)]
pub struct Counters<W>(W);

impl<W: Window> Counters<W> {
    /// The counters over an instance's counter words ([`maize_window::Layout::counters`]).
    ///
    /// # Errors
    /// If there are too few words.
    pub fn new(words: W) -> Result<Counters<W>, CounterError> {
        if words.words() < COUNTER_WORDS {
            return Err(CounterError { words: words.words() });
        }
        Ok(Counters(words))
    }

    /// Counts, for the owner only. There is one writer, so this is a load and a store.
    #[inline]
    pub fn add(&self, counter: Counter, count: u64) {
        self.bump(counter as usize, count);
    }

    /// Counts a message that was sent.
    #[inline]
    pub fn sent(&self, kind: Kind, bytes: u64) {
        self.bump_message(kind_word(kind), bytes);
    }

    /// Counts a message that was received.
    #[inline]
    pub fn received(&self, kind: Kind, bytes: u64) {
        self.bump_message(kind_word(kind) + 2, bytes);
    }

    /// Counts a latency.
    #[inline]
    pub fn took(&self, latency: Latency, time: Nanos) {
        let bucket = time.0.checked_ilog2().unwrap_or(0) as usize;
        self.bump(HISTOGRAMS + latency as usize * BUCKETS + bucket, 1);
    }

    /// A counter's value.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.0.load(counter as usize)
    }

    /// What was counted for a message kind.
    #[must_use]
    pub fn kind(&self, kind: Kind) -> KindCounts {
        let mut words = [0; KIND_WORDS];
        self.0.copy_out(kind_word(kind), &mut words);
        let [sent, bytes_sent, received, bytes_received] = words;
        KindCounts { sent, bytes_sent, received, bytes_received }
    }

    /// A latency's histogram.
    #[must_use]
    pub fn histogram(&self, latency: Latency) -> Histogram {
        let mut counts = [0; BUCKETS];
        self.0.copy_out(HISTOGRAMS + latency as usize * BUCKETS, &mut counts);
        Histogram { counts }
    }

    /// All that was counted, by name: `fabric.<counter>`, and `message.<kind>.<what>`. What is zero is
    /// left out.
    #[must_use]
    pub fn named(&self) -> Vec<(String, u64)> {
        let mut named = Vec::new();
        let mut add = |count: u64, name: &dyn Fn() -> String| {
            if count > 0 {
                named.push((name(), count));
            }
        };
        for counter in Counter::ALL {
            add(self.count(counter), &|| format!("fabric.{}", counter.name()));
        }
        for kind in (0u16..).take(KINDS) {
            let KindCounts { sent, bytes_sent, received, bytes_received } = self.kind(Kind(kind));
            add(sent, &|| format!("message.{kind}.sent"));
            add(bytes_sent, &|| format!("message.{kind}.bytes-sent"));
            add(received, &|| format!("message.{kind}.received"));
            add(bytes_received, &|| format!("message.{kind}.bytes-received"));
        }
        named
    }

    #[inline]
    fn bump_message(&self, word: usize, more: u64) {
        let [messages, bytes] = self.0.load_array(word);
        self.0.store_array(word, [messages.wrapping_add(1), bytes.wrapping_add(more)]);
    }

    #[inline]
    fn bump(&self, word: usize, by: u64) {
        self.0.store(word, self.0.load(word).wrapping_add(by));
    }
}

fn kind_word(kind: Kind) -> usize {
    KIND_COUNTS + usize::from(kind.0).min(KINDS - 1) * KIND_WORDS
}

/// The memory is too small to be counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterError {
    /// Words there are.
    pub words: usize,
}

impl fmt::Display for CounterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} words are too few for counters", self.words)
    }
}

impl core::error::Error for CounterError {}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;
    use maize_window::Mapping;

    #[test]
    fn every_count_has_its_own_word() {
        let words: Vec<AtomicU64> = (0..COUNTER_WORDS).map(|_| AtomicU64::new(0)).collect();
        let counters = Counters::new(Mapping::from_words(&words)).unwrap();
        for counter in Counter::ALL {
            counters.add(counter, counter as u64 + 1);
        }
        for kind in 0..200 {
            counters.sent(Kind(kind), 10);
            counters.received(Kind(kind), 100);
        }
        for (latency, time) in [(Latency::ReadFault, 0), (Latency::Syscall, u64::MAX)] {
            counters.took(latency, Nanos(time));
        }
        for counter in Counter::ALL {
            assert_eq!(counters.count(counter), counter as u64 + 1);
        }
        let named = counters.named();
        assert_eq!(named.len(), Counter::ALL.len() + 4 * KINDS);
        assert!(named.contains(&("fabric.doorbells-heard".into(), 2)));
        assert!(named.contains(&("message.3.bytes-received".into(), 100)));
        let once = KindCounts { sent: 1, bytes_sent: 10, received: 1, bytes_received: 100 };
        assert_eq!(counters.kind(Kind(0)), once);
        assert_eq!(counters.kind(Kind(126)), once);
        assert_eq!(counters.kind(Kind(127)).sent, 73);
        assert_eq!(counters.histogram(Latency::ReadFault).counts[0], 1);
        assert_eq!(counters.histogram(Latency::Syscall).counts[63], 1);
        assert_eq!(counters.histogram(Latency::Wake).total(), 0);
        assert!(Counters::new(Mapping::from_words(&words[1..])).is_err());
    }

    #[test]
    fn ranks_lie_in_their_buckets() {
        let mut counts = [0; BUCKETS];
        (counts[3], counts[10]) = (99, 1);
        let histogram = Histogram { counts };
        assert_eq!(histogram.below(50, 100), Some(Nanos(15)));
        assert_eq!(histogram.below(99, 100), Some(Nanos(15)));
        assert_eq!(histogram.below(100, 100), Some(Nanos(2047)));
        assert_eq!(Histogram { counts: [0; BUCKETS] }.below(1, 2), None);
    }
}
