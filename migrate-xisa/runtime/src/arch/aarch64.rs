//! aarch64.
//!
//! Soundness: the assembly keeps AAPCS64. `maize_install` is given the registers of a frame that is
//! on the stack, or of `maize_enter`. Vector registers are saved for the frame that polled, whose
//! convention keeps them all.

use core::arch::{asm, global_asm};

use crate::clone::STACK_TOP;
use crate::records::ThreadBlock;
use crate::top::TOP_BYTES;

pub(crate) const ISA: maize_xisa_metadata::Isa = maize_xisa_metadata::Isa::Aarch64;

/// Registers of a frame: `x0` to `x30`, the stack pointer, the program counter; and `v0` to `v31`.
#[repr(C, align(16))]
pub(crate) struct Registers {
    pub(crate) general: [u64; 34],
    vector: [[u64; 2]; 32],
}

pub(super) const SP: usize = 31;
pub(super) const PC: usize = 32;

/// Vector registers whose low half a callee keeps: from `v8` on.
const FIRST_LOW: usize = 8;

impl Registers {
    /// Those that a callee keeps.
    pub(crate) fn kept(&self) -> Kept {
        let low = core::array::from_fn(|n| self.vector[FIRST_LOW + n][0]);
        Kept { general: self.general, low }
    }

    /// The first two arguments of the call.
    pub(crate) fn arguments(&self) -> [u64; 2] {
        [self.general[0], self.general[1]]
    }
}

/// The registers of a frame that is in a call: the general ones by the same numbers, and the low halves of
/// `v8` to `v15`.
#[derive(Clone)]
#[repr(C)]
pub(crate) struct Kept {
    pub(super) general: [u64; 34],
    low: [u64; 8],
}

impl Kept {
    /// The place of a register by DWARF's number, if unwinding restores it.
    pub(crate) fn of_dwarf(&mut self, number: u16) -> Option<&mut u64> {
        match number {
            0..=31 => self.general.get_mut(usize::from(number)),
            72..=79 => self.low.get_mut(usize::from(number - 72)),
            _ => None,
        }
    }
}

