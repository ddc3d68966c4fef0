//! The home's side: one order for all requests of a page.

use super::record::{Directory, Entry, State, Successor};
use super::{Body, Message};
use crate::{Action, Cx, Deaths, Mutation, NodeId, Nodes, Sink};

impl<const W: usize> Directory<W> {
    /// The directory entry. A home without one is either the exclusive owner or knows the page as
    /// untouched.
    pub(super) fn entry<S>(&mut self, cx: &Cx<'_, S, W>) -> &mut Entry<W> {
        let me = cx.me();
        if self.detail.is_none() && self.state == State::Exclusive {
            let entry = &mut self.detail().entry;
            entry.owner = Some(me);
            entry.exclusive = true;
        }
        let state = self.state;
        let entry = &mut self.detail().entry;
        if state == State::Exclusive && entry.owner.is_none() {
            entry.owner = Some(me);
            entry.exclusive = true;
        }
        entry
    }

    /// A request of another node.
    pub(super) fn on_request<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        body: Body<W>,
    ) {
        if self.is_frozen() || self.is_served_by_gift(cx, from, body) {
            return;
        }
        if self.state == State::Lost {
            if !matches!(body, Body::Put { .. }) {
                self.send(cx, from, Body::Lost);
            }
            return;
        }
        match body {
            Body::GetS { deaths } => {
                let disturbs = self.state == State::Exclusive && self.is_held();
                if self.must_wait(cx, from, deaths) || disturbs {
                    self.work().get_s.insert(from);
                } else {
                    self.order_read(cx, from);
                }
            }
            Body::GetM { upgrade, deaths } => {
                let copy = matches!(self.state, State::Shared | State::Owned | State::Exclusive);
                if self.must_wait(cx, from, deaths) || (copy && self.is_held()) {
                    let work = self.work();
                    work.get_m.insert(from);
                    if upgrade {
                        work.upgrades.insert(from);
                    }
                } else {
                    self.order_write(cx, from, upgrade);
                }
            }
            Body::Put { content } => self.on_put(cx, from, content),
            _ => {}
        }
    }

    /// Whether a request waits whatever the hold: for a write-back, or for the news of a death.
    fn must_wait<S>(&mut self, cx: &Cx<'_, S, W>, from: NodeId, deaths: Option<Deaths<W>>) -> bool {
        let news = deaths.is_some_and(|deaths| cx.is_news(&deaths));
        let foresighted = news && !cx.lacks(Mutation::OrdersBeforeTheNews);
        if foresighted {
            self.work().foresighted.insert(from);
        }
        let recalling =
            self.detail.as_ref().and_then(|d| d.work.as_ref()).is_some_and(|w| w.recalling);
        foresighted || recalling || self.state == State::Storing
    }

    /// Orders what waited for the end of a hold, a write-back, or for the news of a death.
    pub(super) fn order_deferred<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let Some(work) = self.detail.as_mut().and_then(|d| d.work.as_mut()) else { return };
        let early = work.foresighted;
        let get_s = work.get_s.minus(&early);
        let get_m = work.get_m.minus(&early);
        let upgrades = work.upgrades.minus(&early);
        work.get_s = work.get_s.intersection(&early);
        work.get_m = work.get_m.intersection(&early);
        work.upgrades = work.upgrades.intersection(&early);
        for reader in get_s.iter() {
            self.order_read(cx, reader);
        }
        for writer in get_m.iter() {
            self.order_write(cx, writer, upgrades.contains(writer));
        }
    }

    /// Brings stored content back into a frame of the home, which answers for it from then on.
    fn load<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let me = cx.me();
        let entry = self.entry(cx);
        if entry.owner.is_some() || !entry.stored {
            return;
        }
        entry.stored = false;
        entry.owner = Some(me);
        entry.exclusive = entry.sharers.is_empty();
        if !entry.exclusive {
            entry.sharers.insert(me);
        }
        self.state = if entry.exclusive { State::Exclusive } else { State::Owned };
        cx.push(Action::Fill { page: cx.page });
    }

    /// A reader's turn: one message, Data or FwdGetS. With two nodes it is Data.
    fn order_read<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, reader: NodeId) {
        let sent = cx.sent;
        self.give_read(cx, reader);
        cx.end_turn(sent, 1);
    }

    fn give_read<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, reader: NodeId) {
        if self.state == State::Windowed {
            return self.admit(cx, reader);
        }
        self.load(cx);
        let me = cx.me();
        let entry = self.entry(cx);
        let Some(owner) = entry.owner else {
            entry.owner = Some(reader);
            entry.exclusive = true;
            return self.send(
                cx,
                reader,
                Body::Data { exclusive: true, content: false, acks: Nodes::EMPTY },
            );
        };
        if owner == reader {
            return;
        }
        entry.exclusive = false;
        entry.sharers.insert(owner);
        if !cx.lacks(Mutation::ForgetsASharer) {
            entry.sharers.insert(reader);
        }
        if owner == me {
            self.on_fwd_get_s(cx, reader);
        } else {
            debug_assert!(cx.local.members.len() > 2, "with two nodes nothing is forwarded");
            let to = cx.addressee(reader);
            self.send(cx, owner, Body::FwdGetS { to });
        }
    }

    /// A writer's turn: one of Data, FwdGetM and Grant, and an Inv for each other copy. With two
    /// nodes there is no Inv.
    fn order_write<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        writer: NodeId,
        upgrade: bool,
    ) {
        let (sent, most) = (cx.sent, self.most_of_a_write(cx, writer));
        self.give_write(cx, writer, upgrade);
        cx.end_turn(sent, most);
    }

    /// Messages of the home for a write, at most: one that makes it the writer's turn, and an Inv
    /// for each copy elsewhere. With two nodes there is no third that could have one.
    fn most_of_a_write<S>(&self, cx: &Cx<'_, S, W>, writer: NodeId) -> usize {
        let entry = self.detail.as_ref().map(|detail| &detail.entry);
        let copies = entry.map_or(0, |entry| entry.sharers.without(writer).len());
        if cx.local.members.len() <= 2 { 1 } else { 1 + copies }
    }

    fn give_write<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        writer: NodeId,
        upgrade: bool,
    ) {
        if self.state == State::Windowed {
            return self.admit(cx, writer);
        }
        self.load(cx);
        let me = cx.me();
        let entry = self.entry(cx);
        let owner = entry.owner;
        let upgrades = upgrade && entry.sharers.contains(writer);
        if owner == Some(writer) && !upgrades {
            return;
        }
        let mut others = entry.sharers.without(writer);
        entry.owner = Some(writer);
        entry.exclusive = true;
        entry.sharers = Nodes::EMPTY;
        let supplier = owner.filter(|_| !upgrades);
        if let Some(supplier) = supplier {
            others.remove(supplier);
        }
        // The home's own copy goes at once, unless the home still waits for it.
        if others.contains(me) {
            if matches!(self.state, State::Shared | State::Owned) {
                others.remove(me);
                self.state = State::Invalid;
                self.drop_copy(cx);
            } else {
                self.on_successor(cx, Successor::Drop(writer));
            }
        }
        let acks = others;
        match supplier {
            _ if upgrades => self.send(cx, writer, Body::Grant { acks }),
            Some(supplier) if supplier == me => {
                self.on_successor(cx, Successor::Give(writer, acks));
            }
            Some(supplier) => {
                debug_assert!(cx.local.members.len() > 2, "with two nodes nothing is forwarded");
                let to = cx.addressee(writer);
                self.send(cx, supplier, Body::FwdGetM { to, acks });
            }
            None => self.send(cx, writer, Body::Data { exclusive: true, content: false, acks }),
        }
        self.invalidate(cx, acks, writer);
    }

    fn invalidate<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        copies: Nodes<W>,
        writer: NodeId,
    ) {
        let to = cx.addressee(writer);
        for node in copies.without(cx.me()).iter() {
            self.send(cx, node, Body::Inv { to });
        }
    }

    /// The home's own turn as a reader: FwdGetS, or nothing.
    pub(super) fn order_own_read<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let sent = cx.sent;
        self.take_read(cx);
        cx.end_turn(sent, 1);
    }

    fn take_read<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let me = cx.me();
        self.load(cx);
        let entry = self.entry(cx);
        match entry.owner {
            None => {
                entry.owner = Some(me);
                entry.exclusive = true;
                cx.push(Action::Fill { page: cx.page });
                self.state = State::Exclusive;
                self.arrived(cx);
            }
            Some(owner) if owner == me => self.arrived(cx),
            Some(owner) => {
                entry.exclusive = false;
                entry.sharers.insert(owner);
                entry.sharers.insert(me);
                let to = cx.addressee(me);
                self.send(cx, owner, Body::FwdGetS { to });
            }
        }
    }

    /// The home's own turn as a writer: FwdGetM, unless it has the content, and an Inv for each other
    /// copy. With two nodes that is one message.
    pub(super) fn order_own_write<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let (sent, most) = (cx.sent, self.most_of_a_write(cx, cx.me()));
        self.take_write(cx);
        cx.end_turn(sent, most);
    }

    fn take_write<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let me = cx.me();
        self.load(cx);
        let entry = self.entry(cx);
        let owner = entry.owner;
        let mut acks = entry.sharers.without(me);
        entry.owner = Some(me);
        entry.exclusive = true;
        entry.sharers = Nodes::EMPTY;
        let has_copy = matches!(self.state, State::Upgrading | State::Owned | State::Exclusive);
        match owner {
            Some(owner) if owner != me && !has_copy => {
                acks.remove(owner);
                let to = cx.addressee(me);
                self.send(cx, owner, Body::FwdGetM { to, acks });
                self.invalidate(cx, acks, me);
            }
            _ => {
                if owner.is_none() {
                    cx.push(Action::Fill { page: cx.page });
                }
                self.invalidate(cx, acks, me);
                self.granted(cx, acks);
            }
        }
    }

    /// A node gave its copy up; an owner's comes home.
    fn on_put<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, from: NodeId, content: bool) {
        let me = cx.me();
        let state = self.state;
        self.shows_gift(cx, from, content);
        let entry = self.entry(cx);
        entry.sharers.remove(from);
        if entry.owner == Some(from) && content {
            let alone = entry.sharers.without(me).is_empty();
            entry.owner = Some(me);
            entry.exclusive = alone && state != State::Reading;
            if entry.exclusive {
                entry.sharers = Nodes::EMPTY;
            } else {
                entry.sharers.insert(me);
            }
            match state {
                // The content comes with the answer to the home's own request.
                State::Reading => {}
                _ => {
                    if state == State::Invalid {
                        cx.push(Action::Install { page: cx.page });
                    }
                    self.state = if alone { State::Exclusive } else { State::Owned };
                }
            }
        }
        self.send(cx, from, Body::PutAck);
        self.tidy(true);
    }

    /// The home's copy is in the backing store.
    pub(super) fn stored<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if self.state != State::Storing {
            return;
        }
        let me = cx.me();
        self.state = State::Invalid;
        let entry = self.entry(cx);
        entry.owner = None;
        entry.exclusive = false;
        entry.stored = true;
        entry.sharers.remove(me);
        cx.release();
        self.order_deferred(cx);
        let want = self.detail.as_mut().and_then(|d| d.work.as_mut()).and_then(|w| w.want.take());
        if let Some(access) = want {
            self.fault_again(cx, access);
        }
        self.tidy(true);
    }
}
