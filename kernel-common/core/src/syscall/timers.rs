//! POSIX timers, and which interval timers there are.

use maize_abi::Errno;
use maize_abi::signal::Signal;
use maize_hal::{Arch, Nanos};

use super::clock::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE,
    CLOCK_MONOTONIC_RAW, CLOCK_REALTIME, CLOCK_REALTIME_ALARM, CLOCK_TAI, ITIMERSPEC_LEN,
    ProcessorClock, TIMER_ABSTIME, expiry, itimerspec, itimerspec_bytes, processor_clock,
};
use super::{Call, CallResult};
use crate::ids::{Pid, Tid};
use crate::process::rlimit;
use crate::process_timer::{Notice, ProcessTimer, TimerClock, TimerName};
use crate::state::State;

/// Bytes of a `struct sigevent` that are looked at.
const EVENT_LEN: usize = 20;

const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;
/// To the kernel the same as [`SIGEV_SIGNAL`]: the C library starts the thread.
const SIGEV_THREAD: i32 = 2;
const SIGEV_THREAD_ID: i32 = 4;

/// The clock that a timer is to count which a thread of a process makes.
fn timer_clock(clock: i32, (pid, tid): (Pid, Tid)) -> Result<TimerClock, Errno> {
    match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_ALARM | CLOCK_TAI => Ok(TimerClock::Wall),
        CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => Ok(TimerClock::Monotonic),
        CLOCK_MONOTONIC_RAW..=CLOCK_MONOTONIC_COARSE => Err(Errno::EOPNOTSUPP),
        _ => match processor_clock(clock, (pid, tid)) {
            Some(ProcessorClock::Process(of)) if of == pid => Ok(TimerClock::ProcessTime),
            Some(ProcessorClock::Thread(of)) => Ok(TimerClock::ThreadTime(of.0)),
            // Another process's time is not followed.
            Some(ProcessorClock::Process(_)) | None => Err(Errno::EINVAL),
        },
    }
}

/// What a `struct sigevent` asks for.
fn notice(bytes: &[u8; EVENT_LEN]) -> Result<Notice, Errno> {
    let word =
        |at: usize| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[..8]);
    let value = u64::from_le_bytes(value);
    let thread = match word(12) {
        SIGEV_NONE => return Ok(Notice::None),
        SIGEV_SIGNAL | SIGEV_THREAD => None,
        SIGEV_THREAD_ID => Some(word(16) as u32),
        _ => return Err(Errno::EINVAL),
    };
    let signal = u64::try_from(word(8)).ok().and_then(Signal::new).ok_or(Errno::EINVAL)?;
    Ok(Notice::Signal { signal: signal.number(), thread, value })
}

pub(super) async fn create<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, event, id_at, ..] = call.args;
    let current = call.current;
    let clock = timer_clock(call.int(0), (current.pid, current.tid))?;
    let asked = if event == 0 {
        None
    } else {
        let mut bytes = [0; EVENT_LEN];
        call.k.read_user(current, event, &mut bytes).await?;
        Some(notice(&bytes)?)
    };
    let exported = call.k.with_writable(current, [(id_at, 4)], |s| {
        let of_process =
            |tid: u32| s.threads.get(&Tid(tid)).is_some_and(|thread| thread.process == current.pid);
        let strange = |tid: &u32| !of_process(*tid);
        let told = match asked {
            Some(Notice::Signal { thread, .. }) => thread,
            _ => None,
        };
        let counted = match clock {
            TimerClock::ThreadTime(tid) => Some(tid),
            _ => None,
        };
        if told.filter(strange).or(counted.filter(strange)).is_some() {
            return Err(Errno::EINVAL);
        }
        let process = s.processes.get_mut(&current.pid).ok_or(Errno::ESRCH)?;
        let most = process.limits[rlimit::RLIMIT_SIGPENDING].soft;
        if process.timers.posix_timers() as u64 >= most {
            return Err(Errno::EAGAIN);
        }
        let id = process.timers.create(clock, |id| {
            let signal = Signal::SIGALRM.number();
            let usual = Notice::Signal { signal, thread: None, value: id.into() };
            asked.unwrap_or(usual)
        });
        s.write_now(current, id_at, &id.to_le_bytes())
    });
    exported.await.map(|()| 0)
}

pub(super) async fn settime<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, _, new, old, ..] = call.args;
    let current = call.current;
    if new == 0 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [[0; 16]; 2];
    call.k.read_user(current, new, bytes.as_flattened_mut()).await?;
    let (value, interval) = itimerspec(&bytes)?;
    let room = if old == 0 { 0 } else { ITIMERSPEC_LEN };
    let exported = call.k.with_writable(current, [(old, room as u64)], |s| {
        let (name, clock) = s.posix_timer(call)?;
        let before = itimerspec_bytes(s.timer_setting(current.pid, name));
        let next = (value != Nanos(0)).then(|| {
            let now = s.timer_clock(current.pid, clock);
            let shown = if clock == TimerClock::Wall { s.wall_clock_at(now) } else { now };
            expiry((now, shown), value, call.int(1) & TIMER_ABSTIME != 0)
        });
        s.set_timer(current.pid, name, (next, interval));
        s.write_now(current, old, &before[..room])
    });
    exported.await.map(|()| 0)
}

