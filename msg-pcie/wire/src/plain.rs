//! Plain frames: neither checked nor a part of a longer message. They are what nearly all frames
//! are where checksums are off, and their headers are made and recognised by whole words.

use crate::{
    Class, Epoch, FrameError, INLINE_WORDS, InstanceId, Kind, MAX_BODY_BYTES, MAX_PAGE_BODY_BYTES,
    VERSION,
    header::{FLAG_CLASS, FLAG_PAGE, page_word, slots},
};

/// From whom to whom, in which incarnation of the sender: one word, the same in every frame of a
/// direction of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(u64);

/// What the header of a plain frame says besides its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// What the message is about.
    pub kind: Kind,
    /// Its priority.
    pub class: Class,
    /// Bytes of the body.
    pub length: u32,
    /// Whether a page follows the body.
    pub page: bool,
    /// Number of the message among those of its class.
    pub sequence: u32,
}

/// The bits of the first word that are the same in all plain frames: the version, and every flag
/// but those of class and page.
const FIXED: u64 = 0xff | (!(FLAG_CLASS | FLAG_PAGE) as u64) << 8;
const PAGE: u64 = (FLAG_PAGE as u64) << 8;

/// The bits of the first word that are the same in all plain frames of one slot: also that there is
/// no page, and all bits of a length of 64 or more.
const FIXED_SLOT: u64 = FIXED | PAGE | !63 << 32;
/// Bytes of the longest body that shares the header's slot.
const INLINE_BYTES: u64 = INLINE_WORDS as u64 * 8;

/// Where a header says its class, of which there are three: a table of four has a place for all.
#[inline]
#[must_use]
pub const fn class_index(first: u64) -> usize {
    (first >> 8 & FLAG_CLASS as u64) as usize
}

impl Route {
    /// The route of what `source`, in incarnation `epoch`, sends to `destination`.
    #[must_use]
    pub const fn new(source: InstanceId, destination: InstanceId, epoch: Epoch) -> Route {
        Route(source.0 as u64 | (destination.0 as u64) << 16 | (epoch.get() as u64) << 32)
    }

    /// The header's words as they travel.
    ///
    /// # Errors
    /// [`FrameError::Length`] if the body is too long for such a frame.
    #[inline]
    pub const fn encode(self, plain: &Plain) -> Result<[u64; 3], FrameError> {
        if plain.length > longest(plain.page) {
            return Err(FrameError::Length(plain.length));
        }
        let (first, third) = plain.to_words();
        Ok([first, self.0, third])
    }

    /// Recognises the header of a plain frame on this route, in a private copy of words from a
    /// peer. `None` says that it is another frame, or none: [`crate::Header::from_words`] tells.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each cast takes one field out of a word")]
    pub const fn decode(self, [first, second, third]: [u64; 3]) -> Option<Plain> {
        if second != self.0 || first & FIXED != VERSION as u64 || third >> 32 != 0 {
            return None;
        }
        let class = match (first >> 8) as u8 & FLAG_CLASS {
            0 => Class::Urgent,
            1 => Class::Normal,
            2 => Class::Bulk,
            _ => return None,
        };
        let (length, page) = ((first >> 32) as u32, first & PAGE != 0);
        if length > longest(page) {
            return None;
        }
        Some(Plain {
            kind: Kind((first >> 16) as u16),
            class,
            length,
            page,
            sequence: third as u32,
        })
    }

    /// Zero exactly if these are the header words of a plain frame on this route, of one slot, with
    /// the number that is due in its class ([`class_index`]), and not of a reserved kind. It takes no
    /// branch, so that what is nearly always the case costs one comparison.
    #[inline]
    #[must_use]
    pub const fn slot_differs(self, [first, second, third]: [u64; 3], due: u32) -> u64 {
        let fourth_class = first >> 8 & first >> 9 & 1;
        let too_long = INLINE_BYTES.wrapping_sub(first >> 32) >> 63;
        let reserved = (first >> 16 & 0xffff).wrapping_sub(Kind::RESERVED as u64) >> 63;
        (second ^ self.0)
            | (first & FIXED_SLOT ^ VERSION as u64)
            | (third ^ due as u64)
            | fourth_class
            | too_long
            | reserved
    }
}

