//! Messages of the page protocols as they arrive.

use alloc::boxed::Box;
use alloc::vec::Vec;

use maize_abi::pte::Access as Rights;
use maize_coherence::{Access, NodeId, Nodes, PageKey};
use maize_hal::{Arch, Frame};
use maize_mm::ObjectId;
use maize_wire::{InstanceId, Page as Content};

use super::super::message::{Page, PageName, PageStale};
use super::machine::{Happened, Nature};
use super::name::{object_of, page_of};
use super::{Broken, Delayed, Pages, UNBOUNDED};
use crate::state::State;

impl<A: Arch> State<A> {
    /// A page protocol message.
    pub(crate) fn on_page(
        &mut self,
        from: InstanceId,
        message: Page,
        content: Option<Box<Content>>,
    ) -> Result<(), Broken> {
        let named = PageKey::from(message.page);
        let (object, index) = page_of(named);
        let known = self.memory.has_object(object);
        if !known && self.fabric.pages.is_home(object) {
            // The object has ended; whoever asked hears of that too. (Other instances answer whether
            // they know the object or not: voting, and the directory after a death, ask everybody.)
            self.stats.fabric.late_pages += 1;
            return Ok(());
        }
        let pages = &mut self.fabric.pages;
        let Some(machine) = pages.machine(object.home) else {
            // Its home is gone, and nothing of it was ever here.
            self.stats.fabric.late_pages += 1;
            return Ok(());
        };
        let nature = machine.nature(&message.message);
        if known
            && object.home == self.fabric.me.0
            && nature.is_request()
            && !self.memory.may_be_asked_for(object, index)
        {
            // A page that nobody sees: it would only use memory up.
            self.stats.fabric.unseen_pages += 1;
            self.turn_away(from, named);
            return Ok(());
        }
        let pages = &mut self.fabric.pages;
        let key = pages.key(object, index).ok_or(Broken)?;
        let pages = &mut self.fabric.pages;
        if pages.paused.contains_key(&object) && self.may_wait(object, index, nature) {
            let pages = &mut self.fabric.pages;
            pages.delayed.push_back((from, message, content));
            return Ok(());
        }
        if known
            && self.fabric.pages.is_home(object)
            && let Some(need) = self.memory.lacking(object, index)
            && self.request_page(need) == Ok(false)
        {
            let copies = self.fabric.pages.copies.entry((need.object, need.index)).or_default();
            copies.push((from, message, content));
            return Ok(());
        }
        if key.generation > named.generation && nature != Nature::Shootdown {
            let stale = PageStale { page: key.into() };
            self.stats.fabric.stale_pages += 1;
            self.post(from, stale.into(), None);
            return Ok(());
        }
        let pages = &mut self.fabric.pages;
        if pages.is_home(object) {
            if named.generation > key.generation {
                // Only the home starts generations.
                return Err(Broken);
            }
            if known {
                self.adopt_for(key, nature);
            }
        } else if !known
            && pages.domains.is_sibling(from)
            && pages.is_lead(object)
            && nature == Nature::Query
        {
            // A sibling's thread runs where the page shows, and this instance has its frame.
            let _ = self.memory.create_replica(object, UNBOUNDED);
        }
        let inside = self.fabric.pages.domains.is_sibling(from);
        let window = self.fabric.settings.window;
        let frame = |number: &u64| match window {
            Some(window) if !inside => window.named(from, *number),
            _ => Some(Frame(*number)).filter(|_| inside),
        };
        let frames: Option<Vec<Frame>> = message.frames.iter().map(frame).collect();
        let frames = frames.ok_or(Broken)?;
        if frames.iter().any(|frame| !self.memory.frames().is_borrowed(*frame)) {
            return Err(Broken);
        }
        if named.generation > key.generation {
            self.tell_askers(key, named);
        }
        let Pages { held, contested, asking, .. } = &mut self.fabric.pages;
        if let Some(messages) = asking.get_mut(&(object, index)) {
            *messages += 1;
        }
        let holders = held.iter().filter(|(_, page)| *page == named);
        contested.extend(holders.map(|(tid, _)| *tid));
        let from = NodeId(from.0);
        let (bytes, frames) = (&*message.message, &*frames);
        let event = Happened::Message { from, page: named, bytes, frames, nature };
        let told = self.tell(object.home, event, content.as_deref());
        self.fabric.give_spare(content);
        if !self.memory.has_object(object) {
            // What was to be answered is answered; nobody here has a use for what is left.
            self.fabric.pages.detach_segment(object.home, named.object);
        }
        told
    }

