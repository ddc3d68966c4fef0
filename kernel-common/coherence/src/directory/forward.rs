//! What a node does with the home's orders: Fwd, Inv, Grant, PutAck.

use super::record::{Directory, State, Successor};
use super::{Body, Message};
use crate::{Access, Cx, Mutation, NodeId, Nodes, Sink};

impl<const W: usize> Directory<W> {
    /// An order of the home, in the home's order.
    pub(super) fn on_order<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, body: Body<W>) {
        match body {
            // What was ordered for the dead stays here: the home finds it when it rebuilds the entry.
            Body::FwdGetS { to } => {
                if let Some(to) = cx.present(to) {
                    self.on_fwd_get_s(cx, to);
                }
            }
            Body::FwdGetM { to, acks } => {
                if let Some(to) = cx.present(to) {
                    self.on_successor(cx, Successor::Give(to, acks));
                }
            }
            Body::Inv { to } => {
                if let Some(to) = cx.present(to) {
                    self.on_successor(cx, Successor::Drop(to));
                }
            }
            Body::Grant { acks } if self.state == State::Upgrading => self.granted(cx, acks),
            Body::PutAck => self.left(cx),
            Body::Window => self.on_window(cx),
            Body::Recall => self.on_recall(cx),
            Body::Gift => self.on_gift(cx),
            Body::Lost if self.is_asking() => self.lost(cx),
            _ => {}
        }
    }

    /// A reader's turn, after every turn that this node was given before.
    pub(super) fn on_fwd_get_s<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, to: NodeId) {
        match self.state {
            State::Exclusive => {
                self.work().readers.insert(to);
                self.settle(cx);
            }
            State::Shared | State::Owned | State::Upgrading | State::LeavingOwner => {
                self.send_copy(cx, to);
            }
            State::Reading | State::Writing | State::Collecting => {
                if cx.lacks(Mutation::ForgetsReadersWhileWaiting) {
                    return;
                }
                self.work().readers.insert(to);
            }
            _ => {}
        }
    }

    /// A writer's turn, after every turn that this node was given before.
    pub(super) fn on_successor<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        successor: Successor<W>,
    ) {
        match self.state {
            State::Shared | State::Owned | State::Exclusive => {
                self.work().successor = Some(successor);
                self.settle(cx);
            }
            State::Upgrading => {
                // Ordered before this node's own request, which goes on without a copy.
                if !cx.lacks(Mutation::UpgradesAnInvalidatedCopy) {
                    self.state = State::Writing;
                }
                self.hand_over(cx, successor);
            }
            State::Reading | State::Writing | State::Collecting => {
                if let (Successor::Drop(to), true) =
                    (successor, cx.lacks(Mutation::AcksBeforeTheReadIsDone))
                {
                    self.send(cx, to, Body::InvAck);
                    return;
                }
                self.work().successor = Some(successor);
            }
            State::LeavingOwner => {
                self.state = State::Leaving;
                match successor {
                    Successor::Give(to, acks) => self.send_page(cx, to, acks),
                    Successor::Drop(to) => self.send(cx, to, Body::InvAck),
                }
                cx.release();
            }
            State::Leaving | State::Invalid => {
                if let Successor::Drop(to) = successor {
                    self.send(cx, to, Body::InvAck);
                }
            }
            State::Storing | State::Windowed | State::Lost => {}
        }
    }

    /// Serves whoever has waited for this node's turn or hold to end.
    pub(super) fn settle<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let stable =
            matches!(self.state, State::Invalid | State::Shared | State::Owned | State::Exclusive);
        if self.is_held() || !stable {
            return;
        }
        let Some(work) = self.detail.as_mut().and_then(|d| d.work.as_mut()) else {
            return self.tidy(cx.home == cx.me());
        };
        let readers = core::mem::take(&mut work.readers);
        let successor = work.successor.take();
        if !readers.is_empty() {
            if self.state == State::Exclusive {
                self.state = State::Owned;
                cx.map(Access::Read);
            }
            for reader in readers.iter() {
                let sent = cx.sent;
                self.send_copy(cx, reader);
                cx.end_turn(sent, 1);
            }
        }
        if let Some(successor) = successor {
            self.state = State::Invalid;
            self.hand_over(cx, successor);
        }
        self.order_deferred(cx);
        self.tidy(cx.home == cx.me());
    }

    fn hand_over<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, successor: Successor<W>) {
        if !cx.lacks(Mutation::KeepsCopyAfterInvAck) {
            cx.unmap();
        }
        let sent = cx.sent;
        match successor {
            Successor::Give(to, acks) => self.send_page(cx, to, acks),
            Successor::Drop(to) => self.send(cx, to, Body::InvAck),
        }
        cx.end_turn(sent, 1);
        cx.release();
    }

    /// A reader's data, after FwdGetS or from the home at once: the last message of its miss.
    pub(super) fn send_copy<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, to: NodeId) {
        self.show_gift(cx, to);
        self.send(cx, to, Body::Data { exclusive: false, content: true, acks: Nodes::EMPTY });
    }

    fn send_page<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        to: NodeId,
        acks: Nodes<W>,
    ) {
        self.show_gift(cx, to);
        self.send(cx, to, Body::Data { exclusive: true, content: true, acks });
    }
}
