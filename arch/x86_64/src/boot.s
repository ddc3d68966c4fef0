/* Entry of an instance.

   The PVH boot protocol: 32-bit protected mode, paging off, flat segments, ebx = physical address of
   the start information. The image may lie at any 2 MiB boundary below 4 GiB: its address is found
   here, and nothing before the jump to high addresses uses one that the linker has fixed. A sibling
   instance is entered the same way, with start information made for it. */

.set KERNEL_BASE, 0xffffffff80000000
.set PRESENT_WRITABLE, 0x003
.set LARGE, 0x083
.set PAGE, 4096

.section .note.pvh, "a", @note
.balign 4
.long 4                         /* length of the name */
.long 8                         /* length of the entry's address */
.long 18                        /* XEN_ELFNOTE_PHYS32_ENTRY */
.asciz "Xen"
.quad _start - KERNEL_BASE

.section .head.text, "ax"
.code32
.globl _start
_start:
    cli
    cld
    rdtsc
    movl %eax, %esi             /* kept: time of entry in edi:esi */
    movl %edx, %edi

    /* Where are we? A call needs four bytes of stack; the start information lends its own, the
       version, which is put back. */
    movl 4(%ebx), %ecx
    leal 8(%ebx), %esp
    call 1f
1:  popl %ebp
    movl %ecx, 4(%ebx)
    subl $(1b - KERNEL_BASE), %ebp      /* ebp = load address - linked physical address */
    leal (__stack_end - KERNEL_BASE)(%ebp), %esp

    /* Boot tables: the low 4 GiB at their own addresses, and 64 MiB from the image's base at
       KERNEL_BASE. Everything is writable and executable until the real tables are in place. */
    leal (boot_tables - KERNEL_BASE)(%ebp), %edx
    leal (PAGE + PRESENT_WRITABLE)(%edx), %eax
    movl %eax, (%edx)                           /* root[0] -> low directory pointers */
    leal (2 * PAGE + PRESENT_WRITABLE)(%edx), %eax
    movl %eax, 511 * 8(%edx)                    /* root[511] -> high directory pointers */
    leal (3 * PAGE + PRESENT_WRITABLE)(%edx), %eax
    movl %eax, (2 * PAGE + 510 * 8)(%edx)       /* high[510] -> high directory */

    leal (4 * PAGE + PRESENT_WRITABLE)(%edx), %eax
    xorl %ecx, %ecx
2:  movl %eax, PAGE(%edx, %ecx, 8)              /* low[0..4] -> low directories */
    addl $PAGE, %eax
    incl %ecx
    cmpl $4, %ecx
    jb 2b

    movl $LARGE, %eax
    xorl %ecx, %ecx
3:  movl %eax, 4 * PAGE(%edx, %ecx, 8)          /* 2048 pages of 2 MiB */
    addl $0x200000, %eax
    incl %ecx
    cmpl $2048, %ecx
    jb 3b

    leal LARGE(%ebp), %eax
    xorl %ecx, %ecx
4:  movl %eax, 3 * PAGE(%edx, %ecx, 8)          /* 32 pages of 2 MiB */
    addl $0x200000, %eax
    incl %ecx
    cmpl $32, %ecx
    jb 4b

    movl %edx, %cr3
    movl %cr4, %eax
    orl $0x20, %eax                             /* PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx                      /* EFER */
    rdmsr
    orl $0x901, %eax                            /* SCE, LME, NXE */
    wrmsr
    movl $0x80010033, %eax                      /* PG, WP, NE, ET, MP, PE */
    movl %eax, %cr0

    /* A 64-bit code segment, and into it. */
    leal (boot_gdt - KERNEL_BASE)(%ebp), %eax
    subl $8, %esp
    movw $15, (%esp)
    movl %eax, 2(%esp)
    lgdt (%esp)
    leal (boot64 - KERNEL_BASE)(%ebp), %eax
    pushl $8
    pushl %eax
    lretl

.code64
boot64:
    movabsq $boot_high, %rax
    jmpq *%rax
boot_high:
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    leaq __stack_end(%rip), %rsp
    shlq $32, %rdi
    movl %esi, %esi
    leaq (%rdi, %rsi), %rdx                     /* time stamp at entry */
    movl %ebx, %edi                             /* start information */
    movslq %ebp, %rsi
    addq $__image_physical, %rsi                /* where the image lies */
    xorl %ebp, %ebp                             /* the last frame of a backtrace */
    pushq $0
    pushq $0
    call maize_main
    ud2

.balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff                    /* 64-bit code, ring 0 */

.section .bss.boot, "aw", @nobits
.balign 4096
boot_tables:
    .skip 8 * 4096
