//! What tables have said of a call, short enough to be kept: a thread that moves again, or jumps again, mostly
//! goes through the calls of the last time, and reading the tables is most of what a frame costs.

use crate::cfi::{Frame, MOST_SAVED};

/// Bytes of a step of a saved register's distance.
const WORD: i32 = 8;

/// Calls with one digest that are known at once.
const WAYS: usize = 4;
const SETS: usize = 8;

/// What is known of the calls that were looked up last. All zeros: nothing.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Calls([[Known; WAYS]; SETS]);

impl Calls {
    /// What is known of the call at `pc`: what `read` gives, if it is not known yet.
    pub fn look_up(&mut self, pc: u64, read: impl FnOnce() -> Option<Known>) -> Option<&Known> {
        // Fibonacci hashing: calls are near each other, and often equally far apart.
        let mixed = (pc as u32).wrapping_mul(0x9e37_79b1);
        let set = &mut self.0[(mixed >> (u32::BITS - SETS.ilog2())) as usize];
        if let Some(way) = set.iter().position(|known| known.is_of(pc)) {
            return set.get(way);
        }
        let known = read()?;
        set.copy_within(..WAYS - 1, 1);
        set[0] = known;
        set.first()
    }
}

/// A register of the caller, and how far from the frame's address it was saved, in words.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Saved {
    register: u8,
    words: i16,
}

/// What is known of the frame of one call. All zeros: of none.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Known {
    pc: u32,
    pad: u32,
    distance: i32,
    arguments: u16,
    address: u8,
    return_address: u8,
    count: u8,
    saved: [Saved; MOST_SAVED],
}

impl Known {
    /// Of the call at `pc`, whose frame is saved at `pad`, or nowhere if that is zero. None for what no
    /// compiler writes: code or a frame of gigabytes, registers far from a frame's address.
    #[must_use]
    pub fn new(pc: u64, pad: u64, frame: &Frame) -> Option<Self> {
        let (address, distance) = frame.row.address;
        let mut known = Self {
            pc: pc.try_into().ok()?,
            pad: pad.try_into().ok()?,
            distance: distance.try_into().ok()?,
            arguments: frame.arguments.try_into().ok()?,
            address: address.try_into().ok()?,
            return_address: frame.return_address.try_into().ok()?,
            count: 0,
            saved: [Saved::default(); MOST_SAVED],
        };
        for (place, (register, distance)) in known.saved.iter_mut().zip(frame.row.saved()) {
            let words = (distance % WORD == 0).then_some(distance / WORD)?;
            *place =
                Saved { register: (*register).try_into().ok()?, words: words.try_into().ok()? };
            known.count += 1;
        }
        Some(known)
    }

    /// Whether it is what is known of the call at `pc`, which is not zero.
    const fn is_of(&self, pc: u64) -> bool {
        self.pc as u64 == pc
    }

    /// Where the frame is saved, or zero.
    #[must_use]
    pub const fn pad(&self) -> u64 {
        self.pad as u64
    }

    /// Bytes of arguments on the stack that the pad has to drop.
    #[must_use]
    pub const fn arguments(&self) -> u64 {
        self.arguments as u64
    }

    /// A register and a distance: their sum is the frame's address.
    #[must_use]
    pub const fn address(&self) -> (u16, i64) {
        (self.address as u16, self.distance as i64)
    }

    /// The register of the return address.
    #[must_use]
    pub const fn return_address(&self) -> u16 {
        self.return_address as u16
    }

    /// Registers that the frame saved, and how far from its address.
    pub fn saved(&self) -> impl Iterator<Item = (u16, i64)> + '_ {
        let saved = self.saved.get(..usize::from(self.count)).unwrap_or_default();
        saved.iter().map(|saved| (saved.register.into(), i64::from(saved.words) * i64::from(WORD)))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::cfi::Row;

    #[test]
    fn what_is_kept_is_what_tables_said() {
        let row = Row::of((7, 40), &[(3, -24), (6, -16), (16, -8), (71, -320)]);
        let frame = Frame { row, arguments: 32, start: 0x80_0000, pads: None, return_address: 16 };
        let known = Known::new(0x80_1234, 0x80_2000, &frame).unwrap();
        assert!(known.is_of(0x80_1234) && !known.is_of(0x80_1235));
        assert_eq!((known.pad(), known.arguments(), known.return_address()), (0x80_2000, 32, 16));
        assert_eq!(known.address(), (7, 40));
        let saved: Vec<_> = known.saved().collect();
        assert_eq!(saved, [(3, -24), (6, -16), (16, -8), (71, -320)]);
    }

    #[test]
    fn tables_are_read_once_for_a_call() {
        let frame = || {
            let row = Row::of((7, 8), &[(16, -8)]);
            Frame { row, arguments: 0, start: 0, pads: None, return_address: 16 }
        };
        let mut calls = Calls::default();
        let mut reads = 0;
        for _ in 0..3 {
            for pc in (0x80_1003..).step_by(20).take(8) {
                let read = || {
                    reads += 1;
                    Known::new(pc, pc + 1, &frame())
                };
                assert_eq!(calls.look_up(pc, read).unwrap().pad(), pc + 1);
            }
        }
        assert_eq!(reads, 8);
        // However many there are, each answer is the call's own.
        for pc in 1..1000 {
            let known = calls.look_up(pc, || Known::new(pc, 2 * pc, &frame())).unwrap();
            assert_eq!(known.pad(), 2 * pc);
        }
        assert!(calls.look_up(5000, || None).is_none());
    }

    #[test]
    fn what_cannot_be_kept_is_not() {
        let frame = |row, arguments| {
            let (start, pads, return_address) = (0, None, 30);
            Frame { row, arguments, start, pads, return_address }
        };
        let kept = |row, arguments| Known::new(1, 0, &frame(row, arguments)).is_some();
        assert!(kept(Row::of((7, 1 << 20), &[]), 0));
        assert!(!kept(Row::of((7, 1 << 40), &[]), 0));
        assert!(!kept(Row::of((7, 8), &[(3, -12)]), 0));
        assert!(!kept(Row::of((7, 8), &[(3, -1 << 20)]), 0));
        assert!(!kept(Row::of((7, 8), &[(300, -8)]), 0));
        assert!(!kept(Row::of((7, 8), &[]), 1 << 20));
        assert!(Known::new(1 << 32, 0, &frame(Row::of((7, 8), &[]), 0)).is_none());
    }
}
