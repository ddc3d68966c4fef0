//! The entry code's side of Rust: where the image lies and what it was given.
#![allow(unsafe_code, reason = "assembly and linker symbols")]

use core::arch::{asm, global_asm};
use core::ops::Range;

use crate::copy;

global_asm!(include_str!("boot.s"), options(att_syntax));

unsafe extern "C" {
    static __image_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __data_end: u8;
    static __pristine_data: u8;
    static __stack_guard: u8;
    static __stack_end: u8;
    static __image_end: u8;
}

/// What the entry code passes to `maize_main`, in this order.
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    /// Physical address of the PVH start information, or of a sibling's boot block.
    pub start_info: u64,
    /// Physical address of the image's first byte, a multiple of 2 MiB.
    pub image: u64,
    /// Time-stamp counter at the entry.
    pub entered_at: u64,
}

/// Virtual addresses of the parts of the image, each from a page boundary to the next part.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Executable, not writable.
    pub text: u64,
    /// Readable only.
    pub rodata: u64,
    /// Writable.
    pub data: u64,
    /// A page below the stack that is never mapped.
    pub guard: u64,
    /// The end.
    pub end: u64,
}

fn address(symbol: *const u8) -> u64 {
    symbol as u64
}

/// The parts of the running image.
#[must_use]
pub fn image() -> Image {
    Image {
        text: address(&raw const __image_start),
        rodata: address(&raw const __rodata_start),
        data: address(&raw const __data_start),
        guard: address(&raw const __stack_guard),
        end: address(&raw const __image_end),
    }
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
    unsafe { copy::copy((&raw const __pristine_data).cast_mut(), from, len) }
}

/// Start and length of the data that the image begins with.
fn pristine_data() -> (*const u8, usize) {
    let (start, end) = (&raw const __data_start, &raw const __data_end);
    (start, address(end) as usize - address(start) as usize)
}

/// Writes an image to `to`, as a boot loader would: text and constants, which never change, the
/// data that [`keep_image`] kept, and zeroes. Its entry is its first byte.
///
/// # Safety
/// `to` is the mapping of a multiple of 2 MiB of RAM, writable and as long as the image, where
/// nothing runs and which nothing refers to.
pub unsafe fn load_image(to: *mut u8) {
    let parts = image();
    let constant = (parts.data - parts.text) as usize;
    let (_, data) = pristine_data();
    let whole = (parts.end - parts.text) as usize;
    // SAFETY: the parts follow each other in the image, which is mapped and readable, and `to` is
    // as long.
    unsafe {
        copy::copy(to, &raw const __image_start, constant);
        copy::copy(to.add(constant), &raw const __pristine_data, data);
        copy::zero(to.add(constant + data), whole - constant - data);
    }
}

/// The kernel's stack.
#[must_use]
pub fn stack() -> Range<usize> {
    let start = (&raw const __stack_guard) as usize + maize_abi::PAGE_SIZE;
    start..(&raw const __stack_end) as usize
}

/// The address of this function's own frame record, whose caller is the caller of this.
#[must_use]
#[inline(never)]
pub fn frame_pointer() -> usize {
    let frame: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    frame
}
