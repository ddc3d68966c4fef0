//! What a model checker may change in a state without changing what it means: the distances
//! between time stamps, and the names of nodes that play the same part.

use crate::{Agent, Mutation, NodeId, Nodes, PageKey, Policy, Time};

/// A policy whose records a checker can normalise.
pub trait Normalise<const W: usize>: Policy<W> {
    /// Visits every time stamp of a record.
    fn stamps(&mut self, f: &mut dyn FnMut(&mut u64));
    /// Visits the end of the record's hold, if it has one.
    fn hold(&mut self, f: &mut dyn FnMut(&mut Time));
    /// Visits every version of content.
    fn versions(&mut self, f: &mut dyn FnMut(&mut u32));
    /// Gives every node in a record another name.
    fn rename(&mut self, f: &dyn Fn(NodeId) -> NodeId);
    /// Visits every time stamp of a message.
    fn message_stamps(message: &mut Self::Message, f: &mut dyn FnMut(&mut u64));
    /// Visits every version of content in a message.
    fn message_versions(message: &mut Self::Message, f: &mut dyn FnMut(&mut u32));
    /// Gives every node in a message another name.
    fn rename_message(message: &mut Self::Message, f: &dyn Fn(NodeId) -> NodeId);
}

/// A set under other names.
pub fn rename_set<const W: usize>(set: &mut Nodes<W>, f: &dyn Fn(NodeId) -> NodeId) {
    *set = set.iter().map(f).collect();
}

impl<P: Normalise<W>, const W: usize> Agent<P, W> {
    /// Visits every time stamp that the agent keeps, its clock first.
    pub fn stamps(&mut self, f: &mut dyn FnMut(&mut u64)) {
        f(&mut self.local.clock);
        for (_, record) in self.pages.iter_mut() {
            record.stamps(f);
        }
    }

    /// Visits the end of every hold.
    pub fn holds(&mut self, f: &mut dyn FnMut(&mut Time)) {
        for (_, record) in self.pages.iter_mut() {
            record.hold(f);
        }
    }

    /// Visits every version of a page's content.
    pub fn versions(&mut self, f: &mut dyn FnMut(PageKey, &mut u32)) {
        for (page, record) in self.pages.iter_mut() {
            record.versions(&mut |version| f(page, version));
        }
    }

    /// Gives every node another name.
    pub fn rename(&mut self, f: &dyn Fn(NodeId) -> NodeId) {
        self.local.config.node = f(self.local.config.node);
        rename_set(&mut self.local.members, f);
        rename_set(&mut self.local.dead, f);
        for (_, record) in self.pages.iter_mut() {
            record.rename(f);
        }
    }
}

#[cfg(feature = "mutants")]
impl<P: Policy<W>, const W: usize> Agent<P, W> {
    /// Takes one rule out.
    pub fn take_out(&mut self, rule: Option<Mutation>) {
        self.local.mutation = rule;
    }
}

#[cfg(not(feature = "mutants"))]
impl<P: Policy<W>, const W: usize> Agent<P, W> {
    /// Without the feature `mutants` every rule stays.
    pub fn take_out(&mut self, _: Option<Mutation>) {}
}
