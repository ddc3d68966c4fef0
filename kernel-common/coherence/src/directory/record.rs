//! What a node keeps per page.

use alloc::boxed::Box;

use super::{Body, Message};
use crate::{Access, Action, Cx, Failure, NodeId, Nodes, Policy, Sink, Time};

/// The state of a node's copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// No copy.
    #[default]
    Invalid,
    /// A read-only copy; somebody else answers for the content.
    Shared,
    /// A read-only copy, and this node answers for the content.
    Owned,
    /// The only copy, writable.
    Exclusive,
    /// Asked for a copy.
    Reading,
    /// Asked for the page.
    Writing,
    /// Asked for the right to write a copy that is here; not yet this node's turn.
    Upgrading,
    /// The content is here and it is this node's turn; some InvAcks are missing.
    Collecting,
    /// Gave a plain copy up; the home has yet to confirm.
    Leaving,
    /// Sent the content home; it is kept for requests that the home forwarded before.
    LeavingOwner,
    /// Home only: the content is on its way to the backing store.
    Storing,
    /// In the coherent window; no protocol.
    Windowed,
    /// The content died with a node.
    Lost,
}

/// What a node knows of a page that its home gives it unasked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Gift {
    /// Nothing that the home does not know.
    #[default]
    None,
    /// It is on its way, and this node has asked for nothing.
    Expected,
    /// It has come, and the home has not been told.
    Owed,
}

/// Who has the page, as its home orders it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Entry<const W: usize> {
    /// Every holder of a read-only copy; empty when the owner is exclusive.
    pub(super) sharers: Nodes<W>,
    /// Who answers for the content.
    pub(super) owner: Option<NodeId>,
    /// The owner is the only holder.
    pub(super) exclusive: bool,
    /// The content is in the home's backing store.
    pub(super) stored: bool,
}

/// A page with a directory entry, a hold or a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Detail<const W: usize> {
    /// The directory entry; used by the home only.
    pub(super) entry: Entry<W>,
    /// When the hold ends; zero without a hold.
    pub(super) held_until: Time,
    pub(super) work: Option<Box<Work<W>>>,
    pub(super) recovery: Option<Box<super::recovery::Recovery<W>>>,
}

/// Who gets the page next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Successor<const W: usize> {
    /// The content stays or goes elsewhere; only this copy has to go, for this writer.
    Drop(NodeId),
    /// The page goes to this writer, who waits for these InvAcks.
    Give(NodeId, Nodes<W>),
}

/// A transaction under way, or requests that wait for its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Work<const W: usize> {
    /// InvAcks to wait for, once known.
    pub(super) acks_wanted: Nodes<W>,
    /// InvAcks that came.
    pub(super) acks: Nodes<W>,
    /// Readers whose turn comes after this node's.
    pub(super) readers: Nodes<W>,
    /// Home only: requests that wait for the end of a hold or a write-back.
    pub(super) get_s: Nodes<W>,
    /// Home only: as `get_s`.
    pub(super) get_m: Nodes<W>,
    /// Home only: who of `get_m` has a copy.
    pub(super) upgrades: Nodes<W>,
    /// Home only: who was given the page and has not said that it has come. What they asked for
    /// meanwhile they have.
    pub(super) gifted: Nodes<W>,
    /// Home only: requests of nodes that know of a death earlier than the home.
    pub(super) foresighted: Nodes<W>,
    /// Who gets the page after this node and the readers.
    pub(super) successor: Option<Successor<W>>,
    /// Home only: the last user was asked to leave the window.
    pub(super) recalling: bool,
    /// What the waiting threads need.
    pub(super) want: Option<Access>,
}

impl<const W: usize> Default for Detail<W> {
    fn default() -> Self {
        Self { entry: Entry::default(), held_until: Time(0), work: None, recovery: None }
    }
}

/// A node's record of a page: 16 bytes while it is nobody else's business.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Directory<const W: usize = 1> {
    pub(super) detail: Option<Box<Detail<W>>>,
    pub(super) generation: u32,
    pub(super) state: State,
    pub(super) epoch: u8,
    pub(super) gift: Gift,
}

