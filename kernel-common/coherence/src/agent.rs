//! One node's agent: the records of its pages, and the events' way to them.

use alloc::collections::BTreeMap;
use core::fmt::Debug;
use core::hash::Hash;

use crate::local::{Config, Cx, Local};
use crate::table::Table;
use crate::{
    Access, Action, Event, Failure, Home, NodeId, Nodes, ObjectId, PageKey, Sink, Time, WireSize,
};

/// A coherency protocol between nodes: what it keeps per page, and its transitions.
pub trait Policy<const W: usize>: Default + Clone + Debug + PartialEq + Eq + Hash {
    /// What peers tell each other about a page.
    type Message: Copy + Debug + PartialEq + Eq + Hash + WireSize;

    /// Which life of the page the record is about.
    fn generation(&self) -> u32;
    /// Sets which life of the page a record is about that is about nothing yet.
    fn begin(&mut self, generation: u32);
    /// If nobody has touched the page as far as its home knows: its home has it, alone.
    fn adopt(&mut self);
    /// At the home: whether nobody has touched the page as far as it knows.
    fn is_untouched(&self) -> bool;
    /// Forgets everything (mappings and waiting threads included) and starts another life.
    fn reset<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>);
    /// A thread of this node needs the page.
    fn fault<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>, access: Access);
    /// A peer said something.
    fn message<S: Sink<Self::Message>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        message: Self::Message,
    );
    /// A member died; it is no longer in the context's members.
    fn died<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>, node: NodeId);
    /// The hold is over: the access has retired.
    fn retired<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>);
    /// A timer fired; the hold is over if its time has come.
    fn expire<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>);
    /// The node would like to free the page's frame.
    fn evict<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>);
    /// At the home: a node that has not asked is to get the page, if that is possible.
    fn give<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>, to: NodeId) {
        let _ = (cx, to);
    }
    /// The page is on its way although nobody here has asked for it.
    fn expect<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let _ = cx;
    }
    /// The content is in the backing store.
    fn written_back<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>);
    /// The page is to move into the coherent window.
    fn promote<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>);
    /// Everybody is to leave the coherent window.
    fn retreat<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>);
    /// The node's mapping of the window frame goes unused.
    fn idle<S: Sink<Self::Message>>(&mut self, cx: &mut Cx<'_, S, W>);
    /// What tells the home that a page ping-pongs.
    fn hot(&self) -> Self::Message;
    /// What the copy here allows, for oracles and statistics.
    fn rights(&self) -> Option<Access>;
    /// Whether a transaction is under way here.
    fn is_busy(&self) -> bool;
    /// The state's name, for tables and traces.
    fn state_name(&self) -> &'static str;
}

/// A node's machine, whatever its layers: events in, actions out.
pub trait Machine {
    /// What machines of different nodes, or instances, tell each other.
    type Message: Copy + Debug + PartialEq + Eq + Hash + WireSize;

    /// Takes one event and pushes what follows from it.
    fn handle<S: Sink<Self::Message>>(
        &mut self,
        now: Time,
        event: Event<Self::Message>,
        sink: &mut S,
    );

    /// What the copy of a page allows here.
    fn rights(&self, page: PageKey) -> Option<Access>;
}

impl<P: Policy<W>, const W: usize> Machine for Agent<P, W> {
    type Message = P::Message;

    fn handle<S: Sink<P::Message>>(&mut self, now: Time, event: Event<P::Message>, sink: &mut S) {
        Self::handle(self, now, event, sink);
    }

    fn rights(&self, page: PageKey) -> Option<Access> {
        Self::rights(self, page)
    }
}

/// The machine of one node under the policy `P`.
///
/// `W` is the number of 64-bit words in a set of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agent<P, const W: usize = 1> {
    pub(crate) local: Local<W>,
    homes: BTreeMap<ObjectId, Home>,
    pub(crate) pages: Table<P>,
}

