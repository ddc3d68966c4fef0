//! What is in a message: everything follows from a seed, the pair, the class and the number, so that
//! the receiver can make it again.

use alloc::vec;
use alloc::vec::Vec;

use maize_wire::{Class, InstanceId, PAGE_WORDS};

/// Bytes of the longest message.
pub const MAX_BYTES: usize = 40_000;

/// A well-mixed function of a number (the finaliser of SplitMix64).
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// One direction of a pair.
#[derive(Clone, Copy, Debug)]
pub struct Direction {
    key: u64,
}

/// How a message looks, but for its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What its words follow from.
    key: u64,
    /// Bytes of its body, at least 16: its number and a word.
    pub bytes: usize,
    /// Whether it has a page.
    pub has_page: bool,
}

impl Direction {
    /// The messages from one instance to another.
    #[must_use]
    pub const fn new(seed: u64, from: InstanceId, to: InstanceId) -> Direction {
        Direction {
            key: mixed(seed ^ (from.0 as u64) << 48 ^ (to.0 as u64) << 32 ^ 0x004d_6169_7a65),
        }
    }

    /// The class of the `turn`th message of all.
    #[must_use]
    pub const fn class(&self, turn: u64) -> Class {
        match mixed(self.key ^ turn) % 8 {
            0 => Class::Urgent,
            1 => Class::Bulk,
            _ => Class::Normal,
        }
    }

    /// The message of that number in its class.
    #[must_use]
    pub const fn shape(&self, class: Class, number: u64) -> Shape {
        let key = mixed(self.key.wrapping_add(mixed(number << 2 | class as u64)));
        let (choice, size) = (key % 256, (key >> 8) as usize);
        let (bytes, has_page) = match (class, choice) {
            (Class::Urgent, _) => (16 + size % 17, false),
            (Class::Normal, 0..8) => (16 + size % 200, true),
            (Class::Normal, 8..16) => (16 + size % 4_000, false),
            (Class::Bulk, 0..4) => (4_000 + size % (MAX_BYTES - 4_000), false),
            (Class::Bulk, 4..32) => (16 + size % 200, true),
            (Class::Normal | Class::Bulk, _) => (16 + size % 120, false),
        };
        Shape { key, bytes, has_page }
    }
}

impl Shape {
    const fn word(&self, index: usize) -> u64 {
        (self.key ^ index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Room for the content of a message, with that of the one that was made last.
pub struct Content {
    words: Vec<u64>,
    page: Vec<u64>,
}

impl Default for Content {
    fn default() -> Content {
        Content { words: vec![0; MAX_BYTES / 8], page: vec![0; PAGE_WORDS] }
    }
}

impl Content {
    /// Makes the message of that number: body, and page if it has one.
    pub fn make(&mut self, shape: Shape, number: u64) -> (&[u8], Option<&[u64; PAGE_WORDS]>) {
        let words = shape.bytes.div_ceil(8);
        for (index, word) in self.words.iter_mut().take(words).enumerate().skip(1) {
            *word = shape.word(index);
        }
        if let Some(first) = self.words.first_mut() {
            *first = number;
        }
        let body: &[u8] = bytemuck::cast_slice(&self.words);
        let page = if shape.has_page {
            for (index, word) in self.page.iter_mut().enumerate() {
                *word = shape.word(!index);
            }
            self.page.first_chunk()
        } else {
            None
        };
        (body.get(..shape.bytes).unwrap_or_default(), page)
    }

    /// Whether this is the body and the page of the message of that number.
    pub fn is(
        &mut self,
        (shape, number): (Shape, u64),
        body: &[u8],
        page: Option<&[u64; PAGE_WORDS]>,
    ) -> bool {
        let made = self.make(shape, number);
        (body, page) == made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_differ_and_are_made_again() {
        let there = Direction::new(1, InstanceId(0), InstanceId(1));
        let back = Direction::new(1, InstanceId(1), InstanceId(0));
        let (mut content, mut other) = (Content::default(), Content::default());
        let mut seen = [false; 4];
        for number in 0..2_000 {
            for class in Class::ALL {
                let shape = there.shape(class, number);
                let (body, page) = content.make(shape, number);
                assert!(other.is((shape, number), body, page));
                assert!(!other.is((back.shape(class, number), number), body, page));
                assert!(!other.is((shape, number + 1), body, page));
                assert!((16..=MAX_BYTES).contains(&body.len()));
                seen[0] |= page.is_some();
                seen[1] |= body.len() > 4_064;
                seen[2] |= body.len() <= 32;
                if let Some(page) = page {
                    let mut wrong = *page;
                    wrong[511] ^= 1;
                    assert!(!other.is((shape, number), body, Some(&wrong)));
                    assert!(!other.is((shape, number), body, None));
                }
            }
            seen[3] |= there.class(number) == Class::Urgent;
        }
        assert_eq!(seen, [true; 4], "pages, fragments, short ones, every class");
    }
}
