//! Counters.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use maize_abi::Sysno;

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
    syscalls: BTreeMap<Sysno, u64>,
    unserved: BTreeMap<Sysno, u64>,
    /// Calls by a number that no call has.
    unknown_numbers: BTreeMap<u64, u64>,
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
        all.extend(self.syscalls.iter().map(|(c, n)| (format!("syscall.{}", c.name()), *n)));
        all.extend(self.unserved.iter().map(|(c, n)| (format!("enosys.{}", c.name()), *n)));
        all.extend(self.unknown_numbers.iter().map(|(number, n)| match *number {
            u64::MAX => ("enosys.other".to_string(), *n),
            number => (format!("enosys.{number}"), *n),
        }));
        all
    }
}
