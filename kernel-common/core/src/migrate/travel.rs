//! What travels: a thread's user mode, and the trap that ends its stay.

use alloc::vec::Vec;

use maize_abi::pte::Access;
use maize_abi::signal::Signal;
use maize_abi::{AnyRegs, Isa, IsaKind};
use maize_hal::{Arch, Exception, FpuState, Interrupts, PageFault, Trap};
use serde::{Deserialize, Serialize};

use crate::group::SpaceKey;
use crate::thread::{RseqArea, Thread};

/// A thread that is to run somewhere else. Its id is the request's asker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stay {
    pub(crate) space: SpaceKey,
    pub(crate) pid: u32,
    pub(crate) user: UserMode,
    /// Whether it is asked to move at its next migration point.
    pub(crate) bound: bool,
    /// Address, length and signature of the thread's `rseq` area.
    pub(crate) rseq: Option<(u64, u32, u32)>,
}

/// A thread's registers, in its instruction set's order, and its FPU state in its processor's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserMode {
    regs: Vec<u64>,
    fpu: Vec<u8>,
}

/// A thread that comes home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departure {
    pub(crate) user: UserMode,
    pub(crate) trap: TrapRecord,
    /// Nanoseconds in user mode.
    pub(crate) user_time: u64,
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
}

impl UserMode {
    /// Of a thread whose saved FPU state is up to date.
    pub(crate) fn of(thread: &Thread) -> UserMode {
        UserMode { regs: thread.regs.to_words(), fpu: thread.fpu.bytes().to_vec() }
    }

    /// The state of a thread of instruction set `isa`, for an instance on `arch`. `None` if it is not of
    /// that instruction set.
    pub(crate) fn load<A: Arch>(&self, isa: IsaKind, arch: &A) -> Option<(AnyRegs, FpuState)> {
        let regs = isa.regs_from_words(&self.regs)?;
        let fpu = if isa != <A::Isa as Isa>::KIND {
            // It is looked at where it can be loaded.
            let mut state = FpuState::zeroed(self.fpu.len());
            state.bytes_mut().copy_from_slice(&self.fpu);
            state
        } else if self.fpu.is_empty() {
            arch.fpu_initial()
        } else if self.fpu.len() == arch.fpu_len() {
            arch.sanitize_fpu(&self.fpu)
        } else {
            return None;
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
            TrapRecord::Syscall => Trap::Syscall,
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
