//! A frame about to be sent: header, body, page, and how they become words.

use crate::{
    Class, FrameError, HEADER_WORDS, Header, INLINE_WORDS, Kind, MAX_MESSAGE_BYTES, PAGE_WORDS,
    Plain, Route, SLOT_WORDS, checksum::Crc32c,
};

/// Words in front of a fragment's contents.
pub const FRAGMENT_WORDS: usize = 1;

/// Where a fragment belongs in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Bytes of the whole message.
    pub total: u32,
    /// Byte of the message at which this fragment's contents start.
    pub offset: u32,
}

impl Fragment {
    /// The fragment word.
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.total as u64 | (self.offset as u64) << 32
    }

    /// Decodes a fragment word whose frame has `contents` bytes behind it.
    ///
    /// # Errors
    /// [`FrameError::Fragment`] if the message would be too long or the contents stick out of it.
    #[expect(clippy::cast_possible_truncation, reason = "each cast takes one field out of a word")]
    pub const fn from_word(word: u64, contents: u32) -> Result<Fragment, FrameError> {
        let (total, offset) = (word as u32, (word >> 32) as u32);
        match offset.checked_add(contents) {
            Some(end) if end <= total && total as usize <= MAX_MESSAGE_BYTES => {
                Ok(Fragment { total, offset })
            }
            _ => Err(FrameError::Fragment),
        }
    }
}

/// Takes the words of a frame, in order, from the word behind the stamp.
pub trait Sink {
    /// One word.
    fn word(&mut self, word: u64);
    /// Several words.
    fn words(&mut self, words: &[u64]);

    /// Bytes, zero-padded to whole words.
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        // Word-aligned bytes (every `ControlBody` is) need no assembly. Without this, targets
        // that forbid unaligned loads would fetch byte by byte.
        let whole = bytes.len() & !7;
        let (head, tail) = bytes.split_at(whole);
        if let Ok(words) = bytemuck::try_cast_slice::<u8, u64>(head) {
            self.words(words);
        } else {
            for chunk in head.as_chunks::<8>().0 {
                self.word(u64::from_le_bytes(*chunk));
            }
        }
        if !tail.is_empty() {
            self.word(padded(tail));
        }
    }
}

/// The word of fewer than eight bytes, zero-padded.
#[inline]
fn padded(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// A body as words: those that share the header's slot, whole ones behind them, and a last one that
/// is padded. `None` if it is not aligned.
type Words<'a> = ([u64; INLINE_WORDS], &'a [u64], Option<u64>);

#[inline]
fn words_of(contents: &[u8]) -> Option<Words<'_>> {
    let (whole, tail) = contents.split_at(contents.len() & !7);
    let whole: &[u64] = bytemuck::try_cast_slice(whole).ok()?;
    if let Some((inline, rest)) = whole.split_first_chunk() {
        return Some((*inline, rest, (!tail.is_empty()).then(|| padded(tail))));
    }
    let mut words = [0; INLINE_WORDS];
    for (into, word) in words.iter_mut().zip(whole) {
        *into = *word;
    }
    if !tail.is_empty() {
        words[whole.len()] = padded(tail);
    }
    Some((words, &[], None))
}

/// The words of a body that shares the header's slot; `None` if it is longer, or not aligned.
#[inline]
fn inline_words(contents: &[u8]) -> Option<[u64; INLINE_WORDS]> {
    if contents.len() > INLINE_WORDS * 8 {
        return None;
    }
    words_of(contents).map(|(words, _, _)| words)
}

/// A frame by its lines, as [`Frame::lines`] gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines<'a> {
    /// The words of the first slot behind the stamp, padding included.
    pub first: [u64; SLOT_WORDS - 1],
    /// Words of the body in the slots behind it, from their start.
    pub rest: &'a [u64],
    /// One more word of the body, behind those.
    pub last: Option<u64>,
    /// The page's words, at the frame's end; none if there is no page.
    pub page: &'a [u64],
}

impl Route {
    /// The words behind the stamp of a plain frame of one slot, as [`Frame::lines`] gives them, without
    /// the frame; `None` if it fills more, or if it is quicker written word by word.
    #[inline]
    #[must_use]
    pub fn slot(self, id: (Class, Kind, u32), contents: &[u8]) -> Option<[u64; SLOT_WORDS - 1]> {
        let [a, b, c, d] = inline_words(contents)?;
        let [first, second, third] = self.slot_header(id, contents)?;
        Some([first, second, third, a, b, c, d])
    }

