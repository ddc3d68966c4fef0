//! The page by which the instances of a machine know of each other outside the window's links.
//!
//! A cache line for each instance, and one for the console they share. Words of an instance's line
//! that it writes itself, and words that the first instance writes, are apart; an *incarnation*
//! counts the starts of an instance from 1 on.

use maize_window::Window;
use maize_wire::SLOT_WORDS;

/// Words of an instance's line.
const ARRIVED: usize = 0;
const ENDED: usize = 1;
const STOP: usize = 2;
const STOPPED: usize = 3;
const BORROWS: usize = 4;

/// The page, over any window.
#[derive(Clone, Copy, Debug)]
pub struct Control<W>(W);

impl<W: Window> Control<W> {
    /// The page that `page` is.
    pub const fn new(page: W) -> Control<W> {
        Control(page)
    }

    const fn word(index: u16, word: usize) -> usize {
        (1 + index as usize) * SLOT_WORDS + word
    }

    /// An instance's bit in a set of them.
    const fn bit(index: u16) -> u32 {
        match 1_u32.checked_shl(index as u32) {
            Some(bit) => bit,
            None => 0,
        }
    }

    fn read(&self, index: u16, word: usize) -> u32 {
        self.0.load_acquire(Self::word(index, word)) as u32
    }

    fn write(&self, index: u16, word: usize, value: u32) {
        self.0.store_release(Self::word(index, word), value.into());
    }

    /// Instance `index` runs in this incarnation.
    pub fn arrive(&self, index: u16, incarnation: u32) {
        self.write(index, ARRIVED, incarnation);
    }

    /// The incarnation in which an instance ran last; 0 if it never did.
    #[must_use]
    pub fn arrived(&self, index: u16) -> u32 {
        self.read(index, ARRIVED)
    }

    /// Instance `index` ends itself: it does nothing from here on.
    pub fn end(&self, index: u16, incarnation: u32) {
        self.write(index, ENDED, incarnation);
    }

    /// The last incarnation that ended itself.
    #[must_use]
    pub fn ended(&self, index: u16) -> u32 {
        self.read(index, ENDED)
    }

    /// Asks an instance to stop itself.
    pub fn ask_to_stop(&self, index: u16, incarnation: u32) {
        self.write(index, STOP, incarnation);
    }

    /// Whether this incarnation was asked to stop itself.
    #[must_use]
    pub fn must_stop(&self, index: u16, incarnation: u32) -> bool {
        self.read(index, STOP) == incarnation
    }

    /// Tells everybody that an instance which was in the window under `epoch` runs no more.
    pub fn confirm_stop(&self, index: u16, epoch: u32) {
        self.write(index, STOPPED, epoch);
    }

    /// The last epoch under which an instance is known to run no more; 0 if none.
    #[must_use]
    pub fn stopped_epoch(&self, index: u16) -> u32 {
        self.read(index, STOPPED)
    }

    /// Whether instance `index` may use memory of the one at `lender`, as it says itself.
    pub fn borrow_from(&self, index: u16, lender: u16, borrows: bool) {
        let others = self.read(index, BORROWS) & !Self::bit(lender);
        self.write(index, BORROWS, if borrows { others | Self::bit(lender) } else { others });
    }

    /// Instance `index` has just come, and uses no memory but its own.
    pub fn borrow_from_nobody(&self, index: u16) {
        self.write(index, BORROWS, 0);
    }

    /// Whether instance `index` may use memory of the one at `lender`.
    #[must_use]
    pub fn borrows_from(&self, index: u16, lender: u16) -> bool {
        self.read(index, BORROWS) & Self::bit(lender) != 0
    }

    /// Takes the console for instance `index`. It may have it already; then the answer is `Kept`.
    /// Whoever is found to hold it for `patience` looks in a row is taken for dead and loses it.
    pub fn lock_console(&self, index: u16, patience: u32) -> Locked {
        let me = u64::from(index) + 1;
        let (mut holder, mut left) = (0, patience);
        let mut expected = 0;
        loop {
            match self.0.compare_exchange(0, expected, me) {
                Ok(_) => return Locked::Taken,
                Err(found) if found == me => return Locked::Kept,
                Err(0) => expected = 0,
                Err(found) => {
                    if found != holder {
                        (holder, left) = (found, patience);
                    }
                    left = left.saturating_sub(1);
                    expected = if left == 0 { holder } else { 0 };
                    core::hint::spin_loop();
                }
            }
        }
    }

