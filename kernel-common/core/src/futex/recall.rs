//! Lending futexes to the instance that uses them, and getting them back.

use alloc::vec::Vec;

use maize_abi::PAGE_SIZE;
use maize_hal::{Arch, Nanos};
use maize_mm::SpaceId;
use maize_wire::InstanceId;

use super::{FutexKey, Holder, MATCH_ANY};
use crate::fabric::RequestId;
use crate::fabric::message::{Malformed, Message, RecallFutexes, RecalledFutexes};
use crate::group::SpaceKey;
use crate::handle::Handle;
use crate::ids::Tid;
use crate::state::State;
use crate::thread::Current;
use crate::wait::{Interruptible, WaitKey};

/// Threads that may wait on the words of one page where it is lent to: a recall names them all.
pub(crate) const MOST_WAITING: usize = 512;

/// Whose turn it is before a futex can be used at home.
enum Next {
    Use,
    /// This instance was asked to give it back.
    Answer(InstanceId, RequestId),
    /// Somebody else's request for it is under way.
    Wait,
}

impl<A: Arch> State<A> {
    /// A thread calls about a futex; `served` says whether an instance that is lent it could serve the call.
    pub(crate) fn note_futex_call(&mut self, tid: Tid, key: FutexKey, served: bool) {
        let Some((space, page)) = key.page() else { return };
        let me = self.fabric.me;
        let from = self.threads.get(&tid).map_or(me, |thread| thread.last_place);
        let Some(lending) = self.groups.lending(space) else { return };
        if from == me || !served {
            lending.note_call_at_home(page);
        } else {
            lending.note_call(page, from);
        }
    }

    /// Lends futexes of a space to an instance that a thread is about to be sent to; the numbers of their
    /// pages.
    pub(crate) fn lend_futexes(&mut self, space: SpaceId, to: InstanceId) -> Vec<u64> {
        let mut due = self.groups.lending(space).map_or_else(Vec::new, |l| l.take_due(to));
        due.retain(|page| {
            let mut waiting = self.futexes.on_page(space, *page);
            waiting.all(|(tid, ..)| self.threads.get(&tid).is_some_and(|t| t.last_place == to))
        });
        for page in &due {
            // Who waits here goes there, looks at the word again, and waits there: as Linux's, a wait may
            // end without a wake.
            for (tid, ..) in self.futexes.take_page(space, *page) {
                self.wake(WaitKey::Futex(tid));
            }
            self.stats.fabric.futexes_lent += 1;
        }
        due
    }

    /// They go with this request.
    pub(crate) fn futexes_go(
        &mut self,
        space: SpaceId,
        to: InstanceId,
        pages: &[u64],
        with: RequestId,
    ) {
        if let (false, Some(lending)) = (pages.is_empty(), self.groups.lending(space)) {
            pages.iter().for_each(|page| lending.lend(*page, to, with.sequence));
        }
    }

    /// Whether a thread has called from where the futex is served now, and before that was so: then it
    /// calls there again.
    pub(crate) fn has_crossed(&self, tid: Tid, key: FutexKey) -> bool {
        let Some(Holder::Lent(holder, with)) = self.futex_holder(key) else { return false };
        self.threads.get(&tid).is_some_and(|thread| {
            let age = with.wrapping_sub(thread.last_run) as i32;
            thread.last_place == holder && age > 0
        })
    }

    /// Whether a futex is another instance's to serve.
    pub(crate) fn is_futex_lent(&self, key: FutexKey) -> bool {
        self.futex_holder(key).is_some()
    }

    fn futex_holder(&self, key: FutexKey) -> Option<Holder> {
        let (space, page) = key.page()?;
        self.groups.futex_holder(space, page)
    }

    fn recall_futex(&mut self, current: Current, space: SpaceId, page: u64) -> Next {
        match self.groups.futex_holder(space, page) {
            None => Next::Use,
            Some(Holder::Recalled(_)) => Next::Wait,
            Some(Holder::Lent(holder, _)) => {
                if let Some(lending) = self.groups.lending(space) {
                    lending.recall(page);
                }
                self.stats.fabric.futexes_recalled += 1;
                let space = SpaceKey { home: self.fabric.me.0, serial: space.serial() };
                let ask = |id| RecallFutexes { id, space, page }.into();
                Next::Answer(holder, self.ask(holder, current.tid.0, ask))
            }
        }
    }

