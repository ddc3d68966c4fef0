//! What the file system sees of the rest of the kernel.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use maize_abi::Errno;
use maize_hal::{Arch, Nanos};
use maize_mm::{PageStore, Store};
use maize_vfs::{ProcSource, Surroundings, View};

use super::sets::{FilesId, Sets};
use crate::ids::{Pid, Tid};
use crate::message_queues::Queue;
use crate::process::Process;
use crate::sched::RunQueue;
use crate::segments::Segments;
use crate::semaphores::Semaphores;
use crate::stats::Stats;
use crate::system_v::Objects;
use crate::thread::Thread;
use crate::wait::Waits;

/// The state but for the file system itself.
pub(crate) struct Env<'a, A: Arch> {
    pub(super) store: Store<'a, A>,
    pub(super) sets: &'a Sets,
    pub(super) processes: &'a BTreeMap<Pid, Process>,
    pub(super) threads: &'a BTreeMap<Tid, Box<Thread>>,
    pub(super) waits: &'a Waits,
    pub(super) run_queue: &'a RunQueue,
    pub(super) stats: &'a Stats,
    pub(super) segments: &'a Segments,
    pub(super) message_queues: &'a Objects<Queue>,
    pub(super) semaphores: &'a Semaphores,
    pub(super) hostname: &'a [u8],
    pub(super) boot_id: &'a [u8; 16],
    pub(super) cpu: u32,
    pub(super) cpus: u32,
}

impl<'a, A: Arch> Env<'a, A> {
    /// Where a process stands.
    pub(super) fn view_of(&self, files: FilesId) -> Result<&'a View, Errno> {
        self.sets.view(files)
    }
}

impl<A: Arch> Surroundings for Env<'_, A> {
    fn store(&mut self) -> &mut dyn PageStore {
        &mut self.store
    }

    fn proc(&self) -> &dyn ProcSource {
        self
    }

    fn wall_clock(&self) -> Nanos {
        let machine = self.store.machine();
        machine.boot_time() + machine.now()
    }

    fn make_room(&mut self) {
        self.store.tend_heap();
    }

    fn random(&mut self, out: &mut [u8]) {
        self.store.machine_mut().entropy(out);
    }
}