impl<P: Policy<W>, const W: usize> Agent<P, W> {
    /// An agent that knows no page yet. Every member must know every other before it touches a page.
    #[must_use]
    pub fn new(config: Config, members: Nodes<W>) -> Self {
        Self { local: Local::new(config, members), homes: BTreeMap::new(), pages: Table::default() }
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.local.config.node
    }

    /// The live members, this node included.
    #[must_use]
    pub fn members(&self) -> Nodes<W> {
        self.local.members
    }

    /// Adds a member, or says how often one that is known already, this one perhaps, has been started
    /// before. The group's home orders joins: all members apply one before the new member touches a page.
    pub fn join(&mut self, node: NodeId, restarts: u32) {
        let Local { members, dead, risen, odd, .. } = &mut self.local;
        members.insert(node);
        dead.remove(node);
        if restarts > 0 {
            risen.insert(node);
        }
        if restarts.is_multiple_of(2) {
            odd.remove(node);
        } else {
            odd.insert(node);
        }
    }

    /// Gives an object a home of its own, before its first page is touched anywhere.
    pub fn attach(&mut self, object: ObjectId, home: Home) {
        self.homes.insert(object, home);
    }

    /// What the copy of a page allows here.
    #[must_use]
    pub fn rights(&self, page: PageKey) -> Option<Access> {
        self.record(page).and_then(P::rights)
    }

    /// The record of a page, if there is one of its generation.
    #[must_use]
    pub fn record(&self, page: PageKey) -> Option<&P> {
        self.pages.get(page).filter(|record| record.generation() == page.generation)
    }

    /// The pages of which a transaction is under way here.
    pub fn busy(&self) -> impl Iterator<Item = (PageKey, &P)> {
        let busy = self.pages.iter().filter(|(_, record)| record.is_busy());
        busy.map(|(page, record)| (PageKey { generation: record.generation(), ..page }, record))
    }

    /// The record of a page, whatever its generation.
    pub(crate) fn record_of(&self, object: ObjectId, index: u32) -> Option<&P> {
        self.pages.get(PageKey::new(object, index))
    }

    /// Which life of a page this node knows of; 0 for a page that it has no record of.
    #[must_use]
    pub fn generation(&self, object: ObjectId, index: u32) -> u32 {
        self.record_of(object, index).map_or(0, P::generation)
    }

    /// At the home: whether nothing is noted of a page. Discards are not kept of such pages: in which life
    /// it begins is for the caller to know.
    #[must_use]
    pub fn may_begin(&self, page: PageKey) -> bool {
        self.pages.get(page).is_none_or(P::is_untouched)
    }

    /// At the home of a page that was used here before anybody else could: its content is here.
    /// To be called before the first event of a page from elsewhere; later calls change nothing.
    pub fn adopt(&mut self, page: PageKey) {
        self.pages.begin(page, |record| record.begin(page.generation));
        let record = self.pages.entry(page);
        if record.generation() < page.generation && record.is_untouched() {
            record.begin(page.generation);
        }
        if record.generation() == page.generation {
            record.adopt();
        }
    }

    /// Whether this node is the page's home.
    pub(crate) fn is_home(&self, page: PageKey) -> bool {
        let home = self.homes.get(&page.object).copied().unwrap_or(self.local.config.home);
        home.of(page) == self.node()
    }

    /// Forgets an object that has come to its end everywhere, and whatever is under way for it.
    pub fn detach(&mut self, object: ObjectId) {
        self.homes.remove(&object);
        self.pages.remove(object);
    }

