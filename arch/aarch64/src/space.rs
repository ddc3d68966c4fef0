//! The kernel's half of the address space, on the machine.
#![allow(unsafe_code, reason = "page tables and the addresses they make")]

use core::cell::UnsafeCell;
use core::ptr::{NonNull, addr_of};

use aarch64_cpu::asm::barrier;

use crate::entry;
use crate::kernel_map::{self, Kind, MapError, TableMemory};
use crate::layout::{DEVICE_BASE, DIRECT_BASE, IMAGE_BASE, PHYSICAL_LIMIT};

/// Tables for what is mapped after boot. RAM takes two at most for each range whose ends are not on
/// 1 GiB and 2 MiB boundaries, devices two for each GiB they lie in.
const TABLES: usize = 48;

#[repr(C, align(4096))]
struct Pool([UnsafeCell<[u64; 512]>; TABLES]);

// SAFETY: only `Tables` touches the tables, and `Space::new` makes one of it.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool([const { UnsafeCell::new([0; 512]) }; TABLES]);

struct Tables {
    image: u64,
    used: usize,
}

impl Tables {
    /// Every table lies in the image.
    fn entry(&self, table: u64, index: usize) -> *mut u64 {
        debug_assert!(table >= self.image && index < 512);
        ((table - self.image + IMAGE_BASE) as *mut u64).wrapping_add(index)
    }
}

impl TableMemory for Tables {
    fn read(&self, table: u64, index: usize) -> u64 {
        // SAFETY: `table` is `boot_l0` or came from `allocate` or from an entry written here or by
        // the boot code, all in the image, which is mapped as long as the kernel runs.
        unsafe { self.entry(table, index).read_volatile() }
    }

    fn write(&mut self, table: u64, index: usize, entry: u64) {
        // The walker must not see the entry before the table or data that it points to.
        barrier::dmb(barrier::ISHST);
        // SAFETY: as for `read`; only this `Tables` writes.
        unsafe { self.entry(table, index).write_volatile(entry) }
    }

    fn allocate(&mut self) -> Option<u64> {
        let table = POOL.0.get(self.used)?;
        self.used += 1;
        Some(table.get() as u64 - IMAGE_BASE + self.image)
    }
}

/// The kernel's half of the address space.
pub struct Space {
    tables: Tables,
    root: u64,
    image_len: u64,
}

impl core::fmt::Debug for Space {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Space").field("image", &self.tables.image).finish_non_exhaustive()
    }
}

impl Space {
    /// The space that the boot code has made; `image` is the image's physical address.
    ///
    /// # Safety
    /// `image` is what the boot code gave, and this is called once.
    #[must_use]
    pub unsafe fn new(image: u64) -> Space {
        debug_assert_eq!(addr_of!(POOL) as usize % 4096, 0);
        Space {
            tables: Tables { image, used: 0 },
            root: image + entry::kernel_root_offset(),
            image_len: entry::image_len(),
        }
    }

    fn map(&mut self, base: u64, pa: u64, len: u64, kind: Kind) -> Result<(), MapError> {
        if pa.checked_add(len).is_none_or(|end| end > PHYSICAL_LIMIT) {
            return Err(MapError::Unaligned);
        }
        let result = kernel_map::map(&mut self.tables, self.root, base + pa, pa, len, kind);
        // The walker sees the entries, and no instruction after this was fetched or executed
        // before: no entry was valid, so there is nothing to flush.
        barrier::dsb(barrier::ISHST);
        barrier::isb(barrier::SY);
        result
    }

    /// Puts RAM into the direct map, but for what the image occupies. Addresses are multiples of
    /// 4 KiB.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_ram(&mut self, pa: u64, len: u64) -> Result<(), MapError> {
        let end = pa.checked_add(len).ok_or(MapError::Unaligned)?;
        let (image, image_end) = (self.tables.image, self.tables.image + self.image_len);
        let before = (pa, end.min(image));
        let after = (pa.max(image_end), end);
        for (start, end) in [before, after] {
            if start < end {
                self.map(DIRECT_BASE, start, end - start, Kind::Ram)?;
            }
        }
        Ok(())
    }

    /// Maps memory that is not RAM of this machine (a window that others share) as RAM is mapped,
    /// at its place in the direct map. Address and length are multiples of 4 KiB. The same memory
    /// may be mapped again.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_memory(&mut self, pa: u64, len: u64) -> Result<NonNull<u8>, MapError> {
        self.map(DIRECT_BASE, pa, len, Kind::Ram)?;
        NonNull::new(direct(pa)).ok_or(MapError::Unaligned)
    }

    /// Makes RAM readable in the direct map.
    ///
    /// # Errors
    /// [`MapError`]; it must not be in the direct map otherwise.
    pub fn map_read_only(&mut self, pa: u64, len: u64) -> Result<(), MapError> {
        self.map(DIRECT_BASE, pa, len, Kind::RamReadOnly)
    }

    /// Maps device registers, whole pages around them. The same registers may be mapped again.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map_device(&mut self, pa: u64, len: u64) -> Result<NonNull<u8>, MapError> {
        let start = pa & !0xfff;
        let end = pa.checked_add(len).and_then(|end| end.checked_next_multiple_of(4096));
        let len = end.ok_or(MapError::Unaligned)? - start;
        self.map(DEVICE_BASE, start, len, Kind::Device)?;
        NonNull::new((DEVICE_BASE + pa) as *mut u8).ok_or(MapError::Unaligned)
    }
}

/// Where the direct map has physical address `pa`.
#[must_use]
pub fn direct(pa: u64) -> *mut u8 {
    debug_assert!(pa < PHYSICAL_LIMIT);
    (DIRECT_BASE + pa) as *mut u8
}

/// Physical address of the empty user space's root table.
pub(crate) fn empty_root(image: u64) -> u64 {
    image + entry::empty_root_offset()
}
