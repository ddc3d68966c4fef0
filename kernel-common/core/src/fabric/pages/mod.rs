//! Pages that several instances have: what the agent wants done, done.

mod carry_out;
mod domain;
mod gift;
mod habit;
mod machine;
mod name;
mod obtain;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access as Rights;
use maize_coherence::{Access, Failure, NodeId, Nodes, ObjectId as Segment, PageKey};
use maize_hal::{Arch, Frame};
use maize_mm::ObjectId;
use maize_wire::{InstanceId, Page as Content};

pub(crate) use domain::Domains;
use habit::Habits;
use machine::{Deed, Happened, Machine, Part};
use name::{object_of, page_of, segment, segments};

use super::message::{Page, PageName, PageStale};
use super::{Coherence, FabricSettings};
use crate::ids::Tid;
use crate::state::State;
use crate::timer::TimerKey;

/// A page protocol message that waits, with its content.
type Delayed = (InstanceId, Page, Option<Box<Content>>);

/// What this instance knows of pages that are not its alone.
pub(crate) struct Pages {
    /// A machine for the objects of each home.
    machines: BTreeMap<u16, Machine>,
    pub(crate) domains: Domains,
    me: InstanceId,
    policy: Coherence,
    prefetch: u8,
    /// Instances that can be worked with, this one included.
    there: Nodes,
    /// Segments that the machines may have records of.
    attached: BTreeSet<Segment>,
    /// Frames of pages that are unmapped and still sent.
    departing: BTreeMap<PageKey, Frame>,
    /// Frames with content that arrived while others still mapped the page's, first to last.
    stashed: BTreeMap<PageKey, VecDeque<Frame>>,
    /// Pages that are lost, until whoever waits for them has seen it.
    failed: BTreeMap<(ObjectId, u64), Failure>,
    /// Objects for whose pages requests wait, and how many changes want that.
    paused: BTreeMap<ObjectId, u32>,
    delayed: VecDeque<Delayed>,
    /// Requests for pages that are copies of others, until those are here.
    copies: BTreeMap<(ObjectId, u64), Vec<Delayed>>,
    /// The last generation that was given to pages of an object.
    generations: BTreeMap<ObjectId, u32>,
    /// Pages that came for a thread and are held until it has used them.
    held: BTreeMap<Tid, Vec<PageKey>>,
    /// The timers that bound holds.
    hold_ends: BTreeMap<PageKey, TimerKey>,
    /// Threads for which pages are held that somebody else has asked for.
    contested: BTreeSet<Tid>,
    habits: Habits,
    /// Pages that were asked for, and the messages about each since: one is the answer.
    asking: BTreeMap<(ObjectId, u64), u32>,
}

impl From<PageKey> for PageName {
    fn from(key: PageKey) -> PageName {
        PageName { object: key.object.0, generation: key.generation, index: key.index }
    }
}

impl From<PageName> for PageKey {
    fn from(name: PageName) -> PageKey {
        PageKey { object: Segment(name.object), generation: name.generation, index: name.index }
    }
}

/// Bytes of an object of which this instance knows no more than that a sibling maps it.
const UNBOUNDED: u64 = i64::MAX as u64 & !(PAGE_SIZE as u64 - 1);

/// A message that its sender could not have sent.
#[derive(Debug)]
pub(crate) struct Broken;

impl Pages {
    pub(crate) fn new(me: InstanceId, settings: &FabricSettings) -> Pages {
        Pages {
            machines: BTreeMap::new(),
            domains: Domains::new(me, settings.machines.clone()),
            me,
            policy: settings.coherence,
            prefetch: settings.prefetch,
            there: Nodes::only(NodeId(me.0)),
            attached: BTreeSet::new(),
            departing: BTreeMap::new(),
            stashed: BTreeMap::new(),
            failed: BTreeMap::new(),
            paused: BTreeMap::new(),
            delayed: VecDeque::new(),
            copies: BTreeMap::new(),
            generations: BTreeMap::new(),
            held: BTreeMap::new(),
            hold_ends: BTreeMap::new(),
            contested: BTreeSet::new(),
            habits: Habits::default(),
            asking: BTreeMap::new(),
        }
    }

    /// A peer can be worked with.
    pub(crate) fn join(&mut self, peer: InstanceId) {
        let node = NodeId(peer.0);
        self.there.insert(node);
        for (home, machine) in &mut self.machines {
            if self.domains.is_sibling(peer) {
                machine.join_sibling(node);
            } else if self.domains.lead(peer, InstanceId(*home)) == peer {
                machine.join(node);
            }
        }
    }

