//! The three header words of a frame.

use core::fmt;

use crate::{
    Epoch, FRAGMENT_WORDS, HEADER_WORDS, InstanceId, MAX_BODY_BYTES, MAX_PAGE_BODY_BYTES,
    PAGE_WORDS, SLOT_WORDS,
};

/// Version of this format. A frame of another version is refused.
pub const VERSION: u8 = 1;

/// What a message is about. Its meaning belongs to whoever sends it; this crate only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

impl Kind {
    /// The first kind that is not reserved for those who run links.
    pub const RESERVED: u16 = 16;

    /// Whether messages of this kind are between those who run links, and not for who uses them.
    #[inline]
    #[must_use]
    pub const fn is_reserved(self) -> bool {
        self.0 < Kind::RESERVED
    }
}

/// The priority of a message. Order is kept within a class, not between classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Short messages that somebody sleeps for: wakes, signals, interrupts to another instance.
    Urgent = 0,
    /// Requests, answers and the pages of the coherency protocol.
    Normal = 1,
    /// Streams: file contents, fragments, prefetched pages.
    Bulk = 2,
}

impl Class {
    /// Number of classes.
    pub const COUNT: usize = 3;
    /// All classes, most urgent first.
    pub const ALL: [Class; Class::COUNT] = [Class::Urgent, Class::Normal, Class::Bulk];

    /// The class's number, below [`Class::COUNT`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What a frame is made of besides its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The body is part of a longer message and starts with a [`crate::Fragment`] word.
    pub fragment: bool,
    /// A page follows the body.
    pub page: bool,
    /// Header and body are covered by the header's checksum.
    pub checked: bool,
    /// The page has a checksum, in a word behind the body.
    pub page_checked: bool,
}

/// A frame's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the message is about.
    pub kind: Kind,
    /// Its priority.
    pub class: Class,
    /// What follows.
    pub parts: Parts,
    /// Bytes of the body in this frame, the fragment word included.
    pub length: u32,
    /// Who sends.
    pub source: InstanceId,
    /// Who is to receive.
    pub destination: InstanceId,
    /// The sender's incarnation.
    pub epoch: Epoch,
    /// Number of the message among those of its class in this direction of the session, modulo
    /// 2³². Fragments of a message have the same.
    pub sequence: u32,
}

pub(crate) const FLAG_CLASS: u8 = 0b11;
const FLAG_FRAGMENT: u8 = 1 << 2;
pub(crate) const FLAG_PAGE: u8 = 1 << 3;
const FLAG_CHECKED: u8 = 1 << 4;
const FLAG_PAGE_CHECKED: u8 = 1 << 5;
const FLAGS_RESERVED: u8 = 0b1100_0000;

/// Word of a frame at which its page starts: the first slot boundary behind the body.
#[inline]
pub(crate) const fn page_word(body_words: usize) -> usize {
    (HEADER_WORDS + body_words).div_ceil(SLOT_WORDS) * SLOT_WORDS
}

/// Slots of a frame with a page, or without one, at that word.
#[inline]
pub(crate) const fn slots(page_word: usize, page: bool) -> usize {
    (page_word + if page { PAGE_WORDS } else { 0 }) / SLOT_WORDS
}

impl Header {
    /// Words of the body region: the body, padded, and the page's checksum word.
    #[inline]
    #[must_use]
    pub const fn body_words(&self) -> usize {
        (self.length as usize).div_ceil(8) + self.parts.page_checked as usize
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
        slots(self.page_word(), self.parts.page)
    }

    /// The header's words as they travel, with the checksum (zero if the frame has none).
    #[inline]
    #[must_use]
    pub const fn to_words(&self, checksum: u32) -> [u64; 3] {
        let parts = self.parts;
        let flags = self.class as u8
            | if parts.fragment { FLAG_FRAGMENT } else { 0 }
            | if parts.page { FLAG_PAGE } else { 0 }
            | if parts.checked { FLAG_CHECKED } else { 0 }
            | if parts.page_checked { FLAG_PAGE_CHECKED } else { 0 };
        [
            VERSION as u64
                | (flags as u64) << 8
                | (self.kind.0 as u64) << 16
                | (self.length as u64) << 32,
            self.source.0 as u64
                | (self.destination.0 as u64) << 16
                | (self.epoch.get() as u64) << 32,
            self.sequence as u64 | (checksum as u64) << 32,
        ]
    }

    /// Decodes and validates header words from a peer: a private copy of them, never the shared
    /// ones. Returns the header and its checksum.
    ///
    /// # Errors
    /// The first rule that the words break.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "each cast takes one field out of a word")]
    pub const fn from_words(words: [u64; 3]) -> Result<(Header, u32), FrameError> {
        let [first, second, third] = words;
        if first as u8 != VERSION {
            return Err(FrameError::Version(first as u8));
        }
        let flags = (first >> 8) as u8;
        let class = match flags & FLAG_CLASS {
            0 => Class::Urgent,
            1 => Class::Normal,
            2 => Class::Bulk,
            _ => return Err(FrameError::Flags(flags)),
        };
        let parts = Parts {
            fragment: flags & FLAG_FRAGMENT != 0,
            page: flags & FLAG_PAGE != 0,
            checked: flags & FLAG_CHECKED != 0,
            page_checked: flags & FLAG_PAGE_CHECKED != 0,
        };
        if flags & FLAGS_RESERVED != 0
            || parts.fragment && parts.page
            || parts.page_checked && !(parts.page && parts.checked)
        {
            return Err(FrameError::Flags(flags));
        }
        let length = (first >> 32) as u32;
        let most = if parts.page { MAX_PAGE_BODY_BYTES } else { MAX_BODY_BYTES };
        if length as usize > most || parts.fragment && length as usize <= FRAGMENT_WORDS * 8 {
            return Err(FrameError::Length(length));
        }
        let Some(epoch) = Epoch::new((second >> 32) as u32) else {
            return Err(FrameError::Epoch);
        };
        let checksum = (third >> 32) as u32;
        if !parts.checked && checksum != 0 {
            return Err(FrameError::Flags(flags));
        }
        let header = Header {
            kind: Kind((first >> 16) as u16),
            class,
            parts,
            length,
            source: InstanceId(second as u16),
            destination: InstanceId((second >> 16) as u16),
            epoch,
            sequence: third as u32,
        };
        Ok((header, checksum))
    }
}

