//! Event counters: those that programs add to (`eventfd`), and those that count a timer's expiries
//! (`timerfd`).

use maize_abi::Errno;
use maize_abi::file::poll;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// What is written; a read takes all of it.
    Writes,
    /// What is written; a read takes one (`EFD_SEMAPHORE`).
    OneByOne,
    /// Expiries of a timer, which follows the wall clock or not.
    Expiries { wall: bool },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter {
    value: u64,
    counts: Counts,
}

/// The largest value a counter reaches.
const MAX: u64 = u64::MAX - 1;

impl Counter {
    pub(crate) const fn new(value: u64, counts: Counts) -> Counter {
        Counter { value, counts }
    }

    pub(crate) const fn is_timer(&self) -> bool {
        matches!(self.counts, Counts::Expiries { .. })
    }

    /// Whether it counts a timer's expiries, and that follows the wall clock.
    pub(crate) const fn follows_wall_clock(&self) -> bool {
        matches!(self.counts, Counts::Expiries { wall: true })
    }

    /// Counts that many expiries more.
    pub(crate) const fn expire(&mut self, times: u64) {
        self.value = self.value.saturating_add(times);
    }

    /// Forgets what was counted.
    pub(crate) const fn reset(&mut self) {
        self.value = 0;
    }

    /// Takes from the counter; `None` if it is zero.
    pub(crate) const fn read(&mut self) -> Option<u64> {
        if self.value == 0 {
            return None;
        }
        let taken = if matches!(self.counts, Counts::OneByOne) { 1 } else { self.value };
        self.value -= taken;
        Some(taken)
    }

    /// Adds to the counter; false if it has no room for that.
    ///
    /// # Errors
    /// `EINVAL` for a value that can never be added, and for timers.
    pub(crate) const fn write(&mut self, value: u64) -> Result<bool, Errno> {
        if value == u64::MAX || self.is_timer() {
            return Err(Errno::EINVAL);
        }
        if value > MAX - self.value {
            return Ok(false);
        }
        self.value += value;
        Ok(true)
    }

    pub(crate) const fn poll(&self) -> u16 {
        let mut events = 0;
        if self.value > 0 {
            events |= poll::POLLIN | poll::POLLRDNORM;
        }
        if self.value < MAX && !self.is_timer() {
            events |= poll::POLLOUT | poll::POLLWRNORM;
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_bounds() {
        let mut c = Counter::new(3, Counts::Writes);
        assert_eq!(c.write(4), Ok(true));
        assert_eq!((c.read(), c.read()), (Some(7), None));
        assert_eq!(c.write(MAX), Ok(true));
        assert_eq!(c.write(1), Ok(false));
        assert_eq!(c.write(u64::MAX), Err(Errno::EINVAL));
        assert_eq!(c.poll(), poll::POLLIN | poll::POLLRDNORM);
        let mut semaphore = Counter::new(2, Counts::OneByOne);
        assert_eq!(
            (semaphore.read(), semaphore.read(), semaphore.read()),
            (Some(1), Some(1), None)
        );
    }

    #[test]
    fn a_timer_is_only_read() {
        let mut c = Counter::new(0, Counts::Expiries { wall: false });
        assert_eq!((c.read(), c.poll(), c.write(1)), (None, 0, Err(Errno::EINVAL)));
        c.expire(2);
        c.expire(1);
        assert_eq!(c.poll(), poll::POLLIN | poll::POLLRDNORM);
        assert_eq!((c.read(), c.read()), (Some(3), None));
        c.expire(1);
        c.reset();
        assert_eq!(c.read(), None);
    }
}
