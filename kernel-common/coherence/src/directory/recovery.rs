//! After a death: the home asks everybody what they hold and starts a new epoch of the entry.
//!
//! The home keeps no record of what it forwarded, so it cannot know which transactions waited for
//! the dead node. Whoever has a transaction under way when it hears of the death says `Stuck`; the
//! home then freezes the page everywhere, rebuilds the entry from the answers and thaws it; waiting
//! faults ask again. Only if nobody holds the page, and it may be on its way between two survivors,
//! a second step waits for every link to the waiting nodes to drain.
//!
//! The dead may join again at any time, and at each member at another one. Who has joined since the home
//! asked what everybody holds has nothing: nobody waits for its links, and at the end it is asked
//! for itself instead of being told to go on, because its requests so far were of no epoch that counts.

use alloc::boxed::Box;

use super::record::{Directory, Gift, State, Successor, Work};
use super::{Body, Holding, Message};
use crate::{Access, Action, Cx, Failure, Mutation, NodeId, Nodes, Sink};

/// A page that is frozen, here and on all other members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Recovery<const W: usize> {
    /// Home: whom it has asked. Not who has joined since.
    asked: Nodes<W>,
    /// Home: whose answer is missing.
    waiting: Nodes<W>,
    /// Home: who has the content.
    holders: Nodes<W>,
    /// Home: who has it writable.
    exclusive: Option<NodeId>,
    /// Home: to whom the content may be on its way.
    awaiting: Nodes<W>,
    /// Home: the second step has begun.
    drained: bool,
    /// Members from which content may be on its way here: not who has joined since this node was asked.
    links: Nodes<W>,
    /// The home asked this node to wait until those links are drained.
    draining: bool,
    /// This node's request was aborted; its answer may still come.
    pending: bool,
    /// It came.
    late: bool,
    /// Whose link to this node is drained.
    flushed: Nodes<W>,
}

#[cfg(feature = "model")]
impl<const W: usize> Recovery<W> {
    pub(super) fn rename(&mut self, f: &dyn Fn(NodeId) -> NodeId) {
        for set in [
            &mut self.asked,
            &mut self.waiting,
            &mut self.holders,
            &mut self.awaiting,
            &mut self.links,
            &mut self.flushed,
        ] {
            crate::model::rename_set(set, f);
        }
        self.exclusive = self.exclusive.map(f);
    }
}

