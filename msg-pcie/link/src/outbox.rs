//! What waits to be sent: one bounded queue a class, and whose turn it is.

use alloc::{collections::VecDeque, vec::Vec};

use maize_wire::{
    Body, Class, FRAGMENT_WORDS, Fragment, HEADER_WORDS, Kind, MAX_BODY_BYTES, MAX_FRAME_SLOTS,
    PAGE_BYTES, PAGE_WORDS, SLOT_BYTES,
};

/// Bounds of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Messages that may wait in each class.
    pub messages: usize,
    /// Bytes of bodies and pages that may wait in each class. A single message is taken whatever
    /// its size if nothing else waits.
    pub bytes: usize,
    /// Slots of more urgent frames that may pass a waiting class before it is its turn.
    pub patience_slots: usize,
}

impl Default for OutboxConfig {
    fn default() -> OutboxConfig {
        OutboxConfig { messages: 64, bytes: 512 * 1024, patience_slots: 256 }
    }
}

/// A message that waits, and how much of it has been sent.
pub(crate) struct Pending {
    pub(crate) kind: Kind,
    pub(crate) sequence: u32,
    pub(crate) contents: Vec<u8>,
    /// The words of the page, or none; a vector only because its memory can be asked for politely.
    page: Vec<u64>,
    pub(crate) sent: usize,
}

impl Pending {
    /// The page that goes with it.
    pub(crate) fn page(&self) -> Option<&[u64; PAGE_WORDS]> {
        self.page.first_chunk()
    }

    /// What the next frame carries: the whole message if it fits one, or the next fragment.
    pub(crate) fn next_body(&self) -> Body<'_> {
        if self.contents.len() <= MAX_BODY_BYTES {
            return Body { fragment: None, contents: &self.contents };
        }
        let rest = self.contents.get(self.sent..).unwrap_or_default();
        let contents = rest.get(..FRAGMENT_BYTES).unwrap_or(rest);
        // Both fit: the message's length was checked when it was accepted.
        let fragment = Fragment { total: self.contents.len() as u32, offset: self.sent as u32 };
        Body { fragment: Some(fragment), contents }
    }

    /// Slots of the next frame, or one or two more.
    pub(crate) fn next_slots(&self) -> usize {
        let body = self.next_body().contents.len() + (HEADER_WORDS + FRAGMENT_WORDS + 1) * 8;
        let page = self.page().map_or(0, |_| PAGE_BYTES / SLOT_BYTES);
        (body.div_ceil(SLOT_BYTES) + page).min(MAX_FRAME_SLOTS)
    }

    fn bytes(&self) -> usize {
        self.contents.len() + self.page().map_or(0, |_| PAGE_BYTES)
    }
}

/// Why a message cannot wait.
pub(crate) enum Overflow {
    Full,
    NoMemory,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    bytes: usize,
    /// Slots of more urgent frames sent since this class last sent one.
    passed_by: usize,
    /// Somebody was turned away, and has not been told that there is room again.
    turned_away: bool,
}

/// The queues of a link.
pub(crate) struct Outbox {
    config: OutboxConfig,
    queues: [Queue; Class::COUNT],
    waiting: usize,
    /// Somebody was turned away from a queue and has not been told yet that there is room.
    turned_away: bool,
}

impl Outbox {
    pub(crate) fn new(config: OutboxConfig) -> Outbox {
        Outbox { config, queues: Default::default(), waiting: 0, turned_away: false }
    }

    /// Whether anything waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether a message of this class may go ahead of all that waits: nothing of its class or of
    /// a more urgent one does, and nobody has waited for too long.
    #[inline]
    pub(crate) fn may_overtake(&self, class: Class) -> bool {
        self.is_empty()
            || self.queues.iter().enumerate().all(|(index, queue)| {
                queue.waiting.is_empty() || index > class.index() && !self.is_due(queue)
            })
    }

