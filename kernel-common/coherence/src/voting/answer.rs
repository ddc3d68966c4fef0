//! What a copy does with the answers to its Fetch: Copy and Copy_Void.

use super::Message;
use super::record::{State, Voting};
use crate::{Access, Action, Cx, Mutation, NodeId, Nodes, Sink};

/// The fields of a Copy or Copy_Void.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<const W: usize> {
    pub(super) content: bool,
    pub(super) version: u32,
    pub(super) replicated: bool,
    pub(super) group: Nodes<W>,
    pub(super) writing: bool,
}

impl<const W: usize> Voting<W> {
    /// An answer to a Fetch or Fetch_Write of this node.
    pub(super) fn on_copy<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
        answer: Answer<W>,
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
        detail.group = detail.group.union(&answer.group.intersection(&cx.local.members));
        detail.group.remove(cx.me());
        detail.version = detail.version.max(answer.version);
        let doomed = matches!(self.state, State::FetchingInvalid | State::InvalidRead2);
        let work = self.work();
        work.waiting.remove(from);
        if !answer.writing {
            // It is no rival any more, so it sends no Fetch_Write in this round (D4).
            work.writers.remove(from);
        }
        let newer = work.copied.is_none_or(|known| answer.version > known);
        if answer.content
            && !doomed
            && !work.stale
            && (newer || cx.lacks(Mutation::TakesAnyVersion))
        {
            work.copied = Some(answer.version);
            cx.push(Action::Install { page: cx.page });
            if self.state == State::FetchingNotReplicated {
                self.state = State::FetchingValid;
            }
        }
        if self.state == State::FetchingNotReplicated
            && answer.replicated
            && !cx.lacks(Mutation::ForgetsThatOthersUseThePage)
        {
            // D6: somebody uses the page, so it is not this node's alone.
            self.state = State::FetchingInvalid;
        }
        if rereading {
            self.reread(cx);
        } else if fetching {
            self.fetched(cx);
        } else if self.work().waiting.is_empty() {
            self.read_done(cx);
        }
    }

    /// Whether some answer knew of a later version than the one that came (D2).
    pub(super) fn is_outdated<S>(&mut self, cx: &Cx<'_, S, W>) -> bool {
        let known = self.detail().version;
        self.work().copied.is_some_and(|copied| copied < known)
            && !cx.lacks(Mutation::TakesAnyVersion)
    }

    /// All answers to the fetch of an unmapped page may be here (4.8).
    pub(super) fn fetched<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if !self.work().waiting.is_empty() {
            return;
        }
        if self.enter_window(cx) {
            return;
        }
        if self.work().restart {
            return self.ask_everybody(cx);
        }
        let outdated = self.is_outdated(cx);
        match self.state {
            State::FetchingNotReplicated if cx.deaths().is_some() => {
                // Nobody who is left can tell an untouched page from one that died with its node.
                if core::mem::replace(&mut self.work().void, true) {
                    self.lose(cx);
                } else {
                    self.ask_everybody(cx);
                }
            }
            State::FetchingNotReplicated => {
                self.state = State::NotReplicated;
                self.work().want = None;
                cx.push(Action::Fill { page: cx.page });
                cx.grant(Access::Write);
                self.start_hold(cx);
                self.settle(cx);
            }
            State::FetchingValid if !outdated => self.arrived(cx),
            _ => {
                self.flush_void(cx);
                self.start_read(cx);
            }
        }
    }

    /// All answers to the Fetch of an Invalid copy are here (4.2, 4.5).
    pub(super) fn read_done<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let others = cx.others();
        if self.enter_window(cx) {
            return;
        }
        if self.state == State::InvalidRead2 || self.is_outdated(cx) {
            return self.start_read(cx);
        }
        let work = self.work();
        if work.copied.is_some() {
            self.arrived(cx);
        } else if work.owner_only && cx.lacks(Mutation::TrustsTheOwner) {
            self.lose(cx);
        } else if work.owner_only {
            let detail = self.detail();
            detail.owner = None;
            let group = detail.group.intersection(&others);
            self.ask(cx, group, false);
        } else if !work.void && !cx.lacks(Mutation::TakesVoidForLost) {
            // D7: the content passed this Fetch on its way to a writer, whose Invalid comes next.
            work.void = true;
            let group = self.detail().group.intersection(&others);
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
