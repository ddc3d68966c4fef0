//! Pages that an instance reads only to write them next: counters, locks, stacks, words that threads
//! hand each other. They are asked for once, with the right to write, not twice.

use alloc::collections::BTreeMap;

use maize_mm::ObjectId;

/// Pages remembered at the most.
const REMEMBERED: usize = 256;

/// How often a page is fetched for writing before it is read again to see whether it is still written:
/// a page that has come to be only read would otherwise wander between its readers.
const TRUSTED: u8 = 7;

/// Pages that were written soon after they had been fetched for reading.
#[derive(Debug, Default)]
pub(super) struct Habits {
    /// How often each may still be fetched for writing.
    written: BTreeMap<(ObjectId, u64), u8>,
}

impl Habits {
    /// A page that was fetched for reading is to be written now.
    pub(super) fn upgraded(&mut self, object: ObjectId, index: u64) {
        if self.written.len() >= REMEMBERED {
            self.written.clear();
        }
        self.written.insert((object, index), TRUSTED);
    }

    /// Whether a page that is to be read is to be fetched for writing.
    pub(super) fn will_be_written(&mut self, object: ObjectId, index: u64) -> bool {
        let Some(left) = self.written.get_mut(&(object, index)) else { return false };
        *left -= 1;
        if *left == 0 {
            self.written.remove(&(object, index));
        }
        true
    }

    /// Forgets an object that has ended.
    pub(super) fn forget(&mut self, object: ObjectId) {
        self.written.retain(|(of, _), _| *of != object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: (ObjectId, u64) = (ObjectId { home: 0, serial: 1 }, 7);

    #[test]
    fn a_habit_is_trusted_for_a_while() {
        let mut habits = Habits::default();
        assert!(!habits.will_be_written(PAGE.0, PAGE.1));
        habits.upgraded(PAGE.0, PAGE.1);
        let trusted = (0..100).filter(|_| habits.will_be_written(PAGE.0, PAGE.1)).count();
        assert_eq!(trusted, usize::from(TRUSTED));
        habits.upgraded(PAGE.0, PAGE.1);
        habits.forget(PAGE.0);
        assert!(!habits.will_be_written(PAGE.0, PAGE.1));
    }

    #[test]
    fn no_more_is_remembered_than_that() {
        let mut habits = Habits::default();
        (0..1000).for_each(|index| habits.upgraded(PAGE.0, index));
        assert!(habits.written.len() <= REMEMBERED);
    }
}
