//! All memory of an instance as one value.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::pte::{Access, PteFormat};
use maize_hal::{Frame, KernelHeap, PhysMemory, Tlb};

use crate::object::{Objects, PageCopy, Residence, Role};
use crate::page_table::PageTable;
use crate::space::{Limits, Space, SpaceUsage, Step};
use crate::{
    Area, Budget, Frames, ImageSource, Layout, MapError, ObjectId, OutOfMemory, Progress, SpaceId,
    Store,
};

/// Bytes that a last-level page table maps.
const LAST_TABLE_SPAN: u64 = 512 * maize_abi::PAGE_SIZE as u64;

/// What an instance's memory is used for, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MemoryUsage {
    /// Frames managed.
    pub total: u64,
    /// Frames free.
    pub free: u64,
    /// Frames that are in use but can be freed when memory is short: clean pages of the image.
    pub reclaimable: u64,
    /// Memory objects.
    pub objects: u64,
}

/// The memory of one instance: frames, objects and spaces.
///
/// It holds no machine: every operation is handed one. What an operation changes at once and what
/// is left for later steps is said at each; [`Memory::advance`] does the steps.
pub struct Memory {
    pub(crate) format: PteFormat,
    pub(crate) frames: Frames,
    pub(crate) objects: Objects,
    pub(crate) spaces: BTreeMap<SpaceId, Space>,
    pub(crate) image: Box<dyn ImageSource>,
    next_space: u64,
    /// Spaces that are being freed.
    pub(crate) buried: VecDeque<SpaceId>,
    /// The kernel's heap, if it grows by frames of these.
    pub(crate) heap: Option<Box<dyn KernelHeap>>,
    /// Objects that others know and that have lost their pages from an index on.
    pub(crate) cuts: Vec<(ObjectId, u64)>,
}

impl Memory {
    /// The memory of instance `home` (whose number goes into the names of objects), with page
    /// tables in `format`, the given frames, and the root image.
    #[must_use]
    pub fn new(
        home: u16,
        format: PteFormat,
        frames: Frames,
        image: Box<dyn ImageSource>,
    ) -> Memory {
        Memory {
            format,
            frames,
            objects: Objects::new(home),
            spaces: BTreeMap::new(),
            image,
            next_space: 0,
            buried: VecDeque::new(),
            heap: None,
            cuts: Vec::new(),
        }
    }

