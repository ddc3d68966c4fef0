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
            // 128 bytes a turn: in emulation a turn costs as much as four words.
            "2: cmp {len}, 128",
            "jb 3f",
            "mov {a}, [{from} + 0]",
            "mov {b}, [{from} + 8]",
            "mov [{to} + 0], {a}",
            "mov [{to} + 8], {b}",
            "mov {a}, [{from} + 16]",
            "mov {b}, [{from} + 24]",
            "mov [{to} + 16], {a}",
            "mov [{to} + 24], {b}",
            "mov {a}, [{from} + 32]",
            "mov {b}, [{from} + 40]",
            "mov [{to} + 32], {a}",
            "mov [{to} + 40], {b}",
            "mov {a}, [{from} + 48]",
            "mov {b}, [{from} + 56]",
            "mov [{to} + 48], {a}",
            "mov [{to} + 56], {b}",
            "mov {a}, [{from} + 64]",
            "mov {b}, [{from} + 72]",
            "mov [{to} + 64], {a}",
            "mov [{to} + 72], {b}",
            "mov {a}, [{from} + 80]",
            "mov {b}, [{from} + 88]",
            "mov [{to} + 80], {a}",
            "mov [{to} + 88], {b}",
            "mov {a}, [{from} + 96]",
            "mov {b}, [{from} + 104]",
            "mov [{to} + 96], {a}",
            "mov [{to} + 104], {b}",
            "mov {a}, [{from} + 112]",
            "mov {b}, [{from} + 120]",
            "mov [{to} + 112], {a}",
            "mov [{to} + 120], {b}",
            "add {from}, 128",
            "add {to}, 128",
            "sub {len}, 128",
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
            "2: cmp {len}, 128",
            "jb 3f",
            "mov [{to} + 0], {zero}",
            "mov [{to} + 8], {zero}",
            "mov [{to} + 16], {zero}",
            "mov [{to} + 24], {zero}",
            "mov [{to} + 32], {zero}",
            "mov [{to} + 40], {zero}",
            "mov [{to} + 48], {zero}",
            "mov [{to} + 56], {zero}",
            "mov [{to} + 64], {zero}",
            "mov [{to} + 72], {zero}",
            "mov [{to} + 80], {zero}",
            "mov [{to} + 88], {zero}",
            "mov [{to} + 96], {zero}",
            "mov [{to} + 104], {zero}",
            "mov [{to} + 112], {zero}",
            "mov [{to} + 120], {zero}",
            "add {to}, 128",
            "sub {len}, 128",
            "jmp 2b",
            "3: cmp {len}, 8",
            "jb 4f",
            "mov [{to}], {zero}",
            "add {to}, 8",
            "sub {len}, 8",
            "jmp 3b",
            "4: test {len}, {len}",
            "jz 5f",
            "mov byte ptr [{to}], 0",
            "inc {to}",
            "dec {len}",
            "jmp 4b",
            "5:",
            to = inout(reg) to => _,
            len = inout(reg) len => _,
            zero = in(reg) 0_u64,
            options(nostack),
        );
    }
}
