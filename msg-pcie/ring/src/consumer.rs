//! The receiving end of a ring.

use maize_window::Window;
use maize_wire::{SLOT_WORDS, Session};

use crate::{
    Broken, Corrupt, Geometry, GeometryError, Meanwhile, NEVER, WANT_MEANWHILE, line_of,
    stamp::{EMPTY, INDEX, slots_of, stamp},
};

/// The memory of a ring, as its consumer needs it.
#[derive(Clone)]
pub struct ConsumerParts<W> {
    /// The slots; written by the producer.
    pub ring: W,
    /// The line in which this side says how far it has consumed.
    pub consumed: W,
    /// The line in which this side says at which index it wants a doorbell.
    pub want_frame: W,
    /// The producer's line that says at which consumed index it wants one.
    pub want_space: W,
    /// The producer's attachment line.
    pub attachment: W,
}

/// The first slot of the frame at the head: a private copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    /// Slots of the frame, validated.
    pub slots: usize,
    /// The words of its first slot; the stamp (word 0) has been validated.
    pub line: [u64; SLOT_WORDS],
}

/// The slot at the head, as a glance shows it: a private copy of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// Zero if the line is the frame that is due, of one slot. Otherwise it may be any frame, or
    /// none: [`Consumer::front`] tells.
    pub differs: u64,
    /// The words behind the stamp: the header's, and the first of the body.
    pub words: [u64; GLIMPSE_WORDS],
}

impl Glimpse {
    /// Slots of the frame that is due, if that is what the line is: nothing else of its stamp
    /// differs from one of one slot. What a frame of so many slots can be, its header tells.
    #[inline]
    #[must_use]
    pub const fn slots(&self) -> Option<usize> {
        if self.differs & !(0xffff << 32) != 0 {
            return None;
        }
        Some((self.differs >> 32) as usize ^ 1)
    }
}

/// Words behind the stamp that a glimpse shows.
pub const GLIMPSE_WORDS: usize = 4;

/// The receiving end of a ring.
pub struct Consumer<W> {
    parts: ConsumerParts<W>,
    geometry: Geometry,
    /// Word that the peer's attachment line has while the session lasts.
    attached: u64,
    tag: u16,
    /// Index of the frame to read next.
    head: u64,
    /// The stamp of a frame of one slot, but for the index.
    slot_stamp: u64,
    /// Slots of the frame at the head, once it was looked at.
    front: usize,
    /// Head at the last announcement.
    announced: u64,
    /// Head at which the next is due.
    announce_at: u64,
    /// Whether the producer wants a doorbell for room that it has been given.
    owes_doorbell: bool,
}

impl<W: Window> Consumer<W> {
    /// A consumer for frames of up to `largest_frame` slots. It finds nothing before
    /// [`Consumer::start`].
    ///
    /// # Errors
    /// If ring and frames do not go together.
    pub fn new(
        parts: ConsumerParts<W>,
        largest_frame: usize,
    ) -> Result<Consumer<W>, GeometryError> {
        let geometry = Geometry::of(&parts.ring, largest_frame)?;
        Ok(Consumer {
            parts,
            geometry,
            attached: 0,
            tag: 0,
            head: 0,
            slot_stamp: 0,
            front: 0,
            announced: 0,
            announce_at: 0,
            owes_doorbell: false,
        })
    }

    /// Goes to the start of the ring for a new session. The caller has left the session before (it
    /// has changed its own attachment line); the producer must not send before this
    /// side has published, in its own attachment line, that it is attached to the session; this
    /// side must not read before the producer has.
    pub fn start(&mut self, session: Session) {
        self.attached = session.flipped().to_word();
        self.tag = session.receive_tag();
        self.slot_stamp = stamp(0, 1, self.tag);
        (self.head, self.front, self.announced, self.owes_doorbell) = (0, 0, 0, false);
        self.announce_at = self.geometry.announce_every;
        // Whoever sees the index at zero also sees that we had left the session before.
        self.parts.consumed.fence_release();
        self.parts.want_frame.store(0, NEVER);
        self.parts.consumed.store(0, 0);
    }

