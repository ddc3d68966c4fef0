//! What differs between instruction sets, as values.

pub mod aarch64;
mod kind;
pub mod x86_64;

use core::fmt::Debug;

use crate::pte::PteFormat;
use crate::signal::{BadFrame, Delivery, Restored, SignalFrame};
use crate::syscall::SyscallTable;

pub use kind::{AnyRegs, IsaKind};

/// One instruction set.
pub trait Isa: Copy + Debug + 'static {
    /// The registers of a thread in user mode, without FPU and SIMD.
    type Regs: UserRegs;

    /// The same as a value.
    const KIND: IsaKind;

    /// Linux's name, as `uname -m` prints it.
    const NAME: &'static str;

    /// `e_machine` of its ELF files.
    const ELF_MACHINE: u16;

    /// Its page-table entries.
    const PTE: PteFormat;

    /// Its system calls by number.
    const SYSCALLS: &'static SyscallTable;

    /// The number of `call`, if this instruction set has it.
    #[must_use]
    fn number_of(call: crate::Sysno) -> Option<u64> {
        Self::SYSCALLS.iter().position(|c| *c == Some(call)).map(|n| n as u64)
    }

    /// First virtual address above user space.
    const USER_END: u64;

    /// Machine code of a page that ends a signal handler: calls `rt_sigreturn` from offset 0.
    const SIGRETURN_CODE: &'static [u8];

    /// `AT_MINSIGSTKSZ`'s part without the FPU state, in bytes.
    const SIGNAL_FRAME_LEN: usize;

    /// Whether `clone` takes the thread pointer after the child's tid address, not before.
    const CLONE_TLS_LAST: bool;

    /// Whether a word follows each of the times of `struct semid64_ds`, as if they could grow.
    const SEMAPHORE_TIMES_ARE_APART: bool;

    /// Values of `open` flags that differ: `O_DIRECTORY`, `O_NOFOLLOW`, `O_DIRECT`, `O_LARGEFILE`.
    const OPEN_FLAGS: OpenFlags;

    /// Bytes of a `struct epoll_event`, and where its data is.
    const EPOLL_EVENT: (usize, usize);

    /// Encodes a `struct stat` and returns its length (144 on x86_64, 128 on aarch64).
    fn encode_stat(stat: &Stat, out: &mut [u8; 144]) -> usize;
}

/// `open` flags whose values differ between instruction sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Linux's own")]
pub struct OpenFlags {
    pub o_directory: u32,
    pub o_nofollow: u32,
    pub o_direct: u32,
    pub o_largefile: u32,
}

/// What `stat` tells, before an instruction set lays it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are Linux's own")]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub nlink: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: i64,
    pub blksize: i64,
    pub blocks: i64,
    /// Nanoseconds since the epoch.
    pub atime: u64,
    /// Nanoseconds since the epoch.
    pub mtime: u64,
    /// Nanoseconds since the epoch.
    pub ctime: u64,
}

/// A thread's user-mode registers, without FPU and SIMD.
pub trait UserRegs: Clone + Debug + Default + Send + 'static {
    /// Registers of a thread that starts at `pc` with stack pointer `sp` and all else zero.
    fn start(pc: u64, sp: u64) -> Self;

    /// Program counter.
    fn pc(&self) -> u64;

    /// Sets the program counter.
    fn set_pc(&mut self, pc: u64);

    /// Stack pointer.
    fn sp(&self) -> u64;

    /// Sets the stack pointer.
    fn set_sp(&mut self, sp: u64);

    /// Thread pointer (`fs` base, `tpidr_el0`).
    fn tls(&self) -> u64;

    /// Sets the thread pointer.
    fn set_tls(&mut self, tls: u64);

    /// The system-call number, right after a system-call trap.
    fn syscall_number(&self) -> u64;

    /// The six arguments, right after a system-call trap.
    fn syscall_args(&self) -> [u64; 6];

    /// The register that a system call returns in.
    fn syscall_result(&self) -> u64;

    /// Sets the register that a system call returns in.
    fn set_syscall_result(&mut self, value: u64);

    /// Makes the thread execute its system-call instruction again, with `number` and with the
    /// first argument that the result register may have overwritten.
    fn rewind_syscall(&mut self, number: u64, arg0: u64);

    /// Enters a handler: changes the registers to run it and returns the frame to write.
    ///
    /// The registers must not be used if writing the frame fails.
    fn push_signal_frame(&mut self, delivery: &Delivery<'_>) -> SignalFrame;

    /// Where the frame of a handler that calls `rt_sigreturn` now starts, and its length in bytes
    /// without what [`crate::signal::SavedFpu::At`] points to.
    fn signal_frame_extent(&self) -> (u64, usize);

    /// Takes the registers back from a frame.
    ///
    /// # Errors
    /// [`BadFrame`] if the frame is short or holds what user mode may not have; the registers are
    /// then unchanged.
    fn pop_signal_frame(&mut self, frame: &[u8]) -> Result<Restored, BadFrame>;

    /// The registers as they travel to another instance, in the order of the structure.
    fn to_words(&self) -> alloc::vec::Vec<u64>;

    /// The registers out of what [`Self::to_words`] gave, perhaps on an instance that is not to be
    /// trusted: `None` if the number of words is wrong. Flags that user mode may not have are
    /// cleared; addresses are checked by whoever loads them, as those of a program are anyway.
    fn from_words(words: &[u64]) -> Option<Self>;

    /// The same registers, with their instruction set.
    fn into_any(self) -> AnyRegs;

    /// The registers of a thread, if it runs on this instruction set.
    fn of_any(any: &mut AnyRegs) -> Option<&mut Self>;

    /// The general registers by name for a report of a fatal fault.
    fn describe(&self) -> alloc::vec::Vec<(&'static str, u64)>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn travels<R: UserRegs + PartialEq>(words: usize) {
        let numbers: alloc::vec::Vec<u64> = (0..words as u64).map(|n| u64::MAX - n).collect();
        let regs = R::from_words(&numbers).unwrap();
        assert_eq!(R::from_words(&regs.to_words()), Some(regs));
        assert!(R::from_words(&numbers[1..]).is_none());
    }

    #[test]
    fn registers_travel_without_what_user_mode_may_not_have() {
        travels::<x86_64::Regs>(20);
        travels::<aarch64::Regs>(35);
        let mut words = [0; 20];
        words[17] = u64::MAX;
        let flags = x86_64::Regs::from_words(&words).unwrap().rflags;
        assert_eq!(flags, x86_64::RFLAGS_USER | x86_64::RFLAGS_FIXED);
    }
}
