//! A space's page tables: four levels of 512 entries in the format that is handed in.

use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::pte::{Access, ENTRIES, LEVELS, Leaf, PteFormat};
use maize_abi::{PAGE_SHIFT, PAGE_SIZE};
use maize_hal::{Frame, PhysMemory, Tlb};

use crate::{Budget, Frames, OutOfMemory};

const PAGE: u64 = PAGE_SIZE as u64;

/// More single pages than these to flush, and the whole space is flushed instead.
const FLUSH_PAGES: usize = 32;

/// The page tables of one space.
pub(crate) struct PageTable {
    root: Frame,
    /// Frames that hold tables, the root included.
    tables: u64,
    /// Pages mapped.
    resident: u64,
}

/// Bytes that one entry of a table at `level` spans.
const fn span(level: u32) -> u64 {
    1 << (PAGE_SHIFT + 9 * (LEVELS - 1 - level))
}

/// The table entries passed on the way to a page.
type Path = [(Frame, usize); LEVELS as usize];

/// A table of the last level.
pub(crate) struct Leaves(Frame);

impl Leaves {
    /// What is mapped at `va`, which the table spans.
    pub(crate) fn lookup<H: PhysMemory>(
        &self,
        hw: &H,
        format: &PteFormat,
        va: u64,
    ) -> Option<Leaf> {
        format.decode_leaf(hw.read_entry(self.0, PteFormat::index(LEVELS - 1, va)))
    }
}

impl PageTable {
    /// Empty tables.
    pub(crate) fn new<H: PhysMemory + Tlb>(
        hw: &mut H,
        frames: &mut Frames,
    ) -> Result<PageTable, OutOfMemory> {
        let root = frames.allocate().ok_or(OutOfMemory)?;
        hw.zero_frame(root);
        hw.init_root(root);
        Ok(PageTable { root, tables: 1, resident: 0 })
    }

    /// The frame of the root table.
    pub(crate) fn root(&self) -> Frame {
        self.root
    }

    /// Frames that hold tables.
    pub(crate) fn tables(&self) -> u64 {
        self.tables
    }

    /// Pages mapped.
    pub(crate) fn resident(&self) -> u64 {
        self.resident
    }

    /// The way to `va`'s last-level entry, or the level at which it ends.
    fn walk<H: PhysMemory>(&self, hw: &H, format: &PteFormat, va: u64) -> Result<Path, u32> {
        let mut path = [(self.root, 0); LEVELS as usize];
        let mut table = self.root;
        for level in 0..LEVELS {
            let index = PteFormat::index(level, va);
            path[level as usize] = (table, index);
            if level + 1 < LEVELS {
                let entry = hw.read_entry(table, index);
                table = Frame::containing(format.decode_table(entry).ok_or(level)?);
            }
        }
        Ok(path)
    }

    /// What is mapped at `va`.
    pub(crate) fn lookup<H: PhysMemory>(
        &self,
        hw: &H,
        format: &PteFormat,
        va: u64,
    ) -> Option<Leaf> {
        self.leaves(hw, format, va)?.lookup(hw, format, va)
    }

    /// The table that maps `va` and its neighbours, if there is one.
    pub(crate) fn leaves<H: PhysMemory>(
        &self,
        hw: &H,
        format: &PteFormat,
        va: u64,
    ) -> Option<Leaves> {
        let path = self.walk(hw, format, va).ok()?;
        Some(Leaves(path[LEVELS as usize - 1].0))
    }

