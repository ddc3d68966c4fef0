//! What travels: a thread's user mode, and the trap that ends its stay.

use alloc::vec::Vec;

use maize_abi::pte::Access;
use maize_abi::signal::Signal;
use maize_abi::{AnyRegs, Isa, IsaKind};
use maize_hal::{Arch, Exception, FpuState, Interrupts, PageFault, Trap};
use serde::{Deserialize, Serialize};

use super::luggage::Luggage;
use super::packed::Packed;
use crate::group::SpaceKey;
use crate::thread::{RseqArea, Thread};

/// A thread that is to run somewhere else. Its id is the request's asker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stay {
    pub(crate) space: SpaceKey,
    pub(crate) pid: u32,
    pub(crate) user: UserMode,
    /// Whether it is to look at its next migration point.
    pub(crate) bound: bool,
    /// Addresses of pages that it is going to write first and that do not follow, at most
    /// [`super::ahead::MOST`].
    pub(crate) ahead: Vec<u64>,
    /// Address, length and signature of the thread's `rseq` area.
    pub(crate) rseq: Option<(u64, u32, u32)>,
    /// The home's monotonic clock, in nanoseconds: the thread is shown no earlier time.
    pub(crate) now: u64,
    /// Whether the process has a clock of its own, which only the home knows.
    pub(crate) own_clock: bool,
    /// Pages that follow, at most [`super::luggage::MOST`].
    pub(crate) luggage: Vec<Luggage>,
    /// Numbers of pages whose futexes the receiver is to serve from now on.
    pub(crate) futexes: Vec<u64>,
}

/// A thread's registers, in its instruction set's order, and its FPU state in its processor's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserMode {
    regs: Packed,
    fpu: Packed,
}

/// A thread that comes home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departure {
    pub(crate) user: UserMode,
    pub(crate) trap: TrapRecord,
    /// Nanoseconds in user mode.
    pub(crate) user_time: u64,
    /// The latest time of the home's monotonic clock that the thread was shown, or 0.
    pub(crate) shown: u64,
}

/// Why user mode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TrapRecord {
    Syscall,
    PageFault {
        address: u64,
        access: u8,
    },
    Exception {
        signal: u8,
        code: i32,
        address: u64,
    },
    Interrupt,
    /// A page fault that can only be served at home, where the thread has to run.
    NeedsHome {
        address: u64,
        access: u8,
    },
    /// A call of `FUTEX_WAIT` that waits already: at home, since its futex was called back.
    Waiting,
}

/// No instruction set has more general registers.
const MOST_REGISTERS: usize = 64;

/// Nor a longer FPU state.
const MOST_FPU_WORDS: usize = 1024;

impl UserMode {
    /// Of a thread whose saved FPU state is up to date.
    pub(crate) fn of(thread: &Thread) -> UserMode {
        UserMode {
            regs: Packed::words(&thread.regs.to_words()),
            fpu: Packed::bytes(thread.fpu.bytes()),
        }
    }

    /// Of a thread that goes; its FPU state is as it came if nobody has needed it.
    pub(crate) fn take(thread: &mut Thread) -> UserMode {
        match thread.take_packed_fpu() {
            Some(fpu) => UserMode { regs: Packed::words(&thread.regs.to_words()), fpu },
            None => UserMode::of(thread),
        }
    }

    /// Gives a thread this state, with an FPU state of this instance's as it is. False if it is not of the
    /// thread's instruction set.
    pub(crate) fn give<A: Arch>(self, thread: &mut Thread, arch: &A) -> bool {
        let isa = thread.isa();
        if isa == <A::Isa as Isa>::KIND && self.fpu.is_of(arch.fpu_len().div_ceil(8)) {
            let Some(regs) = self.regs(isa) else { return false };
            thread.regs = regs;
            thread.set_packed_fpu(self.fpu);
            return true;
        }
        let Some((regs, fpu)) = self.load(isa, arch) else { return false };
        thread.regs = regs;
        thread.set_fpu(fpu);
        true
    }

    fn regs(&self, isa: IsaKind) -> Option<AnyRegs> {
        let mut words = [0; MOST_REGISTERS];
        let count = self.regs.to_words(&mut words)?;
        isa.regs_from_words(&words[..count])
    }

    /// The state of a thread of instruction set `isa`, for an instance on `arch`. `None` if it is not of
    /// that instruction set.
    pub(crate) fn load<A: Arch>(&self, isa: IsaKind, arch: &A) -> Option<(AnyRegs, FpuState)> {
        let regs = self.regs(isa)?;
        let fpu = if isa != <A::Isa as Isa>::KIND {
            // It is looked at where it can be loaded.
            let mut state = FpuState::zeroed(8 * self.fpu.count(MOST_FPU_WORDS)?);
            self.fpu.to_bytes(state.bytes_mut())?;
            state
        } else if self.fpu.is_empty() {
            arch.fpu_initial()
        } else {
            self.fpu.to_fpu(arch)?
        };
        Some((regs, fpu))
    }
}

impl TrapRecord {
    pub(crate) fn of(trap: Trap) -> TrapRecord {
        match trap {
            Trap::Syscall => TrapRecord::Syscall,
            Trap::PageFault(PageFault { address, access }) => {
                TrapRecord::PageFault { address, access: access.bits() }
            }
            Trap::Exception(Exception { signal, code, address }) => {
                TrapRecord::Exception { signal: signal.number(), code, address }
            }
            Trap::Interrupt(_) => TrapRecord::Interrupt,
        }
    }

    /// The trap as the home serves it; `None` if there is no such trap.
    pub(crate) fn trap(self) -> Option<Trap> {
        Some(match self {
            TrapRecord::Syscall | TrapRecord::Waiting => Trap::Syscall,
            TrapRecord::PageFault { address, access }
            | TrapRecord::NeedsHome { address, access } => {
                let access = Access::from_bits(access)?;
                Trap::PageFault(PageFault { address, access })
            }
            TrapRecord::Exception { signal, code, address } => {
                let signal = Signal::new(u64::from(signal))?;
                Trap::Exception(Exception { signal, code, address })
            }
            TrapRecord::Interrupt => Trap::Interrupt(Interrupts::empty()),
        })
    }
}

/// The `rseq` area as it travels.
pub(crate) fn rseq_record(area: Option<RseqArea>) -> Option<(u64, u32, u32)> {
    area.map(|area| (area.address, area.len, area.signature))
}

/// The `rseq` area of a thread that has arrived.
pub(crate) fn rseq_area(record: Option<(u64, u32, u32)>) -> Option<RseqArea> {
    record.map(|(address, len, signature)| RseqArea { address, len, signature })
}
