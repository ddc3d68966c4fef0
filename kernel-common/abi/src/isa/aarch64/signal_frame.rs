//! The frame of a signal handler: Linux's `struct rt_sigframe` with an `fpsimd_context`, and the
//! frame record (`x29`, `x30`) above it that unwinders follow.

use alloc::vec;
use alloc::vec::Vec;

use super::{PSTATE_USER, Regs};
use crate::signal::{
    ALTSTACK_LEN, AltStack, BadFrame, Delivery, Restored, SIGINFO_LEN, SavedFpu, SigFields,
    SignalFrame, SignalSet, sa,
};

const UC: usize = SIGINFO_LEN;
const UC_STACK: usize = UC + 16;
const MASK: usize = UC + 40;
/// `sigcontext` is 16-byte aligned after a mask that is reserved 128 bytes.
const SIGCONTEXT: usize = UC + 176;
const X: usize = SIGCONTEXT + 8;
const SP: usize = X + 8 * 31;
const PC: usize = SP + 8;
const PSTATE: usize = PC + 8;
/// `__reserved`, 16-byte aligned: records of magic, size, data, ended by an empty one.
const RECORDS: usize = SIGCONTEXT + 288;
const RECORDS_LEN: usize = 4096;

/// Bytes of the frame; the FPU state is inside.
pub(super) const LEN: usize = RECORDS + RECORDS_LEN;

const FPSIMD_MAGIC: u32 = 0x4650_8001;
const FPSIMD_LEN: usize = 528;
/// Bytes of `hal`'s FPU state: `q0` to `q31`, then `fpsr` and `fpcr` as 32-bit words.
pub(super) const FPU_LEN: usize = 520;

pub(super) fn push(regs: &mut Regs, d: &Delivery<'_>) -> SignalFrame {
    const FRAME_RECORD: usize = 16;
    let sp = d.stack_top.wrapping_sub((LEN + FRAME_RECORD) as u64) & !15;
    let mut bytes = vec![0; LEN + FRAME_RECORD];
    let mut put = |at: usize, b: &[u8]| bytes[at..at + b.len()].copy_from_slice(b);
    put(0, &d.info.to_bytes());
    put(UC_STACK, &d.altstack.to_bytes());
    put(MASK, &d.mask.0.to_le_bytes());
    if let SigFields::Fault { address } = d.info.fields {
        put(SIGCONTEXT, &address.to_le_bytes());
    }
    for (i, x) in regs.x.iter().enumerate() {
        put(X + 8 * i, &x.to_le_bytes());
    }
    put(SP, &regs.sp.to_le_bytes());
    put(PC, &regs.pc.to_le_bytes());
    put(PSTATE, &regs.pstate.to_le_bytes());
    if d.fpu.len() >= FPU_LEN {
        put(RECORDS, &FPSIMD_MAGIC.to_le_bytes());
        put(RECORDS + 4, &(FPSIMD_LEN as u32).to_le_bytes());
        put(RECORDS + 8, &d.fpu[512..520]);
        put(RECORDS + 16, &d.fpu[..512]);
    }
    put(LEN, &regs.x[29].to_le_bytes());
    put(LEN + 8, &regs.x[30].to_le_bytes());

    regs.sp = sp;
    regs.pc = d.action.handler;
    regs.x[0] = u64::from(d.info.signal.number());
    regs.x[1] = sp;
    regs.x[2] = sp + UC as u64;
    regs.x[29] = sp + LEN as u64;
    regs.x[30] =
        if d.action.flags & sa::SA_RESTORER != 0 { d.action.restorer } else { d.trampoline };
    SignalFrame { address: sp, bytes }
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
    let mut x = [0; 31];
    for (i, x) in x.iter_mut().enumerate() {
        *x = word(X + 8 * i);
    }
    let fpu = saved_fpu(frame)?;
    *regs = Regs {
        x,
        sp: word(SP),
        pc: word(PC),
        pstate: word(PSTATE) & PSTATE_USER,
        tpidr: regs.tpidr,
    };
    let mut stack = [0; ALTSTACK_LEN];
    stack.copy_from_slice(&frame[UC_STACK..UC_STACK + ALTSTACK_LEN]);
    Ok(Restored {
        mask: SignalSet(word(MASK)).blockable(),
        altstack: AltStack::from_bytes(&stack),
        fpu,
    })
}

