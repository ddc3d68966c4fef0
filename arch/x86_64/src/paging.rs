//! The kernel's half of the address space.
//!
//! Built once, at boot, from the boot tables' identity mapping; afterwards only device registers are
//! added, below a root entry that exists from the start, so every space shares all of it by copying
//! the upper half of the root once.
#![allow(unsafe_code, reason = "page tables")]

use core::error::Error;
use core::fmt;
use core::ops::Range;
use core::ptr::NonNull;

use spin::mutex::SpinMutex;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::mapper::MapToError;
use x86_64::structures::paging::page::PageSize;
use x86_64::structures::paging::{
    FrameAllocator, Mapper, OffsetPageTable, Page, PageTable, PageTableFlags as Flags, PhysFrame,
    Size1GiB, Size2MiB, Size4KiB,
};
use x86_64::{PhysAddr, VirtAddr};

use crate::boot::{BootInfo, image};
use crate::layout::{DEVICES, DEVICES_END, DIRECT_MAP};

/// Bytes of page tables to set aside for a machine whose RAM ends at physical address `end`: two
/// tables a GiB for pages of 2 MiB and their ragged ends, and some for the image and devices.
#[must_use]
pub const fn tables_len(end: u64) -> u64 {
    (96 + 2 * (end >> 30)) * 4096
}

/// Why something could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No frame is left for a table.
    NoTables,
    /// No virtual address is left for device registers.
    NoRoom,
    /// The range is mapped already, or not where it may be.
    Overlap {
        /// Its virtual address.
        virt: u64,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTables => f.write_str("no frame is left for page tables"),
            Self::NoRoom => f.write_str("no address is left for device registers"),
            Self::Overlap { virt } => write!(f, "{virt:#x} is mapped already"),
        }
    }
}

impl Error for MapError {}

/// Frames for tables, given out in order.
struct Tables {
    next: u64,
    end: u64,
}

// SAFETY: each frame is given out once; `init`'s caller vouched that nothing else uses them.
unsafe impl FrameAllocator<Size4KiB> for Tables {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        let frame = self.next;
        (frame < self.end).then(|| {
            self.next += 4096;
            PhysFrame::containing_address(PhysAddr::new_truncate(frame))
        })
    }
}

/// The kernel's mappings.
struct KernelSpace {
    root: u64,
    tables: Tables,
    /// Virtual address of physical address 0, as tables are reached now.
    offset: u64,
    next_device: u64,
    huge: bool,
}

const TABLE: Flags = Flags::PRESENT.union(Flags::WRITABLE);
const READ: Flags = Flags::PRESENT.union(Flags::GLOBAL).union(Flags::NO_EXECUTE);
const WRITE: Flags = READ.union(Flags::WRITABLE);
const TEXT: Flags = Flags::PRESENT.union(Flags::GLOBAL);
const DEVICE: Flags = WRITE.union(Flags::NO_CACHE).union(Flags::WRITE_THROUGH);

impl KernelSpace {
    fn map_page<S: PageSize>(
        &mut self,
        virt: u64,
        physical: u64,
        flags: Flags,
    ) -> Result<(), MapError>
    where
        for<'a> OffsetPageTable<'a>: Mapper<S>,
    {
        let page = Page::<S>::containing_address(VirtAddr::new_truncate(virt));
        let frame = PhysFrame::containing_address(PhysAddr::new_truncate(physical));
        let root = (self.root.wrapping_add(self.offset)) as *mut PageTable;
        // SAFETY: the root and every table below it are this space's own frames, reached at
        // `offset`; the frames mapped are RAM of the image, free RAM or device registers, each
        // with rights that cannot break Rust's rules: the image's are those of its parts.
        unsafe {
            let mut mapper = OffsetPageTable::new(&mut *root, VirtAddr::new_truncate(self.offset));
            match mapper.map_to_with_table_flags(page, frame, flags, TABLE, &mut self.tables) {
                // The page was not there before, and absent pages are not in the TLB.
                Ok(flush) => flush.ignore(),
                Err(MapToError::FrameAllocationFailed) => return Err(MapError::NoTables),
                Err(_) => return Err(MapError::Overlap { virt }),
            }
        }
        Ok(())
    }

    /// Maps `len` bytes, all multiples of 4 KiB, with the largest pages that fit.
    fn map(&mut self, virt: u64, physical: u64, len: u64, flags: Flags) -> Result<(), MapError> {
        let mut done = 0;
        while done < len {
            let (v, p, left) = (virt + done, physical + done, len - done);
            let fits = |size: u64| (v | p) & (size - 1) == 0 && left >= size;
            done += if self.huge && fits(Size1GiB::SIZE) {
                self.map_page::<Size1GiB>(v, p, flags)?;
                Size1GiB::SIZE
            } else if fits(Size2MiB::SIZE) {
                self.map_page::<Size2MiB>(v, p, flags)?;
                Size2MiB::SIZE
            } else {
                self.map_page::<Size4KiB>(v, p, flags)?;
                Size4KiB::SIZE
            };
        }
        Ok(())
    }

