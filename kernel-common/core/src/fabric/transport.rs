//! What carries messages between instances, as the kernel is handed it.

use alloc::boxed::Box;

use maize_hal::Nanos;
use maize_link::{Announce, Event, Fabric, Idle, News, Outgoing, Port, SendError};
use maize_wire::{Class, Epoch, InstanceId, Kind, PAGE_WORDS};

/// Something that a transport has to say about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Messages can be exchanged with the peer, in its incarnation `epoch`.
    Up {
        /// The incarnation.
        epoch: u32,
    },
    /// The peer's incarnation is gone; nothing of it will arrive any more.
    Down,
    /// The peers have given this instance up: what it has is void.
    Fenced,
    /// A message; body and page stay at hand until the next poll.
    Message {
        /// What it is about.
        kind: Kind,
        /// Whether a page came along.
        has_page: bool,
    },
    /// There is room again for messages of a class in which one was refused.
    Room,
}

impl Arrival {
    /// What an event of a peer's link says to the kernel, if anything. `incarnation` tells which one
    /// of the peer messages are exchanged with.
    pub fn of(event: Event, incarnation: impl FnOnce() -> Option<Epoch>) -> Option<Arrival> {
        match event {
            Event::Message(message) => {
                Some(Arrival::Message { kind: message.kind, has_page: message.has_page })
            }
            Event::Room(_) => Some(Arrival::Room),
            Event::News(News::Up) => Some(Arrival::Up { epoch: incarnation()?.get() }),
            Event::News(News::Down(_)) => Some(Arrival::Down),
            Event::News(News::Fenced(_)) => Some(Arrival::Fenced),
            Event::News(News::Suspect | News::Recovered | News::Stopped) => None,
        }
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room now: [`Arrival::Room`] follows.
    Full,
    /// The peer is not there.
    Gone,
}

impl Refused {
    /// What it means to the kernel that the link to `peer` did not take a message.
    #[must_use]
    pub fn by(peer: InstanceId, error: SendError) -> Refused {
        match error {
            // What found no memory is tried again with the next step, as what found no room.
            SendError::Full | SendError::NoMemory => Refused::Full,
            error => {
                log::debug!("{peer}: {error}");
                Refused::Gone
            }
        }
    }
}

/// A page's content on its way, aligned as the links want it.
pub type PageWords = [u64; PAGE_WORDS];

/// An instance's messages to and from its peers.
///
/// Nothing here waits. Messages of one class between two instances arrive in order and once, until
/// one of the two is [`Arrival::Down`] for the other.
pub trait Transport {
    /// The next thing that has happened, and whose it is.
    fn poll(&mut self, now: Nanos) -> Option<(InstanceId, Arrival)>;

    /// The body of the message that [`Transport::poll`] has just returned.
    fn body(&self) -> &[u8];

    /// Copies the page of that message; `false` if it cannot be had: the peer is then closed.
    fn copy_page(&mut self, now: Nanos, into: &mut PageWords) -> bool;

    /// Sends a message.
    ///
    /// # Errors
    /// [`Refused`]: the message was not taken.
    fn send(
        &mut self,
        now: Nanos,
        to: InstanceId,
        message: (Class, Kind),
        body: &[u8],
        page: Option<&PageWords>,
    ) -> Result<(), Refused>;

    /// Tells peers of what was sent and taken since the last call.
    fn notify(&mut self);

    /// This instance's doorbell has rung.
    fn heard_doorbell(&mut self);

    /// Asks for a doorbell ([`maize_hal::Interrupts::DOORBELL`]) with what arrives next; `false` if
    /// there is something to poll for already.
    fn arm(&mut self, now: Nanos) -> bool;

    /// Whether the core may halt, and until when: `None` to poll on. Arms.
    fn idle(&mut self, now: Nanos) -> Option<Nanos>;

    /// When [`Transport::poll`] has to be called at the latest.
    fn next_beat(&self) -> Nanos;

    /// How far the peer's monotonic clock is ahead of this instance's, in nanoseconds; `None` if that
    /// was not measured.
    fn clock_ahead(&self, peer: InstanceId) -> Option<i64>;

    /// Closes the link to a peer that broke the rules.
    fn close(&mut self, now: Nanos, peer: InstanceId);

    /// From now on memory of a peer in the same machine may be used here, or none of it is any more: only
    /// then may that be used for anything else.
    fn borrow_from(&mut self, _peer: InstanceId, _borrows: bool) {}

    /// Whether [`Transport::trace`] does anything.
    fn is_traced(&self) -> bool {
        false
    }

    /// Leaves an event in the instance's trace.
    fn trace(&mut self, _: maize_trace::Event) {}
}

/// The links of `maize-link` as a transport: over windows on machines, over the simulated network
/// in tests.
pub struct LinkTransport<P, A, D> {
    fabric: Fabric<P, A>,
    ring: D,
}

impl<P: Port, A: Announce, D: FnMut(InstanceId)> LinkTransport<P, A, D> {
    /// The links `fabric`; `ring` rings a peer's doorbell.
    pub const fn new(fabric: Fabric<P, A>, ring: D) -> LinkTransport<P, A, D> {
        LinkTransport { fabric, ring }
    }

    /// As a kernel takes it.
    pub fn boxed(self) -> Box<dyn Transport>
    where
        P: 'static,
        A: 'static,
        D: 'static,
    {
        Box::new(self)
    }
}

impl<P: Port, A: Announce, D: FnMut(InstanceId)> Transport for LinkTransport<P, A, D> {
    fn poll(&mut self, now: Nanos) -> Option<(InstanceId, Arrival)> {
        loop {
            let (peer, event) = self.fabric.poll(now)?;
            let incarnation = || Some(self.fabric.life(peer)?.session()?.remote);
            if let Some(arrival) = Arrival::of(event, incarnation) {
                return Some((peer, arrival));
            }
        }
    }

    fn body(&self) -> &[u8] {
        self.fabric.body()
    }

    fn copy_page(&mut self, now: Nanos, into: &mut PageWords) -> bool {
        self.fabric.copy_page(now, into)
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
        self.fabric.send(now, to, message).map(drop).map_err(|error| Refused::by(to, error))
    }

    fn notify(&mut self) {
        self.fabric.notify(&mut self.ring);
    }

    fn heard_doorbell(&mut self) {
        self.fabric.heard_doorbell();
    }

    fn arm(&mut self, now: Nanos) -> bool {
        self.fabric.arm(now)
    }

    fn idle(&mut self, now: Nanos) -> Option<Nanos> {
        match self.fabric.idle(now) {
            Idle::Poll => None,
            Idle::Sleep(until) => Some(until),
        }
    }

    fn next_beat(&self) -> Nanos {
        self.fabric.next_beat()
    }

    /// All of a simulated network have one time.
    fn clock_ahead(&self, _: InstanceId) -> Option<i64> {
        Some(0)
    }

    fn close(&mut self, now: Nanos, peer: InstanceId) {
        self.fabric.close(now, peer);
    }
}
