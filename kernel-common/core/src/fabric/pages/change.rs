//! Changes of objects, as far as pages are concerned: new lives, ends, and what waits for them.

use alloc::vec::Vec;
use core::ops::Range;

use maize_coherence::{ObjectId as Segment, PageKey};
use maize_hal::Arch;
use maize_mm::ObjectId;

use super::Pages;
use super::machine::{Deed, Happened};
use super::name::{object_of, page_of, segments};
use crate::state::State;

impl<A: Arch> State<A> {
    /// Lets requests that waited for a change of objects go on.
    pub(crate) fn resume_pages(&mut self, objects: &[ObjectId]) {
        for object in objects {
            if let Some(count) = self.fabric.pages.paused.get_mut(object) {
                *count -= 1;
                if *count == 0 {
                    self.fabric.pages.paused.remove(object);
                }
            }
        }
        for (from, message, content) in core::mem::take(&mut self.fabric.pages.delayed) {
            if self.on_page(from, message, content).is_err() {
                self.distrust(from);
            }
        }
    }

    /// At the home, whose own pages the caller drops or has at hand: starts a new life of a range. What
    /// its siblings map of the old one they give up when they are told of the change.
    pub(crate) fn renew_pages(&mut self, object: ObjectId, range: Range<u64>, generation: u32) {
        let now = self.now();
        self.fabric.pages.windowed.drop_range(object, &range);
        self.fabric.pages.lives.entry(object).or_default().begin(range.clone(), generation);
        let mut woken = Vec::new();
        for (segment, first, count) in Pages::parts(object, range) {
            let renew = Happened::Renew { object: segment, generation, first, count };
            let Some(machine) = self.fabric.pages.machine(object.home) else { return };
            // It is no message, so it cannot be refused.
            let _ = machine.handle(now, renew, &mut woken);
            woken.retain(|deed| matches!(deed, Deed::Wake(_)));
            self.drop_stashed(segment, first, count, generation);
        }
        for wake in woken {
            self.carry_out(wake, None);
        }
    }

    /// Frees content that arrived for a former life of pages.
    fn drop_stashed(&mut self, object: Segment, first: u32, count: u32, generation: u32) {
        let last = first.saturating_add(count.saturating_sub(1));
        let gone: Vec<PageKey> = self
            .fabric
            .pages
            .stashed
            .keys()
            .filter(|key| key.object == object && (first..=last).contains(&key.index))
            .filter(|key| key.generation < generation)
            .copied()
            .collect();
        for frame in gone.iter().filter_map(|key| self.fabric.pages.stashed.remove(key)).flatten() {
            self.memory.frames().release(frame);
        }
    }

    /// At a member: the home has dropped a range.
    pub(crate) fn drop_pages(&mut self, object: ObjectId, range: Range<u64>, generation: u32) {
        let home = object.home;
        self.fabric.pages.windowed.drop_range(object, &range);
        self.fabric.pages.lives.entry(object).or_default().learn(range.clone(), generation);
        for (object, first, count) in Pages::parts(object, range) {
            let _ = self.tell(home, Happened::Discard { object, generation, first, count }, None);
        }
    }

    /// At a member: an object has ended.
    pub(crate) fn end_pages(&mut self, object: ObjectId) {
        for segment in segments(object) {
            if self.fabric.pages.attached.contains(&segment) {
                let (first, count, generation) = (0, u32::MAX, u32::MAX);
                let discard = Happened::Discard { object: segment, generation, first, count };
                let _ = self.tell(object.home, discard, None);
            }
        }
    }

    /// A page of a range that other instances of this machine map although it is here.
    pub(crate) fn lent_page(&mut self, object: ObjectId, range: Range<u64>) -> Option<u64> {
        let machine = self.fabric.pages.machines.get(object.home.into())?;
        Pages::parts(object, range).into_iter().find_map(|(segment, first, count)| {
            let index = machine.lent(segment, first, count).first().copied()?;
            Some(page_of(PageKey { object: segment, generation: 0, index }).1)
        })
    }

    /// Takes all mappings that other instances of this machine have of pages of a range.
    pub(crate) fn call_in(&mut self, object: ObjectId, range: Range<u64>) {
        for (segment, first, count) in Pages::parts(object, range) {
            let Some(machine) = self.fabric.pages.machines.get(object.home.into()) else { return };
            for index in machine.lent(segment, first, count) {
                let machine = self.fabric.pages.machines.get(object.home.into());
                let generation = machine.map_or(0, |m| m.generation(segment, index));
                let page = PageKey { object: segment, generation, index };
                self.tell_of(page, Happened::Recall(page));
            }
        }
    }

    /// Ends an object's part in the protocol.
    pub(crate) fn detach_object(&mut self, object: ObjectId) {
        let frames: Vec<PageKey> = self.fabric.pages.departing.keys().copied().collect();
        for page in frames.into_iter().filter(|page| object_of(page.object) == object) {
            self.release_page(page);
        }
        for segment in segments(object) {
            self.drop_stashed(segment, 0, u32::MAX, u32::MAX);
        }
        self.fabric.pages.detach(object);
    }
}
