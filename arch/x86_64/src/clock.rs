//! The time-stamp counter as a clock.

use maize_hal::Nanos;

/// Counts per second of a counter, found by watching it beside one whose rate is known.
///
/// `None` if the known one did not move, or the answer is no rate a processor can have
/// (1 MHz to 100 GHz).
#[must_use]
pub fn rate(counts: u64, femtoseconds: u128) -> Option<u64> {
    if femtoseconds == 0 {
        return None;
    }
    let rate = u128::from(counts) * 1_000_000_000_000_000 / femtoseconds;
    u64::try_from(rate).ok().filter(|rate| (1_000_000..=100_000_000_000).contains(rate))
}

/// How counts become nanoseconds, and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    origin: u64,
    rate: u64,
    /// Nanoseconds per count, as a fraction of 2^32.
    scale: u64,
}

const SECOND: u128 = 1_000_000_000;

impl Clock {
    /// A clock that is zero at count `origin` and counts `rate` times a second (from [`rate`]).
    #[must_use]
    pub fn new(origin: u64, rate: u64) -> Clock {
        let scale = (SECOND << 32) / u128::from(rate.max(1));
        Clock { origin, rate, scale: u64::try_from(scale).unwrap_or(u64::MAX) }
    }

    /// The time at `count`; zero before the origin.
    #[must_use]
    pub fn at(&self, count: u64) -> Nanos {
        let counts = u128::from(count.saturating_sub(self.origin));
        let nanos = (counts * u128::from(self.scale)) >> 32;
        Nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The count at which it is zero.
    #[must_use]
    pub const fn origin(&self) -> u64 {
        self.origin
    }

    /// Counts per second.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }
}

/// Ticks of a timer that runs `rate` times a second for `span` to pass: at least 1, at most `max`,
/// rounded up so that the timer is not early.
#[must_use]
pub fn ticks(span: Nanos, rate: u64, max: u32) -> u32 {
    let ticks = (u128::from(span.0) * u128::from(rate)).div_ceil(SECOND);
    u32::try_from(ticks).unwrap_or(u32::MAX).clamp(1, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_a_second() {
        for hz in [1_000_000, 1_999_999_937, 2_494_136_000, 5_000_000_000] {
            let clock = Clock::new(1_000, hz);
            let year = 365 * 86_400;
            let nanos = clock.at(1_000 + hz * year).0;
            let off = nanos.abs_diff(year * 1_000_000_000);
            assert!(off <= nanos / 1_000_000_000 + 1, "{off} ns a year at {hz} Hz");
            assert_eq!(clock.at(0), Nanos(0));
        }
    }

    #[test]
    fn rates_that_cannot_be_are_refused() {
        assert_eq!(rate(10_000_000, 5_000_000_000_000), Some(2_000_000_000));
        assert_eq!(rate(1, 0), None);
        assert_eq!(rate(1, 5_000_000_000_000), None);
        assert_eq!(rate(u64::MAX, 1), None);
    }

    #[test]
    fn a_timer_is_never_early() {
        assert_eq!(ticks(Nanos(0), 62_500_000, u32::MAX), 1);
        assert_eq!(ticks(Nanos(17), 62_500_000, u32::MAX), 2);
        assert_eq!(ticks(Nanos::SECOND, 62_500_000, u32::MAX), 62_500_000);
        assert_eq!(ticks(Nanos::NEVER, 62_500_000, 1 << 31), 1 << 31);
    }
}
