//! Inside a node: the instances of a memory domain map each other's frames.
//!
//! Of every object one instance is the *lead*. It has the node's frames and the node's only
//! [`Agent`](crate::Agent) for the object; other nodes know only it. Its *siblings* ask it for
//! mappings: one Query, one Mapping, which brings up to [`AHEAD_MAX`] neighbouring mappings along.
//! Nothing is copied, and all siblings may map a page writable at once, as far as the node may write
//! it: the hardware keeps a domain's memory coherent.
//!
//! What the node's agent takes away is taken from the siblings first. An `Unmap`, or a `Map` that
//! takes the right to write away, sends a Revoke to every sibling concerned; whatever the agent
//! wants done with the page after that (send its content, acknowledge, free the frame, map it again)
//! waits in a queue, in order, until the last Revoked is here. A sibling acknowledges after its TLB
//! is flushed, and not before the access that its mapping came for has retired, or the hold is over.
//! The agent itself goes on with its page meanwhile; only its actions wait.
//!
//! | what | messages |
//! |---|---|
//! | a miss of a sibling that the node can serve | 2: Query, Mapping |
//! | a miss of a sibling that it cannot | those 2 and what the node's miss costs |
//! | a further miss on the same page, of the same sibling | 0: it is joined |
//! | a downgrade with n mappings elsewhere | 2n: Revoke, Revoked |
//!
//! The lead's death is its node's death. Its siblings unmap what it led when they hear of it
//! ([`Event::SiblingDied`]); only after all of them have may other nodes be told ([`Event::Died`]).

mod carrier;
mod lead;
mod message;
#[cfg(feature = "model")]
mod model;
mod sibling;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt::Debug;

use crate::mutation::Rules;
use crate::table::Table;
use crate::{Access, Action, Event, Machine, Nodes, ObjectId, PageKey, Sibling, Sink, Time};

use lead::Lead;
pub use message::{AHEAD_MAX, Ahead, Left, Message};
use sibling::Mapped;

/// How an instance takes part in its domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// This instance.
    pub sibling: Sibling,
    /// The lead of objects that have none of their own.
    pub lead: Sibling,
    /// How many neighbouring mappings an answer brings along at most: 0 to [`AHEAD_MAX`].
    pub ahead: u8,
    /// How long a mapping that arrived is kept although the lead wants it back, in nanoseconds,
    /// unless its access retires before.
    pub hold_ns: u64,
}

/// The machine of one instance of a domain, over the machine `M` that speaks for the node about the
/// objects that this instance leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shared<M: Machine> {
    machine: M,
    domain: Domain,
    leads: BTreeMap<ObjectId, Sibling>,
    lead: Lead<M::Message>,
    mapped: Table<Mapped>,
    dead: Nodes<1>,
}

impl<M: Machine> Shared<M> {
    /// An instance among the siblings of its domain, itself included; `machine` is the agent of the
    /// instance's node.
    #[must_use]
    pub fn new(machine: M, domain: Domain, siblings: Nodes<1>) -> Self {
        Self {
            machine,
            domain,
            leads: BTreeMap::new(),
            lead: Lead::new(domain, siblings),
            mapped: Table::default(),
            dead: Nodes::EMPTY,
        }
    }

    /// The machine below.
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine below, for joins and homes.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// Gives an object a lead of its own, on every sibling and before its first page is touched.
    pub fn lead_object(&mut self, object: ObjectId, lead: Sibling) {
        self.leads.insert(object, lead);
    }

    /// Adds an instance to the domain.
    pub fn join(&mut self, sibling: Sibling) {
        self.dead.remove(sibling);
        if sibling != self.domain.sibling {
            self.lead.join(sibling);
        }
    }

    /// Who speaks for the node about an object.
    #[must_use]
    pub fn lead_of(&self, object: ObjectId) -> Sibling {
        self.leads.get(&object).copied().unwrap_or(self.domain.lead)
    }