    /// Makes the tables on the way to `va`.
    pub(crate) fn prepare<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        format: &PteFormat,
        frames: &mut Frames,
        va: u64,
    ) -> Result<(), OutOfMemory> {
        let mut table = self.root;
        for level in 0..LEVELS - 1 {
            let index = PteFormat::index(level, va);
            table = match format.decode_table(hw.read_entry(table, index)) {
                Some(address) => Frame::containing(address),
                None => {
                    let next = frames.allocate().ok_or(OutOfMemory)?;
                    hw.zero_frame(next);
                    hw.write_entry(table, index, format.encode_table(next.address()));
                    self.tables += 1;
                    next
                }
            };
        }
        Ok(())
    }

    /// Maps the page at `va` to `frame`, in place of whatever was there, if the tables on the way
    /// have been made.
    pub(crate) fn map<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        format: &PteFormat,
        va: u64,
        frame: Frame,
        access: Access,
    ) {
        let Ok(path) = self.walk(hw, format, va) else { return };
        let (table, index) = path[LEVELS as usize - 1];
        let old = hw.read_entry(table, index);
        let new = format.encode_leaf(frame.address(), access);
        let present = format.decode_leaf(old).is_some();
        if old != new {
            if present {
                // Another frame or other rights: no core may see a mix of both (aarch64 calls it
                // break before make).
                hw.write_entry(table, index, 0);
                hw.flush_page(self.root, va);
            }
            hw.write_entry(table, index, new);
        } else {
            // The processor faulted on an entry that allows the access: it had cached an older one.
            hw.flush_page(self.root, va);
        }
        self.resident += u64::from(!present);
    }

    /// Takes away the mapping at `va` if it is one of `frame`; with `keep`, narrows its rights to
    /// `keep` instead.
    pub(crate) fn narrow_page<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        format: &PteFormat,
        (va, frame): (u64, Frame),
        keep: Option<Access>,
    ) {
        let Ok(path) = self.walk(hw, format, va) else { return };
        let (table, index) = path[LEVELS as usize - 1];
        let old = hw.read_entry(table, index);
        let Some(leaf) = format.decode_leaf(old) else { return };
        if leaf.address != frame.address() {
            return;
        }
        let new = match keep {
            Some(keep) => format.encode_leaf(leaf.address, leaf.access & keep),
            None => 0,
        };
        if new != old {
            hw.write_entry(table, index, new);
            hw.flush_page(self.root, va);
            self.resident -= u64::from(keep.is_none());
        }
    }

    /// Narrows the rights of every page in `range` to `keep`, as far as the budget goes. Returns
    /// where to go on.
    pub(crate) fn narrow_range<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        format: &PteFormat,
        range: Range<u64>,
        keep: Access,
        budget: &mut Budget,
    ) -> Option<u64> {
        let mut flush = Flush::new(self.root);
        let end = self.for_each_leaf_table(hw, format, range, budget, |hw, table, base, slots| {
            let mut touched = 0;
            for index in slots {
                let old = hw.read_entry(table, index);
                let Some(leaf) = format.decode_leaf(old) else { continue };
                touched += 1;
                let new = format.encode_leaf(leaf.address, leaf.access & keep);
                if new != old {
                    hw.write_entry(table, index, new);
                    flush.page(base + index as u64 * PAGE);
                }
            }
            touched
        });
        flush.finish(hw);
        end
    }

    /// Takes away every mapping in `range`, and the tables that are then empty, as far as the
    /// budget goes. Returns where to go on.
    pub(crate) fn clear_range<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        format: &PteFormat,
        frames: &mut Frames,
        range: Range<u64>,
        budget: &mut Budget,
    ) -> Option<u64> {
        let mut flush = Flush::new(self.root);
        let mut emptied = Vec::new();
        let mut cleared = 0;
        let end = self.for_each_leaf_table(hw, format, range, budget, |hw, table, base, slots| {
            let whole = slots.len() == ENTRIES;
            let mut touched = 0;
            for index in slots {
                if format.decode_leaf(hw.read_entry(table, index)).is_some() {
                    hw.write_entry(table, index, 0);
                    flush.page(base + index as u64 * PAGE);
                    touched += 1;
                }
            }
            cleared += u64::from(touched);
            if (touched > 0 || whole) && is_empty(hw, format, table) {
                emptied.push(base);
            }
            touched
        });
        self.resident -= cleared;
        let mut freed = Vec::new();
        for base in emptied {
            self.unlink_empty(hw, format, base, &mut freed);
        }
        if !freed.is_empty() {
            flush.space();
        }
        flush.finish(hw);
        self.tables -= freed.len() as u64;
        for table in freed {
            frames.release(table);
        }
        end
    }

    /// Unlinks the empty last-level table for `va`, and those above that become empty.
    fn unlink_empty<H: PhysMemory>(
        &self,
        hw: &mut H,
        format: &PteFormat,
        va: u64,
        freed: &mut Vec<Frame>,
    ) {
        let Ok(path) = self.walk(hw, format, va) else { return };
        for level in (1..LEVELS as usize).rev() {
            let (table, _) = path[level];
            let (above, index) = path[level - 1];
            hw.write_entry(above, index, 0);
            freed.push(table);
            if level == 1 || !is_empty(hw, format, above) {
                return;
            }
        }
    }

    /// Calls `visit(hw, table, base, slots)` for each last-level table under `range`, with the
    /// address that its entry 0 maps and the entries in the range; it returns how many it touched.
    fn for_each_leaf_table<H: PhysMemory>(
        &self,
        hw: &mut H,
        format: &PteFormat,
        range: Range<u64>,
        budget: &mut Budget,
        mut visit: impl FnMut(&mut H, Frame, u64, Range<usize>) -> u32,
    ) -> Option<u64> {
        let mut va = range.start;
        while va < range.end {
            if budget.is_spent() {
                return Some(va);
            }
            match self.walk(hw, format, va) {
                Ok(path) => {
                    let base = va & !(span(LEVELS - 2) - 1);
                    let stop = range.end.min(base + span(LEVELS - 2));
                    let slots = ((va - base) / PAGE) as usize..((stop - base) / PAGE) as usize;
                    let touched = visit(hw, path[LEVELS as usize - 1].0, base, slots);
                    budget.spend(4 + touched);
                    va = stop;
                }
                Err(level) => {
                    budget.spend(1);
                    va = (va & !(span(level) - 1)).saturating_add(span(level));
                }
            }
        }
        None
    }

    /// Frees the root. Every mapping must have been cleared.
    pub(crate) fn destroy<H: PhysMemory + Tlb>(self, hw: &mut H, frames: &mut Frames) {
        debug_assert_eq!((self.tables, self.resident), (1, 0));
        hw.flush_space(self.root);
        frames.release(self.root);
    }
}

fn is_empty<H: PhysMemory>(hw: &H, format: &PteFormat, table: Frame) -> bool {
    (0..ENTRIES).all(|index| format.decode_table(hw.read_entry(table, index)).is_none())
}

/// Collects the pages whose cached translations must go.
struct Flush {
    root: Frame,
    pages: Vec<u64>,
    whole: bool,
}

impl Flush {
    fn new(root: Frame) -> Flush {
        Flush { root, pages: Vec::new(), whole: false }
    }

    fn page(&mut self, va: u64) {
        if self.pages.len() == FLUSH_PAGES {
            self.whole = true;
        } else {
            self.pages.push(va);
        }
    }

    fn space(&mut self) {
        self.whole = true;
    }

    fn finish<H: Tlb>(self, hw: &mut H) {
        if self.whole {
            hw.flush_space(self.root);
        } else {
            for va in self.pages {
                hw.flush_page(self.root, va);
            }
        }
    }
}
