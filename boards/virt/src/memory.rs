//! Who gets which RAM.
#![allow(unsafe_code, reason = "gives RAM to the heap and to devices")]

use core::fmt;
use core::ptr::NonNull;

use heapless::Vec;
use maize_arch_aarch64::layout::DIRECT_BASE;
use maize_arch_aarch64::space::direct;
use maize_devicetree::{MAX_FREE_RANGES, Range};
use maize_hal::{Frame, FrameRange};
use maize_platform::{dma, heap};

const PAGE: u64 = 4096;

/// No piece of free RAM is large enough for the kernel's heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory {
    /// Bytes wanted in one piece.
    pub wanted: u64,
    /// Bytes of the largest piece.
    pub largest: u64,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoMemory { wanted, largest } = self;
        write!(f, "the kernel needs {wanted:#x} bytes in one piece, there are {largest:#x}")
    }
}

impl core::error::Error for NoMemory {}

/// Opens the heap and sets memory for devices aside; returns what programs get.
///
/// # Safety
/// `free` is RAM in the direct map that nothing uses, and this is called once.
///
/// # Errors
/// [`NoMemory`].
pub unsafe fn divide(free: &[Range]) -> Result<Vec<FrameRange, MAX_FREE_RANGES>, NoMemory> {
    let heap_len = heap::share_of(free.iter().map(|r| r.len).sum());
    let wanted = heap_len + dma::FRAMES * PAGE;
    let largest = free.iter().copied().max_by_key(|r| r.len);
    let Some(taken) = largest.filter(|r| r.len >= wanted) else {
        return Err(NoMemory { wanted, largest: largest.map_or(0, |r| r.len) });
    };
    let after_heap = Frame::containing(taken.start + heap_len);
    let devices = FrameRange { start: after_heap, end: Frame(after_heap.0 + dma::FRAMES) };
    let rest = Range { start: taken.start + wanted, len: taken.len - wanted };
    if let Some(start) = NonNull::new(direct(taken.start)) {
        // SAFETY: the caller's: RAM in the direct map that nothing uses; it is not in the result.
        unsafe { heap::add(start, heap_len as usize) }
    }
    // SAFETY: as above; buffers of drivers come from there or from the heap, which lies in the
    // direct map too.
    unsafe { dma::init(devices, DIRECT_BASE) }
    let frames = |r: &Range| FrameRange {
        start: Frame::containing(r.start),
        end: Frame::containing(r.end()),
    };
    let others = free.iter().filter(|r| **r != taken).chain([&rest]);
    Ok(others.map(frames).filter(|r| !r.is_empty()).collect())
}
