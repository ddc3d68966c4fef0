/* What the compiler calls to copy, fill and move memory, in the C library's terms.

   Up to 32 bytes go without a loop: two loads from the start and two from the end, which overlap, and
   only then the stores. What is longer goes 32 bytes a turn. */

.section .text.memory_functions, "ax"

/* (rdi = to, rsi = from, rdx = length) -> rax = to; the ranges do not overlap */
.globl maize_memcpy
.balign 16
maize_memcpy:
    movq %rdi, %rax
    cmpq $32, %rdx
    ja 4f
short_copy:
    cmpq $16, %rdx
    jb 1f
    movq (%rsi), %rcx
    movq 8(%rsi), %r8
    movq -16(%rsi,%rdx), %r9
    movq -8(%rsi,%rdx), %r10
    movq %rcx, (%rdi)
    movq %r8, 8(%rdi)
    movq %r9, -16(%rdi,%rdx)
    movq %r10, -8(%rdi,%rdx)
    ret
1:  cmpq $8, %rdx
    jb 2f
    movq (%rsi), %rcx
    movq -8(%rsi,%rdx), %r8
    movq %rcx, (%rdi)
    movq %r8, -8(%rdi,%rdx)
    ret
2:  cmpq $4, %rdx
    jb 3f
    movl (%rsi), %ecx
    movl -4(%rsi,%rdx), %r8d
    movl %ecx, (%rdi)
    movl %r8d, -4(%rdi,%rdx)
    ret
3:  cmpq $2, %rdx
    jb 6f
    movzwl (%rsi), %ecx
    movzwl -2(%rsi,%rdx), %r8d
    movw %cx, (%rdi)
    movw %r8w, -2(%rdi,%rdx)
    ret
6:  testq %rdx, %rdx
    jz 9f
    movzbl (%rsi), %ecx
    movb %cl, (%rdi)
    ret
4:  leaq -32(%rsi,%rdx), %r11
    leaq -32(%rdi,%rdx), %rdx
5:  movq (%rsi), %rcx
    movq 8(%rsi), %r8
    movq 16(%rsi), %r9
    movq 24(%rsi), %r10
    movq %rcx, (%rdi)
    movq %r8, 8(%rdi)
    movq %r9, 16(%rdi)
    movq %r10, 24(%rdi)
    addq $32, %rsi
    addq $32, %rdi
    cmpq %rdx, %rdi
    jb 5b
    /* The last 32 bytes, some of which may have been copied. */
    movq (%r11), %rcx
    movq 8(%r11), %r8
    movq 16(%r11), %r9
    movq 24(%r11), %r10
    movq %rcx, (%rdx)
    movq %r8, 8(%rdx)
    movq %r9, 16(%rdx)
    movq %r10, 24(%rdx)
9:  ret

/* As memcpy, of ranges that may overlap. */
.globl maize_memmove
.balign 16
maize_memmove:
    movq %rdi, %rax
    cmpq $32, %rdx
    jbe short_copy
    movq %rdi, %rcx
    subq %rsi, %rcx
    cmpq %rdx, %rcx
    jae 4f
    /* The target begins in the source: from the end, 8 bytes a turn, then what is left at the start. */
1:  movq -8(%rsi,%rdx), %rcx
    movq -16(%rsi,%rdx), %r8
    movq %rcx, -8(%rdi,%rdx)
    movq %r8, -16(%rdi,%rdx)
    subq $16, %rdx
    cmpq $32, %rdx
    ja 1b
    jmp short_copy
    /* The target is before the source, or apart from it: from the start. */
4:  movq (%rsi), %rcx
    movq 8(%rsi), %r8
    movq %rcx, (%rdi)
    movq %r8, 8(%rdi)
    addq $16, %rsi
    addq $16, %rdi
    subq $16, %rdx
    cmpq $32, %rdx
    ja 4b
    jmp short_copy

/* (rdi = to, esi = byte, rdx = length) -> rax = to */
.globl maize_memset
.balign 16
maize_memset:
    movq %rdi, %rax
    movzbl %sil, %esi
    movabsq $0x0101010101010101, %rcx
    imulq %rcx, %rsi
    cmpq $32, %rdx
    ja 4f
    cmpq $16, %rdx
    jb 1f
    movq %rsi, (%rdi)
    movq %rsi, 8(%rdi)
    movq %rsi, -16(%rdi,%rdx)
    movq %rsi, -8(%rdi,%rdx)
    ret
1:  cmpq $8, %rdx
    jb 2f
    movq %rsi, (%rdi)
    movq %rsi, -8(%rdi,%rdx)
    ret
2:  cmpq $4, %rdx
    jb 3f
    movl %esi, (%rdi)
    movl %esi, -4(%rdi,%rdx)
    ret
3:  testq %rdx, %rdx
    jz 9f
    movb %sil, (%rdi)
    movb %sil, -1(%rdi,%rdx)
    shrq $1, %rdx
    movb %sil, (%rdi,%rdx)
    ret
4:  leaq -32(%rdi,%rdx), %rdx
5:  movq %rsi, (%rdi)
    movq %rsi, 8(%rdi)
    movq %rsi, 16(%rdi)
    movq %rsi, 24(%rdi)
    addq $32, %rdi
    cmpq %rdx, %rdi
    jb 5b
    movq %rsi, (%rdx)
    movq %rsi, 8(%rdx)
    movq %rsi, 16(%rdx)
    movq %rsi, 24(%rdx)
9:  ret
