//! FPU and SIMD state: `q0` to `q31`, `FPSR`, `FPCR`.
//!
//! The kernel is built for a target without these registers, so user code's state simply stays in
//! them until the core asks for it.
#![allow(unsafe_code, reason = "registers that the compiler does not know")]

use core::arch::global_asm;

use maize_hal::FpuState;

/// Bytes of the state: 32 registers of 16, then `FPSR` and `FPCR` of 4.
pub const LEN: usize = 520;

/// Offsets of the two words in the state.
const FPSR_AT: usize = 512;
const FPCR_AT: usize = 516;

global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    ".macro each_pair op, at",
    "\\op q0, q1, [\\at]",
    "\\op q2, q3, [\\at, #32]",
    "\\op q4, q5, [\\at, #64]",
    "\\op q6, q7, [\\at, #96]",
    "\\op q8, q9, [\\at, #128]",
    "\\op q10, q11, [\\at, #160]",
    "\\op q12, q13, [\\at, #192]",
    "\\op q14, q15, [\\at, #224]",
    "\\op q16, q17, [\\at, #256]",
    "\\op q18, q19, [\\at, #288]",
    "\\op q20, q21, [\\at, #320]",
    "\\op q22, q23, [\\at, #352]",
    "\\op q24, q25, [\\at, #384]",
    "\\op q26, q27, [\\at, #416]",
    "\\op q28, q29, [\\at, #448]",
    "\\op q30, q31, [\\at, #480]",
    ".endm",
    ".section .text.fpu, \"ax\"",
    ".global fpu_save",
    "fpu_save:",
    "each_pair stp, x0",
    "mrs x1, fpsr",
    "mrs x2, fpcr",
    "add x0, x0, #512",
    "stp w1, w2, [x0]",
    "ret",
    ".global fpu_load",
    "fpu_load:",
    "each_pair ldp, x0",
    "add x0, x0, #512",
    "ldp w1, w2, [x0]",
    "msr fpsr, x1",
    "msr fpcr, x2",
    "ret",
    ".text",
);

unsafe extern "C" {
    fn fpu_save(state: *mut u8);
    fn fpu_load(state: *const u8);
}

/// Saves the registers.
pub(crate) fn save(state: &mut FpuState) {
    let bytes = state.bytes_mut();
    assert!(bytes.len() >= LEN, "FPU state of {} bytes", bytes.len());
    // SAFETY: writes LEN bytes of the buffer. Whoever holds the state may read any of them.
    unsafe { fpu_save(bytes.as_mut_ptr()) }
}

/// Loads the registers.
pub(crate) fn load(state: &FpuState) {
    let bytes = state.bytes();
    assert!(bytes.len() >= LEN, "FPU state of {} bytes", bytes.len());
    // SAFETY: reads LEN bytes of the buffer. No code of this kernel uses the registers, and every
    // value of them is harmless to it.
    unsafe { fpu_load(bytes.as_ptr()) }
}

/// What a program wrote, made fit to load: `mask`ed control bits, zeros for what is missing.
pub(crate) fn sanitized(bytes: &[u8], fpsr_mask: u32, fpcr_mask: u32) -> FpuState {
    let mut state = FpuState::zeroed(LEN);
    let len = bytes.len().min(LEN);
    let out = state.bytes_mut();
    out[..len].copy_from_slice(&bytes[..len]);
    for (at, mask) in [(FPSR_AT, fpsr_mask), (FPCR_AT, fpcr_mask)] {
        for (byte, mask) in out[at..at + 4].iter_mut().zip(mask.to_le_bytes()) {
            *byte &= mask;
        }
    }
    state
}