// The whole of a frame's registers, as its callee finds them.
global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    ".macro maize_capture handler",
    "sub sp, sp, #784",
    "stp x0, x1, [sp, #0]",
    "stp x2, x3, [sp, #16]",
    "stp x4, x5, [sp, #32]",
    "stp x6, x7, [sp, #48]",
    "stp x8, x9, [sp, #64]",
    "stp x10, x11, [sp, #80]",
    "stp x12, x13, [sp, #96]",
    "stp x14, x15, [sp, #112]",
    "stp x16, x17, [sp, #128]",
    "stp x18, x19, [sp, #144]",
    "stp x20, x21, [sp, #160]",
    "stp x22, x23, [sp, #176]",
    "stp x24, x25, [sp, #192]",
    "stp x26, x27, [sp, #208]",
    "stp x28, x29, [sp, #224]",
    "str x30, [sp, #240]",
    "add x16, sp, #784",
    "str x16, [sp, #248]",
    "str x30, [sp, #256]",
    "add x16, sp, #272",
    "stp q0, q1, [x16, #0]",
    "stp q2, q3, [x16, #32]",
    "stp q4, q5, [x16, #64]",
    "stp q6, q7, [x16, #96]",
    "stp q8, q9, [x16, #128]",
    "stp q10, q11, [x16, #160]",
    "stp q12, q13, [x16, #192]",
    "stp q14, q15, [x16, #224]",
    "stp q16, q17, [x16, #256]",
    "stp q18, q19, [x16, #288]",
    "stp q20, q21, [x16, #320]",
    "stp q22, q23, [x16, #352]",
    "stp q24, q25, [x16, #384]",
    "stp q26, q27, [x16, #416]",
    "stp q28, q29, [x16, #448]",
    "stp q30, q31, [x16, #480]",
    "mov x0, sp",
    "bl \\handler",
    ".endm",
    ".macro maize_restore base",
    "add x16, \\base, #272",
    "ldp q0, q1, [x16, #0]",
    "ldp q2, q3, [x16, #32]",
    "ldp q4, q5, [x16, #64]",
    "ldp q6, q7, [x16, #96]",
    "ldp q8, q9, [x16, #128]",
    "ldp q10, q11, [x16, #160]",
    "ldp q12, q13, [x16, #192]",
    "ldp q14, q15, [x16, #224]",
    "ldp q16, q17, [x16, #256]",
    "ldp q18, q19, [x16, #288]",
    "ldp q20, q21, [x16, #320]",
    "ldp q22, q23, [x16, #352]",
    "ldp q24, q25, [x16, #384]",
    "ldp q26, q27, [x16, #416]",
    "ldp q28, q29, [x16, #448]",
    "ldp q30, q31, [x16, #480]",
    "ldp x2, x3, [\\base, #16]",
    "ldp x4, x5, [\\base, #32]",
    "ldp x6, x7, [\\base, #48]",
    "ldp x8, x9, [\\base, #64]",
    "ldp x10, x11, [\\base, #80]",
    "ldp x12, x13, [\\base, #96]",
    "ldp x14, x15, [\\base, #112]",
    "ldr x19, [\\base, #152]",
    "ldp x20, x21, [\\base, #160]",
    "ldp x22, x23, [\\base, #176]",
    "ldp x24, x25, [\\base, #192]",
    "ldp x26, x27, [\\base, #208]",
    "ldp x28, x29, [\\base, #224]",
    "ldr x30, [\\base, #240]",
    ".endm",
    ".globl __maize_poll",
    ".globl __maize_migrate",
    ".globl __maize_signal_point",
    // Three functions, so that a call tells which of them it is.
    "__maize_migrate:",
    "b __maize_poll",
    "__maize_signal_point:",
    "b __maize_poll",
    "__maize_poll:",
    "maize_capture maize_migration_point",
    "maize_restore sp",
    "ldp x0, x1, [sp]",
    "add sp, sp, #784",
    "ret",
    ".globl __maize_unwind_next",
    "__maize_unwind_next:",
    "b maize_next_frame",
    ".globl __maize_jump",
    "__maize_jump:",
    "maize_capture maize_long_jump",
    "brk #0",
    // The registers lie below the frame's stack pointer. Once that is the stack's, a signal writes over
    // them.
    ".globl maize_install",
    "maize_install:",
    "ldr x17, [x0, #256]",
    "maize_restore x0",
    "ldr x16, [x0, #248]",
    "ldp x0, x1, [x0]",
    "mov sp, x16",
    "br x17",
    // As above, of the registers that a callee keeps.
    ".globl maize_install_kept",
    "maize_install_kept:",
    "ldr x17, [x0, #256]",
    "ldp d8, d9, [x0, #272]",
    "ldp d10, d11, [x0, #288]",
    "ldp d12, d13, [x0, #304]",
    "ldp d14, d15, [x0, #320]",
    "ldr x19, [x0, #152]",
    "ldp x20, x21, [x0, #160]",
    "ldp x22, x23, [x0, #176]",
    "ldp x24, x25, [x0, #192]",
    "ldp x26, x27, [x0, #208]",
    "ldp x28, x29, [x0, #224]",
    "ldp x30, x16, [x0, #240]",
    "mov sp, x16",
    "br x17",
    ".globl maize_enter",
    ".globl maize_entered",
    ".globl maize_unwound",
    "maize_enter:",
    "stp x29, x30, [sp, #-160]!",
    "stp x19, x20, [sp, #16]",
    "stp x21, x22, [sp, #32]",
    "stp x23, x24, [sp, #48]",
    "stp x25, x26, [sp, #64]",
    "stp x27, x28, [sp, #80]",
    "stp d8, d9, [sp, #96]",
    "stp d10, d11, [sp, #112]",
    "stp d12, d13, [sp, #128]",
    "stp d14, d15, [sp, #144]",
    "mov x16, x0",
    "mov x0, x1",
    "mov x1, x2",
    "blr x16",
    "maize_entered:",
    "mov x1, x0",
    "mov x0, #0",
    "b 2f",
    "maize_unwound:",
    "mov x0, #1",
    "2:",
    "ldp d14, d15, [sp, #144]",
    "ldp d12, d13, [sp, #128]",
    "ldp d10, d11, [sp, #112]",
    "ldp d8, d9, [sp, #96]",
    "ldp x27, x28, [sp, #80]",
    "ldp x25, x26, [sp, #64]",
    "ldp x23, x24, [sp, #48]",
    "ldp x21, x22, [sp, #32]",
    "ldp x19, x20, [sp, #16]",
    "ldp x29, x30, [sp], #160",
    "ret",
    // clone(flags, stack, parent's word, child's word, thread pointer), then a start
    ".globl maize_clone",
    "maize_clone:",
    "mov x6, x3",
    "mov x3, x4",
    "mov x4, x6",
    "mov x8, #220",
    "svc 0",
    "cbnz x0, 3f",
    "mov x29, #0",
    "mov x30, #0",
    "mov x0, x5",
    "bl maize_thread",
    "brk #0",
    "3:",
    "ret",
    // exit(memory, bytes, stack, bytes): unmaps both and touches neither again
    ".globl maize_exit_thread",
    "maize_exit_thread:",
    "mov x19, x2",
    "mov x20, x3",
    "cbz x1, 4f",
    "mov x8, #215",
    "svc 0",
    "4:",
    "mov x0, x19",
    "mov x1, x20",
    "mov x8, #215",
    "svc 0",
    "mov x0, #0",
    "mov x8, #93",
    "svc 0",
    "brk #0",
    // waiting_call(number, arguments, word): the window is from the look at the word to the call
    ".globl maize_waiting_call",
    ".globl maize_window",
    ".globl maize_window_end",
    ".globl maize_interrupted",
    "maize_waiting_call:",
    "mov x8, x0",
    "mov x9, x2",
    "mov x10, x1",
    "ldp x0, x1, [x10]",
    "ldp x2, x3, [x10, #16]",
    "ldp x4, x5, [x10, #32]",
    "maize_window:",
    "ldr w11, [x9]",
    "cbnz w11, maize_interrupted",
    "svc 0",
    "maize_window_end:",
    "ret",
    "maize_interrupted:",
    "mov x0, #{not_begun}",
    "ret",
    ".globl maize_signal",
    "maize_signal:",
    "b maize_signal_arrived",
    // rt_sigreturn
    ".globl maize_return",
    "maize_return:",
    "mov x8, #139",
    "svc 0",
    "brk #0",
    // As a function's slot is: the same address on every instruction set.
    ".pushsection .maize.slots, \"ax\"",
    ".balign 16",
    ".globl maize_signal.slot",
    "maize_signal.slot:",
    "b maize_signal",
    ".balign 16",
    ".globl maize_return.slot",
    "maize_return.slot:",
    "b maize_return",
    ".balign 16",
    ".popsection",
    // The thread pointer is set; the environment is where a call's result is, which is where its first
    // argument is.
    ".globl maize_resume",
    "maize_resume:",
    "mrs x1, tpidr_el0",
    // Zero it is already: a store before any load has the page come once, to be written.
    "str xzr, [x1, #{saving}]",
    "ldr x1, [x1, #{record_limit}]",
    // The stack pointer is that already; at no instruction may it be another, for a signal's sake.
    "add x1, x1, #{stack_top}, lsl #12",
    "sub x1, x1, #{kept}",
    "mov sp, x1",
    "mov x29, #0",
    "mov x30, #0",
    "bl maize_arrive",
    "brk #0",
    // Where a kernel has threads go on that come from another instruction set.
    ".pushsection .note.maize, \"a\", @note",
    ".balign 4",
    ".long 6, 8, 1",
    ".asciz \"Maize\"",
    ".balign 4",
    ".quad maize_resume",
    ".popsection",
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x30, #0",
    "mov x0, sp",
    "bl maize_start",
    "brk #0",
    ".globl __maize_personality",
    "__maize_personality:",
    "brk #0",
    saving = const core::mem::offset_of!(ThreadBlock, saving),
    record_limit = const core::mem::offset_of!(ThreadBlock, record_limit),
    stack_top = const STACK_TOP >> 12,
    not_begun = const crate::signals::NOT_BEGUN,
    kept = const TOP_BYTES,
);

