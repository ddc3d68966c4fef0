//! The simulated port, and the simulated place where instances announce themselves.

use alloc::vec::Vec;

use maize_link::{Announce, Leave, PeerView, Port};
use maize_ring::{Broken, Front, GLIMPSE_WORDS, Glimpse, Meanwhile, Refused};
use maize_window::Presence;
use maize_wire::{Frame, InstanceId, Lines, MAX_FRAME_SLOTS, SLOT_WORDS, Session, Sink};

use crate::{net::Net, pipe::Store};

/// One end of a simulated connection.
pub struct SimPort {
    net: Net,
    me: InstanceId,
    peer: InstanceId,
    session: Option<Session>,
    /// Slots sent in this session.
    tail: u64,
    /// Those of them that are not known to be consumed.
    in_use: usize,
    /// A frame was sent since the last look at the peer's wish.
    sent: bool,
    owes_doorbell: bool,
}

impl SimPort {
    pub(crate) fn new(net: Net, me: InstanceId, peer: InstanceId) -> SimPort {
        let (tail, in_use) = (0, 0);
        SimPort { net, me, peer, session: None, tail, in_use, sent: false, owes_doorbell: false }
    }

    fn store(&self, store: Store) {
        self.net.inner().store(self.me, self.peer, store);
    }

    /// Sends the words of a frame, its stamp's included.
    fn publish(&mut self, words: Vec<u64>, limit: usize) -> Result<(), Refused> {
        let (slots, limit) = (words.len() / SLOT_WORDS, limit.min(self.capacity()));
        if slots > MAX_FRAME_SLOTS || slots > limit {
            return Err(Refused::Size);
        }
        self.look_at_consumer()?;
        if self.in_use + slots > limit {
            return Err(Refused::Full);
        }
        (self.in_use, self.sent) = (self.in_use + slots, true);
        self.tail += slots as u64;
        self.store(Store::Frame(words));
        Ok(())
    }

    /// Takes note of the slots that the peer gave back.
    fn look_at_consumer(&mut self) -> Result<(), Broken> {
        let mut net = self.net.inner();
        let pipe = net.seen(self.peer, self.me);
        if self.session.is_none() || pipe.view.attached != self.session {
            return Err(Broken::Dead);
        }
        if let Some((session, slots)) = &mut pipe.consumed
            && Some(*session) == self.session
        {
            self.in_use -= core::mem::take(slots).min(self.in_use);
        }
        Ok(())
    }
}

struct Words(Vec<u64>);

impl Sink for Words {
    fn word(&mut self, word: u64) {
        self.0.push(word);
    }
    fn words(&mut self, words: &[u64]) {
        self.0.extend_from_slice(words);
    }
}

impl Port for SimPort {
    fn peer(&self) -> PeerView {
        self.net.inner().seen(self.peer, self.me).view
    }

    fn attach(&mut self, session: Session) {
        self.session = Some(session);
        (self.tail, self.in_use, self.sent, self.owes_doorbell) = (0, 0, false, false);
        self.store(Store::Attach(session.flipped()));
    }

    fn detach(&mut self, reason: Leave) {
        self.session = None;
        self.store(Store::Detach(reason));
    }

    fn capacity(&self) -> usize {
        self.net.inner().config.ring_slots - 1
    }

    fn push(&mut self, frame: &Frame<'_>, limit: usize) -> Result<(), Refused> {
        let mut words = Words(Vec::with_capacity(frame.slots() * SLOT_WORDS));
        words.word(0);
        frame.write(&mut words);
        words.0.resize(frame.slots() * SLOT_WORDS, 0);
        self.publish(words.0, limit)
    }

    fn room_until(&mut self, limit: usize) -> Result<u64, Broken> {
        self.look_at_consumer()?;
        Ok(self.tail - self.in_use as u64 + limit.min(self.capacity()) as u64)
    }

    fn push_slot<const N: usize>(&mut self, words: [u64; N], until: u64) -> bool {
        if self.tail >= until {
            return false;
        }
        let mut line = Vec::with_capacity(SLOT_WORDS);
        line.push(0);
        line.extend(words);
        line.resize(SLOT_WORDS, 0);
        self.publish(line, self.capacity()).is_ok()
    }

    fn push_lines(
        &mut self,
        slots: usize,
        Lines { first, rest, last, page }: Lines<'_>,
        limit: usize,
    ) -> Result<(), Refused> {
        let mut words = Vec::with_capacity(slots * SLOT_WORDS);
        words.push(0);
        words.extend(first);
        words.extend(rest);
        words.extend(last);
        words.resize((slots * SLOT_WORDS).saturating_sub(page.len()), 0);
        words.extend(page);
        self.publish(words, limit)
    }

