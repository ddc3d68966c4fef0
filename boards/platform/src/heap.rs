//! The kernel's heap.
//!
//! One region of the direct map, handed over once at boot. The core keeps what grows with a
//! program's use (pages, file contents) in frames, not here: the heap holds threads, areas, object
//! descriptions and buffers. [`share_of`] states the bound. An allocation that finds no room panics
//! by name; it does not return garbage or wait.
#![allow(unsafe_code, reason = "hands raw memory to an allocator")]

use core::ptr::NonNull;

use spin::mutex::SpinMutex;
use talc::TalcLock;
use talc::source::Manual;

/// The smallest heap, in bytes.
pub const MIN: u64 = 4 << 20;

/// The largest heap, in bytes.
pub const MAX: u64 = 256 << 20;

/// Bytes of heap on a machine with `ram` bytes: an eighth, from [`MIN`] to [`MAX`].
#[must_use]
pub const fn share_of(ram: u64) -> u64 {
    let share = ram / 8;
    let clamped = if share < MIN {
        MIN
    } else if share > MAX {
        MAX
    } else {
        share
    };
    clamped & !0xfff
}

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: TalcLock<SpinMutex<()>, Manual> = TalcLock::new(Manual);

/// Gives `len` bytes from `start` on to the heap. May be called again with more.
///
/// # Safety
/// The bytes are mapped, writable, and used by nothing else as long as the program runs.
pub unsafe fn add(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller gives the range away.
    let claimed = unsafe { HEAP.lock().claim(start.as_ptr(), len) };
    assert!(claimed.is_some(), "{len} bytes are too few for a heap");
}
