//! Timers of processes that send signals: interval timers and POSIX timers.
//!
//! A timer of the clock is a deadline of the instance. One of processor time is looked at when the
//! process may have used what is left of it: as long as one of its threads runs there is a deadline for
//! that, and none while all of them wait. Of a thread that runs on another instance the time is not
//! known here; when it matters the thread is called home for it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use maize_abi::signal::{SigFields, SigInfo, Signal, SignalSet, si_code};
use maize_hal::{Arch, Nanos};
use serde::{Deserialize, Serialize};

use crate::ids::{Pid, Tid};
use crate::state::State;
use crate::timer::{TimerAction, TimerKey};

/// Shortest time between two looks at the processor time of a process, and between two expiries that
/// nobody takes notice of.
const TICK: Nanos = Nanos::from_millis(1);

/// Which timer of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum TimerName {
    /// `ITIMER_REAL`, and `alarm`.
    Real,
    /// `ITIMER_VIRTUAL`.
    Virtual,
    /// `ITIMER_PROF`.
    Profile,
    /// One that `timer_create` made.
    Posix(u32),
}

/// What a timer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TimerClock {
    /// The time.
    Monotonic,
    /// The time of day, which is never set.
    Wall,
    /// User time of the process.
    UserTime,
    /// User and system time of the process.
    ProcessTime,
    /// User and system time of a thread.
    ThreadTime(u32),
}

impl TimerClock {
    const fn is_of_processor(self) -> bool {
        !matches!(self, TimerClock::Monotonic | TimerClock::Wall)
    }
}

/// What an expiry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// Nothing: the timer is only looked at.
    None,
    /// This signal for the process, or for one of its threads, with this value.
    Signal {
        /// Its number.
        signal: u8,
        /// `None`: any of them.
        thread: Option<u32>,
        value: u64,
    },
}

/// A timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessTimer {
    pub(crate) clock: TimerClock,
    pub(crate) notice: Notice,
    /// The next expiry, if it runs: processor time, or the time of this instance's clock.
    next: Option<Nanos>,
    /// 0 if it expires once.
    pub(crate) interval: Nanos,
    key: Option<TimerKey>,
    /// The expiry whose signal is pending. The timer goes on when the signal is taken.
    queued: Option<Nanos>,
    /// Expiries that the last signal that was taken stands for, beside its own.
    pub(crate) overrun: u32,
}

impl ProcessTimer {
    pub(crate) const fn new(clock: TimerClock, notice: Notice) -> ProcessTimer {
        let interval = Nanos(0);
        ProcessTimer { clock, notice, next: None, interval, key: None, queued: None, overrun: 0 }
    }
}

/// The timers of a process.
#[derive(Debug, Default)]
pub(crate) struct ProcessTimers {
    timers: BTreeMap<TimerName, ProcessTimer>,
    next_id: u32,
    /// When its processor time is looked at next.
    look: Option<TimerKey>,
}

/// A timer as it travels: times of the clock as what is left of them.
pub(crate) type TimerRecord =
    (TimerName, TimerClock, Notice, (Option<u64>, u64), (Option<u64>, u32));

impl ProcessTimers {
    pub(crate) fn get(&self, name: TimerName) -> Option<&ProcessTimer> {
        self.timers.get(&name)
    }

    /// Adds a timer if there is none of that name yet.
    pub(crate) fn ensure(&mut self, name: TimerName, timer: ProcessTimer) {
        self.timers.entry(name).or_insert(timer);
    }

    /// Adds a POSIX timer under a number that no other has.
    pub(crate) fn create(&mut self, clock: TimerClock, notice: impl FnOnce(u32) -> Notice) -> u32 {
        while self.timers.contains_key(&TimerName::Posix(self.next_id)) {
            self.next_id = self.next_id.wrapping_add(1) & i32::MAX as u32;
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1) & i32::MAX as u32;
        self.timers.insert(TimerName::Posix(id), ProcessTimer::new(clock, notice(id)));
        id
    }

