//! The sending end of a ring.

use core::fmt;

use maize_window::Window;
use maize_wire::{Lines, SLOT_WORDS, Session, Sink};

use crate::{
    Broken, Corrupt, Geometry, GeometryError, Meanwhile, NEVER, WANT_MEANWHILE, line_of,
    stamp::{EMPTY, INDEX, stamp},
};

/// The memory of a ring, as its producer needs it.
#[derive(Clone)]
pub struct ProducerParts<W> {
    /// The slots; written by this side.
    pub ring: W,
    /// The consumer's line that says how far it has consumed.
    pub consumed: W,
    /// The consumer's line that says at which index it wants a doorbell.
    pub want_frame: W,
    /// The line in which this side says at which consumed index it wants one.
    pub want_space: W,
    /// The consumer's attachment line.
    pub attachment: W,
}

/// The sending end of a ring.
pub struct Producer<W> {
    parts: ProducerParts<W>,
    geometry: Geometry,
    /// Word that the peer's attachment line has while the session lasts.
    attached: u64,
    tag: u16,
    /// Index of the next slot to fill.
    tail: u64,
    /// What the consumer has consumed, as far as we have looked.
    consumed: u64,
    /// The slots from the tail to before this index have no stamp: a frame that ends before it
    /// needs no other line than its own.
    cleared: u64,
    /// The stamp of a frame of one slot, but for the index.
    slot_stamp: u64,
    /// Tail at the last look at the consumer's wish for a doorbell.
    notified: u64,
}

impl<W: Window> Producer<W> {
    /// A producer for frames of up to `largest_frame` slots. It sends nothing before
    /// [`Producer::start`].
    ///
    /// # Errors
    /// If ring and frames do not go together.
    pub fn new(
        parts: ProducerParts<W>,
        largest_frame: usize,
    ) -> Result<Producer<W>, GeometryError> {
        let geometry = Geometry::of(&parts.ring, largest_frame)?;
        Ok(Producer {
            parts,
            geometry,
            attached: 0,
            tag: 0,
            tail: 0,
            consumed: 0,
            cleared: 0,
            slot_stamp: 0,
            notified: 0,
        })
    }

    /// Empties the ring for a new session. The caller has left the session before (it has changed
    /// its own attachment line); the consumer must not look at the ring before this
    /// side has published, in its own attachment line, that it is attached to the session.
    pub fn start(&mut self, session: Session) {
        self.attached = session.flipped().to_word();
        self.tag = session.send_tag();
        self.slot_stamp = stamp(0, 1, self.tag);
        (self.tail, self.consumed, self.cleared, self.notified) = (0, 0, 1, 0);
        // Whoever sees the emptied ring also sees that we had left the session before.
        self.parts.ring.fence_release();
        self.parts.want_space.store(0, NEVER);
        self.parts.ring.store(0, EMPTY);
    }

    /// Slots that are filled and not known to be consumed.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "at most the number of slots")]
    pub fn in_use(&self) -> usize {
        (self.tail - self.consumed) as usize
    }

