//! An instruction set as a value: for what is decided by where a thread runs, which need not be
//! where its kernel does.

use alloc::vec::Vec;

use super::{Isa, OpenFlags, Stat, UserRegs, aarch64, x86_64};
use crate::Sysno;
use crate::signal::{BadFrame, Delivery, Restored, SignalFrame};
use crate::syscall::SyscallTable;

/// One of the instruction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are Linux's own")]
pub enum IsaKind {
    X86_64,
    Aarch64,
}

/// An expression of the instruction set that a value stands for.
macro_rules! of_kind {
    ($kind:expr, $isa:ident => $value:expr) => {
        match $kind {
            IsaKind::X86_64 => {
                type $isa = x86_64::X86_64;
                $value
            }
            IsaKind::Aarch64 => {
                type $isa = aarch64::Aarch64;
                $value
            }
        }
    };
}

impl IsaKind {
    /// Every instruction set.
    pub const ALL: [IsaKind; 2] = [IsaKind::X86_64, IsaKind::Aarch64];

    /// The one whose ELF files have this `e_machine`.
    #[must_use]
    pub fn of_elf_machine(machine: u16) -> Option<IsaKind> {
        Self::ALL.into_iter().find(|kind| kind.elf_machine() == machine)
    }

    /// See [`Isa::NAME`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        of_kind!(self, I => I::NAME)
    }

    /// See [`Isa::ELF_MACHINE`].
    #[must_use]
    pub const fn elf_machine(self) -> u16 {
        of_kind!(self, I => I::ELF_MACHINE)
    }

    /// See [`Isa::SYSCALLS`].
    #[must_use]
    pub const fn syscalls(self) -> &'static SyscallTable {
        of_kind!(self, I => I::SYSCALLS)
    }

    /// See [`Isa::number_of`].
    #[must_use]
    pub fn number_of(self, call: Sysno) -> Option<u64> {
        of_kind!(self, I => I::number_of(call))
    }

    /// See [`Isa::USER_END`].
    #[must_use]
    pub const fn user_end(self) -> u64 {
        of_kind!(self, I => I::USER_END)
    }

    /// See [`Isa::CLONE_TLS_LAST`].
    #[must_use]
    pub const fn clone_tls_last(self) -> bool {
        of_kind!(self, I => I::CLONE_TLS_LAST)
    }

    /// See [`Isa::SEMAPHORE_TIMES_ARE_APART`].
    #[must_use]
    pub const fn semaphore_times_are_apart(self) -> bool {
        of_kind!(self, I => I::SEMAPHORE_TIMES_ARE_APART)
    }

    /// See [`Isa::OPEN_FLAGS`].
    #[must_use]
    pub const fn open_flags(self) -> OpenFlags {
        of_kind!(self, I => I::OPEN_FLAGS)
    }

    /// See [`Isa::EPOLL_EVENT`].
    #[must_use]
    pub const fn epoll_event(self) -> (usize, usize) {
        of_kind!(self, I => I::EPOLL_EVENT)
    }

    /// See [`Isa::encode_stat`].
    pub fn encode_stat(self, stat: &Stat, out: &mut [u8; 144]) -> usize {
        of_kind!(self, I => I::encode_stat(stat, out))
    }

    /// See [`UserRegs::start`].
    #[must_use]
    pub fn start(self, pc: u64, sp: u64) -> AnyRegs {
        of_kind!(self, I => <I as Isa>::Regs::start(pc, sp).into_any())
    }

    /// See [`UserRegs::from_words`].
    #[must_use]
    pub fn regs_from_words(self, words: &[u64]) -> Option<AnyRegs> {
        of_kind!(self, I => <I as Isa>::Regs::from_words(words).map(UserRegs::into_any))
    }
}

/// A thread's user-mode registers on whichever instruction set it runs. Its methods are those of
/// [`UserRegs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the instruction sets")]
pub enum AnyRegs {
    X86_64(x86_64::Regs),
    Aarch64(aarch64::Regs),
}

