//! The fabric's turn in a step: taking messages in, and what follows from each.

use alloc::boxed::Box;
use alloc::vec::Vec;

use maize_hal::{Arch, Interrupts, Nanos};
use maize_wire::{Epoch, InstanceId, Kind, Page as Content};

use super::message::{self, Departs, Malformed, Message, RequestId};
use super::{Arrival, Peer, Start};
use crate::handle::Handle;
use crate::ids::Pid;
use crate::state::State;
use crate::wait::WaitKey;

/// Messages taken in before the rest of the kernel gets its turn.
const MESSAGES_A_TURN: usize = 32;

impl<A: Arch> State<A> {
    /// Takes in what peers have sent.
    pub(crate) fn serve_fabric(&mut self, k: &Handle<A>, interrupts: Interrupts, mut now: Nanos) {
        let Some(transport) = self.fabric.transport.as_mut() else { return };
        if interrupts.contains(Interrupts::DOORBELL) {
            transport.heard_doorbell();
        }
        self.announce_ended_objects();
        for _ in 0..MESSAGES_A_TURN {
            let Some(transport) = self.fabric.transport.as_mut() else { return };
            let Some((peer, arrival)) = transport.poll(now) else { break };
            match arrival {
                Arrival::Up { epoch } => self.peer_up(peer, epoch),
                Arrival::Down => self.peer_down(peer),
                Arrival::Fenced => self.fenced(),
                Arrival::Room => self.send_waiting(peer),
                Arrival::Message { kind, has_page } => {
                    if self.on_message(k, peer, kind, has_page).is_err() {
                        self.distrust(peer);
                    }
                }
            }
            now = self.now();
        }
        if !core::mem::take(&mut self.fabric.refused) {
            return;
        }
        let waiting: Vec<InstanceId> = self
            .fabric
            .peers
            .iter()
            .filter(|(_, peer)| !peer.waiting.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for peer in waiting {
            self.send_waiting(peer);
        }
    }

    /// Rings the doorbells that are due.
    pub(crate) fn notify_fabric(&mut self) {
        if let Some(transport) = self.fabric.transport.as_mut() {
            transport.notify();
        }
    }

    /// Whether user code may run: what peers send then interrupts it.
    pub(crate) fn arm_fabric(&mut self) -> bool {
        let now = self.now();
        self.fabric.transport.as_mut().is_none_or(|transport| transport.arm(now))
    }

    /// Until when the core may halt as far as peers are concerned; `None` if it may not.
    pub(crate) fn fabric_idle(&mut self) -> Option<Nanos> {
        let now = self.now();
        match self.fabric.transport.as_mut() {
            Some(transport) => transport.idle(now),
            None => Some(Nanos::NEVER),
        }
    }

    /// When the links want to be polled although nothing arrives.
    pub(crate) fn fabric_beat(&self) -> Nanos {
        self.fabric.transport.as_ref().map_or(Nanos::NEVER, |transport| transport.next_beat())
    }

    fn peer_up(&mut self, peer: InstanceId, epoch: u32) {
        if self.fabric.peers.contains_key(&peer) {
            self.peer_down(peer);
        }
        log::info!("{peer} is there");
        self.borrow_from(peer, true);
        let restarts = epoch.saturating_sub(Epoch::FIRST.get());
        self.fabric.peers.insert(peer, Peer { restarts, ..Peer::default() });
        let hello = self.hello();
        self.post(peer, hello.into(), None);
    }

    /// Whatever was under way with a peer ends.
    pub(super) fn peer_down(&mut self, peer: InstanceId) {
        if self.fabric.peers.remove(&peer).is_none() {
            return;
        }
        log::warn!("{peer} is gone");
        for id in self.fabric.asked.peer_died(peer) {
            self.wake(WaitKey::Answer(peer, id));
        }
        self.fabric.serving.peer_died(peer);
        self.leave_groups(peer);
        self.futex_holder_died(peer);
        self.fabric.balance.peer_died(peer);
        self.end_guests_of(peer);
        self.page_peer_died(peer);
        self.homes_peer_died(peer);
        self.borrow_from(peer, false);
    }

    fn borrow_from(&mut self, peer: InstanceId, borrows: bool) {
        if let Some(transport) = &mut self.fabric.transport {
            transport.borrow_from(peer, borrows);
        }
    }

    /// The peers have given this instance up: nobody would hear what its processes do.
    fn fenced(&mut self) {
        log::error!("the other instances have given this one up");
        let peers: Vec<InstanceId> = self.fabric.peers.keys().copied().collect();
        for peer in peers {
            self.peer_down(peer);
        }
        self.shut_down();
    }

    fn on_message(
        &mut self,
        k: &Handle<A>,
        from: InstanceId,
        kind: Kind,
        has_page: bool,
    ) -> Result<(), Malformed> {
        let now = self.now();
        let Some(transport) = self.fabric.transport.as_mut() else { return Ok(()) };
        let length = transport.body().len();
        let message = Message::decode(kind, transport.body())?;
        let mut content = None;
        if has_page {
            if !matches!(message, Message::Page(_)) {
                return Err(Malformed::Page);
            }
            let mut page = self.fabric.take_spare();
            let copied =
                self.fabric.transport.as_mut().is_some_and(|t| t.copy_page(now, &mut page.0));
            if !copied {
                return Err(Malformed::Page);
            }
            content = Some(page);
        }
        self.stats.fabric.received(kind, length, has_page);
        let Some(peer) = self.fabric.peers.get(&from) else { return Ok(()) };
        let (isa, restarts) = (peer.isa, peer.restarts);
        if let Message::Hello(hello) = message {
            let mine = self.hello();
            let isa = hello.works_with(&mine);
            if isa.is_some() {
                self.fabric.pages.join(from, restarts);
            } else {
                log::warn!("{from} cannot work with this instance: {hello:?} is not {mine:?}");
            }
            if let Some(peer) = self.fabric.peers.get_mut(&from) {
                peer.isa = isa;
                peer.boot_time = Nanos(hello.boot_time);
                peer.greeted = true;
            }
            self.wake(WaitKey::Peers);
            return Ok(());
        }
        if isa.is_none() {
            // It cannot have known, if its view of this instance is the better one.
            return Ok(());
        }
        self.dispatch(k, from, message, content)
    }

    fn dispatch(
        &mut self,
        k: &Handle<A>,
        from: InstanceId,
        message: Message,
        content: Option<Box<Content>>,
    ) -> Result<(), Malformed> {
        match message {
            Message::Hello(_) => {}
            Message::Page(page) => {
                return self.on_page(from, page, content).map_err(|_| Malformed::Body);
            }
            Message::PageStale(stale) => self.on_page_stale(stale.page),
            Message::Trapped(trapped) => self.on_answer(from, trapped.id, trapped.into()),
            Message::TellArea(told) => self.on_answer(from, told.id, told.into()),
            Message::Forgot(forgot) => self.on_answer(from, forgot.id, forgot.into()),
            Message::Run(run) => {
                if self.starts(from, run.id) {
                    return self.begin_stay(k, from, run).map_err(|_| Malformed::Body);
                }
            }
            Message::AskArea(ask) => {
                if self.starts(from, ask.id) {
                    self.tell_area(from, ask);
                }
            }
            Message::Forget(forget) => {
                if self.starts(from, forget.id) {
                    self.begin_forgetting(k, from, forget);
                }
            }
            Message::Call(call) => {
                if self.starts(from, call.id) {
                    return self.begin_call(k, from, call).map_err(|_| Malformed::Body);
                }
            }
            Message::Carry(carry) => {
                if self.starts(from, carry.id) {
                    self.begin_carry(k, from, carry);
                }
            }
            Message::Depart(depart) => {
                if self.starts(from, depart.id) {
                    let may = self.hold_news(Pid(depart.pid), Some(from), InstanceId(depart.to));
                    self.answer(from, depart.id, Departs { id: depart.id, may }.into());
                }
            }
            Message::Tell(tell) => self.on_news(k, from, Pid(tell.pid), tell.news),
            Message::Called(called) => self.on_answer(from, called.id, called.into()),
            Message::Carried(carried) => self.on_answer(from, carried.id, carried.into()),
            Message::Departs(departs) => self.on_answer(from, departs.id, departs.into()),
            Message::Cancel(cancel) => {
                if self.fabric.serving.cancel(from, cancel.id) {
                    self.recall_guest(from, cancel.id);
                }
            }
            Message::AskThread(ask) => {
                if self.starts(from, ask.id) {
                    self.tell_thread(from, ask);
                }
            }
            Message::TellThread(told) => self.on_answer(from, told.id, told.into()),
            Message::RecallFutexes(recall) => {
                if self.starts(from, recall.id) {
                    self.return_futexes(from, recall);
                }
            }
            Message::RecalledFutexes(recalled) => {
                self.take_futexes_back(from, &recalled)?;
                self.on_answer(from, recalled.id, recalled.into());
            }
            Message::Leave(leave) => self.leave_space(from, leave),
            Message::Gone(gone) => self.forget_objects(from, gone),
            Message::Ended(ended) => self.fabric_ended(ended.status),
            Message::Load(load) => self.on_load(from, load),
        }
        Ok(())
    }

    fn on_answer(&mut self, from: InstanceId, id: RequestId, message: Message) {
        if self.fabric.asked.answer(from, id, message) {
            self.wake(WaitKey::Answer(from, id));
        }
    }

    /// Whether a request is to be served; one that was is answered as it was then.
    fn starts(&mut self, from: InstanceId, id: RequestId) -> bool {
        match self.fabric.serving.start(from, id) {
            Start::New => true,
            Start::Known => false,
            Start::Answered(message) => {
                self.send(from, &message, None);
                false
            }
        }
    }

    /// The fabric's program has ended at its home.
    fn fabric_ended(&mut self, status: u32) {
        if self.program.is_none() {
            self.exit_status = Some(status);
        }
    }

    /// Tells all peers that the program has ended.
    pub(crate) fn announce_end(&mut self, status: u32) {
        let peers: Vec<InstanceId> = self.fabric.usable_peers().collect();
        for peer in peers {
            self.post(peer, message::Ended { status }.into(), None);
        }
        self.notify_fabric();
    }
}
