//! Building the kernel's half of the address space.
//!
//! Four levels of 4 KiB tables; a range is mapped by the largest leaves (1 GiB, 2 MiB, 4 KiB) that
//! its alignment allows and never one byte beyond it: a Normal mapping of what is not RAM invites
//! speculative reads of it. The code reaches tables through [`TableMemory`], so the host tests it.

use core::fmt;

/// The memory that tables lie in.
pub trait TableMemory {
    /// Reads entry `index` of the table at physical address `table`.
    fn read(&self, table: u64, index: usize) -> u64;

    /// Writes entry `index` of the table at physical address `table`.
    fn write(&mut self, table: u64, index: usize, entry: u64);

    /// The physical address of a new table, all zero. `None` if there is none left.
    fn allocate(&mut self) -> Option<u64>;
}

/// How memory is mapped for the kernel. User mode has no access and nobody executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RAM, read and written.
    Ram,
    /// RAM, read only.
    RamReadOnly,
    /// Device registers: no gathering, no reordering, early acknowledgement.
    Device,
}

/// Index of each memory type in `MAIR_EL1`, as `boot.s` sets it.
pub mod mair {
    /// Normal, inner and outer write-back, read and write allocate.
    pub const NORMAL: u64 = 0;
    /// Device-nGnRE.
    pub const DEVICE: u64 = 1;
    /// The register's value.
    pub const VALUE: u64 = 0xff << (8 * NORMAL) | 0x04 << (8 * DEVICE);
}

const VALID: u64 = 1;
/// A table at levels 0 to 2, a page at level 3.
const TABLE_OR_PAGE: u64 = 2;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const PRIVILEGED_EXECUTE_NEVER: u64 = 1 << 53;
const USER_EXECUTE_NEVER: u64 = 1 << 54;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

impl Kind {
    const fn attributes(self) -> u64 {
        let common =
            VALID | ACCESSED | INNER_SHAREABLE | PRIVILEGED_EXECUTE_NEVER | USER_EXECUTE_NEVER;
        common
            | match self {
                Kind::Ram => mair::NORMAL << 2,
                Kind::RamReadOnly => mair::NORMAL << 2 | READ_ONLY,
                Kind::Device => mair::DEVICE << 2,
            }
    }
}

/// Why a range could not be mapped. What was mapped before the error stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// An address or length is no multiple of 4 KiB, or the range wraps.
    Unaligned,
    /// No table left.
    OutOfTables,
    /// This virtual address is mapped already, to something else.
    Mapped(u64),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unaligned => write!(f, "kernel mapping is not page-aligned"),
            Self::OutOfTables => write!(f, "no page table left for a kernel mapping"),
            Self::Mapped(va) => write!(f, "kernel address {va:#x} is mapped already"),
        }
    }
}

impl core::error::Error for MapError {}

const PAGE: u64 = 4096;

/// Maps `len` bytes at virtual `va` to physical `pa` under the root table at physical `root`.
///
/// Entries only go from invalid to valid, so no TLB needs flushing; the caller orders the writes
/// before the first use. Mapping again what is mapped the same way changes nothing.
///
/// # Errors
/// [`MapError`].
pub fn map<M: TableMemory>(
    memory: &mut M,
    root: u64,
    va: u64,
    pa: u64,
    len: u64,
    kind: Kind,
) -> Result<(), MapError> {
    let wraps = va.checked_add(len).is_none() || pa.checked_add(len).is_none();
    if wraps || (va | pa | len) & (PAGE - 1) != 0 {
        return Err(MapError::Unaligned);
    }
    let mut done = 0;
    while done < len {
        done += map_one(memory, root, va + done, pa + done, len - done, kind)?;
    }
    Ok(())
}

/// Maps one leaf, the largest that fits, and returns its size.
fn map_one<M: TableMemory>(
    memory: &mut M,
    root: u64,
    va: u64,
    pa: u64,
    len: u64,
    kind: Kind,
) -> Result<u64, MapError> {
    let mut table = root;
    for level in 0..3 {
        let shift = 39 - 9 * level;
        let index = (va >> shift & 0x1ff) as usize;
        let size = 1_u64 << shift;
        let entry = memory.read(table, index);
        let block_fits = level > 0 && (va | pa) & (size - 1) == 0 && len >= size;
        if block_fits && entry & TABLE_OR_PAGE == 0 {
            return set(memory, table, index, va, pa | kind.attributes()).map(|()| size);
        }
        if entry & VALID == 0 {
            let next = memory.allocate().ok_or(MapError::OutOfTables)?;
            memory.write(table, index, next | TABLE_OR_PAGE | VALID);
            table = next;
        } else if entry & TABLE_OR_PAGE != 0 {
            table = entry & ADDRESS;
        } else {
            // A block that already maps this page to the right place will do.
            let there = (entry & ADDRESS & !(size - 1)) | (va & (size - 1));
            let same = there == pa && entry & !ADDRESS == kind.attributes();
            return if same {
                Ok(len.min(size - (va & (size - 1))))
            } else {
                Err(MapError::Mapped(va))
            };
        }
    }
    let index = (va >> 12 & 0x1ff) as usize;
    set(memory, table, index, va, pa | kind.attributes() | TABLE_OR_PAGE).map(|()| PAGE)
}