    /// Which life of a page that another instance leads this one knows of; 0 for a page that it has no
    /// record of.
    #[must_use]
    pub fn generation(&self, object: ObjectId, index: u32) -> u32 {
        self.mapped.get(PageKey::new(object, index)).map_or(0, |mapped| mapped.generation)
    }

    /// Forgets an object that has come to its end everywhere. The machine below is the caller's to
    /// tell.
    pub fn detach(&mut self, object: ObjectId) {
        self.leads.remove(&object);
        self.lead.kept.remove(object);
        self.mapped.remove(object);
    }

    /// At the lead: pages of a range that siblings map.
    pub fn lent(&self, object: ObjectId, first: u32, count: u32) -> impl Iterator<Item = u32> {
        let kept = self.lead.kept.range(object, first, count);
        kept.filter(|(_, kept)| !kept.mappers.is_empty()).map(|(index, _)| index)
    }

    /// At the lead: siblings whose Query for a page has no answer yet. A newer life of the page forgets
    /// them: a caller who learns of it otherwise than by a discard that all siblings hear of tells them.
    #[must_use]
    pub fn asking(&self, page: PageKey) -> Nodes<1> {
        let busy = self.lead.kept.get(page).and_then(|kept| kept.busy.as_ref());
        busy.map_or(Nodes::EMPTY, |busy| busy.asking)
    }

    /// The pages of which siblings and their lead expect something of each other, and what is noted of them.
    pub fn busy(&self) -> impl Iterator<Item = (PageKey, &dyn Debug)> {
        let lead = self.lead.kept.iter().filter(|(_, kept)| kept.busy.is_some());
        let lead = lead.map(|(page, kept)| {
            (PageKey { generation: kept.generation, ..page }, kept as &dyn Debug)
        });
        let mapped = self.mapped.iter().filter(|(_, mapped)| mapped.is_busy());
        lead.chain(mapped.map(|(page, mapped)| {
            (PageKey { generation: mapped.generation, ..page }, mapped as &dyn Debug)
        }))
    }

    /// At the lead: takes all siblings' mappings of a page that the node has. When they are gone, a
    /// `Wake` follows; by then the page itself may have gone to another node.
    pub fn recall<S>(&mut self, now: Time, page: PageKey, sink: &mut S)
    where
        S: Sink<Message<M::Message>>,
    {
        let Some(kept) = self.lead.kept.get_mut(page) else { return };
        let mut woken = Vec::new();
        if kept.is_shooting_down() {
            let wake = Action::Wake { page, access: Access::Read };
            kept.busy().queue.push_back(wake);
        } else if let Some(access) = kept.granted.filter(|_| !kept.window) {
            use Action::{Map, Unmap, Wake};
            let mut carrier = self.lead.sink(sink, &mut woken);
            for action in [Unmap { page }, Map { page, access }, Wake { page, access }] {
                carrier.push(action);
            }
        }
        self.end_holds(now, woken, sink);
    }

    /// At the lead: pages of a range begin another life, and no sibling is asked for its mappings. The
    /// caller keeps the frames of the former life until every sibling has applied the discard; of the
    /// actions only the `Wake`s concern it.
    pub fn renew<S>(
        &mut self,
        now: Time,
        (object, generation): (ObjectId, u32),
        (first, count): (u32, u32),
        sink: &mut S,
    ) where
        S: Sink<Message<M::Message>>,
    {
        for (_, kept) in self.lead.kept.range_mut(object, first, count) {
            if kept.generation < generation {
                *kept = lead::Kept { generation, ..lead::Kept::default() };
            }
        }
        self.below(now, Event::Discard { object, generation, first, count }, sink);
    }

    fn is_lead(&self, object: ObjectId) -> bool {
        self.lead_of(object) == self.domain.sibling
    }

    fn rules(&self) -> Rules {
        self.lead.rules
    }

    /// Lets the machine below take an event, and carries its actions out as far as siblings allow.
    fn below<S>(&mut self, now: Time, event: Event<M::Message>, sink: &mut S)
    where
        S: Sink<Message<M::Message>>,
    {
        let mut woken = Vec::new();
        self.machine.handle(now, event, &mut self.lead.sink(sink, &mut woken));
        self.end_holds(now, woken, sink);
    }

