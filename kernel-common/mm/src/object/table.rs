//! The objects that an instance knows.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::pte::Access;
use maize_hal::Frame;

use super::{
    ImageRange, MappingKey, Object, ObjectId, PageCopy, Pages, Residence, Role, Work, frame_of,
};
use crate::{Budget, Frames, SpaceId};

/// All objects, and what is left to do with them.
pub(crate) struct Objects {
    home: u16,
    serial: u64,
    all: BTreeMap<ObjectId, Object>,
    pub(super) work: VecDeque<Work>,
    /// Objects that other instances know, and those of them that have ended.
    told: BTreeSet<ObjectId>,
    ended: Vec<ObjectId>,
}

/// What a page is, seen through an object and its parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A copy, and the object that has it.
    Here(ObjectId, PageCopy),
    /// Zero, and no file stands behind it.
    Zero,
    /// A page of this file that has not been touched.
    Untouched(ObjectId),
    /// Another instance has it.
    Elsewhere(ObjectId),
    /// Behind the end of the file.
    PastEnd,
}

impl Objects {
    /// Where a page may show: the object's own areas, and those of every object in whose shadow it is.
    /// Where another page hides it the tables have another frame.
    pub(crate) fn shown_at(
        &self,
        object: ObjectId,
        index: u64,
    ) -> impl Iterator<Item = (SpaceId, u64)> + '_ {
        let mut todo = alloc::vec![object];
        let next = move || {
            let object = self.get(todo.pop()?)?;
            todo.extend(&object.children);
            Some(object.mapped_at(index))
        };
        core::iter::from_fn(next).flatten()
    }

    /// No objects; those created here are named after instance `home`.
    pub(crate) fn new(home: u16) -> Objects {
        Objects {
            home,
            serial: 0,
            all: BTreeMap::new(),
            work: VecDeque::new(),
            told: BTreeSet::new(),
            ended: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, object: Object) -> ObjectId {
        self.serial += 1;
        let id = ObjectId { home: self.home, serial: self.serial };
        if let Some(parent) = object.parent.and_then(|p| self.all.get_mut(&p)) {
            parent.children.insert(id);
        }
        self.all.insert(id, object);
        id
    }

    /// A file's object with one reference.
    pub(crate) fn create_file(&mut self, len: u64, image: Option<ImageRange>) -> ObjectId {
        let mut object = Object::new(Role::File { len, image }, None);
        object.references = 1;
        self.add(object)
    }

    /// The local stand-in for a file that another instance orders, with one reference.
    pub(crate) fn create_replica(&mut self, id: ObjectId, len: u64) -> bool {
        if self.all.contains_key(&id) {
            return false;
        }
        let mut object = Object::new(Role::File { len, image: None }, None);
        object.references = 1;
        object.homed_elsewhere = true;
        self.all.insert(id, object);
        true
    }

    /// A private object of `space`, over `parent`. It lives while something maps it or refers to
    /// it: the caller does so next.
    pub(crate) fn create_private(&mut self, space: SpaceId, parent: Option<ObjectId>) -> ObjectId {
        self.add(Object::new(Role::Private(space), parent))
    }

    pub(crate) fn get(&self, id: ObjectId) -> Option<&Object> {
        self.all.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ObjectId) -> Option<&mut Object> {
        self.all.get_mut(&id)
    }

    pub(super) fn take(&mut self, id: ObjectId) -> Option<Object> {
        self.all.remove(&id)
    }

    /// How many objects there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Parents above the object that has the most.
    pub(crate) fn deepest(&self) -> usize {
        let parent = |id: &ObjectId| self.get(*id).and_then(|object| object.parent);
        let depth = |id: ObjectId| core::iter::successors(parent(&id), parent).count();
        self.all.keys().map(|&id| depth(id)).max().unwrap_or(0)
    }

    pub(crate) fn is_file(&self, id: ObjectId) -> bool {
        self.get(id).is_some_and(|o| matches!(o.role, Role::File { .. }))
    }

    /// Records that an area maps `pages` pages of `id`, or that one it had changed its size.
    pub(crate) fn link(&mut self, id: ObjectId, key: MappingKey, pages: u64) {
        if let Some(object) = self.get_mut(id) {
            object.mappings.insert(key, pages);
        }
    }

    /// Records that an area is gone.
    pub(crate) fn unlink(&mut self, id: ObjectId, key: MappingKey) {
        if let Some(object) = self.get_mut(id) {
            object.mappings.remove(&key);
        }
        self.settle(id);
    }

    /// Other instances are told of an object, and want to know of its end.
    pub(crate) fn tell(&mut self, id: ObjectId) {
        if self.all.contains_key(&id) {
            self.told.insert(id);
        }
    }

    /// Whether other instances were told of an object.
    pub(crate) fn is_told(&self, id: ObjectId) -> bool {
        self.told.contains(&id)
    }

    /// Nobody wants to know of an object's end any more.
    pub(crate) fn stop_telling(&mut self, id: ObjectId) {
        self.told.remove(&id);
    }

    /// Objects that have ended and that others know.
    pub(crate) fn take_ended(&mut self) -> Vec<ObjectId> {
        core::mem::take(&mut self.ended)
    }

    /// Adds a reference.
    pub(crate) fn retain(&mut self, id: ObjectId) -> bool {
        self.get_mut(id).map(|object| object.references += 1).is_some()
    }

    /// Drops a reference.
    pub(crate) fn release(&mut self, id: ObjectId) {
        if let Some(object) = self.get_mut(id) {
            object.references = object.references.saturating_sub(1);
        }
        self.settle(id);
    }

    /// Removes `id` if nothing needs it any more, and then what only it needed.
    pub(super) fn settle(&mut self, id: ObjectId) {
        let mut next = Some(id);
        while let Some(id) = next.take() {
            let Some(object) = self.get(id) else { return };
            let used =
                object.references > 0 || !object.mappings.is_empty() || !object.children.is_empty();
            if used {
                if object.role == Role::Frozen && object.children.len() == 1 {
                    self.work.push_back(Work::Collapse(id));
                }
                return;
            }
            let Some(object) = self.take(id) else { return };
            if self.told.remove(&id) {
                self.ended.push(id);
            }
            if !object.pages.is_empty() {
                self.work.push_back(Work::Free(object.pages));
            }
            if let Some(parent) = object.parent.and_then(|p| self.get_mut(p)) {
                parent.children.remove(&id);
                next = object.parent;
            }
        }
    }

    /// The file at the end of `id`'s chain, which may be `id` itself.
    pub(crate) fn base(&self, id: ObjectId) -> Option<ObjectId> {
        self.file_behind((id, self.get(id)?)).map(|(file, _)| file)
    }

    fn file_behind<'a>(&'a self, mut at: (ObjectId, &'a Object)) -> Option<(ObjectId, &'a Object)> {
        loop {
            match (at.1.role, at.1.parent) {
                (Role::File { .. }, _) => return Some(at),
                (_, parent) => at = self.named(parent?)?,
            }
        }
    }

    fn named(&self, id: ObjectId) -> Option<(ObjectId, &Object)> {
        self.get(id).map(|object| (id, object))
    }

    /// What page `index` of `id` is.
    pub(crate) fn find(&self, id: ObjectId, index: u64) -> Found {
        let mut at = self.named(id);
        let base = at.and_then(|own| self.file_behind(own));
        if base.is_some_and(|(_, file)| index >= file.page_count()) {
            return Found::PastEnd;
        }
        while let Some((id, object)) = at {
            at = match object.pages.get(index) {
                Some(Residence::Here(copy)) => return Found::Here(id, *copy),
                Some(Residence::Elsewhere) => return Found::Elsewhere(id),
                Some(Residence::Base) => base,
                None if object.homed_elsewhere => return Found::Elsewhere(id),
                None if base.is_some_and(|(file, _)| file == id) => return Found::Untouched(id),
                None => object.parent.and_then(|parent| self.named(parent)),
            };
        }
        Found::Zero
    }

    /// The pages of a range of which there is a copy here: index, the object that has it, and the copy.
    pub(crate) fn copies(
        &self,
        id: ObjectId,
        range: Range<u64>,
    ) -> impl Iterator<Item = (u64, ObjectId, PageCopy)> + '_ {
        // Without parents only the object's own pages show, and they need not be looked for one by one.
        let own = self.get(id).filter(|object| object.parent.is_none());
        let inherited = if own.is_some() { 0..0 } else { range.clone() };
        let own = own.into_iter().flat_map(move |object| {
            let end = range.end.min(object.page_count());
            object.pages.range(range.start..end).filter_map(move |(index, page)| match page {
                Residence::Here(copy) => Some((index, id, *copy)),
                Residence::Elsewhere | Residence::Base => None,
            })
        });
        own.chain(inherited.filter_map(move |index| match self.find(id, index) {
            Found::Here(owner, copy) => Some((index, owner, copy)),
            _ => None,
        }))
    }

    /// Gives `id` a page. Returns the frame that it had there before.
    pub(crate) fn put(&mut self, id: ObjectId, index: u64, copy: PageCopy) -> Option<Frame> {
        let old = self.get_mut(id)?.pages.insert(index, Residence::Here(copy));
        old.and_then(frame_of)
    }

    /// Marks the page as one whose content the image no longer has.
    pub(crate) fn mark_dirty(&mut self, id: ObjectId, index: u64) {
        if let Some(Residence::Here(copy)) = self.get_mut(id).and_then(|o| o.pages.get_mut(index)) {
            copy.dirty = true;
        }
    }

    /// If `owner` is frozen and only `id` stands directly in its shadow, hands its page over: there
    /// is nobody to keep it for.
    pub(crate) fn steal(&mut self, id: ObjectId, owner: ObjectId, index: u64) -> Option<Frame> {
        let only = self.get(owner).is_some_and(|o| {
            o.role == Role::Frozen && o.children.len() == 1 && o.children.contains(&id)
        });
        if !only {
            return None;
        }
        let residence = self.get_mut(owner)?.pages.remove(index)?;
        let frame = frame_of(residence)?;
        self.get_mut(id)?.pages.insert(index, residence);
        Some(frame)
    }

    /// Forgets what the private object `id` has in `range`, as far as the budget goes: the pages
    /// are then as the file behind it has them, or zero. Nothing may map them. Returns where to go
    /// on.
    pub(crate) fn drop_range(
        &mut self,
        id: ObjectId,
        range: Range<u64>,
        budget: &mut Budget,
    ) -> Option<u64> {
        let most = budget.left().max(1) as usize;
        let frozen = |id: &ObjectId| {
            self.get(*id).and_then(|o| o.parent).filter(|&p| self.is_frozen(Some(p)))
        };
        let ancestors: Vec<ObjectId> = core::iter::successors(frozen(&id), frozen).collect();
        let mut end = range.end;
        for object in ancestors.iter().chain([&id]).filter_map(|&id| self.get(id)) {
            if let Some((index, _)) = object.pages.range(range.start..end).nth(most) {
                end = index;
            }
        }
        let part = range.start..end;
        let mut hidden = Pages::new();
        for object in ancestors.iter().filter_map(|&id| self.get(id)) {
            hidden.extend(object.pages.range(part.clone()).map(|(i, _)| (i, Residence::Base)));
        }
        let object = self.get_mut(id)?;
        let own = object.pages.take_range(part);
        budget.spend((own.len() + hidden.len()) as u32);
        object.pages.extend(hidden);
        if !own.is_empty() {
            self.work.push_back(Work::Free(own));
        }
        (end < range.end).then_some(end)
    }

    /// [`Objects::drop_range`] for ranges that hold little or nothing, at once.
    pub(crate) fn drop_all(&mut self, id: ObjectId, range: Range<u64>) {
        self.drop_range(id, range, &mut Budget::unbounded());
    }

    /// Hands the private object's pages in `range` to a new one with the same parent.
    pub(crate) fn split_off(&mut self, id: ObjectId, range: Range<u64>) -> Option<ObjectId> {
        let object = self.get_mut(id)?;
        let role = object.role;
        let parent = object.parent;
        let pages = object.pages.take_range(range.clone());
        let other = self.add(Object { pages, ..Object::new(role, parent) });
        // What is left must not show the parents' pages in the range again.
        self.drop_all(id, range);
        Some(other)
    }

    /// Splits the private object `id` for a fork: its content freezes in the shadow of `id` and of
    /// a new private object of `child`, which is returned.
    ///
    /// `id` keeps its name and so its areas. What it maps now belongs to the frozen object and must
    /// be made read-only before `child` runs.
    pub(crate) fn freeze(&mut self, id: ObjectId, child: SpaceId) -> Option<ObjectId> {
        let object = self.get_mut(id)?;
        object.generation += 1;
        let parent = object.parent;
        let pages = core::mem::take(&mut object.pages);
        if pages.is_empty() {
            // Nothing written since the last fork: one more stands in the same shadow.
            return Some(self.create_private(child, parent));
        }
        let frozen = self.add(Object { pages, ..Object::new(Role::Frozen, parent) });
        if let Some(parent) = parent.and_then(|p| self.get_mut(p)) {
            parent.children.remove(&id);
        }
        if let Some(object) = self.get_mut(id) {
            object.parent = Some(frozen);
        }
        if let Some(frozen) = self.get_mut(frozen) {
            frozen.children.insert(id);
        }
        let shadow = self.create_private(child, Some(frozen));
        self.watch_depth(frozen);
        Some(shadow)
    }

    /// Forgets all that `id` has from index `first` on. Nothing may map it.
    pub(crate) fn drop_pages_from(&mut self, id: ObjectId, first: u64) {
        let Some(object) = self.get_mut(id) else { return };
        object.generation += 1;
        let pages = object.pages.take_range(first..);
        if !pages.is_empty() {
            self.work.push_back(Work::Free(pages));
        }
    }

    fn clean_copies(&self) -> impl Iterator<Item = (ObjectId, u64, Frame)> + '_ {
        let imaged = |o: &Object| matches!(o.role, Role::File { image: Some(_), .. });
        self.all.iter().filter(move |(_, object)| imaged(object)).flat_map(|(&id, object)| {
            object.pages.iter().filter_map(move |(index, residence)| match residence {
                // One that may only be read is another instance's, too.
                Residence::Here(copy) if !copy.dirty && copy.rights.contains(Access::WRITE) => {
                    Some((id, index, copy.frame))
                }
                _ => None,
            })
        })
    }

    /// How many pages hold nothing but what the image has.
    pub(crate) fn clean_pages(&self) -> u64 {
        self.clean_copies().count() as u64
    }

    /// Up to `count` pages that hold nothing but what the image has, and that nobody holds fast.
    pub(crate) fn clean(&self, frames: &Frames, count: usize) -> Vec<(ObjectId, u64)> {
        let loose = self.clean_copies().filter(|&(_, _, frame)| !frames.is_shared(frame));
        loose.map(|(id, index, _)| (id, index)).take(count).collect()
    }

    /// Forgets a file's page, which is then untouched. Returns its frame: the caller has to change
    /// what maps it.
    pub(crate) fn evict(&mut self, id: ObjectId, index: u64) -> Option<Frame> {
        self.get_mut(id)?.pages.remove(index).and_then(frame_of)
    }

    /// Takes the rights to a page back to `keep`, or the page itself. Returns its frame: the caller
    /// has to change what maps it.
    pub(crate) fn narrow(
        &mut self,
        id: ObjectId,
        index: u64,
        keep: Option<Access>,
    ) -> Option<Frame> {
        let object = self.get_mut(id)?;
        object.generation += 1;
        let residence = object.pages.get_mut(index)?;
        let Residence::Here(copy) = residence else { return None };
        let frame = copy.frame;
        match keep {
            Some(keep) => copy.rights &= keep,
            None => *residence = Residence::Elsewhere,
        }
        Some(frame)
    }
}