macro_rules! forward {
    ($self:ident, $regs:ident => $value:expr) => {
        match $self {
            AnyRegs::X86_64($regs) => $value,
            AnyRegs::Aarch64($regs) => $value,
        }
    };
}

#[allow(missing_docs, reason = "see the methods of the same names of UserRegs")]
impl AnyRegs {
    /// Where the thread runs.
    #[must_use]
    pub const fn kind(&self) -> IsaKind {
        match self {
            AnyRegs::X86_64(_) => IsaKind::X86_64,
            AnyRegs::Aarch64(_) => IsaKind::Aarch64,
        }
    }

    #[must_use]
    pub fn pc(&self) -> u64 {
        forward!(self, regs => regs.pc())
    }

    pub fn set_pc(&mut self, pc: u64) {
        forward!(self, regs => regs.set_pc(pc));
    }

    #[must_use]
    pub fn sp(&self) -> u64 {
        forward!(self, regs => regs.sp())
    }

    pub fn set_sp(&mut self, sp: u64) {
        forward!(self, regs => regs.set_sp(sp));
    }

    #[must_use]
    pub fn tls(&self) -> u64 {
        forward!(self, regs => regs.tls())
    }

    pub fn set_tls(&mut self, tls: u64) {
        forward!(self, regs => regs.set_tls(tls));
    }

    #[must_use]
    pub fn syscall_number(&self) -> u64 {
        forward!(self, regs => regs.syscall_number())
    }

    #[must_use]
    pub fn syscall_args(&self) -> [u64; 6] {
        forward!(self, regs => regs.syscall_args())
    }

    #[must_use]
    pub fn syscall_result(&self) -> u64 {
        forward!(self, regs => regs.syscall_result())
    }

    pub fn set_syscall_result(&mut self, value: u64) {
        forward!(self, regs => regs.set_syscall_result(value));
    }

    pub fn rewind_syscall(&mut self, number: u64, arg0: u64) {
        forward!(self, regs => regs.rewind_syscall(number, arg0));
    }

    pub fn push_signal_frame(&mut self, delivery: &Delivery<'_>) -> SignalFrame {
        forward!(self, regs => regs.push_signal_frame(delivery))
    }

    #[must_use]
    pub fn signal_frame_extent(&self) -> (u64, usize) {
        forward!(self, regs => regs.signal_frame_extent())
    }

    /// # Errors
    /// As [`UserRegs::pop_signal_frame`].
    pub fn pop_signal_frame(&mut self, frame: &[u8]) -> Result<Restored, BadFrame> {
        forward!(self, regs => regs.pop_signal_frame(frame))
    }

    #[must_use]
    pub fn to_words(&self) -> Vec<u64> {
        forward!(self, regs => regs.to_words())
    }

    #[must_use]
    pub fn describe(&self) -> Vec<(&'static str, u64)> {
        forward!(self, regs => regs.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_for_its_instruction_set() {
        for kind in IsaKind::ALL {
            assert_eq!(IsaKind::of_elf_machine(kind.elf_machine()), Some(kind));
            let mut regs = kind.start(0x1000, 0x2000);
            regs.set_tls(7);
            assert_eq!((regs.kind(), regs.pc(), regs.sp(), regs.tls()), (kind, 0x1000, 0x2000, 7));
            assert_eq!(kind.regs_from_words(&regs.to_words()), Some(regs));
        }
        assert_eq!(IsaKind::of_elf_machine(3), None);
        assert_eq!(IsaKind::X86_64.syscalls()[39], Some(Sysno::Getpid));
        assert_eq!(IsaKind::Aarch64.syscalls()[172], Some(Sysno::Getpid));
    }

    #[test]
    fn registers_are_only_taken_as_those_of_their_own_instruction_set() {
        let mut regs = IsaKind::Aarch64.start(0, 0);
        assert!(x86_64::Regs::of_any(&mut regs).is_none());
        assert!(aarch64::Regs::of_any(&mut regs).is_some());
    }
}
