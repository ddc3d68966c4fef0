//! Making a kernel.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;

use maize_abi::Isa;
use maize_hal::{Arch, FrameRange, HostIo, Interrupts, Nanos};
use maize_mm::{Budget, Frames, ImageSource, Memory, Progress};
use maize_wire::InstanceId;

use crate::executor::TaskQueue;
use crate::fabric::Fabric;
use crate::files::{Files, RootError};
use crate::futex::Futexes;
use crate::group::Groups;
use crate::handle::Handle;
use crate::homes::Homes;
use crate::ids::IdSequence;
use crate::kernel::{Config, Kernel};
use crate::sched::RunQueue;
use crate::segments::Segments;
use crate::semaphores::Semaphores;
use crate::state::State;
use crate::stats::Stats;
use crate::system_v::Objects;
use crate::timer::{FileTimers, Timers};
use crate::wait::{Interruptible, WaitKey, Waits};

impl<A: Arch> Kernel<A> {
    /// A kernel on `arch` with no process yet.
    ///
    /// `memory` is what it may use, less `reserved` (its own image, its heap, the root image);
    /// `image` is the root file system. To read it may take seconds, so an instance that has others
    /// links itself to them afterwards: on a link such a silence is taken for death.
    ///
    /// # Errors
    /// [`RootError`].
    pub fn new(
        arch: A,
        host: Box<dyn HostIo>,
        memory: &[FrameRange],
        reserved: &[FrameRange],
        image: Box<dyn ImageSource>,
        config: Config,
    ) -> Result<Kernel<A>, RootError> {
        let image = SharedImage(Rc::from(image));
        let frames = Frames::new(memory, reserved, FRAME_RESERVE);
        let home = config.cpu as u16;
        let mut memory = Memory::new(home, <A::Isa as Isa>::PTE, frames, Box::new(image.clone()));
        if let Some(heap) = config.heap {
            memory.set_heap(heap);
        }
        let mut tasks = TaskQueue::default();
        let background = tasks.reserve();
        let mut state = State {
            arch,
            host,
            memory,
            files: Files::new(),
            segments: Segments::default(),
            message_queues: Objects::default(),
            semaphores: Semaphores::default(),
            tasks,
            waits: Waits::default(),
            timers: Timers::default(),
            file_timers: FileTimers::new(),
            run_queue: RunQueue::new(config.runs_at_once),
            futexes: Futexes::default(),
            fabric: Fabric::alone(InstanceId(home)),
            groups: Groups::default(),
            homes: Homes::default(),
            ids: IdSequence::of_instance(config.cpu, config.cpus),
            threads: BTreeMap::new(),
            processes: BTreeMap::new(),
            task_threads: BTreeMap::new(),
            pending: Interrupts::all(),
            armed: Nanos::NEVER,
            cpu: config.cpu,
            cpus: config.cpus,
            hostname: config.hostname,
            boot_id: [0; 16],
            image: image.clone(),
            hidden: config.hidden,
            move_page: None,
            trampoline: None,
            background,
            stats: Stats::default(),
            report_stats: config.stats,
            program: None,
            exit_status: None,
            exit_reported: false,
            ready_reported: false,
        };
        state.arch.entropy(&mut state.boot_id);
        let kernel = Kernel::from_state(state);
        kernel.handle.with(|s| s.load_root(&image))?;
        if config.cpus > 1 {
            kernel.handle.with(State::look_at_root);
        }
        let k = kernel.handle.clone();
        kernel.handle.with(|s| s.tasks.spawn(background, Box::pin(free_memory(k))));
        Ok(kernel)
    }
}

/// The root image, for the memory that loads pages from it and for the file system that reads its
/// index once.
#[derive(Clone)]
pub(crate) struct SharedImage(Rc<dyn ImageSource>);

impl ImageSource for SharedImage {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read(&self, at: u64, out: &mut [u8]) {
        self.0.read(at, out);
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
                k.wait_for(task, &[WaitKey::MemoryFreed], Nanos::NEVER, Interruptible::Not).await;
            }
        }
    }
}

impl<A: Arch> State<A> {
    /// There may be memory to be freed.
    pub(crate) fn wake_background(&mut self) {
        if self.memory.has_background_work() {
            self.wake(WaitKey::MemoryFreed);
        }
    }
}