    fn glimpse(&mut self) -> Option<Glimpse> {
        match self.front() {
            Ok(None) => None,
            Ok(Some(Front { slots, line: [_, a, b, c, d, ..] })) => {
                Some(Glimpse { differs: (slots as u64 ^ 1) << 32, words: [a, b, c, d] })
            }
            Err(_) => Some(Glimpse { differs: 1, words: [0; GLIMPSE_WORDS] }),
        }
    }

    fn rest_of_slot(&self) -> [u64; SLOT_WORDS - 1 - GLIMPSE_WORDS] {
        let mut rest = [0; SLOT_WORDS - 1 - GLIMPSE_WORDS];
        self.read(1 + GLIMPSE_WORDS, &mut rest);
        rest
    }

    fn open(&mut self, slots: usize) -> bool {
        slots > 0 && slots <= MAX_FRAME_SLOTS
    }

    fn second_slot<const N: usize>(&self) -> [u64; N] {
        let mut slot = [0; N];
        self.read(SLOT_WORDS, &mut slot);
        slot
    }

    fn pop_slot(&mut self) {
        self.pop();
    }

    fn front(&mut self) -> Result<Option<Front>, Broken> {
        let mut net = self.net.inner();
        let pipe = net.seen(self.peer, self.me);
        // What a peer that has left had sent before is still there, as it is in a window.
        let left = pipe.view.attached.is_none() && !pipe.frames.is_empty();
        if self.session.is_none() || !left && pipe.view.attached != self.session {
            return Err(Broken::Dead);
        }
        let Some(frame) = pipe.frames.front() else { return Ok(None) };
        let mut line = [0; SLOT_WORDS];
        for (into, word) in line.iter_mut().zip(frame) {
            *into = *word;
        }
        Ok(Some(Front { slots: frame.len() / SLOT_WORDS, line }))
    }

    fn read(&self, word: usize, into: &mut [u64]) {
        let mut net = self.net.inner();
        let Some(frame) = net.seen(self.peer, self.me).frames.front() else { return };
        for (into, word) in into.iter_mut().zip(frame.get(word..).unwrap_or_default()) {
            *into = *word;
        }
    }

    fn pop(&mut self) {
        let Some(session) = self.session else { return };
        let popped = self.net.inner().seen(self.peer, self.me).frames.pop_front();
        if let Some(frame) = popped {
            self.store(Store::Consumed(session.flipped(), frame.len() / SLOT_WORDS));
            let mut net = self.net.inner();
            // The producer's wish is about what it will see; wake it once it will see anything.
            let wish = &mut net.seen(self.me, self.peer).want_space;
            self.owes_doorbell |= wish.take().is_some();
        }
    }

    fn notify(&mut self) -> bool {
        let mut due = core::mem::take(&mut self.owes_doorbell);
        if core::mem::take(&mut self.sent) {
            due |= core::mem::take(&mut self.net.inner().seen(self.me, self.peer).want_frame);
        }
        due
    }

    fn arm(&mut self, _: Meanwhile) -> bool {
        let session = self.session;
        let mut net = self.net.inner();
        let pipe = net.seen(self.peer, self.me);
        // The peer looks at the wish after it has sent: what is on its way already, it rings for
        // no more.
        let sleep =
            pipe.frames.is_empty() && !pipe.has_frame_travelling() && pipe.view.attached == session;
        pipe.want_frame = sleep;
        sleep
    }

    fn peer_works(&self) -> bool {
        false
    }

    fn disarm(&mut self) {
        self.net.inner().seen(self.peer, self.me).want_frame = false;
    }

    fn await_room(&mut self, slots: usize, limit: usize) -> Result<bool, Refused> {
        let limit = limit.min(self.capacity());
        if slots > limit {
            return Err(Refused::Size);
        }
        self.look_at_consumer()?;
        let mut net = self.net.inner();
        let pipe = net.seen(self.peer, self.me);
        let sleep = self.in_use + slots > limit && !pipe.has_room_travelling();
        pipe.want_space = sleep.then_some(slots);
        Ok(sleep)
    }
}

/// Where a simulated instance announces itself.
pub struct SimAnnounce {
    net: Net,
    me: InstanceId,
    instances: usize,
}

impl SimAnnounce {
    pub(crate) fn new(net: Net, me: InstanceId, instances: usize) -> SimAnnounce {
        SimAnnounce { net, me, instances }
    }
}

impl Announce for SimAnnounce {
    fn announce(&mut self, presence: Presence) {
        self.net.inner().announce(self.me, presence, self.instances);
    }
}
