//! How the actions of a node's agent are carried out: in order, and not before siblings allow.

use alloc::vec::Vec;

use super::lead::{Here, Kept, Lead};
use super::{Left, Message, tell};
use crate::mutation::Rules;
use crate::{Access, Action, Mutation, Nodes, PageKey, Sink};

/// Carries the agent's actions out in order, as far as siblings allow.
pub(super) struct Carrier<'a, M, S> {
    lead: &'a mut Lead<M>,
    sink: &'a mut S,
    /// Pages that have come, and no thread of this instance waited for them.
    woken: &'a mut Vec<PageKey>,
}

impl<M: Copy, S: Sink<Message<M>>> Sink<M> for Carrier<'_, M, S> {
    fn push(&mut self, action: Action<M>) {
        if self.lead.alone {
            return self.sink.push(action.with_message(Message::Outside));
        }
        let page = action.page();
        let rules = self.lead.rules;
        let kept = self.lead.kept.entry(page);
        if !kept.is_shooting_down() || rules.lack(Mutation::GoesOnBeforeTheAcks) {
            return self.carry_out(action);
        }
        let action = match action {
            Action::Install { .. } if !rules.lack(Mutation::InstallsUnderMappings) => {
                self.sink.push(Action::Stash { page });
                Action::InstallStashed { page }
            }
            Action::Install { .. } => return self.carry_out(action),
            action => action,
        };
        kept.busy().queue.push_back(action);
    }
}

impl<'a, M, S> Carrier<'a, M, S> {
    pub(super) fn new(lead: &'a mut Lead<M>, sink: &'a mut S, woken: &'a mut Vec<PageKey>) -> Self {
        Self { lead, sink, woken }
    }
}

impl<M, S: Sink<Message<M>>> Carrier<'_, M, S> {
    fn carry_out(&mut self, action: Action<M>) {
        let page = action.page();
        let rules = self.lead.rules;
        let kept = self.lead.kept.entry(page);
        let (mut answers, mut revoke, mut failure) = (Nodes::EMPTY, None, None);
        let present = kept.generation == page.generation;
        match action {
            Action::Map { access, .. } => {
                kept.granted = Some(access).filter(|_| present);
                kept.window = false;
                if access == Access::Read && !rules.lack(Mutation::LeavesSiblingsWriting) {
                    revoke = Some((kept.writers, Left::Read));
                }
            }
            Action::MapWindow { .. } => {
                kept.granted = Some(Access::Write).filter(|_| present);
                kept.window = true;
            }
            Action::Unmap { .. } => {
                kept.granted = None;
                kept.window = false;
                revoke = Some((kept.mappers, Left::Nothing));
            }
            Action::Wake { access, .. } if present => {
                match kept.here {
                    Here::Waiting(want) if want <= access => kept.here = Here::Holding,
                    Here::Waiting(_) | Here::Holding => {}
                    Here::Nobody => self.woken.push(page),
                }
                answers = served(kept, rules);
            }
            Action::Fail { failure: why, .. } if present => {
                kept.here = Here::Nobody;
                if let Some(busy) = kept.busy.as_mut() {
                    answers = core::mem::take(&mut busy.asking);
                    busy.asking_write = Nodes::EMPTY;
                    failure = Some(why);
                    kept.tidy();
                }
            }
            _ => {}
        }
        self.sink.push(action.with_message(Message::Outside));
        for sibling in answers.iter() {
            match failure {
                Some(failure) => tell(self.sink, sibling, page, Message::Failed { failure }),
                None => self.lead.answer(sibling, page, self.sink),
            }
        }
        if let Some((siblings, left)) = revoke.filter(|(siblings, _)| !siblings.is_empty()) {
            let busy = self.lead.kept.entry(page).busy();
            busy.waiting = siblings;
            busy.revoking = page.generation;
            busy.left = left;
            for sibling in siblings.iter() {
                tell(self.sink, sibling, page, Message::Revoke { left });
            }
        }
    }

    /// Every sibling's mapping is gone: what waited for that is carried out.
    pub(super) fn go_on(&mut self, page: PageKey) {
        loop {
            let kept = self.lead.kept.entry(page);
            if kept.is_shooting_down() {
                return;
            }
            match kept.busy.as_mut().and_then(|busy| busy.queue.pop_front()) {
                Some(action) => self.carry_out(action),
                None => return kept.tidy(),
            }
        }
    }
}

/// Takes the siblings whose Query can be answered now.
fn served<M>(kept: &mut Kept<M>, rules: Rules) -> Nodes<1> {
    let granted = kept.granted;
    let Some(busy) = kept.busy.as_mut() else { return Nodes::EMPTY };
    let served = match granted {
        None => Nodes::EMPTY,
        Some(Access::Read) => busy.asking.minus(&busy.asking_write),
        Some(Access::Write) => busy.asking,
    };
    busy.asking = busy.asking.minus(&served);
    busy.asking_write = busy.asking_write.minus(&served);
    kept.tidy();
    match served.first() {
        Some(first) if rules.lack(Mutation::AnswersOneSibling) => Nodes::only(first),
        _ => served,
    }
}
