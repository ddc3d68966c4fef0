//! What a node keeps per page, and the transitions that its own threads cause.

use alloc::boxed::Box;

use super::Message;
use super::answer::Answer;
use crate::{Access, Action, Cx, Failure, Mutation, NodeId, Nodes, Policy, Sink, Time};

/// The state of a node's copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Not used here (4.8).
    #[default]
    Unmapped,
    /// Used here and nowhere else (4.8).
    NotReplicated,
    /// Asked everybody; nobody has it so far (4.8).
    FetchingNotReplicated,
    /// Asked everybody; a copy came (4.8).
    FetchingValid,
    /// Asked everybody; a writer invalidated what comes (4.8).
    FetchingInvalid,
    /// An up-to-date copy, read-only.
    Shared,
    /// The only copy, writable.
    Modified,
    /// Used here, but the copy is out of date.
    Invalid,
    /// Waiting for the content (4.5).
    InvalidRead1,
    /// Waiting for the content, which a writer invalidated meanwhile (4.5).
    InvalidRead2,
    /// Waiting for votes, none against so far (4.4).
    WritingPend1,
    /// Lost the vote; waiting for the remaining votes and the rivals' Invalids (4.4, 4.7).
    WritingPend2,
    /// In the coherent window; no protocol.
    Windowed,
    /// Lost the vote; waiting for the content and the rivals' Fetch_Writes (4.4, 4.7).
    WritingRead,
}

/// A copy in the Replicated macro-state, or one with a transaction or a hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Detail<const W: usize> {
    /// The users of the page ("Multicast groups", 5.2).
    pub(super) group: Nodes<W>,
    /// When the hold ends; zero without a hold.
    pub(super) held_until: Time,
    pub(super) work: Option<Box<Work<W>>>,
    /// The latest version of the content that this node knows of: elections it has seen (D2).
    pub(super) version: u32,
    /// Whose Invalid was acknowledged last ("Owner", 5.2).
    pub(super) owner: Option<NodeId>,
    /// Whether this copy may not be dropped: it is the last elected writer's.
    pub(super) anchor: bool,
}

/// A transaction under way, or answers that wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Work<const W: usize> {
    /// When the fetch of an unmapped page, or the write, began.
    pub(super) stamp: u64,
    /// Who still has to answer the query under way.
    pub(super) waiting: Nodes<W>,
    /// Rivals of this round that were voting themselves when they voted.
    pub(super) writers: Nodes<W>,
    /// Rivals of this round that were in Writing Read when they voted.
    pub(super) readers: Nodes<W>,
    /// Whose Invalids came during this round.
    pub(super) invalids: Nodes<W>,
    /// Whose Fetch_Writes came during this round.
    pub(super) requests: Nodes<W>,
    /// Whose Fetch waits for an answer.
    pub(super) delayed: Nodes<W>,
    /// Whose Fetch_Write waits for an answer.
    pub(super) delayed_writes: Nodes<W>,
    /// Whose Invalid waits for the end of a hold.
    pub(super) acks_due: Nodes<W>,
    /// The version of the content that came with this query, if any did.
    pub(super) copied: Option<u32>,
    /// What the waiting threads need.
    pub(super) want: Option<Access>,
    /// The content here was given up by an Ack during this write.
    pub(super) stale: bool,
    /// The query went to the owner alone.
    pub(super) owner_only: bool,
    /// Somebody died before answering the fetch of an unmapped page: ask again.
    pub(super) restart: bool,
    /// The home answered: the page is in the window.
    pub(super) windowed: bool,
    /// Home only: nodes that map the window frame.
    pub(super) users: Nodes<W>,
    /// Home only: the last user was asked to leave the window.
    pub(super) recalling: bool,
    /// The content is this node's own, kept after a lost vote (D9).
    pub(super) own: bool,
    /// The group has answered with Copy_Void only, and no Invalid came since (D7).
    pub(super) void: bool,
}

impl<const W: usize> Default for Detail<W> {
    fn default() -> Self {
        Self {
            group: Nodes::EMPTY,
            held_until: Time(0),
            work: None,
            version: 0,
            owner: None,
            anchor: false,
        }
    }
}

