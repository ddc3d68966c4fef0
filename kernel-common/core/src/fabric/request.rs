//! Requests between instances: each is served once, and its asker learns what became of it.
//!
//! A request is named by who asks and a number. The server starts it once and keeps its answer
//! until a later request of the same asker shows that it arrived. A cancelled request is answered
//! too. Where the peer dies first, the asker is told so.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;

use maize_hal::{Arch, Nanos};
use maize_wire::InstanceId;

use super::message::{Cancel, Message, RequestId};
use crate::executor::TaskId;
use crate::handle::Handle;
use crate::state::State;
use crate::wait::{Interruptible, WaitKey, Woken};

/// The peer that was asked is gone, and so is whether the request was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerDied;

/// What became of a request.
pub(crate) type Answer = Result<Box<Message>, PeerDied>;

/// Requests of this instance that are under way.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    next: u32,
    pending: BTreeMap<(InstanceId, RequestId), Option<Answer>>,
}

impl Asked {
    /// A name for a request of `asker`.
    pub(crate) fn name(&mut self, asker: u32) -> RequestId {
        self.next = self.next.wrapping_add(1);
        RequestId { asker, sequence: self.next }
    }

    /// Expects an answer.
    pub(crate) fn begin(&mut self, to: InstanceId, id: RequestId) {
        self.pending.insert((to, id), None);
    }

    /// Takes an answer in. False if nobody waits for it.
    pub(crate) fn answer(&mut self, from: InstanceId, id: RequestId, message: Message) -> bool {
        match self.pending.get_mut(&(from, id)) {
            Some(slot @ None) => {
                *slot = Some(Ok(Box::new(message)));
                true
            }
            _ => false,
        }
    }

    /// Requests without an answer yet.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (InstanceId, RequestId)> + '_ {
        self.pending.iter().filter(|(_, answer)| answer.is_none()).map(|(name, _)| *name)
    }

    /// The answer, if it is there.
    fn take(&mut self, to: InstanceId, id: RequestId) -> Option<Answer> {
        let answer = self.pending.get_mut(&(to, id))?.take()?;
        self.pending.remove(&(to, id));
        Some(answer)
    }

    /// Ends what a dead peer was asked; returns the names.
    pub(crate) fn peer_died(&mut self, peer: InstanceId) -> alloc::vec::Vec<RequestId> {
        let of_peer =
            self.pending.iter_mut().filter(|((to, _), slot)| *to == peer && slot.is_none());
        of_peer
            .map(|((_, id), slot)| {
                *slot = Some(Err(PeerDied));
                *id
            })
            .collect()
    }
}

/// A request of a peer.
#[derive(Debug)]
struct Served {
    sequence: u32,
    cancelled: bool,
    answer: Option<Rc<Message>>,
}

/// Answers that are kept at the most for askers that have not asked again.
const KEPT: usize = 1024;

/// Requests of peers: one at a time for each of their askers.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    all: BTreeMap<(InstanceId, u32), Served>,
}

/// What to do with a request that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Serve it.
    New,
    /// It is under way, or older than what is.
    Known,
    /// It was served: send this again.
    Answered(Rc<Message>),
}

impl Serving {
    /// Takes note of a request.
    pub(crate) fn start(&mut self, from: InstanceId, id: RequestId) -> Start {
        if let Some(served) = self.all.get(&(from, id.asker)) {
            let age = id.sequence.wrapping_sub(served.sequence) as i32;
            if age < 0 {
                return Start::Known;
            }
            if age == 0 {
                return served.answer.clone().map_or(Start::Known, Start::Answered);
            }
        }
        if self.all.len() >= KEPT {
            self.all.retain(|_, served| served.answer.is_none());
        }
        let served = Served { sequence: id.sequence, cancelled: false, answer: None };
        self.all.insert((from, id.asker), served);
        Start::New
    }

    /// Keeps the answer. False if the asker is gone.
    pub(crate) fn finish(&mut self, from: InstanceId, id: RequestId, answer: Rc<Message>) -> bool {
        match self.all.get_mut(&(from, id.asker)) {
            Some(served) if served.sequence == id.sequence => {
                served.answer = Some(answer);
                true
            }
            _ => false,
        }
    }

