//! What a copy does when a peer asks: Fetch, Fetch_Write and Invalid, state by state.

use super::record::{State, Voting};
use super::{Message, Rival};
use crate::{Access, Cx, Mutation, NodeId, Nodes, Sink};

impl<const W: usize> Voting<W> {
    /// A peer wants the content (4.2, 4.6, 4.8).
    pub(super) fn on_fetch<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        joining: Option<u64>,
    ) {
        if let Some(stamp) = joining {
            cx.saw_stamp(stamp);
        }
        self.note_user(from);
        match self.state {
            State::NotReplicated | State::Modified => {
                self.work().delayed.insert(from);
                self.settle(cx);
            }
            State::Shared => self.answer_copy(cx, from),
            State::Windowed => self.answer_windowed(cx, from),
            State::FetchingNotReplicated | State::FetchingValid | State::FetchingInvalid => {
                // D1: of two nodes that fetch an unmapped page at once, the one whose fetch began
                // first answers after its end; the order is total, so nobody waits in a circle.
                let mine = (self.work().stamp, cx.me());
                let waits = joining.is_some_and(|theirs| mine < (theirs, from));
                if waits && !cx.lacks(Mutation::AnswersWhileFetching) {
                    self.work().delayed.insert(from);
                } else {
                    self.answer_void(cx, from);
                }
            }
            State::WritingPend1 | State::WritingPend2 | State::WritingRead
                if !cx.lacks(Mutation::AnswersFetchWhileWriting) =>
            {
                self.work().delayed.insert(from);
            }
            _ => self.answer_void(cx, from),
        }
    }

    /// A loser of a vote wants the content (4.6, 4.7).
    pub(super) fn on_fetch_write<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
    ) {
        self.note_user(from);
        match self.state {
            State::NotReplicated | State::Modified => {
                self.work().delayed_writes.insert(from);
                self.settle(cx);
            }
            State::Shared => self.answer_copy(cx, from),
            State::Windowed => self.answer_windowed(cx, from),
            State::WritingPend1 => {
                let work = self.work();
                work.requests.insert(from);
                work.delayed_writes.insert(from);
            }
            State::WritingPend2 => {
                self.work().requests.insert(from);
                if cx.lacks(Mutation::DelaysFetchWriteAfterLoss) {
                    self.work().delayed_writes.insert(from);
                } else {
                    self.answer_as_loser(cx, from);
                }
            }
            State::WritingRead => {
                self.work().requests.insert(from);
                self.answer_as_loser(cx, from);
                self.reread(cx);
            }
            _ => self.answer_void(cx, from),
        }
    }

    /// A peer wants to write (4.2, 4.3, 4.7).
    pub(super) fn on_invalid<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        stamp: u64,
    ) {
        cx.saw_stamp(stamp);
        self.note_user(from);
        match self.state {
            State::Windowed if cx.home != cx.me() => {
                cx.send(from, Message::Ack { rival: Rival::No });
            }
            State::NotReplicated | State::Modified | State::Windowed => {
                cx.send(from, Message::Nack { rival: Rival::No });
            }
            State::WritingPend1 | State::WritingPend2 | State::WritingRead => {
                self.vote(cx, from, stamp);
            }
            State::Shared => {
                self.detail().owner = Some(from);
                self.work().acks_due.insert(from);
                self.settle(cx);
            }
            state => {
                match state {
                    State::InvalidRead1 if !cx.lacks(Mutation::ReadsPastAnInvalid) => {
                        self.state = State::InvalidRead2;
                    }
                    State::FetchingNotReplicated | State::FetchingValid
                        if !cx.lacks(Mutation::FetchesPastAnInvalid) =>
                    {
                        self.state = State::FetchingInvalid;
                    }
                    _ => {}
                }
                if state != State::Unmapped {
                    self.detail().owner = Some(from);
                }
                cx.send(from, Message::Ack { rival: Rival::No });
            }
        }
    }

    /// A vote between concurrent writers: the earlier stamp wins, then the lower index (4.3).
    fn vote<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, from: NodeId, stamp: u64) {
        let me = cx.me();
        let pending = self.state != State::WritingRead;
        let rival = if pending || cx.lacks(Mutation::OneKindOfRival) {
            Rival::Voting
        } else {
            Rival::Reading
        };
        let work = self.work();
        work.void = false;
        work.invalids.insert(from);
        let mine = (work.stamp, me);
        let against =
            if cx.lacks(Mutation::NoTieBreak) { mine.0 < stamp } else { mine < (stamp, from) };
        if against && !cx.lacks(Mutation::NeverVotesAgainst) {
            cx.send(from, Message::Nack { rival });
        } else {
            let readable = pending && !work.stale;
            work.stale = true;
            work.own = false;
            if readable {
                self.drop_copy(cx);
            }
            let detail = self.detail();
            detail.anchor = false;
            detail.owner = Some(from);
            cx.send(from, Message::Ack { rival });
        }
        self.voted(cx);
    }

    /// Answers what waited for a hold or for the rivals' requests, as soon as it may be.
    pub(super) fn settle<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let held = self.is_held();
        let Some(detail) = self.detail.as_mut() else { return };
        let Some(work) = detail.work.as_mut() else {
            if self.state == State::NotReplicated && !held {
                self.detail = None;
            }
            return;
        };
        match self.state {
            State::NotReplicated | State::Modified => {
                let asking = work.delayed.union(&work.delayed_writes);
                let rivals = work.writers.union(&work.readers);
                if held || !rivals.is_subset(&asking) {
                    return;
                }
                detail.work = None;
                if asking.is_empty() {
                    return self.settle(cx);
                }
                detail.anchor = true;
                self.state = State::Shared;
                cx.map(Access::Read);
                self.answer_copies(cx, asking);
            }
            State::Shared => {
                let asking = core::mem::take(&mut work.delayed)
                    .union(&core::mem::take(&mut work.delayed_writes));
                let due = work.acks_due;
                if due.is_empty() || !held {
                    detail.work = None;
                }
                self.answer_copies(cx, asking);
                if due.is_empty() || held {
                    return;
                }
                self.state = State::Invalid;
                if !cx.lacks(Mutation::KeepsCopyAfterAck) {
                    self.drop_copy(cx);
                }
                for node in due.iter() {
                    cx.send(node, Message::Ack { rival: Rival::No });
                }
            }
            _ => {}
        }
    }

    /// Tells everybody who waits that there is nothing here.
    pub(super) fn flush_void<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let Some(work) = self.detail.as_mut().and_then(|d| d.work.as_mut()) else { return };
        let asking =
            core::mem::take(&mut work.delayed).union(&core::mem::take(&mut work.delayed_writes));
        let due = core::mem::take(&mut work.acks_due);
        for node in asking.iter() {
            self.answer_void(cx, node);
        }
        for node in due.iter() {
            cx.send(node, Message::Ack { rival: Rival::No });
        }
    }

    /// A loser still has the content until it votes for somebody (D3).
    pub(super) fn answer_as_loser<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        to: NodeId,
    ) {
        let reading = self.state == State::WritingRead;
        let work = self.work();
        if !work.stale && (!reading || work.copied.is_some()) {
            self.answer_copy(cx, to);
        } else {
            self.answer_void(cx, to);
        }
    }

    fn answer_copies<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, to: Nodes<W>) {
        for node in to.iter() {
            self.answer_copy(cx, node);
        }
    }

    fn answer_copy<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, to: NodeId) {
        let group = self.group(cx.me());
        let writing = self.is_writing();
        let version = self.detail.as_ref().map_or(0, |d| d.version);
        cx.send(to, Message::Copy { version, group, writing });
    }

    pub(super) fn answer_void<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, to: NodeId) {
        let group = self.group(cx.me());
        let version = self.detail.as_ref().map_or(0, |d| d.version);
        let replicated = !matches!(self.state, State::Unmapped | State::FetchingNotReplicated);
        let writing = self.is_writing();
        cx.send(to, Message::CopyVoid { version, replicated, group, writing });
    }

    fn note_user(&mut self, node: NodeId) {
        if self.state != State::Unmapped {
            self.detail().group.insert(node);
        }
    }
}
