//! For how long it has been worth while to poll.

use maize_hal::Nanos;

/// Time to poll where polling has been in vain: a peer that polls as well answers within it.
const SHORT: Nanos = Nanos(50_000);

/// Waits in a row that polling did not shorten before it is cut short.
const IN_VAIN: u8 = 4;

/// Waits that are then polled for shortly, before it is tried again.
const CUT_SHORT: u8 = 16;

/// Judges by the last waits whether the next will be short.
///
/// A core that polls is no use to anybody else, and on a host without cores to spare it may be what
/// the peer waits for: whatever delivers its interrupts has to run somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patience {
    in_vain: u8,
    cut_short: u8,
}

impl Patience {
    /// For how long to poll now, at most for `most`.
    pub(crate) fn poll_for(self, most: Nanos) -> Nanos {
        if self.cut_short > 0 { most.min(SHORT) } else { most }
    }

    /// A message came while this instance polled.
    pub(crate) fn reward(&mut self) {
        *self = Patience::default();
    }

    /// This instance has gone to sleep before a message came.
    pub(crate) fn disappoint(&mut self) {
        if self.cut_short > 0 {
            self.cut_short -= 1;
            return;
        }
        self.in_vain += 1;
        if self.in_vain >= IN_VAIN {
            *self = Patience { in_vain: IN_VAIN - 1, cut_short: CUT_SHORT };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Nanos = Nanos(500_000);

    #[test]
    fn who_is_disappointed_polls_shortly_and_tries_again() {
        let mut patience = Patience::default();
        let mut long = 0;
        for _ in 0..170 {
            long += u32::from(patience.poll_for(MOST) == MOST);
            patience.disappoint();
        }
        assert_eq!(long, u32::from(IN_VAIN) + 9, "then every 17th wait");
        patience.reward();
        assert_eq!(patience.poll_for(MOST), MOST);
        assert_eq!(patience.poll_for(Nanos(0)), Nanos(0));
    }

    #[test]
    fn a_long_wait_among_short_ones_is_none_to_learn_from() {
        let mut patience = Patience::default();
        for _ in 0..100 {
            patience.disappoint();
            patience.reward();
            assert_eq!(patience.poll_for(MOST), MOST);
        }
    }
}
