//! What spans several instances: replicas of spaces, and pages that other instances have.

use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access;
use maize_hal::{Frame, PhysMemory, Tlb};

use crate::fault::grow_stack;
use crate::object::{Found, PageCopy, Residence, Role};
use crate::{Area, FaultError, Memory, NeedPage, ObjectId, OutOfMemory, SpaceId};

const PAGE: u64 = PAGE_SIZE as u64;

impl SpaceId {
    /// The number that other instances know the space by.
    #[must_use]
    pub const fn serial(self) -> u64 {
        self.0
    }
}

impl Memory {
    /// The area that a fault at `va` for `access` is about, the stack grown down to it if need be.
    ///
    /// # Errors
    /// As [`Memory::fault`], without touching the page.
    pub fn area_for(&mut self, id: SpaceId, va: u64, access: Access) -> Result<Area, FaultError> {
        let va = va & !(PAGE - 1);
        let space = self.spaces.get_mut(&id).ok_or(FaultError::NoMapping)?;
        if space.areas.find(va).is_none() {
            grow_stack(space, &mut self.objects, va)?;
        }
        let area = space.areas.find(va).ok_or(FaultError::NoMapping)?;
        if access.is_empty() || !area.effective().contains(access) {
            return Err(FaultError::Denied);
        }
        Ok(area.clone())
    }

    /// Takes all areas that touch `range` out of a replica. Their objects keep their pages. Takes
    /// effect with [`Memory::advance`].
    pub fn forget_areas(&mut self, id: SpaceId, range: Range<u64>) {
        let Some(space) = self.spaces.get_mut(&id) else { return };
        let start = space.areas.find(range.start).map_or(range.start, |area| area.start);
        let end = match range.end.checked_sub(1).and_then(|last| space.areas.find(last)) {
            Some(area) => area.end,
            None => range.end,
        };
        if start < end && !space.areas.is_free(start..end) {
            space.pending.push_back(crate::space::Step::Unmap(start..end));
        }
    }

    /// Adds an area to a replica, in place of what it had there.
    pub fn add_replica_area<H: PhysMemory + Tlb>(&mut self, hw: &mut H, id: SpaceId, area: Area) {
        self.forget_areas(id, area.range());
        self.finish(hw, id);
        if let Some(space) = self.spaces.get_mut(&id)
            && area.start < area.end
            && area.end <= space.layout.end
            && space.areas.is_free(area.range())
        {
            space.add(&mut self.objects, area);
        }
    }

    /// If no page of the object differs from the root image: where in the image it is.
    #[must_use]
    pub fn pristine_image(&self, object: ObjectId) -> Option<(u64, u64)> {
        let object = self.objects.get(object)?;
        let Role::File { image: Some(image), len } = object.role else { return None };
        let clean = object.pages.values().all(|page| match page {
            Residence::Here(copy) => !copy.dirty,
            Residence::Elsewhere | Residence::Base => false,
        });
        (clean && len == image.len).then_some((image.start, image.len))
    }

    /// Bytes that an object can hold, for a replica of it.
    #[must_use]
    pub fn object_len(&self, object: ObjectId) -> Option<u64> {
        self.objects.get(object).map(|known| match known.role {
            Role::File { len, .. } => len,
            Role::Private(_) | Role::Frozen => match self.objects.base(object).and_then(|base| {
                // A private copy of a file ends where the file does.
                self.objects.get(base).map(|file| file.page_count() * PAGE)
            }) {
                Some(len) => len,
                None => i64::MAX as u64 & !(PAGE - 1),
            },
        })
    }

    /// Whether an object is what a space wrote, which goes when it is unmapped.
    #[must_use]
    pub fn is_private(&self, object: ObjectId) -> bool {
        self.objects.get(object).is_some_and(|o| matches!(o.role, Role::Private(_)))
    }

    /// Another instance is told of an object: [`Memory::take_ended`] names it when it has ended.
    pub fn tell_of(&mut self, object: ObjectId) {
        self.objects.tell(object);
    }

    /// Nobody wants to know of the object's end any more.
    pub fn stop_telling(&mut self, object: ObjectId) {
        self.objects.stop_telling(object);
    }

