//! A page that ping-pongs, in a frame of the coherent window; see the same module of `voting`.
//!
//! While a page is in the window, the sharers of its entry are the nodes that map the window frame.

use super::record::{Directory, State};
use super::{Body, Message};
use crate::{Access, Action, Cx, NodeId, Nodes, Sink, Time};

impl<const W: usize> Directory<W> {
    /// At the home: whether the page is in the window, and a node maps it there.
    #[must_use]
    pub fn is_used_in_window(&self, by: NodeId) -> bool {
        let detail = self.detail.as_ref().filter(|_| self.state == State::Windowed);
        detail.is_some_and(|detail| detail.entry.sharers.contains(by))
    }

    /// Moves a page that is writable here into the window; only its home does that.
    pub(super) fn promote<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        // Once the home has ordered somebody after itself, that node may have been sent others to
        // serve; only requests that are not ordered yet can be answered with the window.
        let committed = self
            .detail
            .as_ref()
            .and_then(|d| d.work.as_ref())
            .is_some_and(|work| work.successor.is_some() || !work.readers.is_empty());
        if cx.home != cx.me() || self.state != State::Exclusive || committed || self.is_frozen() {
            return;
        }
        self.entry(cx).sharers = Nodes::EMPTY;
        self.state = State::Windowed;
        self.detail().held_until = Time(0);
        cx.unmap();
        cx.push(Action::ToWindow { page: cx.page });
        self.order_deferred(cx);
    }

    /// A thread of this node uses the window frame.
    pub(super) fn use_window<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if cx.home == cx.me() {
            let me = cx.me();
            self.detail().entry.sharers.insert(me);
        }
        cx.push(Action::MapWindow { page: cx.page });
        cx.push(Action::Wake { page: cx.page, access: Access::Write });
    }

    /// A node asks for a page that is in the window.
    pub(super) fn admit<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, from: NodeId) {
        self.detail().entry.sharers.insert(from);
        self.send(cx, from, Body::Window);
    }

    /// The home says that the page is in the window.
    pub(super) fn on_window<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if !matches!(self.state, State::Reading | State::Writing) {
            return;
        }
        self.state = State::Windowed;
        if let Some(detail) = self.detail.as_mut() {
            detail.work = None;
        }
        self.use_window(cx);
        self.tidy(false);
    }

    /// This node's mapping of the window frame goes unused.
    pub(super) fn idle<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if self.state != State::Windowed {
            return;
        }
        cx.unmap();
        if cx.home == cx.me() {
            let me = cx.me();
            self.on_leave(cx, me);
        } else {
            self.state = State::Invalid;
            self.send(cx, cx.home, Body::Leave);
        }
    }

    /// At the home: asks all others to leave.
    pub(super) fn retreat<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if self.state != State::Windowed || cx.home != cx.me() {
            return;
        }
        let me = cx.me();
        let others = self.detail().entry.sharers.without(me);
        if others.is_empty() {
            return self.cool(cx);
        }
        self.work().recalling = true;
        for user in others.iter() {
            self.send(cx, user, Body::Recall);
        }
    }

    /// A user has unmapped the window frame.
    pub(super) fn on_leave<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, from: NodeId) {
        if self.state == State::Windowed && cx.home == cx.me() {
            self.detail().entry.sharers.remove(from);
            self.cool(cx);
        }
    }

    pub(super) fn on_recall<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if self.state == State::Windowed && cx.home != cx.me() {
            self.idle(cx);
        }
    }

    /// Takes the page back when at most one node uses it.
    pub(super) fn cool<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let me = cx.me();
        let users = self.detail().entry.sharers;
        if users.len() > 1 {
            return;
        }
        if let Some(user) = users.without(me).first() {
            if !core::mem::replace(&mut self.work().recalling, true) {
                self.send(cx, user, Body::Recall);
            }
            return;
        }
        if users.contains(me) {
            cx.unmap();
        }
        self.state = State::Exclusive;
        let entry = &mut self.detail().entry;
        entry.sharers = Nodes::EMPTY;
        entry.owner = Some(me);
        entry.exclusive = true;
        self.work().recalling = false;
        cx.push(Action::FromWindow { page: cx.page });
        self.settle(cx);
    }
}
