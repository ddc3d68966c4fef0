//! x86_64.
//!
//! Soundness: the assembly keeps the System V ABI. `maize_install` is given the registers of a frame
//! that is on the stack, or of `maize_enter`.

use core::arch::{asm, global_asm};

use super::ENOSYS;
use crate::clone::STACK_TOP;
use crate::records::ThreadBlock;
use crate::syscall::{
    open_flags_from_x86_64, open_flags_to_x86_64, pack_event, stat_from_x86_64, to_x86_64,
    unpack_event,
};
use crate::top::TOP_BYTES;

pub(crate) const ISA: maize_xisa_metadata::Isa = maize_xisa_metadata::Isa::X86_64;

/// Registers of a frame, general ones by DWARF's numbers; 16 is the program counter.
#[repr(C, align(16))]
pub(crate) struct Registers {
    pub(crate) general: [u64; 18],
    vector: [u128; 16],
}

pub(super) const SP: usize = 7;
pub(super) const PC: usize = 16;

impl Registers {
    /// Those that a callee keeps: no vector register.
    pub(crate) fn kept(&self) -> Kept {
        Kept { general: self.general }
    }

    /// The first two arguments of the call.
    pub(crate) fn arguments(&self) -> [u64; 2] {
        [self.general[5], self.general[4]]
    }
}

/// The registers of a frame that is in a call, by the same numbers.
#[derive(Clone)]
#[repr(C)]
pub(crate) struct Kept {
    pub(super) general: [u64; 18],
}

impl Kept {
    /// The place of a register by DWARF's number, if unwinding restores it.
    pub(crate) fn of_dwarf(&mut self, number: u16) -> Option<&mut u64> {
        self.general.get_mut(usize::from(number)).filter(|_| number <= 16)
    }
}