    /// Objects that others were told of and that have lost their pages from an index on, since the last
    /// call.
    pub fn take_cuts(&mut self) -> Vec<(ObjectId, u64)> {
        core::mem::take(&mut self.cuts)
    }

    pub(crate) fn note_cut(&mut self, object: ObjectId, first: u64) {
        if self.objects.is_told(object) {
            self.cuts.push((object, first));
        }
    }

    /// The page that a private object's own is to be copied from, if another instance has it.
    #[must_use]
    pub fn lacking(&self, object: ObjectId, index: u64) -> Option<NeedPage> {
        match self.objects.find(object, index) {
            Found::Elsewhere(other) if other != object => {
                Some(NeedPage { object: other, index, access: Access::READ })
            }
            _ => None,
        }
    }

    /// A page of an object that another instance has.
    #[must_use]
    pub fn first_elsewhere(&self, object: ObjectId) -> Option<NeedPage> {
        let mut pages = self.objects.get(object)?.pages.iter();
        let (index, _) = pages.find(|(_, page)| **page == Residence::Elsewhere)?;
        Some(NeedPage { object, index, access: Access::READ })
    }

    /// Objects that others were told of, and that have ended since the last call.
    pub fn take_ended(&mut self) -> Vec<ObjectId> {
        self.objects.take_ended()
    }

    /// Whether somebody may ask for a page of an object whose home is here: a page of the file, or one
    /// that an area shows.
    #[must_use]
    pub fn may_be_asked_for(&self, object: ObjectId, index: u64) -> bool {
        self.objects.get(object).is_some_and(|known| match known.role {
            Role::File { .. } => index < known.page_count(),
            Role::Private(_) => known.mapped_at(index).next().is_some(),
            Role::Frozen => false,
        })
    }

    /// Whether programs here may fetch instructions from a page, wherever it shows.
    #[must_use]
    pub fn is_executable(&self, object: ObjectId, index: u64) -> bool {
        self.objects.shown_at(object, index).any(|(space, va)| {
            self.area(space, va).is_some_and(|area| area.effective().contains(Access::EXECUTE))
        })
    }

    /// Whether another instance has the page, and this one has not.
    #[must_use]
    pub fn is_elsewhere(&self, object: ObjectId, index: u64) -> bool {
        let page = self.objects.get(object).and_then(|known| known.pages.get(index));
        matches!(page, Some(Residence::Elsewhere))
    }

    /// Whether this instance knows the object.
    #[must_use]
    pub fn has_object(&self, object: ObjectId) -> bool {
        self.objects.get(object).is_some()
    }

