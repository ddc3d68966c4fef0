//! Names of processes, threads and tasks.

use core::fmt;

/// A process id, and at once the id of the process's first thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

/// A thread id. Threads and processes draw from one sequence, as on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(pub u32);

impl Pid {
    /// The kernel's own process: adopts orphans, has no memory and cannot be killed.
    pub const INIT: Pid = Pid(1);

    /// The id of the process's first thread.
    #[must_use]
    pub const fn leader(self) -> Tid {
        Tid(self.0)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hands out ids. They are not reused before the sequence wraps.
#[derive(Debug)]
pub(crate) struct IdSequence {
    next: u32,
    first: u32,
    end: u32,
}

impl IdSequence {
    /// One above the largest id, Linux's default `pid_max`.
    pub(crate) const END: u32 = 1 << 22;

    /// The ids that instance `number` of `count` hands out: no two instances share any.
    pub(crate) const fn of_instance(number: u32, count: u32) -> IdSequence {
        let count = if count == 0 { 1 } else { count };
        let share = IdSequence::END / count;
        let start = (number % count) * share;
        let first = if start <= Pid::INIT.0 { Pid::INIT.0 + 1 } else { start };
        IdSequence { next: first, first, end: start + share }
    }

    /// The next id for which `used` is false, or `None` if all are.
    pub(crate) fn next(&mut self, used: impl Fn(u32) -> bool) -> Option<u32> {
        for _ in self.first..self.end {
            let id = self.next;
            self.next += 1;
            if self.next == self.end {
                self.next = self.first;
            }
            if !used(id) {
                return Some(id);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_wrap_past_those_in_use() {
        let mut ids = IdSequence { next: IdSequence::END - 1, ..IdSequence::of_instance(0, 1) };
        assert_eq!(ids.next(|_| false), Some(IdSequence::END - 1));
        assert_eq!(ids.next(|id| id < 10), Some(10));
        assert_eq!(ids.next(|_| true), None);
    }

    #[test]
    fn instances_share_no_ids() {
        let ranges: [_; 3] = core::array::from_fn(|n| {
            let ids = IdSequence::of_instance(n as u32, 3);
            ids.first..ids.end
        });
        assert_eq!(ranges[0].start, 2);
        assert!(ranges[0].end <= ranges[1].start && ranges[1].end <= ranges[2].start);
        assert!(ranges[2].end <= IdSequence::END);
    }
}
