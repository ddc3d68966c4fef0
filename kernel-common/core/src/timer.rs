//! Deadlines in order.

use alloc::collections::BTreeMap;

use maize_hal::Nanos;

use crate::executor::TaskId;
use crate::fabric::message::PageName;
use crate::ids::Pid;

/// What to do when a deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerAction {
    /// End the wait of this task.
    WakeTask(TaskId),
    /// Expire `ITIMER_REAL` (and `alarm`) of this process.
    RealTimer(Pid),
    /// A page has been held for long enough.
    PageHold(PageName),
    /// A period of the balancing of loads has passed.
    Balance,
}

/// Names a deadline so that it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey(Nanos, u64);

/// Pending deadlines.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    next: u64,
    queue: BTreeMap<TimerKey, TimerAction>,
}

impl Timers {
    /// Adds a deadline. Deadlines of the same time pass in the order they were added.
    pub(crate) fn add(&mut self, at: Nanos, action: TimerAction) -> TimerKey {
        let key = TimerKey(at, self.next);
        self.next += 1;
        self.queue.insert(key, action);
        key
    }

    /// Takes a deadline back; nothing happens if it has passed.
    pub(crate) fn cancel(&mut self, key: TimerKey) {
        self.queue.remove(&key);
    }

    /// The action of the earliest deadline that is not after `now`.
    pub(crate) fn pop_due(&mut self, now: Nanos) -> Option<TimerAction> {
        let entry = self.queue.first_entry()?;
        if entry.key().0 > now { None } else { Some(entry.remove()) }
    }

    /// The earliest deadline, or [`Nanos::NEVER`].
    pub(crate) fn next_deadline(&self) -> Nanos {
        self.queue.first_key_value().map_or(Nanos::NEVER, |(key, _)| key.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_pass_in_order_and_can_be_cancelled() {
        let mut timers = Timers::default();
        let action = |n| TimerAction::RealTimer(Pid(n));
        timers.add(Nanos(30), action(3));
        let two = timers.add(Nanos(20), action(2));
        timers.add(Nanos(10), action(1));
        timers.add(Nanos(10), action(4));
        timers.cancel(two);
        assert_eq!(timers.next_deadline(), Nanos(10));
        assert_eq!(timers.pop_due(Nanos(9)), None);
        let due: alloc::vec::Vec<_> = core::iter::from_fn(|| timers.pop_due(Nanos(30))).collect();
        assert_eq!(due, [action(1), action(4), action(3)]);
        assert_eq!(timers.next_deadline(), Nanos::NEVER);
    }
}
