//! Counter ticks and nanoseconds.

use maize_hal::Nanos;

/// Converts between the generic timer's ticks and nanoseconds since a start.
///
/// Both factors are 32.32 fixed-point numbers, so a conversion is one multiplication and its
/// relative error is below 2^-32 / factor (62.5 MHz: below 2 ns in an hour).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    start: u64,
    nanos_per_tick: u64,
    ticks_per_nano: u64,
}

/// A frequency that no generic timer has: the architecture wants 1 MHz to 1 GHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrequency(
    /// In hertz.
    pub u64,
);

impl core::fmt::Display for BadFrequency {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "timer frequency of {} Hz", self.0)
    }
}

const SECOND: u128 = 1_000_000_000;

impl Clock {
    /// A clock of `frequency` hertz that shows zero at `start` ticks.
    ///
    /// # Errors
    /// [`BadFrequency`] outside 10 kHz to 4 GHz, which no machine's firmware should report.
    pub const fn new(start: u64, frequency: u64) -> Result<Clock, BadFrequency> {
        if frequency < 10_000 || frequency > 4_000_000_000 {
            return Err(BadFrequency(frequency));
        }
        let per = frequency as u128;
        Ok(Clock {
            start,
            nanos_per_tick: ((SECOND << 32) / per) as u64,
            ticks_per_nano: ((per << 32) / SECOND) as u64,
        })
    }

    /// The time at counter value `ticks`; zero before the start.
    #[must_use]
    pub const fn nanos(&self, ticks: u64) -> Nanos {
        let passed = ticks.saturating_sub(self.start) as u128;
        Nanos(((passed * self.nanos_per_tick as u128) >> 32) as u64)
    }

    /// A counter value at which [`Self::nanos`] is at least `time`, and at most a few ticks more.
    /// `None` if the counter does not get there.
    #[must_use]
    pub const fn ticks(&self, time: Nanos) -> Option<u64> {
        let mut ticks = (time.0 as u128 * self.ticks_per_nano as u128) >> 32;
        // Both factors are rounded down: the product may be short by one tick per 2^32 of either.
        while (ticks * self.nanos_per_tick as u128) >> 32 < time.0 as u128 {
            let short = time.0 as u128 - ((ticks * self.nanos_per_tick as u128) >> 32);
            let step = (short * self.ticks_per_nano as u128) >> 32;
            ticks += if step == 0 { 1 } else { step };
        }
        if ticks > (u64::MAX - self.start) as u128 { None } else { Some(self.start + ticks as u64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn qemu_ticks_are_sixteen_nanoseconds() {
        let clock = Clock::new(1000, 62_500_000).unwrap();
        assert_eq!(clock.nanos(1000), Nanos(0));
        assert_eq!(clock.nanos(999), Nanos(0));
        assert_eq!(clock.nanos(1000 + 62_500_000), Nanos::SECOND);
        assert_eq!(clock.ticks(Nanos::SECOND), Some(1000 + 62_500_000));
        assert_eq!(clock.ticks(Nanos::NEVER), Some(1000 + u64::MAX / 16 + 1));
        assert_eq!(Clock::new(0, 0), Err(BadFrequency(0)));
    }

    proptest! {
        /// A timer set to `ticks(t)` must not fire before `t`, or the core would spin.
        #[test]
        fn a_deadline_is_never_early_and_hardly_late(
            start in 0..1_u64 << 40,
            frequency in 1_000_000_u64..=1_000_000_000,
            time in 0..1_u64 << 56,
        ) {
            let clock = Clock::new(start, frequency).unwrap();
            let ticks = clock.ticks(Nanos(time)).unwrap();
            prop_assert!(clock.nanos(ticks).0 >= time);
            let tick = 1_000_000_000 / frequency + 1;
            prop_assert!(clock.nanos(ticks).0 <= time + 3 * tick);
        }
    }
}
