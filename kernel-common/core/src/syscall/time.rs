//! Clocks, sleeps, interval timers.

use maize_abi::Errno;
use maize_hal::{Arch, Nanos};

use super::clock::{
    CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW,
    CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI, ProcessorClock,
    TIMER_ABSTIME, processor_clock, timespec, timespec_bytes, timeval, timeval_bytes,
};
use super::timers::IntervalTimer;
use super::{Call, CallResult};
use crate::handle::Handle;
use crate::ids::Tid;
use crate::state::State;
use crate::thread::{Current, RestartBlock};
use crate::wait::{Interruptible, Woken};

impl<A: Arch> State<A> {
    /// The monotonic and the wall clock of a thread, which are those of its home wherever it is. What
    /// it is shown never goes back.
    fn clocks_for(&mut self, tid: Tid) -> (Nanos, Nanos) {
        let guest = self.threads.get(&tid).and_then(|thread| thread.guest);
        let (now, wall) = guest
            .and_then(|guest| self.clocks_of(guest.home))
            .unwrap_or_else(|| self.own_clocks(tid));
        let Some(thread) = self.threads.get_mut(&tid) else { return (now, wall) };
        let shown = now.max(thread.shown);
        if guest.is_some() {
            thread.shown = shown;
        }
        (shown, wall + shown.since(now))
    }

    /// Whether a thread that is a guest here can be shown a clock without its home.
    pub(crate) fn shows_clock(&self, tid: Tid, clock: i32) -> bool {
        let everybodys = matches!(
            clock,
            CLOCK_REALTIME
                | CLOCK_REALTIME_COARSE
                | CLOCK_TAI
                | CLOCK_MONOTONIC
                | CLOCK_MONOTONIC_RAW
                | CLOCK_MONOTONIC_COARSE
                | CLOCK_BOOTTIME
        );
        let guest = self.threads.get(&tid).and_then(|thread| thread.guest);
        everybodys
            && guest.is_some_and(|guest| !guest.own_clock && self.clocks_of(guest.home).is_some())
    }

    fn clock(&mut self, clock: i32, current: Current) -> Result<Nanos, Errno> {
        if let Some(of) = processor_clock(clock, (current.pid, current.tid)) {
            let (user, system) = match of {
                ProcessorClock::Process(pid) => self.process_times(pid),
                ProcessorClock::Thread(tid) => self.thread_times(tid),
            };
            return Ok(user + system);
        }
        let (now, wall) = self.clocks_for(current.tid);
        match clock {
            CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_TAI => Ok(wall),
            CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE | CLOCK_BOOTTIME => {
                Ok(now)
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// A process's monotonic clock.
    pub(crate) fn clock_of(&self, pid: crate::ids::Pid) -> Nanos {
        let now = self.now();
        self.processes.get(&pid).map_or(now, |process| process.clock(now))
    }

    /// Wall-clock time.
    pub(crate) fn wall_clock(&self) -> Nanos {
        self.wall_clock_at(self.now())
    }

    /// Wall-clock time at a time of the monotonic clock.
    pub(crate) fn wall_clock_at(&self, now: Nanos) -> Nanos {
        self.arch.boot_time() + now
    }

    /// The clocks of a thread's process, if that is at home here.
    fn own_clocks(&self, tid: Tid) -> (Nanos, Nanos) {
        match self.threads.get(&tid).map(|thread| thread.process) {
            Some(pid) => (self.clock_of(pid), self.wall_clock_of(pid)),
            None => (self.now(), self.wall_clock()),
        }
    }

    /// A process's wall-clock time.
    pub(crate) fn wall_clock_of(&self, pid: crate::ids::Pid) -> Nanos {
        self.arch.boot_time() + self.clock_of(pid)
    }
}

pub(super) async fn clock_gettime<A: Arch>(call: Call<'_, A>) -> CallResult {
    let time = call.k.with(|s| s.clock(call.int(0), call.current))?;
    call.k.write_user(call.current, call.args[1], &timespec_bytes(time)).await?;
    Ok(0)
}

pub(super) async fn clock_getres<A: Arch>(call: Call<'_, A>) -> CallResult {
    call.k.with(|s| s.clock(call.int(0), call.current))?;
    if call.args[1] != 0 {
        call.k.write_user(call.current, call.args[1], &timespec_bytes(Nanos(1))).await?;
    }
    Ok(0)
}

pub(super) async fn gettimeofday<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [tv, tz, ..] = call.args;
    if tv != 0 {
        let (_, time) = call.k.with(|s| s.clocks_for(call.current.tid));
        call.k.write_user(call.current, tv, &timeval_bytes(time)).await?;
    }
    if tz != 0 {
        call.k.write_user(call.current, tz, &[0; 8]).await?;
    }
    Ok(0)
}

pub(super) async fn time<A: Arch>(call: Call<'_, A>) -> CallResult {
    let seconds = call.k.with(|s| s.wall_clock_of(call.current.pid)).0 / Nanos::SECOND.0;
    if call.args[0] != 0 {
        call.k.write_user(call.current, call.args[0], &seconds.to_le_bytes()).await?;
    }
    Ok(seconds)
}

/// Clock ticks in a second, as `times` counts and `AT_CLKTCK` says.
const TICKS: u64 = 100;

pub(super) async fn times<A: Arch>(call: Call<'_, A>) -> CallResult {
    let tick = |t: Nanos| t.0 / (Nanos::SECOND.0 / TICKS);
    let (own, children, now) = call.k.with(|s| {
        let children = s.processes.get(&call.current.pid).map(|p| p.children_time);
        (
            s.process_times(call.current.pid),
            children.unwrap_or_default(),
            s.clock_of(call.current.pid),
        )
    });
    if call.args[0] != 0 {
        let mut bytes = [0; 32];
        let all = [own.0, own.1, children.0, children.1];
        for (chunk, t) in bytes.chunks_exact_mut(8).zip(all) {
            chunk.copy_from_slice(&tick(t).to_le_bytes());
        }
        call.k.write_user(call.current, call.args[0], &bytes).await?;
    }
    Ok(tick(now))
}

pub(super) async fn nanosleep<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [request, remaining, ..] = call.args;
    let span = call.k.read_timespec(call.current, request).await?;
    let deadline = call.k.with(|s| s.now()) + span;
    sleep_until(call, deadline, remaining).await
}

pub(super) async fn clock_nanosleep<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, _, request, remaining, ..] = call.args;
    let clock = call.int(0);
    match clock {
        CLOCK_REALTIME | CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_TAI => {}
        // Linux sleeps on processes' CPU time too; nothing is known to use that.
        i32::MIN..0
        | CLOCK_PROCESS_CPUTIME_ID
        | CLOCK_MONOTONIC_RAW
        | CLOCK_REALTIME_COARSE
        | CLOCK_MONOTONIC_COARSE => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    }
    let time = call.k.read_timespec(call.current, request).await?;
    let (now, clock_now) = call.k.with(|s| (s.now(), s.clock(clock, call.current)));
    if call.int(1) & TIMER_ABSTIME == 0 {
        return sleep_until(call, now + time, remaining).await;
    }
    let deadline = now + time.since(clock_now?);
    match sleep(call, deadline).await {
        Woken::Interrupted => Err(Errno::ERESTARTNOHAND),
        Woken::Event | Woken::TimedOut => Ok(0),
    }
}

