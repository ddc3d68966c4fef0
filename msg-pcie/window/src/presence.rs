//! The presence line: what an instance says of itself to everybody.

use maize_wire::Epoch;

use crate::Window;

const EPOCH_AND_STATE: usize = 0;
const BEAT: usize = 1;

/// Whether an instance takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// It has claimed its section and is preparing it; nobody may attach yet.
    Starting = 1,
    /// It takes part.
    Up = 2,
    /// It has left, orderly.
    Left = 3,
}

/// What an instance says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Its incarnation.
    pub epoch: Epoch,
    /// Whether it takes part.
    pub state: State,
    /// A number that changes with every heartbeat.
    pub beat: u64,
}

/// An instance's presence line in the window.
#[derive(Clone)]
pub struct PresenceCell<W>(W);

impl<W: Window> PresenceCell<W> {
    /// The cell over an instance's presence line ([`crate::Layout::presence`]).
    pub const fn new(line: W) -> PresenceCell<W> {
        PresenceCell(line)
    }

    /// Publishes presence; for the line's owner only. Everything that was stored before is seen
    /// by who sees this.
    pub fn publish(&self, presence: Presence) {
        self.0.store(BEAT, presence.beat);
        let word = u64::from(presence.epoch.get()) | u64::from(presence.state as u32) << 32;
        self.0.store_release(EPOCH_AND_STATE, word);
    }

    /// A snapshot of what the owner says; `None` if it says nothing, or nothing that makes sense.
    #[must_use]
    pub fn read(&self) -> Option<Presence> {
        let word = self.0.load_acquire(EPOCH_AND_STATE);
        let state = match word >> 32 {
            1 => State::Starting,
            2 => State::Up,
            3 => State::Left,
            _ => return None,
        };
        let epoch = Epoch::new((word & 0xffff_ffff) as u32)?;
        Some(Presence { epoch, state, beat: self.0.load(BEAT) })
    }

    /// The epoch for the incarnation that now starts: the one after what the line says, which a
    /// predecessor in the same section may have left. `None` if epochs have run out.
    #[must_use]
    pub fn next_epoch(&self) -> Option<Epoch> {
        match Epoch::new((self.0.load_acquire(EPOCH_AND_STATE) & 0xffff_ffff) as u32) {
            Some(last) => last.next(),
            None => Some(Epoch::FIRST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mapping;
    use core::sync::atomic::AtomicU64;

    #[test]
    fn presence_is_read_back_and_epochs_grow() {
        let words = [const { AtomicU64::new(0) }; 8];
        let cell = PresenceCell::new(Mapping::from_words(&words));
        assert_eq!(cell.read(), None);
        assert_eq!(cell.next_epoch(), Some(Epoch::FIRST));
        let presence = Presence { epoch: Epoch::new(7).unwrap(), state: State::Up, beat: 99 };
        cell.publish(presence);
        assert_eq!(cell.read(), Some(presence));
        assert_eq!(cell.next_epoch(), Epoch::new(8));
    }

    #[test]
    fn nonsense_is_nobody() {
        let words = [const { AtomicU64::new(0) }; 8];
        let window = Mapping::from_words(&words);
        let cell = PresenceCell::new(window);
        for word in [4 << 32 | 1, 2 << 32, 1, u64::MAX] {
            window.store(0, word);
            assert_eq!(cell.read(), None, "{word:#x}");
        }
        assert_eq!(cell.next_epoch(), None, "the last epoch has no successor");
    }
}
