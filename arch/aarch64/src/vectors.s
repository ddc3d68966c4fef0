// Exception vectors, and the way into and out of user mode.
//
// The kernel's stack pointer is SP_EL1. `enter_user` leaves a frame there and returns from the
// exception that ends the user's run, so an exception from EL0 finds its frame at sp:
//
//   sp +  0  x29, x30 (frame record: the chain of frames stays whole)
//   sp + 16  x19 to x28
//   sp + 96  pointer to the user's registers (maize_abi::isa::aarch64::Regs)
//   sp +104  unused

.equ REGS_SP, 31 * 8

.section .text.vectors, "ax"

.macro vector label:req, kind:req
    .balign 128
    \label \kind
.endm

.macro from_kernel kind:req
    msr     tpidr_el1, x0
    mov     x0, #\kind
    b       kernel_exception
.endm

.macro from_user kind:req
    stp     x0, x1, [sp, #-16]!
    mov     x1, #\kind
    b       leave_user
.endm

.balign 2048
.global vectors
vectors:
    // EL1 with SP_EL0, which is never selected.
    vector from_kernel, 0
    vector from_kernel, 1
    vector from_kernel, 2
    vector from_kernel, 3
    // EL1: every exception is an error, interrupts are masked.
    vector from_kernel, 4
    vector from_kernel, 5
    vector from_kernel, 6
    vector from_kernel, 7
    // EL0, AArch64: synchronous, IRQ, FIQ, SError.
    vector from_user, 0
    vector from_user, 1
    vector from_user, 2
    vector from_user, 3
    // EL0, AArch32, which no thread can be in.
    vector from_kernel, 12
    vector from_kernel, 13
    vector from_kernel, 14
    vector from_kernel, 15
    .balign 128

// extern "C" fn enter_user(regs: *mut Regs) -> u64
//
// Runs user code; returns which of EL0's four vectors it left by. Registers that a function may
// clobber hold nothing, the others are kept on the stack.
.global enter_user
enter_user:
    stp     x29, x30, [sp, #-112]!
    mov     x29, sp
    stp     x19, x20, [sp, #16]
    stp     x21, x22, [sp, #32]
    stp     x23, x24, [sp, #48]
    stp     x25, x26, [sp, #64]
    stp     x27, x28, [sp, #80]
    str     x0, [sp, #96]
    ldp     x1, x2, [x0, #REGS_SP]
    ldp     x3, x4, [x0, #REGS_SP + 16]
    msr     sp_el0, x1
    msr     elr_el1, x2
    msr     spsr_el1, x3
    msr     tpidr_el0, x4
    ldp     x2, x3, [x0, #16]
    ldp     x4, x5, [x0, #32]
    ldp     x6, x7, [x0, #48]
    ldp     x8, x9, [x0, #64]
    ldp     x10, x11, [x0, #80]
    ldp     x12, x13, [x0, #96]
    ldp     x14, x15, [x0, #112]
    ldp     x16, x17, [x0, #128]
    ldp     x18, x19, [x0, #144]
    ldp     x20, x21, [x0, #160]
    ldp     x22, x23, [x0, #176]
    ldp     x24, x25, [x0, #192]
    ldp     x26, x27, [x0, #208]
    ldp     x28, x29, [x0, #224]
    ldr     x30, [x0, #240]
    ldp     x0, x1, [x0]
    eret
    dsb     nsh                         // nothing is fetched past an eret
    isb

leave_user:
    ldr     x0, [sp, #16 + 96]
    stp     x2, x3, [x0, #16]
    stp     x4, x5, [x0, #32]
    stp     x6, x7, [x0, #48]
    stp     x8, x9, [x0, #64]
    stp     x10, x11, [x0, #80]
    stp     x12, x13, [x0, #96]
    stp     x14, x15, [x0, #112]
    stp     x16, x17, [x0, #128]
    stp     x18, x19, [x0, #144]
    stp     x20, x21, [x0, #160]
    stp     x22, x23, [x0, #176]
    stp     x24, x25, [x0, #192]
    stp     x26, x27, [x0, #208]
    stp     x28, x29, [x0, #224]
    str     x30, [x0, #240]
    ldp     x2, x3, [sp], #16
    stp     x2, x3, [x0]
    mrs     x2, sp_el0
    mrs     x3, elr_el1
    stp     x2, x3, [x0, #REGS_SP]
    mrs     x2, spsr_el1
    mrs     x3, tpidr_el0
    stp     x2, x3, [x0, #REGS_SP + 16]
    mov     x0, x1
    ldp     x19, x20, [sp, #16]
    ldp     x21, x22, [sp, #32]
    ldp     x23, x24, [sp, #48]
    ldp     x25, x26, [sp, #64]
    ldp     x27, x28, [sp, #80]
    ldp     x29, x30, [sp], #112
    ret

// The kernel itself failed. x0 holds the vector, tpidr_el1 what x0 held. The stack may be what
// failed: the report is made on another one. User registers in SP_EL0 were saved on entry.
kernel_exception:
    msr     sp_el0, x1
    mov     x1, sp
    msr     tpidrro_el0, x1
    adrp    x1, __emergency_stack_end
    mov     sp, x1
    sub     sp, sp, #(36 * 8)
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    mrs     x2, tpidr_el1
    mrs     x3, sp_el0
    stp     x2, x3, [sp]
    mrs     x2, tpidrro_el0
    stp     x30, x2, [sp, #240]
    mrs     x2, elr_el1
    mrs     x3, spsr_el1
    stp     x2, x3, [sp, #256]
    mrs     x2, esr_el1
    mrs     x3, far_el1
    stp     x2, x3, [sp, #272]
    mov     x1, x0
    mov     x0, sp
    // A frame record that continues where the exception was taken.
    mrs     x2, elr_el1
    stp     x29, x2, [sp, #-16]!
    mov     x29, sp
    bl      kernel_fault
    brk     #2
