//! Who gets which RAM: the heap, devices, and the core.
#![allow(unsafe_code, reason = "gives RAM to the heap and to devices")]

use alloc::vec::Vec;
use core::fmt;

use maize_hal::{Frame, FrameRange};

use crate::{dma, heap};

/// No piece of free RAM is large enough for the heap and for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory {
    /// Frames wanted in one piece.
    pub wanted: u64,
    /// Frames of the largest piece.
    pub largest: u64,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoMemory { wanted, largest } = self;
        write!(f, "the kernel needs {wanted} frames in one piece, there are {largest}")
    }
}

impl core::error::Error for NoMemory {}

/// What [`plan`] gives to whom, taken from the range with index `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    from: usize,
    heap: FrameRange,
    devices: FrameRange,
    rest: FrameRange,
}

/// Frames of the heap that is there before anyone knows what the machine is for: 1 MiB.
const EARLY: u64 = 256;

fn plan(free: &[FrameRange]) -> Result<Plan, NoMemory> {
    let heap_frames = heap::first_frames(free.iter().map(FrameRange::len).sum());
    let wanted = heap_frames + dma::FRAMES;
    let largest = free.iter().enumerate().max_by_key(|(_, range)| range.len());
    let Some((from, taken)) = largest.filter(|(_, range)| range.len() >= wanted) else {
        return Err(NoMemory { wanted, largest: largest.map_or(0, |(_, range)| range.len()) });
    };
    let devices_at = Frame(taken.start.0 + heap_frames);
    let rest_at = Frame(taken.start.0 + wanted);
    Ok(Plan {
        from,
        heap: FrameRange { start: taken.start, end: devices_at },
        devices: FrameRange { start: devices_at, end: rest_at },
        rest: FrameRange { start: rest_at, end: taken.end },
    })
}

/// Whether an instance can live in `free`.
///
/// # Errors
/// [`NoMemory`] if it is too little, or in too small pieces.
pub fn suffices(free: &[FrameRange]) -> Result<(), NoMemory> {
    plan(free).map(|_| ())
}

/// Opens a small heap, enough to read what the launcher asks for: takes it from the last of `free`
/// that has room.
///
/// # Safety
/// As [`divide`], which comes after with what is left.
///
/// # Errors
/// [`NoMemory`].
pub unsafe fn open_heap(free: &mut [FrameRange], offset: u64) -> Result<(), NoMemory> {
    let largest = free.iter().map(FrameRange::len).max().unwrap_or(0);
    let none = NoMemory { wanted: EARLY, largest };
    let from = free.iter_mut().rfind(|range| range.len() >= EARLY).ok_or(none)?;
    let taken = FrameRange { start: Frame(from.end.0 - EARLY), end: from.end };
    from.end = taken.start;
    // SAFETY: the caller's; these frames are no longer in `free`.
    unsafe { heap::open(taken, offset) }
    Ok(())
}

/// Gives the heap what it starts with and sets memory for devices aside; returns what the core gets.
///
/// # Safety
/// `free` are ranges of RAM that do not overlap and that nothing uses, mapped, cacheable and
/// writable, at physical address + `offset` (modulo 2^64) for good. Called once.
///
/// # Errors
/// [`NoMemory`].
pub unsafe fn divide(free: &[FrameRange], offset: u64) -> Result<Vec<FrameRange>, NoMemory> {
    let Plan { from, heap, devices, rest } = plan(free)?;
    // SAFETY: the caller's; these frames are in nothing else of the plan.
    unsafe { heap::open(heap, offset) }
    // SAFETY: as above; buffers of drivers come from there or from the heap, which lies at the same
    // offset.
    unsafe { dma::init(devices, offset) }
    let others = free.iter().enumerate().filter(|(index, _)| *index != from);
    let others = others.map(|(_, range)| *range);
    Ok(others.chain([rest]).filter(|range| !range.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> FrameRange {
        FrameRange { start: Frame(start), end: Frame(end) }
    }

    #[test]
    fn every_frame_is_given_out_once() {
        let free = [range(0x100, 0x200), range(0x1000, 0x1_0000), range(0x2_0000, 0x2_0001)];
        let plan = plan(&free).unwrap();
        assert_eq!(plan.from, 1);
        assert_eq!(plan.heap.start, free[1].start);
        assert_eq!(plan.heap.end, plan.devices.start);
        assert_eq!(plan.devices.end, plan.rest.start);
        assert_eq!(plan.rest.end, free[1].end);
        assert_eq!(plan.devices.len(), dma::FRAMES);
        assert_eq!(plan.heap.len(), 512 + 2 * 2);
    }

    #[test]
    fn too_little_memory_is_named() {
        assert_eq!(plan(&[]), Err(NoMemory { wanted: 512 + 256, largest: 0 }));
        let small = [range(0, 700), range(2000, 2500)];
        assert_eq!(plan(&small), Err(NoMemory { wanted: 514 + 256, largest: 700 }));
    }
}