fn set<M: TableMemory>(
    memory: &mut M,
    table: u64,
    index: usize,
    va: u64,
    entry: u64,
) -> Result<(), MapError> {
    match memory.read(table, index) {
        0 => {
            memory.write(table, index, entry);
            Ok(())
        }
        old if old == entry => Ok(()),
        _ => Err(MapError::Mapped(va)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    struct Tables {
        all: Vec<[u64; 512]>,
        limit: usize,
    }

    impl Tables {
        fn new(limit: usize) -> Tables {
            Tables { all: vec![[0; 512]], limit }
        }

        /// Walks like the processor: physical address and attributes, or nothing.
        fn walk(&self, va: u64) -> Option<(u64, u64)> {
            let mut table = 0;
            for level in 0..4 {
                let shift = 39 - 9 * level;
                let entry = self.all[table][(va >> shift & 0x1ff) as usize];
                match (entry & 3, level) {
                    (3, 0..=2) => table = (entry & ADDRESS) as usize / 4096,
                    (1, 1 | 2) | (3, 3) => {
                        let inside = (1_u64 << shift) - 1;
                        let pa = entry & ADDRESS & !inside | va & inside;
                        return Some((pa, entry & !ADDRESS & !TABLE_OR_PAGE));
                    }
                    _ => return None,
                }
            }
            None
        }
    }

    impl TableMemory for Tables {
        fn read(&self, table: u64, index: usize) -> u64 {
            self.all[table as usize / 4096][index]
        }

        fn write(&mut self, table: u64, index: usize, entry: u64) {
            self.all[table as usize / 4096][index] = entry;
        }

        fn allocate(&mut self) -> Option<u64> {
            (self.all.len() < self.limit).then(|| {
                self.all.push([0; 512]);
                (self.all.len() as u64 - 1) * 4096
            })
        }
    }

    const BASE: u64 = 0xffff_0000_0000_0000;

    #[test]
    fn large_ranges_take_large_leaves() {
        let mut tables = Tables::new(4);
        let (pa, len) = (0x4000_0000, 2 << 30);
        map(&mut tables, 0, BASE + pa, pa, len, Kind::Ram).unwrap();
        assert_eq!(tables.all.len(), 2, "two 1 GiB blocks need the root and one more");
        let pa = 0x1_0000_0000;
        map(&mut tables, 0, BASE + pa, pa, 0x40_0000, Kind::Device).unwrap();
        assert_eq!(tables.all.len(), 3);
        assert_eq!(tables.walk(BASE + pa + 0x3f_ffff).unwrap().0, pa + 0x3f_ffff);
        assert_eq!(tables.walk(BASE + pa + 0x40_0000), None);
    }

    #[test]
    fn conflicts_and_shortage_are_named() {
        let mut tables = Tables::new(2);
        let va = BASE + 0x1000;
        let mut map = |va, pa, len, kind| map(&mut tables, 0, va, pa, len, kind);
        assert_eq!(map(va + 1, 0, 4096, Kind::Ram), Err(MapError::Unaligned));
        assert_eq!(map(u64::MAX - 4095, 0, 4096, Kind::Ram), Err(MapError::Unaligned));
        assert_eq!(map(va, 0, 4096, Kind::Ram), Err(MapError::OutOfTables));
        assert_eq!(map(BASE + (1 << 39), 0, 1 << 30, Kind::Ram), Err(MapError::OutOfTables));
        let mut tables = Tables::new(9);
        super::map(&mut tables, 0, BASE, 0, 2 << 20, Kind::Ram).unwrap();
        super::map(&mut tables, 0, BASE + 0x3000, 0x3000, 0x2000, Kind::Ram).unwrap();
        let conflict = super::map(&mut tables, 0, BASE + 0x3000, 0x3000, 4096, Kind::Device);
        assert_eq!(conflict, Err(MapError::Mapped(BASE + 0x3000)));
    }

    #[test]
    fn nothing_is_executable_or_for_user_mode() {
        for kind in [Kind::Ram, Kind::RamReadOnly, Kind::Device] {
            let attributes = kind.attributes();
            assert_eq!(attributes & (3 << 53), 3 << 53);
            assert_eq!(attributes & 1 << 6, 0);
        }
    }

    proptest! {
        #[test]
        fn exactly_the_range_is_mapped(
            page in 0_u64..1 << 20, pages in 1_u64..3000, offset in 0_u64..3,
        ) {
            let mut tables = Tables::new(64);
            // Virtual and physical addresses that are aligned alike, and not.
            let (pa, len) = (page << 12, pages << 12);
            let va = BASE + pa + (offset << 12);
            map(&mut tables, 0, va, pa, len, Kind::Ram).unwrap();
            for at in [0, 1, len / 2, len - 1] {
                let found = tables.walk(va + at);
                prop_assert_eq!(found, Some((pa + at, Kind::Ram.attributes())));
            }
            prop_assert_eq!(tables.walk(va + len), None);
            if va > BASE {
                prop_assert_eq!(tables.walk(va - 1), None);
            }
        }
    }
}