/// A system call by the neutral target's number: aarch64's own.
pub(crate) fn native_syscall(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: the kernel's own calling convention; what the call does to memory is what the program
    // asked for.
    unsafe {
        asm!("svc 0", inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            in("x5") f, in("x8") number, options(nostack));
    }
    result
}

/// A system call by this instruction set's number.
pub(crate) fn raw_syscall(number: u64, arguments: [u64; 6]) -> i64 {
    native_syscall(number, arguments)
}

/// A system call of the program.
pub(crate) fn program_syscall(number: u64, arguments: [u64; 6]) -> i64 {
    crate::handlers::system_call(number, arguments)
}

/// This instruction set's number of a call.
pub(crate) fn number_of(number: u64) -> Option<u64> {
    Some(number)
}

/// Offset of the mask in a `ucontext_t`.
const CONTEXT_MASK: usize = 40;
/// Offset of `x0`, after which come the others, the stack pointer and the program counter.
const CONTEXT_REGISTERS: usize = 184;
/// Offset of the records of other registers, their bytes, and what begins the vector registers'.
const CONTEXT_RECORDS: usize = 464;
const RECORDS_BYTES: usize = 4096;
const VECTOR_RECORD: u32 = 0x4650_8001;

/// The mask of a context, which is set when the handler returns.
///
/// # Safety
/// It is the kernel's, on this stack.
pub(crate) unsafe fn context_mask<'c>(context: *mut u8) -> &'c mut u64 {
    // SAFETY: it lies there.
    unsafe { &mut *context.add(CONTEXT_MASK).cast() }
}