    /// Makes an empty space.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn create_space<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        layout: Layout,
    ) -> Result<SpaceId, OutOfMemory> {
        let table = self.new_table(hw)?;
        self.next_space += 1;
        let id = SpaceId(self.next_space);
        let main = self.objects.create_private(id, None);
        self.objects.retain(main);
        self.spaces.insert(id, Space::new(id, table, main, layout));
        Ok(id)
    }

    pub(crate) fn new_table<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
    ) -> Result<PageTable, OutOfMemory> {
        loop {
            match PageTable::new(hw, &mut self.frames) {
                Ok(table) => return Ok(table),
                Err(OutOfMemory) => self.make_room(hw)?,
            }
        }
    }

    /// Registers the space that a fork makes.
    pub(crate) fn register_child(&mut self, table: PageTable, parent: SpaceId) -> Option<SpaceId> {
        self.next_space += 1;
        let id = SpaceId(self.next_space);
        let parent = self.spaces.get(&parent)?;
        let main = self.objects.freeze(parent.main, id)?;
        self.objects.retain(main);
        let mut space = Space::new(id, table, main, parent.layout);
        space.limits = parent.limits;
        space.heap = parent.heap.clone();
        self.spaces.insert(id, space);
        Some(id)
    }

    /// Begins to free a space that runs nowhere any more; [`Memory::run_background`] does the rest.
    /// The id is void from now on. An unknown id is ignored.
    pub fn destroy_space(&mut self, id: SpaceId) {
        if let Some(space) = self.spaces.get_mut(&id).filter(|_| !self.buried.contains(&id)) {
            space.pending.retain(|step| !matches!(step, Step::Populate { .. }));
            let all = 0..space.layout.end;
            // User space may end inside a last-level table, of which the pages may have gone one by
            // one: only a range that covers all of an empty table frees it.
            let tables = 0..space.layout.end.next_multiple_of(LAST_TABLE_SPAN);
            space.pending.extend([Step::Unload(tables), Step::Unmap(all), Step::Bury]);
            self.buried.push_back(id);
        }
    }

    /// The frame of a space's root table, to run code in it.
    ///
    /// # Errors
    /// [`MapError::NoSpace`].
    pub fn root(&self, id: SpaceId) -> Result<Frame, MapError> {
        Ok(self.space(id)?.table.root())
    }

    /// The areas of a space in order.
    ///
    /// # Errors
    /// [`MapError::NoSpace`].
    pub fn areas(&self, id: SpaceId) -> Result<impl Iterator<Item = &Area> + '_, MapError> {
        Ok(self.space(id)?.areas.iter())
    }

    /// As [`Self::areas`], from the first that starts at or above `va`, for `/proc/PID/maps`.
    ///
    /// # Errors
    /// [`MapError::NoSpace`].
    pub fn areas_from(
        &self,
        id: SpaceId,
        va: u64,
    ) -> Result<impl Iterator<Item = &Area> + '_, MapError> {
        Ok(self.space(id)?.areas.iter_from(va))
    }

    /// The area that holds `va`.
    #[must_use]
    pub fn area(&self, id: SpaceId, va: u64) -> Option<&Area> {
        self.spaces.get(&id)?.areas.find(va)
    }

    /// What a space uses.
    ///
    /// # Errors
    /// [`MapError::NoSpace`].
    pub fn space_usage(&self, id: SpaceId) -> Result<SpaceUsage, MapError> {
        Ok(self.space(id)?.usage())
    }

    /// What memory is used for.
    #[must_use]
    pub fn usage(&self) -> MemoryUsage {
        MemoryUsage {
            total: self.frames.total(),
            free: self.frames.free_count(),
            reclaimable: self.objects.clean_pages(),
            objects: self.objects.count() as u64,
        }
    }

    /// Parents above the object that has the most: how many places a page is looked for at worst.
    #[must_use]
    pub fn deepest_chain(&self) -> usize {
        self.objects.deepest()
    }

    /// Sets the limits that the space's operations observe from now on.
    ///
    /// # Errors
    /// [`MapError::NoSpace`].
    pub fn set_limits(&mut self, id: SpaceId, limits: Limits) -> Result<(), MapError> {
        self.space_mut(id)?.limits = limits;
        Ok(())
    }

    /// The frame allocator, for the kernel's own needs.
    pub fn frames(&mut self) -> &mut Frames {
        &mut self.frames
    }

    /// The objects as a file system sees them.
    pub fn store<'a, H: PhysMemory + Tlb>(&'a mut self, hw: &'a mut H) -> Store<'a, H> {
        Store::new(self, hw)
    }

    pub(crate) fn space(&self, id: SpaceId) -> Result<&Space, MapError> {
        self.spaces.get(&id).ok_or(MapError::NoSpace)
    }

    pub(crate) fn space_mut(&mut self, id: SpaceId) -> Result<&mut Space, MapError> {
        self.spaces.get_mut(&id).ok_or(MapError::NoSpace)
    }

    /// A frame for a program, freeing what can be freed if there is none.
    pub(crate) fn take_frame<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
    ) -> Result<Frame, OutOfMemory> {
        loop {
            match self.frames.allocate() {
                Some(frame) => return Ok(frame),
                None => self.make_room(hw)?,
            }
        }
    }

    /// Does work that was put off, within the budget: spaces that were destroyed, pages and objects
    /// that nothing needs any more. To be called while there is nothing better to do, and a little
    /// in between.
    pub fn run_background<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        budget: &mut Budget,
    ) -> Progress {
        while !budget.is_spent() {
            if self.objects.has_work() {
                self.objects.work(&mut self.frames, budget);
            } else if let Some(&id) = self.buried.front() {
                if self.advance(hw, id, budget).is_done() {
                    self.buried.pop_front();
                }
            } else {
                return Progress::Done;
            }
        }
        if self.has_background_work() { Progress::More } else { Progress::Done }
    }

    /// Whether work was put off: see [`Memory::run_background`].
    #[must_use]
    pub fn has_background_work(&self) -> bool {
        self.objects.has_work() || !self.buried.is_empty()
    }

    /// Frees something that can be freed.
    pub(crate) fn make_room<H: PhysMemory + Tlb>(&mut self, hw: &mut H) -> Result<(), OutOfMemory> {
        let before = self.frames.free_count();
        loop {
            let progress = self.run_background(hw, &mut Budget::new(256));
            if self.frames.free_count() > before {
                return Ok(());
            }
            if progress.is_done() {
                break;
            }
        }
        let mut room = false;
        for (object, index) in self.objects.clean(&self.frames, 256) {
            if let Some(frame) = self.objects.evict(object, index) {
                self.narrow_mappings(hw, (object, index), frame, None);
                self.frames.release(frame);
                room = true;
            }
        }
        if room { Ok(()) } else { Err(OutOfMemory) }
    }

    /// Takes one page out of every space that maps it, or narrows the rights to it there.
    pub(crate) fn narrow_mappings<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        (object, index): (ObjectId, u64),
        frame: Frame,
        keep: Option<Access>,
    ) {
        for (space, va) in self.objects.shown_at(object, index) {
            if let Some(space) = self.spaces.get_mut(&space) {
                space.table.narrow_page(hw, &self.format, (va, frame), keep);
            }
        }
    }

    /// Takes every page of a range out of a space's tables at once.
    pub(crate) fn unload_all<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        range: Range<u64>,
    ) {
        if let Some(space) = self.spaces.get_mut(&id) {
            let budget = &mut Budget::unbounded();
            space.table.clear_range(hw, &self.format, &mut self.frames, range, budget);
        }
    }

    /// Whether a file's untouched pages come from the image.
    pub(crate) fn is_imaged(&self, id: ObjectId) -> bool {
        let role = self.objects.get(id).map(|o| o.role);
        matches!(role, Some(Role::File { image: Some(_), .. }))
    }

    /// The bytes from `at` on, within one page, of a file's page that was not touched.
    pub(crate) fn read_untouched(&self, id: ObjectId, at: u64, out: &mut [u8]) {
        let mut filled = 0;
        if let Some(Role::File { image: Some(image), .. }) = self.objects.get(id).map(|o| o.role) {
            filled = image.len.saturating_sub(at).min(out.len() as u64) as usize;
            self.image.read(image.start + at, &mut out[..filled]);
        }
        out[filled..].fill(0);
    }

    /// For the page protocol: takes a page of an object away from this instance, everywhere at
    /// once, and returns the frame it was in. The caller then owns the frame; what touches the page
    /// next waits for it.
    pub fn unmap_page_everywhere<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        object: ObjectId,
        index: u64,
    ) -> Option<Frame> {
        let frame = self.objects.narrow(object, index, None)?;
        self.narrow_mappings(hw, (object, index), frame, None);
        Some(frame)
    }

    /// For the page protocol: narrows what this instance may do with its copy of a page to `keep`,
    /// everywhere at once, and returns the frame it is in.
    pub fn protect_page_everywhere<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        object: ObjectId,
        index: u64,
        keep: Access,
    ) -> Option<Frame> {
        let frame = self.objects.narrow(object, index, Some(keep))?;
        let keep = keep.contains(Access::READ).then_some(keep);
        self.narrow_mappings(hw, (object, index), frame, keep);
        Some(frame)
    }

    /// For the page protocol: makes `frame` this instance's copy of a page, with the given rights.
    /// The memory owns the frame from now on.
    ///
    /// # Errors
    /// [`MapError::NoObject`]: the frame stays the caller's.
    pub fn install_page<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        object: ObjectId,
        index: u64,
        (frame, rights): (Frame, Access),
    ) -> Result<(), MapError> {
        if self.objects.get(object).is_none() {
            return Err(MapError::NoObject);
        }
        let copy = PageCopy { frame, rights, dirty: true };
        if let Some(old) = self.objects.put(object, index, copy).filter(|&old| old != frame) {
            self.narrow_mappings(hw, (object, index), old, None);
            self.frames.release(old);
        }
        Ok(())
    }

    /// For the page protocol: the frame and rights of this instance's copy of a page.
    #[must_use]
    pub fn page(&self, object: ObjectId, index: u64) -> Option<(Frame, Access)> {
        match self.objects.get(object)?.pages.get(index)? {
            Residence::Here(copy) => Some((copy.frame, copy.rights)),
            Residence::Elsewhere | Residence::Base => None,
        }
    }

    /// An object's generation: an answer under way to a question of an older one is void.
    #[must_use]
    pub fn generation(&self, object: ObjectId) -> Option<u64> {
        self.objects.get(object).map(|object| object.generation)
    }

    /// For the page protocol: makes the local stand-in for an object that another instance orders,
    /// with one reference. Its pages are that instance's to hand out.
    ///
    /// # Errors
    /// [`MapError::Occupied`] if the object is known.
    pub fn create_replica(&mut self, object: ObjectId, len: u64) -> Result<(), MapError> {
        if self.objects.create_replica(object, len) { Ok(()) } else { Err(MapError::Occupied) }
    }
}
