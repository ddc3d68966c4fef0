//! Futexes: who waits on which word.
//!
//! A waiter is in one queue at a time; `FUTEX_REQUEUE` moves it. The word itself is compared by
//! the caller in the same step that queues the waiter, so no wake can fall between.

mod lending;
mod recall;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_mm::{ObjectId, SpaceId};

pub(crate) use lending::{Holder, Lending};
pub(crate) use recall::MOST_WAITING;

use crate::ids::Tid;

/// A word that threads wait on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FutexKey {
    /// A word of one address space, by virtual address.
    Private(SpaceId, u64),
    /// A word of a memory object, by byte offset: the same for all who map it.
    Shared(ObjectId, u64),
}

impl FutexKey {
    /// The space and the number of the page that a private word is in.
    pub(crate) const fn page(self) -> Option<(SpaceId, u64)> {
        match self {
            FutexKey::Private(space, address) => Some((space, address / PAGE_SIZE as u64)),
            FutexKey::Shared(..) => None,
        }
    }
}

/// The private words of a page.
fn words(space: SpaceId, page: u64) -> Range<FutexKey> {
    let address = |page: u64| page.saturating_mul(PAGE_SIZE as u64);
    FutexKey::Private(space, address(page))
        ..FutexKey::Private(space, address(page.saturating_add(1)))
}

/// A thread that waits on a private word: who, the word's address, and the bits that wake it.
pub(crate) type PrivateWaiter = (Tid, u64, u32);

/// `FUTEX_BITSET_MATCH_ANY`.
pub(crate) const MATCH_ANY: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Waiter {
    tid: Tid,
    bits: u32,
}

/// All waiters of an instance.
#[derive(Debug, Default)]
pub(crate) struct Futexes {
    queues: BTreeMap<FutexKey, VecDeque<Waiter>>,
    /// Where each waiter is queued now.
    waiting: BTreeMap<Tid, FutexKey>,
}

impl Futexes {
    /// Queues `tid` on `key`; it is woken by wakes that share a bit with `bits`.
    pub(crate) fn enqueue(&mut self, key: FutexKey, tid: Tid, bits: u32) {
        debug_assert!(!self.is_queued(tid), "{tid} waits twice");
        self.queues.entry(key).or_default().push_back(Waiter { tid, bits });
        self.waiting.insert(tid, key);
    }

    /// Takes `tid` out of its queue. False if it had been woken already.
    pub(crate) fn cancel(&mut self, tid: Tid) -> bool {
        let Some(key) = self.waiting.remove(&tid) else { return false };
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.retain(|w| w.tid != tid);
            if queue.is_empty() {
                self.queues.remove(&key);
            }
        }
        true
    }

    /// Whether `tid` is still queued.
    pub(crate) fn is_queued(&self, tid: Tid) -> bool {
        self.waiting.contains_key(&tid)
    }

    /// Who is in any queue.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Tid> + '_ {
        self.waiting.keys().copied()
    }

    /// Takes out the oldest waiter of `key` that shares a bit with `bits`.
    pub(crate) fn wake_one(&mut self, key: FutexKey, bits: u32) -> Option<Tid> {
        let queue = self.queues.get_mut(&key)?;
        let at = queue.iter().position(|w| w.bits & bits != 0)?;
        let waiter = queue.remove(at)?;
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        self.waiting.remove(&waiter.tid);
        Some(waiter.tid)
    }

    /// Who waits on private words of a page; those of one word from the oldest on.
    pub(crate) fn on_page(
        &self,
        space: SpaceId,
        page: u64,
    ) -> impl Iterator<Item = PrivateWaiter> + '_ {
        let queues = self.queues.range(words(space, page));
        queues.flat_map(|(key, queue)| {
            // The range has no other keys.
            let address = if let FutexKey::Private(_, address) = *key { address } else { 0 };
            queue.iter().map(move |waiter| (waiter.tid, address, waiter.bits))
        })
    }

    /// Takes them all out.
    pub(crate) fn take_page(&mut self, space: SpaceId, page: u64) -> Vec<PrivateWaiter> {
        let waiters: Vec<PrivateWaiter> = self.on_page(space, page).collect();
        for (tid, ..) in &waiters {
            self.cancel(*tid);
        }
        waiters
    }

    /// Moves up to `count` waiters from one queue to the end of another; returns how many moved.
    pub(crate) fn requeue(&mut self, from: FutexKey, to: FutexKey, count: u32) -> u32 {
        if from == to {
            let present = self.queues.get(&from).map_or(0, VecDeque::len);
            return u32::try_from(present).unwrap_or(u32::MAX).min(count);
        }
        let mut moved = 0;
        while moved < count {
            let Some(queue) = self.queues.get_mut(&from) else { break };
            let Some(waiter) = queue.pop_front() else { break };
            if queue.is_empty() {
                self.queues.remove(&from);
            }
            self.waiting.insert(waiter.tid, to);
            self.queues.entry(to).or_default().push_back(waiter);
            moved += 1;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> FutexKey {
        FutexKey::Shared(ObjectId { home: 0, serial: 1 }, n)
    }

    #[test]
    fn wakes_in_order_and_by_bits() {
        let mut f = Futexes::default();
        f.enqueue(key(0), Tid(1), 1);
        f.enqueue(key(0), Tid(2), 2);
        f.enqueue(key(0), Tid(3), MATCH_ANY);
        assert_eq!(f.wake_one(key(0), 2), Some(Tid(2)));
        assert_eq!(f.wake_one(key(0), MATCH_ANY), Some(Tid(1)));
        assert_eq!(f.wake_one(key(1), MATCH_ANY), None);
        assert!(f.cancel(Tid(3)));
        assert!(!f.cancel(Tid(3)));
        assert_eq!(f.wake_one(key(0), MATCH_ANY), None);
    }

    #[test]
    fn requeued_waiters_are_woken_and_cancelled_where_they_went() {
        let mut f = Futexes::default();
        for n in 1..=4 {
            f.enqueue(key(0), Tid(n), MATCH_ANY);
        }
        assert_eq!(f.requeue(key(0), key(8), 3), 3);
        assert_eq!(f.wake_one(key(0), MATCH_ANY), Some(Tid(4)));
        assert!(f.cancel(Tid(2)));
        assert_eq!(f.wake_one(key(8), MATCH_ANY), Some(Tid(1)));
        assert_eq!(f.wake_one(key(8), MATCH_ANY), Some(Tid(3)));
        assert_eq!(f.wake_one(key(8), MATCH_ANY), None);
    }
}
