/* What another processor runs first, from a page of its own below 1 MiB: real mode, then flat
   32-bit protected mode as the PVH protocol has it, then the entry of its image.

   Everything is reached relative to the page, whose address is in cs. The words at the end are
   written by who starts the processor. Where it is given no entry, it only shows that it is here:
   whatever ran on it before has ended. */

.section .rodata.startup, "a"
.balign 16
.globl startup_begin, startup_gdt_base, startup_protected_at, startup_entry, startup_block
.globl startup_ticket, startup_arrived, startup_protected, startup_gdt, startup_end

.code16
startup_begin:
    cli
    cld
    xorl %ebp, %ebp
    movw %cs, %bp
    movw %bp, %ds
    shll $4, %ebp                               /* where the page lies */
    lgdtl startup_gdt_pointer - startup_begin
    movl %cr0, %eax
    orl $1, %eax                                /* PE */
    movl %eax, %cr0
    ljmpl *(startup_protected_at - startup_begin)

.code32
startup_protected:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    movl (startup_entry - startup_begin)(%ebp), %eax
    movl (startup_block - startup_begin)(%ebp), %ebx
    movl (startup_ticket - startup_begin)(%ebp), %ecx
    movl %ecx, (startup_arrived - startup_begin)(%ebp)
    testl %eax, %eax
    jz 1f
    jmpl *%eax
1:  hlt
    jmp 1b

.balign 8
startup_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff                    /* 32-bit code, flat */
    .quad 0x00cf93000000ffff                    /* data, flat */
startup_gdt_pointer:
    .word 23
startup_gdt_base:
    .long 0
    .word 0
startup_protected_at:
    .long 0
    .word 8
    .word 0
startup_entry:
    .long 0
startup_block:
    .long 0
startup_ticket:
    .long 0
startup_arrived:
    .long 0
startup_end:
.code64
