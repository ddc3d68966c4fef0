//! Moves between instruction sets: asked for by a word, made at the thread's next migration point.

use alloc::sync::Arc;

use maize_abi::migration::{CARRIED, REQUESTED};
use maize_abi::{Errno, Isa, IsaKind, PAGE_SIZE};
use maize_hal::{Arch, FpuState};
use maize_mm::{ObjectId, PageStore};
use maize_wire::InstanceId;

use super::ahead;
use crate::ids::Tid;
use crate::lifecycle::Pair;
use crate::state::State;
use crate::thread::Current;

/// The page of this instance's migration-request word: all programs that can move map it.
///
/// One core runs one thread, so one word is enough: it is set for a thread when that is switched in.
/// The page is never sent anywhere.
#[derive(Debug)]
pub(crate) struct MovePage {
    object: ObjectId,
    /// What the word says.
    requested: bool,
}

impl<A: Arch> State<A> {
    /// The instruction set of an instance that can be worked with.
    pub(crate) fn isa_of(&self, instance: InstanceId) -> Option<IsaKind> {
        if instance == self.fabric.me {
            return Some(<A::Isa as Isa>::KIND);
        }
        self.fabric.isa_of_peer(instance)
    }

    /// The pair of files that a thread's program is loaded from, if it is one.
    pub(crate) fn pair(&self, tid: Tid) -> Option<&Arc<Pair>> {
        let thread = self.threads.get(&tid)?;
        self.processes.get(&thread.process)?.pair.as_ref()
    }

    /// Sends a thread that is on another instruction set than `target` there at its next migration
    /// point.
    pub(crate) fn bind(&mut self, tid: Tid, target: InstanceId) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.bound = Some(target);
            log::debug!("thread {tid} is asked to go to {target}");
        }
    }

    /// The object of the page with the request word.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn move_page(&mut self) -> Result<ObjectId, Errno> {
        if let Some(page) = &self.move_page {
            return Ok(page.object);
        }
        let mut store = self.memory.store(&mut self.arch);
        let object = store.create(PAGE_SIZE as u64).map_err(|_| Errno::ENOMEM)?;
        if store.write(object, CARRIED, &1_u32.to_le_bytes()).is_err() {
            store.release(object);
            return Err(Errno::ENOMEM);
        }
        self.move_page = Some(MovePage { object, requested: false });
        Ok(object)
    }

    /// Whether an object is the page with the request word.
    pub(crate) fn is_move_page(&self, object: ObjectId) -> bool {
        self.move_page.as_ref().is_some_and(|page| page.object == object)
    }

    /// Sets the request word for the thread that is switched in.
    pub(crate) fn show_request(&mut self, tid: Tid) {
        let Some(page) = &mut self.move_page else { return };
        let requested = self.threads.get(&tid).is_some_and(|thread| thread.is_requested());
        if page.requested == requested {
            return;
        }
        let object = page.object;
        let word = u32::from(requested).to_le_bytes();
        // The page is there since it was made: writing it takes no memory.
        if self.memory.store(&mut self.arch).write(object, REQUESTED, &word).is_ok()
            && let Some(page) = &mut self.move_page
        {
            page.requested = requested;
        }
    }

    /// A thread wants to look at its next migration point, or no longer. It is told so where it runs.
    ///
    /// # Errors
    /// `ENOSYS` if its program is of one instruction set only.
    pub(crate) fn ask_itself(&mut self, current: Current, wish: u64) -> Result<u64, Errno> {
        self.pair(current.tid).ok_or(Errno::ENOSYS)?;
        let thread = self.threads.get_mut(&current.tid).ok_or(Errno::ESRCH)?;
        thread.asks = wish != 0;
        Ok(0)
    }

    /// A thread has saved its frames: it goes on on the instruction set that it was asked to go to, or
    /// where it is if nobody asks any more.
    ///
    /// # Errors
    /// `ENOSYS` if its program is of one instruction set only.
    pub(crate) fn leave(&mut self, current: Current, args: [u64; 6]) -> Result<(), Errno> {
        let [pointer, environment, first, end, data, stack] = args;
        let pair = self.pair(current.tid).cloned().ok_or(Errno::ENOSYS)?;
        let Some(target) = self.threads.get_mut(&current.tid).and_then(|t| t.bound.take()) else {
            self.set_result(current.tid, Ok(0));
            return Ok(());
        };
        let there = self.isa_of(target).and_then(|isa| Some((isa, pair.resume(isa)?)));
        let Some((isa, resume)) = there else {
            // It has gone meanwhile.
            self.set_result(current.tid, Ok(0));
            return Ok(());
        };
        self.run_queue.forget_fpu(current.tid);
        // Another instance starts with its own initial state: an empty one stands for it.
        let fpu =
            if target == self.fabric.me { self.arch.fpu_initial() } else { FpuState::zeroed(0) };
        if let Some(thread) = self.threads.get_mut(&current.tid) {
            let mut regs = isa.start(resume, stack);
            regs.set_tls(pointer);
            regs.set_syscall_result(environment);
            thread.regs = regs;
            thread.set_fpu(fpu);
            thread.place = target;
            thread.ahead = ahead::pages(pointer, first..end, data);
            self.stats.fabric.crossings += 1;
        }
        Ok(())
    }

    /// A thread that has just got a program of this instance's instruction set is placed anew.
    pub(crate) fn settle(&mut self, tid: Tid) {
        let me = self.fabric.me;
        let all = self.cores_of(tid);
        let own = <A::Isa as Isa>::KIND;
        let place = self.threads.get(&tid).map(|thread| thread.place);
        let stays = place.is_some_and(|place| self.isa_of(place) == Some(own));
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        (thread.bound, thread.asks) = (None, false);
        if !stays {
            thread.place = me;
        }
        if thread.affinity & all == 0 {
            thread.affinity = u64::MAX;
        }
        let mask = thread.affinity;
        if self.fabric.is_joined() {
            // Within its mask, which has a core that it can run on.
            let _ = self.set_affinity(tid, mask);
        }
    }
}
