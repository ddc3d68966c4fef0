//! A window of loom's atomics: every order of accesses that the memory model allows is tried.

use std::{sync::Arc, vec::Vec};

use loom::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

use crate::{Span, Window};

/// A window for use inside `loom::model`. Keep it small: every word is an atomic of the model.
#[derive(Clone)]
pub struct LoomWindow {
    words: Arc<Vec<AtomicU64>>,
    span: Span,
}

impl LoomWindow {
    /// A window of that many words, all zero.
    #[must_use]
    pub fn new(words: usize) -> LoomWindow {
        LoomWindow {
            words: Arc::new((0..words).map(|_| AtomicU64::new(0)).collect()),
            span: Span { start: 0, words },
        }
    }

    fn word(&self, word: usize) -> &AtomicU64 {
        assert!(word < self.span.words, "word {word} of {}", self.span.words);
        &self.words[self.span.start + word]
    }
}

impl Window for LoomWindow {
    fn words(&self) -> usize {
        self.span.words
    }

    fn part(&self, span: Span) -> Option<LoomWindow> {
        (span.end() <= self.span.words).then(|| LoomWindow {
            words: self.words.clone(),
            span: Span { start: self.span.start + span.start, words: span.words },
        })
    }

    fn load(&self, word: usize) -> u64 {
        self.word(word).load(Relaxed)
    }

    fn load_acquire(&self, word: usize) -> u64 {
        self.word(word).load(Acquire)
    }

    fn store(&self, word: usize, value: u64) {
        self.word(word).store(value, Relaxed);
    }

    fn store_release(&self, word: usize, value: u64) {
        self.word(word).store(value, Release);
    }

    fn fetch_add(&self, word: usize, value: u64) -> u64 {
        self.word(word).fetch_add(value, SeqCst)
    }

    fn compare_exchange(&self, word: usize, expected: u64, new: u64) -> Result<u64, u64> {
        self.word(word).compare_exchange(expected, new, SeqCst, SeqCst)
    }

    fn fence(&self) {
        fence(SeqCst);
    }

    fn fence_release(&self) {
        fence(Release);
    }

    fn fence_acquire(&self) {
        fence(Acquire);
    }
}