const _: () = assert!(size_of::<Directory<1>>() <= 16);
const _: () = assert!(size_of::<Directory<1>>() + size_of::<Detail<1>>() <= 64 + 8);
const _: () = assert!(size_of::<Directory<16>>() + size_of::<Detail<16>>() <= 64 + 8 * 16);

impl<const W: usize> Directory<W> {
    /// The state of the copy.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// How often the page's home has asked everybody what they have of it, after deaths.
    #[must_use]
    pub fn epoch(&self) -> u8 {
        self.epoch
    }

    pub(super) fn detail(&mut self) -> &mut Detail<W> {
        self.detail.get_or_insert_default()
    }

    pub(super) fn work(&mut self) -> &mut Work<W> {
        self.detail().work.get_or_insert_default()
    }

    pub(super) fn is_held(&self) -> bool {
        self.detail.as_ref().is_some_and(|d| d.held_until != Time(0))
    }

    /// Whether a transaction of this node's own is under way.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.state, State::Reading | State::Writing | State::Upgrading | State::Collecting)
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.detail.as_ref().is_some_and(|d| d.recovery.is_some())
    }

    pub(super) fn send<S: Sink<Message<W>>>(
        &self,
        cx: &mut Cx<'_, S, W>,
        to: NodeId,
        body: Body<W>,
    ) {
        cx.send(to, Message { epoch: self.epoch, body });
    }

    /// Drops the copy; what the frame holds afterwards is worthless.
    pub(super) fn drop_copy<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        cx.unmap();
        cx.release();
    }

    pub(super) fn start_hold<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if cx.local.config.hold_ns > 0 {
            self.detail().held_until = cx.hold();
        }
    }

    pub(super) fn end_hold<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if let Some(detail) = self.detail.as_mut() {
            detail.held_until = Time(0);
            self.settle(cx);
        }
    }

    /// Frees what a quiet page does not need.
    pub(super) fn tidy(&mut self, at_home: bool) {
        let Some(detail) = self.detail.as_mut() else { return };
        if detail.work.as_deref() == Some(&Work::default()) {
            detail.work = None;
        }
        let quiet = detail.work.is_none() && detail.held_until == Time(0) && !self.is_frozen();
        if quiet && (!at_home || self.state == State::Exclusive) {
            self.detail = None;
        }
    }
}

impl<const W: usize> Policy<W> for Directory<W> {
    type Message = Message<W>;

    fn generation(&self) -> u32 {
        self.generation
    }

    fn begin(&mut self, generation: u32) {
        self.generation = generation;
    }

    fn adopt(&mut self) {
        if self.is_untouched() {
            self.state = State::Exclusive;
        }
    }

    fn is_untouched(&self) -> bool {
        // A home that has neither a copy nor an entry knows the page as untouched.
        self.state == State::Invalid && self.detail.is_none()
    }

