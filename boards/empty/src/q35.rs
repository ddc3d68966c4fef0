//! The empty kernel of QEMU's q35 machine: writes a line to the first serial port and stops.
#![no_std]
#![no_main]
#![allow(unsafe_code, reason = "nothing but the machine's first instructions")]

use core::arch::global_asm;
use core::panic::PanicInfo;

global_asm!(
    // The PVH note: type 18 gives the 32-bit entry.
    ".section .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4",
    ".long 8",
    ".long 18",
    ".asciz \"Xen\"",
    ".quad start",
    ".section .text.start, \"ax\"",
    ".code32",
    ".globl start",
    "start:",
    "mov esi, offset text",
    "mov ecx, 8",
    "mov dx, 0x3f8",
    "rep outsb",
    // The launcher's debug-exit device.
    "mov dx, 0xf4",
    "mov al, 0x10",
    "out dx, al",
    "2: hlt",
    "jmp 2b",
    "text: .ascii \"started\\n\"",
    ".code64",
);

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
