//! Copying to and from memory that others may write at the same time.
//!
//! The bytes are moved by machine instructions that the compiler knows nothing about, so that no
//! reference is made and no value is read twice. Eight bytes at a time: under emulation `rep movsb`
//! is ten times slower, and `rep movsq` no faster.
#![allow(unsafe_code, reason = "raw memory")]

use core::arch::asm;

/// Copies `len` bytes from `from` to `to`.
///
/// # Safety
/// Both ranges are mapped, `to`'s writable, and they do not overlap.
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the loops read exactly `len` bytes from `from` on and write as many from `to` on.
    unsafe {
        asm!(
            // 32 bytes a turn.
            "2: cmp {len}, 32",
            "jb 3f",
            "mov {a}, [{from}]",
            "mov {b}, [{from} + 8]",
            "mov [{to}], {a}",
            "mov [{to} + 8], {b}",
            "mov {a}, [{from} + 16]",
            "mov {b}, [{from} + 24]",
            "mov [{to} + 16], {a}",
            "mov [{to} + 24], {b}",
            "add {from}, 32",
            "add {to}, 32",
            "sub {len}, 32",
            "jmp 2b",
            // 8 bytes a turn.
            "3: cmp {len}, 8",
            "jb 4f",
            "mov {a}, [{from}]",
            "mov [{to}], {a}",
            "add {from}, 8",
            "add {to}, 8",
            "sub {len}, 8",
            "jmp 3b",
            // The rest.
            "4: test {len}, {len}",
            "jz 5f",
            "mov {a:l}, [{from}]",
            "mov [{to}], {a:l}",
            "inc {from}",
            "inc {to}",
            "dec {len}",
            "jmp 4b",
            "5:",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            len = inout(reg) len => _,
            a = out(reg) _,
            b = out(reg) _,
            options(nostack),
        );
    }
}

/// Fills `len` bytes from `to` on with zero.
///
/// # Safety
/// The range is mapped and writable.
pub(crate) unsafe fn zero(to: *mut u8, len: usize) {
    // SAFETY: the loops write exactly `len` bytes from `to` on.
    unsafe {
        asm!(
            "2: cmp {len}, 32",
            "jb 3f",
            "mov [{to}], {zero}",
            "mov [{to} + 8], {zero}",
            "mov [{to} + 16], {zero}",
            "mov [{to} + 24], {zero}",
            "add {to}, 32",
            "sub {len}, 32",
            "jmp 2b",
            "3: test {len}, {len}",
            "jz 4f",
            "mov byte ptr [{to}], 0",
            "inc {to}",
            "dec {len}",
            "jmp 3b",
            "4:",
            to = inout(reg) to => _,
            len = inout(reg) len => _,
            zero = in(reg) 0_u64,
            options(nostack),
        );
    }
}
