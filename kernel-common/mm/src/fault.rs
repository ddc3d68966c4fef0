//! What happens when a page is touched.

use alloc::vec;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::{Access, PteFormat};
use maize_hal::{Frame, PhysMemory, Tlb};

use crate::area::{STACK_GAP, effective};
use crate::object::{Found, Objects, PageCopy, Role};
use crate::space::Space;
use crate::{
    Area, AreaFlags, FaultError, FaultOutcome, Frames, Memory, NeedPage, ObjectId, OutOfMemory,
    SpaceId,
};

const PAGE: u64 = PAGE_SIZE as u64;

/// Pages around one that is touched which are mapped with it if they are there already: a program's
/// text and what a forked child reads come in runs.
const AROUND: u64 = 16;

/// A byte of user memory as the kernel reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// In this frame at this offset. Bytes up to the frame's end may be accessed.
    At(Frame, usize),
    /// On another instance.
    NeedPage(NeedPage),
}

impl Memory {
    /// Makes the page at `va` accessible for `access`, one of read, write and execute, if the
    /// program may do so.
    ///
    /// # Errors
    /// Why it may not.
    pub fn fault<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        va: u64,
        access: Access,
    ) -> Result<FaultOutcome, FaultError> {
        let va = va & !(PAGE - 1);
        let space = self.spaces.get_mut(&id).ok_or(FaultError::NoMapping)?;
        let area = match space.areas.find(va) {
            Some(area) => area.clone(),
            None => {
                grow_stack(space, &mut self.objects, va)?;
                space.areas.find(va).ok_or(FaultError::NoMapping)?.clone()
            }
        };
        if access.is_empty() || !area.effective().contains(access) {
            return Err(FaultError::Denied);
        }
        self.prepare(hw, id, va)?;
        let write = access.contains(Access::WRITE);
        match self.provide(hw, &area, area.index(va), write)? {
            Provided::Copy(copy) => {
                // Stores to what has to be copied first, or is another instance's to write, trap.
                if let Some(space) = self.spaces.get_mut(&id) {
                    map_page(space, hw, &self.format, va, &area, copy);
                }
                if !write {
                    self.map_around(hw, id, va, &area);
                }
                Ok(FaultOutcome::Done)
            }
            Provided::Need(object) => {
                let index = area.index(va);
                Ok(FaultOutcome::NeedPage(NeedPage { object, index, access }))
            }
        }
    }

    /// Where the byte at `va` is, for the kernel to read or write on behalf of the program.
    ///
    /// The answer is good until the next operation on memory: a page may be copied, moved to
    /// another instance or unmapped by any of them.
    ///
    /// # Errors
    /// As for [`Memory::fault`].
    pub fn resolve<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        va: u64,
        access: Access,
    ) -> Result<Resolved, FaultError> {
        for _ in 0..2 {
            let space = self.spaces.get(&id).ok_or(FaultError::NoMapping)?;
            if va >= space.layout.end {
                return Err(FaultError::NoMapping);
            }
            let leaf = space.table.lookup(hw, &self.format, va);
            if let Some(leaf) = leaf.filter(|leaf| leaf.access.contains(access)) {
                let offset = (va % PAGE) as usize;
                return Ok(Resolved::At(Frame::containing(leaf.address), offset));
            }
            if let FaultOutcome::NeedPage(need) = self.fault(hw, id, va, access)? {
                return Ok(Resolved::NeedPage(need));
            }
        }
        // The fault was answered and the tables still do not allow the access.
        Err(FaultError::Denied)
    }

    /// Makes sure that the tables reach down to `va`, so that mapping it takes no memory.
    fn prepare<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        va: u64,
    ) -> Result<(), FaultError> {
        loop {
            let space = self.spaces.get_mut(&id).ok_or(FaultError::NoMapping)?;
            match space.table.prepare(hw, &self.format, &mut self.frames, va) {
                Ok(()) => return Ok(()),
                Err(OutOfMemory) => self.make_room(hw)?,
            }
        }
    }

    /// Maps the pages beside `va` that are here already.
    fn map_around<H: PhysMemory + Tlb>(&mut self, hw: &mut H, id: SpaceId, va: u64, area: &Area) {
        let window = va & !(AROUND * PAGE - 1);
        let pages = window.max(area.start)..(window + AROUND * PAGE).min(area.end);
        let first = area.index(pages.start);
        let indices = first..first + (pages.end - pages.start) / PAGE;
        let Memory { objects, frames, spaces, format, .. } = self;
        let Some(space) = spaces.get_mut(&id) else { return };
        let Some(leaves) = space.table.leaves(hw, format, va) else { return };
        for (index, owner, copy) in objects.copies(area.object, indices) {
            let page = pages.start + (index - first) * PAGE;
            if !copy.rights.contains(Access::READ) || leaves.lookup(hw, format, page).is_some() {
                continue;
            }
            let rights = rights(objects, frames, area, owner, copy);
            let rights = if copy.dirty { rights } else { rights & !Access::WRITE };
            map_page(space, hw, format, page, area, PageCopy { rights, ..copy });
        }
    }

    /// Finds or makes the copy that an area's page shows.
    fn provide<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        area: &Area,
        index: u64,
        write: bool,
    ) -> Result<Provided, FaultError> {
        let object = area.object;
        let (owner, copy) = match self.objects.find(object, index) {
            Found::PastEnd => return Err(FaultError::PastEnd),
            Found::Elsewhere(object) => return Ok(Provided::Need(object)),
            Found::Here(owner, copy) => (owner, copy),
            Found::Untouched(file) => (file, self.fill(hw, file, index)?),
            Found::Zero => {
                let frame = self.take_frame(hw)?;
                hw.zero_frame(frame);
                let copy = PageCopy { frame, rights: Access::all(), dirty: true };
                self.objects.put(object, index, copy);
                (object, copy)
            }
        };
        if !copy.rights.contains(Access::READ) {
            // It was fetched ahead: the page protocol has to hear of its first use.
            return Ok(Provided::Need(owner));
        }
        let rights = rights(&self.objects, &self.frames, area, owner, copy);
        if !write || rights.contains(Access::WRITE) {
            if write && !copy.dirty {
                self.objects.mark_dirty(owner, index);
            }
            // A clean page that is mapped writable could be changed unseen: the first store to it
            // has to trap.
            let rights = if copy.dirty || write { rights } else { rights & !Access::WRITE };
            return Ok(Provided::Copy(PageCopy { rights, ..copy }));
        }
        if area.sharing == crate::Sharing::Shared {
            // This instance's copy is read-only.
            return Ok(Provided::Need(owner));
        }
        if self.objects.get(object).is_none_or(|o| !matches!(o.role, Role::Private(_))) {
            // A writable private area always has a private object.
            return Err(FaultError::Denied);
        }
        if owner == object && !copy.rights.contains(Access::WRITE) {
            // This instance's copy is read-only: another has one too.
            return Ok(Provided::Need(owner));
        }
        let shared = self.frames.is_shared(copy.frame);
        if !shared && self.objects.steal(object, owner, index).is_some() {
            return Ok(Provided::Copy(PageCopy { rights: Access::all(), dirty: true, ..copy }));
        }
        // The source may be a clean page of the image that making room evicts.
        self.frames.share(copy.frame);
        let taken = self.take_frame(hw);
        if let Ok(frame) = taken {
            hw.copy_frame(frame, copy.frame);
        }
        self.frames.release(copy.frame);
        let copy = PageCopy { frame: taken?, rights: Access::all(), dirty: true };
        if let Some(old) = self.objects.put(object, index, copy) {
            // The own page was one whose frame frozen objects share. Only this space maps it.
            self.narrow_mappings(hw, (object, index), old, None);
            self.frames.release(old);
        }
        Ok(Provided::Copy(copy))
    }

    /// Gives a file a page that it has not had yet: zero, or the image's bytes.
    pub(crate) fn fill<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        file: ObjectId,
        index: u64,
    ) -> Result<PageCopy, OutOfMemory> {
        let frame = self.take_frame(hw)?;
        let dirty = !self.is_imaged(file);
        if dirty {
            hw.zero_frame(frame);
        } else {
            let mut bytes = vec![0; PAGE_SIZE];
            self.read_untouched(file, index * PAGE, &mut bytes);
            hw.write(frame, 0, &bytes);
        }
        let copy = PageCopy { frame, rights: Access::all(), dirty };
        self.objects.put(file, index, copy);
        Ok(copy)
    }
}

