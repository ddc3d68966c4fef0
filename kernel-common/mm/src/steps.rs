//! The parts of long operations, each done in steps of bounded length.

use alloc::collections::BTreeMap;
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access;
use maize_hal::{PhysMemory, Tlb};

use crate::object::Role;
use crate::space::Step;
use crate::{
    Area, AreaFlags, Budget, FaultOutcome, MapError, Memory, ObjectId, Progress, Sharing, SpaceId,
};

const PAGE: u64 = PAGE_SIZE as u64;

/// What adding or taking out an area costs, in page-table entries.
const AREA_COST: u32 = 32;

/// What clearing or copying a page costs, in page-table entries.
const PAGE_COST: u32 = 16;

impl Memory {
    /// Goes on with what operations on a space have left to do, within the budget. An operation has
    /// returned to its program only when nothing is left. The next operation on the same space does
    /// the rest at once, however long it takes, so callers keep operations of one space apart.
    pub fn advance<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        budget: &mut Budget,
    ) -> Progress {
        loop {
            let Some(space) = self.spaces.get_mut(&id) else { return Progress::Done };
            if space.pending.is_empty() {
                return Progress::Done;
            }
            if budget.is_spent() {
                return Progress::More;
            }
            if let Some(step) = space.pending.pop_front() {
                // With anything left to spend, a step comes nearer to its end.
                self.step(hw, id, step, budget);
                budget.spend(1);
            }
        }
    }

    /// Whether operations on a space have nothing left to do.
    #[must_use]
    pub fn is_settled(&self, id: SpaceId) -> bool {
        self.spaces.get(&id).is_none_or(|space| space.pending.is_empty())
    }

    /// Does all that is left of earlier operations.
    pub(crate) fn finish<H: PhysMemory + Tlb>(&mut self, hw: &mut H, id: SpaceId) {
        let progress = self.advance(hw, id, &mut Budget::unbounded());
        debug_assert!(progress.is_done());
    }

    /// Queues `step` to come next.
    fn next(&mut self, id: SpaceId, step: Step) {
        if let Some(space) = self.spaces.get_mut(&id) {
            space.pending.push_front(step);
        }
    }

    fn step<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        step: Step,
        budget: &mut Budget,
    ) {
        match step {
            Step::Unmap(range) => {
                budget.spend(AREA_COST);
                self.unmap_step(id, range);
            }
            Step::Clear { area, at } => self.clear_step(hw, id, area, at, budget),
            Step::Unload(range) => {
                if let Some(at) = self.unload(hw, id, range.clone(), budget) {
                    self.next(id, Step::Unload(at..range.end));
                }
            }
            Step::Narrow { range, keep } => {
                let Some(space) = self.spaces.get_mut(&id) else { return };
                let rest = space.table.narrow_range(hw, &self.format, range.clone(), keep, budget);
                if let Some(at) = rest {
                    self.next(id, Step::Narrow { range: at..range.end, keep });
                }
            }
            Step::Discard(range) => self.discard_step(hw, id, range, budget),
            Step::Insert(area) => {
                if let Some(space) = self.spaces.get_mut(&id) {
                    let object = area.object;
                    space.add(&mut self.objects, area);
                    self.objects.release(object);
                }
            }
            Step::Populate { range, access } => self.populate_step(hw, id, range, access, budget),
            Step::Move { from, to, len, keep_old } => {
                self.move_step(hw, id, from, (to, len), keep_old);
            }
            Step::Fork { child, next, shadows } => {
                self.fork_step(id, child, next, shadows, budget);
            }
            Step::Bury => {
                if let Some(space) = self.spaces.remove(&id) {
                    self.objects.release(space.main);
                    space.table.destroy(hw, &mut self.frames);
                }
            }
        }
    }

    fn unload<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        range: Range<u64>,
        budget: &mut Budget,
    ) -> Option<u64> {
        let space = self.spaces.get_mut(&id)?;
        space.table.clear_range(hw, &self.format, &mut self.frames, range, budget)
    }

    fn unmap_step(&mut self, id: SpaceId, range: Range<u64>) {
        let Some(space) = self.spaces.get_mut(&id) else { return };
        let first = space.areas.overlapping(range.clone()).next().map(|area| area.start);
        if let Some(area) = first.and_then(|start| space.areas.remove(start)) {
            // The object keeps its record of the area, so that pages it loses meanwhile are taken
            // out of these tables too.
            let at = area.start;
            space.pending.push_front(Step::Unmap(area.end..range.end.max(area.end)));
            space.pending.push_front(Step::Clear { area, at });
        }
    }

    fn clear_step<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        area: Area,
        at: u64,
        budget: &mut Budget,
    ) {
        let rest = self.unload(hw, id, at..area.end, budget);
        let done = rest.unwrap_or(area.end);
        // An object that goes with its last area, or with its space, frees its pages as a whole.
        let kept = !self.buried.contains(&id) && !self.is_only_mapping(area.object);
        let rest = if kept { self.drop_private(&area, at..done, budget).or(rest) } else { rest };
        match rest {
            Some(at) => self.next(id, Step::Clear { area, at }),
            None => {
                if let Some(space) = self.spaces.get(&id) {
                    space.forget(&mut self.objects, &area);
                }
            }
        }
    }

    /// Whether the private object lives only by one area.
    pub(crate) fn is_only_mapping(&self, object: ObjectId) -> bool {
        self.objects.get(object).is_some_and(|o| {
            matches!(o.role, Role::Private(_)) && o.references == 0 && o.mappings.len() == 1
        })
    }

    /// Drops what was written privately in `range` of an area, as far as the budget goes. Returns
    /// where to go on.
    fn drop_private(&mut self, area: &Area, range: Range<u64>, budget: &mut Budget) -> Option<u64> {
        let private =
            self.objects.get(area.object).is_some_and(|o| matches!(o.role, Role::Private(_)));
        if !private || range.is_empty() {
            return None;
        }
        let indices = area.index(range.start)..area.index(range.end);
        let rest = self.objects.drop_range(area.object, indices, budget)?;
        Some(area.start + (rest - area.first) * PAGE)
    }

    fn discard_step<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        range: Range<u64>,
        budget: &mut Budget,
    ) {
        let Some(space) = self.spaces.get(&id) else { return };
        let Some(area) = space.areas.overlapping(range.clone()).next().cloned() else { return };
        let part = area.start.max(range.start)..area.end.min(range.end);
        let rest = self.unload(hw, id, part.clone(), budget);
        let done = rest.unwrap_or(part.end);
        let done = self.drop_private(&area, part.start..done, budget).unwrap_or(done);
        if done < range.end {
            self.next(id, Step::Discard(done..range.end));
        }
    }

    fn populate_step<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        range: Range<u64>,
        access: Access,
        budget: &mut Budget,
    ) {
        let mut va = range.start;
        while va < range.end {
            if budget.is_spent() {
                self.next(id, Step::Populate { range: va..range.end, access });
                return;
            }
            budget.spend(PAGE_COST);
            // What cannot be had now is left to be touched by the program.
            if self.fault(hw, id, va, access) != Ok(FaultOutcome::Done) {
                return;
            }
            va += PAGE;
        }
    }

    fn move_step<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        id: SpaceId,
        from: Range<u64>,
        (to, len): (u64, u64),
        keep_old: bool,
    ) {
        // Most was unloaded in steps before; this is what was touched meanwhile.
        self.unload(hw, id, from.clone(), &mut Budget::unbounded());
        let Some(space) = self.spaces.get_mut(&id) else { return };
        space.split(&mut self.objects, from.start);
        space.split(&mut self.objects, from.end);
        let Some(old) = space.areas.remove(from.start) else { return };
        let mut new = Area { start: to, end: to + len, ..old.clone() };
        let indices = old.first..old.first + old.pages();
        let private =
            self.objects.get(old.object).is_some_and(|o| matches!(o.role, Role::Private(_)));
        let only = self.is_only_mapping(old.object);
        if private && !only {
            // All areas of a private object have the same distance between page number and index:
            // what moves needs an object of its own.
            if let Some(object) = self.objects.split_off(old.object, indices.clone()) {
                new.object = object;
            }
        }
        if private && new.pages() > old.pages() {
            self.objects.drop_all(new.object, indices.end..new.first + new.pages());
        }
        let Some(space) = self.spaces.get_mut(&id) else { return };
        self.objects.retain(new.object);
        if keep_old {
            let mut rest = old.clone();
            if only {
                rest.object = self.objects.create_private(id, None);
            }
            space.forget(&mut self.objects, &old);
            space.add(&mut self.objects, rest);
        } else {
            space.forget(&mut self.objects, &old);
        }
        let object = new.object;
        space.add(&mut self.objects, new);
        self.objects.release(object);
    }

    /// Makes a copy of a space: private memory is copied when one of the two writes to it, shared
    /// memory stays shared. The copy is complete when [`Memory::advance`] of the parent is done,
    /// and must not run before.
    ///
    /// # Errors
    /// [`MapError::NoSpace`], [`MapError::OutOfMemory`].
    pub fn fork_space<H: PhysMemory + Tlb>(
        &mut self,
        hw: &mut H,
        parent: SpaceId,
    ) -> Result<SpaceId, MapError> {
        self.finish(hw, parent);
        let main = self.space(parent)?.main;
        let table = self.new_table(hw)?;
        let child = self.register_child(table, parent).ok_or(MapError::NoSpace)?;
        let shadows = BTreeMap::from([(main, self.space(child)?.main)]);
        let step = Step::Fork { child, next: 0, shadows };
        self.space_mut(parent)?.pending.push_back(step);
        Ok(child)
    }

    fn fork_step(
        &mut self,
        id: SpaceId,
        child: SpaceId,
        mut next: u64,
        mut shadows: BTreeMap<ObjectId, ObjectId>,
        budget: &mut Budget,
    ) {
        while let Some(area) = self.spaces.get(&id).and_then(|s| s.areas.find_from(next)).cloned() {
            if budget.is_spent() {
                self.next(id, Step::Fork { child, next, shadows });
                return;
            }
            budget.spend(AREA_COST);
            next = area.end;
            self.fork_area(id, child, &area, &mut shadows);
            let written = area.sharing == Sharing::Private && area.access.contains(Access::WRITE);
            if written {
                // Then on with the fork.
                self.next(id, Step::Fork { child, next, shadows });
                let keep = Access::READ | Access::EXECUTE;
                self.next(id, Step::Narrow { range: area.range(), keep });
                return;
            }
        }
        for shadow in shadows.into_values() {
            // One of which the child maps nothing goes.
            self.objects.retain(shadow);
            self.objects.release(shadow);
        }
    }

    /// Gives `child` its copy of an area.
    fn fork_area(
        &mut self,
        id: SpaceId,
        child: SpaceId,
        area: &Area,
        shadows: &mut BTreeMap<ObjectId, ObjectId>,
    ) {
        let mut copy = area.clone();
        let private = self.objects.get(area.object).is_some_and(|o| o.role == Role::Private(id));
        if private {
            let shadow = shadows.get(&area.object).copied().or_else(|| {
                let shadow = self.objects.freeze(area.object, child)?;
                shadows.insert(area.object, shadow);
                Some(shadow)
            });
            let Some(shadow) = shadow else { return };
            copy.object = shadow;
        }
        let Some(space) = self.spaces.get_mut(&child) else { return };
        if !area.flags.intersects(AreaFlags::NO_FORK | AreaFlags::WIPE_ON_FORK) {
            // What was apart in the parent is apart in the child.
            space.add_apart(&mut self.objects, copy);
            return;
        }
        if private {
            // The child does not map these, so they must read as untouched if it maps them anew.
            let indices = area.first..area.first + area.pages();
            self.objects.drop_all(copy.object, indices);
        }
        if !area.flags.contains(AreaFlags::NO_FORK) {
            copy.object = self.objects.create_private(child, None);
            space.add(&mut self.objects, copy);
        }
    }
}
