//! Pages that several instances have: what the agent wants done, done.

mod arrive;
mod carry_out;
mod change;
mod domain;
mod gift;
mod habit;
mod lives;
mod machine;
mod name;
mod obtain;
mod window;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_coherence::{Failure, NodeId, Nodes, ObjectId as Segment, PageKey};
use maize_hal::{Arch, Frame, Nanos};
use maize_mm::ObjectId;
use maize_radix::RadixMap;
use maize_wire::{InstanceId, Page as Content};

use carry_out::rights_of;
pub(crate) use domain::Domains;
use habit::Habits;
use lives::Lives;
use machine::{Deed, Happened, Machine, Part};
use name::{object_of, segment, segments};
pub use window::WindowFrames;
use window::Windowed;

use super::message::{Page, PageName};
use super::{Coherence, FabricSettings};
use crate::ids::Tid;
use crate::recent::Recent;
use crate::state::State;
use crate::timer::TimerKey;

/// A page protocol message that waits, with its content.
type Delayed = (InstanceId, Page, Option<Box<Content>>);

/// What this instance knows of pages that are not its alone.
pub(crate) struct Pages {
    /// A machine for the objects of each home.
    machines: RadixMap<Machine>,
    pub(crate) domains: Domains,
    me: InstanceId,
    policy: Coherence,
    prefetch: u8,
    /// Instances that can be worked with, this one included.
    there: Nodes,
    /// How often others had been started before, those that are gone included.
    restarts: BTreeMap<NodeId, u32>,
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
    /// The lives of pages of objects that some were dropped of.
    lives: BTreeMap<ObjectId, Lives>,
    /// Pages that came for a thread and are held until it has used them, first to last.
    held: Vec<(Tid, PageKey)>,
    /// The timers that bound holds.
    hold_ends: Recent<PageKey, TimerKey>,
    /// Threads for which pages are held that somebody else has asked for.
    contested: BTreeSet<Tid>,
    habits: Habits,
    windowed: Windowed,
    /// Whether pages may move into the window.
    promotes: bool,
    /// Pages that were asked for, and the messages about each since: one is the answer.
    asking: Recent<(ObjectId, u64), u32>,
    /// Empty, but for the room that it has.
    deeds: Vec<Deed>,
    /// Whether it was reported that the last death has cost pages.
    told_of_loss: bool,
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

/// Pages that one instruction may need at the same time: its own bytes may be in two, and so may each of the
/// eight elements that a vector is gathered from.
const AT_ONCE: usize = 18;

/// Bytes of an object of which this instance knows no more than that a sibling maps it.
const UNBOUNDED: u64 = i64::MAX as u64 & !(PAGE_SIZE as u64 - 1);

/// A message that its sender could not have sent.
#[derive(Debug)]
pub(crate) struct Broken;

impl Pages {
    pub(crate) fn new(me: InstanceId, settings: &FabricSettings) -> Pages {
        Pages {
            machines: RadixMap::new(),
            domains: Domains::new(me, settings.machines.clone()),
            me,
            policy: settings.coherence,
            prefetch: settings.prefetch,
            there: Nodes::only(NodeId(me.0)),
            restarts: BTreeMap::new(),
            attached: BTreeSet::new(),
            departing: BTreeMap::new(),
            stashed: BTreeMap::new(),
            failed: BTreeMap::new(),
            paused: BTreeMap::new(),
            delayed: VecDeque::new(),
            copies: BTreeMap::new(),
            lives: BTreeMap::new(),
            held: Vec::new(),
            hold_ends: Recent::default(),
            contested: BTreeSet::new(),
            habits: Habits::default(),
            windowed: Windowed::default(),
            promotes: settings.window.is_some(),
            asking: Recent::default(),
            deeds: Vec::new(),
            told_of_loss: false,
        }
    }

    /// A peer can be worked with.
    pub(crate) fn join(&mut self, peer: InstanceId, restarts: u32) {
        let node = NodeId(peer.0);
        self.there.insert(node);
        self.restarts.insert(node, restarts);
        for home in self.homes() {
            let Some(machine) = self.machines.get_mut(home.into()) else { continue };
            if self.domains.is_sibling(peer) {
                machine.join_sibling(node);
            } else if self.domains.lead(peer, InstanceId(home)) == peer {
                machine.join(node, restarts);
            }
        }
    }

    /// The homes of objects that there are machines for.
    fn homes(&self) -> Vec<u16> {
        self.machines.iter().map(|(home, _)| home as u16).collect()
    }

    /// The machine for the objects of a home; `None` if nothing is known of that instance.
    fn machine(&mut self, home: u16) -> Option<&mut Machine> {
        let node = NodeId(home);
        if self.machines.get(home.into()).is_none() {
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
                promotes: self.promotes,
            };
            let mut machine = Machine::new(part);
            for (node, restarts) in &self.restarts {
                let peer = InstanceId(node.0);
                if !domains.is_sibling(peer) && domains.lead(peer, home) == peer {
                    machine.join(*node, *restarts);
                    if !self.there.contains(*node) {
                        // Others are told that it is known to be gone. Of its pages there is none yet.
                        let died = Happened::Died(*node);
                        let _ = machine.handle(Nanos(0), died, &mut Vec::new());
                    }
                }
            }
            self.machines.insert(home.0.into(), machine);
        }
        self.machines.get_mut(node.0.into())
    }

    /// Whether this instance has the frames of an object for its machine.
    fn is_lead(&self, object: ObjectId) -> bool {
        self.domains.lead(self.me, InstanceId(object.home)) == self.me
    }

