//! Deadlines in order.

use alloc::collections::BTreeMap;

use maize_hal::{Arch, Nanos};
use maize_vfs::CounterId;

use crate::executor::TaskId;
use crate::fabric::message::PageName;
use crate::ids::Pid;
use crate::process_timer::TimerName;
use crate::recent::Recent;
use crate::state::State;

/// What to do when a deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimerAction {
    /// End the wait of this task.
    WakeTask(TaskId),
    /// A page has been held for long enough.
    PageHold(PageName),
    /// Mappings of window frames are looked at.
    WindowLook,
    /// A period of the balancing of loads has passed.
    Balance,
    /// A timer that is a file expires.
    FileTimer(CounterId),
    /// A timer of a process that follows the clock expires.
    ProcessTimer(Pid, TimerName),
    /// A process may have used processor time that a timer of it waits for.
    ProcessorTime(Pid),
}

/// A timer that is a file (`timerfd`) and is running.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileTimer {
    pub(crate) next: Nanos,
    /// 0 if it expires once.
    pub(crate) interval: Nanos,
    key: TimerKey,
}

/// All of them that are running.
pub(crate) type FileTimers = BTreeMap<CounterId, FileTimer>;

/// Names a deadline so that it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey(Nanos, u64);

/// Pending deadlines.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    next: u64,
    queue: Recent<TimerKey, TimerAction>,
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
        let due = *self.queue.first()?.0;
        if due.0 > now { None } else { self.queue.remove(&due) }
    }

    /// The earliest deadline, or [`Nanos::NEVER`].
    pub(crate) fn next_deadline(&self) -> Nanos {
        self.queue.first().map_or(Nanos::NEVER, |(key, _)| key.0)
    }
}

impl<A: Arch> State<A> {
    /// Starts a timer that is a file, in place of what it did before; `None` only stops it.
    pub(crate) fn set_file_timer(&mut self, id: CounterId, run: Option<(Nanos, Nanos)>) {
        if let Some(timer) = self.file_timers.remove(&id) {
            self.timers.cancel(timer.key);
        }
        let Some((next, interval)) = run else { return };
        let key = self.timers.add(next, TimerAction::FileTimer(id));
        self.file_timers.insert(id, FileTimer { next, interval, key });
    }

    /// Counts the expiries of a timer, and starts it again if it is periodic.
    pub(crate) fn expire_file_timer(&mut self, id: CounterId, now: Nanos) {
        let Some(FileTimer { next, interval, .. }) = self.file_timers.remove(&id) else { return };
        let missed = now.since(next).0.checked_div(interval.0).unwrap_or(0);
        if interval != Nanos(0) {
            let next = next + Nanos(interval.0.saturating_mul(missed + 1));
            self.set_file_timer(id, Some((next, interval)));
        }
        self.files.vfs.expire_timer(id, missed + 1);
    }

    /// Stops a timer that is no longer open.
    pub(crate) fn stop_closed_timer(&mut self, id: CounterId) {
        if self.file_timers.contains_key(&id) && !self.files.vfs.has_timer(id) {
            self.set_file_timer(id, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_pass_in_order_and_can_be_cancelled() {
        let mut timers = Timers::default();
        let action = |n| TimerAction::ProcessorTime(Pid(n));
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
