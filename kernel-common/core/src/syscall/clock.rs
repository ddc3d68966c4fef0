//! Clocks by their ids, and structures that hold times.

use maize_abi::Errno;
use maize_hal::Nanos;

use crate::ids::{Pid, Tid};

pub(super) const CLOCK_REALTIME: i32 = 0;
pub(super) const CLOCK_MONOTONIC: i32 = 1;
pub(super) const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
pub(super) const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
pub(super) const CLOCK_MONOTONIC_RAW: i32 = 4;
pub(super) const CLOCK_REALTIME_COARSE: i32 = 5;
pub(super) const CLOCK_MONOTONIC_COARSE: i32 = 6;
pub(super) const CLOCK_BOOTTIME: i32 = 7;
/// This one and [`CLOCK_BOOTTIME_ALARM`] would wake a machine that sleeps; none does.
pub(super) const CLOCK_REALTIME_ALARM: i32 = 8;
pub(super) const CLOCK_BOOTTIME_ALARM: i32 = 9;
pub(super) const CLOCK_TAI: i32 = 11;

/// A time is one that the clock shows, not a span. Linux's `TFD_TIMER_ABSTIME` too.
pub(super) const TIMER_ABSTIME: i32 = 1;

/// A clock of processor time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessorClock {
    Process(Pid),
    Thread(Tid),
}

/// The clock of processor time that an id names: the caller's own, or one of another process or thread
/// as `clock_getcpuclockid` and `pthread_getcpuclockid` make.
pub(super) fn processor_clock(clock: i32, (pid, tid): (Pid, Tid)) -> Option<ProcessorClock> {
    let of = !(clock >> 3) as u32;
    match clock {
        CLOCK_PROCESS_CPUTIME_ID => Some(ProcessorClock::Process(pid)),
        CLOCK_THREAD_CPUTIME_ID => Some(ProcessorClock::Thread(tid)),
        0.. => None,
        _ => match clock & 7 {
            2 => Some(ProcessorClock::Process(if of == 0 { pid } else { Pid(of) })),
            6 => Some(ProcessorClock::Thread(if of == 0 { tid } else { Tid(of) })),
            _ => None,
        },
    }
}

/// Reads a `struct timespec` or `timeval`-like pair of words; `per_second` units in the second.
fn pair(bytes: &[u8; 16], per_second: u64) -> Result<Nanos, Errno> {
    let (seconds, rest) = bytes.split_at(8);
    let word = |b: &[u8]| {
        let mut w = [0; 8];
        w.copy_from_slice(b);
        i64::from_le_bytes(w)
    };
    let (Ok(seconds), Ok(rest)) = (u64::try_from(word(seconds)), u64::try_from(word(rest))) else {
        return Err(Errno::EINVAL);
    };
    if rest >= per_second {
        return Err(Errno::EINVAL);
    }
    let nanos = rest * (Nanos::SECOND.0 / per_second);
    Ok(Nanos(seconds.saturating_mul(Nanos::SECOND.0).saturating_add(nanos)))
}

/// The time that a `struct timespec` gives.
///
/// # Errors
/// `EINVAL` if it is negative or has more than a second's nanoseconds.
pub(super) fn timespec(bytes: &[u8; 16]) -> Result<Nanos, Errno> {
    pair(bytes, Nanos::SECOND.0)
}

/// The `struct timespec` of a time.
pub(super) fn timespec_bytes(time: Nanos) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(time.0 / Nanos::SECOND.0).to_le_bytes());
    bytes[8..].copy_from_slice(&(time.0 % Nanos::SECOND.0).to_le_bytes());
    bytes
}

/// When a timer ends first that is set to `value`, counted from now or, if that is absolute, as its clock
/// shows it: `now` on the clock that ends timers, and the time that is shown.
pub(super) fn expiry((now, shown): (Nanos, Nanos), value: Nanos, absolute: bool) -> Nanos {
    if !absolute {
        return now + value;
    }
    // A time that has passed counts from when it was.
    now.since(shown.since(value)) + value.since(shown)
}

/// The time that a `struct timeval` gives.
///
/// # Errors
/// `EINVAL` if it is negative or has more than a second's microseconds.
pub(super) fn timeval(bytes: &[u8; 16]) -> Result<Nanos, Errno> {
    pair(bytes, 1_000_000)
}

/// The `struct timeval` of a time.
pub(super) fn timeval_bytes(time: Nanos) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(time.0 / Nanos::SECOND.0).to_le_bytes());
    bytes[8..].copy_from_slice(&(time.0 % Nanos::SECOND.0 / 1_000).to_le_bytes());
    bytes
}

/// Bytes of a `struct itimerspec`: interval, then value.
pub(super) const ITIMERSPEC_LEN: usize = 32;

/// The value and the interval that a `struct itimerspec` gives.
///
/// # Errors
/// As [`timespec`].
pub(super) fn itimerspec(bytes: &[[u8; 16]; 2]) -> Result<(Nanos, Nanos), Errno> {
    let [interval, value] = bytes;
    Ok((timespec(value)?, timespec(interval)?))
}

/// The `struct itimerspec` of a value and an interval.
pub(super) fn itimerspec_bytes((value, interval): (Nanos, Nanos)) -> [u8; ITIMERSPEC_LEN] {
    let mut bytes = [0; ITIMERSPEC_LEN];
    bytes[..16].copy_from_slice(&timespec_bytes(interval));
    bytes[16..].copy_from_slice(&timespec_bytes(value));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_and_bad_ones_are_refused() {
        let t = Nanos(3_000_000_500);
        assert_eq!(timespec(&timespec_bytes(t)), Ok(t));
        assert_eq!(timeval(&timeval_bytes(t)), Ok(Nanos(3_000_000_000)));
        let mut bad = timespec_bytes(t);
        bad[15] = 0x80;
        assert_eq!(timespec(&bad), Err(Errno::EINVAL));
        let mut long = [0; 16];
        long[8..].copy_from_slice(&1_000_000_000_u64.to_le_bytes());
        assert_eq!(timespec(&long), Err(Errno::EINVAL));
        long[..8].copy_from_slice(&i64::MAX.to_le_bytes());
        long[8..].fill(0);
        assert_eq!(timespec(&long), Ok(Nanos::NEVER));
    }

    #[test]
    fn clocks_of_processor_time_are_the_callers_or_anothers() {
        let of = |clock| processor_clock(clock, (Pid(7), Tid(8)));
        let (thread, process) = (|id: i32| !id << 3 | 6, |id: i32| !id << 3 | 2);
        assert_eq!(of(CLOCK_THREAD_CPUTIME_ID), Some(ProcessorClock::Thread(Tid(8))));
        assert_eq!(of(thread(0)), Some(ProcessorClock::Thread(Tid(8))));
        assert_eq!(of(thread(9)), Some(ProcessorClock::Thread(Tid(9))));
        assert_eq!(of(process(9)), Some(ProcessorClock::Process(Pid(9))));
        for other in [CLOCK_REALTIME, CLOCK_TAI, 10, -1, !9 << 3 | 5] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
