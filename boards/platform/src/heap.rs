//! The kernel's heap.
//!
//! Pieces of the direct map: [`first_frames`] handed over at boot, and what the core adds as it needs
//! more ([`Growing`]). The core keeps the content of pages in frames, not here: the heap holds
//! threads, areas, object descriptions and buffers. The core sees to it that there is room before
//! it allocates for a program; an allocation that finds none is an error of the kernel and panics
//! by name, it does not return garbage or wait.
#![allow(unsafe_code, reason = "hands raw memory to an allocator")]

use core::ptr::NonNull;

use maize_abi::PAGE_SIZE;
use maize_hal::{FrameRange, KernelHeap};
use spin::Once;
use spin::mutex::SpinMutex;
use talc::TalcLock;
use talc::source::Manual;

/// Frames of the heap at boot on a machine with `ram` frames: enough to bring the machine and the
/// core up, who keeps a bit for each frame.
#[must_use]
pub const fn first_frames(ram: u64) -> u64 {
    let bits = ram.div_ceil(8 * PAGE_SIZE as u64);
    512 + 2 * bits
}

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: TalcLock<SpinMutex<()>, Manual> = TalcLock::new(Manual);

/// Virtual minus physical address of the direct map, modulo 2^64.
static OFFSET: Once<u64> = Once::new();

/// Opens the heap with its first frames, or gives it more before the core does through [`Growing`].
///
/// # Safety
/// All RAM is mapped, cacheable and writable, at physical address + `offset` (modulo 2^64) for good,
/// and nothing else uses `first`.
pub unsafe fn open(first: FrameRange, offset: u64) {
    OFFSET.call_once(|| offset);
    add(first, offset);
}

fn add(frames: FrameRange, offset: u64) {
    let Some(start) = NonNull::new(frames.start.address().wrapping_add(offset) as *mut u8) else {
        return;
    };
    let len = frames.len() as usize * PAGE_SIZE;
    // SAFETY: `open`'s caller vouched for the mapping. Frames come from that caller too, or from the
    // core by `KernelHeap::grow`, which gives them away.
    let claimed = unsafe { HEAP.lock().claim(start.as_ptr(), len) };
    assert!(claimed.is_some(), "{len} bytes are too few for a heap");
}

/// The heap, as the core makes it grow.
#[derive(Clone, Copy, Debug)]
pub struct Growing;

impl KernelHeap for Growing {
    fn available(&self) -> usize {
        HEAP.lock().counters().available_bytes
    }

    fn grow(&mut self, frames: FrameRange) {
        if let Some(offset) = OFFSET.get() {
            add(frames, *offset);
        }
    }
}
