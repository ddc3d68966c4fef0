//! Voting: a write's rounds, from Shared to Modified (4.3, 4.4, 4.7).

use super::record::{State, Voting};
use super::{Message, Rival};
use crate::{Access, Cx, Mutation, NodeId, Sink};

impl<const W: usize> Voting<W> {
    /// Starts a write on a Shared copy: its stamp is set now and stays until it is elected (4.3).
    pub(super) fn start_write<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let stamp = cx.new_stamp();
        let work = self.work();
        work.stamp = stamp;
        work.invalids = Default::default();
        self.start_round(cx);
    }

    /// Asks every user of the page for its vote; a round starts here (4.7).
    fn start_round<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.state = State::WritingPend1;
        let targets = self.detail().group.intersection(&cx.others());
        let work = self.work();
        work.waiting = targets;
        work.writers = Default::default();
        work.readers = Default::default();
        work.requests = Default::default();
        work.copied = None;
        work.stale = false;
        work.void = false;
        let stamp = work.stamp;
        for node in targets.iter() {
            cx.send(node, Message::Invalid { stamp });
        }
        self.voted(cx);
    }

    /// A vote on this node's write.
    pub(super) fn on_vote<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        rival: Rival,
        against: bool,
    ) {
        if !matches!(self.state, State::WritingPend1 | State::WritingPend2)
            || !self.work().waiting.remove(from)
        {
            return;
        }
        match rival {
            Rival::No => false,
            Rival::Voting => self.work().writers.insert(from),
            Rival::Reading => self.work().readers.insert(from),
        };
        if against && self.state == State::WritingPend1 {
            self.state = State::WritingPend2;
            if !cx.lacks(Mutation::DelaysFetchWriteAfterLoss) {
                // D3: a loser has nothing to wait for; its rivals do.
                let asking = core::mem::take(&mut self.work().delayed_writes);
                for node in asking.iter() {
                    self.answer_as_loser(cx, node);
                }
            }
        }
        self.voted(cx);
    }

    /// All votes may be here, and after a loss the rivals' Invalids (step 1 of a round).
    pub(super) fn voted<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let state = self.state;
        let work = self.work();
        if !work.waiting.is_empty() && !cx.lacks(Mutation::ElectsOnTheFirstVote) {
            return;
        }
        match state {
            State::WritingPend1 if work.stale && !cx.lacks(Mutation::ElectsOnTheFirstVote) => {
                // The rival that this node voted for died; what it had is with somebody else, if
                // anywhere.
                self.state = State::WritingPend2;
                self.start_reread(cx);
            }
            State::WritingPend1 => self.elected(cx),
            State::WritingPend2 if work.writers.is_subset(&work.invalids) => self.start_reread(cx),
            _ => {}
        }
    }

    /// Every user voted for this write.
    fn elected<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let me = cx.me();
        self.state = State::Modified;
        let detail = self.detail();
        detail.version = detail.version.wrapping_add(1);
        detail.anchor = true;
        detail.owner = Some(me);
        let work = self.work();
        work.want = None;
        work.stamp = 0;
        work.invalids = Default::default();
        work.requests = Default::default();
        cx.grant(Access::Write);
        self.start_hold(cx);
        self.settle(cx);
    }

    /// Fetches what the elected writer wrote, before the next try (4.4, 4.6).
    fn start_reread<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        // D9: who lost without having voted still has the latest content, perhaps alone.
        let keeps = self.state == State::WritingPend2 && !self.work().stale;
        let version = self.detail().version;
        if keeps && cx.lacks(Mutation::LoserDropsItsCopy) {
            self.drop_copy(cx);
        } else if keeps {
            cx.unmap();
        }
        let keeps = keeps && !cx.lacks(Mutation::LoserDropsItsCopy);
        self.state = State::WritingRead;
        let targets = self.detail().group.intersection(&cx.others());
        let work = self.work();
        work.waiting = targets;
        work.invalids = Default::default();
        work.windowed = false;
        work.copied = keeps.then_some(version);
        work.own = keeps;
        work.stale = false;
        for node in targets.iter() {
            cx.send(node, Message::FetchWrite);
        }
        self.reread(cx);
    }

    /// The content and the rivals' Fetch_Writes may be here (step 2 of a round).
    pub(super) fn reread<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if self.enter_window(cx) {
            return;
        }
        let work = self.work();
        if !work.waiting.is_empty() || !work.writers.is_subset(&work.requests) {
            return;
        }
        let (stale, none) = (work.stale, work.copied.is_none());
        if (stale || self.is_outdated(cx)) && !cx.lacks(Mutation::WritesOnAStaleCopy) {
            // D5: an Ack given in Writing Read gave this copy up, too.
            self.start_reread(cx);
        } else if none && !stale {
            if self.work().void || cx.lacks(Mutation::TakesVoidForLost) {
                self.lose(cx);
            } else {
                self.work().void = true;
                self.start_reread(cx);
            }
        } else {
            if cx.lacks(Mutation::RenewsTheStamp) {
                self.work().stamp = cx.new_stamp();
            }
            self.start_round(cx);
        }
    }

    /// What the waiting threads of a write still need; for the state table.
    #[must_use]
    pub fn wants(&self) -> Option<Access> {
        self.detail.as_ref().and_then(|d| d.work.as_ref()).and_then(|w| w.want)
    }
}