    /// How many `timer_create` has made.
    pub(crate) fn posix_timers(&self) -> usize {
        self.timers.range(TimerName::Posix(0)..).count()
    }

    fn counts_processor_time(&self) -> bool {
        self.timers.values().any(|timer| timer.clock.is_of_processor() && timer.next.is_some())
    }

    /// What goes along when the process moves, and the number of its next timer.
    pub(crate) fn records(&self, now: Nanos) -> (Vec<TimerRecord>, u32) {
        let record = |(name, timer): (&TimerName, &ProcessTimer)| {
            // Times that have passed are as good as now.
            let of = |time: Nanos| {
                if timer.clock.is_of_processor() { time.0 } else { time.since(now).0 }
            };
            let times = (timer.next.map(of), timer.interval.0);
            let signal = (timer.queued.map(of), timer.overrun);
            (*name, timer.clock, timer.notice, times, signal)
        };
        (self.timers.iter().map(record).collect(), self.next_id)
    }

    /// The timers of a process that has arrived. They run from [`State::resume_timers`] on.
    pub(crate) fn arrived((records, next_id): &(Vec<TimerRecord>, u32), now: Nanos) -> Self {
        let timer = |&(name, clock, notice, (next, interval), (queued, overrun)): &TimerRecord| {
            let at =
                |time: u64| if clock.is_of_processor() { Nanos(time) } else { now + Nanos(time) };
            let (next, queued) = (next.map(at), queued.map(at));
            let interval = Nanos(interval);
            (name, ProcessTimer { clock, notice, next, interval, key: None, queued, overrun })
        };
        let timers = records.iter().map(timer).collect();
        ProcessTimers { timers, next_id: *next_id, look: None }
    }
}

impl<A: Arch> State<A> {
    fn timer_mut(&mut self, pid: Pid, name: TimerName) -> Option<&mut ProcessTimer> {
        self.processes.get_mut(&pid)?.timers.timers.get_mut(&name)
    }

    /// What a timer's clock shows.
    pub(crate) fn timer_clock(&self, pid: Pid, clock: TimerClock) -> Nanos {
        match clock {
            TimerClock::Monotonic | TimerClock::Wall => self.now(),
            TimerClock::UserTime => self.process_times(pid).0,
            TimerClock::ProcessTime => {
                let (user, system) = self.process_times(pid);
                user + system
            }
            TimerClock::ThreadTime(tid) => {
                let (user, system) = self.thread_times(Tid(tid));
                user + system
            }
        }
    }

    /// Starts a timer, first at `next` on its clock; `None` stops it.
    pub(crate) fn set_timer(
        &mut self,
        pid: Pid,
        name: TimerName,
        (next, interval): (Option<Nanos>, Nanos),
    ) {
        let Some(timer) = self.timer_mut(pid, name) else { return };
        timer.next = next;
        timer.interval = interval;
        timer.queued = None;
        timer.overrun = 0;
        self.arm_process_timer(pid, name);
    }

