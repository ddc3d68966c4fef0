//! Making and removing mappings: `mmap`, `munmap`, `brk`.

use alloc::sync::Arc;
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access;
use maize_hal::{PhysMemory, Tlb};

use crate::area::Label;
use crate::space::{MAX_AREAS, Space, Step};
use crate::{Area, AreaFlags, MapError, Memory, ObjectId, Sharing, SpaceId};

const PAGE: u64 = PAGE_SIZE as u64;

/// Where a mapping is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// At the hint if that is free, else wherever there is room. 0 is no hint.
    Anywhere(u64),
    /// Exactly there, in place of what is mapped there (`MAP_FIXED`).
    Fixed(u64),
    /// Exactly there, if nothing is (`MAP_FIXED_NOREPLACE`).
    FixedFree(u64),
}

/// What is to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Zeros.
    Anonymous,
    /// A file's bytes from byte `offset` on.
    Object {
        /// The file's object.
        object: ObjectId,
        /// A multiple of the page size.
        offset: u64,
    },
}

/// A mapping to be made.
#[derive(Clone, Debug)]
pub struct MapRequest {
    /// Where.
    pub placement: Placement,
    /// Bytes, rounded up to whole pages.
    pub len: u64,
    /// What the program may do.
    pub access: Access,
    /// What it may ask for later: for a shared mapping of a file opened read-only, no writing.
    pub may: Access,
    /// Whether stores are shared.
    pub sharing: Sharing,
    /// Properties.
    pub flags: AreaFlags,
    /// What.
    pub backing: Backing,
    /// What `/proc/PID/maps` shows.
    pub label: Option<Arc<Label>>,
    /// Whether to touch all pages at once (`MAP_POPULATE`).
    pub populate: bool,
}

impl MapRequest {
    /// Private anonymous memory of `len` bytes.
    #[must_use]
    pub fn anonymous(placement: Placement, len: u64, access: Access) -> MapRequest {
        MapRequest {
            placement,
            len,
            access,
            may: Access::all(),
            sharing: Sharing::Private,
            flags: AreaFlags::empty(),
            backing: Backing::Anonymous,
            label: None,
            populate: false,
        }
    }
}

/// `len` rounded up to whole pages.
pub(crate) fn whole_pages(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(PAGE)
}

/// A range given by start and length, if it lies in user space and its start on a page.
pub(crate) fn user_range(space: &Space, start: u64, len: u64) -> Result<Range<u64>, MapError> {
    if !start.is_multiple_of(PAGE) {
        return Err(MapError::Misaligned);
    }
    let end = whole_pages(len).and_then(|len| start.checked_add(len));
    match end.filter(|&end| end <= space.layout.end) {
        Some(end) => Ok(start..end),
        None => Err(MapError::BadRange),
    }
}

