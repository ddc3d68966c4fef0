//! The links as the core is handed them.

use alloc::rc::Rc;
use core::cell::RefCell;

use maize_core::{Arrival, PageWords, Refused, Transport};
use maize_hal::Nanos;
use maize_link::{Idle, Outgoing};
use maize_trace::Event;
use maize_wire::{Class, InstanceId, Kind};

use super::MachineLinks;

/// The core's hold of the links, which the instance's loop uses too, in its own turn.
pub struct CoreTransport {
    links: Rc<RefCell<MachineLinks>>,
    /// The body of the message that came last.
    body: alloc::vec::Vec<u8>,
}

impl CoreTransport {
    /// The links, which nobody borrows while the core runs.
    #[must_use]
    pub fn new(links: Rc<RefCell<MachineLinks>>) -> CoreTransport {
        CoreTransport { links, body: alloc::vec::Vec::new() }
    }
}

impl Transport for CoreTransport {
    fn poll(&mut self, now: Nanos) -> Option<(InstanceId, Arrival)> {
        let mut links = self.links.borrow_mut();
        loop {
            let (peer, event) = links.poll(now)?;
            let Some(arrival) = Arrival::of(event, || links.incarnation(peer)) else { continue };
            if matches!(arrival, Arrival::Message { .. }) {
                self.body.clear();
                self.body.extend_from_slice(links.body());
            }
            return Some((peer, arrival));
        }
    }

    fn body(&self) -> &[u8] {
        &self.body
    }

    fn copy_page(&mut self, now: Nanos, into: &mut PageWords) -> bool {
        self.links.borrow_mut().copy_page(now, into)
    }

    fn send(
        &mut self,
        now: Nanos,
        to: InstanceId,
        (class, kind): (Class, Kind),
        body: &[u8],
        page: Option<&PageWords>,
    ) -> Result<(), Refused> {
        let message = Outgoing { class, kind, contents: body, page };
        let sent = self.links.borrow_mut().send(now, to, message);
        sent.map(drop).map_err(|error| Refused::by(to, error))
    }

    fn notify(&mut self) {
        self.links.borrow_mut().notify();
    }

    fn heard_doorbell(&mut self) {
        self.links.borrow_mut().heard_doorbell();
    }

    fn arm(&mut self, now: Nanos) -> bool {
        self.links.borrow_mut().arm(now)
    }

    fn idle(&mut self, now: Nanos) -> Option<Nanos> {
        match self.links.borrow_mut().idle(now) {
            Idle::Poll => None,
            Idle::Sleep(until) => Some(until),
        }
    }

    fn next_beat(&self) -> Nanos {
        self.links.borrow().next_beat()
    }

    fn clock_ahead(&self, peer: InstanceId) -> Option<i64> {
        self.links.borrow().clock_ahead(peer)
    }

    fn close(&mut self, now: Nanos, peer: InstanceId) {
        self.links.borrow_mut().close(now, peer);
    }

    fn borrow_from(&mut self, peer: InstanceId, borrows: bool) {
        crate::siblings::borrow_from(peer.0, borrows);
    }

    fn is_traced(&self) -> bool {
        self.links.borrow().is_traced()
    }

    fn trace(&mut self, event: Event) {
        let Event { at, kind, thread, words } = event;
        self.links.borrow_mut().trace(at, kind, thread, words);
    }
}
