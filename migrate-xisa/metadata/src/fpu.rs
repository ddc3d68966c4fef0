//! The floating-point environment by role, and its form on each instruction set.

use serde::{Deserialize, Serialize};

/// How results are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "IEEE 754's own names")]
pub enum Rounding {
    #[default]
    NearestEven,
    Down,
    Up,
    TowardZero,
}

/// IEEE 754's five exceptions, as sticky flags or as traps that are enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "IEEE 754's own names")]
pub struct Exceptions {
    pub invalid: bool,
    pub divide_by_zero: bool,
    pub overflow: bool,
    pub underflow: bool,
    pub inexact: bool,
}

impl Exceptions {
    /// From bits in the order invalid, divide by zero, overflow, underflow, inexact.
    const fn from_bits(bits: [bool; 5]) -> Self {
        let [invalid, divide_by_zero, overflow, underflow, inexact] = bits;
        Self { invalid, divide_by_zero, overflow, underflow, inexact }
    }

    const fn bits(self) -> [bool; 5] {
        [self.invalid, self.divide_by_zero, self.overflow, self.underflow, self.inexact]
    }
}

/// The floating-point environment of a thread.
///
/// Register contents are not part of it: whatever is live at a migration point is in a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fpu {
    /// Current rounding.
    pub rounding: Rounding,
    /// Exceptions that have happened.
    pub raised: Exceptions,
    /// Exceptions that trap. Many aarch64 processors cannot trap and ignore it.
    pub trapping: Exceptions,
    /// Subnormal results and operands count as zero.
    pub flush_to_zero: bool,
}

const MXCSR_FLAGS: [u32; 5] = [0, 2, 3, 4, 5];
const MXCSR_MASKS: [u32; 5] = [7, 9, 10, 11, 12];
const MXCSR_ROUNDING: u32 = 13;
const MXCSR_DAZ: u32 = 1 << 6;
const MXCSR_FTZ: u32 = 1 << 15;
const FPSR_FLAGS: [u32; 5] = [0, 1, 2, 3, 4];
const FPCR_TRAPS: [u32; 5] = [8, 9, 10, 11, 12];
const FPCR_ROUNDING: u32 = 22;
const FPCR_FZ: u64 = 1 << 24;

fn gather(word: u64, places: [u32; 5]) -> [bool; 5] {
    places.map(|place| word >> place & 1 == 1)
}

fn scatter(bits: [bool; 5], places: [u32; 5]) -> u64 {
    bits.into_iter().zip(places).map(|(bit, place)| u64::from(bit) << place).sum()
}

impl Fpu {
    /// From x86_64's `MXCSR`.
    #[must_use]
    pub fn from_mxcsr(mxcsr: u32) -> Self {
        let word = u64::from(mxcsr);
        let rounding = match mxcsr >> MXCSR_ROUNDING & 3 {
            0 => Rounding::NearestEven,
            1 => Rounding::Down,
            2 => Rounding::Up,
            _ => Rounding::TowardZero,
        };
        Self {
            rounding,
            raised: Exceptions::from_bits(gather(word, MXCSR_FLAGS)),
            trapping: Exceptions::from_bits(gather(!word, MXCSR_MASKS)),
            flush_to_zero: mxcsr & MXCSR_FTZ != 0,
        }
    }

    /// x86_64's `MXCSR`: a trap that is not enabled is masked.
    #[must_use]
    pub fn to_mxcsr(self) -> u32 {
        let rounding = match self.rounding {
            Rounding::NearestEven => 0,
            Rounding::Down => 1,
            Rounding::Up => 2,
            Rounding::TowardZero => 3,
        };
        let flags = scatter(self.raised.bits(), MXCSR_FLAGS);
        // Denormal-operand exceptions (bit 8) stay masked: aarch64 has nothing like them enabled.
        let masks = scatter(self.trapping.bits().map(|trap| !trap), MXCSR_MASKS) | 1 << 8;
        let zero = if self.flush_to_zero { MXCSR_FTZ | MXCSR_DAZ } else { 0 };
        (flags | masks) as u32 | rounding << MXCSR_ROUNDING | zero
    }

    /// From aarch64's `FPCR` and `FPSR`.
    #[must_use]
    pub fn from_fpcr_fpsr(fpcr: u64, fpsr: u64) -> Self {
        let rounding = match fpcr >> FPCR_ROUNDING & 3 {
            0 => Rounding::NearestEven,
            1 => Rounding::Up,
            2 => Rounding::Down,
            _ => Rounding::TowardZero,
        };
        Self {
            rounding,
            raised: Exceptions::from_bits(gather(fpsr, FPSR_FLAGS)),
            trapping: Exceptions::from_bits(gather(fpcr, FPCR_TRAPS)),
            flush_to_zero: fpcr & FPCR_FZ != 0,
        }
    }

    /// aarch64's `FPCR` and `FPSR`.
    #[must_use]
    pub fn to_fpcr_fpsr(self) -> (u64, u64) {
        let rounding: u64 = match self.rounding {
            Rounding::NearestEven => 0,
            Rounding::Up => 1,
            Rounding::Down => 2,
            Rounding::TowardZero => 3,
        };
        let zero = if self.flush_to_zero { FPCR_FZ } else { 0 };
        let fpcr = scatter(self.trapping.bits(), FPCR_TRAPS) | rounding << FPCR_ROUNDING | zero;
        (fpcr, scatter(self.raised.bits(), FPSR_FLAGS))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_environments_that_programs_start_with_are_the_same() {
        assert_eq!(Fpu::from_mxcsr(0x1f80), Fpu::default());
        assert_eq!(Fpu::from_fpcr_fpsr(0, 0), Fpu::default());
        assert_eq!(Fpu::default().to_mxcsr(), 0x1f80);
        assert_eq!(Fpu::default().to_fpcr_fpsr(), (0, 0));
    }

    #[test]
    fn rounding_up_is_not_down() {
        // FE_UPWARD is 0x800 in x86's control word, 0x400000 in FPCR.
        let up = Fpu { rounding: Rounding::Up, ..Fpu::default() };
        assert_eq!(up.to_mxcsr(), 0x1f80 | 0x4000);
        assert_eq!(up.to_fpcr_fpsr().0, 0x40_0000);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_on_the_way_to_another_processor(bits: u16) {
            let bit = |n: u32| bits >> n & 1 == 1;
            let five = |n: u32| Exceptions::from_bits([0, 1, 2, 3, 4].map(|i| bit(n + i)));
            let rounding = [Rounding::NearestEven, Rounding::Down, Rounding::Up,
                Rounding::TowardZero][usize::from(bits >> 10 & 3)];
            let fpu = Fpu { rounding, raised: five(0), trapping: five(5), flush_to_zero: bit(12) };
            prop_assert_eq!(Fpu::from_mxcsr(fpu.to_mxcsr()), fpu);
            let (fpcr, fpsr) = fpu.to_fpcr_fpsr();
            prop_assert_eq!(Fpu::from_fpcr_fpsr(fpcr, fpsr), fpu);
        }
    }
}