    /// Ends the hold of pages that came for siblings only: they hold their mappings themselves.
    fn end_holds<S>(&mut self, now: Time, mut woken: Vec<PageKey>, sink: &mut S)
    where
        S: Sink<Message<M::Message>>,
    {
        while let Some(page) = woken.pop() {
            let event = Event::Retired { page };
            self.machine.handle(now, event, &mut self.lead.sink(sink, &mut woken));
        }
    }

    fn on_message<S>(
        &mut self,
        now: Time,
        from: Sibling,
        page: PageKey,
        message: Message<M::Message>,
        sink: &mut S,
    ) where
        S: Sink<Message<M::Message>>,
    {
        let is_lead = self.is_lead(page.object);
        if let Message::Outside(message) = message {
            if is_lead {
                self.lead.enter(page);
                self.below(now, Event::Message { from, page, message }, sink);
            }
            return;
        }
        if is_lead {
            if !self.lead.siblings.contains(from) {
                return;
            }
            let mut woken = Vec::new();
            match message {
                Message::Query { access } => {
                    let misses = self.lead.query(from, page, access, sink);
                    if misses {
                        self.below(now, Event::Fault { page, access }, sink);
                    }
                }
                Message::Revoked => self.lead.revoked(from, page, sink, &mut woken),
                Message::Dropped => self.lead.dropped(from, page),
                _ => {}
            }
            self.end_holds(now, woken, sink);
        } else if from == self.lead_of(page.object) && !self.dead.contains(from) {
            self.on_order(now, page, message, sink);
        }
    }

    fn sibling_died<S>(&mut self, now: Time, sibling: Sibling, sink: &mut S)
    where
        S: Sink<Message<M::Message>>,
    {
        if sibling == self.domain.sibling || !self.dead.insert(sibling) {
            return;
        }
        let mut woken = Vec::new();
        self.lead.died(sibling, sink, &mut woken);
        self.end_holds(now, woken, sink);
        self.lead_died(sibling, sink);
    }
}

impl<M: Machine> Machine for Shared<M> {
    type Message = Message<M::Message>;

    fn handle<S: Sink<Self::Message>>(
        &mut self,
        now: Time,
        event: Event<Self::Message>,
        sink: &mut S,
    ) {
        let page = match event {
            Event::Message { from, page, message } => {
                return self.on_message(now, from, page, message, sink);
            }
            Event::SiblingDied { sibling } => return self.sibling_died(now, sibling, sink),
            Event::Died { .. } => None,
            Event::Discard { object, generation, first, count } => {
                self.discard(object, generation, first, count, sink);
                self.lead.discard(object, generation, first, count);
                None
            }
            Event::Fault { page, .. }
            | Event::Retired { page }
            | Event::Expire { page }
            | Event::Evict { page }
            | Event::Give { page, .. }
            | Event::Expect { page }
            | Event::WrittenBack { page }
            | Event::Hot { page }
            | Event::Promote { page }
            | Event::Retreat { page }
            | Event::Idle { page } => Some(page),
        };
        if let Some(page) = page {
            if !self.is_lead(page.object) {
                return self.as_sibling(now, page, &event, sink);
            }
            if !self.lead.admits(page, &event) {
                return;
            }
        }
        if let Some(event) = event.without_message() {
            self.below(now, event, sink);
        }
    }

    fn rights(&self, page: PageKey) -> Option<Access> {
        if self.is_lead(page.object) {
            self.machine.rights(page)
        } else {
            self.mapped.get(page).filter(|m| m.generation == page.generation)?.granted
        }
    }
}

/// What an instance tells the siblings of its domain.
fn tell<M, S: Sink<Message<M>>>(sink: &mut S, to: Sibling, page: PageKey, message: Message<M>) {
    sink.push(Action::Send { to, page, message });
}
