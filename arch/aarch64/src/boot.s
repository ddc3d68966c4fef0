// From the boot loader to Rust.
//
// Entered with the MMU off at any 2 MiB boundary of RAM, by the arm64 boot protocol
// (Documentation/arch/arm64/booting.rst): x0 holds the physical address of the device tree,
// interrupts are masked, the image's bytes are clean to the point of coherency. A sibling instance
// is entered the same way by PSCI CPU_ON, with its context in x0.
//
// Nothing here uses an address that the linker fixed until the MMU is on: symbols are reached
// relative to the program counter.
//
// Live throughout: x20 device tree, x21 image's physical base, x22 counter at entry,
// x23 exception level at entry, x24 bytes of a data cache line.

.section .head.text, "ax"
.global _start
_start:
    b       enter                       // code0
    .long   0                           // code1
    .quad   0                           // load offset: any 2 MiB boundary
    .quad   __image_size
    .quad   0xa                         // little-endian, 4 KiB pages, anywhere in RAM
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

.section .init.text, "ax"
enter:
    msr     daifset, #0xf
    mov     x20, x0
    adrp    x21, _start
    isb                                 // the counter is not read early
    mrs     x22, cntvct_el0

    mrs     x23, CurrentEL
    lsr     x23, x23, #2
    cmp     x23, #2
    b.ne    at_el1

// --- EL2: give EL1 everything and leave for good. ---
    mov     x0, #(1 << 31)              // HCR_EL2.RW: EL1 is AArch64; no E2H, no traps
    orr     x0, x0, #(3 << 40)          // API, APK: pointer authentication does not trap
    msr     hcr_el2, x0
    isb
    mov     x0, #0x33ff                 // CPTR_EL2: RES1 bits; SVE and SME trap, FP does not
    msr     cptr_el2, x0
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mov     x0, #3                      // EL1 may use the physical counter and timer
    msr     cnthctl_el2, x0
    msr     cntvoff_el2, xzr
    mrs     x0, midr_el1
    msr     vpidr_el2, x0
    mrs     x0, mpidr_el1
    msr     vmpidr_el2, x0
    mrs     x0, mdcr_el2                // no debug traps; all counters stay EL1's
    and     x0, x0, #0x1f
    msr     mdcr_el2, x0
    mrs     x0, id_aa64pfr0_el1         // GICv3 system registers, where there are any
    ubfx    x0, x0, #24, #4
    cbz     x0, 1f
    mrs     x0, S3_4_C12_C9_5           // ICC_SRE_EL2
    orr     x0, x0, #(1 << 0)           // SRE
    orr     x0, x0, #(1 << 3)           // Enable
    msr     S3_4_C12_C9_5, x0
    isb
    msr     S3_4_C12_C11_0, xzr         // ICH_HCR_EL2
1:  mrs     x0, id_aa64mmfr0_el1        // fine-grained traps
    ubfx    x0, x0, #56, #4
    cbz     x0, 2f
    msr     S3_4_C1_C1_4, xzr           // HFGRTR_EL2
    msr     S3_4_C1_C1_5, xzr           // HFGWTR_EL2
    msr     S3_4_C1_C1_6, xzr           // HFGITR_EL2
    msr     S3_4_C3_C1_4, xzr           // HDFGRTR_EL2
    msr     S3_4_C3_C1_5, xzr           // HDFGWTR_EL2
2:  ldr     x0, =0x30d00800             // SCTLR_EL1: MMU and caches off, RES1 bits
    msr     sctlr_el1, x0
    mov     x0, #0x3c5                  // EL1h, everything masked
    msr     spsr_el2, x0
    adr     x0, at_el1
    msr     elr_el2, x0
    eret
    dsb     nsh                         // nothing is fetched past an eret
    isb

at_el1:
    msr     spsel, #1
    // --- Zero what the image file does not hold, and the tables in it. ---
    // Stores go past the caches while the MMU is off. Lines of this memory that are dirty would be
    // written over it later, lines that are clean would hide it: throw both away, before and after.
    mrs     x0, ctr_el0
    ubfx    x0, x0, #16, #4
    mov     x24, #4
    lsl     x24, x24, x0
    adrp    x0, __bss_start
    adrp    x1, __image_end
    bl      clean_invalidate
    adrp    x0, __bss_start
    adrp    x1, __image_end