    /// Takes one event and pushes what follows from it.
    ///
    /// A message of a node that is not a member, or of a generation that is gone, changes nothing.
    pub fn handle<S: Sink<P::Message>>(
        &mut self,
        now: Time,
        event: Event<P::Message>,
        sink: &mut S,
    ) {
        match event {
            Event::Fault { page, access } => {
                let (record, mut cx) = self.at(page, now, sink);
                match record.generation() {
                    known if known > page.generation => cx.fail(Failure::Stale),
                    known => {
                        if known < page.generation {
                            record.reset(&mut cx);
                        }
                        record.fault(&mut cx, access);
                    }
                }
            }
            Event::Message { from, page, message } => {
                if !self.local.members.contains(from) || from == self.node() {
                    return;
                }
                let (record, mut cx) = self.at(page, now, sink);
                if record.generation() > page.generation {
                    return;
                }
                if record.generation() < page.generation {
                    // The home ordered a discard that this node has yet to hear of.
                    record.reset(&mut cx);
                }
                record.message(&mut cx, from, message);
            }
            Event::Died { node } => self.died(now, node, sink),
            // An agent speaks for the whole node; its siblings are the business of `shared`.
            Event::SiblingDied { .. } => {}
            Event::Retired { page } => self.known(page, now, sink, P::retired),
            Event::Expire { page } => self.known(page, now, sink, P::expire),
            Event::Evict { page } => self.known(page, now, sink, P::evict),
            Event::Give { page, to } => {
                self.known(page, now, sink, |record, cx| record.give(cx, to));
            }
            Event::Expect { page } => {
                let (record, mut cx) = self.at(page, now, sink);
                if record.generation() < page.generation {
                    record.reset(&mut cx);
                }
                if record.generation() == page.generation {
                    record.expect(&mut cx);
                }
            }
            Event::WrittenBack { page } => self.known(page, now, sink, P::written_back),
            Event::Promote { page } => self.known(page, now, sink, P::promote),
            Event::Retreat { page } => self.known(page, now, sink, P::retreat),
            Event::Idle { page } => self.known(page, now, sink, P::idle),
            Event::Hot { page } => self.known(page, now, sink, |record, cx| {
                if cx.home == cx.me() {
                    cx.push(Action::Hot { page });
                } else {
                    cx.send(cx.home, record.hot());
                }
            }),
            Event::Discard { object, generation, first, count } => {
                let home = self.homes.get(&object).copied().unwrap_or(self.local.config.home);
                for (mut page, record) in self.pages.range_mut(object, first, count) {
                    if record.generation() < generation {
                        page.generation = generation;
                        let home = home.of(page);
                        record.reset(&mut Cx {
                            local: &mut self.local,
                            page,
                            home,
                            now,
                            sink,
                            sent: 0,
                        });
                    }
                }
            }
        }
    }

    fn died<S: Sink<P::Message>>(&mut self, now: Time, node: NodeId, sink: &mut S) {
        if node == self.node() || !self.local.members.remove(node) {
            return;
        }
        self.local.dead.insert(node);
        self.local.risen.remove(node);
        for (mut page, record) in self.pages.iter_mut() {
            page.generation = record.generation();
            let home = self.homes.get(&page.object).copied().unwrap_or(self.local.config.home);
            let home = home.of(page);
            record.died(&mut Cx { local: &mut self.local, page, home, now, sink, sent: 0 }, node);
        }
    }

    fn at<'a, S>(
        &'a mut self,
        page: PageKey,
        now: Time,
        sink: &'a mut S,
    ) -> (&'a mut P, Cx<'a, S, W>) {
        let home = if self.homes.is_empty() {
            self.local.config.home
        } else {
            self.homes.get(&page.object).copied().unwrap_or(self.local.config.home)
        };
        let home = home.of(page);
        (self.pages.entry(page), Cx { local: &mut self.local, page, home, now, sink, sent: 0 })
    }

    fn known<'a, S>(
        &'a mut self,
        page: PageKey,
        now: Time,
        sink: &'a mut S,
        f: impl FnOnce(&mut P, &mut Cx<'a, S, W>),
    ) {
        let (record, mut cx) = self.at(page, now, sink);
        if record.generation() == page.generation {
            f(record, &mut cx);
        }
    }
}