    /// As [`Route::slot`], of a body of exactly one word: what is behind it in the slot means nothing.
    #[inline]
    #[must_use]
    pub fn short_slot(
        self,
        id: (Class, Kind, u32),
        contents: &[u8],
    ) -> Option<[u64; HEADER_WORDS]> {
        let words: &[u64] = bytemuck::try_cast_slice(contents).ok()?;
        let [word] = words else { return None };
        let [first, second, third] = self.slot_header(id, contents)?;
        Some([first, second, third, *word])
    }

    /// The lines of a plain frame, as [`Frame::lines`] gives them, and how many slots it fills;
    /// `None` if the body is too long, or if it is quicker written word by word.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the lines are not to be put together in memory")]
    #[must_use]
    pub fn lines<'a>(
        self,
        (class, kind, sequence): (Class, Kind, u32),
        contents: &'a [u8],
        page: Option<&'a [u64; PAGE_WORDS]>,
    ) -> Option<(usize, Lines<'a>)> {
        let length = u32::try_from(contents.len()).ok()?;
        let plain = Plain { kind, class, length, page: page.is_some(), sequence };
        let [first, second, third] = self.encode(&plain).ok()?;
        let ([a, b, c, d], rest, last) = words_of(contents)?;
        let page: &[u64] = page.map_or(&[], |page| page);
        let first = [first, second, third, a, b, c, d];
        Some((plain.slots(), Lines { first, rest, last, page }))
    }

    #[inline]
    fn slot_header(
        self,
        (class, kind, sequence): (Class, Kind, u32),
        contents: &[u8],
    ) -> Option<[u64; 3]> {
        let length = contents.len() as u32;
        self.encode(&Plain { kind, class, length, page: false, sequence }).ok()
    }
}

/// The body of a frame to send.
#[derive(Clone, Copy, Default)]
pub struct Body<'a> {
    /// The fragment word, if the contents are part of a longer message.
    pub fragment: Option<Fragment>,
    /// The contents.
    pub contents: &'a [u8],
}

/// A frame to send. The header's length and parts describe body and page; [`Frame::new`] sees to it.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    words: [u64; 3],
    slots: usize,
    body: Body<'a>,
    page: Option<(&'a [u64; PAGE_WORDS], Option<u32>)>,
}