3:  stp     xzr, xzr, [x0], #16
    stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    3b

    // --- Map the image at its linked address: 4 KiB pages under one level 2 table. ---
    mov     x2, #3                      // valid table
    adrp    x3, boot_l0
    adrp    x4, boot_l1
    adrp    x5, boot_l2
    adrp    x6, boot_l3
    orr     x7, x4, x2
    str     x7, [x3, #511 * 8]
    orr     x7, x5, x2
    str     x7, [x4, #510 * 8]
    mov     x8, #0
4:  orr     x7, x6, x2                  // boot_l3 is IMAGE_LIMIT / 2 MiB tables in a row
    str     x7, [x5, x8, lsl #3]
    add     x6, x6, #4096
    add     x8, x8, #1
    cmp     x8, #({image_limit} / 0x200000)
    b.lo    4b

    // Normal memory, inner shareable, accessed, global; never executable for user mode.
    ldr     x9, =(0x3 | 3 << 8 | 1 << 10 | 1 << 54)
    adrp    x6, boot_l3
    adrp    x0, _start
    adrp    x1, __rodata_start
    orr     x10, x9, #(1 << 7)          // code: read-only
    bl      map_pages
    adrp    x1, __data_start
    orr     x10, x10, #(1 << 53)        // constants: nor executable
    bl      map_pages
    adrp    x1, __stack_guard
    orr     x10, x9, #(1 << 53)         // data
    bl      map_pages
    add     x0, x0, #4096               // the guard page is not mapped
    add     x6, x6, #8
    adrp    x1, __image_end
    bl      map_pages

    // --- Map the 1 GiB around here where it is, executable and read-only, for the switch. ---
    adrp    x3, boot_id_l0
    adrp    x4, boot_id_l1
    adr     x0, 5f
    orr     x7, x4, x2
    ubfx    x8, x0, #39, #9
    str     x7, [x3, x8, lsl #3]
    ubfx    x8, x0, #30, #9
    lsr     x7, x0, #30
    lsl     x7, x7, #30
    ldr     x9, =(0x1 | 1 << 7 | 3 << 8 | 1 << 10 | 1 << 54)
    orr     x7, x7, x9
    str     x7, [x4, x8, lsl #3]

    adrp    x0, __bss_start
    adrp    x1, __image_end
    bl      clean_invalidate

    // --- Translation control. ---
    ldr     x0, ={mair}
    msr     mair_el1, x0
    // 48 bits each; tables inner shareable write-back; 4 KiB granules; TBI0: user pointers may
    // carry tags. The ASID is 8 bits and TTBR0's.
    ldr     x0, ={tcr}
    mrs     x1, id_aa64mmfr0_el1
    and     x1, x1, #0xf                // physical address size, at most 48 bits
    mov     x2, #5
    cmp     x1, x2
    csel    x1, x1, x2, lo
    orr     x0, x0, x1, lsl #32
    msr     tcr_el1, x0
    adrp    x0, boot_id_l0
    msr     ttbr0_el1, x0
    adrp    x0, boot_l0
    msr     ttbr1_el1, x0

    // Floating point and SIMD never trap: their state stays user mode's while the kernel runs.
    mov     x0, #(3 << 20)
    msr     cpacr_el1, x0
    msr     mdscr_el1, xzr
    mov     x0, #(1 << 1)               // user mode may read the virtual counter
    msr     cntkctl_el1, x0
    msr     cntv_ctl_el0, xzr
    msr     tpidr_el0, xzr
    msr     tpidrro_el0, xzr

    // No access to user mappings, now (PAN) and after every exception (SPAN clear); EPAN covers
    // execute-only ones. Without FEAT_PAN, SPAN is a reserved bit that reads as one.
    ldr     x0, ={sctlr}
    mrs     x1, id_aa64mmfr1_el1
    ubfx    x1, x1, #20, #4
    cbnz    x1, 6f
    orr     x0, x0, #(1 << 23)          // SPAN
    b       9f
6:  .inst   0xd500419f                  // msr pan, #1
    cmp     x1, #3
    b.lo    9f
    orr     x0, x0, #(1 << 57)          // EPAN
9:
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    isb
    msr     sctlr_el1, x0
    isb
5:  ldr     x1, =high
    br      x1

// At the linked address from here on.
high:
    adrp    x1, _start
    adrp    x0, boot_empty              // no user space: drop the identity map
    sub     x0, x0, x1
    add     x0, x0, x21
    msr     ttbr0_el1, x0
    isb                                 // walks use the new base before the old leaves are flushed
    tlbi    vmalle1
    dsb     nsh
    isb
    adrp    x0, vectors
    add     x0, x0, :lo12:vectors
    msr     vbar_el1, x0
    isb
    adrp    x0, __stack_end
    mov     sp, x0
    mov     x29, xzr                    // ends the chain of frames
    mov     x30, xzr
    mov     x0, x20
    mov     x1, x21
    mov     x2, x22
    mov     x3, x23
    bl      maize_main
    brk     #1

// Writes entries for the pages from x0 up to x1 with attributes x10 at x6; both move on.
map_pages:
    cmp     x0, x1
    b.hs    7f
    orr     x7, x0, x10
    str     x7, [x6], #8
    add     x0, x0, #4096
    b       map_pages
7:  ret

// Cleans and invalidates the data cache from x0 up to x1.
clean_invalidate:
    dc      civac, x0
    add     x0, x0, x24
    cmp     x0, x1
    b.lo    clean_invalidate
    dsb     sy
    ret

// The boot page tables, zeroed above with the rest.
.section .bss.boot_tables, "aw", @nobits
.balign 4096
.global boot_l0
boot_l0:    .skip 4096
boot_l1:    .skip 4096
boot_l2:    .skip 4096
boot_l3:    .skip {image_limit} / 0x200000 * 4096
boot_id_l0: .skip 4096
boot_id_l1: .skip 4096
.global boot_empty
boot_empty: .skip 4096