/// Walks the records for the FPU state. Records of unknown kinds are stepped over.
fn saved_fpu(frame: &[u8]) -> Result<Option<SavedFpu>, BadFrame> {
    let half = |at: usize| {
        let mut w = [0; 4];
        w.copy_from_slice(&frame[at..at + 4]);
        u32::from_le_bytes(w)
    };
    let mut at = RECORDS;
    while at + 16 <= LEN {
        let (magic, size) = (half(at), half(at + 4) as usize);
        if magic == 0 {
            return Ok(None);
        }
        if size < 16 || !size.is_multiple_of(16) || size > LEN - at {
            return Err(BadFrame::Register("record size"));
        }
        if magic == FPSIMD_MAGIC {
            if size != FPSIMD_LEN {
                return Err(BadFrame::Register("fpsimd size"));
            }
            let mut fpu = Vec::with_capacity(FPU_LEN);
            fpu.extend_from_slice(&frame[at + 16..at + 528]);
            fpu.extend_from_slice(&frame[at + 8..at + 16]);
            return Ok(Some(SavedFpu::Inline(fpu)));
        }
        at += size;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::UserRegs;
    use crate::signal::{SigAction, SigInfo, Signal};

    #[test]
    fn a_frame_restores_what_it_saved() {
        let mut regs = Regs {
            sp: 0x7000_1230,
            pc: 0x40_1000,
            pstate: 0x6000_0000,
            tpidr: 9,
            ..Regs::default()
        };
        for (i, x) in regs.x.iter_mut().enumerate() {
            *x = i as u64 + 100;
        }
        let before = regs;
        let fpu: Vec<u8> = (0..FPU_LEN).map(|i| i as u8).collect();
        let d = Delivery {
            info: SigInfo::from_kernel(Signal::SIGUSR1),
            action: SigAction { handler: 0x40_2000, ..SigAction::default() },
            mask: SignalSet(0x55),
            altstack: AltStack::NONE,
            stack_top: regs.sp,
            trampoline: 0x1000,
            fpu: &fpu,
        };
        let frame = regs.push_signal_frame(&d);
        assert_eq!(frame.address % 16, 0);
        assert_eq!((regs.pc, regs.x[0], regs.x[30]), (0x40_2000, 10, 0x1000));
        let (at, len) = regs.signal_frame_extent();
        assert_eq!(at, frame.address);
        let restored = regs.pop_signal_frame(&frame.bytes[..len]).unwrap();
        assert_eq!(regs, before);
        assert_eq!(restored.fpu, Some(SavedFpu::Inline(fpu)));
        assert_eq!(restored.mask, SignalSet(0x55));
    }

    #[test]
    fn hostile_records_are_refused() {
        let mut regs = Regs::default();
        let mut bytes = alloc::vec![0; LEN];
        bytes[RECORDS..RECORDS + 4].copy_from_slice(&1_u32.to_le_bytes());
        for size in [0_u32, 8, 17, 5000, u32::MAX] {
            bytes[RECORDS + 4..RECORDS + 8].copy_from_slice(&size.to_le_bytes());
            assert_eq!(regs.pop_signal_frame(&bytes), Err(BadFrame::Register("record size")));
        }
        bytes[PSTATE..PSTATE + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes[RECORDS..RECORDS + 4].fill(0);
        regs.pop_signal_frame(&bytes).unwrap();
        assert_eq!(regs.pstate, PSTATE_USER);
    }
}