    /// The page under its present name.
    fn key(&mut self, object: ObjectId, index: u64) -> Option<PageKey> {
        let (segment, rest) = segment(object, index)?;
        let noted = self.lives.get(&object).map_or(0, |lives| lives.of(index));
        let is_home = self.is_home(object);
        let machine = self.machine(object.home)?;
        let recorded = machine.generation(segment, rest);
        let page = PageKey { object: segment, generation: recorded, index: rest };
        // A home that has noted something of the page knows better.
        let begins = !is_home || noted <= recorded || machine.may_begin(page);
        let generation = if begins { recorded.max(noted) } else { recorded };
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
        self.lives.remove(&object);
        self.habits.forget(object);
        self.windowed.forget(object);
    }

    fn detach_segment(&mut self, home: u16, segment: Segment) {
        if self.attached.remove(&segment)
            && let Some(machine) = self.machines.get_mut(home.into())
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
        self.lives.entry(object).or_default().next()
    }

    /// The pages that are on their way, and what waits for them.
    pub(crate) fn describe(&self, lines: &mut Vec<String>) {
        for machine in self.machines.values() {
            for (page, noted) in machine.busy() {
                lines.push(format!("{:?} is {page:?}: {noted}", name::page_of(page)));
            }
        }
        lines
            .extend(self.paused.iter().map(|(object, count)| format!("{object:?} waits, {count}")));
        for (from, page, _) in &self.delayed {
            lines.push(format!("a message of {from} about {:?} waits", page.page));
        }
        for ((object, index), waiting) in &self.copies {
            let count = waiting.len();
            lines.push(format!("{count} requests wait for page {index} of {object:?}"));
        }
        lines.extend(self.held.iter().map(|(tid, pages)| format!("held for {tid}: {pages:?}")));
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
        let room = self.window_room(&happened);
        let mut deeds = core::mem::take(&mut self.fabric.pages.deeds);
        let machine = self.fabric.pages.machine(home).ok_or(Broken)?;
        machine.set_window_room(room);
        let told = machine.handle(now, happened, &mut deeds);
        let mut rest = deeds.drain(..).peekable();
        while let Some(deed) = rest.next() {
            // Nearly always what has come is mapped at once: then it is in the right place in one go.
            if let Deed::Install(page) = deed
                && let Some(Deed::Map(_, access)) =
                    rest.next_if(|next| matches!(next, Deed::Map(of, _) if *of == page))
            {
                if !self.install_content(page, hand, rights_of(access)) {
                    self.carry_out(Deed::Map(page, access), hand);
                }
                continue;
            }
            self.carry_out(deed, hand);
        }
        drop(rest);
        self.fabric.pages.deeds = deeds;
        told.map_err(|_| Broken)
    }

    /// As [`State::tell`], of what happened to a page.
    fn tell_of(&mut self, page: PageKey, happened: Happened<'_>) {
        // A home of which nothing is known has no pages here.
        let _ = self.tell(object_of(page.object).home, happened, None);
    }

    /// A hold has lasted long enough.
    pub(crate) fn expire_hold(&mut self, page: PageName) {
        let page = PageKey::from(page);
        self.fabric.pages.hold_ends.remove(&page);
        self.tell_of(page, Happened::Expire(page));
    }

    /// Whether pages are held until the thread has used them.
    pub(crate) fn has_holds(&self, tid: Tid) -> bool {
        self.fabric.pages.held.iter().any(|(holder, _)| *holder == tid)
    }

    /// Whether somebody else has asked for one of them. Most pages have been used before that: then no
    /// timer need be set for them.
    pub(crate) fn has_contested_holds(&self, tid: Tid) -> bool {
        self.fabric.pages.contested.contains(&tid)
    }

    /// The thread has used the pages that came for it: they may go.
    pub(crate) fn release_holds(&mut self, tid: Tid) {
        self.fabric.pages.contested.remove(&tid);
        self.release_but(tid, 0);
    }

    /// The thread is where it was, and may still need pages that came for it: as many as one instruction
    /// uses. What came before, those that were used in a loop of one instruction among them, may go.
    pub(crate) fn release_older_holds(&mut self, tid: Tid) {
        self.release_but(tid, AT_ONCE);
    }

    /// Lets the pages go that are held for a thread, except the last `kept`.
    fn release_but(&mut self, tid: Tid, kept: usize) {
        let held = &self.fabric.pages.held;
        let mut more = held.iter().filter(|(holder, _)| *holder == tid).count();
        while more > kept {
            let held = &mut self.fabric.pages.held;
            let Some(first) = held.iter().position(|(holder, _)| *holder == tid) else { return };
            let (_, page) = held.remove(first);
            if let Some(timer) = self.fabric.pages.hold_ends.remove(&page) {
                self.timers.cancel(timer);
            }
            self.tell_of(page, Happened::Retired(page));
            more -= 1;
        }
    }

    /// A peer is dead.
    pub(crate) fn page_peer_died(&mut self, peer: InstanceId) {
        let node = NodeId(peer.0);
        self.fabric.pages.told_of_loss = false;
        self.fabric.pages.delayed.retain(|(from, ..)| *from != peer);
        for copies in self.fabric.pages.copies.values_mut() {
            copies.retain(|(from, ..)| *from != peer);
        }
        self.fabric.pages.there.remove(node);
        if !self.fabric.pages.domains.is_sibling(peer) {
            self.fabric.pages.windowed.close();
        }
        let homes = self.fabric.pages.homes();
        for home in homes {
            let domains = &self.fabric.pages.domains;
            if domains.is_sibling(peer) {
                let _ = self.tell(home, Happened::SiblingDied(node), None);
            } else if domains.lead(peer, InstanceId(home)) == peer {
                let _ = self.tell(home, Happened::Died(node), None);
            }
        }
    }
}
