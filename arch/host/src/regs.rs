//! The registers of both instruction sets under the names that scripted programs use.

use maize_abi::UserRegs;
use maize_abi::isa::{aarch64, x86_64};

/// A register of a scripted program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reg {
    /// System-call argument 0 to 5; a handler's arguments too (0 to 2).
    A(u8),
    /// System-call number.
    Nr,
    /// System-call result. On aarch64 that is `A(0)`, on x86_64 `Nr`.
    Ret,
    /// One of six that calls and system calls leave alone.
    S(u8),
    /// Stack pointer.
    Sp,
}

impl Reg {
    const S_FIRST: u8 = 8;

    pub(crate) const fn encode(self) -> u8 {
        match self {
            Reg::A(n) => n,
            Reg::Nr => 6,
            Reg::Ret => 7,
            Reg::S(n) => Reg::S_FIRST + n,
            Reg::Sp => 14,
        }
    }

    pub(crate) const fn decode(byte: u8) -> Option<Reg> {
        match byte {
            n @ 0..6 => Some(Reg::A(n)),
            6 => Some(Reg::Nr),
            7 => Some(Reg::Ret),
            n @ 8..14 => Some(Reg::S(n - Reg::S_FIRST)),
            14 => Some(Reg::Sp),
            _ => None,
        }
    }
}

/// Register files that scripted programs can use.
pub trait ScriptRegs: UserRegs {
    /// The place of a register.
    fn slot(&mut self, reg: Reg) -> &mut u64;

    /// Where a called function finds its return address: in a register, or pushed on the stack.
    fn link(&mut self) -> Link<'_>;
}

/// Where a return address is.
#[derive(Debug)]
pub enum Link<'a> {
    /// In this register.
    Register(&'a mut u64),
    /// On the stack.
    Stack,
}

impl ScriptRegs for x86_64::Regs {
    fn slot(&mut self, reg: Reg) -> &mut u64 {
        match reg {
            Reg::A(0) => &mut self.rdi,
            Reg::A(1) => &mut self.rsi,
            Reg::A(2) => &mut self.rdx,
            Reg::A(3) => &mut self.r10,
            Reg::A(4) => &mut self.r8,
            Reg::A(_) => &mut self.r9,
            Reg::Nr | Reg::Ret => &mut self.rax,
            Reg::S(0) => &mut self.rbx,
            Reg::S(1) => &mut self.rbp,
            Reg::S(2) => &mut self.r12,
            Reg::S(3) => &mut self.r13,
            Reg::S(4) => &mut self.r14,
            Reg::S(_) => &mut self.r15,
            Reg::Sp => &mut self.rsp,
        }
    }

    fn link(&mut self) -> Link<'_> {
        Link::Stack
    }
}

impl ScriptRegs for aarch64::Regs {
    fn slot(&mut self, reg: Reg) -> &mut u64 {
        match reg {
            Reg::A(n) => &mut self.x[usize::from(n)],
            Reg::Nr => &mut self.x[8],
            Reg::Ret => &mut self.x[0],
            Reg::S(n) => &mut self.x[19 + usize::from(n)],
            Reg::Sp => &mut self.sp,
        }
    }

    fn link(&mut self) -> Link<'_> {
        Link::Register(&mut self.x[30])
    }
}
