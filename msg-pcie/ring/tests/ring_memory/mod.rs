//! One ring in otherwise empty memory, and both of its ends.
#![allow(dead_code, reason = "each test file uses another part of it")]

use maize_ring::{Consumer, ConsumerParts, Producer, ProducerParts, Refused};
use maize_window::{Span, Window};
use maize_wire::{Epoch, Lines, SLOT_WORDS, Session, Sink};

/// Words of memory for a ring of that many slots.
pub(crate) const fn words_for(slots: usize) -> usize {
    (slots + LINES) * SLOT_WORDS
}

const LINES: usize = 5;

/// The producer's session; the consumer has it flipped.
pub(crate) fn session() -> Session {
    Session { local: Epoch::new(3).unwrap(), remote: Epoch::new(8).unwrap() }
}

/// Lines of the memory, for tests that tamper with them.
#[derive(Clone, Copy)]
pub(crate) enum Line {
    Consumed,
    WantFrame,
    WantSpace,
    ProducerAttachment,
    ConsumerAttachment,
}

pub(crate) struct RingMemory<W> {
    pub(crate) memory: W,
    pub(crate) slots: usize,
    pub(crate) largest: usize,
}

impl<W: Window> RingMemory<W> {
    pub(crate) fn new(memory: W, largest: usize) -> RingMemory<W> {
        let slots = memory.words() / SLOT_WORDS - LINES;
        RingMemory { memory, slots, largest }
    }

    pub(crate) fn ring(&self) -> W {
        self.memory.part(Span { start: 0, words: self.slots * SLOT_WORDS }).unwrap()
    }

    pub(crate) fn line(&self, line: Line) -> W {
        let start = (self.slots + line as usize) * SLOT_WORDS;
        self.memory.part(Span { start, words: SLOT_WORDS }).unwrap()
    }

    pub(crate) fn producer(&self) -> Producer<W> {
        let parts = ProducerParts {
            ring: self.ring(),
            consumed: self.line(Line::Consumed),
            want_frame: self.line(Line::WantFrame),
            want_space: self.line(Line::WantSpace),
            attachment: self.line(Line::ConsumerAttachment),
        };
        Producer::new(parts, self.largest).unwrap()
    }

    pub(crate) fn consumer(&self) -> Consumer<W> {
        let parts = ConsumerParts {
            ring: self.ring(),
            consumed: self.line(Line::Consumed),
            want_frame: self.line(Line::WantFrame),
            want_space: self.line(Line::WantSpace),
            attachment: self.line(Line::ProducerAttachment),
        };
        Consumer::new(parts, self.largest).unwrap()
    }

    /// Both ends, started and attached.
    pub(crate) fn ends(&self) -> (Producer<W>, Consumer<W>) {
        let (mut producer, mut consumer) = (self.producer(), self.consumer());
        producer.start(session());
        self.line(Line::ProducerAttachment).store_release(0, session().to_word());
        consumer.start(session().flipped());
        self.line(Line::ConsumerAttachment).store_release(0, session().flipped().to_word());
        (producer, consumer)
    }
}

/// Sends a frame that fills as many slots as its words need. Its first word decides which of the
/// ways of sending such a frame is taken.
pub(crate) fn send<W: Window>(
    producer: &mut Producer<W>,
    words: &[u64],
    limit: usize,
) -> Result<(), Refused> {
    let slots = (words.len() + 1).div_ceil(SLOT_WORDS);
    let number = words.first().copied().unwrap_or(0);
    if number.is_multiple_of(3) {
        let (front, behind) = words.split_at(words.len().min(SLOT_WORDS - 1));
        let mut first = [0; SLOT_WORDS - 1];
        first[..front.len()].copy_from_slice(front);
        // What fills the last slot passes for a page, and a single word for a last one.
        let page = if (words.len() + 1).is_multiple_of(SLOT_WORDS) { SLOT_WORDS } else { 0 };
        let (body, page) = behind.split_at(behind.len() - page.min(behind.len()));
        let (rest, last) = match body {
            [rest @ .., last] if rest.len() % 2 == 1 => (rest, Some(*last)),
            _ => (body, None),
        };
        return producer.push_lines(slots, Lines { first, rest, last, page }, limit);
    }
    if let Ok(line) = <[u64; SLOT_WORDS - 1]>::try_from(words)
        && number % 2 == 1
    {
        let until = producer.room_until(limit)?;
        return if producer.push_slot(line, until) { Ok(()) } else { Err(Refused::Full) };
    }
    let mut claim = producer.claim(slots, limit)?;
    claim.words(words);
    claim.publish();
    Ok(())
}
