//! What arrives: validation of frames, order, and fragments that become messages.

use alloc::vec::Vec;

use maize_ring::{Front, Glimpse};
use maize_wire::{
    Class, Epoch, FRAGMENT_WORDS, Fragment, FrameError, HEADER_WORDS, Header, INLINE_WORDS,
    InstanceId, Kind, MAX_BODY_BYTES, PAGE_WORDS, Plain, Route, SLOT_WORDS, Session, body_matches,
    checksum::{Coverage, of_words},
    class_index,
};

use crate::Port;

/// A message that has arrived. Its body is in [`crate::Link::body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is about.
    pub kind: Kind,
    /// Its priority.
    pub class: Class,
    /// Its number in its class, in this direction of the session.
    pub sequence: u32,
    /// Bytes of its body.
    pub length: usize,
    /// Whether a page came with it.
    pub has_page: bool,
}

impl Message {
    /// What there is before the first.
    pub(crate) const NONE: Message =
        Message { kind: Kind(0), class: Class::Urgent, sequence: 0, length: 0, has_page: false };

    /// What a header says, as [`Plain::to_words`] has it.
    #[inline]
    fn of((first, third): (u64, u64)) -> Message {
        let Plain { kind, class, length, page, sequence } = Plain::of_words(first, third);
        Message { kind, class, sequence, length: length as usize, has_page: page }
    }
}

/// What a frame turned out to be.
pub(crate) enum Arrival {
    /// A message, whole.
    Message(Message),
    /// A part of one.
    Part,
    /// A frame of another session.
    Stale,
    /// A part for which there is no memory now; it stays in the ring.
    NoMemory,
}

struct Partial {
    kind: Kind,
    total: u32,
    contents: Vec<u8>,
}

/// The page of the message that has just arrived.
#[derive(Clone, Copy)]
struct PagePlace {
    word: usize,
    checksum: Option<u64>,
}

pub(crate) struct Inbox {
    me: InstanceId,
    peer: InstanceId,
    coverage: Coverage,
    /// The route of what the peer sends in this session, if plain frames are taken.
    plain: Option<Route>,
    /// The same, if [`Inbox::closed`] is zero.
    route: Route,
    /// Number of the next message of each class; its low half travels. The fourth is of no class: a
    /// class that a header names, right or wrong, has a place.
    expected: [u64; Class::COUNT + 1],
    /// Not zero while [`Inbox::accept_slot`] must not take frames: without plain frames, while a
    /// message in fragments has arrived in part or is handed out, and while messages are not shown.
    closed: u64,
    /// Whether messages are shown to who only glances.
    shown: bool,
    partial: [Option<Partial>; Class::COUNT],
    /// The message that has just arrived, as the header of a plain frame would say it
    /// ([`Plain::to_words`]): most of it nobody asks for.
    header: (u64, u64),
    /// The message that was put together from fragments, if that is what has just arrived.
    whole: Option<Vec<u8>>,
    page: Option<PagePlace>,
    /// The body words of the frame that has just arrived.
    words: [u64; MAX_BODY_BYTES / 8],
}

/// Words of the second slot that are taken if there are no more of the body.
const HALF_SLOT: usize = SLOT_WORDS / 2;

/// Words of a body in a frame of up to two slots.
const TWO_SLOTS: usize = INLINE_WORDS + SLOT_WORDS;

impl Inbox {
    pub(crate) fn new(me: InstanceId, peer: InstanceId, coverage: Coverage) -> Inbox {
        Inbox {
            me,
            peer,
            coverage,
            plain: None,
            route: Route::new(peer, me, Epoch::FIRST),
            expected: [0; Class::COUNT + 1],
            closed: 1,
            shown: true,
            partial: [const { None }; Class::COUNT],
            header: (0, 0),
            whole: None,
            page: None,
            words: [0; MAX_BODY_BYTES / 8],
        }
    }

    /// Numbers start anew.
    pub(crate) fn start_session(&mut self, session: Session) {
        self.expected = [0; Class::COUNT + 1];
        let route = Route::new(self.peer, self.me, session.remote);
        self.route = route;
        self.plain = (self.coverage == Coverage::Off).then_some(route);
        self.close_or_open();
    }

    /// Messages delivered in this session, by class.
    pub(crate) fn received(&self) -> [u64; Class::COUNT] {
        let [urgent, normal, bulk, _] = self.expected;
        [urgent, normal, bulk]
    }

    fn close_or_open(&mut self) {
        let open = self.shown
            && self.plain.is_some()
            && self.whole.is_none()
            && self.partial.iter().all(Option::is_none);
        self.closed = u64::from(!open);
    }

