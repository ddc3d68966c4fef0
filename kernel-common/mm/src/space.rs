//! Address spaces.

use alloc::collections::{BTreeMap, VecDeque};
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access;

use crate::ObjectId;
use crate::area::{Area, Areas};
use crate::object::Objects;
use crate::page_table::PageTable;

/// Names a space of this instance. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(pub(crate) u64);

/// Areas that one space may have, as Linux's `vm.max_map_count`.
pub(crate) const MAX_AREAS: usize = 65_530;

/// Where things go in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The lowest address that may be mapped.
    pub lowest: u64,
    /// The address above user space.
    pub end: u64,
    /// The address below which mappings are placed that ask for none, downwards.
    pub mmap_top: u64,
}

/// Limits of a process that concern memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `RLIMIT_AS`.
    pub address_space: u64,
    /// `RLIMIT_DATA`, for `brk`.
    pub data: u64,
    /// `RLIMIT_STACK`, for areas that grow down.
    pub stack: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20 }
    }
}

/// What a space uses, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SpaceUsage {
    /// Pages in all areas.
    pub mapped: u64,
    /// Pages that the page tables map now.
    pub resident: u64,
    /// Pages in areas of writable private memory.
    pub data: u64,
    /// Pages in areas that grow down.
    pub stack: u64,
    /// Pages in areas of executable files.
    pub text: u64,
    /// Frames that hold page tables.
    pub tables: u64,
}

/// One address space.
pub(crate) struct Space {
    pub(crate) id: SpaceId,
    pub(crate) table: PageTable,
    pub(crate) areas: Areas,
    /// The object of all private anonymous areas that were not moved: the index of a page is its
    /// page number.
    pub(crate) main: ObjectId,
    pub(crate) layout: Layout,
    pub(crate) limits: Limits,
    /// Where the heap starts and ends, in bytes.
    pub(crate) heap: Range<u64>,
    /// What is still to be done of the operations that were called.
    pub(crate) pending: VecDeque<Step>,
}

/// A part of an operation that may be long.
pub(crate) enum Step {
    /// Take out every area in the range; none reaches over its ends.
    Unmap(Range<u64>),
    /// Clear an area that was taken out, from `at` on, and then let its object go.
    Clear { area: Area, at: u64 },
    /// Take the pages of the range out of the page tables; they come back when touched.
    Unload(Range<u64>),
    /// Take away rights from the pages of the range.
    Narrow { range: Range<u64>, keep: Access },
    /// Drop what was written privately in the range, and unload it.
    Discard(Range<u64>),
    /// Add an area; a reference to its object is held.
    Insert(Area),
    /// Touch the pages of the range.
    Populate { range: Range<u64>, access: Access },
    /// Move what is mapped in `from` to `to`, with `len` bytes there.
    Move { from: Range<u64>, to: u64, len: u64, keep_old: bool },
    /// Copy the areas from `next` on into `child`; `shadows` has the objects of both so far.
    Fork { child: SpaceId, next: u64, shadows: BTreeMap<ObjectId, ObjectId> },
    /// Free the space itself.
    Bury,
}

impl Space {
    pub(crate) fn new(id: SpaceId, table: PageTable, main: ObjectId, layout: Layout) -> Space {
        Space {
            id,
            table,
            areas: Areas::new(),
            main,
            layout,
            limits: Limits::default(),
            heap: 0..0,
            pending: VecDeque::new(),
        }
    }

    fn key(&self, area: &Area) -> (SpaceId, u64, u64) {
        (self.id, area.first, area.start)
    }

    /// Adds an area where none is, merged with its neighbours where they mean the same.
    pub(crate) fn add(&mut self, objects: &mut Objects, area: Area) {
        let range = area.range();
        self.add_apart(objects, area);
        self.merge(objects, range.end);
        self.merge(objects, range.start);
    }

    /// Adds an area where none is, known to mean something else than its neighbours.
    pub(crate) fn add_apart(&mut self, objects: &mut Objects, area: Area) {
        objects.link(area.object, self.key(&area), area.pages());
        self.areas.insert(area);
    }

    /// Merges the areas that meet at `va` if they mean the same.
    pub(crate) fn merge(&mut self, objects: &mut Objects, va: u64) {
        if !self.areas.continues(va) {
            return;
        }
        let Some(second) = self.areas.remove(va) else { return };
        let Some(start) = self.areas.before(va).map(|area| area.start) else { return };
        let Some(mut first) = self.areas.remove(start) else { return };
        first.end = second.end;
        objects.link(first.object, self.key(&first), first.pages());
        objects.unlink(second.object, self.key(&second));
        self.areas.insert(first);
    }

    /// Cuts the area that reaches over `va`, if one does, in two.
    pub(crate) fn split(&mut self, objects: &mut Objects, va: u64) {
        let Some(start) = self.areas.find(va).filter(|area| area.start < va).map(|a| a.start)
        else {
            return;
        };
        let Some(mut first) = self.areas.remove(start) else { return };
        let mut second = first.clone();
        second.start = va;
        second.first = first.index(va);
        first.end = va;
        objects.link(second.object, self.key(&second), second.pages());
        objects.link(first.object, self.key(&first), first.pages());
        self.areas.insert(first);
        self.areas.insert(second);
    }

    /// Splits needed to cut areas at both ends of `range`.
    pub(crate) fn splits_at(&self, range: &Range<u64>) -> usize {
        let cuts = |va: u64| usize::from(self.areas.find(va).is_some_and(|a| a.start < va));
        cuts(range.start) + cuts(range.end)
    }

    /// Removes the object's record of an area that was taken out.
    pub(crate) fn forget(&self, objects: &mut Objects, area: &Area) {
        objects.unlink(area.object, self.key(area));
    }

    /// Lets `change` alter every area in `range`, which is cut at its ends.
    pub(crate) fn update(
        &mut self,
        objects: &mut Objects,
        range: Range<u64>,
        mut change: impl FnMut(&mut Objects, &mut Area),
    ) {
        self.split(objects, range.start);
        self.split(objects, range.end);
        let mut at = range.start;
        while let Some(start) =
            self.areas.find_from(at).map(|area| area.start).filter(|&start| start < range.end)
        {
            let Some(old) = self.areas.remove(start) else { return };
            let mut new = old.clone();
            change(objects, &mut new);
            at = new.end;
            objects.link(new.object, self.key(&new), new.pages());
            if new.object != old.object {
                self.forget(objects, &old);
            }
            self.areas.insert(new);
            self.merge(objects, start);
        }
        self.merge(objects, at);
    }

    /// The area of a new range of private anonymous memory lies in the space's main object.
    pub(crate) fn main_index(va: u64) -> u64 {
        va / PAGE_SIZE as u64
    }

    pub(crate) fn usage(&self) -> SpaceUsage {
        use crate::{AreaFlags, Sharing};
        let mut usage = SpaceUsage {
            mapped: self.areas.pages(),
            resident: self.table.resident(),
            tables: self.table.tables(),
            ..SpaceUsage::default()
        };
        for area in self.areas.iter() {
            let pages = area.pages();
            if area.flags.contains(AreaFlags::GROWS_DOWN) {
                usage.stack += pages;
            } else if area.sharing == Sharing::Private && area.access.contains(Access::WRITE) {
                usage.data += pages;
            } else if area.access.contains(Access::EXECUTE) {
                usage.text += pages;
            }
        }
        usage
    }
}
