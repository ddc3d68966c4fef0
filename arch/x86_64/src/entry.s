/* The ways into the kernel from user mode, and back.

   enter_user saves the kernel's callee-saved registers and the address of the user registers on the
   stack, and makes that point the stack of ring 0 (TSS.RSP0). Whatever stops user code finds itself
   there, saves the user registers and returns from enter_user. So the kernel never runs two things
   at once, and needs neither swapgs nor a per-processor area: the image is one processor's.

   Interrupts are off in the kernel except in the windows of wait and poll; there an interrupt is
   only noted in PENDING. Any exception in ring 0 is fatal. */

.set RAX, 0
.set RBX, 8
.set RCX, 16
.set RDX, 24
.set RSI, 32
.set RDI, 40
.set RBP, 48
.set RSP, 56
.set R8, 64
.set R9, 72
.set R10, 80
.set R11, 88
.set R12, 96
.set R13, 104
.set R14, 112
.set R15, 120
.set RIP, 128
.set RFLAGS, 136
.set USER_CS, 0x33
.set USER_SS, 0x2b
.set TSS_RSP0, 4
.set SYSCALL_VECTOR, 256

.section .text.entry, "ax"

/* enter_user(rdi = registers, esi = 1 if sysret may be used) -> rax = vector, rdx = error code */
.globl enter_user
enter_user:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi                  /* seven words and the return address: a multiple of 16 */
    movq %rsp, MAIZE_TSS + TSS_RSP0(%rip)
    testl %esi, %esi
    jnz 1f
    pushq $USER_SS
    pushq RSP(%rdi)
    pushq RFLAGS(%rdi)
    pushq $USER_CS
    pushq RIP(%rdi)
    movq R11(%rdi), %r11
    movq RCX(%rdi), %rcx
    call load_registers
    movq RDI(%rdi), %rdi
    iretq
1:  movq RFLAGS(%rdi), %r11
    movq RIP(%rdi), %rcx
    call load_registers
    movq RSP(%rdi), %rsp
    movq RDI(%rdi), %rdi
    sysretq

load_registers:
    movq RAX(%rdi), %rax
    movq RBX(%rdi), %rbx
    movq RDX(%rdi), %rdx
    movq RSI(%rdi), %rsi
    movq RBP(%rdi), %rbp
    movq R8(%rdi), %r8
    movq R9(%rdi), %r9
    movq R10(%rdi), %r10
    movq R12(%rdi), %r12
    movq R13(%rdi), %r13
    movq R14(%rdi), %r14
    movq R15(%rdi), %r15
    ret

/* Into (%rax), all but rax, rsp, rip and rflags. */
.macro SAVE_REGISTERS
    movq %rbx, RBX(%rax)
    movq %rcx, RCX(%rax)
    movq %rdx, RDX(%rax)
    movq %rsi, RSI(%rax)
    movq %rdi, RDI(%rax)
    movq %rbp, RBP(%rax)
    movq %r8, R8(%rax)
    movq %r9, R9(%rax)
    movq %r10, R10(%rax)
    movq %r11, R11(%rax)
    movq %r12, R12(%rax)
    movq %r13, R13(%rax)
    movq %r14, R14(%rax)
    movq %r15, R15(%rax)
.endm

/* The syscall instruction: rcx = user rip, r11 = user rflags, still on the user's stack. */
.globl syscall_entry
.balign 16
syscall_entry:
    movq %rsp, user_rsp(%rip)
    movq MAIZE_TSS + TSS_RSP0(%rip), %rsp
    pushq %rax
    movq 8(%rsp), %rax
    SAVE_REGISTERS
    popq RAX(%rax)
    movq %rcx, RIP(%rax)
    movq %r11, RFLAGS(%rax)
    movq user_rsp(%rip), %rcx
    movq %rcx, RSP(%rax)
    movl $SYSCALL_VECTOR, %eax
    xorl %edx, %edx
    jmp leave_user

/* Here the stack holds: vector, error code, rip, cs, rflags, rsp, ss, address of the registers. */
.balign 16
trap_entry:
    testb $3, 24(%rsp)
    jz kernel_trap
    pushq %rax
    movq 64(%rsp), %rax
    SAVE_REGISTERS
    popq RAX(%rax)
    movq 16(%rsp), %rcx
    movq %rcx, RIP(%rax)
    movq 32(%rsp), %rcx
    movq %rcx, RFLAGS(%rax)
    movq 40(%rsp), %rcx
    movq %rcx, RSP(%rax)
    movq (%rsp), %rax
    movq 8(%rsp), %rdx
    addq $56, %rsp

/* Returns from enter_user. The flags are the user's: direction and alignment check (with SMAP: the
   right to user memory) must not stay. */
leave_user:
    addq $8, %rsp
    pushq $2
    popfq
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

/* In ring 0: an interrupt in one of the windows, or the kernel is broken. */
kernel_trap:
    cmpq $32, (%rsp)
    jb fatal_entry
    pushq %rax
    movq 8(%rsp), %rax
    btsq %rax, MAIZE_PENDING(%rip)
    popq %rax
    addq $16, %rsp
    iretq

/* Builds a FaultFrame: r15..rax, vector, error code, rip, cs, rflags, rsp, ss. */
fatal_entry:
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq $2
    popfq
    movq %rsp, %rdi
    xorl %ebp, %ebp
    andq $-16, %rsp
    call maize_kernel_fault
    ud2

/* One stub of 16 bytes per vector. Double fault, NMI and machine check have stacks of their own and
   are fatal wherever they come from. */
.globl trap_stubs
.balign 16
trap_stubs:
.set vector, 0
.rept 256
    .balign 16
    .if (vector == 8) | (vector == 10) | (vector == 11) | (vector == 12) | (vector == 13) | (vector == 14) | (vector == 17) | (vector == 21)
    .else
    .byte 0x6a, 0               /* push a zero for the error code */
    .endif
    .byte 0x68                  /* push the vector */
    .long vector
    .if (vector == 2) | (vector == 8) | (vector == 18)
    jmp fatal_entry
    .else
    jmp trap_entry
    .endif
    .set vector, vector + 1
.endr

.section .bss.entry, "aw", @nobits
.balign 8
user_rsp:
    .skip 8