    /// Takes the console for instance `index` if it is free or has it already; `None` if another has
    /// it.
    pub fn try_lock_console(&self, index: u16) -> Option<Locked> {
        let me = u64::from(index) + 1;
        match self.0.compare_exchange(0, 0, me) {
            Ok(_) => Some(Locked::Taken),
            Err(found) if found == me => Some(Locked::Kept),
            Err(_) => None,
        }
    }

    /// Gives the console back, if it was not taken away.
    pub fn unlock_console(&self, index: u16) {
        let _ = self.0.compare_exchange(0, u64::from(index) + 1, 0);
    }
}

/// How [`Control::lock_console`] came by the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// It is to be given back.
    Taken,
    /// This instance had it before, and gives it back where it took it.
    Kept,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::sync::atomic::AtomicU64;
    use maize_window::Mapping;

    #[test]
    fn words_of_different_instances_are_apart() {
        let words = [const { AtomicU64::new(0) }; 512];
        let control = Control::new(Mapping::from_words(&words));
        for index in 0..16_u16 {
            let n = u32::from(index) * 4 + 1;
            control.arrive(index, n);
            control.end(index, n + 1);
            control.ask_to_stop(index, n + 2);
            control.confirm_stop(index, n + 3);
            control.borrow_from(index, 15 - index, true);
        }
        control.borrow_from(2, 0, true);
        control.borrow_from(2, 13, false);
        control.borrow_from_nobody(3);
        for index in 0..16_u16 {
            let n = u32::from(index) * 4 + 1;
            assert_eq!((control.arrived(index), control.ended(index)), (n, n + 1));
            assert!(control.must_stop(index, n + 2) && !control.must_stop(index, n + 1));
            assert_eq!(control.stopped_epoch(index), n + 3);
            let lenders = (0..16).filter(|lender| control.borrows_from(index, *lender));
            let lender = match index {
                2 => Some(0),
                3 => None,
                _ => Some(15 - index),
            };
            assert_eq!(lenders.collect::<Vec<_>>(), Vec::from_iter(lender));
        }
        assert_eq!(control.lock_console(3, 10), Locked::Taken);
    }

    #[test]
    fn a_dead_holder_does_not_silence_the_others() {
        let words = [const { AtomicU64::new(0) }; 512];
        let control = Control::new(Mapping::from_words(&words));
        assert_eq!(control.lock_console(5, 3), Locked::Taken);
        assert_eq!(control.lock_console(5, 3), Locked::Kept);
        assert_eq!(control.try_lock_console(5), Some(Locked::Kept));
        assert_eq!(control.try_lock_console(2), None, "nobody waits for it");
        assert_eq!(control.lock_console(2, 3), Locked::Taken, "the holder never came back");
        control.unlock_console(5);
        assert_eq!(control.lock_console(2, 3), Locked::Kept, "what was lost is not given back");
        control.unlock_console(2);
        assert_eq!(control.lock_console(5, 1), Locked::Taken);
    }

    #[test]
    fn a_lock_excludes() {
        static WORDS: [AtomicU64; 512] = [const { AtomicU64::new(0) }; 512];
        let control = Control::new(Mapping::from_words(&WORDS));
        let threads = [0_u16, 1, 2].map(|index| {
            std::thread::spawn(move || {
                for _ in 0..1000 {
                    control.lock_console(index, u32::MAX);
                    let word = WORDS[511].load(core::sync::atomic::Ordering::Relaxed);
                    std::thread::yield_now();
                    WORDS[511].store(word + 1, core::sync::atomic::Ordering::Relaxed);
                    control.unlock_console(index);
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(WORDS[511].load(core::sync::atomic::Ordering::Relaxed), 3000);
    }
}
