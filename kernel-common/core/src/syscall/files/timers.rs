//! Timers that are files (`timerfd`).

use maize_abi::Errno;
use maize_abi::file::o;
use maize_hal::{Arch, Nanos};
use maize_vfs::CounterId;

use super::super::clock::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_ALARM,
    ITIMERSPEC_LEN, TIMER_ABSTIME, expiry, itimerspec, itimerspec_bytes,
};
use super::super::{Call, CallResult};
use super::open::install_new;
use crate::state::State;

/// The wall clock is never set.
const TFD_TIMER_CANCEL_ON_SET: i32 = 2;

pub(super) fn create<A: Arch>(call: Call<'_, A>) -> CallResult {
    let flags = call.uint(1);
    if flags & !(o::O_CLOEXEC | o::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let wall = match call.int(0) {
        CLOCK_REALTIME | CLOCK_REALTIME_ALARM => true,
        CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => false,
        _ => return Err(Errno::EINVAL),
    };
    install_new(call, flags & o::O_CLOEXEC != 0, |vfs, env, caller| {
        vfs.make_timer(env, caller, wall, flags)
    })
}

pub(super) async fn set<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, _, new, old, ..] = call.args;
    let current = call.current;
    let flags = call.int(1);
    let mut bytes = [[0; 16]; 2];
    call.k.read_user(current, new, bytes.as_flattened_mut()).await?;
    if flags & !(TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let (value, interval) = itimerspec(&bytes)?;
    let room = if old == 0 { 0 } else { ITIMERSPEC_LEN };
    let exported = call.k.with_writable(current, [(old, room as u64)], |s| {
        let (timer, wall) = s.timer_of(call)?;
        let now = s.now();
        let before = itimerspec_bytes(s.file_timer_setting(timer));
        let run = (value != Nanos(0)).then(|| {
            let clock = if wall { s.wall_clock_at(now) } else { now };
            (expiry((now, clock), value, flags & TIMER_ABSTIME != 0), interval)
        });
        s.files.vfs.reset_timer(timer);
        s.set_file_timer(timer, run);
        s.write_now(current, old, &before[..room])
    });
    exported.await.map(|()| 0)
}

pub(super) async fn get<A: Arch>(call: Call<'_, A>) -> CallResult {
    let setting = call.k.with(|s| {
        let (timer, _) = s.timer_of(call)?;
        Ok::<_, Errno>(s.file_timer_setting(timer))
    })?;
    call.k.write_user(call.current, call.args[1], &itimerspec_bytes(setting)).await?;
    Ok(0)
}

impl<A: Arch> State<A> {
    /// The timer that the first argument is a descriptor of, and whether it follows the wall clock.
    fn timer_of(&self, call: Call<'_, A>) -> Result<(CounterId, bool), Errno> {
        let file = self.file_of(call.current, call.int(0))?;
        self.files.vfs.timer_of(file)
    }

    /// What is left of a timer, 0 if it does not run, and its interval.
    fn file_timer_setting(&self, timer: CounterId) -> (Nanos, Nanos) {
        self.file_timers.get(&timer).map_or((Nanos(0), Nanos(0)), |timer| {
            // One that runs has something left, if only the time until it is looked at.
            (timer.next.since(self.now()).max(Nanos(1)), timer.interval)
        })
    }
}
