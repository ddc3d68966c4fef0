//! Memory that devices read and write.
//!
//! A few frames are set aside at boot and given out in order; what is given back is not used again,
//! since devices are set up once and live as long as the machine. Memory is coherent on both boards
//! and there is no IOMMU, so a buffer's device address is its physical address.
#![allow(unsafe_code, reason = "gives out raw memory to devices")]

use core::ptr::NonNull;

use maize_abi::PAGE_SIZE;
use maize_hal::{Frame, FrameRange};
use spin::mutex::SpinMutex;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::hooks;

/// Frames a board sets aside: 1 MiB, enough for the host link's buffers and a few more queues.
pub const FRAMES: u64 = 256;

#[derive(Clone, Copy, Debug)]
struct Pool {
    /// Not given out yet.
    free: FrameRange,
    /// Virtual minus physical address, modulo 2^64.
    offset: u64,
}

static POOL: SpinMutex<Option<Pool>> = SpinMutex::new(None);

/// Sets `frames` aside for devices.
///
/// # Safety
/// Physical address `p` in `frames` is mapped, cacheable and writable, at virtual address
/// `p + offset` (modulo 2^64) as long as the program runs, and nothing else uses those frames. Every
/// buffer that is passed to [`VirtioHal`] is mapped at the same offset.
pub unsafe fn init(frames: FrameRange, offset: u64) {
    *POOL.lock() = Some(Pool { free: frames, offset });
}

/// Zeroed pages for a device: physical address and pointer.
#[must_use]
pub fn allocate(pages: usize) -> Option<(PhysAddr, NonNull<u8>)> {
    let mut pool = POOL.lock();
    let pool = pool.as_mut()?;
    let count = u64::try_from(pages).ok()?;
    if count == 0 || pool.free.len() < count {
        return None;
    }
    let physical = pool.free.start.address();
    let pointer = NonNull::new(physical.wrapping_add(pool.offset) as *mut u8)?;
    pool.free.start = Frame(pool.free.start.0 + count);
    // SAFETY: these pages were free until the line above, so nothing else refers to them, and
    // `init`'s caller vouched for the mapping.
    unsafe { pointer.write_bytes(0, pages * PAGE_SIZE) };
    Some((physical, pointer))
}

/// What `virtio-drivers` needs from a machine.
#[derive(Clone, Copy, Debug)]
pub struct VirtioHal;

// SAFETY: `dma_alloc` gives each page out once, zeroed, mapped as `init`'s caller vouched for, and
// `dma_dealloc` never makes one available again; device registers come from the board's mapping.
unsafe impl Hal for VirtioHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // Physical address 0 tells the caller that there is none.
        allocate(pages).unwrap_or((0, NonNull::dangling()))
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        0
    }

    #[expect(clippy::panic, reason = "the trait has no way to refuse; boards have TiBs of room")]
    unsafe fn mmio_phys_to_virt(physical: PhysAddr, len: usize) -> NonNull<u8> {
        let mapped = hooks().and_then(|hooks| (hooks.map_device)(physical, len));
        mapped.unwrap_or_else(|| panic!("no room to map device registers at {physical:#x}"))
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        let offset = POOL.lock().map_or(0, |pool| pool.offset);
        (buffer.addr().get() as u64).wrapping_sub(offset)
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