async fn sleep<A: Arch>(call: Call<'_, A>, deadline: Nanos) -> Woken {
    call.k.wait_for(call.current.task, &[], deadline, Interruptible::BySignals).await
}

async fn sleep_until<A: Arch>(call: Call<'_, A>, deadline: Nanos, remaining: u64) -> CallResult {
    if sleep(call, deadline).await != Woken::Interrupted {
        return Ok(0);
    }
    let left = deadline.since(call.k.with(|s| s.now()));
    if remaining != 0 {
        call.k.write_user(call.current, remaining, &timespec_bytes(left)).await?;
    }
    let block = RestartBlock::Sleep { deadline, remaining };
    call.k.with(|s| s.set_restart(call.current.tid, block));
    Err(Errno::ERESTART_RESTARTBLOCK)
}

pub(super) async fn restart_syscall<A: Arch>(call: Call<'_, A>) -> CallResult {
    let block = call.k.with(|s| s.threads.get_mut(&call.current.tid)?.restart.take());
    match block {
        Some(RestartBlock::Sleep { deadline, remaining }) => {
            sleep_until(call, deadline, remaining).await
        }
        // Only one with a relative time-out is restarted like this.
        Some(RestartBlock::Futex(wait)) => super::futex::wait(call, wait, true).await,
        Some(RestartBlock::Poll { fds, count, deadline }) => {
            super::files::poll_until(call, fds, count, deadline).await
        }
        None => Err(Errno::EINTR),
    }
}

impl<A: Arch> State<A> {
    pub(crate) fn set_restart(&mut self, tid: Tid, block: RestartBlock) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.restart = Some(block);
        }
    }
}

pub(super) async fn setitimer<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, new, old, ..] = call.args;
    let timer = IntervalTimer::of_number(call.int(0))?;
    let mut times = (Nanos(0), Nanos(0));
    if new != 0 {
        let mut bytes = [[0; 16]; 2];
        call.k.read_user(call.current, new, bytes.as_flattened_mut()).await?;
        times = (timeval(&bytes[0])?, timeval(&bytes[1])?);
    }
    if old != 0 {
        write_itimerval(call, timer, old).await?;
    }
    call.k.with(|s| s.set_interval_timer(call.current.pid, timer, (times.1, times.0)));
    Ok(0)
}

/// Writes what is left of a timer, and its interval.
async fn write_itimerval<A: Arch>(
    call: Call<'_, A>,
    timer: IntervalTimer,
    at: u64,
) -> Result<(), Errno> {
    let (left, interval) = call.k.with(|s| s.timer_setting(call.current.pid, timer.name));
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&timeval_bytes(interval));
    bytes[16..].copy_from_slice(&timeval_bytes(left));
    call.k.write_user(call.current, at, &bytes).await
}

pub(super) async fn getitimer<A: Arch>(call: Call<'_, A>) -> CallResult {
    let timer = IntervalTimer::of_number(call.int(0))?;
    write_itimerval(call, timer, call.args[1]).await.map(|()| 0)
}

pub(super) fn alarm<A: Arch>(call: Call<'_, A>) -> CallResult {
    let seconds = u64::from(call.uint(0));
    Ok(call.k.with(|s| {
        let (left, _) = s.timer_setting(call.current.pid, IntervalTimer::REAL.name);
        let value = Nanos(seconds.saturating_mul(Nanos::SECOND.0));
        s.set_interval_timer(call.current.pid, IntervalTimer::REAL, (value, Nanos(0)));
        // Rounded, but never to zero: a pending alarm is told from none.
        match left.0 {
            0 => 0,
            left => ((left + Nanos::SECOND.0 / 2) / Nanos::SECOND.0).max(1),
        }
    }))
}

impl<A: Arch> Handle<A> {
    /// Reads a `struct timespec`.
    ///
    /// # Errors
    /// `EFAULT`, `EINVAL`.
    pub(crate) async fn read_timespec(&self, current: Current, at: u64) -> Result<Nanos, Errno> {
        let mut bytes = [0; 16];
        self.read_user(current, at, &mut bytes).await?;
        timespec(&bytes)
    }
}