    /// The machine for the objects of a home; `None` if nothing is known of that instance.
    fn machine(&mut self, home: u16) -> Option<&mut Machine> {
        let node = NodeId(home);
        if !self.machines.contains_key(&home) {
            if !self.there.contains(node) {
                return None;
            }
            let (home, domains) = (InstanceId(home), &self.domains);
            let part = Part {
                policy: self.policy,
                me: NodeId(self.me.0),
                home: node,
                lead: NodeId(domains.lead(self.me, home).0),
                siblings: domains.siblings(self.there),
                leads: domains.leads(self.there.minus(&domains.siblings(self.there)), home),
                prefetch: self.prefetch,
            };
            self.machines.insert(home.0, Machine::new(part));
        }
        self.machines.get_mut(&home)
    }

    /// Whether this instance has the frames of an object for its machine.
    fn is_lead(&self, object: ObjectId) -> bool {
        self.domains.lead(self.me, InstanceId(object.home)) == self.me
    }

    /// The page under its present name.
    fn key(&mut self, object: ObjectId, index: u64) -> Option<PageKey> {
        let (segment, rest) = segment(object, index)?;
        let machine = self.machine(object.home)?;
        let generation = machine.generation(segment, rest);
        self.attached.insert(segment);
        Some(PageKey { object: segment, generation, index: rest })
    }

    fn is_home(&self, object: ObjectId) -> bool {
        object.home == self.me.0
    }

    /// Forgets an object that has ended.
    pub(crate) fn detach(&mut self, object: ObjectId) {
        for segment in segments(object) {
            self.detach_segment(object.home, segment);
        }
        self.generations.remove(&object);
        self.habits.forget(object);
    }

    fn detach_segment(&mut self, home: u16, segment: Segment) {
        if self.attached.remove(&segment)
            && let Some(machine) = self.machines.get_mut(&home)
        {
            machine.detach(segment);
        }
    }

    /// Lets requests for pages of an object wait.
    pub(crate) fn pause(&mut self, object: ObjectId) {
        *self.paused.entry(object).or_default() += 1;
    }

    /// A generation that no page of the object had before.
    pub(crate) fn next_generation(&mut self, object: ObjectId) -> u32 {
        let generation = self.generations.entry(object).or_default();
        *generation = generation.wrapping_add(1);
        *generation
    }

    /// The protocol's names of a range of an object's pages.
    fn parts(object: ObjectId, range: Range<u64>) -> Vec<(Segment, u32, u32)> {
        let mut parts = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min((at / name::SEGMENT + 1) * name::SEGMENT);
            // A whole segment has one page more than a count can say; no object is that full.
            let count = u32::try_from(end - at).unwrap_or(u32::MAX);
            match segment(object, at) {
                Some((segment, first)) => parts.push((segment, first, count)),
                None => break,
            }
            at = end;
        }
        parts
    }
}

/// What came with the message that is being handled.
type AtHand<'a> = Option<&'a Content>;

impl<A: Arch> State<A> {
    /// Tells the machine for a home's objects of something and does what it wants done.
    fn tell(&mut self, home: u16, happened: Happened<'_>, hand: AtHand<'_>) -> Result<(), Broken> {
        let now = self.now();
        let machine = self.fabric.pages.machine(home).ok_or(Broken)?;
        for deed in machine.handle(now, happened).map_err(|_| Broken)? {
            self.carry_out(deed, hand);
        }
        Ok(())
    }

