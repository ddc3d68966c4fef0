//! The format of saved FPU and SIMD state, as XSAVE's standard form or FXSAVE lay it out.

use maize_hal::FpuState;

/// Bytes of the part that FXSAVE has as well.
pub const LEGACY_LEN: usize = 512;

/// Bytes of the legacy part and XSAVE's header.
const WITH_HEADER: usize = LEGACY_LEN + 64;

/// The x87 control word a program starts with: all exceptions masked, 64-bit precision.
const FCW_INITIAL: u16 = 0x37f;

/// The SSE control word a program starts with: all exceptions masked.
const MXCSR_INITIAL: u32 = 0x1f80;

const MXCSR_AT: usize = 24;
const MXCSR_MASK_AT: usize = 28;
/// Bytes 464 to 511 are left to software: nothing of the processor's is there.
const SOFTWARE_AT: usize = 464;
const COMPACTED_AT: usize = 520;

/// State components that user code may use, of those a processor may have.
///
/// x87, SSE, AVX, and the three of AVX-512. Left out: MPX (gone), protection keys (the kernel has
/// none), AMX (must be asked for by a system call).
pub const USER_COMPONENTS: u64 = 0b1110_0111;

/// What a processor saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XState {
    /// Bytes.
    pub len: usize,
    /// Components in use (`xcr0`), or `None` where there is only FXSAVE.
    pub components: Option<u64>,
    /// Bits of `mxcsr` that may be set.
    pub mxcsr_mask: u32,
}

impl XState {
    /// The components to turn on where the processor has `supported`.
    ///
    /// The three of AVX-512 come together, and need AVX.
    #[must_use]
    pub const fn choose(supported: u64) -> u64 {
        const SSE: u64 = 0b11;
        const AVX: u64 = 0b100;
        const AVX512: u64 = 0b1110_0000;
        let mut chosen = SSE;
        if supported & AVX != 0 {
            chosen |= AVX;
            if supported & AVX512 == AVX512 {
                chosen |= AVX512;
            }
        }
        chosen & USER_COMPONENTS
    }

    /// The state a program starts with.
    #[must_use]
    pub fn initial(&self) -> FpuState {
        let mut state = FpuState::zeroed(self.len);
        let bytes = state.bytes_mut();
        put(bytes, 0, &FCW_INITIAL.to_le_bytes());
        put(bytes, MXCSR_AT, &MXCSR_INITIAL.to_le_bytes());
        put(bytes, MXCSR_MASK_AT, &self.mxcsr_mask.to_le_bytes());
        state
    }

    /// `given`, made loadable: no reserved bit is set, no component that is not in use, and what is
    /// missing has its initial value.
    #[must_use]
    pub fn sanitize(&self, given: &[u8]) -> FpuState {
        let mut state = self.initial();
        let bytes = state.bytes_mut();
        if given.len() < LEGACY_LEN {
            return state;
        }
        let whole = given.len() >= WITH_HEADER && self.components.is_some();
        let len = if whole { given.len().min(bytes.len()) } else { LEGACY_LEN };
        put(bytes, 0, &given[..len]);
        self.mend(&mut state, len, whole);
        state
    }

    /// As [`XState::sanitize`], of a state of this format's length, where it is.
    pub fn sanitize_whole(&self, state: &mut FpuState) {
        let len = state.bytes().len();
        self.mend(state, len, self.components.is_some());
    }

    /// Makes a state loadable whose first `len` bytes were given, `whole` if with a header.
    fn mend(&self, state: &mut FpuState, len: usize, whole: bool) {
        let bytes = state.bytes_mut();
        bytes[SOFTWARE_AT..LEGACY_LEN].fill(0);
        let mxcsr = u32_at(bytes, MXCSR_AT) & self.mxcsr_mask;
        put(bytes, MXCSR_AT, &mxcsr.to_le_bytes());
        put(bytes, MXCSR_MASK_AT, &self.mxcsr_mask.to_le_bytes());
        if let Some(components) = self.components {
            const X87_AND_SSE: u64 = 0b11;
            // A component that was cut off has its initial value.
            let complete = len == bytes.len();
            let present = match (whole, complete) {
                (true, true) => u64_at(bytes, LEGACY_LEN) & components,
                (true, false) => u64_at(bytes, LEGACY_LEN) & X87_AND_SSE,
                (false, _) => X87_AND_SSE,
            };
            put(bytes, LEGACY_LEN, &present.to_le_bytes());
            bytes[COMPACTED_AT..WITH_HEADER].fill(0);
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const AVX: XState = XState { len: 832, components: Some(7), mxcsr_mask: 0xffff };

    #[test]
    fn a_good_state_survives() {
        let mut good = AVX.initial();
        good.bytes_mut()[512] = 7;
        good.bytes_mut()[160..800].fill(0x5a);
        good.bytes_mut()[464..576].fill(0);
        good.bytes_mut()[512] = 7;
        assert_eq!(AVX.sanitize(good.bytes()).bytes(), good.bytes());
        let mut whole = good.clone();
        AVX.sanitize_whole(&mut whole);
        assert_eq!(whole.bytes(), good.bytes());
    }

    #[test]
    fn an_old_state_sets_x87_and_sse_only() {
        let state = AVX.sanitize(&[0xff; LEGACY_LEN]);
        assert_eq!(u64_at(state.bytes(), 512), 3);
        assert_eq!(u32_at(state.bytes(), MXCSR_AT), 0xffff);
        assert!(state.bytes()[576..].iter().all(|b| *b == 0));
    }

    #[test]
    fn avx512_comes_whole_or_not_at_all() {
        assert_eq!(XState::choose(0b1), 0b11);
        assert_eq!(XState::choose(0b111), 0b111);
        assert_eq!(XState::choose(0b0110_0111), 0b111);
        assert_eq!(XState::choose(u64::MAX), 0b1110_0111);
    }

    proptest! {
        /// What makes XRSTOR fault (SDM vol. 1, 13.8.1): bits of XSTATE_BV outside xcr0, a nonzero
        /// byte in the rest of the header, a reserved bit of mxcsr.
        #[test]
        fn nothing_that_faults_gets_through(
            bytes in prop::collection::vec(any::<u8>(), 0..1200),
            wide in any::<bool>(),
        ) {
            let kind = if wide { AVX } else { XState { len: 512, components: None, mxcsr_mask: 0xffbf } };
            let state = kind.sanitize(&bytes);
            prop_assert_eq!(state.bytes().len(), kind.len);
            prop_assert_eq!(u32_at(state.bytes(), MXCSR_AT) & !kind.mxcsr_mask, 0);
            if wide {
                prop_assert_eq!(u64_at(state.bytes(), 512) & !7, 0);
                prop_assert_eq!(&state.bytes()[520..576], &vec![0; 56][..]);
            }
        }
    }
}