// The whole of a frame's registers, as its callee finds them: return address on top of the stack.
global_asm!(
    ".macro maize_capture handler",
    "sub rsp, 408",
    "mov [rsp], rax",
    "mov [rsp + 8], rdx",
    "mov [rsp + 16], rcx",
    "mov [rsp + 24], rbx",
    "mov [rsp + 32], rsi",
    "mov [rsp + 40], rdi",
    "mov [rsp + 48], rbp",
    ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
    "mov [rsp + 8 * \\n], r\\n",
    ".endr",
    "mov rax, [rsp + 408]",
    "mov [rsp + 128], rax",
    "lea rax, [rsp + 416]",
    "mov [rsp + 56], rax",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "movups [rsp + 144 + 16 * \\n], xmm\\n",
    ".endr",
    "mov rdi, rsp",
    "call \\handler",
    ".endm",
    ".macro maize_restore base",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
    "movups xmm\\n, [\\base + 144 + 16 * \\n]",
    ".endr",
    "mov rdx, [\\base + 8]",
    "mov rcx, [\\base + 16]",
    "mov rbx, [\\base + 24]",
    "mov rsi, [\\base + 32]",
    "mov rbp, [\\base + 48]",
    ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
    "mov r\\n, [\\base + 8 * \\n]",
    ".endr",
    ".endm",
    ".globl __maize_poll",
    ".globl __maize_migrate",
    ".globl __maize_signal_point",
    // Three functions, so that a call tells which of them it is.
    "__maize_migrate:",
    "jmp __maize_poll",
    "__maize_signal_point:",
    "jmp __maize_poll",
    "__maize_poll:",
    "maize_capture maize_migration_point",
    "maize_restore rsp",
    "mov rax, [rsp]",
    "mov rdi, [rsp + 40]",
    "add rsp, 408",
    "ret",
    ".globl __maize_unwind_next",
    "__maize_unwind_next:",
    "jmp maize_next_frame",
    ".globl __maize_jump",
    "__maize_jump:",
    "maize_capture maize_long_jump",
    "ud2",
    // The registers lie below the frame's stack pointer. Once that is the stack's, a signal writes over
    // them: what is still to be taken by then lies above it.
    ".globl maize_install",
    "maize_install:",
    "mov rax, [rdi + 56]",
    "sub rax, 16",
    "mov rcx, [rdi + 128]",
    "mov [rax + 8], rcx",
    "mov rcx, [rdi + 40]",
    "mov [rax], rcx",
    "maize_restore rdi",
    "mov rdi, [rdi]",
    "mov rsp, rax",
    "mov rax, rdi",
    "pop rdi",
    "ret",
    // As above, of the registers that a callee keeps.
    ".globl maize_install_kept",
    "maize_install_kept:",
    "mov rax, [rdi + 56]",
    "sub rax, 8",
    "mov rcx, [rdi + 128]",
    "mov [rax], rcx",
    "mov rbx, [rdi + 24]",
    "mov rbp, [rdi + 48]",
    ".irp n, 12, 13, 14, 15",
    "mov r\\n, [rdi + 8 * \\n]",
    ".endr",
    "mov rsp, rax",
    "ret",
    ".globl maize_enter",
    ".globl maize_entered",
    ".globl maize_unwound",
    "maize_enter:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 8",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "call rax",
    "maize_entered:",
    "mov rdx, rax",
    "xor eax, eax",
    "jmp 2f",
    "maize_unwound:",
    "mov eax, 1",
    "2:",
    "add rsp, 8",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    // clone(flags, stack, parent's word, child's word, thread pointer), then a start
    ".globl maize_clone",
    "maize_clone:",
    "mov r10, rcx",
    "mov eax, 56",
    "syscall",
    "test rax, rax",
    "jnz 3f",
    "xor ebp, ebp",
    "mov rdi, r9",
    "call maize_thread",
    "ud2",
    "3:",
    "ret",
    // exit(memory, bytes, stack, bytes): unmaps both and touches neither again
    ".globl maize_exit_thread",
    "maize_exit_thread:",
    "mov r12, rdx",
    "mov r13, rcx",
    "test rsi, rsi",
    "jz 4f",
    "mov eax, 11",
    "syscall",
    "4:",
    "mov rdi, r12",
    "mov rsi, r13",
    "mov eax, 11",
    "syscall",
    "xor edi, edi",
    "mov eax, 60",
    "syscall",
    "ud2",
    // waiting_call(number, arguments, word): the window is from the look at the word to the call
    ".globl maize_waiting_call",
    ".globl maize_window",
    ".globl maize_window_end",
    ".globl maize_interrupted",
    "maize_waiting_call:",
    "mov rax, rdi",
    "mov r11, rdx",
    "mov rcx, rsi",
    "mov rdi, [rcx]",
    "mov rsi, [rcx + 8]",
    "mov rdx, [rcx + 16]",
    "mov r10, [rcx + 24]",
    "mov r8, [rcx + 32]",
    "mov r9, [rcx + 40]",
    "maize_window:",
    "cmp dword ptr [r11], 0",
    "jne maize_interrupted",
    "syscall",
    "maize_window_end:",
    "ret",
    "maize_interrupted:",
    "mov rax, {not_begun}",
    "ret",
    ".globl maize_signal",
    "maize_signal:",
    "jmp maize_signal_arrived",
    // rt_sigreturn
    ".globl maize_return",
    "maize_return:",
    "mov eax, 15",
    "syscall",
    "ud2",
    // As a function's slot is: the same address on every instruction set.
    ".pushsection .maize.slots, \"ax\"",
    ".balign 16",
    ".globl maize_signal.slot",
    "maize_signal.slot:",
    "jmp maize_signal",
    ".balign 16",
    ".globl maize_return.slot",
    "maize_return.slot:",
    "jmp maize_return",
    ".balign 16",
    ".popsection",
    // The thread pointer is set; the environment is where a call's result is.
    ".globl maize_resume",
    "maize_resume:",
    "mov rdi, rax",
    // Zero it is already: a store before any load has the page come once, to be written.
    "mov qword ptr fs:[{saving}], 0",
    // The stack pointer is that already; at no instruction may it be another, for a signal's sake.
    "mov rax, fs:[{record_limit}]",
    "add rax, {stack_top} - {kept}",
    "mov rsp, rax",
    "xor ebp, ebp",
    "call maize_arrive",
    "ud2",
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
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call maize_start",
    "ud2",
    ".globl __maize_personality",
    "__maize_personality:",
    "ud2",
    saving = const core::mem::offset_of!(ThreadBlock, saving),
    record_limit = const core::mem::offset_of!(ThreadBlock, record_limit),
    stack_top = const STACK_TOP,
    not_begun = const crate::signals::NOT_BEGUN,
    kept = const TOP_BYTES,
);

/// A system call by this instruction set's number.
pub(crate) fn raw_syscall(number: u64, [a, b, c, d, e, f]: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: the kernel's own calling convention; what the call does to memory is what the program
    // asked for.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    result
}

/// A system call by the neutral target's number, whose arguments have the same form everywhere.
pub(crate) fn native_syscall(number: u64, arguments: [u64; 6]) -> i64 {
    to_x86_64(number).map_or(ENOSYS, |native| raw_syscall(native, arguments))
}

/// This instruction set's number of a call.
pub(crate) fn number_of(number: u64) -> Option<u64> {
    to_x86_64(number)
}

/// Offset of the general registers in a `ucontext_t`.
const CONTEXT_REGISTERS: usize = 40;
/// Their order there, by DWARF's numbers.
const CONTEXT_ORDER: [usize; 17] = [8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16];

/// The mask of a context, which is set when the handler returns.
///
/// # Safety
/// It is the kernel's, on this stack.
pub(crate) unsafe fn context_mask<'c>(context: *mut u8) -> &'c mut u64 {
    // SAFETY: the mask is the last of a `ucontext_t`.
    unsafe { &mut *context.add(296).cast() }
}