impl Memory {
    /// Maps memory and returns where. Takes effect with [`Memory::advance`].
    ///
    /// # Errors
    /// As `mmap` has them.
    pub fn map<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        request: &MapRequest,
    ) -> Result<u64, MapError> {
        self.finish(hw, id);
        if request.len == 0 {
            return Err(MapError::Empty);
        }
        let len = whole_pages(request.len).ok_or(MapError::NoRoom)?;
        let space = self.spaces.get_mut(&id).ok_or(MapError::NoSpace)?;
        let start = place(space, request.placement, len)?;
        // What no space has room for is refused for that, as on Linux.
        let first = self.first_index(&request.backing, len)?;
        let total = self.frames.total();
        let space = self.spaces.get_mut(&id).ok_or(MapError::NoSpace)?;
        let range = start..start + len;
        let replaced: u64 = space
            .areas
            .overlapping(range.clone())
            .map(|a| a.end.min(range.end) - a.start.max(range.start))
            .sum();
        check_size(space, len.saturating_sub(replaced))?;
        if space.areas.count() + space.splits_at(&range) + 1 > MAX_AREAS {
            return Err(MapError::TooManyAreas);
        }
        let private = request.sharing == Sharing::Private;
        let writable = private && request.access.contains(Access::WRITE);
        if writable && !request.flags.contains(AreaFlags::NO_RESERVE) && len / PAGE > total {
            return Err(MapError::OutOfMemory);
        }
        // The area's step holds a reference, so that the object lives until it is mapped.
        let object = match (request.backing, request.sharing) {
            (Backing::Anonymous, Sharing::Private) => space.main,
            (Backing::Anonymous, Sharing::Shared) => self.objects.create_file(len, None),
            (Backing::Object { object, .. }, Sharing::Private) if writable => {
                self.objects.create_private(id, Some(object))
            }
            (Backing::Object { object, .. }, _) => object,
        };
        if request.backing != Backing::Anonymous || private {
            self.objects.retain(object);
        }
        let area = Area {
            start,
            end: range.end,
            access: request.access,
            may: request.may,
            sharing: request.sharing,
            flags: request.flags,
            object,
            first: first.unwrap_or(if private { Space::main_index(start) } else { 0 }),
            label: request.label.clone(),
        };
        if replaced > 0 {
            space.split(&mut self.objects, range.start);
            space.split(&mut self.objects, range.end);
            space.pending.push_back(Step::Unmap(range.clone()));
        }
        space.pending.push_back(Step::Insert(area));
        if request.populate {
            let access =
                if request.access.contains(Access::WRITE) { Access::WRITE } else { Access::READ };
            space.pending.push_back(Step::Populate { range, access });
        }
        if replaced == 0 && !request.populate {
            self.finish(hw, id);
        }
        Ok(start)
    }

    /// The first page of an object that a request wants mapped.
    fn first_index(&self, backing: &Backing, len: u64) -> Result<Option<u64>, MapError> {
        let &Backing::Object { object, offset } = backing else { return Ok(None) };
        if !offset.is_multiple_of(PAGE) {
            return Err(MapError::Misaligned);
        }
        if offset.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) {
            return Err(MapError::OffsetOverflow);
        }
        if !self.objects.is_file(object) {
            return Err(MapError::NoObject);
        }
        Ok(Some(offset / PAGE))
    }

    /// Removes the mappings of a range. Takes effect with [`Memory::advance`].
    ///
    /// # Errors
    /// As `munmap` has them.
    pub fn unmap<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        start: u64,
        len: u64,
    ) -> Result<(), MapError> {
        self.finish(hw, id);
        let space = self.spaces.get_mut(&id).ok_or(MapError::NoSpace)?;
        let range = user_range(space, start, len)?;
        if range.is_empty() {
            return Err(MapError::Empty);
        }
        if space.areas.is_free(range.clone()) {
            return Ok(());
        }
        // Only a hole in the middle of an area makes one more.
        let within = space.areas.find(range.start).is_some_and(|a| {
            a.start < range.start && range.end < a.end && space.areas.count() == MAX_AREAS
        });
        if within {
            return Err(MapError::TooManyAreas);
        }
        space.split(&mut self.objects, range.start);
        space.split(&mut self.objects, range.end);
        space.pending.push_back(Step::Unmap(range));
        Ok(())
    }

    /// Sets where the heap starts, empty, after a program was loaded.
    ///
    /// # Errors
    /// [`MapError::NoSpace`].
    pub fn set_heap_start(&mut self, id: SpaceId, start: u64) -> Result<(), MapError> {
        self.space_mut(id)?.heap = start..start;
        Ok(())
    }

    /// Moves the heap's end to `end`, if it can be moved there, and returns where it is now. Takes
    /// effect with [`Memory::advance`].
    ///
    /// # Errors
    /// [`MapError::NoSpace`].
    pub fn brk<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        end: u64,
    ) -> Result<u64, MapError> {
        self.finish(hw, id);
        let space = self.space_mut(id)?;
        let heap = space.heap.clone();
        let (Some(new), Some(old)) = (whole_pages(end), whole_pages(heap.end)) else {
            return Ok(heap.end);
        };
        if end < heap.start || end - heap.start > space.limits.data || new > space.layout.end {
            return Ok(heap.end);
        }
        let done = if new > old {
            let guarded = old..new.saturating_add(PAGE).min(space.layout.end);
            if !space.areas.is_free(guarded) {
                return Ok(heap.end);
            }
            let mut request = MapRequest::anonymous(
                Placement::FixedFree(old),
                new - old,
                Access::READ | Access::WRITE,
            );
            request.flags = AreaFlags::HEAP;
            self.map(hw, id, &request).is_ok()
        } else {
            new == old || self.unmap(hw, id, new, old - new).is_ok()
        };
        if done {
            self.space_mut(id)?.heap.end = end;
        }
        Ok(if done { end } else { heap.end })
    }
}

/// Checks that `len` bytes more are within the process's limit.
pub(crate) fn check_size(space: &Space, len: u64) -> Result<(), MapError> {
    let total = space.areas.pages().saturating_mul(PAGE).saturating_add(len);
    if total > space.limits.address_space { Err(MapError::Limit) } else { Ok(()) }
}

/// Finds where `len` bytes go.
pub(crate) fn place(space: &mut Space, placement: Placement, len: u64) -> Result<u64, MapError> {
    let layout = space.layout;
    match placement {
        Placement::Fixed(start) | Placement::FixedFree(start) => {
            if !start.is_multiple_of(PAGE) {
                return Err(MapError::Misaligned);
            }
            let end = start.checked_add(len).filter(|&end| end <= layout.end);
            let range = start..end.ok_or(MapError::NoRoom)?;
            if start < layout.lowest {
                return Err(MapError::TooLow);
            }
            if matches!(placement, Placement::FixedFree(_)) && !space.areas.is_free(range) {
                return Err(MapError::Occupied);
            }
            Ok(start)
        }
        Placement::Anywhere(hint) => {
            let hint = hint & !(PAGE - 1);
            let end = hint.checked_add(len).filter(|&end| end <= layout.end);
            if let Some(end) = end.filter(|_| hint >= layout.lowest) {
                let above = space.areas.find_from(end);
                let gap = above.filter(|a| a.flags.contains(AreaFlags::GROWS_DOWN));
                let clear =
                    gap.is_none_or(|a| end.saturating_add(crate::area::STACK_GAP) <= a.start);
                if clear && space.areas.is_free(hint..end) {
                    return Ok(hint);
                }
            }
            let low = layout.lowest..layout.mmap_top;
            let high = layout.lowest..layout.end;
            let found = space.areas.find_gap(len, low);
            found.or_else(|| space.areas.find_gap(len, high)).ok_or(MapError::NoRoom)
        }
    }
}
