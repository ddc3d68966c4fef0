//! What is done with objects later, in small steps: freeing pages, keeping chains short.

use super::{ObjectId, Objects, Pages, Residence, Role, frame_of};
use crate::{Budget, Frames};

/// Frozen parents above an object beyond which its chain is shortened, so that finding a page
/// takes bounded time however many children of a process live.
const MAX_DEPTH: usize = 16;

/// Deferred work.
pub(crate) enum Work {
    /// Free these pages' frames.
    Free(Pages),
    /// Merge a frozen object into the only one in its shadow.
    Collapse(ObjectId),
    /// Give a frozen object all that its parent shows through it, from index `next` on, and then
    /// its parent's parent.
    Flatten { object: ObjectId, parent: ObjectId, next: u64 },
}

impl Objects {
    /// Whether there is deferred work.
    pub(crate) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Does deferred work within the budget.
    pub(crate) fn work(&mut self, frames: &mut Frames, budget: &mut Budget) {
        while !budget.is_spent() {
            let Some(work) = self.work.pop_front() else { return };
            let rest = match work {
                Work::Free(pages) => free(pages, frames, budget),
                Work::Collapse(object) => self.collapse(object, frames, budget),
                Work::Flatten { object, parent, next } => {
                    self.flatten(object, parent, next, frames, budget)
                }
            };
            if let Some(rest) = rest {
                self.work.push_front(rest);
            }
            budget.spend(1);
        }
    }

    /// Merges frozen `id` into its only child, as far as the budget goes. Between steps each page
    /// is in one of the two and found in either.
    fn collapse(&mut self, id: ObjectId, frames: &mut Frames, budget: &mut Budget) -> Option<Work> {
        let object = self.get(id)?;
        let child = *object.children.first()?;
        if object.role != Role::Frozen || object.children.len() != 1 {
            return None;
        }
        let parent = object.parent;
        let ends = !self.is_frozen(parent);
        let own = self.get(child)?.pages.len();
        let (inherited, mut pages) = {
            let inherited = core::mem::take(&mut self.get_mut(id)?.pages);
            let child = self.get_mut(child)?;
            (inherited, core::mem::take(&mut child.pages))
        };
        let mut base = inherited;
        if own < base.len() && own < budget.left() as usize {
            // Few over many: lay the few on top and take the whole.
            budget.spend(own as u32);
            for (index, residence) in pages {
                let hidden = match residence {
                    Residence::Base if ends => base.remove(index),
                    _ => base.insert(index, residence),
                };
                release(hidden, frames);
            }
            self.get_mut(child)?.pages = base;
        } else {
            while let Some((index, residence)) = base.pop_first() {
                budget.spend(1);
                match pages.get(index) {
                    Some(own) => {
                        if ends && *own == Residence::Base {
                            pages.remove(index);
                        }
                        release(Some(residence), frames);
                    }
                    None if ends && residence == Residence::Base => {}
                    None => {
                        pages.insert(index, residence);
                    }
                }
                if budget.is_spent() && !base.is_empty() {
                    self.get_mut(child)?.pages = pages;
                    self.get_mut(id)?.pages = base;
                    return Some(Work::Collapse(id));
                }
            }
            self.get_mut(child)?.pages = pages;
        }
        self.take(id);
        if let Some(child) = self.get_mut(child) {
            child.parent = parent;
        }
        if let Some(parent) = parent.and_then(|p| self.get_mut(p)) {
            parent.children.remove(&id);
            parent.children.insert(child);
        }
        None
    }

    /// Queues `frozen` for flattening if too many frozen objects stand above it.
    pub(super) fn watch_depth(&mut self, frozen: ObjectId) {
        let mut depth = 0;
        let mut at = self.get(frozen).and_then(|o| o.parent);
        let parent = at;
        while self.is_frozen(at) && depth <= MAX_DEPTH {
            depth += 1;
            at = at.and_then(|p| self.get(p)).and_then(|o| o.parent);
        }
        if let Some(parent) = parent.filter(|_| depth > MAX_DEPTH) {
            self.work.push_back(Work::Flatten { object: frozen, parent, next: 0 });
        }
    }

    pub(super) fn is_frozen(&self, id: Option<ObjectId>) -> bool {
        id.and_then(|p| self.get(p)).is_some_and(|o| o.role == Role::Frozen)
    }

    /// See [`Work::Flatten`]. Frames are shared, not copied: frozen pages are never written.
    fn flatten(
        &mut self,
        id: ObjectId,
        parent: ObjectId,
        mut next: u64,
        frames: &mut Frames,
        budget: &mut Budget,
    ) -> Option<Work> {
        let object = self.get(id)?;
        let above = self.get(parent)?;
        if object.parent != Some(parent)
            || object.role != Role::Frozen
            || above.role != Role::Frozen
        {
            return None;
        }
        let grandparent = above.parent;
        let mut pages = core::mem::take(&mut self.get_mut(id)?.pages);
        let above = self.get(parent)?;
        let mut stopped = None;
        for (index, &residence) in above.pages.range(next..) {
            if budget.is_spent() {
                stopped = Some(index);
                break;
            }
            budget.spend(1);
            if pages.get(index).is_none() {
                if let Some(frame) = frame_of(residence) {
                    frames.share(frame);
                }
                pages.insert(index, residence);
            }
        }
        self.get_mut(id)?.pages = pages;
        if let Some(index) = stopped {
            next = index;
            return Some(Work::Flatten { object: id, parent, next });
        }
        if let Some(parent) = self.get_mut(parent) {
            parent.children.remove(&id);
        }
        if let Some(object) = self.get_mut(id) {
            object.parent = grandparent;
        }
        if let Some(above) = grandparent.and_then(|g| self.get_mut(g)) {
            above.children.insert(id);
        }
        self.settle(parent);
        // Until no frozen object is left above: the next fork then starts a chain of its own.
        grandparent.filter(|&g| self.is_frozen(Some(g))).map(|parent| Work::Flatten {
            object: id,
            parent,
            next: 0,
        })
    }
}

/// Frees the frames of `pages`, and returns what is left when the budget is spent.
fn free(mut pages: Pages, frames: &mut Frames, budget: &mut Budget) -> Option<Work> {
    while !budget.is_spent() {
        let (_, residence) = pages.pop_first()?;
        release(Some(residence), frames);
        budget.spend(1);
    }
    Some(Work::Free(pages))
}

fn release(residence: Option<Residence>, frames: &mut Frames) {
    if let Some(frame) = residence.and_then(frame_of) {
        frames.release(frame);
    }
}