    /// For the page protocol at an object's home: gives the object a page of its own with the
    /// content that a program would see there, if it has none here.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn materialise<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        object: ObjectId,
        index: u64,
    ) -> Result<Option<Frame>, OutOfMemory> {
        let Some(known) = self.objects.get(object) else { return Ok(None) };
        if let Some(Residence::Here(copy)) = known.pages.get(index) {
            return Ok(Some(copy.frame));
        }
        // What was elsewhere is gone: the page begins anew.
        let found = match known.pages.get(index) {
            Some(Residence::Elsewhere) => Found::Zero,
            _ => self.objects.find(object, index),
        };
        let source = match found {
            Found::Here(_, copy) => Some(copy.frame),
            Found::Untouched(file) if file == object => {
                return Ok(Some(self.fill(hw, file, index)?.frame));
            }
            Found::Untouched(file) => Some(self.fill(hw, file, index)?.frame),
            Found::Zero | Found::Elsewhere(_) | Found::PastEnd => None,
        };
        let frame = match source {
            Some(source) => {
                // Making room could evict it, if it is a clean page of the image.
                self.frames.share(source);
                let taken = self.take_frame(hw);
                if let Ok(frame) = taken {
                    hw.copy_frame(frame, source);
                }
                self.frames.release(source);
                taken?
            }
            None => {
                let frame = self.take_frame(hw)?;
                hw.zero_frame(frame);
                frame
            }
        };
        let copy = PageCopy { frame, rights: Access::all(), dirty: true };
        let old = self.objects.put(object, index, copy).filter(|&old| old != frame);
        // What showed an ancestor's page, or the page as it was, shows this one from now on.
        self.hide_ancestors(hw, object, index, frame);
        if let Some(old) = old {
            self.frames.release(old);
        }
        Ok(Some(frame))
    }

    /// At an object's lead: the frame of its page for another instance of this machine to map. Nobody
    /// else has it, and it does not go when memory is short. `None` if the page is not here.
    pub fn lend_page<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        object: ObjectId,
        index: u64,
    ) -> Option<Frame> {
        let page = self.objects.get(object)?.pages.get(index);
        let Some(Residence::Here(copy)) = page.copied() else { return None };
        self.objects.mark_dirty(object, index);
        if !self.frames.is_shared(copy.frame) {
            return Some(copy.frame);
        }
        // Frozen objects have the frame, too.
        let frame = self.page_frame(hw).ok()?;
        hw.copy_frame(frame, copy.frame);
        self.objects.put(object, index, PageCopy { frame, dirty: true, ..copy });
        self.hide_ancestors(hw, object, index, frame);
        self.frames.release(copy.frame);
        Some(frame)
    }

    /// Says how many bytes the object of another instance can hold.
    pub fn set_replica_len(&mut self, object: ObjectId, bytes: u64) {
        if let Some(object) = self.objects.get_mut(object).filter(|o| o.homed_elsewhere)
            && let Role::File { len, .. } = &mut object.role
        {
            *len = bytes;
        }
    }

    /// Takes translations of `(object, index)` that are not to `frame` out of the tables.
    fn hide_ancestors<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        object: ObjectId,
        index: u64,
        frame: Frame,
    ) {
        let Some(known) = self.objects.get(object) else { return };
        let places: Vec<_> = known.mapped_at(index).collect();
        for (space, va) in places {
            let Some(space) = self.spaces.get_mut(&space) else { continue };
            let Some(leaf) = space.table.lookup(hw, &self.format, va) else { continue };
            let mapped = Frame::containing(leaf.address);
            if mapped != frame {
                space.table.narrow_page(hw, &self.format, (va, mapped), None);
            }
        }
    }

    /// Pages of `range` of a space's areas that are not here with all rights, up to `most`: what has
    /// to come home before pages change their names.
    #[must_use]
    pub fn absent_pages(&self, id: SpaceId, range: Range<u64>, most: usize) -> Vec<NeedPage> {
        let Some(space) = self.spaces.get(&id) else { return Vec::new() };
        let mut absent = Vec::new();
        for area in space.areas.overlapping(range.clone()) {
            let Some(object) = self.objects.get(area.object) else { continue };
            if !matches!(object.role, Role::Private(_)) {
                continue;
            }
            let part = area.start.max(range.start)..area.end.min(range.end);
            let indices = area.index(part.start)..area.first + (part.end - area.start) / PAGE;
            for (index, page) in object.pages.range(indices) {
                let here = match page {
                    Residence::Here(copy) => copy.rights.contains(Access::WRITE),
                    Residence::Elsewhere => false,
                    Residence::Base => true,
                };
                if !here {
                    absent.push(NeedPage { object: area.object, index, access: Access::WRITE });
                    if absent.len() == most {
                        return absent;
                    }
                }
            }
        }
        absent
    }

    /// The objects behind the areas that touch `range`, with the pages that show there.
    #[must_use]
    pub fn objects_in(&self, id: SpaceId, range: Range<u64>) -> Vec<(ObjectId, Range<u64>)> {
        let Some(space) = self.spaces.get(&id) else { return Vec::new() };
        let part = |area: &Area| {
            let part = area.start.max(range.start)..area.end.min(range.end);
            let first = area.index(part.start);
            (area.object, first..first + (part.end - part.start) / PAGE)
        };
        space.areas.overlapping(range.clone()).map(part).collect()
    }

    /// A frame for a page that arrives: of the kernel's reserve if programs have taken all others.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn page_frame<H: PhysMemory + Tlb>(&mut self, hw: &mut H) -> Result<Frame, OutOfMemory> {
        match self.take_frame(hw) {
            Ok(frame) => Ok(frame),
            Err(OutOfMemory) => self.frames.allocate_kernel().ok_or(OutOfMemory),
        }
    }

    /// Where a space's heap is.
    #[must_use]
    pub fn heap(&self, id: SpaceId) -> Range<u64> {
        self.spaces.get(&id).map_or(0..0, |space| space.heap.clone())
    }
}