/// The program counter of a context.
///
/// # Safety
/// As for [`context_mask`].
pub(crate) unsafe fn context_pc<'c>(context: *mut u8) -> &'c mut u64 {
    // SAFETY: the last of the general registers.
    unsafe { &mut *context.add(CONTEXT_REGISTERS + 8 * PC).cast() }
}

/// The registers of a context that an unwinder needs.
///
/// # Safety
/// As for [`context_mask`].
pub(crate) unsafe fn context_registers(context: *const u8) -> Registers {
    let mut registers = Registers { general: [0; 18], vector: [0; 16] };
    for (index, number) in CONTEXT_ORDER.into_iter().enumerate() {
        // SAFETY: there are as many.
        let value = unsafe { context.add(CONTEXT_REGISTERS + 8 * index).cast::<u64>().read() };
        registers.general[number] = value;
    }
    registers
}

/// A system call of the program.
pub(crate) fn program_syscall(number: u64, mut arguments: [u64; 6]) -> i64 {
    use crate::syscall::{EPOLL_CTL, EPOLL_PWAIT, FCNTL, FSTAT, NEWFSTATAT, OPENAT, PIPE2};
    const SETFL: u64 = 4;
    const GETFL: u64 = 3;
    let Ok(call) = u16::try_from(number) else { return ENOSYS };
    match call {
        OPENAT => arguments[2] = open_flags_to_x86_64(arguments[2]),
        PIPE2 => arguments[1] = open_flags_to_x86_64(arguments[1]),
        FCNTL if arguments[1] == SETFL => arguments[2] = open_flags_to_x86_64(arguments[2]),
        FCNTL if arguments[1] == GETFL => {
            let flags = native_syscall(number, arguments);
            return u64::try_from(flags).map_or(flags, |f| open_flags_from_x86_64(f) as i64);
        }
        FSTAT | NEWFSTATAT => {
            let place = if call == FSTAT { 1 } else { 2 };
            let mut native = [0_u64; 18];
            let wanted = core::mem::replace(&mut arguments[place], native.as_mut_ptr() as u64);
            let result = native_syscall(number, arguments);
            if result == 0 {
                // SAFETY: the program gave the place for a `struct stat`, as it would the kernel.
                unsafe { (wanted as *mut [u64; 16]).write_unaligned(stat_from_x86_64(native)) };
            }
            return result;
        }
        // Their structures are packed on x86_64 only.
        EPOLL_CTL if arguments[3] != 0 => {
            // SAFETY: the program gave the place of a `struct epoll_event`, as it would the kernel.
            let packed = unsafe { pack_event((arguments[3] as *const [u32; 4]).read_unaligned()) };
            arguments[3] = packed.as_ptr() as u64;
            return native_syscall(number, arguments);
        }
        EPOLL_PWAIT => {
            let found = crate::handlers::system_call(number, arguments);
            // Each is unpacked to where no packed one is any more that was not.
            for at in (0..usize::try_from(found).unwrap_or(0)).rev() {
                // SAFETY: the kernel has written as many packed events to where the program has room for them.
                unsafe {
                    let packed = (arguments[1] as *const [u32; 3]).add(at).read_unaligned();
                    (arguments[1] as *mut [u32; 4]).add(at).write_unaligned(unpack_event(packed));
                }
            }
            return found;
        }
        _ => {}
    }
    crate::handlers::system_call(number, arguments)
}

/// Sets the thread pointer.
pub(crate) fn set_thread_pointer(pointer: u64) {
    const ARCH_PRCTL: u64 = 158;
    const ARCH_SET_FS: u64 = 0x1002;
    raw_syscall(ARCH_PRCTL, [ARCH_SET_FS, pointer, 0, 0, 0, 0]);
}

/// The thread pointer.
pub(crate) fn thread_pointer() -> u64 {
    let pointer;
    // SAFETY: the first word at the thread pointer is its own address.
    unsafe { asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, readonly)) };
    pointer
}

/// The processor's counter.
pub(crate) fn counter() -> u64 {
    // SAFETY: every processor of this instruction set has it, and programs may read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The floating-point environment.
pub(crate) fn fpu() -> maize_xisa_metadata::fpu::Fpu {
    let mut mxcsr = 0_u32;
    // SAFETY: it writes the word whose address it is given.
    unsafe { asm!("stmxcsr [{}]", in(reg) &mut mxcsr, options(nostack)) };
    maize_xisa_metadata::fpu::Fpu::from_mxcsr(mxcsr)
}

/// Sets the floating-point environment.
pub(crate) fn set_fpu(fpu: maize_xisa_metadata::fpu::Fpu) {
    let mxcsr = fpu.to_mxcsr();
    // SAFETY: every bit that is set exists.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &mxcsr, options(nostack)) };
}
