//! Areas: ranges of a space that map ranges of objects.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use core::ops::Range;

use bitflags::bitflags;
use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access;

use crate::ObjectId;

const PAGE: u64 = PAGE_SIZE as u64;

/// Whether stores are seen by others that map the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// `MAP_SHARED`.
    Shared,
    /// `MAP_PRIVATE`: the first store to a page makes a private copy.
    Private,
}

bitflags! {
    /// Properties of an area.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct AreaFlags: u16 {
        /// Grows towards lower addresses when touched there.
        const GROWS_DOWN = 1;
        /// The stack that the program was started with.
        const STACK = 2;
        /// What `brk` manages.
        const HEAP = 4;
        /// A child of fork does not get it (`MADV_DONTFORK`).
        const NO_FORK = 8;
        /// A child of fork gets it as zeros (`MADV_WIPEONFORK`).
        const WIPE_ON_FORK = 16;
        /// Each instance has its own pages here, which are never sent to another.
        const INSTANCE_PRIVATE = 32;
        /// Not counted against what the machine can back (`MAP_NORESERVE`).
        const NO_RESERVE = 64;
    }
}

/// What stands behind an area, for `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The file's path, or a name such as `[vdso]`.
    pub path: String,
    /// The device number; 0 for what is no file.
    pub device: u64,
    /// The inode number; 0 for what is no file.
    pub inode: u64,
}

/// A range of a space with one meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// The first address.
    pub start: u64,
    /// The address behind the last.
    pub end: u64,
    /// What the program may do, as it asked for it.
    pub access: Access,
    /// What `mprotect` may give it.
    pub may: Access,
    /// Whether stores are shared.
    pub sharing: Sharing,
    /// Properties.
    pub flags: AreaFlags,
    /// The object mapped.
    pub object: ObjectId,
    /// The object's page at `start`.
    pub first: u64,
    /// What `/proc/PID/maps` shows.
    pub label: Option<Arc<Label>>,
}

impl Area {
    /// Pages spanned.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        (self.end - self.start) / PAGE
    }

    /// The addresses spanned.
    #[must_use]
    pub const fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// The object's page at `va`, an address at or behind `start`.
    #[must_use]
    pub const fn index(&self, va: u64) -> u64 {
        self.first + (va - self.start) / PAGE
    }

    /// What the processor lets the program do: who may store or fetch may load.
    #[must_use]
    pub fn effective(&self) -> Access {
        effective(self.access)
    }

    /// Whether `next` continues this area in every respect.
    fn continues_in(&self, next: &Area) -> bool {
        self.end == next.start
            && self.object == next.object
            && self.first + self.pages() == next.first
            && self.access == next.access
            && self.may == next.may
            && self.sharing == next.sharing
            && self.flags == next.flags
            && self.label == next.label
    }
}

/// `access` with the loads that processors imply.
pub(crate) fn effective(access: Access) -> Access {
    if access.is_empty() { access } else { access | Access::READ }
}

/// Pages kept free below an area that grows down, so that it does not run into another unnoticed.
pub(crate) const STACK_GAP: u64 = 256 * PAGE;

/// The areas of one space, in order and without overlap.
pub(crate) struct Areas {
    by_start: BTreeMap<u64, Area>,
    pages: u64,
    /// Every gap above this address is at most `largest_gap` bytes, so that the search for a place
    /// does not pass all areas each time.
    full_above: u64,
    largest_gap: u64,
}

impl Areas {
    pub(crate) fn new() -> Areas {
        Areas { by_start: BTreeMap::new(), pages: 0, full_above: u64::MAX, largest_gap: 0 }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Area> + '_ {
        self.by_start.values()
    }

    /// Those that start at or above an address.
    pub(crate) fn iter_from(&self, va: u64) -> impl Iterator<Item = &Area> + '_ {
        self.by_start.range(va..).map(|(_, area)| area)
    }

    pub(crate) fn count(&self) -> usize {
        self.by_start.len()
    }

    /// Pages spanned by all areas.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// The area that holds `va`.
    pub(crate) fn find(&self, va: u64) -> Option<&Area> {
        self.by_start.range(..=va).next_back().map(|(_, area)| area).filter(|area| va < area.end)
    }

    /// The first area that ends above `va`.
    pub(crate) fn find_from(&self, va: u64) -> Option<&Area> {
        self.find(va).or_else(|| self.by_start.range(va..).next().map(|(_, area)| area))
    }

    /// The last area that starts below `va`.
    pub(crate) fn before(&self, va: u64) -> Option<&Area> {
        self.by_start.range(..va).next_back().map(|(_, area)| area)
    }

    /// The areas that touch `range`, in order.
    pub(crate) fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = &Area> + '_ {
        let from = match self.find_from(range.start) {
            Some(area) if range.start < range.end => area.start.min(range.end),
            _ => range.end,
        };
        self.by_start.range(from..range.end).map(|(_, area)| area)
    }

    /// Whether no area touches `range`.
    pub(crate) fn is_free(&self, range: Range<u64>) -> bool {
        self.overlapping(range).next().is_none()
    }

    /// Whether areas cover all of `range`.
    pub(crate) fn covers(&self, range: Range<u64>) -> bool {
        let mut at = range.start;
        for area in self.overlapping(range.clone()) {
            if area.start > at {
                return false;
            }
            at = area.end;
        }
        at >= range.end
    }

    /// Adds an area where none is.
    pub(crate) fn insert(&mut self, area: Area) {
        debug_assert!(area.start < area.end && self.is_free(area.range()));
        self.pages += area.pages();
        self.by_start.insert(area.start, area);
    }

    /// Takes the area that starts at `start` out.
    pub(crate) fn remove(&mut self, start: u64) -> Option<Area> {
        let area = self.by_start.remove(&start)?;
        self.pages -= area.pages();
        if area.end > self.full_above {
            // The gap that grows reaches up to the next area.
            let next = self.by_start.range(area.end..).next();
            self.full_above = next.map_or(u64::MAX, |(&start, _)| start);
        }
        Some(area)
    }

    /// Whether the area that starts at `start` continues the one before it.
    pub(crate) fn continues(&self, start: u64) -> bool {
        let (Some(before), Some(area)) = (self.before(start), self.by_start.get(&start)) else {
            return false;
        };
        before.continues_in(area)
    }

    /// The highest free place of `len` bytes in `bounds`, with the gap that a stack above needs.
    pub(crate) fn find_gap(&mut self, len: u64, bounds: Range<u64>) -> Option<u64> {
        let top =
            if len <= self.largest_gap { bounds.end } else { bounds.end.min(self.full_above) };
        if top == bounds.end {
            self.largest_gap = 0;
        }
        let mut ceiling = top;
        if let Some((_, above)) = self.by_start.range(top..).next() {
            ceiling = ceiling.min(lower_bound(above));
        }
        for area in self.by_start.range(..top).rev().map(|(_, area)| area) {
            let floor = area.end.max(bounds.start);
            let gap = ceiling.saturating_sub(floor);
            if gap >= len {
                break;
            }
            self.largest_gap = self.largest_gap.max(gap);
            ceiling = ceiling.min(lower_bound(area));
            if ceiling <= bounds.start {
                break;
            }
        }
        let start = ceiling.checked_sub(len)?;
        if start < bounds.start {
            self.full_above = u64::MAX;
            return None;
        }
        self.full_above = start;
        Some(start)
    }
}

/// The address below which another area may end.
fn lower_bound(area: &Area) -> u64 {
    if area.flags.contains(AreaFlags::GROWS_DOWN) {
        area.start.saturating_sub(STACK_GAP)
    } else {
        area.start
    }
}