enum Provided {
    Copy(PageCopy),
    Need(ObjectId),
}

fn map_page<H: PhysMemory + Tlb>(
    space: &mut Space,
    hw: &mut H,
    format: &PteFormat,
    va: u64,
    area: &Area,
    copy: PageCopy,
) {
    let rights = effective(area.access) & copy.rights;
    if rights.contains(Access::EXECUTE) {
        hw.sync_instructions(copy.frame);
    }
    space.table.map(hw, format, va, copy.frame, rights);
}

/// What the area may do with a copy that `owner` has: stores go only to the object's own.
fn rights(
    objects: &Objects,
    frames: &Frames,
    area: &Area,
    owner: ObjectId,
    copy: PageCopy,
) -> Access {
    let own = owner == area.object
        && (area.sharing == crate::Sharing::Shared || !objects.is_file(owner))
        && !frames.is_shared(copy.frame);
    if own { copy.rights } else { copy.rights & !Access::WRITE }
}

/// Extends the stack down to `va`, if there is one above it and it may grow so far.
pub(crate) fn grow_stack(
    space: &mut Space,
    objects: &mut Objects,
    va: u64,
) -> Result<(), FaultError> {
    let above = space.areas.find_from(va).ok_or(FaultError::NoMapping)?;
    let grows = above.flags.contains(AreaFlags::GROWS_DOWN)
        && va >= space.layout.lowest
        && above.end - va <= space.limits.stack
        && above.first >= (above.start - va) / PAGE;
    let clear = space
        .areas
        .before(va)
        .is_none_or(|below| below.end.saturating_add(STACK_GAP) <= va || below.access.is_empty());
    if !grows || !clear {
        return Err(FaultError::NoMapping);
    }
    let mut part = above.clone();
    part.first -= (above.start - va) / PAGE;
    part.end = above.start;
    part.start = va;
    let added = part.pages();
    let total = space.areas.pages().saturating_add(added).saturating_mul(PAGE);
    if total > space.limits.address_space {
        return Err(FaultError::NoMapping);
    }
    objects.drop_all(part.object, part.first..part.first + added);
    // Continues the stack's area in every respect, so it is merged with it.
    space.add(objects, part);
    Ok(())
}