    /// Makes a message wait.
    pub(crate) fn queue(
        &mut self,
        (class, kind, sequence): (Class, Kind, u32),
        contents: &[u8],
        page: Option<&[u64; PAGE_WORDS]>,
    ) -> Result<(), Overflow> {
        let queue = &mut self.queues[class.index()];
        let bytes = contents.len() + page.map_or(0, |_| PAGE_BYTES);
        let room = queue.waiting.is_empty()
            || queue.waiting.len() < self.config.messages
                && queue.bytes + bytes <= self.config.bytes;
        if !room {
            (queue.turned_away, self.turned_away) = (true, true);
            return Err(Overflow::Full);
        }
        let (mut copy, mut page_copy) = (Vec::new(), Vec::new());
        let reserved = copy
            .try_reserve_exact(contents.len())
            .and_then(|()| page_copy.try_reserve_exact(page.map_or(0, |page| page.len())))
            .and_then(|()| queue.waiting.try_reserve(1));
        if reserved.is_err() {
            return Err(Overflow::NoMemory);
        }
        copy.extend_from_slice(contents);
        // Straight from where it lies, without a copy on the stack.
        page_copy.extend_from_slice(page.map_or(&[], |page| page));
        queue.bytes += bytes;
        queue.waiting.push_back(Pending {
            kind,
            sequence,
            contents: copy,
            page: page_copy,
            sent: 0,
        });
        self.waiting += 1;
        Ok(())
    }

    /// The class whose turn it is, and the class whose limit it may use: one that has waited for
    /// too long may use the whole ring.
    pub(crate) fn turn(&self) -> Option<(Class, Class)> {
        if self.is_empty() {
            return None;
        }
        let waiting = |class: &&Class| !self.queues[class.index()].waiting.is_empty();
        let due = |class: &&Class| self.is_due(&self.queues[class.index()]);
        let classes = || Class::ALL.iter().filter(waiting);
        let late = classes().find(due).map(|class| (*class, Class::Urgent));
        late.or_else(|| classes().next().map(|class| (*class, *class)))
    }

    /// The message of a class that is to be sent next.
    pub(crate) fn front(&self, class: Class) -> Option<&Pending> {
        self.queues[class.index()].waiting.front()
    }

    /// Notes that this many bytes of the class's front message were sent; at its end it goes.
    pub(crate) fn advance(&mut self, class: Class, contents: usize) {
        let queue = &mut self.queues[class.index()];
        let Some(front) = queue.waiting.front_mut() else { return };
        front.sent += contents;
        if front.sent >= front.contents.len() {
            queue.bytes -= front.bytes();
            queue.waiting.pop_front();
            self.waiting -= 1;
        }
    }

    /// Notes that a frame of a class was sent, so that those whom it passed are not passed for ever.
    #[inline]
    pub(crate) fn passed(&mut self, class: Class, slots: usize) {
        if !self.is_empty() {
            self.pass(class, slots);
        }
    }

    #[cold]
    fn pass(&mut self, class: Class, slots: usize) {
        for (index, queue) in self.queues.iter_mut().enumerate() {
            if index == class.index() || queue.waiting.is_empty() {
                queue.passed_by = 0;
            } else {
                queue.passed_by += slots;
            }
        }
    }

    /// A class from which somebody was turned away and whose queue has drained to half since.
    pub(crate) fn take_room(&mut self) -> Option<Class> {
        let config = self.config;
        let roomy = Class::ALL.into_iter().find(|class| {
            let queue = &mut self.queues[class.index()];
            let roomy =
                queue.waiting.len() <= config.messages / 2 && queue.bytes <= config.bytes / 2;
            let tell = queue.turned_away && roomy;
            queue.turned_away &= !tell;
            tell
        });
        self.turned_away = self.queues.iter().any(|queue| queue.turned_away);
        roomy
    }

    /// Whether nothing waits, and [`Outbox::take_room`] has nothing to tell.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting == 0 && !self.turned_away
    }

    /// Forgets everything that waits. Returns how many messages that were.
    pub(crate) fn clear(&mut self) -> usize {
        self.queues = Default::default();
        self.turned_away = false;
        core::mem::take(&mut self.waiting)
    }

    #[inline]
    fn is_due(&self, queue: &Queue) -> bool {
        queue.passed_by >= self.config.patience_slots
    }
}

/// Slots that may be in use, in a ring of `capacity`, when a frame of this class is added. What is
/// ahead of an urgent message in the ring is bounded by the limits of the classes below.
#[inline]
pub(crate) const fn slot_limit(class: Class, capacity: usize) -> usize {
    match class {
        Class::Urgent => capacity,
        Class::Normal => capacity - capacity / 4,
        Class::Bulk => {
            let half = capacity / 2;
            if half < BULK_SLOTS { half } else { BULK_SLOTS }
        }
    }
}

const BULK_SLOTS: usize = 4 * MAX_FRAME_SLOTS;

/// Bytes of a message that one fragment carries.
const FRAGMENT_BYTES: usize = MAX_BODY_BYTES - FRAGMENT_WORDS * 8;
