//! What an exercise needs of the instance that it runs on.

use maize_hal::Nanos;
use maize_link::{
    Announce, Event, Fabric, Glance, Idle, LinkStats, Message, Outgoing, Port, SendError,
};
use maize_window::Window;
use maize_wire::{InstanceId, PAGE_WORDS};

/// The links of an instance: [`Fabric`]'s methods of the same names.
#[allow(missing_docs, reason = "documented there")]
pub trait Traffic {
    fn glance(&mut self, _now: Nanos) -> Glance {
        Glance::Other
    }
    fn poll(&mut self, now: Nanos) -> Option<(InstanceId, Event)>;
    fn message(&self) -> Message;
    fn body(&self) -> &[u8];
    fn copy_page(&mut self, now: Nanos, into: &mut [u64; PAGE_WORDS]) -> bool;
    /// # Errors
    /// As [`Fabric::send`].
    fn send(&mut self, now: Nanos, to: InstanceId, message: Outgoing<'_>)
    -> Result<u32, SendError>;
    fn stats(&self, peer: InstanceId) -> Option<LinkStats>;
}

impl<P: Port, A: Announce> Traffic for Fabric<P, A> {
    #[inline]
    fn glance(&mut self, now: Nanos) -> Glance {
        Fabric::glance(self, now)
    }

    #[inline]
    fn poll(&mut self, now: Nanos) -> Option<(InstanceId, Event)> {
        Fabric::poll(self, now)
    }

    #[inline]
    fn message(&self) -> Message {
        Fabric::message(self)
    }

    #[inline]
    fn body(&self) -> &[u8] {
        Fabric::body(self)
    }

    #[inline]
    fn copy_page(&mut self, now: Nanos, into: &mut [u64; PAGE_WORDS]) -> bool {
        Fabric::copy_page(self, now, into)
    }

    #[inline]
    fn send(
        &mut self,
        now: Nanos,
        to: InstanceId,
        message: Outgoing<'_>,
    ) -> Result<u32, SendError> {
        Fabric::send(self, now, to, message)
    }

    fn stats(&self, peer: InstanceId) -> Option<LinkStats> {
        Fabric::stats(self, peer)
    }
}

/// An instance on which time passes: links, a clock, a doorbell, sleep.
pub trait Station {
    /// Its links.
    type Traffic: Traffic;
    /// The memory that it shares with a peer.
    type Memory: Window;

    /// Its links.
    fn traffic(&mut self) -> &mut Self::Traffic;

    /// The time.
    fn now(&mut self) -> Nanos;

    /// Rings the doorbells that are due.
    fn notify(&mut self);

    /// Rings a peer, whether it is due or not.
    fn ring(&mut self, peer: InstanceId);

    /// What to do now that there is nothing to poll.
    fn idle(&mut self, now: Nanos) -> Idle;

    /// For how long the links are polled before the instance sleeps, from now on.
    fn set_poll_for(&mut self, time: Nanos);

    /// Sleeps until a doorbell rings, or until that time. Returns at once if one rang before.
    fn sleep(&mut self, until: Nanos);

    /// Memory shared with a peer that nothing else uses: two words, 64 bytes apart, of which the
    /// first is the lower instance's. `None` if there is none.
    fn memory(&self, peer: InstanceId) -> Option<Self::Memory>;

    /// Whether the instance is asked to end.
    fn is_ended(&mut self) -> bool;
}
