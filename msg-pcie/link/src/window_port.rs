//! The port over a window.

use maize_ring::{
    Broken, Consumer, ConsumerParts, Front, GLIMPSE_WORDS, Glimpse, Meanwhile, Producer,
    ProducerParts, Refused,
};
use maize_window::{Layout, PeerLine, PresenceCell, Window};
use maize_wire::{Epoch, Frame, InstanceId, Lines, MAX_FRAME_SLOTS, SLOT_WORDS, Session};

use crate::{Leave, PeerView, Port};

const SESSION: usize = 0;
const REASON: usize = 1;

/// One end of the connection between two instances that share a window.
pub struct WindowPort<W> {
    producer: Producer<W>,
    consumer: Consumer<W>,
    own_attachment: W,
    peer_attachment: W,
    peer_presence: PresenceCell<W>,
}

impl<W: Window> WindowPort<W> {
    /// The end of `me` towards `peer`. Touches no memory. `None` if the layout has no such pair,
    /// or the window is not as large as the layout.
    #[must_use]
    pub fn new(
        window: &W,
        layout: &Layout,
        me: InstanceId,
        peer: InstanceId,
    ) -> Option<WindowPort<W>> {
        let line = |of, other, line| window.part(layout.peer_line(of, other, line)?);
        let producer = ProducerParts {
            ring: window.part(layout.ring(me, peer)?)?,
            consumed: line(peer, me, PeerLine::Consumed)?,
            want_frame: line(peer, me, PeerLine::WantFrame)?,
            want_space: line(me, peer, PeerLine::WantSpace)?,
            attachment: line(peer, me, PeerLine::Attachment)?,
        };
        let consumer = ConsumerParts {
            ring: window.part(layout.ring(peer, me)?)?,
            consumed: line(me, peer, PeerLine::Consumed)?,
            want_frame: line(me, peer, PeerLine::WantFrame)?,
            want_space: line(peer, me, PeerLine::WantSpace)?,
            attachment: line(peer, me, PeerLine::Attachment)?,
        };
        Some(WindowPort {
            producer: Producer::new(producer, MAX_FRAME_SLOTS).ok()?,
            consumer: Consumer::new(consumer, MAX_FRAME_SLOTS).ok()?,
            own_attachment: line(me, peer, PeerLine::Attachment)?,
            peer_attachment: line(peer, me, PeerLine::Attachment)?,
            peer_presence: PresenceCell::new(window.part(layout.presence(peer)?)?),
        })
    }

    #[inline(never)]
    fn push_by_words(&mut self, frame: Frame<'_>, limit: usize) -> Result<(), Refused> {
        let mut claim = self.producer.claim(frame.slots(), limit)?;
        frame.write(&mut claim);
        claim.publish();
        Ok(())
    }
}

impl<W: Window> Port for WindowPort<W> {
    fn peer(&self) -> PeerView {
        let word = self.peer_attachment.load_acquire(SESSION);
        let left = Leave::from_word(self.peer_attachment.load(REASON));
        let attached = match (Epoch::new((word >> 32) as u32), Epoch::new(word as u32)) {
            (Some(local), Some(remote)) => Some(Session { local, remote }.flipped()),
            _ => None,
        };
        PeerView { presence: self.peer_presence.read(), attached, left }
    }

    fn attach(&mut self, session: Session) {
        self.producer.start(session);
        self.consumer.start(session);
        self.own_attachment.store(REASON, Leave::Unsaid as u64);
        self.own_attachment.store_release(SESSION, session.to_word());
    }

    fn detach(&mut self, reason: Leave) {
        self.own_attachment.store(REASON, reason as u64);
        self.own_attachment.store_release(SESSION, 0);
    }

    #[inline]
    fn capacity(&self) -> usize {
        self.producer.capacity()
    }

    #[inline]
    fn push(&mut self, frame: &Frame<'_>, limit: usize) -> Result<(), Refused> {
        if let Some(lines) = frame.lines() {
            return self.push_lines(frame.slots(), lines, limit);
        }
        // A copy: a frame that has no address is not kept in memory in the common case above.
        self.push_by_words(*frame, limit)
    }

    fn room_until(&mut self, limit: usize) -> Result<u64, Broken> {
        self.producer.room_until(limit)
    }

    #[inline]
    fn push_slot<const N: usize>(&mut self, words: [u64; N], until: u64) -> bool {
        self.producer.push_slot(words, until)
    }

    #[inline(always)]
    fn push_lines(&mut self, slots: usize, lines: Lines<'_>, limit: usize) -> Result<(), Refused> {
        self.producer.push_lines(slots, lines, limit)
    }

    #[inline]
    fn glimpse(&mut self) -> Option<Glimpse> {
        self.consumer.glimpse()
    }

    #[inline]
    fn rest_of_slot(&self) -> [u64; SLOT_WORDS - 1 - GLIMPSE_WORDS] {
        self.consumer.rest_of_slot()
    }

    #[inline]
    fn open(&mut self, slots: usize) -> bool {
        self.consumer.open(slots)
    }

    #[inline]
    fn second_slot<const N: usize>(&self) -> [u64; N] {
        self.consumer.second_slot()
    }

    #[inline]
    fn pop_slot(&mut self) {
        self.consumer.pop_slot();
    }

    #[inline]
    fn front(&mut self) -> Result<Option<Front>, Broken> {
        self.consumer.front()
    }

    #[inline]
    fn read(&self, word: usize, into: &mut [u64]) {
        self.consumer.read(word, into);
    }

    #[inline]
    fn pop(&mut self) {
        self.consumer.pop();
    }

    #[inline]
    fn notify(&mut self) -> bool {
        // Both are asked: each answer is given once.
        self.producer.notify() | self.consumer.notify()
    }

    fn arm(&mut self, meanwhile: Meanwhile) -> bool {
        self.consumer.arm(meanwhile)
    }

    fn peer_works(&self) -> bool {
        self.producer.consumer_works()
    }

    fn disarm(&mut self) {
        self.consumer.disarm();
    }

    fn await_room(&mut self, slots: usize, limit: usize) -> Result<bool, Refused> {
        self.producer.await_room(slots, limit)
    }
}