    fn reset<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let had_copy = !matches!(
            self.state,
            State::Invalid | State::Reading | State::Writing | State::Leaving | State::Lost
        );
        let waited = self.detail.as_ref().and_then(|d| d.work.as_ref()).and_then(|w| w.want);
        *self = Self { generation: cx.page.generation, ..Self::default() };
        if had_copy {
            self.drop_copy(cx);
        }
        if let Some(access) = waited {
            cx.push(Action::Wake { page: cx.page, access });
        }
    }

    fn fault<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, access: Access) {
        match (self.state, access) {
            (State::Exclusive, _) => cx.grant(Access::Write),
            (State::Shared | State::Owned, Access::Read) => cx.grant(Access::Read),
            (State::Windowed, _) => self.use_window(cx),
            (State::Lost, _) => cx.fail(Failure::Lost),
            (State::Invalid | State::Shared | State::Owned, _) if !self.is_frozen() => {
                self.ask(cx, access);
            }
            _ => {
                let work = self.work();
                work.want = work.want.max(Some(access));
            }
        }
    }

    fn message<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        message: Message<W>,
    ) {
        if message.epoch == self.epoch {
            match message.body {
                Body::GetS { .. } | Body::GetM { .. } | Body::Put { .. } => {
                    if cx.home == cx.me() {
                        self.on_request(cx, from, message.body);
                    }
                }
                Body::PutAck
                | Body::FwdGetS { .. }
                | Body::FwdGetM { .. }
                | Body::Inv { .. }
                | Body::Grant { .. }
                | Body::Window
                | Body::Recall
                | Body::Gift
                | Body::Lost => {
                    if from == cx.home {
                        self.on_order(cx, message.body);
                    }
                }
                Body::Leave => self.on_leave(cx, from),
                Body::Hot if cx.home == cx.me() => cx.push(Action::Hot { page: cx.page }),
                Body::Accepted if cx.home == cx.me() => self.on_accepted(cx, from),
                Body::InvAck => self.on_inv_ack(cx, from),
                Body::Data { exclusive, content, acks } => {
                    self.shows_gift(cx, from, content);
                    self.on_data(cx, exclusive, content, acks);
                }
                _ => self.on_recovery(cx, from, message),
            }
        } else {
            self.on_other_epoch(cx, from, message);
        }
    }

    fn died<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, node: NodeId) {
        self.on_death(cx, node);
    }

    fn retired<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.end_hold(cx);
    }

    fn expire<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let Some(detail) = self.detail.as_ref() else { return };
        if detail.held_until != Time(0) && cx.now >= detail.held_until {
            self.end_hold(cx);
        }
    }

    fn evict<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.leave(cx);
    }

    fn give<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, to: NodeId) {
        self.give_to(cx, to);
    }

    fn expect<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.expect_gift(cx);
    }

    fn promote<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.promote(cx);
    }

    fn retreat<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.retreat(cx);
    }

    fn idle<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.idle(cx);
    }

    fn hot(&self) -> Message<W> {
        Message { epoch: self.epoch, body: Body::Hot }
    }

    fn written_back<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.stored(cx);
    }

    fn rights(&self) -> Option<Access> {
        match self.state {
            State::Exclusive | State::Windowed => Some(Access::Write),
            State::Shared | State::Owned | State::Upgrading => Some(Access::Read),
            _ => None,
        }
    }

    fn is_busy(&self) -> bool {
        self.is_frozen()
            || !matches!(
                self.state,
                State::Invalid
                    | State::Shared
                    | State::Owned
                    | State::Exclusive
                    | State::Windowed
                    | State::Lost
            )
            || self.detail.as_ref().is_some_and(|d| d.work.is_some())
    }

    fn state_name(&self) -> &'static str {
        match self.state {
            State::Invalid => "Invalid",
            State::Shared => "Shared",
            State::Owned => "Owned",
            State::Exclusive => "Exclusive",
            State::Reading => "Reading",
            State::Writing => "Writing",
            State::Upgrading => "Upgrading",
            State::Collecting => "Collecting",
            State::Leaving => "Leaving",
            State::LeavingOwner => "Leaving Owner",
            State::Storing => "Storing",
            State::Windowed => "Windowed",
            State::Lost => "Lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::{Agent, Config, Event, Home, ObjectId, PageKey};

    #[test]
    fn a_page_that_nobody_else_uses_takes_sixteen_bytes() {
        let config = Config { node: NodeId(0), home: Home::At(NodeId(0)), hold_ns: 10 };
        let mut agent = Agent::<Directory<1>>::new(config, Nodes::first_n(2));
        let (page, mut actions) = (PageKey::new(ObjectId(1), 0), Vec::new());
        let write = Event::Fault { page, access: Access::Write };
        agent.handle(Time(1), write, &mut actions);
        agent.handle(Time(2), Event::Retired { page }, &mut actions);
        let record = agent.record(page).unwrap();
        assert_eq!(record.state(), State::Exclusive);
        assert!(record.detail.is_none(), "nothing but the record");
        assert_eq!(size_of_val(record), 16);
    }
}