impl<'a> Frame<'a> {
    /// Puts a frame together: `header.length` and `header.parts.{fragment, page}` are set from
    /// what is given, checksums computed as `header.parts` asks.
    ///
    /// # Errors
    /// [`FrameError::Length`] if the body is too long for such a frame; [`FrameError::Flags`] if
    /// a fragment is given together with a page.
    #[inline]
    pub fn new(
        mut header: Header,
        body: Body<'a>,
        page: Option<&'a [u64; PAGE_WORDS]>,
    ) -> Result<Frame<'a>, FrameError> {
        let prefix = if body.fragment.is_some() { FRAGMENT_WORDS * 8 } else { 0 };
        header.length = u32::try_from(body.contents.len() + prefix)
            .map_err(|_| FrameError::Length(u32::MAX))?;
        header.parts.fragment = body.fragment.is_some();
        header.parts.page = page.is_some();
        header.parts.page_checked &= header.parts.page && header.parts.checked;
        // The receiver's own rules, so that what is sent is never what would be refused.
        let (header, _) = Header::from_words(header.to_words(0))?;
        let page = page.map(|page| {
            let sum = header.parts.page_checked.then(|| crate::checksum::of_words(page));
            (page, sum)
        });
        let mut words = header.to_words(0);
        if header.parts.checked {
            let mut crc = header_checksum(words);
            if let Some(fragment) = body.fragment {
                crc.words(&[fragment.to_word()]);
            }
            crc.padded_bytes(body.contents);
            if let Some((_, Some(sum))) = page {
                crc.words(&[u64::from(sum)]);
            }
            words = header.to_words(crc.finish());
        }
        Ok(Frame { words, slots: header.slots(), body, page })
    }

    /// A plain frame: what [`Frame::new`] makes of the same without checksums and fragments.
    ///
    /// # Errors
    /// [`FrameError::Length`] if the body is too long for such a frame.
    #[inline]
    pub fn plain(
        route: Route,
        (class, kind, sequence): (Class, Kind, u32),
        contents: &'a [u8],
        page: Option<&'a [u64; PAGE_WORDS]>,
    ) -> Result<Frame<'a>, FrameError> {
        let Ok(length) = u32::try_from(contents.len()) else {
            return Err(FrameError::Length(u32::MAX));
        };
        let plain = Plain { kind, class, length, page: page.is_some(), sequence };
        let words = route.encode(&plain)?;
        let page = page.map(|page| (page, None));
        Ok(Frame { words, slots: plain.slots(), body: Body { fragment: None, contents }, page })
    }

    /// Slots that the frame fills.
    #[inline]
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The frame by its lines; `None` if it is quicker written word by word ([`Frame::write`]): a
    /// fragment, a page with a checksum, a body that is not aligned. What lies in a slot behind the
    /// words given means nothing.
    #[inline]
    #[must_use]
    pub fn lines(&self) -> Option<Lines<'_>> {
        let page: &[u64] = match (self.body.fragment, self.page) {
            (None, None) => &[],
            (None, Some((page, None))) => page,
            _ => return None,
        };
        let [first, second, third] = self.words;
        let ([a, b, c, d], rest, last) = words_of(self.body.contents)?;
        Some(Lines { first: [first, second, third, a, b, c, d], rest, last, page })
    }

    /// Writes every word of the frame behind the stamp.
    pub fn write(&self, sink: &mut impl Sink) {
        sink.words(&self.words);
        let mut written = HEADER_WORDS;
        if let Some(fragment) = self.body.fragment {
            sink.word(fragment.to_word());
            written += FRAGMENT_WORDS;
        }
        sink.bytes(self.body.contents);
        written += self.body.contents.len().div_ceil(8);
        if let Some((page, sum)) = self.page {
            if let Some(sum) = sum {
                sink.word(u64::from(sum));
                written += 1;
            }
            let padding = written.wrapping_neg() % SLOT_WORDS;
            for _ in 0..padding {
                sink.word(0);
            }
            sink.words(page);
        }
    }
}

/// Whether header and body (its words as received, padding included) match the checksum.
#[inline]
#[must_use]
pub fn body_matches(header: &Header, checksum: u32, body: &[u64]) -> bool {
    let mut crc = header_checksum(header.to_words(0));
    let (pairs, last) = body.as_chunks::<2>();
    crc.words(pairs.as_flattened());
    if let [last] = last {
        crc.words(&[*last, 0]);
    }
    crc.finish() == checksum
}