    fn map_image(&mut self, physical: u64) -> Result<(), MapError> {
        let parts = image();
        let mut map = |from: u64, to: u64, flags: Flags| {
            self.map(from, physical + (from - parts.text), to - from, flags)
        };
        map(parts.text, parts.rodata, TEXT)?;
        map(parts.rodata, parts.data, READ)?;
        map(parts.data, parts.guard, WRITE)?;
        map(parts.guard + 4096, parts.end, WRITE)
    }

    /// Maps what is not this machine's RAM, where there is room for it.
    fn map_outside(
        &mut self,
        physical: u64,
        len: u64,
        flags: Flags,
    ) -> Result<NonNull<u8>, MapError> {
        let start = physical & !0xfff;
        let end = physical.checked_add(len).ok_or(MapError::NoRoom)?;
        let end = end.checked_next_multiple_of(4096).ok_or(MapError::NoRoom)?;
        let len = end - start;
        // At the same place in a large page as the physical address, so that large pages fit.
        let mut virt = self.next_device;
        if len >= Size2MiB::SIZE {
            let inside = start & (Size2MiB::SIZE - 1);
            virt = virt.next_multiple_of(Size2MiB::SIZE) + inside;
        }
        let after = virt.checked_add(len).filter(|after| *after <= DEVICES_END);
        self.next_device = after.ok_or(MapError::NoRoom)?;
        self.map(virt, start, len, flags)?;
        let pointer = (virt + (physical - start)) as *mut u8;
        NonNull::new(pointer).ok_or(MapError::NoRoom)
    }
}

static KERNEL: SpinMutex<Option<KernelSpace>> = SpinMutex::new(None);

/// Replaces the boot tables: the image with its own rights, `ram` in the direct map, nothing else.
///
/// `ram` are ranges of whole pages that do not overlap each other or the image; `read_only` says
/// of each whether the kernel itself may not write it.
///
/// # Safety
/// Called once, on the boot tables, with what the entry code passed. `tables` is RAM below 4 GiB
/// inside one of the writable ranges that nothing uses. Nothing refers to physical memory by its
/// own address afterwards.
///
/// # Errors
/// [`MapError`]; the boot tables are then still in use.
pub unsafe fn init(
    boot: &BootInfo,
    ram: impl Iterator<Item = (Range<u64>, bool)>,
    tables: Range<u64>,
) -> Result<(), MapError> {
    let huge = raw_cpuid::CpuId::new()
        .get_extended_processor_and_feature_identifiers()
        .is_some_and(|f| f.has_1gib_pages());
    let mut tables = Tables { next: tables.start, end: tables.end };
    let root = tables.allocate_frame().ok_or(MapError::NoTables)?.start_address().as_u64();
    // SAFETY: the frame is free RAM, at its own address under the boot tables.
    unsafe { (root as *mut PageTable).write(PageTable::new()) };
    let mut space = KernelSpace { root, tables, offset: 0, next_device: DEVICES, huge };
    space.map_image(boot.image)?;
    for (range, read_only) in ram {
        let flags = if read_only { READ } else { WRITE };
        space.map(DIRECT_MAP + range.start, range.start, range.end - range.start, flags)?;
    }
    // The first device page makes the root entry that all spaces will share.
    space.map_outside(0, 4096, DEVICE)?;
    let frame = PhysFrame::containing_address(PhysAddr::new_truncate(root));
    // SAFETY: the new tables map the image at the same addresses, the stack in it included, and
    // the tables themselves are in the direct map.
    unsafe { Cr3::write(frame, Cr3Flags::empty()) };
    space.offset = DIRECT_MAP;
    *KERNEL.lock() = Some(space);
    Ok(())
}

/// Maps `len` bytes of device registers, for good.
///
/// # Errors
/// [`MapError`] if there is no room or [`init`] has not been called.
pub fn map_device(physical: u64, len: usize) -> Result<NonNull<u8>, MapError> {
    let mut kernel = KERNEL.lock();
    kernel.as_mut().ok_or(MapError::NoTables)?.map_outside(physical, len as u64, DEVICE)
}

/// Maps `len` bytes of memory that is not RAM of this machine (a window that others share), whole
/// pages, as RAM is mapped: at its place in the direct map, for good.
///
/// # Errors
/// As [`map_device`].
pub fn map_memory(physical: u64, len: usize) -> Result<NonNull<u8>, MapError> {
    let mut kernel = KERNEL.lock();
    let virt = DIRECT_MAP + physical;
    kernel.as_mut().ok_or(MapError::NoTables)?.map(virt, physical, len as u64, WRITE)?;
    NonNull::new(direct(physical)).ok_or(MapError::NoRoom)
}

/// The physical address of the kernel's own root table, whose lower half is empty.
#[must_use]
pub fn kernel_root() -> u64 {
    KERNEL.lock().as_ref().map_or(0, |space| space.root)
}

/// Pointer to physical `address` in the direct map.
#[must_use]
pub fn direct(address: u64) -> *mut u8 {
    DIRECT_MAP.wrapping_add(address) as *mut u8
}