    /// Sets the deadline of a timer anew.
    fn arm_process_timer(&mut self, pid: Pid, name: TimerName) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let Some(timer) = process.timers.timers.get_mut(&name) else { return };
        if let Some(key) = timer.key.take() {
            self.timers.cancel(key);
        }
        if timer.clock.is_of_processor() {
            self.look_at_processor_time(pid);
        } else if let (Some(next), Notice::Signal { .. }) = (timer.next, timer.notice) {
            timer.key = Some(self.timers.add(next, TimerAction::ProcessTimer(pid, name)));
        }
    }

    /// What is left until a timer's next expiry, 0 if it does not run, and its interval.
    pub(crate) fn timer_setting(&self, pid: Pid, name: TimerName) -> (Nanos, Nanos) {
        let timer = self.processes.get(&pid).and_then(|process| process.timers.get(name));
        let Some(timer) = timer else { return (Nanos(0), Nanos(0)) };
        let now = self.timer_clock(pid, timer.clock);
        // One whose signal is pending, or that nobody is told of, has gone on meanwhile.
        let next = match (timer.next, timer.queued) {
            (Some(next), _) | (None, Some(next)) if next <= now && timer.interval != Nanos(0) => {
                Some(following(next, timer.interval, now).0)
            }
            (Some(_), _) if timer.next <= Some(now) && timer.notice == Notice::None => None,
            (next, _) => next,
        };
        // One that runs has something left, if only the time until it is looked at.
        (next.map_or(Nanos(0), |next| next.since(now).max(Nanos(1))), timer.interval)
    }

    /// Removes a POSIX timer, and its signal if that is pending. False if there is none of that number.
    pub(crate) fn delete_timer(&mut self, pid: Pid, id: u32) -> bool {
        let Some(process) = self.processes.get_mut(&pid) else { return false };
        let removed = process.timers.timers.remove(&TimerName::Posix(id));
        if let Some(key) = removed.and_then(|timer| timer.key) {
            self.timers.cancel(key);
        }
        self.discard_timer_signals(pid, |of| of == id);
        removed.is_some()
    }

    fn discard_timer_signals(&mut self, pid: Pid, which: impl Fn(u32) -> bool) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.pending.discard_timers(&which);
        for tid in &process.threads {
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.pending.discard_timers(&which);
            }
        }
    }

    /// A program has been replaced: its POSIX timers are gone.
    pub(crate) fn delete_posix_timers(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        for timer in process.timers.timers.split_off(&TimerName::Posix(0)).into_values() {
            if let Some(key) = timer.key {
                self.timers.cancel(key);
            }
        }
        process.timers.next_id = 0;
        self.discard_timer_signals(pid, |_| true);
    }

    /// Stops the timers of a process that ends, or whose body is about to leave.
    pub(crate) fn pause_timers(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let timers = &mut process.timers;
        let keys = timers.timers.values_mut().filter_map(|timer| timer.key.take());
        for key in keys.chain(timers.look.take()) {
            self.timers.cancel(key);
        }
    }

    /// Lets the timers of a process run that has arrived, or stays.
    pub(crate) fn resume_timers(&mut self, pid: Pid) {
        let Some(process) = self.processes.get(&pid) else { return };
        let names: Vec<TimerName> = process.timers.timers.keys().copied().collect();
        for name in names {
            self.arm_process_timer(pid, name);
        }
    }

    /// A timer of the clock expires.
    pub(crate) fn expire_process_timer(&mut self, pid: Pid, name: TimerName) {
        let Some(timer) = self.timer_mut(pid, name) else { return };
        timer.key = None;
        if let Some(due) = timer.next.take() {
            self.fire(pid, name, due);
        }
    }

    /// Sends what a timer sends that was due at `due` on its clock.
    fn fire(&mut self, pid: Pid, name: TimerName, due: Nanos) {
        let Some(timer) = self.timer_mut(pid, name) else { return };
        let (notice, interval) = (timer.notice, timer.interval);
        let Notice::Signal { signal, thread, value } = notice else { return };
        let Some(signal) = Signal::new(u64::from(signal)) else { return };
        // Signals of timers always have room, and a thread that has ended is not missed.
        let _ = match (name, thread) {
            // There is never more than one of each timer.
            (TimerName::Posix(id), _) if self.is_timer_signal_pending(pid, id) => Ok(()),
            (TimerName::Posix(id), thread) => {
                let fields = SigFields::Timer { id, overrun: 0, value };
                let info = SigInfo { signal, code: si_code::SI_TIMER, errno: 0, fields };
                match thread {
                    Some(tid) => self.send_to_thread(Tid(tid), info),
                    None => self.send_to_process(pid, info),
                }
            }
            _ => self.send_to_process(pid, SigInfo::from_kernel(signal)),
        };
        if interval == Nanos(0) {
            return;
        }
        if let TimerName::Posix(id) = name
            && self.is_timer_signal_pending(pid, id)
        {
            if let Some(timer) = self.timer_mut(pid, name) {
                timer.queued = Some(due);
            }
            return;
        }
        self.go_on(pid, name, due);
    }

    /// Starts a periodic timer for the expiry that follows `due` and now.
    fn go_on(&mut self, pid: Pid, name: TimerName, due: Nanos) {
        let Some(timer) = self.timer_mut(pid, name) else { return };
        let (clock, interval) = (timer.clock, timer.interval);
        let now = self.timer_clock(pid, clock);
        let (next, _) = following(due, interval, now);
        if let Some(timer) = self.timer_mut(pid, name) {
            timer.next = Some(next.max(now + TICK.min(interval)));
        }
        self.arm_process_timer(pid, name);
    }

    fn is_timer_signal_pending(&self, pid: Pid, id: u32) -> bool {
        let of = |info: SigInfo| matches!(info.fields, SigFields::Timer { id: of, .. } if of == id);
        self.processes.get(&pid).is_some_and(|process| {
            let threads = process.threads.iter().filter_map(|tid| self.threads.get(tid));
            process.pending.queued().any(of) || threads.flat_map(|t| t.pending.queued()).any(of)
        })
    }

    /// A signal is taken. If a periodic timer has sent it, it tells of the expiries since, and the timer
    /// goes on.
    pub(crate) fn count_overrun(&mut self, pid: Pid, info: &mut SigInfo) {
        let SigFields::Timer { id, overrun, .. } = &mut info.fields else { return };
        let name = TimerName::Posix(*id);
        let Some(timer) = self.timer_mut(pid, name) else { return };
        timer.overrun = 0;
        let Some(due) = timer.queued.take() else { return };
        let (clock, interval) = (timer.clock, timer.interval);
        let now = self.timer_clock(pid, clock);
        let (next, missed) = following(due, interval, now);
        *overrun = missed;
        if let Some(timer) = self.timer_mut(pid, name) {
            timer.overrun = missed;
            timer.next = Some(next);
        }
        self.arm_process_timer(pid, name);
    }

    /// Pending signals of this set are forgotten: timers that have sent them go on.
    pub(crate) fn restart_discarded_timers(&mut self, pid: Pid, set: SignalSet) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let sends = |timer: &ProcessTimer| {
            matches!(timer.notice, Notice::Signal { signal, .. }
                if Signal::new(u64::from(signal)).is_some_and(|signal| set.contains(signal)))
        };
        let timers = process.timers.timers.iter_mut().filter(|(_, timer)| sends(timer));
        let waiting: Vec<(TimerName, Nanos)> =
            timers.filter_map(|(name, timer)| Some((*name, timer.queued.take()?))).collect();
        for (name, due) in waiting {
            self.go_on(pid, name, due);
        }
    }

    /// Looks at a process's processor time: sends what is due, and sets the time of the next look.
    pub(crate) fn look_at_processor_time(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if let Some(key) = process.timers.look.take() {
            self.timers.cancel(key);
        }
        if process.seat.sealed {
            return;
        }
        let mut left = Nanos::NEVER;
        let running = process.timers.timers.iter().filter(|(_, t)| t.clock.is_of_processor());
        let running: Vec<(TimerName, TimerClock, Nanos)> =
            running.filter_map(|(name, timer)| Some((*name, timer.clock, timer.next?))).collect();
        let mut due = Vec::new();
        for (name, clock, next) in running {
            match next.since(self.timer_clock(pid, clock)) {
                Nanos(0) => due.push((name, next)),
                some => left = left.min(some),
            }
        }
        // Before any is sent: one that is periodic leads to another look.
        for (name, _) in &due {
            if let Some(timer) = self.timer_mut(pid, *name) {
                timer.next = None;
            }
        }
        for (name, at) in due {
            self.fire(pid, name, at);
        }
        if left == Nanos::NEVER || self.is_look_set(pid) {
            return;
        }
        let away = self.call_home_for_time(pid, left);
        if away == 0 && !self.has_running_thread(pid) {
            // The first thread that goes on has the process looked at.
            return;
        }
        let at = self.now() + Nanos(left.0 / (1 + away)).max(TICK);
        let key = self.timers.add(at, TimerAction::ProcessorTime(pid));
        if let Some(process) = self.processes.get_mut(&pid) {
            process.timers.look = Some(key);
        }
    }

    fn is_look_set(&self, pid: Pid) -> bool {
        self.processes.get(&pid).is_none_or(|process| process.timers.look.is_some())
    }

    /// A thread goes on after a wait.
    pub(crate) fn resume_processor_timers(&mut self, pid: Pid) {
        let resumes = self.processes.get(&pid).is_some_and(|process| {
            process.timers.look.is_none() && process.timers.counts_processor_time()
        });
        if resumes {
            self.look_at_processor_time(pid);
        }
    }

    fn has_running_thread(&self, pid: Pid) -> bool {
        self.processes.get(&pid).is_some_and(|process| {
            let threads = process.threads.iter().filter_map(|tid| self.threads.get(tid));
            threads.into_iter().any(|thread| !self.waits.is_waiting(thread.task))
        })
    }

    /// Calls threads home that may have used what is left. Returns how many are away.
    fn call_home_for_time(&mut self, pid: Pid, left: Nanos) -> u64 {
        let now = self.now();
        let Some(process) = self.processes.get(&pid) else { return 0 };
        let away = |tid: &&Tid| self.threads.get(tid).is_some_and(|t| t.away.is_some());
        let away: Vec<Tid> = process.threads.iter().filter(away).copied().collect();
        let since = |tid: &Tid| self.threads.get(tid).map_or(0, |t| now.since(t.kernel_since).0);
        let used: u64 = away.iter().map(since).sum();
        if used >= left.0 {
            for tid in &away {
                if let Some(thread) = self.threads.get_mut(tid) {
                    thread.time_wanted = true;
                }
                self.interrupt(*tid);
            }
        }
        away.len() as u64
    }
}

