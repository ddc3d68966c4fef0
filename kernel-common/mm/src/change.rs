//! Changing mappings: `mprotect`, `mremap`.

use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access;
use maize_hal::{PhysMemory, Tlb};

use crate::area::effective;
use crate::map::{check_size, place, user_range, whole_pages};
use crate::space::{MAX_AREAS, Step};
use crate::{Area, AreaFlags, Backing, MapError, Memory, Placement, Sharing, SpaceId};

const PAGE: u64 = PAGE_SIZE as u64;

/// What `mremap` may do with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relocation {
    /// Nothing but change its size where it is.
    Stay,
    /// Move it if it cannot grow where it is (`MREMAP_MAYMOVE`).
    MayMove,
    /// Move it exactly there, in place of what is mapped there (`MREMAP_FIXED`).
    MoveTo(u64),
}

/// What becomes of the range that `mremap` moves away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldRange {
    /// It is unmapped.
    Unmapped,
    /// It stays mapped, without its content (`MREMAP_DONTUNMAP`).
    Kept,
}

impl Memory {
    /// Changes what a program may do in a range. The areas change at once, the page tables with
    /// [`Memory::advance`].
    ///
    /// # Errors
    /// As `mprotect` has them: what lies before the error has changed.
    pub fn protect<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        start: u64,
        len: u64,
        access: Access,
    ) -> Result<(), MapError> {
        self.finish(hw, id);
        let space = self.spaces.get_mut(&id).ok_or(MapError::NoSpace)?;
        let range = match user_range(space, start, len) {
            Err(MapError::BadRange) => return Err(MapError::NotMapped),
            range => range?,
        };
        let mut end = range.start;
        let mut result = Ok(());
        for area in space.areas.overlapping(range.clone()) {
            if area.start > end {
                break;
            }
            if !area.may.contains(access) {
                result = Err(MapError::Forbidden);
                break;
            }
            end = area.end.min(range.end);
        }
        if result.is_ok() && end < range.end {
            result = Err(MapError::NotMapped);
        }
        let range = range.start..end;
        if range.is_empty() {
            return result;
        }
        if space.areas.count() + space.splits_at(&range) > MAX_AREAS {
            return Err(MapError::TooManyAreas);
        }
        let mut narrowed: Option<Range<u64>> = None;
        space.update(&mut self.objects, range, |objects, area| {
            let lost = area.effective() & !effective(access);
            if !lost.is_empty() {
                let from = narrowed.as_ref().map_or(area.start, |range| range.start);
                narrowed = Some(from..area.end);
            }
            area.access = access;
            let writable = area.sharing == Sharing::Private && access.contains(Access::WRITE);
            if writable && objects.is_file(area.object) {
                area.object = objects.create_private(id, Some(area.object));
            }
        });
        // Rights that were gained come with the faults of those who use them.
        if let Some(range) = narrowed {
            let keep = effective(access);
            let step =
                if keep.is_empty() { Step::Unload(range) } else { Step::Narrow { range, keep } };
            space.pending.push_back(step);
        }
        result
    }

    /// Moves or resizes a mapping and returns where it is. Takes effect with [`Memory::advance`].
    ///
    /// # Errors
    /// As `mremap` has them.
    pub fn remap<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        (start, old_len): (u64, u64),
        new_len: u64,
        relocation: Relocation,
        old_range: OldRange,
    ) -> Result<u64, MapError> {
        self.finish(hw, id);
        let keep = old_range == OldRange::Kept;
        let space = self.spaces.get_mut(&id).ok_or(MapError::NoSpace)?;
        let old = user_range(space, start, old_len)?;
        let len = whole_pages(new_len).filter(|&len| len > 0).ok_or(MapError::Empty)?;
        let old_len = old.end - old.start;
        if keep && (relocation == Relocation::Stay || old_len != len) {
            return Err(MapError::BadArguments);
        }
        if let Relocation::MoveTo(to) = relocation {
            let target = user_range(space, to, len)?;
            if target.start < old.end && old.start < target.end {
                return Err(MapError::BadArguments);
            }
            if target.start < space.layout.lowest {
                return Err(MapError::TooLow);
            }
        }
        let area = space.areas.find(start).ok_or(MapError::NotOneArea)?.clone();
        if old_len == 0 {
            return self.duplicate(hw, id, &area, start, len, relocation);
        }
        let anonymous =
            area.sharing == Sharing::Private && self.objects.base(area.object).is_none();
        if keep && !anonymous {
            return Err(MapError::BadArguments);
        }
        let space = self.spaces.get_mut(&id).ok_or(MapError::NoSpace)?;
        if !matches!(relocation, Relocation::MoveTo(_)) && len < old_len {
            // Shrinking in place may span areas.
            self.unmap(hw, id, start + len, old_len - len)?;
            return Ok(start);
        }
        let shrunk = old.start..old.start + old_len.min(len);
        if area.end < shrunk.end || (len >= old_len && area.end < old.end) {
            return Err(MapError::NotOneArea);
        }
        if area.index(start).checked_add(len / PAGE).is_none_or(|i| i > i64::MAX as u64 / PAGE) {
            return Err(MapError::BadArguments);
        }
        let growth = len.saturating_sub(old_len);
        check_size(space, growth)?;
        let writable = area.sharing == Sharing::Private && area.access.contains(Access::WRITE);
        if writable
            && !area.flags.contains(AreaFlags::NO_RESERVE)
            && growth / PAGE > self.frames.total()
        {
            return Err(MapError::OutOfMemory);
        }
        let target = match relocation {
            Relocation::MoveTo(to) => to,
            _ if len == old_len && !keep => return Ok(start),
            _ if !keep && old.end == area.end && can_grow(space, &area, old.end, growth) => {
                self.grow(id, &area, growth)?;
                return Ok(start);
            }
            Relocation::Stay => return Err(MapError::NoRoom),
            Relocation::MayMove => place(space, Placement::Anywhere(0), len)?,
        };
        // The area may be cut at both ends, and so may what is at the target.
        if space.areas.count() + 4 > MAX_AREAS {
            return Err(MapError::TooManyAreas);
        }
        let target = target..target + len;
        for range in [&target, &old] {
            space.split(&mut self.objects, range.start);
            space.split(&mut self.objects, range.end);
        }
        space.split(&mut self.objects, shrunk.end);
        space.pending.push_back(Step::Unmap(target.clone()));
        if shrunk.end < old.end {
            space.pending.push_back(Step::Unmap(shrunk.end..old.end));
        }
        space.pending.push_back(Step::Unload(shrunk.clone()));
        let to = target.start;
        space.pending.push_back(Step::Move { from: shrunk, to, len, keep_old: keep });
        Ok(to)
    }

    /// Maps what a shared area maps a second time.
    fn duplicate<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        area: &Area,
        start: u64,
        len: u64,
        relocation: Relocation,
    ) -> Result<u64, MapError> {
        let placement = match relocation {
            _ if area.sharing != Sharing::Shared => return Err(MapError::BadArguments),
            Relocation::Stay => return Err(MapError::NoRoom),
            Relocation::MayMove => Placement::Anywhere(0),
            Relocation::MoveTo(to) => Placement::Fixed(to),
        };
        let request = crate::MapRequest {
            placement,
            len,
            access: area.access,
            may: area.may,
            sharing: area.sharing,
            flags: area.flags,
            backing: Backing::Object { object: area.object, offset: area.index(start) * PAGE },
            label: area.label.clone(),
            populate: false,
        };
        self.map(hw, id, &request)
    }

    /// Extends an area at its end, where nothing is.
    fn grow(&mut self, id: SpaceId, area: &Area, growth: u64) -> Result<(), MapError> {
        let space = self.spaces.get_mut(&id).ok_or(MapError::NoSpace)?;
        let mut part = area.clone();
        part.first += area.pages();
        part.start = area.end;
        part.end = area.end + growth;
        let private = self
            .objects
            .get(area.object)
            .is_some_and(|o| matches!(o.role, crate::object::Role::Private(_)));
        if private {
            self.objects.drop_all(part.object, part.first..part.first + part.pages());
        }
        space.add(&mut self.objects, part);
        Ok(())
    }
}

/// Whether `growth` bytes behind an area are free.
fn can_grow(space: &crate::space::Space, area: &Area, end: u64, growth: u64) -> bool {
    let Some(new_end) = end.checked_add(growth).filter(|&end| end <= space.layout.end) else {
        return false;
    };
    let above = space.areas.find_from(end);
    let floor = above.map_or(u64::MAX, |above| {
        let gap =
            if above.flags.contains(AreaFlags::GROWS_DOWN) { crate::area::STACK_GAP } else { 0 };
        above.start.saturating_sub(gap)
    });
    area.end == end && new_end <= floor
}
