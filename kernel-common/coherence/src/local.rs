//! What a policy knows about its node while it handles one event.

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
            clock: 0,
            rules: Rules::default(),
        }
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

    /// Deaths that this node has heard of, of those that another may count that asks it for a page.
    pub(crate) fn deaths_heard_of(&self) -> usize {
        self.local.dead.len() + self.local.risen.len()
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
