//! Pages that several instances have: what the agent wants done, done.

mod machine;
mod name;
mod obtain;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_abi::pte::Access as Rights;
use maize_coherence::{Access, Failure, NodeId, ObjectId as Segment, PageKey};
use maize_hal::{Arch, Frame};
use maize_mm::ObjectId;
use maize_wire::{InstanceId, Page as Content};

pub(crate) use machine::Machine;
use machine::{Deed, Happened};
use name::{object_of, page_of, segment, segments};

use super::message::{Page, PageName, PageStale};
use crate::ids::Tid;
use crate::state::State;
use crate::timer::TimerAction;
use crate::wait::WaitKey;

/// A page protocol message that waits, with its content.
type Delayed = (InstanceId, Page, Option<Box<Content>>);

/// What this instance knows of pages that are not its alone.
pub(crate) struct Pages {
    pub(crate) machine: Machine,
    me: InstanceId,
    /// Segments whose home the agent knows.
    attached: BTreeSet<Segment>,
    /// Frames of pages that are unmapped and still sent.
    departing: BTreeMap<PageKey, Frame>,
    /// Pages that are lost, until whoever waits for them has seen it.
    failed: BTreeMap<(ObjectId, u64), Failure>,
    /// Objects for whose pages requests wait, and how many changes want that.
    paused: BTreeMap<ObjectId, u32>,
    delayed: VecDeque<Delayed>,
    /// The last generation that was given to pages of an object.
    generations: BTreeMap<ObjectId, u32>,
    /// Pages that came for a thread and are held until it has used them.
    held: BTreeMap<Tid, Vec<PageKey>>,
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

/// A message that its sender could not have sent.
#[derive(Debug)]
pub(crate) struct Broken;

impl Pages {
    pub(crate) fn new(machine: Machine, me: InstanceId) -> Pages {
        Pages {
            machine,
            me,
            attached: BTreeSet::new(),
            departing: BTreeMap::new(),
            failed: BTreeMap::new(),
            paused: BTreeMap::new(),
            delayed: VecDeque::new(),
            generations: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// The page under its present name, its home known to the agent.
    fn key(&mut self, object: ObjectId, index: u64) -> Option<PageKey> {
        let (segment, rest) = segment(object, index)?;
        if self.attached.insert(segment) {
            self.machine.attach(segment, NodeId(object.home));
        }
        let generation = self.machine.generation(segment, rest);
        Some(PageKey { object: segment, generation, index: rest })
    }

    fn is_home(&self, object: ObjectId) -> bool {
        object.home == self.me.0
    }

    /// Forgets an object that has ended.
    pub(crate) fn detach(&mut self, object: ObjectId) {
        for segment in segments(object) {
            if self.attached.remove(&segment) {
                self.machine.detach(segment);
            }
        }
        self.generations.remove(&object);
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

impl<A: Arch> State<A> {
    /// Tells the agent of something and does what it wants done.
    fn tell(&mut self, happened: Happened<'_>, content: Option<&Content>) -> Result<(), Broken> {
        let now = self.now();
        let deeds = self.fabric.pages.machine.handle(now, happened).map_err(|_| Broken)?;
        for deed in deeds {
            self.carry_out(deed, content);
        }
        Ok(())
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
        if pages.paused.contains_key(&object) && pages.machine.is_request(&message.message) {
            pages.delayed.push_back((from, message, content));
            return Ok(());
        }
        let key = pages.key(object, index).ok_or(Broken)?;
        if key.generation > named.generation {
            let stale = PageStale { page: key.into() };
            self.stats.fabric.stale_pages += 1;
            self.post(from, stale.into(), None);
            return Ok(());
        }
        if pages.is_home(object) {
            if named.generation > key.generation {
                // Only the home starts generations.
                return Err(Broken);
            }
            if known {
                pages.machine.adopt(key);
            }
        }
        let event =
            Happened::Message { from: NodeId(from.0), page: named, bytes: &message.message };
        self.tell(event, content.as_deref())
    }

    /// A page that this instance asked for has started a later life.
    pub(crate) fn on_page_stale(&mut self, page: PageName) {
        let key = PageKey::from(page);
        let known = self.fabric.pages.machine.generation(key.object, key.index);
        if known < key.generation && self.fabric.pages.attached.contains(&key.object) {
            let PageKey { object, generation, index: first } = key;
            let _ = self.tell(Happened::Discard { object, generation, first, count: 1 }, None);
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

    /// At the home, whose own pages the caller drops or has at hand: starts a new life of a range.
    pub(crate) fn renew_pages(&mut self, object: ObjectId, range: Range<u64>, generation: u32) {
        let now = self.now();
        let mut woken = Vec::new();
        for (object, first, count) in Pages::parts(object, range) {
            let discard = Happened::Discard { object, generation, first, count };
            let deeds = self.fabric.pages.machine.handle(now, discard).unwrap_or_default();
            woken.extend(deeds.into_iter().filter_map(|deed| match deed {
                Deed::Wake(page) => Some(page),
                _ => None,
            }));
        }
        for page in woken {
            self.carry_out(Deed::Wake(page), None);
        }
    }

    /// At a member: the home has dropped a range.
    pub(crate) fn drop_pages(&mut self, object: ObjectId, range: Range<u64>, generation: u32) {
        for (object, first, count) in Pages::parts(object, range) {
            let _ = self.tell(Happened::Discard { object, generation, first, count }, None);
        }
    }

    /// A hold has lasted long enough.
    pub(crate) fn expire_hold(&mut self, page: PageName) {
        let _ = self.tell(Happened::Expire(page.into()), None);
    }

    /// Whether pages are held until the thread has used them.
    pub(crate) fn has_holds(&self, tid: Tid) -> bool {
        self.fabric.pages.held.contains_key(&tid)
    }

    /// The thread has used the pages that came for it: they may go.
    pub(crate) fn release_holds(&mut self, tid: Tid) {
        for page in self.fabric.pages.held.remove(&tid).unwrap_or_default() {
            let _ = self.tell(Happened::Retired(page), None);
        }
    }

    /// A peer is dead.
    pub(crate) fn page_peer_died(&mut self, peer: InstanceId) {
        self.fabric.pages.delayed.retain(|(from, ..)| *from != peer);
        let _ = self.tell(Happened::Died(NodeId(peer.0)), None);
    }

    fn carry_out(&mut self, deed: Deed, content: Option<&Content>) {
        match deed {
            Deed::Send { to, page, bytes, content } => self.send_page(to, page, bytes, content),
            Deed::Fill(page) => self.install_content(page, None),
            Deed::Install(page) => self.install_content(page, content),
            Deed::Map(page, access) => self.set_rights(page, access),
            Deed::Unmap(page) => self.unmap_page(page),
            Deed::Release(page) => self.release_page(page),
            Deed::Wake(page) => {
                let (object, index) = page_of(page);
                self.wake(WaitKey::Page(object, index));
            }
            Deed::Timer(page, at) => {
                self.timers.add(at, TimerAction::PageHold(page.into()));
            }
            Deed::Fail(page, failure) => {
                let (object, index) = page_of(page);
                self.fabric.pages.failed.insert((object, index), failure);
                self.wake(WaitKey::Page(object, index));
            }
        }
    }

    /// The frame with the page's content here. The home of a page that was never sent has it, or
    /// makes it as a local fault would.
    fn content_frame(&mut self, page: PageKey) -> Option<Frame> {
        let (object, index) = page_of(page);
        if let Some((frame, _)) = self.memory.page(object, index) {
            return Some(frame);
        }
        if let Some(frame) = self.fabric.pages.departing.get(&page) {
            return Some(*frame);
        }
        if !self.fabric.pages.is_home(object) {
            return None;
        }
        self.memory.materialise(&mut self.arch, object, index).ok().flatten()
    }

    fn send_page(&mut self, to: NodeId, page: PageKey, message: Vec<u8>, content: bool) {
        let content = content.then(|| {
            let mut copy = Box::new(Content::ZERO);
            match self.content_frame(page) {
                Some(frame) => self.arch.read(frame, 0, copy.bytes_mut()),
                None => log::error!("no frame for a page that is sent: {page:?}"),
            }
            copy
        });
        self.post(InstanceId(to.0), Page { page: page.into(), message }.into(), content);
    }

    /// Gives a page a frame, with `content` or zeros.
    fn install_content(&mut self, page: PageKey, content: Option<&Content>) {
        let (object, index) = page_of(page);
        let Ok(frame) = self.memory.page_frame(&mut self.arch) else {
            log::error!("no frame for a page that arrives: {page:?}");
            self.fabric.pages.failed.insert((object, index), Failure::Lost);
            return;
        };
        match content {
            Some(content) => self.arch.write(frame, 0, content.bytes()),
            None => self.arch.zero(frame, 0, PAGE_SIZE),
        }
        let rights = Rights::READ | Rights::EXECUTE;
        let installed = self.memory.install_page(&mut self.arch, object, index, (frame, rights));
        if installed.is_err() {
            self.memory.frames().release(frame);
        }
        if let Some(old) = self.fabric.pages.departing.remove(&page) {
            self.memory.frames().release(old);
        }
    }

    fn set_rights(&mut self, page: PageKey, access: Access) {
        let (object, index) = page_of(page);
        let readable = Rights::READ | Rights::EXECUTE;
        if self.memory.page(object, index).is_none() {
            if let Some(frame) = self.fabric.pages.departing.remove(&page) {
                let copy = (frame, readable);
                if self.memory.install_page(&mut self.arch, object, index, copy).is_err() {
                    self.memory.frames().release(frame);
                }
            } else if self.content_frame(page).is_none() {
                return;
            }
        }
        let Some((frame, rights)) = self.memory.page(object, index) else { return };
        match access {
            Access::Write if !rights.contains(Rights::WRITE) => {
                // The frame is there: it cannot be refused.
                let copy = (frame, Rights::all());
                let _ = self.memory.install_page(&mut self.arch, object, index, copy);
            }
            Access::Read if rights.contains(Rights::WRITE) => {
                self.memory.protect_page_everywhere(&mut self.arch, object, index, readable);
            }
            Access::Write | Access::Read => {}
        }
    }

    fn unmap_page(&mut self, page: PageKey) {
        let (object, index) = page_of(page);
        if self.fabric.pages.departing.contains_key(&page) || self.content_frame(page).is_none() {
            return;
        }
        if let Some(frame) = self.memory.unmap_page_everywhere(&mut self.arch, object, index) {
            self.fabric.pages.departing.insert(page, frame);
        }
    }

    fn release_page(&mut self, page: PageKey) {
        self.unmap_page(page);
        if let Some(frame) = self.fabric.pages.departing.remove(&page) {
            self.memory.frames().release(frame);
        }
    }

    /// Ends an object's part in the protocol.
    pub(crate) fn detach_object(&mut self, object: ObjectId) {
        let frames: Vec<PageKey> = self.fabric.pages.departing.keys().copied().collect();
        for page in frames.into_iter().filter(|page| object_of(page.object) == object) {
            self.release_page(page);
        }
        self.fabric.pages.detach(object);
    }
}