impl<const W: usize> Directory<W> {
    /// A member died; its links are drained.
    pub(super) fn on_death<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, dead: NodeId) {
        if let Some(work) = self.detail.as_mut().and_then(|d| d.work.as_mut()) {
            for set in [
                &mut work.readers,
                &mut work.get_s,
                &mut work.get_m,
                &mut work.upgrades,
                &mut work.gifted,
                &mut work.foresighted,
            ] {
                set.remove(dead);
            }
            if matches!(work.successor,
                Some(Successor::Drop(to) | Successor::Give(to, _)) if to == dead)
            {
                // The copy stays here; the home finds it when it rebuilds the entry.
                work.successor = None;
            }
        }
        if cx.home == dead {
            self.orphan(cx);
        } else if self.state == State::Windowed && cx.home == cx.me() {
            self.work().foresighted = Nodes::EMPTY;
            self.order_deferred(cx);
            self.on_leave(cx, dead);
        } else if cx.home == cx.me() {
            let Some(detail) = self.detail.as_mut() else { return };
            let entry = &detail.entry;
            let involved = entry.owner == Some(dead) || entry.sharers.contains(dead);
            if involved || self.is_asking() || self.is_frozen() {
                self.start_recovery(cx);
            } else {
                self.work().foresighted = Nodes::EMPTY;
                self.settle(cx);
            }
        } else if self.is_frozen() {
            self.recovery().links.remove(dead);
            self.check_flushed(cx);
        } else if self.is_asking() && !cx.lacks(Mutation::SuffersInSilence) {
            self.send(cx, cx.home, Body::Stuck);
        }
    }

    /// The home died: what is under way fails, and what is here stays usable.
    fn orphan<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        match self.state {
            State::Reading | State::Writing | State::Leaving => self.state = State::Invalid,
            State::Upgrading | State::Collecting => self.state = State::Shared,
            State::LeavingOwner => {
                // The home may have taken the content and gone on from there.
                self.state = State::Invalid;
                cx.release();
            }
            State::Windowed => {
                self.state = State::Invalid;
                cx.unmap();
            }
            _ => {}
        }
        let Some(detail) = self.detail.as_mut() else { return };
        detail.recovery = None;
        if detail.work.as_mut().and_then(|w| w.want.take()).is_some() {
            cx.fail(Failure::HomeDied);
        }
        self.settle(cx);
    }

    fn start_recovery<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.epoch = self.epoch.wrapping_add(1);
        let others = cx.others();
        let holding = self.freeze(cx);
        if let Some(work) = self.detail().work.as_mut() {
            // Who asked is frozen as well, and will ask again.
            **work = Work { want: work.want, ..Work::default() };
        }
        let recovery = self.recovery();
        recovery.asked = others;
        recovery.waiting = others;
        recovery.holders = Nodes::EMPTY;
        recovery.exclusive = None;
        recovery.awaiting = Nodes::EMPTY;
        recovery.drained = false;
        for node in others.iter() {
            self.send(cx, node, Body::Freeze);
        }
        let me = cx.me();
        self.on_frozen(cx, me, holding);
    }

    /// Stops every transaction here; what is left is either the content or nothing.
    fn freeze<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) -> Holding {
        let was = self.state;
        self.gift = Gift::None;
        let pending = matches!(was, State::Reading | State::Writing)
            || self.detail.as_ref().and_then(|d| d.recovery.as_ref()).is_some_and(|r| r.pending);
        self.state = match was {
            State::Upgrading
            | State::Collecting
            | State::Shared
            | State::Owned
            | State::LeavingOwner
            | State::Storing => State::Shared,
            State::Exclusive => State::Exclusive,
            State::Lost => State::Lost,
            State::Windowed => State::Windowed,
            State::Reading | State::Writing | State::Leaving | State::Invalid => State::Invalid,
        };
        if matches!(was, State::LeavingOwner | State::Storing) {
            cx.push(Action::Kept { page: cx.page });
        }
        let late = self.recovery().late;
        let links = cx.others();
        *self.recovery() = Recovery { links, pending, late, ..Recovery::default() };
        let work = self.work();
        work.readers = Nodes::EMPTY;
        work.successor = None;
        work.acks = Nodes::EMPTY;
        work.acks_wanted = Nodes::EMPTY;
        match self.state {
            State::Shared => Holding::Copy,
            State::Exclusive => Holding::Exclusive,
            _ if pending => Holding::Awaiting,
            _ => Holding::Nothing,
        }
    }

    fn recovery(&mut self) -> &mut Recovery<W> {
        self.detail().recovery.get_or_insert_with(Box::default)
    }

    /// A message of the page's present epoch about its recovery.
    pub(super) fn on_recovery<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        message: Message<W>,
    ) {
        let at_home = cx.home == cx.me();
        match message.body {
            Body::Stuck if at_home && self.state == State::Windowed => {}
            Body::Stuck if at_home && !self.is_frozen() => self.start_recovery(cx),
            Body::Frozen { holding } if at_home => {
                if self.is_frozen() {
                    self.on_frozen(cx, from, holding);
                } else {
                    let lost = self.state == State::Lost;
                    self.send(cx, from, Body::Thaw { owner: false, lost });
                }
            }
            Body::Drain { targets, sources } if from == cx.home && self.is_frozen() => {
                self.drain(cx, targets, sources);
            }
            Body::Flush if self.is_frozen() => {
                self.recovery().flushed.insert(from);
                self.check_flushed(cx);
            }
            Body::Thaw { owner, lost } if from == cx.home && self.is_frozen() => {
                self.thaw(cx, owner, lost);
            }
            _ => {}
        }
    }

    /// A message of another epoch: void, but for the start of a new one and what it overtook.
    pub(super) fn on_other_epoch<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        message: Message<W>,
    ) {
        let newer = message.epoch.wrapping_sub(self.epoch) < 0x80;
        match message.body {
            Body::Freeze if newer && from == cx.home => {
                self.epoch = message.epoch;
                let holding = self.freeze(cx);
                self.send(cx, from, Body::Frozen { holding });
            }
            Body::Drain { targets, .. } if newer && from == cx.home => {
                // This node has forgotten a page that nobody here has a use for.
                let (epoch, me) = (message.epoch, cx.me());
                for node in targets.without(me).iter() {
                    cx.send(node, Message { epoch, body: Body::Flush });
                }
                if targets.contains(me) {
                    let holding = Holding::Nothing;
                    cx.send(from, Message { epoch, body: Body::Frozen { holding } });
                }
            }
            Body::Data { content: true, .. }
                if !newer && self.is_frozen() && self.recovery().pending =>
            {
                cx.push(Action::Install { page: cx.page });
                let recovery = self.recovery();
                recovery.pending = false;
                recovery.late = true;
            }
            Body::GetS { .. } | Body::GetM { .. }
                if !newer && cx.home == cx.me() && !self.is_frozen() =>
            {
                // Somebody who joined after the recovery.
                self.send(cx, from, Body::Freeze);
            }
            _ => {}
        }
    }

    fn on_frozen<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        holding: Holding,
    ) {
        let recovery = self.recovery();
        recovery.waiting.remove(from);
        match holding {
            Holding::Nothing => {}
            Holding::Awaiting => {
                recovery.awaiting.insert(from);
            }
            Holding::Copy => {
                recovery.holders.insert(from);
            }
            Holding::Exclusive => recovery.exclusive = Some(from),
        }
        if !recovery.waiting.is_empty() {
            return;
        }
        let nobody = recovery.holders.is_empty() && recovery.exclusive.is_none();
        let targets = recovery.awaiting.intersection(&cx.local.members);
        if nobody
            && !recovery.drained
            && !targets.is_empty()
            && !cx.lacks(Mutation::RebuildsWithoutDraining)
        {
            recovery.drained = true;
            recovery.waiting = targets;
            let (asked, mut sources) = (recovery.asked, recovery.asked);
            sources.insert(cx.me());
            for node in asked.iter() {
                self.send(cx, node, Body::Drain { targets, sources });
            }
            self.drain(cx, targets, sources);
        } else {
            self.rebuild(cx);
        }
    }

    /// Shows the targets that everything that this node sent before has arrived. (One of them may know
    /// this node before this node knows it.)
    fn drain<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        targets: Nodes<W>,
        sources: Nodes<W>,
    ) {
        let me = cx.me();
        for node in targets.without(me).iter() {
            self.send(cx, node, Body::Flush);
        }
        if targets.contains(me) {
            let others = cx.others();
            let recovery = self.recovery();
            recovery.links = recovery.links.intersection(&sources);
            if cx.lacks(Mutation::WaitsForNewcomers) {
                recovery.links = others;
            }
            recovery.draining = true;
            self.check_flushed(cx);
        }
    }

    fn check_flushed<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let recovery = self.recovery();
        if !recovery.draining || !recovery.links.is_subset(&recovery.flushed) {
            return;
        }
        recovery.draining = false;
        let holding = if core::mem::take(&mut recovery.late) {
            self.state = State::Shared;
            Holding::Copy
        } else {
            Holding::Nothing
        };
        if cx.home == cx.me() {
            let me = cx.me();
            self.on_frozen(cx, me, holding);
        } else {
            self.send(cx, cx.home, Body::Frozen { holding });
        }
    }

    /// Everybody has answered: the entry as it is now.
    fn rebuild<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let me = cx.me();
        let members = cx.local.members;
        let recovery = self.recovery();
        let asked = recovery.asked;
        let holders = recovery.holders.intersection(&members);
        let exclusive = recovery.exclusive.filter(|&node| members.contains(node));
        let entry = &mut self.detail().entry;
        let was_used = entry.owner.is_some() || !entry.sharers.is_empty();
        entry.exclusive = exclusive.is_some();
        entry.owner = exclusive.or(if holders.contains(me) { Some(me) } else { holders.first() });
        entry.sharers = if entry.exclusive { Nodes::EMPTY } else { holders };
        let owner = entry.owner;
        let lost = owner.is_none() && !entry.stored && was_used;
        entry.stored &= owner.is_none();
        for node in cx.others().iter() {
            if asked.contains(node) {
                self.send(cx, node, Body::Thaw { owner: owner == Some(node), lost });
            } else if !cx.lacks(Mutation::ForgetsNewcomers) {
                // It has joined meanwhile, and what it has asked for was not heard.
                self.send(cx, node, Body::Freeze);
            }
        }
        self.thaw(cx, owner == Some(me), lost);
    }

    fn thaw<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, owner: bool, lost: bool) {
        let recovery = self.detail().recovery.take();
        if recovery.is_some_and(|r| r.late) {
            cx.release();
        }
        let want = self.detail().work.as_mut().and_then(|w| w.want.take());
        if lost {
            self.state = State::Lost;
            if want.is_some() {
                cx.fail(Failure::Lost);
            }
        } else {
            if owner && self.state == State::Shared {
                self.state = State::Owned;
            }
            if let Some(access) = want {
                self.fault_again(cx, access);
            }
        }
        self.settle(cx);
    }

    /// What the waiting threads need; for the state table.
    #[must_use]
    pub fn wants(&self) -> Option<Access> {
        self.detail.as_ref().and_then(|d| d.work.as_ref()).and_then(|w| w.want)
    }
}