    /// As [`State::tell`], of what happened to a page.
    fn tell_of(&mut self, page: PageKey, happened: Happened<'_>) {
        // A home of which nothing is known has no pages here.
        let _ = self.tell(object_of(page.object).home, happened, None);
    }

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
        if known
            && object.home == self.fabric.me.0
            && machine.is_request(&message.message)
            && !self.memory.may_be_asked_for(object, index)
        {
            // A page that nobody sees: it would only use memory up.
            self.stats.fabric.unseen_pages += 1;
            return Ok(());
        }
        let pages = &mut self.fabric.pages;
        let mut key = pages.key(object, index).ok_or(Broken)?;
        let latest = pages.generations.get(&object).copied().unwrap_or(0);
        if pages.is_home(object)
            && (key.generation + 1..=latest).contains(&named.generation)
            && pages.machine(object.home).is_some_and(|machine| machine.may_begin(named))
        {
            // It was dropped when nothing was noted of it here, and the sender knows.
            key = named;
        }
        let pages = &mut self.fabric.pages;
        if pages.paused.contains_key(&object) && self.may_wait(object, index, &message.message) {
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
        if key.generation > named.generation && !Machine::is_shootdown(&message.message) {
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
                self.adopt_for(key, &message.message);
            }
        } else if !known
            && pages.domains.is_sibling(from)
            && pages.is_lead(object)
            && Machine::is_query(&message.message)
        {
            // A sibling's thread runs where the page shows, and this instance has its frame.
            let _ = self.memory.create_replica(object, UNBOUNDED);
        }
        let frames: Vec<Frame> = message.frames.iter().map(|number| Frame(*number)).collect();
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
        let holders = held.iter().filter(|(_, pages)| pages.contains(&named));
        contested.extend(holders.map(|(tid, _)| *tid));
        let from = NodeId(from.0);
        let event =
            Happened::Message { from, page: named, bytes: &message.message, frames: &frames };
        let told = self.tell(object.home, event, content.as_deref());
        self.fabric.give_spare(content);
        if !self.memory.has_object(object) {
            // What was to be answered is answered; nobody here has a use for what is left.
            self.fabric.pages.detach_segment(object.home, named.object);
        }
        told
    }

    /// A page has come, or is lost: requests for copies of it go on.
    fn resume_copies(&mut self, object: ObjectId, index: u64) {
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
    fn may_wait(&mut self, object: ObjectId, index: u64, message: &[u8]) -> bool {
        let Some(machine) = self.fabric.pages.machine(object.home) else { return false };
        let ordered = machine.orders_requests() || Machine::is_query(message);
        machine.is_request(message)
            && (ordered
                || match self.memory.page(object, index) {
                    Some((_, rights)) => rights.contains(Rights::WRITE),
                    None => !self.memory.is_elsewhere(object, index),
                })
    }

    /// At the home: what was never sent is the home's, alone. A sibling that asks for one page gets its
    /// neighbours too, if they are here.
    fn adopt_for(&mut self, page: PageKey, message: &[u8]) {
        let (object, index) = page_of(page);
        let pages = &mut self.fabric.pages;
        let ahead = if Machine::is_query(message) { pages.prefetch } else { 0 };
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
        let machine = self.fabric.pages.machines.get(&object_of(page.object).home);
        let asking = machine.map_or(Nodes::EMPTY, |machine| machine.asking(known));
        for sibling in asking.iter() {
            self.stats.fabric.stale_pages += 1;
            self.post(InstanceId(sibling.0), PageStale { page: page.into() }.into(), None);
        }
    }

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
        let mut woken = Vec::new();
        for (segment, first, count) in Pages::parts(object, range) {
            let renew = Happened::Renew { object: segment, generation, first, count };
            let Some(machine) = self.fabric.pages.machine(object.home) else { return };
            let deeds = machine.handle(now, renew).unwrap_or_default();
            woken.extend(deeds.into_iter().filter(|deed| matches!(deed, Deed::Wake(_))));
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
        let machine = self.fabric.pages.machines.get(&object.home)?;
        Pages::parts(object, range).into_iter().find_map(|(segment, first, count)| {
            let index = machine.lent(segment, first, count).first().copied()?;
            Some(page_of(PageKey { object: segment, generation: 0, index }).1)
        })
    }

    /// Takes all mappings that other instances of this machine have of pages of a range.
    pub(crate) fn call_in(&mut self, object: ObjectId, range: Range<u64>) {
        for (segment, first, count) in Pages::parts(object, range) {
            let Some(machine) = self.fabric.pages.machines.get(&object.home) else { return };
            for index in machine.lent(segment, first, count) {
                let machine = self.fabric.pages.machines.get(&object.home);
                let generation = machine.map_or(0, |m| m.generation(segment, index));
                let page = PageKey { object: segment, generation, index };
                self.tell_of(page, Happened::Recall(page));
            }
        }
    }

    /// A hold has lasted long enough.
    pub(crate) fn expire_hold(&mut self, page: PageName) {
        let page = PageKey::from(page);
        self.fabric.pages.hold_ends.remove(&page);
        self.tell_of(page, Happened::Expire(page));
    }

    /// Whether pages are held until the thread has used them.
    pub(crate) fn has_holds(&self, tid: Tid) -> bool {
        self.fabric.pages.held.contains_key(&tid)
    }

    /// Whether somebody else has asked for one of them. Most pages have been used before that: then no
    /// timer need be set for them.
    pub(crate) fn has_contested_holds(&self, tid: Tid) -> bool {
        self.fabric.pages.contested.contains(&tid)
    }

    /// The thread has used the pages that came for it: they may go.
    pub(crate) fn release_holds(&mut self, tid: Tid) {
        self.fabric.pages.contested.remove(&tid);
        for page in self.fabric.pages.held.remove(&tid).unwrap_or_default() {
            if let Some(timer) = self.fabric.pages.hold_ends.remove(&page) {
                self.timers.cancel(timer);
            }
            self.tell_of(page, Happened::Retired(page));
        }
    }

    /// A peer is dead.
    pub(crate) fn page_peer_died(&mut self, peer: InstanceId) {
        let node = NodeId(peer.0);
        self.fabric.pages.delayed.retain(|(from, ..)| *from != peer);
        for copies in self.fabric.pages.copies.values_mut() {
            copies.retain(|(from, ..)| *from != peer);
        }
        self.fabric.pages.there.remove(node);
        let homes: Vec<u16> = self.fabric.pages.machines.keys().copied().collect();
        for home in homes {
            let domains = &self.fabric.pages.domains;
            if domains.is_sibling(peer) {
                let _ = self.tell(home, Happened::SiblingDied(node), None);
            } else if domains.lead(peer, InstanceId(home)) == peer {
                let _ = self.tell(home, Happened::Died(node), None);
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
