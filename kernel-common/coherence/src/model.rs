//! What a model checker may change in a state without changing what it means: the distances
//! between time stamps, and the names of nodes that play the same part.

use core::fmt::Debug;
use core::hash::Hash;

use crate::{Agent, Machine, Mutation, NodeId, Nodes, PageKey, Policy, Sibling, Time};

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

/// Other names for the nodes of a fabric and for the siblings of a domain.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// A node's other name.
    pub node: &'a dyn Fn(NodeId) -> NodeId,
    /// A sibling's other name.
    pub sibling: &'a dyn Fn(Sibling) -> Sibling,
}

/// A machine that a checker can normalise and change.
pub trait Checked: Machine + Clone + Debug + PartialEq + Eq + Hash {
    /// Visits every time stamp that the machine keeps.
    fn stamps(&mut self, f: &mut dyn FnMut(&mut u64));
    /// Visits the end of every hold.
    fn holds(&mut self, f: &mut dyn FnMut(&mut Time));
    /// Visits every version of a page's content.
    fn versions(&mut self, f: &mut dyn FnMut(PageKey, &mut u32));
    /// Gives every node and sibling another name.
    fn rename(&mut self, names: &Names<'_>);
    /// The name of a page's state.
    fn state_name(&self, page: PageKey) -> &'static str;
    /// Takes one rule out; without the feature `mutants` every rule stays.
    fn take_out(&mut self, rule: Option<Mutation>);
    /// Visits every time stamp of a message.
    fn message_stamps(message: &mut Self::Message, f: &mut dyn FnMut(&mut u64));
    /// Visits every version of content in a message.
    fn message_versions(message: &mut Self::Message, f: &mut dyn FnMut(&mut u32));
    /// Gives every node in a message another name.
    fn rename_message(message: &mut Self::Message, names: &Names<'_>);
}

impl<P: Normalise<W>, const W: usize> Checked for Agent<P, W> {
    fn stamps(&mut self, f: &mut dyn FnMut(&mut u64)) {
        f(&mut self.local.clock);
        for (_, record) in self.pages.iter_mut() {
            record.stamps(f);
        }
    }

    fn holds(&mut self, f: &mut dyn FnMut(&mut Time)) {
        for (_, record) in self.pages.iter_mut() {
            record.hold(f);
        }
    }

    fn versions(&mut self, f: &mut dyn FnMut(PageKey, &mut u32)) {
        for (page, record) in self.pages.iter_mut() {
            record.versions(&mut |version| f(page, version));
        }
    }

    fn rename(&mut self, names: &Names<'_>) {
        let f = names.node;
        self.local.config.node = f(self.local.config.node);
        rename_set(&mut self.local.members, f);
        rename_set(&mut self.local.dead, f);
        rename_set(&mut self.local.risen, f);
        rename_set(&mut self.local.odd, f);
        for (_, record) in self.pages.iter_mut() {
            record.rename(f);
        }
    }

    fn state_name(&self, page: PageKey) -> &'static str {
        self.record(page).map_or_else(|| P::default().state_name(), P::state_name)
    }

    fn take_out(&mut self, rule: Option<Mutation>) {
        self.local.rules.take_out(rule);
    }

    fn message_stamps(message: &mut P::Message, f: &mut dyn FnMut(&mut u64)) {
        P::message_stamps(message, f);
    }

    fn message_versions(message: &mut P::Message, f: &mut dyn FnMut(&mut u32)) {
        P::message_versions(message, f);
    }

    fn rename_message(message: &mut P::Message, names: &Names<'_>) {
        P::rename_message(message, names.node);
    }
}