/// The program counter of a context.
///
/// # Safety
/// As for [`context_mask`].
pub(crate) unsafe fn context_pc<'c>(context: *mut u8) -> &'c mut u64 {
    // SAFETY: it lies there.
    unsafe { &mut *context.add(CONTEXT_REGISTERS + 8 * PC).cast() }
}

/// The registers of a context that an unwinder needs.
///
/// # Safety
/// As for [`context_mask`].
pub(crate) unsafe fn context_registers(context: *const u8) -> Registers {
    let mut registers = Registers { general: [0; 34], vector: [[0; 2]; 32] };
    // SAFETY: there are as many words; the records end with one of no kind within their bytes.
    unsafe {
        for (index, register) in registers.general.iter_mut().take(PC + 1).enumerate() {
            *register = context.add(CONTEXT_REGISTERS + 8 * index).cast::<u64>().read();
        }
        let mut at = 0;
        while at < RECORDS_BYTES {
            let record = context.add(CONTEXT_RECORDS + at);
            let [kind, bytes] = record.cast::<[u32; 2]>().read();
            if kind == VECTOR_RECORD {
                registers.vector = record.add(16).cast::<[[u64; 2]; 32]>().read();
            }
            if kind == 0 || kind == VECTOR_RECORD || bytes == 0 {
                break;
            }
            at += bytes as usize;
        }
    }
    registers
}

/// Sets the thread pointer.
pub(crate) fn set_thread_pointer(pointer: u64) {
    // SAFETY: no code of the runtime has thread-local variables.
    unsafe { asm!("msr tpidr_el0, {}", in(reg) pointer, options(nostack)) };
}

/// The thread pointer.
pub(crate) fn thread_pointer() -> u64 {
    let pointer;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, nomem)) };
    pointer
}

/// The processor's counter.
pub(crate) fn counter() -> u64 {
    let ticks;
    // SAFETY: reads a register that programs may read; the barrier keeps it from being read early.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nostack, nomem)) };
    ticks
}

/// The floating-point environment: FPCR and FPSR, by the numbers that an assembler without floating
/// point takes.
pub(crate) fn fpu() -> maize_xisa_metadata::fpu::Fpu {
    let (control, status);
    // SAFETY: reads registers.
    unsafe {
        asm!("mrs {}, s3_3_c4_c4_0", "mrs {}, s3_3_c4_c4_1", out(reg) control, out(reg) status,
            options(nostack, nomem));
    }
    maize_xisa_metadata::fpu::Fpu::from_fpcr_fpsr(control, status)
}

/// Sets the floating-point environment.
pub(crate) fn set_fpu(fpu: maize_xisa_metadata::fpu::Fpu) {
    let (control, status) = fpu.to_fpcr_fpsr();
    // SAFETY: every bit that is set exists, or is ignored.
    unsafe {
        asm!("msr s3_3_c4_c4_0, {}", "msr s3_3_c4_c4_1, {}", in(reg) control, in(reg) status, options(nostack));
    };
}
