//! aarch64: registers, page-table entries, structures.

mod signal_frame;

use super::{AnyRegs, Isa, IsaKind, OpenFlags, Stat, UserRegs};
use crate::pte::{Bits, PteFormat};
use crate::signal::{BadFrame, Delivery, Restored, SignalFrame};
use crate::syscall::{self, SyscallTable};

/// The aarch64 instruction set (little-endian, LP64).
#[derive(Clone, Copy, Debug)]
pub struct Aarch64;

/// `pstate` bits that a program may set: N Z C V, DIT and SSBS. BTYPE is left out, since no page is
/// guarded.
pub const PSTATE_USER: u64 = 0xf100_1000;

/// General registers and state of a thread in user mode (EL0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Regs {
    /// `x0` to `x30`.
    pub x: [u64; 31],
    /// `sp_el0`.
    pub sp: u64,
    /// `elr_el1`: program counter.
    pub pc: u64,
    /// `spsr_el1`: processor state.
    pub pstate: u64,
    /// `tpidr_el0`: thread pointer.
    pub tpidr: u64,
}

impl Isa for Aarch64 {
    type Regs = Regs;
    const KIND: IsaKind = IsaKind::Aarch64;
    const NAME: &'static str = "aarch64";
    const ELF_MACHINE: u16 = 183;
    const PTE: PteFormat = PteFormat {
        address: 0x0000_ffff_ffff_f000,
        present: 1,
        // Valid table; PXNTable so that EL1 never executes user memory.
        table: 3 | 1 << 59,
        // Valid page, MAIR index 0 (Normal), EL0, inner shareable, accessed, not global, PXN.
        leaf: 3 | 1 << 6 | 3 << 8 | 1 << 10 | 1 << 11 | 1 << 53,
        writable: Bits { set: 0, clear: 1 << 7 },
        executable: Bits { set: 0, clear: 1 << 54 },
    };
    const SYSCALLS: &'static SyscallTable = &syscall::AARCH64;
    const USER_END: u64 = 0x0001_0000_0000_0000;
    // mov x8, #139; svc #0
    const SIGRETURN_CODE: &'static [u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];
    const SIGNAL_FRAME_LEN: usize = signal_frame::LEN;
    const CLONE_TLS_LAST: bool = false;
    const SEMAPHORE_TIMES_ARE_APART: bool = false;
    const EPOLL_EVENT: (usize, usize) = (16, 8);
    const OPEN_FLAGS: OpenFlags = OpenFlags {
        o_directory: 0o40_000,
        o_nofollow: 0o100_000,
        o_direct: 0o200_000,
        o_largefile: 0o400_000,
    };

    fn encode_stat(stat: &Stat, out: &mut [u8; 144]) -> usize {
        *out = [0; 144];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &stat.dev.to_le_bytes());
        put(8, &stat.ino.to_le_bytes());
        put(16, &stat.mode.to_le_bytes());
        put(20, &(stat.nlink as u32).to_le_bytes());
        put(24, &stat.uid.to_le_bytes());
        put(28, &stat.gid.to_le_bytes());
        put(32, &stat.rdev.to_le_bytes());
        put(48, &stat.size.to_le_bytes());
        put(56, &(stat.blksize as i32).to_le_bytes());
        put(64, &stat.blocks.to_le_bytes());
        for (at, time) in [(72, stat.atime), (88, stat.mtime), (104, stat.ctime)] {
            put(at, &(time / 1_000_000_000).to_le_bytes());
            put(at + 8, &(time % 1_000_000_000).to_le_bytes());
        }
        128
    }
}

impl UserRegs for Regs {
    fn start(pc: u64, sp: u64) -> Regs {
        Regs { pc, sp, ..Regs::default() }
    }

    fn pc(&self) -> u64 {
        self.pc
    }

    fn set_pc(&mut self, pc: u64) {
        self.pc = pc;
    }

    fn sp(&self) -> u64 {
        self.sp
    }

    fn set_sp(&mut self, sp: u64) {
        self.sp = sp;
    }

    fn tls(&self) -> u64 {
        self.tpidr
    }

    fn set_tls(&mut self, tls: u64) {
        self.tpidr = tls;
    }

    fn syscall_number(&self) -> u64 {
        self.x[8]
    }

    fn syscall_args(&self) -> [u64; 6] {
        [self.x[0], self.x[1], self.x[2], self.x[3], self.x[4], self.x[5]]
    }

    fn syscall_result(&self) -> u64 {
        self.x[0]
    }

    fn set_syscall_result(&mut self, value: u64) {
        self.x[0] = value;
    }

    fn rewind_syscall(&mut self, number: u64, arg0: u64) {
        // `svc` is four bytes long.
        self.pc = self.pc.wrapping_sub(4);
        self.x[8] = number;
        self.x[0] = arg0;
    }

    fn push_signal_frame(&mut self, delivery: &Delivery<'_>) -> SignalFrame {
        signal_frame::push(self, delivery)
    }

    fn signal_frame_extent(&self) -> (u64, usize) {
        (self.sp, signal_frame::LEN)
    }

    fn pop_signal_frame(&mut self, frame: &[u8]) -> Result<Restored, BadFrame> {
        signal_frame::pop(self, frame)
    }

    fn to_words(&self) -> alloc::vec::Vec<u64> {
        let mut words = self.x.to_vec();
        words.extend([self.sp, self.pc, self.pstate & PSTATE_USER, self.tpidr]);
        words
    }

    fn from_words(words: &[u64]) -> Option<Regs> {
        let (x, rest) = words.split_first_chunk::<31>()?;
        let &[sp, pc, pstate, tpidr] = rest else { return None };
        Some(Regs { x: *x, sp, pc, pstate: pstate & PSTATE_USER, tpidr })
    }

    fn into_any(self) -> AnyRegs {
        AnyRegs::Aarch64(self)
    }

    fn of_any(any: &mut AnyRegs) -> Option<&mut Regs> {
        if let AnyRegs::Aarch64(regs) = any { Some(regs) } else { None }
    }

    fn describe(&self) -> alloc::vec::Vec<(&'static str, u64)> {
        const NAMES: [&str; 31] = [
            "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
            "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25",
            "x26", "x27", "x28", "x29", "x30",
        ];
        let mut all: alloc::vec::Vec<_> = NAMES.into_iter().zip(self.x).collect();
        all.extend([
            ("sp", self.sp),
            ("pc", self.pc),
            ("pstate", self.pstate),
            ("tpidr", self.tpidr),
        ]);
        all
    }
}
