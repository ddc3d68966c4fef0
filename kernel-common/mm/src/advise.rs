//! Advice and questions about mappings: `madvise`, `mincore`, `msync`.

use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access;
use maize_hal::{PhysMemory, Tlb};

use crate::map::user_range;
use crate::object::Found;
use crate::space::{MAX_AREAS, Step};
use crate::{Area, AreaFlags, MapError, Memory, Sharing, SpaceId};

const PAGE: u64 = PAGE_SIZE as u64;

/// Advice that has an effect here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Drop what was written privately; the pages read as untouched (`MADV_DONTNEED`).
    DontNeed,
    /// The same, for private anonymous memory only (`MADV_FREE`; Linux may do it later).
    Free,
    /// Bring the pages in (`MADV_WILLNEED`).
    WillNeed,
    /// Bring the pages in for an access (`MADV_POPULATE_READ`, `MADV_POPULATE_WRITE`).
    Populate(Access),
    /// Set and clear these properties (`MADV_DONTFORK` and its like).
    Set(AreaFlags, AreaFlags),
    /// Nothing to do but check the range.
    None,
}

impl Memory {
    /// Takes advice on a range. Takes effect with [`Memory::advance`].
    ///
    /// # Errors
    /// As `madvise` has them: [`MapError::NotMapped`] for a range with holes, the rest of which the
    /// advice was taken for.
    pub fn advise<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        start: u64,
        len: u64,
        advice: Advice,
    ) -> Result<(), MapError> {
        self.finish(hw, id);
        let space = self.spaces.get_mut(&id).ok_or(MapError::NoSpace)?;
        let range = user_range(space, start, len)?;
        if range.is_empty() {
            return Ok(());
        }
        let covered = space.areas.covers(range.clone());
        let objects = &self.objects;
        let anonymous =
            |area: &Area| area.sharing == Sharing::Private && objects.base(area.object).is_none();
        let for_anonymous = match advice {
            Advice::Free => true,
            Advice::Set(set, _) => set.contains(AreaFlags::WIPE_ON_FORK),
            _ => false,
        };
        if for_anonymous && !space.areas.overlapping(range.clone()).all(anonymous) {
            return Err(MapError::BadArguments);
        }
        match advice {
            Advice::None => {}
            Advice::DontNeed => space.pending.push_back(Step::Discard(range)),
            Advice::Free => space.pending.push_back(Step::Discard(range)),
            Advice::WillNeed => {
                // For what comes out of the image; the rest is made when it is touched.
                let parts: Vec<Range<u64>> = space
                    .areas
                    .overlapping(range.clone())
                    .filter(|area| objects.base(area.object).is_some())
                    .map(|area| area.start.max(range.start)..area.end.min(range.end))
                    .collect();
                let access = Access::READ;
                let steps = parts.into_iter().map(|range| Step::Populate { range, access });
                space.pending.extend(steps);
            }
            Advice::Populate(access) => {
                if !covered {
                    return Err(MapError::NotMapped);
                }
                space.pending.push_back(Step::Populate { range, access });
            }
            Advice::Set(set, clear) => {
                if space.areas.count() + space.splits_at(&range) > MAX_AREAS {
                    return Err(MapError::TooManyAreas);
                }
                space.update(&mut self.objects, range, |_, area| {
                    area.flags = (area.flags & !clear) | set;
                });
            }
        }
        if covered { Ok(()) } else { Err(MapError::NotMapped) }
    }

    /// Whether areas cover all of a range: what `msync` and `mlock` ask.
    ///
    /// # Errors
    /// [`MapError::NotMapped`] if not; what the range itself makes wrong.
    pub fn check_mapped(&self, id: SpaceId, start: u64, len: u64) -> Result<(), MapError> {
        let space = self.space(id)?;
        let range = match user_range(space, start, len) {
            Err(MapError::BadRange) => return Err(MapError::NotMapped),
            range => range?,
        };
        if space.areas.covers(range) { Ok(()) } else { Err(MapError::NotMapped) }
    }

    /// For each page of a range, whether it is in memory (`mincore`). For ranges of a bounded
    /// length.
    ///
    /// # Errors
    /// [`MapError::NotMapped`] if part of the range is not mapped; what the range itself makes
    /// wrong.
    pub fn resident(&self, id: SpaceId, start: u64, len: u64) -> Result<Vec<bool>, MapError> {
        self.check_mapped(id, start, len)?;
        let space = self.space(id)?;
        let range = user_range(space, start, len)?;
        let mut pages = Vec::new();
        for area in space.areas.overlapping(range.clone()) {
            let part = area.start.max(range.start)..area.end.min(range.end);
            for va in part.step_by(PAGE_SIZE) {
                let found = self.objects.find(area.object, area.index(va));
                pages.push(matches!(found, Found::Here(..)));
            }
        }
        debug_assert_eq!(pages.len() as u64, (range.end - range.start) / PAGE);
        Ok(pages)
    }
}
