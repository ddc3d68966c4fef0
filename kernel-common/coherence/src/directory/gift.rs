//! Pages that their home hands out before they are asked for.
//!
//! A Gift is a page that its home has alone and sends to a node that will need it: one that a thread is
//! on its way to. That node may have asked for the page at the same time. Its request arrives after the
//! home has given the page away, and perhaps after it has taken it back: ordered then, it would send
//! the page to a node that waits for nothing. So the home drops what a node asks for until it knows that
//! the Gift has come: links are in order, and whatever was asked for before that is served.
//!
//! The home knows it from an Accepted, or from the page itself when that comes from there. A node that
//! expected the Gift, so that it had asked for nothing, says Accepted only if it asks for the page
//! again: a page that goes out and comes home costs no message for it.

use super::record::{Directory, Gift, State};
use super::{Body, Message};
use crate::{Access, Action, Cx, Mutation, NodeId, Nodes, Policy, Sink};

impl<const W: usize> Directory<W> {
    /// At the home: whether a page can be given to a node that has not asked for it: it is here alone,
    /// and nobody waits for it. Not once the entry has been rebuilt after a death: the other node might
    /// not know its epoch.
    #[must_use]
    pub fn may_be_given(&self, to: NodeId) -> bool {
        let work = self.detail.as_ref().and_then(|detail| detail.work.as_ref());
        let wanted = work.is_some_and(|work| {
            let waiting = [work.readers, work.get_s, work.get_m, work.foresighted];
            let others = waiting.iter().any(|nodes| !nodes.without(to).is_empty());
            let under_way = work.successor.is_some() || work.want.is_some() || work.recalling;
            others || under_way || work.readers.contains(to) || work.gifted.contains(to)
        });
        let quiet = self.state == State::Exclusive && !self.is_held() && !self.is_frozen();
        quiet && self.epoch == 0 && !wanted
    }

    pub(super) fn give_to<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, to: NodeId) {
        if cx.home != cx.me() || !cx.others().contains(to) || !self.may_be_given(to) {
            return;
        }
        let entry = self.entry(cx);
        entry.owner = Some(to);
        entry.exclusive = true;
        entry.sharers = Nodes::EMPTY;
        let work = self.work();
        for requests in [&mut work.get_s, &mut work.get_m, &mut work.upgrades] {
            requests.remove(to);
        }
        work.gifted.insert(to);
        self.state = State::Invalid;
        cx.unmap();
        self.send(cx, to, Body::Gift);
        cx.release();
    }

    /// At the home: whether a request is one that a Gift has served.
    pub(super) fn is_served_by_gift<S>(
        &self,
        cx: &Cx<'_, S, W>,
        from: NodeId,
        body: Body<W>,
    ) -> bool {
        let work = self.detail.as_ref().and_then(|detail| detail.work.as_ref());
        work.is_some_and(|work| work.gifted.contains(from))
            && matches!(body, Body::GetS { .. } | Body::GetM { .. })
            && !cx.lacks(Mutation::OrdersServedRequests)
    }

    /// At the home: a Gift has come to this node.
    pub(super) fn on_accepted<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, from: NodeId) {
        if let Some(work) = self.detail.as_mut().and_then(|detail| detail.work.as_mut()) {
            work.gifted.remove(from);
            self.tidy(cx.home == cx.me());
        }
    }

    /// At the home: a message with the page shows that its sender has had it.
    pub(super) fn shows_gift<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        content: bool,
    ) {
        if content && cx.home == cx.me() {
            self.on_accepted(cx, from);
        }
    }

    /// The page goes to a node; the home sees by that that it was here.
    pub(super) fn show_gift<S>(&mut self, cx: &Cx<'_, S, W>, to: NodeId) {
        if to == cx.home && self.gift == Gift::Owed {
            self.gift = Gift::None;
        }
    }

    /// Before a request: the home has to know that it is not one that a Gift has served.
    pub(super) fn own_up<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if self.gift == Gift::Owed {
            self.gift = Gift::None;
            self.send(cx, cx.home, Body::Accepted);
        }
    }

    /// The page is on its way. Whoever needs it here waits for it and does not ask.
    pub(super) fn expect_gift<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let home_is_there = cx.home != cx.me() && !cx.local.dead.contains(cx.home);
        match self.state {
            State::Invalid if home_is_there && !self.is_frozen() => {
                self.work().want = Some(Access::Write);
                self.state = State::Writing;
                self.gift = Gift::Expected;
            }
            // Asked for meanwhile, and come before the Gift that it is served by.
            State::Exclusive => self.fault(cx, Access::Write),
            _ => {}
        }
    }

    /// The page came, whether it was asked for or not: its home knows this node as its owner.
    pub(super) fn on_gift<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let expected = self.gift == Gift::Expected;
        self.gift = Gift::Owed;
        if !expected {
            self.own_up(cx);
        }
        let waiting = matches!(self.state, State::Reading | State::Writing);
        let unasked = matches!(self.state, State::Invalid | State::Leaving);
        if self.is_frozen() || !(waiting || unasked && !cx.lacks(Mutation::DropsGifts)) {
            return;
        }
        cx.push(Action::Install { page: cx.page });
        let work = self.work();
        work.acks = Nodes::EMPTY;
        work.acks_wanted = Nodes::EMPTY;
        let is_wanted = work.want.is_some();
        self.state = State::Exclusive;
        if is_wanted {
            self.arrived(cx);
        } else {
            // Nobody's access would end a hold.
            cx.grant(Access::Write);
            self.settle(cx);
        }
    }
}