impl Plain {
    /// What header words say that are known to be those of a plain frame: [`Route::slot_differs`] is
    /// zero, [`Route::decode`] has recognised them, or [`Route::encode`] has made them.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "each cast takes one field out of a word")]
    pub const fn of_words(first: u64, third: u64) -> Plain {
        let class = match class_index(first) {
            0 => Class::Urgent,
            1 => Class::Normal,
            _ => Class::Bulk,
        };
        Plain {
            kind: Kind((first >> 16) as u16),
            class,
            length: (first >> 32) as u32,
            page: first & PAGE != 0,
            sequence: third as u32,
        }
    }

    /// The words of a header, first and third, from which [`Plain::of_words`] makes the same.
    #[inline]
    #[must_use]
    pub const fn to_words(self) -> (u64, u64) {
        let flags = self.class as u64 | (self.page as u64) << FLAG_PAGE.trailing_zeros();
        let first =
            VERSION as u64 | flags << 8 | (self.kind.0 as u64) << 16 | (self.length as u64) << 32;
        (first, self.sequence as u64)
    }

    /// Words of the body, padded.
    #[inline]
    #[must_use]
    pub const fn body_words(&self) -> usize {
        (self.length as usize).div_ceil(8)
    }

    /// Word of the frame at which the page starts, if there is one: the next slot boundary.
    #[inline]
    #[must_use]
    pub const fn page_word(&self) -> usize {
        page_word(self.body_words())
    }

    /// Slots of the whole frame.
    #[inline]
    #[must_use]
    pub const fn slots(&self) -> usize {
        slots(self.page_word(), self.page)
    }
}

/// Bytes of the longest body of a plain frame.
const fn longest(page: bool) -> u32 {
    (if page { MAX_PAGE_BODY_BYTES } else { MAX_BODY_BYTES }) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Header, Parts};
    use proptest::prelude::*;

    const ROUTE: Route = Route::new(InstanceId(3), InstanceId(15), Epoch::FIRST);

    /// What [`Header`] makes of the words, if that is a plain frame on the route.
    fn by_header(words: [u64; 3]) -> Option<(Plain, usize, usize)> {
        let (header, _) = Header::from_words(words).ok()?;
        let Parts { fragment, page, checked, page_checked } = header.parts;
        let route = Route::new(header.source, header.destination, header.epoch);
        if fragment || checked || page_checked || route != ROUTE {
            return None;
        }
        let Header { kind, class, length, sequence, .. } = header;
        let plain = Plain { kind, class, length, page, sequence };
        Some((plain, header.slots(), header.page_word()))
    }

    proptest! {
        /// Both ways of reading a header agree on every word, bit by bit of the likely ones.
        #[test]
        fn recognises_what_the_header_rules_accept(
            (class, page, kind, length) in (0u64..4, 0u64..2, prop_oneof![0..20_u16, any::<u16>()], prop_oneof![0u64..70, 0u64..4200]),
            sequence: u32,
            flips in prop::collection::vec((0usize..3, 0u32..64), 0..3),
        ) {
            let first = u64::from(VERSION) | class << 8 | page << 11 | u64::from(kind) << 16 | length << 32;
            let mut words = [first, ROUTE.0, u64::from(sequence)];
            for (word, bit) in flips {
                words[word] ^= 1 << bit;
            }
            let found = ROUTE.decode(words);
            let described = found.map(|plain| (plain, plain.slots(), plain.page_word()));
            prop_assert_eq!(described, by_header(words));
            if let Some(plain) = found {
                prop_assert_eq!(ROUTE.encode(&plain), Ok(words));
            }
            let slot = found.filter(|plain| plain.slots() == 1);
            let same = ROUTE.slot_differs(words, sequence) == 0;
            let due = |plain: Plain| plain.sequence == sequence && !plain.kind.is_reserved();
            prop_assert_eq!(same, slot.is_some_and(due));
            if same {
                prop_assert_eq!(class_index(words[0]), Plain::of_words(words[0], words[2]).class.index());
            }
            if found.is_some() {
                prop_assert_eq!(Some(Plain::of_words(words[0], words[2])), found);
            }
        }
    }

    #[test]
    fn what_is_too_long_is_not_sent() {
        let mut plain =
            Plain { kind: Kind(1), class: Class::Bulk, length: 4064, page: false, sequence: 9 };
        assert!(ROUTE.encode(&plain).is_ok());
        plain.length += 1;
        assert_eq!(ROUTE.encode(&plain), Err(FrameError::Length(4065)));
        (plain.length, plain.page) = (216, true);
        assert!(ROUTE.encode(&plain).is_ok());
        plain.length += 1;
        assert_eq!(ROUTE.encode(&plain), Err(FrameError::Length(217)));
    }
}