    /// At the instance that futexes were lent to: gives them back, with those who wait.
    pub(crate) fn return_futexes(&mut self, from: InstanceId, recall: RecallFutexes) {
        let RecallFutexes { id, space, page } = recall;
        let mut waiters = Vec::new();
        if space.home == from.0
            && let Some(replica) = self.groups.stop_serving(space, page)
        {
            waiters = self.futexes.take_page(replica, page);
        }
        for (tid, ..) in &waiters {
            if let Some(guest) = self.threads.get_mut(tid).and_then(|t| t.guest.as_mut()) {
                guest.waits_at_home = true;
            }
            self.wake(WaitKey::Futex(*tid));
        }
        let waiters = waiters.iter().map(|(tid, address, bits)| (tid.0, *address, *bits)).collect();
        self.answer(from, id, RecalledFutexes { id, space, page, waiters }.into());
    }

    /// At home: takes futexes back. Who waits for them there waits for them here from now on, and will be
    /// back.
    ///
    /// # Errors
    /// [`Malformed::Body`] if they were not to be given back, or nobody like that can wait there.
    pub(crate) fn take_futexes_back(
        &mut self,
        from: InstanceId,
        recalled: &RecalledFutexes,
    ) -> Result<(), Malformed> {
        let page = recalled.page;
        let Some(space) = self.groups.led_space(recalled.space, self.fabric.me, from) else {
            // It has ended meanwhile.
            return Ok(());
        };
        let taken = self.groups.lending(space).is_some_and(|l| l.take_back(page, from));
        if !taken {
            return Err(Malformed::Body);
        }
        // They go on when this is over, also if the rest is nonsense.
        self.wake(WaitKey::Futexes(space, page));
        for (tid, address, bits) in &recalled.waiters {
            let tid = Tid(*tid);
            let there = self.threads.get(&tid).is_some_and(|t| t.away == Some(from));
            let known = there && self.thread_space(tid) == Some(space);
            let inside = address / PAGE_SIZE as u64 == page && address.is_multiple_of(4);
            if !known || !inside || *bits == 0 || self.futexes.is_queued(tid) {
                return Err(Malformed::Body);
            }
            self.futexes.enqueue(FutexKey::Private(space, *address), tid, *bits);
        }
        Ok(())
    }

    /// Futexes that a dead instance was lent are the home's again. Those who waited there are lost with it.
    pub(crate) fn futex_holder_died(&mut self, peer: InstanceId) {
        for (space, page) in self.groups.futexes_of_the_dead(peer) {
            self.wake(WaitKey::Futexes(space, page));
        }
    }
}

impl<A: Arch> Handle<A> {
    /// Gets a futex back that is lent. Nothing else has its turn between the end of this and what the
    /// caller does next.
    pub(crate) async fn own_futex(&self, current: Current, key: FutexKey) {
        let Some((space, page)) = key.page() else { return };
        loop {
            match self.with(|s| s.recall_futex(current, space, page)) {
                Next::Use => return,
                Next::Answer(holder, id) => {
                    let answer = self.answer(current.task, holder, id, Interruptible::Not).await;
                    // What it said was taken in when it arrived, if it is about this.
                    let about = match answer.as_deref() {
                        Ok(Message::RecalledFutexes(said)) => {
                            (said.space.serial, said.page) == (space.serial(), page)
                        }
                        Ok(_) => false,
                        Err(_) => true,
                    };
                    if !about {
                        self.with(|s| s.distrust(holder));
                    }
                }
                Next::Wait => {
                    let key = [WaitKey::Futexes(space, page)];
                    self.wait_for(current.task, &key, Nanos::NEVER, Interruptible::Not).await;
                }
            }
        }
    }

    /// Wakes up to `count` waiters of a futex, wherever it is served.
    pub(crate) async fn wake_futex(&self, current: Current, key: FutexKey, count: u32) -> u32 {
        self.own_futex(current, key).await;
        self.with(|s| {
            s.note_futex_call(current.tid, key, false);
            s.futex_wake(key, count, MATCH_ANY)
        })
    }
}
