//! A page that ping-pongs, in a frame of the coherent window: the same way under both policies.
//!
//! The home takes the page, moves it into the window and from then on answers every request with
//! `Window`; who gets that maps the window frame and needs no message any more. A user whose
//! mapping goes unused leaves; when at most one is left, the home takes the page back.

use super::Message;
use super::record::{State, Voting, Work};
use crate::{Access, Action, Cx, NodeId, Nodes, Sink, Time};

impl<const W: usize> Voting<W> {
    /// Moves a page that is writable here into the window; only its home does that.
    pub(super) fn promote<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let writable = matches!(self.state, State::NotReplicated | State::Modified);
        if cx.home != cx.me() || !writable {
            return;
        }
        cx.unmap();
        cx.push(Action::ToWindow { page: cx.page });
        self.state = State::Windowed;
        let detail = self.detail();
        detail.version = detail.version.wrapping_add(1);
        detail.anchor = true;
        detail.held_until = Time(0);
        // Who waits for the end of the hold gets the window instead; rivals of the last vote that
        // have not asked yet will get it when they do.
        let work = self.work();
        let asking = work.delayed.union(&work.delayed_writes);
        *work = Work { users: asking, ..Work::default() };
        for node in asking.iter() {
            cx.send(node, Message::Window);
        }
    }

    /// A thread of this node uses the window frame.
    pub(super) fn use_window<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if cx.home == cx.me() {
            let me = cx.me();
            self.work().users.insert(me);
        }
        cx.push(Action::MapWindow { page: cx.page });
        cx.push(Action::Wake { page: cx.page, access: Access::Write });
    }

    /// A peer asks for a page that is in the window.
    pub(super) fn answer_windowed<S: Sink<Message<W>>>(
        &mut self,
        cx: &mut Cx<'_, S, W>,
        from: NodeId,
    ) {
        if cx.home != cx.me() {
            self.answer_void(cx, from);
        } else if self.work().recalling {
            self.work().delayed.insert(from);
        } else {
            self.work().users.insert(from);
            cx.send(from, Message::Window);
        }
    }

    /// The home's answer to a query: the page is in the window.
    pub(super) fn on_window<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, from: NodeId) {
        let asking = matches!(
            self.state,
            State::FetchingNotReplicated
                | State::FetchingValid
                | State::FetchingInvalid
                | State::InvalidRead1
                | State::InvalidRead2
                | State::WritingRead
        );
        if from != cx.home || !asking || !self.work().waiting.remove(from) {
            return;
        }
        let work = self.work();
        work.windowed = true;
        // As with a Copy of who does not write (D4): if the home calls this node back before the other
        // answers are here, the round goes on without a Fetch_Write of the home's.
        work.writers.remove(from);
        self.enter_window(cx);
    }

    /// Maps the window frame once every answer to the query under way is here; true if that is, or
    /// will be, the query's end.
    pub(super) fn enter_window<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) -> bool {
        let work = self.work();
        if !work.windowed {
            return false;
        }
        if !work.waiting.is_empty() {
            return true;
        }
        self.flush_void(cx);
        self.state = State::Windowed;
        let home = cx.home;
        let detail = self.detail();
        detail.owner = Some(home);
        detail.work = None;
        self.use_window(cx);
        true
    }

    /// This node's mapping of the window frame goes unused.
    pub(super) fn idle<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if self.state != State::Windowed {
            return;
        }
        cx.unmap();
        if cx.home == cx.me() {
            let me = cx.me();
            self.work().users.remove(me);
            self.cool(cx);
        } else {
            self.leave_window(cx);
        }
    }

    /// At the home: asks all others to leave.
    pub(super) fn retreat<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        if self.state != State::Windowed || cx.home != cx.me() {
            return;
        }
        let me = cx.me();
        let others = self.work().users.without(me);
        if others.is_empty() {
            return self.cool(cx);
        }
        self.work().recalling = true;
        for user in others.iter() {
            cx.send(user, Message::Recall);
        }
    }

    pub(super) fn on_recall<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, from: NodeId) {
        if from != cx.home {
            return;
        }
        if self.state == State::Windowed {
            cx.unmap();
            self.leave_window(cx);
        } else if self.detail.as_ref().and_then(|d| d.work.as_ref()).is_some_and(|w| w.windowed) {
            // Called back before the other answers came: the query has to be repeated.
            let work = self.work();
            work.windowed = false;
            cx.send(from, Message::Leave);
            match self.state {
                State::InvalidRead1 => self.state = State::InvalidRead2,
                State::WritingRead => self.work().stale = true,
                State::InvalidRead2 => {}
                _ => self.work().restart = true,
            }
        }
    }

    fn leave_window<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        self.state = State::Invalid;
        cx.send(cx.home, Message::Leave);
    }

    pub(super) fn on_leave<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>, from: NodeId) {
        if self.state == State::Windowed && cx.home == cx.me() {
            self.work().users.remove(from);
            self.cool(cx);
        }
    }

    /// Takes the page back when at most one node uses it.
    pub(super) fn cool<S: Sink<Message<W>>>(&mut self, cx: &mut Cx<'_, S, W>) {
        let me = cx.me();
        let work = self.work();
        let others = work.users.without(me);
        if work.users.len() > 1 {
            return;
        }
        if let Some(user) = others.first() {
            if !core::mem::replace(&mut work.recalling, true) {
                cx.send(user, Message::Recall);
            }
            return;
        }
        if work.users.contains(me) {
            cx.unmap();
        }
        let delayed = core::mem::take(&mut work.delayed);
        self.detail().work = None;
        self.state = State::Modified;
        cx.push(Action::FromWindow { page: cx.page });
        if delayed != Nodes::EMPTY {
            self.detail().work = Some(alloc::boxed::Box::new(Work { delayed, ..Work::default() }));
        }
        self.settle(cx);
    }
}
