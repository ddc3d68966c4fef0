//! Copying and clearing memory that others may write meanwhile.
//!
//! User code, devices and sibling instances write the frames that the kernel reads. The compiler
//! may assume that nobody does for anything it sees; assembly it does not see into. Aligned words
//! of 8, 4 and 2 bytes are copied in one access each, so an aligned word is never torn.
#![allow(unsafe_code, reason = "assembly on raw pointers")]

use core::arch::asm;

/// Copies `len` bytes. The ranges may not overlap.
///
/// # Safety
/// Both ranges are mapped Normal memory, `to` writable, and neither holds anything but bytes that
/// may change at any time.
pub(crate) unsafe fn copy(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller's; the assembly accesses exactly the two ranges.
    unsafe {
        asm!(
            "subs {n}, {n}, #64",
            "b.lo 3f",
            "2:",
            "ldp {a}, {b}, [{from}]",
            "ldp {c}, {d}, [{from}, #16]",
            "ldp {e}, {f}, [{from}, #32]",
            "ldp {g}, {h}, [{from}, #48]",
            "add {from}, {from}, #64",
            "stp {a}, {b}, [{to}]",
            "stp {c}, {d}, [{to}, #16]",
            "stp {e}, {f}, [{to}, #32]",
            "stp {g}, {h}, [{to}, #48]",
            "add {to}, {to}, #64",
            "subs {n}, {n}, #64",
            "b.hs 2b",
            "3:",
            "adds {n}, {n}, #64",
            "b.eq 8f",
            "4:",
            "subs {n}, {n}, #8",
            "b.lo 5f",
            "ldr {a}, [{from}], #8",
            "str {a}, [{to}], #8",
            "b 4b",
            "5:",
            "tbz {n}, #2, 6f",
            "ldr {a:w}, [{from}], #4",
            "str {a:w}, [{to}], #4",
            "6:",
            "tbz {n}, #1, 7f",
            "ldrh {a:w}, [{from}], #2",
            "strh {a:w}, [{to}], #2",
            "7:",
            "tbz {n}, #0, 8f",
            "ldrb {a:w}, [{from}]",
            "strb {a:w}, [{to}]",
            "8:",
            n = inout(reg) len => _,
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            a = out(reg) _, b = out(reg) _, c = out(reg) _, d = out(reg) _,
            e = out(reg) _, f = out(reg) _, g = out(reg) _, h = out(reg) _,
            options(nostack),
        );
    }
}

/// Clears `len` bytes.
///
/// # Safety
/// The range is mapped writable Normal memory that holds nothing but bytes.
pub(crate) unsafe fn clear(to: *mut u8, len: usize) {
    // SAFETY: the caller's; the assembly writes exactly the range.
    unsafe {
        asm!(
            "subs {n}, {n}, #64",
            "b.lo 3f",
            "2:",
            "stp xzr, xzr, [{to}]",
            "stp xzr, xzr, [{to}, #16]",
            "stp xzr, xzr, [{to}, #32]",
            "stp xzr, xzr, [{to}, #48]",
            "add {to}, {to}, #64",
            "subs {n}, {n}, #64",
            "b.hs 2b",
            "3:",
            "adds {n}, {n}, #64",
            "b.eq 5f",
            "4:",
            "strb wzr, [{to}], #1",
            "subs {n}, {n}, #1",
            "b.ne 4b",
            "5:",
            n = inout(reg) len => _,
            to = inout(reg) to => _,
            options(nostack),
        );
    }
}

/// Clears the 4 KiB at `page`, in blocks of `block` bytes by DC ZVA.
///
/// # Safety
/// As for [`clear`]; `page` is a multiple of 4096 and `block` what `DCZID_EL0` allows.
pub(crate) unsafe fn clear_page(page: *mut u8, block: usize) {
    // SAFETY: the caller's; a block divides a page.
    unsafe {
        asm!(
            "2:",
            "dc zva, {at}",
            "add {at}, {at}, {block}",
            "cmp {at}, {end}",
            "b.lo 2b",
            at = inout(reg) page => _,
            end = in(reg) page.wrapping_add(4096),
            block = in(reg) block,
            options(nostack),
        );
    }
}