    /// Slots that may be in use at the most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.geometry.capacity()
    }

    /// Claims room for a frame of `slots` slots, as long as no more than `limit` slots (and no
    /// more than [`Producer::capacity`]) are in use then. Nothing is published before
    /// [`Claim::publish`]; a claim that is dropped leaves no trace.
    ///
    /// # Errors
    /// [`Refused::Full`] if there is no room now, [`Refused::Size`] if there never will be,
    /// [`Refused::Broken`] if there is nobody to send to.
    #[inline]
    pub fn claim(&mut self, slots: usize, limit: usize) -> Result<Claim<'_, W>, Refused> {
        let count = self.make_room(slots, limit)?;
        // The body may cover stamps that were cleared, and the claim may be dropped.
        self.cleared = self.tail + 1;
        let next = self.geometry.word_of(self.tail) + 1;
        let left = slots * SLOT_WORDS - 1;
        Ok(Claim { producer: self, slots: count, next, left })
    }

    /// Whether there is room as [`Producer::claim`] wants it.
    #[inline]
    fn make_room(&mut self, slots: usize, limit: usize) -> Result<u16, Refused> {
        let limit = limit.min(self.geometry.capacity());
        let Ok(count) = u16::try_from(slots) else { return Err(Refused::Size) };
        if slots == 0 || slots > self.geometry.largest_frame || slots > limit {
            return Err(Refused::Size);
        }
        if self.in_use() + slots > limit {
            self.look_at_consumer()?;
            if self.in_use() + slots > limit {
                return Err(Refused::Full);
            }
        }
        Ok(count)
    }

    /// Publishes a frame of `slots` slots, given by its lines: what [`Producer::claim`] and
    /// [`Claim::publish`] do with it. Its first line is written last, at once, so that a consumer
    /// that polls it takes it away from this side only once.
    ///
    /// # Errors
    /// As [`Producer::claim`]; also [`Refused::Size`] if the lines are more than the slots.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the lines are not to be put together in memory")]
    pub fn push_lines(
        &mut self,
        slots: usize,
        Lines { first, rest, last, page }: Lines<'_>,
        limit: usize,
    ) -> Result<(), Refused> {
        let count = self.make_room(slots, limit)?;
        let behind = (slots - 1) * SLOT_WORDS;
        if rest.len() + usize::from(last.is_some()) + page.len() > behind {
            return Err(Refused::Size);
        }
        let (start, end) = (self.tail, self.tail + slots as u64);
        let second = self.geometry.word_of(start + 1);
        if rest.len() <= SLOT_WORDS {
            // A slot does not go across the ring's end.
            let (fours, ones) = rest.as_chunks::<4>();
            for (four, offset) in fours.iter().zip([0, 4]) {
                self.parts.ring.store_array(second + offset, *four);
            }
            for (offset, word) in ones.iter().enumerate() {
                self.parts.ring.store(second + rest.len() - ones.len() + offset, *word);
            }
        } else {
            self.copy_in(second, rest);
        }
        if let Some(last) = last {
            self.copy_in(second + rest.len(), &[last]);
        }
        if !page.is_empty() {
            self.copy_in(second + behind - page.len(), page);
        }
        self.clear(end);
        self.tail = end;
        let stamp = stamp(start, count, self.tag);
        self.parts.ring.store_line(self.geometry.slot_of(start), stamp, first);
        Ok(())
    }

    /// Copies words into the ring, from its word `word` (modulo the ring) on.
    #[inline]
    fn copy_in(&self, word: usize, words: &[u64]) {
        let ring = &self.parts.ring;
        let start = word & (ring.words() - 1);
        let (first, second) = words.split_at(words.len().min(ring.words() - start));
        ring.copy_in(start, first);
        if !second.is_empty() {
            ring.copy_in(0, second);
        }
    }

    /// The index before which slots may be filled so that no more than `limit` of them (and no more
    /// than [`Producer::capacity`]) are in use, from a look at the consumer: for
    /// [`Producer::push_slot`]. It stays true: a consumer gives slots back, and takes none.
    ///
    /// # Errors
    /// [`Broken`] if there is nobody to send to.
    pub fn room_until(&mut self, limit: usize) -> Result<u64, Broken> {
        self.look_at_consumer()?;
        Ok(self.consumed + limit.min(self.geometry.capacity()) as u64)
    }

    /// Publishes a frame of one slot, given by its words behind the stamp as far as they mean
    /// anything, if it is before index `until`, which [`Producer::room_until`] has returned in this
    /// session: what [`Producer::claim`] and [`Claim::publish`] do with it, but with nothing looked at
    /// that is known already. `false` if it is not.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "in emulation each call costs as much as all the rest"
    )]
    pub fn push_slot<const N: usize>(&mut self, words: [u64; N], until: u64) -> bool {
        let (start, end) = (self.tail, self.tail + 1);
        // One branch for both, of which nearly always neither is the case.
        if (start >= until) | (end >= self.cleared) && !self.clear_before(start, until) {
            return false;
        }
        self.tail = end;
        let stamp = self.slot_stamp | start & INDEX;
        self.parts.ring.store_line(line_of(&self.parts.ring, start), stamp, words);
        true
    }

    /// Clears the slot behind the one at `index`, if that is before `until`.
    #[inline(never)]
    fn clear_before(&mut self, index: u64, until: u64) -> bool {
        let free = index < until;
        if free {
            self.clear(index + 1);
        }
        free
    }

    /// Clears the slot at `index`, which is free.
    #[inline]
    fn clear(&mut self, index: u64) {
        self.parts.ring.store(self.geometry.word_of(index), EMPTY);
        self.cleared = index + 1;
    }

    /// Publishes the frame of that many slots at the tail, with one store.
    #[inline]
    fn publish(&mut self, slots: u16) {
        let start = self.geometry.word_of(self.tail);
        let stamp = stamp(self.tail, slots, self.tag);
        self.tail += u64::from(slots);
        self.clear(self.tail);
        self.parts.ring.store_release(start, stamp);
    }

    /// Loads and validates the consumer's index.
    #[cold]
    fn look_at_consumer(&mut self) -> Result<(), Broken> {
        let found = self.parts.consumed.load_acquire(0);
        // A peer that has left may already be using its lines for another session, so whether
        // it is there comes before what it says.
        if self.parts.attachment.load_acquire(0) != self.attached {
            return Err(Broken::Dead);
        }
        let (least, most) = (self.consumed, self.tail);
        if !(least..=most).contains(&found) {
            return Err(Broken::Corrupt(Corrupt::Consumed { least, most, found }));
        }
        self.consumed = found;
        Ok(())
    }

    /// Whether what was published since the last call contains the index at which the consumer
    /// wants a doorbell. To be called once after a batch, before anything waits for its effect.
    /// Also prepares for the next frame what can be done before it is there.
    #[inline]
    #[must_use = "the consumer sleeps until its doorbell rings"]
    pub fn notify(&mut self) -> bool {
        if self.notified == self.tail {
            return false;
        }
        // Pairs with the fence in `Consumer::arm`: either it sees our stamp or we its wish.
        self.parts.want_frame.fence();
        let want = self.parts.want_frame.load(0);
        let due = (self.notified..self.tail).contains(&want);
        self.notified = self.tail;
        // The slot behind the next frame, if the consumer is known to be through with it: clearing
        // it takes its line away from the consumer, which a frame should not have to wait for.
        let free = self.consumed + self.geometry.slots as u64;
        if self.cleared == self.tail + 1 && self.cleared < free {
            self.clear(self.cleared);
        }
        due
    }

    /// Whether the consumer, when it last wanted a doorbell, said that it works meanwhile.
    #[must_use]
    pub fn consumer_works(&self) -> bool {
        self.parts.want_frame.load(WANT_MEANWHILE) == Meanwhile::Works as u64
    }

    /// Asks for a doorbell once there is room as [`Producer::claim`] wants it. Returns whether
    /// the caller may sleep: `false` means that there is room already.
    ///
    /// # Errors
    /// [`Refused::Size`] if there will never be room (a limit so low that the consumer would have
    /// to announce more often than it does counts as such), [`Refused::Broken`] if there is
    /// nobody to wait for.
    pub fn await_room(&mut self, slots: usize, limit: usize) -> Result<bool, Refused> {
        let limit = limit.min(self.geometry.capacity());
        if slots == 0
            || slots > self.geometry.largest_frame
            || slots as u64 + self.geometry.announce_every > limit as u64
        {
            return Err(Refused::Size);
        }
        let enough = (self.tail + slots as u64).saturating_sub(limit as u64);
        self.parts.want_space.store(0, enough);
        // Pairs with the fence in `Consumer::announce`.
        self.parts.want_space.fence();
        self.look_at_consumer()?;
        let sleep = self.consumed < enough;
        if !sleep {
            self.parts.want_space.store(0, NEVER);
        }
        Ok(sleep)
    }
}

