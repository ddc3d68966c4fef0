//! Making a kernel.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use maize_abi::Isa;
use maize_hal::{Arch, FrameRange, HostIo, Interrupts, Nanos};
use maize_mm::{Budget, Frames, ImageSource, Memory, Progress};

use crate::executor::TaskQueue;
use crate::files::Files;
use crate::futex::Futexes;
use crate::handle::Handle;
use crate::ids::IdSequence;
use crate::kernel::{Config, Kernel};
use crate::sched::RunQueue;
use crate::state::State;
use crate::stats::Stats;
use crate::timer::Timers;
use crate::wait::{Interruptible, WaitKey, Waits};

impl<A: Arch> Kernel<A> {
    /// A kernel on `arch` with no process yet.
    ///
    /// `memory` is what it may use, less `reserved` (its own image, its heap, the root image);
    /// `image` is the root file system.
    #[must_use]
    pub fn new(
        arch: A,
        host: Box<dyn HostIo>,
        memory: &[FrameRange],
        reserved: &[FrameRange],
        image: Box<dyn ImageSource>,
        config: Config,
    ) -> Kernel<A> {
        let frames = Frames::new(memory, reserved, FRAME_RESERVE);
        let home = config.cpu as u16;
        let mut tasks = TaskQueue::default();
        let background = tasks.reserve();
        let state = State {
            arch,
            host,
            memory: Memory::new(home, <A::Isa as Isa>::PTE, frames, image),
            files: Files::default(),
            tasks,
            waits: Waits::default(),
            timers: Timers::default(),
            run_queue: RunQueue::default(),
            futexes: Futexes::default(),
            ids: IdSequence::new(),
            threads: BTreeMap::new(),
            processes: BTreeMap::new(),
            task_threads: BTreeMap::new(),
            pending: Interrupts::all(),
            armed: Nanos::NEVER,
            cpu: config.cpu,
            cpus: config.cpus,
            hostname: config.hostname,
            trampoline: None,
            background,
            stats: Stats::default(),
            report_stats: config.stats,
            program: None,
            exit_status: None,
            ready_reported: false,
        };
        let kernel = Kernel::from_state(state);
        let k = kernel.handle.clone();
        kernel.handle.with(|s| s.tasks.spawn(background, Box::pin(free_memory(k))));
        kernel
    }
}

/// Frames kept for the kernel's own needs when programs have taken all others.
const FRAME_RESERVE: u64 = 256;

/// Frees in bounded steps what nothing needs any more.
async fn free_memory<A: Arch>(k: Handle<A>) {
    let task = k.with(|s| s.background);
    loop {
        let mut budget = Budget::step();
        match k.with(|s| s.memory.run_background(&mut s.arch, &mut budget)) {
            Progress::More => k.yield_now(task).await,
            Progress::Done => {
                let keys: Vec<WaitKey> = [WaitKey::MemoryFreed].into();
                k.wait_for(task, &keys, Nanos::NEVER, Interruptible::Not).await;
            }
        }
    }
}

impl<A: Arch> State<A> {
    /// There is memory to be freed.
    pub(crate) fn wake_background(&mut self) {
        self.wake(WaitKey::MemoryFreed);
    }
}
