//! Counters.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use maize_abi::Sysno;
use maize_wire::Kind;

use crate::fabric::message;

/// What an instance counts.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Returns from user mode.
    pub(crate) traps: u64,
    /// Page faults of user code that were resolved.
    pub(crate) page_faults: u64,
    /// Times the core halted.
    pub(crate) idles: u64,
    /// Changes from one thread to another.
    pub(crate) switches: u64,
    /// Threads that were started.
    pub(crate) threads_started: u64,
    pub(crate) fabric: FabricStats,
    syscalls: BTreeMap<Sysno, u64>,
    unserved: BTreeMap<Sysno, u64>,
    /// Calls by a number that no call has.
    unknown_numbers: BTreeMap<u64, u64>,
}

const KINDS: usize = message::NAMES.len();

/// What an instance counts of its dealings with others.
#[derive(Debug, Default)]
pub(crate) struct FabricStats {
    /// Messages sent and taken in, and bytes of their bodies, by kind.
    sent: [u64; KINDS],
    received: [u64; KINDS],
    sent_bytes: [u64; KINDS],
    received_bytes: [u64; KINDS],
    /// Pages sent and taken in.
    pages_sent: u64,
    pages_received: u64,
    /// Frames named to other instances of the machine, and frames of theirs that were mapped.
    pub(crate) pages_lent: u64,
    pub(crate) pages_mapped: u64,
    pub(crate) pages_promoted: u64,
    /// Threads of this instance that were moved.
    pub(crate) moves: u64,
    /// Threads of this instance that went to another instruction set.
    pub(crate) crossings: u64,
    /// Times that a thread of another instance ran here.
    pub(crate) stays: u64,
    /// Threads of this instance that balancing moved.
    pub(crate) balanced: u64,
    /// Processes that left for another instance, and that came from one.
    pub(crate) processes_sent: u64,
    pub(crate) processes_received: u64,
    /// Pages of memory that they took along.
    pub(crate) pages_carried: u64,
    /// Calls that a registry was asked to serve, and those that were served for others.
    pub(crate) calls_asked: u64,
    pub(crate) calls_served: u64,
    /// Areas that replicas learned of.
    pub(crate) areas_fetched: u64,
    /// Pages whose futexes were lent to other instances, and called back from them.
    pub(crate) futexes_lent: u64,
    pub(crate) futexes_recalled: u64,
    /// Calls about futexes of other instances' processes that were served here.
    pub(crate) futexes_served: u64,
    /// Threads that had to come home because of what they touched.
    pub(crate) called_home: u64,
    /// Messages about pages of an earlier life, and of objects that had ended.
    pub(crate) stale_pages: u64,
    pub(crate) late_pages: u64,
    /// Requests for pages that no area shows.
    pub(crate) unseen_pages: u64,
    /// Links closed because of what came over them.
    pub(crate) malformed: u64,
}

impl FabricStats {
    pub(crate) fn sent(&mut self, kind: Kind, bytes: usize, page: bool) {
        let index = message::index(kind);
        self.sent[index] += 1;
        self.sent_bytes[index] += bytes as u64;
        self.pages_sent += u64::from(page);
    }

    pub(crate) fn received(&mut self, kind: Kind, bytes: usize, page: bool) {
        let index = message::index(kind);
        self.received[index] += 1;
        self.received_bytes[index] += bytes as u64;
        self.pages_received += u64::from(page);
    }

    /// Lists what is not zero: an instance alone has nothing to list.
    fn list(&self, all: &mut Vec<(String, u64)>) {
        let kinds = [
            ("sent", &self.sent),
            ("received", &self.received),
            ("bytes", &self.sent_bytes),
            ("bytes_received", &self.received_bytes),
        ];
        for (what, counts) in kinds {
            for (name, count) in message::NAMES.iter().zip(counts).filter(|(_, n)| **n > 0) {
                all.push((format!("fabric.{what}.{name}"), *count));
            }
        }
        let others = [
            ("pages_sent", self.pages_sent),
            ("pages_received", self.pages_received),
            ("pages_lent", self.pages_lent),
            ("pages_mapped", self.pages_mapped),
            ("pages_promoted", self.pages_promoted),
            ("moves", self.moves),
            ("crossings", self.crossings),
            ("stays", self.stays),
            ("processes_sent", self.processes_sent),
            ("processes_received", self.processes_received),
            ("pages_carried", self.pages_carried),
            ("calls_asked", self.calls_asked),
            ("calls_served", self.calls_served),
            ("balanced", self.balanced),
            ("areas_fetched", self.areas_fetched),
            ("futexes_lent", self.futexes_lent),
            ("futexes_recalled", self.futexes_recalled),
            ("futexes_served", self.futexes_served),
            ("called_home", self.called_home),
            ("stale_pages", self.stale_pages),
            ("late_pages", self.late_pages),
            ("unseen_pages", self.unseen_pages),
            ("malformed", self.malformed),
        ];
        for (name, count) in others.into_iter().filter(|(_, count)| *count > 0) {
            all.push((format!("fabric.{name}"), count));
        }
    }
}

/// How many numbers without a call are told apart.
const UNKNOWN_NUMBERS: usize = 64;

impl Stats {
    pub(crate) fn count_syscall(&mut self, call: Sysno) {
        *self.syscalls.entry(call).or_default() += 1;
    }

    /// Counts a call that returned `ENOSYS`.
    pub(crate) fn count_unserved(&mut self, call: Sysno) {
        *self.unserved.entry(call).or_default() += 1;
    }

    /// Counts a call by a number that Linux does not have.
    pub(crate) fn count_unknown_number(&mut self, number: u64) {
        let room = self.unknown_numbers.len() < UNKNOWN_NUMBERS;
        let key =
            if room || self.unknown_numbers.contains_key(&number) { number } else { u64::MAX };
        *self.unknown_numbers.entry(key).or_default() += 1;
    }

    /// All counters by name.
    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> = [
            ("traps", self.traps),
            ("page_faults", self.page_faults),
            ("idles", self.idles),
            ("switches", self.switches),
            ("threads_started", self.threads_started),
        ]
        .map(|(name, n)| (name.to_string(), n))
        .to_vec();
        self.fabric.list(&mut all);
        all.extend(self.syscalls.iter().map(|(c, n)| (format!("syscall.{}", c.name()), *n)));
        all.extend(self.unserved.iter().map(|(c, n)| (format!("enosys.{}", c.name()), *n)));
        all.extend(self.unknown_numbers.iter().map(|(number, n)| match *number {
            u64::MAX => ("enosys.other".to_string(), *n),
            number => (format!("enosys.{number}"), *n),
        }));
        all
    }
}
