//! Page-table entry formats as data.
//!
//! Every supported format has four levels of 512 eight-byte entries and 4 KiB pages; what differs
//! is which bits say what. A format is a value, so host tests walk the tables of both instruction
//! sets.

use bitflags::bitflags;

bitflags! {
    /// What a program may do with a mapped page. Reading is implied by a mapping.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Access: u8 {
        /// Loads.
        const READ = 1;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetches.
        const EXECUTE = 4;
    }
}

/// Entries in one table.
pub const ENTRIES: usize = 512;

/// Levels of table between the root and a page.
pub const LEVELS: u32 = 4;

/// Which bits of an entry to set and which to leave clear for a property to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Bits that are one where the property holds.
    pub set: u64,
    /// Bits that are zero where the property holds, and one where it does not.
    pub clear: u64,
}

impl Bits {
    const fn apply(self, entry: u64, holds: bool) -> u64 {
        if holds { entry | self.set } else { entry | self.clear }
    }

    const fn holds(self, entry: u64) -> bool {
        entry & self.set == self.set && entry & self.clear == 0
    }
}

/// One instruction set's entry format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PteFormat {
    /// The bits that hold the frame's physical address.
    pub address: u64,
    /// The bit without which an entry is not looked at.
    pub present: u64,
    /// Bits of an entry that points to the next table.
    pub table: u64,
    /// Bits of every user page's entry, [`Self::present`] included.
    pub leaf: u64,
    /// How a writable page is marked.
    pub writable: Bits,
    /// How a page that user code may be fetched from is marked.
    pub executable: Bits,
}

/// A decoded last-level entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Physical address of the page.
    pub address: u64,
    /// What is allowed; always has [`Access::READ`].
    pub access: Access,
}

impl PteFormat {
    /// The entry that maps the page at physical `address` with `access`.
    #[must_use]
    pub const fn encode_leaf(&self, address: u64, access: Access) -> u64 {
        let entry = (address & self.address) | self.leaf;
        let entry = self.writable.apply(entry, access.contains(Access::WRITE));
        self.executable.apply(entry, access.contains(Access::EXECUTE))
    }

    /// The page and the rights of a last-level entry, or `None` if it maps nothing.
    #[must_use]
    pub const fn decode_leaf(&self, entry: u64) -> Option<Leaf> {
        if entry & self.present == 0 {
            return None;
        }
        let mut access = Access::READ;
        if self.writable.holds(entry) {
            access = access.union(Access::WRITE);
        }
        if self.executable.holds(entry) {
            access = access.union(Access::EXECUTE);
        }
        Some(Leaf { address: entry & self.address, access })
    }

    /// The entry that points to the next-level table at physical `address`.
    #[must_use]
    pub const fn encode_table(&self, address: u64) -> u64 {
        (address & self.address) | self.table
    }

    /// The next-level table's physical address, or `None` if there is none.
    #[must_use]
    pub const fn decode_table(&self, entry: u64) -> Option<u64> {
        if entry & self.present == 0 { None } else { Some(entry & self.address) }
    }

    /// The index into the table of `level` (0 is the root) for virtual address `va`.
    #[must_use]
    pub const fn index(level: u32, va: u64) -> usize {
        ((va >> (crate::PAGE_SHIFT + 9 * (LEVELS - 1 - level))) & 0x1ff) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, aarch64::Aarch64, x86_64::X86_64};

    fn round_trips(format: &PteFormat) {
        for bits in 0..8 {
            let access = Access::from_bits_truncate(bits) | Access::READ;
            let entry = format.encode_leaf(0x1234_5000, access);
            assert_eq!(format.decode_leaf(entry), Some(Leaf { address: 0x1234_5000, access }));
        }
        assert_eq!(format.decode_leaf(0), None);
        assert_eq!(format.decode_table(format.encode_table(0x7000)), Some(0x7000));
    }

    #[test]
    fn entries_round_trip_on_both() {
        round_trips(&X86_64::PTE);
        round_trips(&Aarch64::PTE);
    }

    #[test]
    fn indices_split_an_address() {
        let va = (3 << 39) | (5 << 30) | (7 << 21) | (9 << 12) | 0x123;
        assert_eq!([0, 1, 2, 3].map(|l| PteFormat::index(l, va)), [3, 5, 7, 9]);
    }
}
