//! The frame of a signal handler: Linux's `struct rt_sigframe` and the FPU state above it.
//!
//! From the stack pointer at the handler's entry upwards: return address, `ucontext` (flags, link,
//! `uc_stack`, `sigcontext` of 256 bytes, mask), `siginfo`; the FPU state, in XSAVE's standard
//! format and 64-byte aligned, lies above and `sigcontext` points to it.

use alloc::vec;

use super::{RFLAGS_FIXED, RFLAGS_USER, Regs};
use crate::signal::{
    ALTSTACK_LEN, AltStack, BadFrame, Delivery, Restored, SIGINFO_LEN, SavedFpu, SignalFrame,
    SignalSet, sa,
};

const UC: usize = 8;
const UC_STACK: usize = UC + 16;
const SIGCONTEXT: usize = UC + 40;
const FPSTATE: usize = SIGCONTEXT + 184;
const MASK: usize = SIGCONTEXT + 256;
const INFO: usize = MASK + 8;

/// Bytes of the frame without the FPU state.
pub(super) const LEN: usize = INFO + SIGINFO_LEN;

/// `uc_flags`: the FPU state is in XSAVE format; `ss` is saved and is to be restored.
const UC_FLAGS: u64 = 1 | 2 | 4;

/// Bytes below the stack pointer that a leaf function may use.
const RED_ZONE: u64 = 128;

/// Words of `sigcontext` before the flags, in its order.
fn words(r: &Regs) -> [u64; 18] {
    [
        r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx,
        r.rax, r.rcx, r.rsp, r.rip, r.rflags,
    ]
}

/// The magic numbers that tell a reader that the FPU state is in XSAVE format.
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;

/// Offset of the bytes that FXSAVE leaves to software.
const SW_RESERVED: usize = 464;

pub(super) fn push(regs: &mut Regs, d: &Delivery<'_>) -> SignalFrame {
    let on_altstack = d.stack_top != regs.rsp;
    let top = if on_altstack { d.stack_top } else { d.stack_top.wrapping_sub(RED_ZONE) };
    let fpu_len = d.fpu.len();
    let has_xstate = fpu_len > 512;
    let fpu_space = fpu_len + if has_xstate { 4 } else { 0 };
    let fpu_at = top.wrapping_sub(fpu_space as u64) & !63;
    // At entry the stack pointer is 8 short of a multiple of 16, as after a call.
    let sp = (fpu_at.wrapping_sub(LEN as u64) & !15).wrapping_sub(8);

    let gap = fpu_at.wrapping_sub(sp) as usize;
    let mut bytes = vec![0; gap + fpu_space];
    let mut put = |at: usize, b: &[u8]| bytes[at..at + b.len()].copy_from_slice(b);
    let restorer =
        if d.action.flags & sa::SA_RESTORER != 0 { d.action.restorer } else { d.trampoline };
    put(0, &restorer.to_le_bytes());
    put(UC, &UC_FLAGS.to_le_bytes());
    put(UC_STACK, &d.altstack.to_bytes());
    for (i, w) in words(regs).into_iter().enumerate() {
        put(SIGCONTEXT + 8 * i, &w.to_le_bytes());
    }
    // cs, gs, fs, ss as Linux's user segments.
    put(SIGCONTEXT + 144, &[0x33, 0, 0, 0, 0, 0, 0x2b, 0]);
    if let crate::signal::SigFields::Fault { address } = d.info.fields {
        put(SIGCONTEXT + 176, &address.to_le_bytes());
    }
    put(SIGCONTEXT + 168, &d.mask.0.to_le_bytes());
    put(FPSTATE, &if fpu_len == 0 { 0 } else { fpu_at }.to_le_bytes());
    put(MASK, &d.mask.0.to_le_bytes());
    put(INFO, &d.info.to_bytes());
    put(gap, d.fpu);
    if has_xstate {
        let mut features = [0; 8];
        features.copy_from_slice(&d.fpu[512..520]);
        put(gap + SW_RESERVED, &FP_XSTATE_MAGIC1.to_le_bytes());
        put(gap + SW_RESERVED + 4, &((fpu_len + 4) as u32).to_le_bytes());
        put(gap + SW_RESERVED + 8, &features);
        put(gap + SW_RESERVED + 16, &(fpu_len as u32).to_le_bytes());
        put(gap + fpu_len, &FP_XSTATE_MAGIC2.to_le_bytes());
    }

    regs.rsp = sp;
    regs.rip = d.action.handler;
    regs.rdi = u64::from(d.info.signal.number());
    regs.rsi = sp + INFO as u64;
    regs.rdx = sp + UC as u64;
    regs.rax = 0;
    // DF, TF and RF are clear at a handler's entry.
    regs.rflags &= !0x1_0500;
    SignalFrame { address: sp, bytes }
}