    /// At the home: who has asked for a page that no area shows asks anew, should one show it by then. Areas
    /// may come without anybody being told.
    fn turn_away(&mut self, from: InstanceId, named: PageKey) {
        let (object, index) = page_of(named);
        let pages = &mut self.fabric.pages;
        let Some(mut key) = pages.key(object, index) else { return };
        if pages.machine(object.home).is_none_or(|machine| !machine.may_begin(key)) {
            // It is just being dropped: everybody will be told.
            return;
        }
        if key.generation <= named.generation {
            let lives = pages.lives.entry(object).or_default();
            key.generation = lives.next();
            lives.begin(index..index.saturating_add(1), key.generation);
        }
        self.post(from, PageStale { page: key.into() }.into(), None);
    }

    /// A page has come, or is lost: requests for copies of it go on.
    pub(super) fn resume_copies(&mut self, object: ObjectId, index: u64) {
        let Some(copies) = self.fabric.pages.copies.remove(&(object, index)) else { return };
        self.fabric.pages.asking.remove(&(object, index));
        for (from, message, content) in copies {
            if self.on_page(from, message, content).is_err() {
                self.distrust(from);
            }
        }
    }

    /// Whether a message asks for a page that this instance can go without hearing of. Where requests
    /// are not ordered, one that this instance competes with has to be answered.
    fn may_wait(&mut self, object: ObjectId, index: u64, nature: Nature) -> bool {
        let Some(machine) = self.fabric.pages.machine(object.home) else { return false };
        let ordered = machine.orders_requests() || nature == Nature::Query;
        nature.is_request()
            && (ordered
                || match self.memory.page(object, index) {
                    Some((_, rights)) => rights.contains(Rights::WRITE),
                    None => !self.memory.is_elsewhere(object, index),
                })
    }

    /// Before this instance asks for a page itself: requests for it that wait for the end of a change compete
    /// with its own, where they are not ordered, and nobody gets the page while one has no answer.
    pub(super) fn admit_rivals(&mut self, object: ObjectId, index: u64) {
        let pages = &mut self.fabric.pages;
        if pages.delayed.is_empty()
            || pages.machine(object.home).is_none_or(|machine| machine.orders_requests())
        {
            return;
        }
        let rival = |(_, page, _): &Delayed| page_of(page.page.into()) == (object, index);
        let delayed = core::mem::take(&mut pages.delayed);
        let (rivals, others): (Vec<_>, Vec<_>) = delayed.into_iter().partition(rival);
        pages.delayed = others.into();
        for (from, message, content) in rivals {
            if self.on_page(from, message, content).is_err() {
                self.distrust(from);
            }
        }
    }

    /// At the home: what was never sent is the home's, alone. A sibling that asks for one page gets its
    /// neighbours too, if they are here.
    fn adopt_for(&mut self, page: PageKey, nature: Nature) {
        let (object, index) = page_of(page);
        let pages = &mut self.fabric.pages;
        let ahead = if nature == Nature::Query { pages.prefetch } else { 0 };
        if let Some(machine) = pages.machine(object.home) {
            machine.adopt(page);
        }
        for index in index + 1..=index + u64::from(ahead) {
            let here = self.memory.page(object, index);
            if !here.is_some_and(|(_, rights)| rights.contains(Rights::WRITE)) {
                continue;
            }
            let pages = &mut self.fabric.pages;
            let Some(next) = pages.key(object, index) else { continue };
            let Some(machine) = pages.machine(object.home) else { continue };
            machine.adopt(next);
            self.tell_of(next, Happened::Fault { page: next, access: Access::Write });
        }
    }

    /// A page that this instance asked for has started a later life.
    pub(crate) fn on_page_stale(&mut self, page: PageName) {
        let named = PageKey::from(page);
        if !self.fabric.pages.attached.contains(&named.object) {
            return;
        }
        let (object, index) = page_of(named);
        let known = self.fabric.pages.key(object, index);
        if let Some(known) = known.filter(|known| known.generation < named.generation) {
            self.tell_askers(known, named);
            let PageKey { object, generation, index: first } = named;
            self.tell_of(named, Happened::Discard { object, generation, first, count: 1 });
        }
    }

    /// Siblings that wait for a page in its life before this one ask again.
    fn tell_askers(&mut self, known: PageKey, page: PageKey) {
        let machine = self.fabric.pages.machines.get(object_of(page.object).home.into());
        let asking = machine.map_or(Nodes::EMPTY, |machine| machine.asking(known));
        for sibling in asking.iter() {
            self.stats.fabric.stale_pages += 1;
            self.post(InstanceId(sibling.0), PageStale { page: page.into() }.into(), None);
        }
    }
}