impl<const W: usize> Default for Work<W> {
    fn default() -> Self {
        Self {
            stamp: 0,
            waiting: Nodes::EMPTY,
            writers: Nodes::EMPTY,
            readers: Nodes::EMPTY,
            invalids: Nodes::EMPTY,
            requests: Nodes::EMPTY,
            delayed: Nodes::EMPTY,
            delayed_writes: Nodes::EMPTY,
            acks_due: Nodes::EMPTY,
            copied: None,
            want: None,
            stale: false,
            owner_only: false,
            restart: false,
            windowed: false,
            users: Nodes::EMPTY,
            recalling: false,
            own: false,
            void: false,
        }
    }
}

/// A node's record of a page: 16 bytes while the page is Unmapped or Not Replicated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Voting<const W: usize = 1> {
    pub(super) detail: Option<Box<Detail<W>>>,
    pub(super) generation: u32,
    pub(super) state: State,
}

const _: () = assert!(size_of::<Voting<1>>() <= 16);
const _: () = assert!(size_of::<Voting<1>>() + size_of::<Detail<1>>() <= 64 + 8);
const _: () = assert!(size_of::<Voting<16>>() + size_of::<Detail<16>>() <= 64 + 8 * 16);

impl<const W: usize> Voting<W> {
    /// The state of the copy.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether this copy is the last elected writer's, which no eviction may drop.
    #[must_use]
    pub fn is_anchor(&self) -> bool {
        self.state == State::NotReplicated || self.detail.as_ref().is_some_and(|d| d.anchor)
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

    pub(super) fn is_writing(&self) -> bool {
        matches!(self.state, State::WritingPend1 | State::WritingPend2 | State::WritingRead)
    }

    pub(super) fn group(&self, me: NodeId) -> Nodes<W> {
        let mut group = self.detail.as_ref().map_or(Nodes::EMPTY, |d| d.group);
        if self.state != State::Unmapped {
            group.insert(me);
        }
        group
    }

    /// Starts to hold a page that arrived for a waiting thread.
    pub(super) fn start_hold<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if cx.local.config.hold_ns > 0 {
            self.detail().held_until = cx.hold();
        }
    }

    /// Drops the content; what the frame holds afterwards is worthless.
    pub(super) fn drop_copy<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        cx.unmap();
        cx.release();
        self.detail().anchor = false;
    }

    /// Asks everybody for a page that is Unmapped here (4.8).
    fn start_fetching<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, access: Access) {
        if cx.others().is_empty() && cx.deaths().is_none() {
            // On one node the protocol is off (5.2).
            self.state = State::NotReplicated;
            cx.push(Action::Fill { page: cx.page });
            cx.grant(Access::Write);
            return;
        }
        let stamp = cx.new_stamp();
        let work = self.work();
        work.stamp = stamp;
        work.want = Some(access);
        self.ask_everybody(cx);
    }

    /// Sends the fetch of an unmapped page, at first or again after a death.
    pub(super) fn ask_everybody<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let others = cx.others();
        self.state = State::FetchingNotReplicated;
        let work = self.work();
        let stamp = work.stamp;
        work.waiting = others;
        work.copied = None;
        work.windowed = false;
        work.restart = false;
        for node in others.iter() {
            cx.send(node, Message::Fetch { joining: Some(stamp) });
        }
        self.fetched(cx);
    }

    /// Asks the owner, or the group, for an up-to-date copy (4.2, 4.5, "Owner" in 5.2).
    pub(super) fn start_read<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.state = State::InvalidRead1;
        self.work().void = false;
        let others = cx.others();
        let detail = self.detail();
        let owner = detail.owner.filter(|&owner| others.contains(owner));
        let targets = match owner {
            Some(owner) => Nodes::only(owner),
            None => detail.group.intersection(&others),
        };
        self.ask(cx, targets, owner.is_some());
    }

    pub(super) fn ask<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        targets: Nodes<W>,
        owner_only: bool,
    ) {
        let work = self.work();
        work.waiting = targets;
        work.copied = None;
        work.windowed = false;
        work.owner_only = owner_only;
        for node in targets.iter() {
            cx.send(node, Message::Fetch { joining: None });
        }
        if targets.is_empty() {
            self.read_done(cx);
        }
    }

    /// Ends the hold and answers what waited for it.
    pub(super) fn end_hold<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if let Some(detail) = self.detail.as_mut() {
            detail.held_until = Time(0);
            self.settle(cx);
        }
    }

    /// Gives the waiting threads an error; what peers wait for is answered with "nothing here".
    ///
    /// The next fault asks again: a copy may have been on its way to a peer.
    pub(super) fn lose<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.flush_void(cx);
        self.state = match self.state {
            State::FetchingNotReplicated => State::Unmapped,
            _ => State::Invalid,
        };
        self.detail().work = None;
        cx.fail(Failure::Lost);
    }
}