/// What is wrong with a frame. Always the peer's fault (or the memory's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Another version of the format.
    Version(u8),
    /// Unknown flags, or flags that exclude each other.
    Flags(u8),
    /// A body longer than such a frame can have, or a fragment without contents.
    Length(u32),
    /// No epoch.
    Epoch,
    /// The fragment word contradicts itself or the message so far.
    Fragment,
    /// The frame's length and the number of slots it came in differ.
    Slots {
        /// Slots that the header asks for.
        needed: u16,
        /// Slots that the ring delivered.
        found: u16,
    },
    /// Sent by, or to, somebody else.
    Address,
    /// The sequence number is not the next one.
    Sequence {
        /// The number that is due.
        expected: u32,
        /// The number that came.
        found: u32,
    },
    /// Header or body does not match its checksum, or lacks one where the fabric wants it.
    Checksum,
    /// The page does not match its checksum, or lacks one where the fabric wants it.
    PageChecksum,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Version(version) => write!(f, "frame version {version} is not {VERSION}"),
            FrameError::Flags(flags) => write!(f, "frame flags {flags:#04x} are not valid"),
            FrameError::Length(length) => write!(f, "body length {length} is not valid"),
            FrameError::Epoch => f.write_str("frame has no epoch"),
            FrameError::Fragment => f.write_str("fragment does not continue its message"),
            FrameError::Slots { needed, found } => {
                write!(f, "frame of {needed} slots came in {found}")
            }
            FrameError::Address => f.write_str("frame is from or for another instance"),
            FrameError::Sequence { expected, found } => {
                write!(f, "message {found} came where {expected} is due")
            }
            FrameError::Checksum => f.write_str("checksum of header and body is wrong"),
            FrameError::PageChecksum => f.write_str("checksum of the page is wrong"),
        }
    }
}

impl core::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Header {
        Header {
            kind: Kind(0x1234),
            class: Class::Bulk,
            parts: Parts { checked: true, ..Parts::default() },
            length: 40,
            source: InstanceId(3),
            destination: InstanceId(15),
            epoch: Epoch::new(0xdead_beef).unwrap(),
            sequence: 0x0bad_cafe,
        }
    }

    #[test]
    fn words_are_what_the_format_says() {
        assert_eq!(
            sample().to_words(0x1122_3344),
            [0x0000_0028_1234_1201, 0xdead_beef_000f_0003, 0x1122_3344_0bad_cafe]
        );
    }

    #[test]
    fn geometry() {
        let mut header = sample();
        header.length = 32;
        assert_eq!((header.slots(), header.page_word()), (1, 8));
        header.length = 33;
        assert_eq!(header.slots(), 2);
        header.parts.page = true;
        assert_eq!((header.slots(), header.page_word()), (66, 16));
        header.length = 32;
        header.parts.page_checked = true;
        assert_eq!((header.slots(), header.page_word()), (66, 16));
        header.length = u32::try_from(MAX_PAGE_BODY_BYTES).unwrap();
        assert_eq!(header.slots(), crate::MAX_FRAME_SLOTS);
        header.parts = Parts::default();
        header.length = u32::try_from(MAX_BODY_BYTES).unwrap();
        assert_eq!(header.slots(), crate::MAX_BODY_SLOTS);
    }

    #[test]
    fn each_rule_has_its_error() {
        let [first, second, third] = sample().to_words(1);
        let flags = |flags: u64| [first & !0xff00 | flags << 8, second, third];
        let bad = |words| Header::from_words(words).unwrap_err();
        assert_eq!(bad([first & !0xff, second, third]), FrameError::Version(0));
        for wrong in [0b11, 1 << 6, 1 << 7, 0b1_1100, 0b11_0000, 0b10_1000, 0] {
            assert!(matches!(bad(flags(wrong)), FrameError::Flags(_)), "{wrong:#b}");
        }
        assert_eq!(bad([first | 1 << 60, second, third]), FrameError::Length(40 | 1 << 28));
        let page_body = (first & 0xffff_ffff) | 217 << 32;
        assert_eq!(bad([page_body | 1 << 11, second, third]), FrameError::Length(217));
        let fragment = (first & 0xffff_ffff) | 8 << 32 | 1 << 10;
        assert_eq!(bad([fragment, second, third]), FrameError::Length(8));
        assert_eq!(bad([first, second & 0xffff_ffff, third]), FrameError::Epoch);
    }

    proptest! {
        #[test]
        fn accepted_words_are_canonical(words: [u64; 3], version in prop_oneof![Just(None), Just(Some(()))]) {
            let mut words = words;
            if version.is_some() {
                // Make acceptance likely: the right version, a possible length.
                words[0] = words[0] & 0x0000_0fff_ffff_3f00 | u64::from(VERSION);
            }
            if let Ok((header, checksum)) = Header::from_words(words) {
                prop_assert_eq!(header.to_words(checksum), words);
                prop_assert!(header.slots() <= crate::MAX_FRAME_SLOTS);
            }
        }
    }
}
