//! Who speaks, and in which incarnation.

use core::{fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize};

/// Number of an instance in its fabric, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(pub u16);

impl InstanceId {
    /// The number as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instance {}", self.0)
    }
}

/// An incarnation of an instance. Each start, and each return after having been fenced off, has a
/// larger one than any before in the same window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(NonZeroU32);

impl Epoch {
    /// The first incarnation.
    pub const FIRST: Epoch = Epoch(NonZeroU32::MIN);

    /// The epoch of that number; zero means "none" wherever an epoch is written down.
    #[must_use]
    pub const fn new(number: u32) -> Option<Epoch> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Epoch(number)),
            None => None,
        }
    }

    /// The number, never zero.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The next incarnation; `None` after 2³² − 1 of them.
    #[must_use]
    pub const fn next(self) -> Option<Epoch> {
        match self.0.checked_add(1) {
            Some(number) => Some(Epoch(number)),
            None => None,
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}", self.0)
    }
}

/// The incarnations that two ends of a link agreed to speak in, as one of the ends sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// This side's epoch.
    pub local: Epoch,
    /// The peer's epoch.
    pub remote: Epoch,
}

impl Session {
    /// The same session as the peer sees it.
    #[must_use]
    pub const fn flipped(self) -> Session {
        Session { local: self.remote, remote: self.local }
    }

    /// The session as one word, never zero.
    #[must_use]
    pub const fn to_word(self) -> u64 {
        (self.local.get() as u64) << 32 | self.remote.get() as u64
    }

    /// Tag of the frames that the local side sends in this session: a hint that tells an old
    /// frame from a new one, not a proof (the header's epoch and the reset of the ring are).
    #[must_use]
    pub const fn send_tag(self) -> u16 {
        tag(self.local, self.remote)
    }

    /// Tag of the frames that the peer sends in this session.
    #[must_use]
    pub const fn receive_tag(self) -> u16 {
        tag(self.remote, self.local)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are what changes")]
const fn tag(from: Epoch, to: Epoch) -> u16 {
    (from.get() as u16).wrapping_mul(257) ^ to.get() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flipping_a_session_exchanges_its_tags() {
        let session = Session { local: Epoch::new(3).unwrap(), remote: Epoch::new(9).unwrap() };
        assert_eq!(session.flipped().send_tag(), session.receive_tag());
        assert_ne!(session.to_word(), session.flipped().to_word());
        assert_ne!(session.send_tag(), session.receive_tag());
    }

    #[test]
    fn epochs_end_instead_of_wrapping() {
        assert_eq!(Epoch::new(0), None);
        assert_eq!(Epoch::new(u32::MAX).and_then(Epoch::next), None);
        assert!(Epoch::FIRST < Epoch::FIRST.next().unwrap());
    }
}
