//! A node's own transactions: asking, what comes back, and leaving.

use super::record::{Directory, State};
use super::{Body, Message};
use crate::{Access, Action, Cx, Failure, Mutation, NodeId, Nodes, Sink};

impl<const W: usize> Directory<W> {
    /// Asks the home for what a fault needs.
    pub(super) fn ask<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, access: Access) {
        if cx.local.dead.contains(cx.home) {
            return cx.fail(Failure::HomeDied);
        }
        // What waits for a hold is older than this request.
        self.end_hold(cx);
        if self.is_frozen() || self.state == State::Storing {
            let work = self.work();
            work.want = work.want.max(Some(access));
            return;
        }
        let has_copy = matches!(self.state, State::Shared | State::Owned);
        if has_copy && access == Access::Read {
            return cx.grant(Access::Read);
        }
        let at_home = cx.home == cx.me();
        let work = self.work();
        work.want = Some(access);
        work.acks = Nodes::EMPTY;
        work.acks_wanted = Nodes::EMPTY;
        let deaths = cx.deaths();
        self.own_up(cx);
        if access == Access::Read {
            self.state = State::Reading;
            if at_home {
                self.order_own_read(cx);
            } else {
                self.send(cx, cx.home, Body::GetS { deaths });
            }
        } else {
            self.state = if has_copy { State::Upgrading } else { State::Writing };
            if at_home {
                self.order_own_write(cx);
            } else {
                self.send(cx, cx.home, Body::GetM { upgrade: has_copy, deaths });
            }
        }
    }

    /// The page came.
    pub(super) fn on_data<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        exclusive: bool,
        content: bool,
        acks: Nodes<W>,
    ) {
        if !matches!(self.state, State::Reading | State::Writing) {
            return;
        }
        let page = cx.page;
        cx.push(if content { Action::Install { page } } else { Action::Fill { page } });
        if self.state == State::Reading {
            self.read_done(cx, exclusive);
        } else {
            self.work().acks_wanted = acks.intersection(&cx.others());
            self.state = State::Collecting;
            self.collect(cx);
        }
    }

    /// A copy is here and may be used.
    pub(super) fn read_done<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        exclusive: bool,
    ) {
        let at_home = cx.home == cx.me();
        self.state = if exclusive {
            State::Exclusive
        } else if at_home && self.entry(cx).owner == Some(cx.me()) {
            // The owner's Put overtook its answer.
            State::Owned
        } else {
            State::Shared
        };
        let want = self.work().want.take();
        if want == Some(Access::Write) && !exclusive {
            self.settle(cx);
            self.fault_again(cx, Access::Write);
        } else {
            self.arrived(cx);
        }
    }

    /// Everything that the waiting threads need is here.
    pub(super) fn arrived<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.work().want = None;
        let writable = self.state == State::Exclusive;
        cx.grant(if writable { Access::Write } else { Access::Read });
        self.start_hold(cx);
        self.settle(cx);
    }

    pub(super) fn fault_again<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        access: Access,
    ) {
        crate::Policy::fault(self, cx, access);
    }

    /// A sharer dropped its copy for this node.
    pub(super) fn on_inv_ack<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, from: NodeId) {
        if matches!(self.state, State::Writing | State::Upgrading | State::Collecting) {
            self.work().acks.insert(from);
            self.collect(cx);
        }
    }

    /// It is this node's turn with the copy that it has.
    pub(super) fn granted<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, acks: Nodes<W>) {
        self.state = State::Collecting;
        self.work().acks_wanted = acks.intersection(&cx.others());
        self.collect(cx);
    }

    /// Ends a write once every InvAck is here.
    fn collect<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let state = self.state;
        let work = self.work();
        let all = work.acks_wanted.is_subset(&work.acks) || cx.lacks(Mutation::WritesBeforeInvAcks);
        if state == State::Collecting && all {
            work.acks = Nodes::EMPTY;
            work.acks_wanted = Nodes::EMPTY;
            self.state = State::Exclusive;
            self.arrived(cx);
        }
    }

    /// Gives the copy up to free its frame.
    pub(super) fn leave<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let busy = self.detail.as_ref().is_some_and(|d| d.work.is_some());
        let kept = self.is_held() || self.is_frozen() || busy || cx.local.dead.contains(cx.home);
        let owner = matches!(self.state, State::Owned | State::Exclusive);
        if kept || !(owner || self.state == State::Shared) {
            return cx.push(Action::Kept { page: cx.page });
        }
        if cx.home == cx.me() {
            cx.unmap();
            if owner {
                // Makes the entry explicit before the state stops implying it.
                self.entry(cx);
                self.state = State::Storing;
                cx.push(Action::WriteBack { page: cx.page });
            } else {
                let me = cx.me();
                self.entry(cx).sharers.remove(me);
                self.state = State::Invalid;
                cx.release();
            }
            return;
        }
        cx.unmap();
        if owner {
            self.show_gift(cx, cx.home);
        }
        self.send(cx, cx.home, Body::Put { content: owner });
        if owner {
            self.state = State::LeavingOwner;
        } else {
            self.state = State::Leaving;
            cx.release();
        }
    }

    /// The home has confirmed that this node's copy is gone.
    pub(super) fn left<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if self.state == State::LeavingOwner {
            cx.release();
        } else if self.state != State::Leaving {
            return;
        }
        self.state = State::Invalid;
        let want = self.detail.as_mut().and_then(|d| d.work.as_mut()).and_then(|w| w.want.take());
        if let Some(access) = want {
            self.fault_again(cx, access);
        }
        self.tidy(cx.home == cx.me());
    }

    /// The home says that the content died with its node.
    pub(super) fn lost<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.state = State::Lost;
        if let Some(detail) = self.detail.as_mut() {
            detail.work = None;
        }
        cx.fail(Failure::Lost);
    }
}
