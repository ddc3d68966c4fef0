//! x86_64: registers, page-table entries, structures.

mod signal_frame;

use super::{AnyRegs, Isa, IsaKind, OpenFlags, Stat, UserRegs};
use crate::pte::{Bits, PteFormat};
use crate::signal::{BadFrame, Delivery, Restored, SignalFrame};
use crate::syscall::{self, SyscallTable};

/// The x86_64 instruction set.
#[derive(Clone, Copy, Debug)]
pub struct X86_64;

/// `rflags` bits that a program may set: CF PF AF ZF SF TF DF OF RF NT AC ID.
pub const RFLAGS_USER: u64 = 0x0025_4dd5;

/// `rflags` bits that are always set in user mode: the fixed bit 1 and IF.
pub const RFLAGS_FIXED: u64 = 0x202;

/// General registers, instruction pointer, flags and segment bases of a thread in user mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the processor's own")]
pub struct Regs {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub fs_base: u64,
    pub gs_base: u64,
}

impl Isa for X86_64 {
    type Regs = Regs;
    const KIND: IsaKind = IsaKind::X86_64;
    const NAME: &'static str = "x86_64";
    const ELF_MACHINE: u16 = 62;
    const PTE: PteFormat = PteFormat {
        address: 0x000f_ffff_ffff_f000,
        present: 1,
        // Present, writable, user, accessed: rights are decided at the leaf.
        table: 0x27,
        // Present, user, accessed, dirty: the last two so that the processor never writes here.
        leaf: 0x65,
        writable: Bits { set: 2, clear: 0 },
        executable: Bits { set: 0, clear: 1 << 63 },
    };
    const SYSCALLS: &'static SyscallTable = &syscall::X86_64;
    const USER_END: u64 = 0x7fff_ffff_f000;
    // mov eax, 15; syscall
    const SIGRETURN_CODE: &'static [u8] = &[0xb8, 15, 0, 0, 0, 0x0f, 0x05];
    const SIGNAL_FRAME_LEN: usize = signal_frame::LEN;
    const CLONE_TLS_LAST: bool = true;
    const SEMAPHORE_TIMES_ARE_APART: bool = true;
    // Packed, so that it is as on i386.
    const EPOLL_EVENT: (usize, usize) = (12, 4);
    const OPEN_FLAGS: OpenFlags = OpenFlags {
        o_directory: 0o200_000,
        o_nofollow: 0o400_000,
        o_direct: 0o40_000,
        o_largefile: 0o100_000,
    };

    fn encode_stat(stat: &Stat, out: &mut [u8; 144]) -> usize {
        *out = [0; 144];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &stat.dev.to_le_bytes());
        put(8, &stat.ino.to_le_bytes());
        put(16, &stat.nlink.to_le_bytes());
        put(24, &stat.mode.to_le_bytes());
        put(28, &stat.uid.to_le_bytes());
        put(32, &stat.gid.to_le_bytes());
        put(40, &stat.rdev.to_le_bytes());
        put(48, &stat.size.to_le_bytes());
        put(56, &stat.blksize.to_le_bytes());
        put(64, &stat.blocks.to_le_bytes());
        for (at, time) in [(72, stat.atime), (88, stat.mtime), (104, stat.ctime)] {
            put(at, &(time / 1_000_000_000).to_le_bytes());
            put(at + 8, &(time % 1_000_000_000).to_le_bytes());
        }
        144
    }
}

impl UserRegs for Regs {
    fn start(pc: u64, sp: u64) -> Regs {
        Regs { rip: pc, rsp: sp, rflags: RFLAGS_FIXED, ..Regs::default() }
    }

    fn pc(&self) -> u64 {
        self.rip
    }

    fn set_pc(&mut self, pc: u64) {
        self.rip = pc;
    }

    fn sp(&self) -> u64 {
        self.rsp
    }

    fn set_sp(&mut self, sp: u64) {
        self.rsp = sp;
    }

    fn tls(&self) -> u64 {
        self.fs_base
    }

    fn set_tls(&mut self, tls: u64) {
        self.fs_base = tls;
    }

    fn syscall_number(&self) -> u64 {
        self.rax
    }

    fn syscall_args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    fn syscall_result(&self) -> u64 {
        self.rax
    }

    fn set_syscall_result(&mut self, value: u64) {
        self.rax = value;
    }

    fn rewind_syscall(&mut self, number: u64, _arg0: u64) {
        // `syscall` is two bytes long.
        self.rip = self.rip.wrapping_sub(2);
        self.rax = number;
    }

    fn push_signal_frame(&mut self, delivery: &Delivery<'_>) -> SignalFrame {
        signal_frame::push(self, delivery)
    }

    fn signal_frame_extent(&self) -> (u64, usize) {
        signal_frame::extent(self)
    }

    fn pop_signal_frame(&mut self, frame: &[u8]) -> Result<Restored, BadFrame> {
        signal_frame::pop(self, frame)
    }

    fn to_words(&self) -> alloc::vec::Vec<u64> {
        let user = Regs { rflags: self.rflags & RFLAGS_USER, ..*self };
        user.describe().into_iter().map(|(_, word)| word).collect()
    }

    fn from_words(words: &[u64]) -> Option<Regs> {
        let &[
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            rsp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rip,
            rflags,
            fs_base,
            gs_base,
        ] = words
        else {
            return None;
        };
        let rflags = rflags & RFLAGS_USER | RFLAGS_FIXED;
        Some(Regs {
            rax,
            rbx,
            rcx,
            rdx,
            rsi,
            rdi,
            rbp,
            rsp,
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rip,
            rflags,
            fs_base,
            gs_base,
        })
    }

    fn into_any(self) -> AnyRegs {
        AnyRegs::X86_64(self)
    }

    fn of_any(any: &mut AnyRegs) -> Option<&mut Regs> {
        if let AnyRegs::X86_64(regs) = any { Some(regs) } else { None }
    }

    fn describe(&self) -> alloc::vec::Vec<(&'static str, u64)> {
        alloc::vec![
            ("rax", self.rax),
            ("rbx", self.rbx),
            ("rcx", self.rcx),
            ("rdx", self.rdx),
            ("rsi", self.rsi),
            ("rdi", self.rdi),
            ("rbp", self.rbp),
            ("rsp", self.rsp),
            ("r8", self.r8),
            ("r9", self.r9),
            ("r10", self.r10),
            ("r11", self.r11),
            ("r12", self.r12),
            ("r13", self.r13),
            ("r14", self.r14),
            ("r15", self.r15),
            ("rip", self.rip),
            ("rflags", self.rflags),
            ("fs_base", self.fs_base),
            ("gs_base", self.gs_base),
        ]
    }
}