impl<const W: usize> Policy<W> for Voting<W> {
    type Message = Message<W>;

    fn generation(&self) -> u32 {
        self.generation
    }

    fn begin(&mut self, generation: u32) {
        self.generation = generation;
    }

    fn adopt(&mut self) {
        if self.is_untouched() {
            self.state = State::NotReplicated;
        }
    }

    fn is_untouched(&self) -> bool {
        self.state == State::Unmapped
    }

    fn reset<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let had_copy = self.rights().is_some();
        let waited = self.detail.as_ref().and_then(|d| d.work.as_ref()).and_then(|w| w.want);
        *self = Self { generation: cx.page.generation, ..Self::default() };
        if had_copy {
            cx.unmap();
            cx.release();
        }
        if let Some(access) = waited {
            cx.push(Action::Wake { page: cx.page, access });
        }
    }

    fn fault<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, access: Access) {
        match (self.state, access) {
            (State::NotReplicated | State::Modified, _) => cx.grant(Access::Write),
            (State::Windowed, _) => self.use_window(cx),
            (State::Shared, Access::Read) => cx.grant(Access::Read),
            (State::Unmapped, _) => self.start_fetching(cx, access),
            (State::Shared, Access::Write) => {
                // What waits for the hold is older than this write: it gets its answer first.
                self.end_hold(cx);
                self.work().want = Some(access);
                if self.state == State::Shared {
                    self.start_write(cx);
                } else {
                    self.start_read(cx);
                }
            }
            (State::Invalid, _) => {
                self.work().want = Some(access);
                self.start_read(cx);
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
        match message {
            Message::Fetch { joining } => self.on_fetch(cx, from, joining),
            Message::FetchWrite => self.on_fetch_write(cx, from),
            Message::Invalid { stamp } => self.on_invalid(cx, from, stamp),
            Message::Copy { version, group, writing } => {
                let answer = Answer { content: true, version, replicated: true, group, writing };
                self.on_copy(cx, from, answer);
            }
            Message::CopyVoid { version, replicated, group, writing } => {
                let answer = Answer { content: false, version, replicated, group, writing };
                self.on_copy(cx, from, answer);
            }
            Message::Window => self.on_window(cx, from),
            Message::Recall => self.on_recall(cx, from),
            Message::Leave => self.on_leave(cx, from),
            Message::Hot if cx.home == cx.me() => cx.push(Action::Hot { page: cx.page }),
            Message::Hot => {}
            Message::Ack { rival } => self.on_vote(cx, from, rival, false),
            Message::Nack { rival } => self.on_vote(cx, from, rival, true),
        }
    }

    fn died<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, node: NodeId) {
        let Some(detail) = self.detail.as_mut() else { return };
        detail.group.remove(node);
        if detail.owner == Some(node) {
            detail.owner = None;
        }
        // The dead node may have been the anchor: no survivor drops its copy before a new election.
        detail.anchor |= self.state == State::Shared;
        if self.state == State::Windowed && node == cx.home {
            self.state = State::Invalid;
            return cx.unmap();
        }
        let Some(work) = detail.work.as_mut() else { return };
        let was_asked = work.waiting.remove(node);
        for set in [
            &mut work.writers,
            &mut work.readers,
            &mut work.invalids,
            &mut work.requests,
            &mut work.delayed,
            &mut work.delayed_writes,
            &mut work.acks_due,
            &mut work.users,
        ] {
            set.remove(node);
        }
        let answered = was_asked && work.waiting.is_empty();
        match self.state {
            State::FetchingNotReplicated | State::FetchingValid | State::FetchingInvalid
                if was_asked =>
            {
                // It may have written without this node's vote, and never said so.
                work.restart = true;
                self.fetched(cx);
            }
            State::InvalidRead1 | State::InvalidRead2 if was_asked => {
                if !work.owner_only {
                    // Its answer might have been the latest content.
                    self.state = State::InvalidRead2;
                }
                if answered {
                    self.read_done(cx);
                }
            }
            State::Windowed => self.cool(cx),
            State::WritingPend1 | State::WritingPend2 => self.voted(cx),
            State::WritingRead => {
                work.stale |= was_asked && !work.own;
                self.reread(cx);
            }
            _ => self.settle(cx),
        }
    }

    fn retired<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.end_hold(cx);
    }

    fn expire<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let Some(detail) = self.detail.as_ref() else { return };
        if detail.held_until == Time(0) {
            return;
        }
        if cx.now < detail.held_until {
            // A timer of an earlier hold; this hold has its own.
            return;
        }
        self.end_hold(cx);
    }

    fn evict<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let droppable = self.state == State::Shared
            && !self.is_held()
            && (!self.is_anchor() || cx.lacks(Mutation::EvictsTheAnchor));
        if droppable {
            self.state = State::Invalid;
            self.drop_copy(cx);
        } else {
            cx.push(Action::Kept { page: cx.page });
        }
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
        Message::Hot
    }

    fn written_back<S: Sink<Message<W>>>(&mut self, _: &mut Cx<'_, S, W>) {}

    fn rights(&self) -> Option<Access> {
        match self.state {
            State::NotReplicated | State::Modified | State::Windowed => Some(Access::Write),
            State::Shared => Some(Access::Read),
            // The copy stays readable until it is given up by an Ack.
            State::WritingPend1 | State::WritingPend2 => self
                .detail
                .as_ref()
                .and_then(|d| d.work.as_ref())
                .is_some_and(|w| !w.stale)
                .then_some(Access::Read),
            _ => None,
        }
    }

    fn is_busy(&self) -> bool {
        self.detail.as_ref().is_some_and(|d| d.work.is_some())
    }

    fn state_name(&self) -> &'static str {
        match self.state {
            State::Unmapped => "Unmapped",
            State::NotReplicated => "Not Replicated",
            State::FetchingNotReplicated => "Fetching Not Replicated",
            State::FetchingValid => "Fetching Valid",
            State::FetchingInvalid => "Fetching Invalid",
            State::Shared => "Shared",
            State::Modified => "Modified",
            State::Invalid => "Invalid",
            State::InvalidRead1 => "Invalid Read 1",
            State::InvalidRead2 => "Invalid Read 2",
            State::Windowed => "Windowed",
            State::WritingPend1 => "Writing Pend 1",
            State::WritingPend2 => "Writing Pend 2",
            State::WritingRead => "Writing Read",
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::{Agent, Config, Event, Home, ObjectId, PageKey};

    #[test]
    fn a_page_that_is_not_replicated_takes_sixteen_bytes() {
        let config = Config { node: NodeId(0), home: Home::At(NodeId(0)), hold_ns: 10 };
        let mut agent = Agent::<Voting<1>>::new(config, Nodes::first_n(2));
        let (page, mut actions) = (PageKey::new(ObjectId(1), 0), Vec::new());
        agent.handle(Time(1), Event::Fault { page, access: Access::Write }, &mut actions);
        let void = Message::CopyVoid {
            version: 0,
            replicated: false,
            group: Nodes::EMPTY,
            writing: false,
        };
        let answer = Event::Message { from: NodeId(1), page, message: void };
        agent.handle(Time(2), answer, &mut actions);
        agent.handle(Time(3), Event::Retired { page }, &mut actions);
        let record = agent.record(page).unwrap();
        assert_eq!(record.state(), State::NotReplicated);
        assert!(record.detail.is_none(), "nothing but the record");
        assert_eq!(size_of_val(record), 16);
    }
}