/// The first time after `now` of those that follow `due` every `interval`, and how many lie between.
fn following(due: Nanos, interval: Nanos, now: Nanos) -> (Nanos, u32) {
    let missed = now.since(due).0.checked_div(interval.0).unwrap_or(0);
    let next = due + Nanos(interval.0.saturating_mul(missed.saturating_add(1)));
    (next, u32::try_from(missed).unwrap_or(u32::MAX).min(i32::MAX as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_that_were_missed_are_counted() {
        let following = |now| following(Nanos(100), Nanos(10), Nanos(now));
        assert_eq!(following(100), (Nanos(110), 0));
        assert_eq!(following(109), (Nanos(110), 0));
        assert_eq!(following(110), (Nanos(120), 1));
        assert_eq!(following(145), (Nanos(150), 4));
        // Asked too early.
        assert_eq!(following(50), (Nanos(110), 0));
    }

    #[test]
    fn timers_travel_with_what_is_left() {
        let mut timers = ProcessTimers::default();
        let notice = Notice::Signal { signal: 34, thread: Some(7), value: 5 };
        let id = timers.create(TimerClock::Monotonic, |_| notice);
        timers.create(TimerClock::ProcessTime, |_| Notice::None);
        let names = [id, id + 1].map(TimerName::Posix);
        if let Some(timer) = timers.timers.get_mut(&names[0]) {
            (timer.next, timer.interval) = (Some(Nanos(1_300)), Nanos(50));
        }
        if let Some(timer) = timers.timers.get_mut(&names[1]) {
            (timer.queued, timer.overrun) = (Some(Nanos(9)), 3);
        }
        let arrived = ProcessTimers::arrived(&timers.records(Nanos(1_000)), Nanos(9_000));
        let first = arrived.get(names[0]).unwrap();
        assert_eq!(
            (first.next, first.interval, first.notice),
            (Some(Nanos(9_300)), Nanos(50), notice)
        );
        let second = arrived.get(names[1]).unwrap();
        assert_eq!((second.queued, second.overrun), (Some(Nanos(9)), 3));
        assert_eq!((arrived.posix_timers(), arrived.next_id), (2, id + 2));
    }
}
