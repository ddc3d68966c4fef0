//! Timers that are files (`timerfd`).

use maize_abi::Errno;
use maize_abi::file::o;
use maize_hal::{Arch, Nanos};
use maize_vfs::CounterId;

use super::super::time::{expiry, timespec, timespec_bytes};
use super::super::{Call, CallResult};
use crate::state::State;

const CLOCK_REALTIME: i32 = 0;
const CLOCK_MONOTONIC: i32 = 1;
const CLOCK_BOOTTIME: i32 = 7;
/// These would wake a machine that sleeps; none does.
const CLOCK_REALTIME_ALARM: i32 = 8;
const CLOCK_BOOTTIME_ALARM: i32 = 9;

const TFD_TIMER_ABSTIME: u32 = 1;
/// The wall clock is never set.
const TFD_TIMER_CANCEL_ON_SET: u32 = 2;

/// `struct itimerspec`: interval, then value.
const SPEC_LEN: u64 = 32;

pub(super) fn create<A: Arch>(call: Call<'_, A>) -> CallResult {
    let current = call.current;
    let flags = call.uint(1);
    if flags & !(o::O_CLOEXEC | o::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let wall = match call.int(0) {
        CLOCK_REALTIME | CLOCK_REALTIME_ALARM => true,
        CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => false,
        _ => return Err(Errno::EINVAL),
    };
    call.k.with(|s| {
        s.check_descriptor_room(current)?;
        let file =
            s.with_files(current, |vfs, env, caller| vfs.make_timer(env, caller, wall, flags))?;
        s.install_file(current, file, flags & o::O_CLOEXEC != 0)
    })
}

pub(super) async fn set<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, _, new, old, ..] = call.args;
    let current = call.current;
    let flags = call.uint(1);
    let mut bytes = [[0; 16]; 2];
    call.k.read_user(current, new, bytes.as_flattened_mut()).await?;
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let (interval, value) = (timespec(&bytes[0])?, timespec(&bytes[1])?);
    loop {
        // The old setting goes to memory that is ready before the timer is touched.
        if old != 0 {
            call.k.hold_writable(current, old, SPEC_LEN).await?;
        }
        let done = call.k.with(|s| {
            if old != 0 && !s.is_writable_now(current, old, SPEC_LEN)? {
                return Ok(None);
            }
            let (timer, wall) = s.timer_of(call)?;
            let now = s.now();
            let setting = s.file_timer_setting(timer);
            let run = (value != Nanos(0)).then(|| {
                let clock = if wall { s.wall_clock() } else { now };
                (expiry((now, clock), value, flags & TFD_TIMER_ABSTIME != 0), interval)
            });
            s.files.vfs.reset_timer(timer);
            s.set_file_timer(timer, run);
            if old != 0 {
                s.write_now(current, old, &setting)?;
            }
            Ok::<_, Errno>(Some(0))
        })?;
        if let Some(result) = done {
            return Ok(result);
        }
    }
}

pub(super) async fn get<A: Arch>(call: Call<'_, A>) -> CallResult {
    let setting = call.k.with(|s| {
        let (timer, _) = s.timer_of(call)?;
        Ok::<_, Errno>(s.file_timer_setting(timer))
    })?;
    call.k.write_user(call.current, call.args[1], &setting).await?;
    Ok(0)
}

impl<A: Arch> State<A> {
    /// The timer that the first argument is a descriptor of, and whether it follows the wall clock.
    fn timer_of(&self, call: Call<'_, A>) -> Result<(CounterId, bool), Errno> {
        let file = self.file_of(call.current, call.int(0))?;
        self.files.vfs.timer_of(file)
    }

    /// A timer's interval and what is left of it, as `struct itimerspec`.
    fn file_timer_setting(&self, timer: CounterId) -> [u8; SPEC_LEN as usize] {
        let mut bytes = [0; SPEC_LEN as usize];
        if let Some(timer) = self.file_timers.get(&timer) {
            // One that runs has something left, if only the time until it is looked at.
            let left = timer.next.since(self.now()).max(Nanos(1));
            bytes[..16].copy_from_slice(&timespec_bytes(timer.interval));
            bytes[16..].copy_from_slice(&timespec_bytes(left));
        }
        bytes
    }
}
