//! The way from the boot loader into Rust, and what it leaves behind.
#![allow(unsafe_code, reason = "assembly, and symbols of the linker script")]

use core::arch::global_asm;
use core::ops::Range;
use core::ptr::addr_of;

use crate::kernel_map::mair;
use crate::{copy, cpu, layout};

/// `TCR_EL1` but for the physical address size.
const TCR: u64 = {
    const T0SZ_48: u64 = 16;
    const T1SZ_48: u64 = 16 << 16;
    // Table walks: inner and outer write-back write-allocate, inner shareable.
    const WALKS_0: u64 = 1 << 8 | 1 << 10 | 3 << 12;
    const WALKS_1: u64 = 1 << 24 | 1 << 26 | 3 << 28;
    const TG1_4K: u64 = 2 << 30;
    const TBI0: u64 = 1 << 37;
    T0SZ_48 | T1SZ_48 | WALKS_0 | WALKS_1 | TG1_4K | TBI0
};

/// `SCTLR_EL1` but for what depends on features (SPAN, EPAN).
const SCTLR: u64 = {
    const MMU: u64 = 1;
    const DATA_CACHE: u64 = 1 << 2;
    const STACK_ALIGNMENT: u64 = 1 << 3 | 1 << 4;
    const SETEND_DISABLED: u64 = 1 << 8;
    const EOS: u64 = 1 << 11;
    const INSTRUCTION_CACHE: u64 = 1 << 12;
    // User mode may zero cache lines (DC ZVA), read CTR_EL0 and clean caches. WFI traps: a program
    // must not halt the core; WFE does not.
    const DZE: u64 = 1 << 14;
    const UCT: u64 = 1 << 15;
    const NTWE: u64 = 1 << 18;
    const TSCXT: u64 = 1 << 20;
    const EIS: u64 = 1 << 22;
    const UCI: u64 = 1 << 26;
    const NTLSMD_LSMAOE: u64 = 3 << 28;
    // Not WXN: it would take execution from programs' own writable and executable pages. The
    // kernel's tables keep W^X themselves.
    MMU | DATA_CACHE
        | STACK_ALIGNMENT
        | SETEND_DISABLED
        | EOS
        | INSTRUCTION_CACHE
        | DZE
        | UCT
        | NTWE
        | TSCXT
        | EIS
        | UCI
        | NTLSMD_LSMAOE
};

global_asm!(
    include_str!("boot.s"),
    mair = const mair::VALUE,
    tcr = const TCR,
    sctlr = const SCTLR,
    image_limit = const layout::IMAGE_LIMIT,
);
global_asm!(include_str!("vectors.s"));

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
    static __data_start: u8;
    static __data_end: u8;
    static __pristine_data: u8;
    static __emergency_stack_start: u8;
    static __stack_end: u8;
    static boot_l0: u8;
    static boot_empty: u8;
}

/// Set in [`BootInfo::device_tree`] where it is not the device tree's address but a boot block's, of a sibling.
pub const SIBLING: u64 = 1;

/// What the entry code passes to the board's `maize_main`, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootInfo {
    /// Physical address of the device tree, a multiple of 8; in a sibling, that of its boot block with
    /// [`SIBLING`] added.
    pub device_tree: u64,
    /// Physical address of the image's first byte.
    pub image: u64,
    /// Counter value at entry.
    pub entered_at: u64,
    /// Exception level at entry, 1 or 2.
    pub level: u64,
}

fn address(symbol: *const u8) -> u64 {
    symbol as u64
}

/// Bytes of the image with its zeroed data and stacks.
#[must_use]
pub fn image_len() -> u64 {
    address(addr_of!(__image_end)) - address(addr_of!(__image_start))
}

/// Start and length of the data that the image begins with.
fn pristine_data() -> (*const u8, usize) {
    let (start, end) = (addr_of!(__data_start), addr_of!(__data_end));
    (start, (address(end) - address(start)) as usize)
}

/// Keeps the data of the image as the boot loader left it, so that [`load_image`] can give it to
/// siblings.
///
/// # Safety
/// Called first of all, before anything writes to a static.
pub unsafe fn keep_image() {
    let (from, len) = pristine_data();
    // SAFETY: the linker script has room for the data behind `__pristine_data`, in memory that is
    // nobody else's; nothing else runs, and the statics copied from are not written meanwhile.
    unsafe { copy::copy(addr_of!(__pristine_data).cast_mut(), from, len) }
}

/// Writes an image to `to`, as a boot loader would: code and constants, which never change, and the
/// data that [`keep_image`] kept. The entry code zeroes the rest. What was written is clean to the
/// point of coherency: a processor whose MMU is off reads past the caches.
///
/// # Safety
/// `to` is the mapping of a multiple of 2 MiB of RAM, writable and as long as the image, where
/// nothing runs and which nothing refers to.
pub unsafe fn load_image(to: *mut u8) {
    let (data_start, data) = pristine_data();
    let constant = (address(data_start) - address(addr_of!(__image_start))) as usize;
    // SAFETY: the parts follow each other in the image, which is mapped and readable, and `to` is
    // as long.
    unsafe {
        copy::copy(to, addr_of!(__image_start), constant);
        copy::copy(to.add(constant), addr_of!(__pristine_data), data);
    }
    cpu::caches().clean(to, constant + data);
}

/// Addresses of the stack of exceptions inside the kernel and, above it, the kernel's stack.
#[must_use]
pub fn stacks() -> Range<usize> {
    addr_of!(__emergency_stack_start) as usize..addr_of!(__stack_end) as usize
}

/// Offset in the image of the root table of the kernel's half.
pub(crate) fn kernel_root_offset() -> u64 {
    address(addr_of!(boot_l0)) - layout::IMAGE_BASE
}

/// Offset in the image of a root table that maps nothing.
pub(crate) fn empty_root_offset() -> u64 {
    address(addr_of!(boot_empty)) - layout::IMAGE_BASE
}
