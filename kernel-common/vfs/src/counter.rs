//! Event counters (`eventfd`).

use maize_abi::Errno;
use maize_abi::file::poll;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter {
    value: u64,
    /// `EFD_SEMAPHORE`: a read takes one instead of all.
    one_by_one: bool,
}

/// The largest value a counter reaches.
const MAX: u64 = u64::MAX - 1;

impl Counter {
    pub(crate) const fn new(value: u64, one_by_one: bool) -> Counter {
        Counter { value, one_by_one }
    }

    /// Takes from the counter; `None` if it is zero.
    pub(crate) const fn read(&mut self) -> Option<u64> {
        if self.value == 0 {
            return None;
        }
        let taken = if self.one_by_one { 1 } else { self.value };
        self.value -= taken;
        Some(taken)
    }

    /// Adds to the counter; false if it has no room for that.
    ///
    /// # Errors
    /// `EINVAL` for a value that can never be added.
    pub(crate) const fn write(&mut self, value: u64) -> Result<bool, Errno> {
        if value == u64::MAX {
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
        if self.value < MAX {
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
        let mut c = Counter::new(3, false);
        assert_eq!(c.write(4), Ok(true));
        assert_eq!((c.read(), c.read()), (Some(7), None));
        assert_eq!(c.write(MAX), Ok(true));
        assert_eq!(c.write(1), Ok(false));
        assert_eq!(c.write(u64::MAX), Err(Errno::EINVAL));
        assert_eq!(c.poll(), poll::POLLIN | poll::POLLRDNORM);
        let mut semaphore = Counter::new(2, true);
        assert_eq!(
            (semaphore.read(), semaphore.read(), semaphore.read()),
            (Some(1), Some(1), None)
        );
    }
}