    /// A glance at the head, which is quicker than [`Consumer::front`] but says less: `None` if
    /// nothing is there, whether or not the peer still is.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "in emulation each call costs as much as all the rest"
    )]
    pub fn glimpse(&self) -> Option<Glimpse> {
        let (found, words) =
            self.parts.ring.load_line(line_of(&self.parts.ring, self.head), EMPTY)?;
        Some(Glimpse { differs: found ^ (self.slot_stamp | self.head & INDEX), words })
    }

    /// The words of the slot at the head behind those of a glimpse.
    #[inline]
    pub fn rest_of_slot(&self) -> [u64; SLOT_WORDS - 1 - GLIMPSE_WORDS] {
        let start = self.geometry.word_of(self.head);
        self.parts.ring.load_array(start + 1 + GLIMPSE_WORDS)
    }

    /// Takes note of the slots of the frame at the head, as a glimpse has shown them: from then on
    /// [`Consumer::read`] and [`Consumer::pop`] know it. `false`, and nothing is noted, if no frame
    /// has so many.
    #[inline]
    #[must_use]
    pub fn open(&mut self, slots: usize) -> bool {
        let possible = slots > 0 && slots <= self.geometry.largest_frame;
        if possible {
            self.front = slots;
        }
        possible
    }

    /// The first words of the slot behind the first, of a frame that has one.
    #[inline]
    pub fn second_slot<const N: usize>(&self) -> [u64; N] {
        const { assert!(N <= SLOT_WORDS) };
        self.parts.ring.load_array(self.geometry.word_of(self.head + 1))
    }

    /// Gives the frame at the head back, which was one of one slot, and not opened.
    #[inline]
    pub fn pop_slot(&mut self) {
        self.head += 1;
        if self.head >= self.announce_at {
            self.announce();
        }
    }

    /// The frame at the head; `None` if there is none.
    ///
    /// # Errors
    /// [`Broken`] if the peer has left, or what is there is no frame.
    #[inline]
    pub fn front(&mut self) -> Result<Option<Front>, Broken> {
        let start = self.geometry.word_of(self.head);
        let found = self.parts.ring.load_acquire(start);
        if found == EMPTY {
            return if self.peer_is_attached() { Ok(None) } else { Err(Broken::Dead) };
        }
        let slots = match slots_of(found, self.head, self.tag, self.geometry.largest_frame) {
            Ok(slots) => slots,
            Err(corrupt) => return Err(self.refuse(corrupt)),
        };
        self.front = slots;
        let [a, b, c, d, e, f, g] = self.parts.ring.load_array(start + 1);
        Ok(Some(Front { slots, line: [found, a, b, c, d, e, f, g] }))
    }

    #[cold]
    fn refuse(&self, corrupt: Corrupt) -> Broken {
        // A peer that has left may be preparing the ring for another session.
        if self.peer_is_attached() { Broken::Corrupt(corrupt) } else { Broken::Dead }
    }

    /// Copies words of the frame at the head, from its word `word` on. What lies behind the frame
    /// is never read: words beyond it stay as they are.
    #[inline]
    pub fn read(&self, word: usize, into: &mut [u64]) {
        let frame = self.front * SLOT_WORDS;
        debug_assert!(word + into.len() <= frame, "read beyond the frame");
        let count = into.len().min(frame.saturating_sub(word));
        let words = self.parts.ring.words();
        let start = (self.geometry.word_of(self.head) + word) & (words - 1);
        let (first, second) = into[..count].split_at_mut(count.min(words - start));
        self.parts.ring.copy_out(start, first);
        self.parts.ring.copy_out(0, second);
    }

    /// Gives the frame at the head back to the producer. Without a frame from
    /// [`Consumer::front`], does nothing.
    #[inline]
    pub fn pop(&mut self) {
        self.head += self.front as u64;
        self.front = 0;
        if self.head >= self.announce_at {
            self.announce();
        }
    }

    #[cold]
    fn announce(&mut self) {
        self.parts.consumed.store_release(0, self.head);
        // Pairs with the fence in `Producer::await_room`: either it sees our index or we its wish.
        self.parts.consumed.fence();
        let want = self.parts.want_space.load(0);
        self.owes_doorbell |= self.announced < want && want <= self.head;
        self.announced = self.head;
        self.announce_at = self.head + self.geometry.announce_every;
    }

    /// Whether the producer wants a doorbell because there is room again; asks once.
    #[inline]
    #[must_use = "the producer sleeps until its doorbell rings"]
    pub fn notify(&mut self) -> bool {
        core::mem::take(&mut self.owes_doorbell)
    }

    /// Asks for a doorbell with the next frame. Returns whether the caller may sleep: `false`
    /// means that a frame, or news about the peer, is there already, or that the producer's own
    /// doorbell is due ([`Consumer::notify`]). In that
    /// case the wish is withdrawn; otherwise it stands until a frame has come.
    #[must_use = "a frame may have come before the wish was visible"]
    pub fn arm(&mut self, meanwhile: Meanwhile) -> bool {
        self.parts.want_frame.store(WANT_MEANWHILE, meanwhile as u64);
        self.parts.want_frame.store(0, self.head);
        // Pairs with the fence in `Producer::notify`.
        self.parts.want_frame.fence();
        let sleep = !self.owes_doorbell
            && self.parts.ring.load_acquire(self.geometry.word_of(self.head)) == EMPTY
            && self.peer_is_attached();
        if !sleep {
            self.disarm();
        }
        sleep
    }

    /// Withdraws the wish of [`Consumer::arm`], for who polls again. One doorbell may still come.
    #[inline]
    pub fn disarm(&mut self) {
        self.parts.want_frame.store(0, NEVER);
    }

    #[inline]
    fn peer_is_attached(&self) -> bool {
        self.parts.attachment.load_acquire(0) == self.attached
    }
}