/// Room for one frame. Takes the frame's words behind the stamp, in order.
pub struct Claim<'a, W> {
    producer: &'a mut Producer<W>,
    slots: u16,
    /// Word of the ring to fill next.
    next: usize,
    /// Words that may still be filled.
    left: usize,
}

impl<W: Window> Claim<'_, W> {
    /// Publishes the frame, with one store.
    #[inline]
    pub fn publish(self) {
        self.producer.publish(self.slots);
    }
}

impl<W: Window> Sink for Claim<'_, W> {
    #[inline]
    fn word(&mut self, word: u64) {
        self.words(&[word]);
    }

    #[inline]
    fn words(&mut self, words: &[u64]) {
        debug_assert!(words.len() <= self.left, "frame is longer than its claim");
        let words = &words[..words.len().min(self.left)];
        self.left -= words.len();
        self.producer.copy_in(self.next, words);
        self.next += words.len();
    }
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No room at the moment.
    Full,
    /// A frame of this size can never be sent under this limit.
    Size,
    /// The session is over.
    Broken(Broken),
}

impl From<Broken> for Refused {
    fn from(broken: Broken) -> Refused {
        Refused::Broken(broken)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Full => f.write_str("ring is full"),
            Refused::Size => f.write_str("frame does not fit the ring"),
            Refused::Broken(broken) => broken.fmt(f),
        }
    }
}

impl core::error::Error for Refused {}
