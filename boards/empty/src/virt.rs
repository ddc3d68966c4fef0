//! The empty kernel of QEMU's virt machine: writes a line to its PL011 and powers off.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "nothing but the machine's first instructions")]

use core::arch::global_asm;
use core::panic::PanicInfo;

global_asm!(
    // The header of an arm64 image: code, text offset, size, flags, and at byte 56 the magic.
    ".section .text.start, \"ax\"",
    ".globl start",
    "start:",
    "b 1f",
    "nop",
    ".quad 0",
    ".quad 0x10000",
    ".quad 0xa",
    ".quad 0, 0, 0",
    ".ascii \"ARM\\x64\"",
    ".long 0",
    "1: mov x1, #0x09000000",
    "adr x2, text",
    "2: ldrb w3, [x2], #1",
    "cbz w3, 3f",
    "strb w3, [x1]",
    "b 2b",
    // PSCI SYSTEM_OFF.
    "3: mov w0, #0x0008",
    "movk w0, #0x8400, lsl #16",
    "hvc #0",
    "4: wfi",
    "b 4b",
    "text: .asciz \"started\\n\"",
);

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