/// The checksum of a frame up to its body: the stamp, which is the ring's, counts as zero.
#[inline]
fn header_checksum([first, second, third]: [u64; 3]) -> Crc32c {
    let mut crc = Crc32c::default();
    crc.words(&[0, first, second, third]);
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Epoch, InstanceId, Kind, Page, Parts};
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    struct Words(Vec<u64>);

    impl Sink for Words {
        fn word(&mut self, word: u64) {
            self.0.push(word);
        }
        fn words(&mut self, words: &[u64]) {
            self.0.extend_from_slice(words);
        }
    }

    fn header(parts: Parts) -> Header {
        Header {
            kind: Kind(20),
            class: Class::Normal,
            parts,
            length: 0,
            source: InstanceId(0),
            destination: InstanceId(1),
            epoch: Epoch::FIRST,
            sequence: 5,
        }
    }

    proptest! {
        /// What `write` writes is what the header's geometry tells a receiver to look for.
        #[test]
        fn layout_and_checksums_agree(
            contents in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::collection::vec(any::<u8>(), 0..600),
            ],
            shift in 0usize..8,
            with_page: bool,
            checked: bool,
            page_checked: bool,
            fragmented: bool,
        ) {
            // An offset start makes the slice unaligned: both ways of `Sink::bytes` are taken.
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&contents);
            let contents = &shifted[shift..];
            let page = Page([0x5555_aaaa_1234_9876; PAGE_WORDS]);
            let fragment = fragmented.then_some(Fragment { total: 9000, offset: 4056 });
            let parts = Parts { checked, page_checked, ..Parts::default() };
            let made = Frame::new(header(parts), Body { fragment, contents }, with_page.then_some(&page.0));
            let frame = match made {
                Ok(frame) => frame,
                Err(FrameError::Flags(_)) => {
                    prop_assert!(fragmented && with_page);
                    return Ok(());
                }
                Err(FrameError::Length(_)) => {
                    prop_assert!(with_page && contents.len() > 216 || fragmented && contents.is_empty());
                    return Ok(());
                }
                Err(other) => panic!("{other}"),
            };
            let mut words = Words(vec![0]);
            frame.write(&mut words);
            let words = words.0;
            if !checked && !fragmented {
                let Header { class, kind, sequence, source, destination, epoch, .. } = header(parts);
                let route = Route::new(source, destination, epoch);
                let id = (class, kind, sequence);
                let plain = Frame::plain(route, id, contents, with_page.then_some(&page.0)).unwrap();
                let mut same = Words(vec![0]);
                plain.write(&mut same);
                prop_assert_eq!((plain.slots(), &same.0), (frame.slots(), &words));
                let lines = route.lines(id, contents, with_page.then_some(&page.0));
                prop_assert_eq!(lines, frame.lines().map(|lines| (frame.slots(), lines)));
                let line = frame.lines().filter(|_| frame.slots() == 1).map(|lines| lines.first);
                if !with_page {
                    prop_assert_eq!(route.slot(id, contents), line);
                    if let Some(short) = route.short_slot(id, contents) {
                        prop_assert_eq!(contents.len(), 8);
                        prop_assert_eq!(&short[..], &route.slot(id, contents).unwrap()[..4]);
                    }
                }
            }
            if let Some(Lines { first, rest, last, page }) = frame.lines() {
                let mut by_lines = vec![0; frame.slots() * SLOT_WORDS];
                let body: Vec<u64> = rest.iter().copied().chain(last).collect();
                by_lines[1..SLOT_WORDS].copy_from_slice(&first);
                by_lines[SLOT_WORDS..][..body.len()].copy_from_slice(&body);
                let page_word = by_lines.len() - page.len();
                by_lines[page_word..].copy_from_slice(page);
                prop_assert!(by_lines[words.len()..].iter().all(|word| *word == 0));
                prop_assert_eq!(&by_lines[..words.len()], &words[..]);
            } else {
                let whole = contents.len() & !7;
                let aligned = bytemuck::try_cast_slice::<u8, u64>(&contents[..whole]).is_ok();
                prop_assert!(fragmented || page_checked || !aligned);
            }
            let (back, sum) = Header::from_words([words[1], words[2], words[3]]).unwrap();
            prop_assert_eq!(back.slots(), frame.slots());
            prop_assert!(words.len() <= frame.slots() * SLOT_WORDS);
            prop_assert!(words.len() > (frame.slots() - 1) * SLOT_WORDS);
            let body = &words[HEADER_WORDS..HEADER_WORDS + back.body_words()];
            if checked {
                prop_assert!(body_matches(&back, sum, body));
                let mut other = back;
                other.sequence += 1;
                prop_assert!(!body_matches(&other, sum, body));
            }
            let skip = usize::from(fragmented);
            let bytes: &[u8] = bytemuck::cast_slice(&body[skip..]);
            prop_assert_eq!(&bytes[..contents.len()], contents);
            if with_page {
                prop_assert_eq!(&words[back.page_word()..], &page.0[..]);
                if back.parts.page_checked {
                    prop_assert_eq!(body[body.len() - 1], u64::from(crate::checksum::of_words(&page.0)));
                }
            }
        }
    }

    #[test]
    fn fragments_stay_inside_their_message() {
        let word = Fragment { total: 100, offset: 60 }.to_word();
        assert_eq!(Fragment::from_word(word, 40), Ok(Fragment { total: 100, offset: 60 }));
        assert_eq!(Fragment::from_word(word, 41), Err(FrameError::Fragment));
        let wrap = Fragment { total: 100, offset: u32::MAX }.to_word();
        assert_eq!(Fragment::from_word(wrap, 2), Err(FrameError::Fragment));
        let huge = Fragment { total: u32::MAX, offset: 0 }.to_word();
        assert_eq!(Fragment::from_word(huge, 1), Err(FrameError::Fragment));
    }
}
