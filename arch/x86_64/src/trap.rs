//! The entry code's other side: entering user mode, interrupts noted in the kernel's windows, and
//! faults of the kernel.
#![allow(unsafe_code, reason = "the way into user mode")]

use core::arch::{asm, global_asm};

use maize_abi::isa::x86_64::Regs;
use spin::Once;

use crate::segments::Shared;

global_asm!(include_str!("entry.s"), options(att_syntax));

/// The vector `enter_user` returns for a system call.
pub(crate) const SYSCALL: u64 = 256;

/// What stopped user code.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Stop {
    pub(crate) vector: u64,
    pub(crate) error: u64,
}

unsafe extern "C" {
    /// Runs user code with `regs` until it stops, with `sysret` in place of `iretq` if
    /// `by_sysret` is 1.
    pub(crate) fn enter_user(regs: *mut Regs, by_sysret: u32) -> Stop;
}

/// Bit per vector: interrupts taken in the kernel's windows, not yet acknowledged.
#[unsafe(no_mangle)]
static MAIZE_PENDING: Shared<[u64; 4]> = Shared::new([0; 4]);

/// Takes the noted interrupts.
pub(crate) fn take_noted() -> [u64; 4] {
    // SAFETY: interrupts are off here, so the entry code does not write meanwhile.
    unsafe { MAIZE_PENDING.get().replace([0; 4]) }
}

/// Whether an interrupt was noted.
pub(crate) fn any_noted() -> bool {
    // SAFETY: as above.
    unsafe { MAIZE_PENDING.get().read() }.iter().any(|word| *word != 0)
}

/// Lets pending interrupts be noted, without waiting.
pub(crate) fn open_window() {
    // SAFETY: the handlers of the window only note the vector. The `nop` is there because the
    // instruction after `sti` is still shielded.
    unsafe { asm!("sti", "nop", "cli", options(nostack)) }
}

/// Waits until an interrupt was noted. One that comes between the check before and the halt is not
/// slept over: `sti` shields the `hlt`.
pub(crate) fn halt_in_window() {
    // SAFETY: as in `open_window`.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) }
}

/// The processor's state at a fault in the kernel, as the entry code pushes it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are the processor's own")]
pub struct FaultFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl FaultFrame {
    /// All registers by name, with the control registers that explain a fault.
    #[must_use]
    pub fn registers(&self) -> [(&'static str, u64); 22] {
        let (cr2, cr3): (u64, u64);
        // SAFETY: reads two registers.
        unsafe {
            asm!("mov {}, cr2", "mov {}, cr3", out(reg) cr2, out(reg) cr3, options(nomem, nostack));
        }
        [
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
            ("cs", self.cs),
            ("error", self.error),
            ("cr2", cr2),
            ("cr3", cr3),
        ]
    }
}

static ON_KERNEL_FAULT: Once<fn(&FaultFrame) -> !> = Once::new();

/// Has `handler` called when the kernel faults. Only the first call counts.
pub fn on_kernel_fault(handler: fn(&FaultFrame) -> !) {
    ON_KERNEL_FAULT.call_once(|| handler);
}

#[unsafe(no_mangle)]
extern "C" fn maize_kernel_fault(frame: &FaultFrame) -> ! {
    if let Some(handler) = ON_KERNEL_FAULT.get() {
        handler(frame)
    }
    crate::ports::stop()
}
