//! What a policy knows about its node while it handles one event.

use serde::{Deserialize, Serialize};

use crate::mutation::Rules;
use crate::{Access, Action, Failure, Home, Mutation, NodeId, Nodes, PageKey, Sink, Time};

/// How a node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// The home of pages whose object has none of its own.
    pub home: Home,
    /// How long a page that arrived is kept although others ask for it, in nanoseconds, unless its
    /// access retires before.
    pub hold_ns: u64,
}

/// The node's own view of the group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Local<const W: usize> {
    pub(crate) config: Config,
    /// Live members, this node included.
    pub(crate) members: Nodes<W>,
    /// Members that died.
    pub(crate) dead: Nodes<W>,
    /// Members that died and have joined again. Others may not know of that yet.
    pub(crate) risen: Nodes<W>,
    /// Members, alive or dead, that had been started an odd number of times before.
    pub(crate) odd: Nodes<W>,
    /// The largest time stamp given or seen.
    pub(crate) clock: u64,
    pub(crate) rules: Rules,
}

impl<const W: usize> Local<W> {
    pub(crate) fn new(config: Config, members: Nodes<W>) -> Self {
        let mut members = members;
        members.insert(config.node);
        Self {
            config,
            members,
            dead: Nodes::EMPTY,
            risen: Nodes::EMPTY,
            odd: Nodes::EMPTY,
            clock: 0,
            rules: Rules::default(),
        }
    }
}

/// Members that died, and whether it was after an odd or an even number of restarts. So a death is told
/// from the one before it; nobody is two behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Deaths<const W: usize> {
    /// After an odd number.
    pub odd: Nodes<W>,
    /// After an even number.
    pub even: Nodes<W>,
}

/// A member in one of its incarnations: an order that names one that is over is not for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Addressee(u16);

impl Addressee {
    /// Set after an odd number of restarts. No fabric has so many nodes.
    const ODD: u16 = 1 << 15;

    fn new(node: NodeId, is_odd: bool) -> Self {
        Self(node.0 | if is_odd { Self::ODD } else { 0 })
    }

    /// The member, whichever incarnation is meant.
    #[must_use]
    pub fn node(self) -> NodeId {
        NodeId(self.0 & !Self::ODD)
    }

    #[cfg(feature = "model")]
    pub(crate) fn rename(&mut self, f: &dyn Fn(NodeId) -> NodeId) {
        *self = Self::new(f(self.node()), self.0 & Self::ODD != 0);
    }
}

/// One event's surroundings: the node, the page, the time and where actions go.
#[derive(Debug)]
pub struct Cx<'a, S, const W: usize> {
    pub(crate) local: &'a mut Local<W>,
    pub(crate) page: PageKey,
    pub(crate) home: NodeId,
    pub(crate) now: Time,
    pub(crate) sink: &'a mut S,
    /// Messages sent that no bound has been asserted for yet.
    pub(crate) sent: usize,
}

impl<S, const W: usize> Cx<'_, S, W> {
    pub(crate) fn me(&self) -> NodeId {
        self.local.config.node
    }

    pub(crate) fn others(&self) -> Nodes<W> {
        self.local.members.without(self.me())
    }

    /// The present incarnation of a member.
    pub(crate) fn addressee(&self, node: NodeId) -> Addressee {
        Addressee::new(node, self.local.odd.contains(node))
    }

    /// Who is meant, unless that one is dead or has been started again. An order that its home gives for
    /// itself is of its present incarnation.
    pub(crate) fn present(&self, to: Addressee) -> Option<NodeId> {
        let node = to.node();
        let is_there = self.local.members.contains(node) && to == self.addressee(node);
        (node == self.home || is_there || self.lacks(Mutation::ServesTheDead)).then_some(node)
    }

    /// The deaths that this node knows of.
    pub(crate) fn deaths(&self) -> Option<Deaths<W>> {
        let Local { dead, risen, odd, .. } = &self.local;
        // Of those that are back, all but the present incarnation.
        let deaths = Deaths {
            odd: dead.intersection(odd).union(&risen.minus(odd)),
            even: dead.minus(odd).union(&risen.intersection(odd)),
        };
        (!dead.is_empty() || !risen.is_empty()).then_some(deaths)
    }

    /// Whether one of these deaths is of an incarnation that this node takes for alive.
    pub(crate) fn is_news(&self, deaths: &Deaths<W>) -> bool {
        let odd = &self.local.odd;
        let present = deaths.odd.intersection(odd).union(&deaths.even.minus(odd));
        !present.intersection(&self.others()).is_empty()
    }

    /// A stamp that is larger than every stamp that this node gave or saw.
    pub(crate) fn new_stamp(&mut self) -> u64 {
        self.local.clock = self.now.0.max(self.local.clock.saturating_add(1));
        self.local.clock
    }

    /// Keeps this node's stamps above a peer's.
    pub(crate) fn saw_stamp(&mut self, stamp: u64) {
        if !self.lacks(Mutation::ClockIgnoresPeers) {
            self.local.clock = self.local.clock.max(stamp);
        }
    }

    pub(crate) fn lacks(&self, rule: Mutation) -> bool {
        self.local.rules.lack(rule)
    }

    pub(crate) fn push<M>(&mut self, action: Action<M>)
    where
        S: Sink<M>,
    {
        self.sink.push(action);
    }

    pub(crate) fn send<M>(&mut self, to: NodeId, message: M)
    where
        S: Sink<M>,
    {
        self.sent += 1;
        self.push(Action::Send { to, page: self.page, message });
    }

    /// Asserts that a turn, which began when `sent` messages were counted, sent no more than `most`
    /// besides those of turns within it: those have been asserted, and are not counted any more.
    pub(crate) fn end_turn(&mut self, sent: usize, most: usize) {
        debug_assert!(self.sent <= sent + most, "{} messages, {most} allowed", self.sent - sent);
        self.sent = sent;
    }

    pub(crate) fn map<M>(&mut self, access: Access)
    where
        S: Sink<M>,
    {
        self.push(Action::Map { page: self.page, access });
    }

    pub(crate) fn unmap<M>(&mut self)
    where
        S: Sink<M>,
    {
        self.push(Action::Unmap { page: self.page });
    }

    pub(crate) fn release<M>(&mut self)
    where
        S: Sink<M>,
    {
        self.push(Action::Release { page: self.page });
    }

    /// Maps what the page allows now and lets the waiting threads try again.
    pub(crate) fn grant<M>(&mut self, access: Access)
    where
        S: Sink<M>,
    {
        self.map(access);
        self.push(Action::Wake { page: self.page, access });
    }

    pub(crate) fn fail<M>(&mut self, failure: Failure)
    where
        S: Sink<M>,
    {
        self.push(Action::Fail { page: self.page, failure });
    }

    /// Starts a hold and returns its end.
    pub(crate) fn hold<M>(&mut self) -> Time
    where
        S: Sink<M>,
    {
        let at = Time(self.now.0.saturating_add(self.local.config.hold_ns));
        self.push(Action::Timer { page: self.page, at });
        at
    }
}