    /// Whether messages are shown to who only glances, from now on.
    pub(crate) fn show(&mut self, shown: bool) {
        self.shown = shown;
        self.close_or_open();
    }

    /// Whether they are.
    pub(crate) const fn is_shown(&self) -> bool {
        self.shown
    }

    /// Forgets messages of which only a part has arrived, and the page, which is the peer's.
    pub(crate) fn end_session(&mut self) {
        self.partial = [const { None }; Class::COUNT];
        (self.page, self.plain) = (None, None);
        self.expected = [0; Class::COUNT + 1];
        self.close_or_open();
    }

    /// The message that has just arrived.
    #[inline]
    pub(crate) fn message(&self) -> Message {
        Message::of(self.header)
    }

    /// Bytes of its body.
    #[inline]
    pub(crate) const fn length(&self) -> usize {
        (self.header.0 >> 32) as usize
    }

    /// What of it a glance shows.
    #[inline]
    pub(crate) const fn shows(&self) -> (Kind, u64) {
        (Kind((self.header.0 >> 16) as u16), self.words[0])
    }

    /// Takes a frame in that is plain and due, a message by itself, and fills one slot: all that at
    /// one comparison. `None`, and nothing is changed, if it is anything else.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "in emulation each call costs as much as all the rest"
    )]
    pub(crate) fn accept_slot<P: Port>(
        &mut self,
        port: &P,
        Glimpse { differs, words }: Glimpse,
    ) -> Option<(Kind, u64)> {
        let [first, second, third, word] = words;
        let header = [first, second, third];
        let expected = &mut self.expected[class_index(first)];
        let differs = self.route.slot_differs(header, *expected as u32) | differs | self.closed;
        if differs != 0 {
            return None;
        }
        *expected += 1;
        self.header = (first, third);
        self.words[0] = word;
        if first >> 32 > 8 {
            let [b, c, d] = port.rest_of_slot();
            self.take_inline([word, b, c, d]);
        }
        Some((Kind((first >> 16) as u16), word))
    }

    /// Takes a frame in that is plain and due, and a message by itself, given by its slots and the
    /// words of the first, which the port has open; `false`, and nothing is changed, if it is anything
    /// else: [`Inbox::accept`] tells what. What is taken here breaks none of the rules there.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the words are not to be put together in memory")]
    pub(crate) fn accept_plain<P: Port>(
        &mut self,
        port: &P,
        slots: usize,
        [first, second, third, inline @ ..]: [u64; SLOT_WORDS - 1],
    ) -> bool {
        let Some(plain) = self.plain.and_then(|route| route.decode([first, second, third])) else {
            return false;
        };
        let class = plain.class.index();
        if plain.slots() != slots
            || plain.sequence != self.expected[class] as u32
            || self.partial[class].is_some()
        {
            return false;
        }
        self.take_inline(inline);
        match plain.body_words() {
            0..=INLINE_WORDS => {}
            words if words <= INLINE_WORDS + HALF_SLOT => {
                self.take_second(port.second_slot::<HALF_SLOT>());
            }
            words if words <= TWO_SLOTS => self.take_second(port.second_slot::<SLOT_WORDS>()),
            body_words => self.take_rest(port, body_words),
        }
        self.expected[class] += 1;
        self.page = plain.page.then(|| PagePlace { word: plain.page_word(), checksum: None });
        self.header = (first, third);
        true
    }

    /// Takes a frame in. Everything is validated on private copies.
    pub(crate) fn accept<P: Port>(
        &mut self,
        port: &P,
        session: Session,
        front: &Front,
    ) -> Result<Arrival, FrameError> {
        let [_, first, second, third, inline @ ..] = front.line;
        let (header, checksum) = Header::from_words([first, second, third])?;
        let needed = header.slots();
        if needed != front.slots {
            let short = |slots: usize| u16::try_from(slots).unwrap_or(u16::MAX);
            return Err(FrameError::Slots { needed: short(needed), found: short(front.slots) });
        }
        if header.source != self.peer || header.destination != self.me {
            return Err(FrameError::Address);
        }
        let body_words = header.body_words();
        self.take_inline(inline);
        if body_words > INLINE_WORDS {
            self.take_rest(port, body_words);
        }
        let body = &self.words[..body_words];
        let due = self.coverage != Coverage::Off && !header.parts.checked;
        if due || header.parts.checked && !body_matches(&header, checksum, body) {
            return Err(FrameError::Checksum);
        }
        if header.epoch != session.remote {
            return Ok(Arrival::Stale);
        }
        if self.coverage == Coverage::All && header.parts.page && !header.parts.page_checked {
            return Err(FrameError::PageChecksum);
        }
        let expected = &mut self.expected[header.class.index()];
        if header.sequence != *expected as u32 {
            let (expected, found) = (*expected as u32, header.sequence);
            return Err(FrameError::Sequence { expected, found });
        }
        if header.parts.fragment {
            let arrival = self.accept_fragment(&header);
            self.close_or_open();
            return arrival;
        }
        if self.partial[header.class.index()].is_some() {
            return Err(FrameError::Fragment);
        }
        *expected += 1;
        let page = header.parts.page.then(|| PagePlace {
            word: header.page_word(),
            checksum: header.parts.page_checked.then(|| body.last().copied().unwrap_or(0)),
        });
        Ok(Arrival::Message(self.deliver(&header, None, header.length, page)))
    }

    /// Takes the first words of a body, which share the header's slot: they are in the snapshot
    /// already and are not read again.
    #[inline]
    fn take_inline(&mut self, words: [u64; INLINE_WORDS]) {
        if let Some(first) = self.words.first_chunk_mut() {
            *first = words;
        }
    }

    /// Takes words of the second slot.
    #[inline]
    fn take_second<const N: usize>(&mut self, words: [u64; N]) {
        if let Some(second) = self.words[INLINE_WORDS..].first_chunk_mut() {
            *second = words;
        }
    }

    /// Copies the words behind them of a body of that many words.
    fn take_rest<P: Port>(&mut self, port: &P, body_words: usize) {
        if let Some(rest) = self.words.get_mut(INLINE_WORDS..body_words) {
            port.read(SLOT_WORDS, rest);
        }
    }

    fn accept_fragment(&mut self, header: &Header) -> Result<Arrival, FrameError> {
        let class = header.class.index();
        let bytes: &[u8] = bytemuck::cast_slice(&self.words[..]);
        let contents = bytes
            .get(FRAGMENT_WORDS * 8..header.length as usize)
            .ok_or(FrameError::Length(header.length))?;
        let length = header.length - (FRAGMENT_WORDS * 8) as u32;
        let Fragment { total, offset } = Fragment::from_word(self.words[0], length)?;
        let partial = match &mut self.partial[class] {
            Some(partial) => partial,
            none => {
                let mut contents = Vec::new();
                if contents.try_reserve_exact(total as usize).is_err() {
                    return Ok(Arrival::NoMemory);
                }
                none.insert(Partial { kind: header.kind, total, contents })
            }
        };
        if (partial.kind, partial.total) != (header.kind, total)
            || partial.contents.len() != offset as usize
        {
            return Err(FrameError::Fragment);
        }
        partial.contents.extend_from_slice(contents);
        if partial.contents.len() < total as usize {
            return Ok(Arrival::Part);
        }
        self.expected[class] += 1;
        let whole = self.partial[class].take().map(|partial| partial.contents);
        Ok(Arrival::Message(self.deliver(header, whole, total, None)))
    }

    fn deliver(
        &mut self,
        &Header { kind, class, sequence, .. }: &Header,
        whole: Option<Vec<u8>>,
        length: u32,
        page: Option<PagePlace>,
    ) -> Message {
        (self.whole, self.page) = (whole, page);
        self.header = Plain { kind, class, length, page: page.is_some(), sequence }.to_words();
        self.message()
    }

    /// The body of the message that has just arrived; word-aligned.
    #[inline]
    pub(crate) fn body(&self) -> &[u8] {
        match &self.whole {
            Some(whole) => whole,
            None => {
                let bytes: &[u8] = bytemuck::cast_slice(&self.words[..]);
                bytes.get(..self.length()).unwrap_or_default()
            }
        }
    }

    /// Copies the page of the message that has just arrived. `Ok(false)` if it has none.
    pub(crate) fn copy_page<P: Port>(
        &self,
        port: &P,
        into: &mut [u64; PAGE_WORDS],
    ) -> Result<bool, FrameError> {
        let Some(page) = self.page else { return Ok(false) };
        port.read(page.word, into);
        match page.checksum {
            Some(checksum) if checksum != u64::from(of_words(into)) => {
                Err(FrameError::PageChecksum)
            }
            _ => Ok(true),
        }
    }

    /// The frame is given back: its page is there no more, and what was put together goes.
    pub(crate) fn forget(&mut self) {
        self.page = None;
        if self.whole.take().is_some() {
            self.close_or_open();
        }
    }
}

const _: () = assert!(HEADER_WORDS + INLINE_WORDS == SLOT_WORDS);