pub(super) async fn gettime<A: Arch>(call: Call<'_, A>) -> CallResult {
    let setting = call.k.with(|s| {
        let (name, _) = s.posix_timer(call)?;
        Ok::<_, Errno>(s.timer_setting(call.current.pid, name))
    })?;
    call.k.write_user(call.current, call.args[1], &itimerspec_bytes(setting)).await?;
    Ok(0)
}

pub(super) fn getoverrun<A: Arch>(call: Call<'_, A>) -> CallResult {
    call.k.with(|s| {
        let (name, _) = s.posix_timer(call)?;
        let process = s.processes.get(&call.current.pid).ok_or(Errno::ESRCH)?;
        Ok(process.timers.get(name).map_or(0, |timer| timer.overrun.into()))
    })
}

pub(super) fn delete<A: Arch>(call: Call<'_, A>) -> CallResult {
    let deleted = call.k.with(|s| s.delete_timer(call.current.pid, call.uint(0)));
    if deleted { Ok(0) } else { Err(Errno::EINVAL) }
}

/// A timer that `setitimer` sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct IntervalTimer {
    pub(super) name: TimerName,
    clock: TimerClock,
    signal: Signal,
}

impl IntervalTimer {
    /// That of `alarm` too.
    pub(super) const REAL: IntervalTimer = IntervalTimer {
        name: TimerName::Real,
        clock: TimerClock::Monotonic,
        signal: Signal::SIGALRM,
    };
    const VIRTUAL: IntervalTimer = IntervalTimer {
        name: TimerName::Virtual,
        clock: TimerClock::UserTime,
        signal: Signal::SIGVTALRM,
    };
    const PROFILE: IntervalTimer = IntervalTimer {
        name: TimerName::Profile,
        clock: TimerClock::ProcessTime,
        signal: Signal::SIGPROF,
    };

    /// The timer that `setitimer` and `getitimer` call by this number.
    ///
    /// # Errors
    /// `EINVAL`.
    pub(super) fn of_number(which: i32) -> Result<IntervalTimer, Errno> {
        match which {
            0 => Ok(IntervalTimer::REAL),
            1 => Ok(IntervalTimer::VIRTUAL),
            2 => Ok(IntervalTimer::PROFILE),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl<A: Arch> State<A> {
    /// The POSIX timer that the first argument names, and what it counts.
    fn posix_timer(&self, call: Call<'_, A>) -> Result<(TimerName, TimerClock), Errno> {
        let name = TimerName::Posix(call.uint(0));
        let process = self.processes.get(&call.current.pid).ok_or(Errno::ESRCH)?;
        process.timers.get(name).map(|timer| (name, timer.clock)).ok_or(Errno::EINVAL)
    }

    /// Sets a timer to what is left, 0 to stop it, and its interval.
    pub(super) fn set_interval_timer(
        &mut self,
        pid: Pid,
        IntervalTimer { name, clock, signal }: IntervalTimer,
        (left, interval): (Nanos, Nanos),
    ) {
        let next = (left != Nanos(0)).then(|| self.timer_clock(pid, clock) + left);
        let notice = Notice::Signal { signal: signal.number(), thread: None, value: 0 };
        if let Some(process) = self.processes.get_mut(&pid) {
            process.timers.ensure(name, ProcessTimer::new(clock, notice));
        }
        self.set_timer(pid, name, (next, interval));
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::CLOCK_THREAD_CPUTIME_ID;
    use super::*;

    fn event(value: u64, words: [i32; 3]) -> [u8; EVENT_LEN] {
        let mut bytes = [0; EVENT_LEN];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        for (chunk, word) in bytes[8..].chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let signal = |thread| Notice::Signal { signal: 34, thread, value: 9 };
        assert_eq!(notice(&event(9, [34, SIGEV_SIGNAL, 7])), Ok(signal(None)));
        assert_eq!(notice(&event(9, [34, SIGEV_THREAD, 7])), Ok(signal(None)));
        assert_eq!(notice(&event(9, [34, SIGEV_THREAD_ID, 7])), Ok(signal(Some(7))));
        assert_eq!(notice(&event(9, [-1, SIGEV_NONE, 7])), Ok(Notice::None));
        for wrong in [[0, SIGEV_SIGNAL, 7], [65, SIGEV_SIGNAL, 7], [-2, 0, 0], [34, 3, 7]] {
            assert_eq!(notice(&event(9, wrong)), Err(Errno::EINVAL), "{wrong:?}");
        }
    }

    #[test]
    fn clocks_are_told_apart() {
        let of = |clock| timer_clock(clock, (Pid(7), Tid(8)));
        assert_eq!(of(CLOCK_REALTIME), Ok(TimerClock::Wall));
        assert_eq!(of(CLOCK_BOOTTIME), Ok(TimerClock::Monotonic));
        assert_eq!(of(CLOCK_THREAD_CPUTIME_ID), Ok(TimerClock::ThreadTime(8)));
        assert_eq!(of(CLOCK_MONOTONIC_RAW), Err(Errno::EOPNOTSUPP));
        assert_eq!(of(10), Err(Errno::EINVAL));
        // As `pthread_getcpuclockid` and `clock_getcpuclockid` make them.
        let (thread, process) = (|id: i32| !id << 3 | 6, |id: i32| !id << 3 | 2);
        assert_eq!(of(thread(9)), Ok(TimerClock::ThreadTime(9)));
        assert_eq!(of(process(7)), Ok(TimerClock::ProcessTime));
        assert_eq!(of(process(9)), Err(Errno::EINVAL));
    }
}