pub(super) fn extent(regs: &Regs) -> (u64, usize) {
    // The handler's `ret` took the return address.
    (regs.rsp.wrapping_sub(8), LEN)
}

pub(super) fn pop(regs: &mut Regs, frame: &[u8]) -> Result<Restored, BadFrame> {
    if frame.len() < LEN {
        return Err(BadFrame::Short);
    }
    let word = |at: usize| {
        let mut w = [0; 8];
        w.copy_from_slice(&frame[at..at + 8]);
        u64::from_le_bytes(w)
    };
    let w = |i: usize| word(SIGCONTEXT + 8 * i);
    *regs = Regs {
        r8: w(0),
        r9: w(1),
        r10: w(2),
        r11: w(3),
        r12: w(4),
        r13: w(5),
        r14: w(6),
        r15: w(7),
        rdi: w(8),
        rsi: w(9),
        rbp: w(10),
        rbx: w(11),
        rdx: w(12),
        rax: w(13),
        rcx: w(14),
        rsp: w(15),
        // A non-canonical address would fault in the kernel's return path on some processors.
        rip: w(16),
        rflags: w(17) & RFLAGS_USER | RFLAGS_FIXED,
        fs_base: regs.fs_base,
        gs_base: regs.gs_base,
    };
    let mut stack = [0; ALTSTACK_LEN];
    stack.copy_from_slice(&frame[UC_STACK..UC_STACK + ALTSTACK_LEN]);
    let fpstate = word(FPSTATE);
    Ok(Restored {
        mask: SignalSet(word(MASK)).blockable(),
        altstack: AltStack::from_bytes(&stack),
        fpu: (fpstate != 0).then_some(SavedFpu::At { address: fpstate, len: usize::MAX }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::UserRegs;
    use crate::signal::{SigAction, SigInfo, Signal};

    fn sample() -> Regs {
        Regs {
            rax: 1,
            rbx: 2,
            r15: 3,
            rsp: 0x7000_1234,
            rip: 0x40_1000,
            rflags: 0x246,
            fs_base: 9,
            ..Regs::default()
        }
    }

    fn delivery(fpu: &[u8], top: u64) -> Delivery<'_> {
        Delivery {
            info: SigInfo::from_kernel(Signal::SIGSEGV),
            action: SigAction {
                handler: 0x40_2000,
                flags: sa::SA_RESTORER,
                restorer: 0x40_3000,
                mask: SignalSet(0),
            },
            mask: SignalSet(0x55),
            altstack: AltStack::NONE,
            stack_top: top,
            trampoline: 0,
            fpu,
        }
    }

    #[test]
    fn a_frame_restores_what_it_saved() {
        let before = sample();
        let mut regs = before;
        let fpu = [7; 832];
        let frame = regs.push_signal_frame(&delivery(&fpu, before.rsp));
        assert_eq!(frame.address % 16, 8);
        assert!(frame.address + (frame.bytes.len() as u64) <= before.rsp - RED_ZONE);
        assert_eq!((regs.rip, regs.rdi), (0x40_2000, 11));
        assert_eq!(&frame.bytes[..8], &0x40_3000_u64.to_le_bytes());

        regs.rsp += 8;
        let (at, len) = regs.signal_frame_extent();
        assert_eq!(at, frame.address);
        let restored = regs.pop_signal_frame(&frame.bytes[..len]).unwrap();
        assert_eq!(regs, before);
        assert_eq!(restored.mask, SignalSet(0x55));
        let Some(SavedFpu::At { address, .. }) = restored.fpu else { panic!("no FPU state") };
        assert_eq!(address % 64, 0);
        let gap = (address - frame.address) as usize;
        assert_eq!(frame.bytes[gap..gap + SW_RESERVED], fpu[..SW_RESERVED]);
    }

    #[test]
    fn privileged_flags_are_not_taken_from_a_frame() {
        let mut regs = sample();
        let frame = regs.push_signal_frame(&delivery(&[], 0x8000));
        let mut bytes = frame.bytes;
        bytes[SIGCONTEXT + 136..SIGCONTEXT + 144].copy_from_slice(&u64::MAX.to_le_bytes());
        regs.pop_signal_frame(&bytes).unwrap();
        assert_eq!(regs.rflags, RFLAGS_USER | RFLAGS_FIXED);
        assert_eq!(regs.pop_signal_frame(&bytes[..LEN - 1]), Err(BadFrame::Short));
    }
}
