//! What a copy does with the answers to its Fetch: Copy and Copy_Void.

use super::Message;
use super::record::{State, Voting};
use crate::{Access, Action, Cx, Mutation, NodeId, Nodes, Sink};

impl<const W: usize> Voting<W> {
    /// An answer to a Fetch or Fetch_Write of this node; `version` is that of the content it brings.
    pub(super) fn on_copy<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        version: Option<u32>,
        group: Nodes<W>,
        writing: bool,
    ) {
        let rereading = self.state == State::WritingRead;
        let fetching = matches!(
            self.state,
            State::FetchingNotReplicated | State::FetchingValid | State::FetchingInvalid
        );
        let reading = matches!(self.state, State::InvalidRead1 | State::InvalidRead2);
        if !(rereading || fetching || reading) || !self.work().waiting.contains(from) {
            return;
        }
        let detail = self.detail();
        detail.group = detail.group.union(&group.intersection(&cx.local.members));
        detail.group.remove(cx.me());
        let doomed = matches!(self.state, State::FetchingInvalid | State::InvalidRead2);
        let work = self.work();
        work.waiting.remove(from);
        if !writing {
            // It is no rival any more, so it sends no Fetch_Write in this round (D4).
            work.writers.remove(from);
        }
        if let Some(version) = version
            && !doomed
            && !work.stale
            && (work.copied.is_none_or(|known| version > known)
                || cx.lacks(Mutation::TakesAnyVersion))
        {
            work.copied = Some(version);
            self.detail().version = version;
            cx.push(Action::Install { page: cx.page });
            if self.state == State::FetchingNotReplicated {
                self.state = State::FetchingValid;
            }
        }
        if rereading {
            self.reread(cx);
        } else if fetching {
            self.fetched(cx);
        } else if self.work().waiting.is_empty() {
            self.read_done(cx);
        }
    }

    /// All answers to the fetch of an unmapped page may be here (4.8).
    pub(super) fn fetched<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if !self.work().waiting.is_empty() {
            return;
        }
        match self.state {
            State::FetchingNotReplicated if !cx.local.dead.is_empty() => {
                // Nobody who is left can tell an untouched page from one that died with its node.
                self.lose(cx);
            }
            State::FetchingNotReplicated => {
                self.state = State::NotReplicated;
                self.work().want = None;
                cx.push(Action::Fill { page: cx.page });
                cx.grant(Access::Write);
                self.start_hold(cx);
                self.settle(cx);
            }
            State::FetchingInvalid => {
                self.flush_void(cx);
                self.start_read(cx);
            }
            _ => self.arrived(cx),
        }
    }

    /// All answers to the Fetch of an Invalid copy are here (4.2, 4.5).
    pub(super) fn read_done<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let others = cx.others();
        if self.state == State::InvalidRead2 {
            return self.start_read(cx);
        }
        let work = self.work();
        if work.copied.is_some() {
            self.arrived(cx);
        } else if work.owner_only && !cx.lacks(Mutation::TrustsTheOwner) {
            let detail = self.detail();
            detail.owner = None;
            let group = detail.group.intersection(&others);
            self.ask(cx, group, false);
        } else {
            self.lose(cx);
        }
    }

    /// An up-to-date copy is here.
    fn arrived<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.state = State::Shared;
        self.detail().anchor = false;
        if self.work().want.take() == Some(Access::Write) {
            self.settle(cx);
            self.work().want = Some(Access::Write);
            self.start_write(cx);
        } else {
            cx.grant(Access::Read);
            self.start_hold(cx);
            self.settle(cx);
        }
    }
}