    /// Requests without an answer yet: who asked, its asker, and the number.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = (InstanceId, RequestId)> + '_ {
        let open = self.all.iter().filter(|(_, served)| served.answer.is_none());
        open.map(|((from, asker), served)| {
            (*from, RequestId { asker: *asker, sequence: served.sequence })
        })
    }

    /// Marks a request as cancelled. False if it is not under way.
    pub(crate) fn cancel(&mut self, from: InstanceId, id: RequestId) -> bool {
        match self.all.get_mut(&(from, id.asker)) {
            Some(served) if served.sequence == id.sequence && served.answer.is_none() => {
                served.cancelled = true;
                true
            }
            _ => false,
        }
    }

    /// Whether a request was cancelled, or its asker is gone.
    pub(crate) fn is_cancelled(&self, from: InstanceId, id: RequestId) -> bool {
        self.all
            .get(&(from, id.asker))
            .is_none_or(|served| served.sequence != id.sequence || served.cancelled)
    }

    /// Forgets what a dead peer has asked.
    pub(crate) fn peer_died(&mut self, peer: InstanceId) {
        self.all.retain(|(from, _), _| *from != peer);
    }
}

impl<A: Arch> State<A> {
    /// Sends a request, to be awaited by [`Handle::answer`].
    pub(crate) fn ask(
        &mut self,
        to: InstanceId,
        asker: u32,
        message: impl FnOnce(RequestId) -> Message,
    ) -> RequestId {
        let id = self.fabric.asked.name(asker);
        self.fabric.asked.begin(to, id);
        let message = message(id);
        if !self.post(to, message, None) {
            self.fabric.asked.peer_died(to);
        }
        id
    }

    /// Answers a request of a peer.
    pub(crate) fn answer(&mut self, to: InstanceId, id: RequestId, message: Message) {
        let message = Rc::new(message);
        if self.fabric.serving.finish(to, id, Rc::clone(&message)) {
            self.send(to, &message, None);
        }
    }
}

impl<A: Arch> Handle<A> {
    /// Waits for the answer to a request. If the wait is interrupted the request is cancelled; its
    /// answer then says how far it has come.
    ///
    /// # Errors
    /// [`PeerDied`].
    pub(crate) async fn answer(
        &self,
        task: TaskId,
        to: InstanceId,
        id: RequestId,
        by: Interruptible,
    ) -> Answer {
        let keys = [WaitKey::Answer(to, id)];
        let mut by = by;
        loop {
            if let Some(answer) = self.with(|s| s.fabric.asked.take(to, id)) {
                return answer;
            }
            let woken = self.wait_for(task, &keys, Nanos::NEVER, by).await;
            if woken == Woken::Interrupted {
                by = Interruptible::Not;
                self.with(|s| s.post(to, Cancel { id }.into(), None));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Ended, Forgot};
    use super::*;

    const PEER: InstanceId = InstanceId(3);

    fn id(sequence: u32) -> RequestId {
        RequestId { asker: 7, sequence }
    }

    #[test]
    fn a_request_is_started_once_and_its_answer_is_kept() {
        let mut serving = Serving::default();
        assert_eq!(serving.start(PEER, id(1)), Start::New);
        assert_eq!(serving.start(PEER, id(1)), Start::Known);
        assert!(serving.finish(PEER, id(1), Rc::new(Forgot { id: id(1) }.into())));
        assert_eq!(
            serving.start(PEER, id(1)),
            Start::Answered(Rc::new(Forgot { id: id(1) }.into()))
        );
        assert_eq!(serving.start(PEER, id(2)), Start::New);
        // The later request has acknowledged the answer: the first is not served again.
        assert_eq!(serving.start(PEER, id(1)), Start::Known);
        assert!(!serving.finish(PEER, id(1), Rc::new(Ended { status: 0 }.into())));
    }

    #[test]
    fn only_what_is_under_way_can_be_cancelled() {
        let mut serving = Serving::default();
        assert!(!serving.cancel(PEER, id(1)));
        serving.start(PEER, id(1));
        assert!(!serving.is_cancelled(PEER, id(1)));
        assert!(serving.cancel(PEER, id(1)) && serving.is_cancelled(PEER, id(1)));
        serving.finish(PEER, id(1), Rc::new(Forgot { id: id(1) }.into()));
        assert!(!serving.cancel(PEER, id(1)));
        serving.peer_died(PEER);
        assert!(serving.is_cancelled(PEER, id(1)));
    }

    #[test]
    fn a_dead_peer_answers_all_its_requests() {
        let mut asked = Asked::default();
        let one = asked.name(1);
        asked.begin(PEER, one);
        assert_eq!(asked.take(PEER, one), None);
        assert_eq!(asked.peer_died(PEER), [one]);
        assert!(!asked.answer(PEER, one, Forgot { id: one }.into()));
        assert_eq!(asked.take(PEER, one), Some(Err(PeerDied)));
        assert!(asked.pending.is_empty());
    }
}
