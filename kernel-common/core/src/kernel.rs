//! The kernel as a value.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use maize_hal::{Arch, Frame, HostEvent, Interrupts, KernelHeap, Nanos, Report};

use crate::executor::Executor;
use crate::handle::Handle;
use crate::state::State;

/// What an instance is made from.
pub struct Config {
    /// This instance's number among the cores of the fabric.
    pub cpu: u32,
    /// Cores of the fabric.
    pub cpus: u32,
    /// `uname -n`.
    pub hostname: Vec<u8>,
    /// Whether the counters are reported when the program has ended.
    pub stats: bool,
    /// Members of the root image that are no files of the root, by path without a leading slash.
    pub hidden: Vec<Vec<u8>>,
    /// The kernel's heap, if it is to grow by frames of the core's.
    pub heap: Option<Box<dyn KernelHeap>>,
    /// How often a thread may go straight back to user mode in one [`Kernel::step`], if nothing else is to be
    /// done: none for who looks at the machine after each run.
    pub runs_at_once: u32,
}

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There may be more to do.
    Busy,
    /// Nothing is to be done before `until` unless something comes from outside.
    Idle {
        /// The next deadline, or [`Nanos::NEVER`].
        until: Nanos,
    },
    /// The program has ended and all its output has left.
    Halted {
        /// As `wait4` gives it.
        status: u32,
    },
}

/// One instance's kernel.
///
/// It does nothing by itself: whoever owns it calls [`Self::step`] until it is idle, then waits as
/// long as it says. On a machine that is the board's loop, in a simulation the simulator's.
pub struct Kernel<A: Arch> {
    pub(crate) handle: Handle<A>,
    executor: Executor,
}

/// How much of everything an instance has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Processes whose record or body is here.
    pub processes: usize,
    /// Threads, those of other instances' processes among them.
    pub threads: usize,
    /// Replicas of other instances' spaces.
    pub replicas: usize,
    /// Processes on their way here.
    pub arriving: usize,
    /// Pages of memory that are free or could be at once.
    pub free_pages: u64,
}

/// How long tasks go on in one step before the clock, the host and user code get their turn.
const TASK_TIME: Nanos = Nanos::MILLI;

impl<A: Arch> Kernel<A> {
    /// A kernel on `arch`, with no process yet.
    pub(crate) fn from_state(state: State<A>) -> Kernel<A> {
        Kernel { handle: Handle::new(state), executor: Executor::default() }
    }

    /// Does a bounded piece of work: serves what has come from outside, lets tasks go on, runs
    /// user code until it traps.
    pub fn step(&mut self) -> Step {
        let started = self.handle.with(|s| {
            let interrupts = s.take_interrupts();
            if interrupts.contains(Interrupts::HOST) {
                s.serve_host();
            }
            let now = s.now();
            s.serve_fabric(&self.handle, interrupts, now);
            s.expire_timers(now);
            s.wake_files();
            s.run_queue.begin_turn(now);
            now
        });
        loop {
            let (task, spawned) = self.handle.with(|s| s.tasks.take());
            if let Some(spawned) = spawned {
                self.executor.adopt(spawned);
            }
            let Some(task) = task else { break };
            self.executor.poll(task);
            let now = self.handle.with(|s| {
                s.memory.tend_heap();
                s.wake_files();
                s.now()
            });
            if now.since(started) > TASK_TIME {
                break;
            }
        }
        self.handle.with(|s| {
            if let Some(status) = s.exit_status {
                s.notify_fabric();
                return if s.report_exit(status) && s.host.flushed() && s.fabric.is_flushed() {
                    Step::Halted { status }
                } else {
                    Step::Busy
                };
            }
            s.notify_fabric();
            if !s.pending.is_empty() {
                // It has met a thread that went straight on. A timer that is spent is not set again before
                // that is taken note of, and user code might go on for ever.
                return Step::Busy;
            }
            if s.run_queue.len() > 0 && !s.arm_fabric() {
                // A message is there already, and nobody would ring for it.
                return Step::Busy;
            }
            if s.run_next() {
                return Step::Busy;
            }
            // Nothing left user mode in this step, so nothing has taken interrupts either.
            s.pending |= s.arch.poll_interrupts();
            if s.tasks.has_ready() || !s.pending.is_empty() {
                return Step::Busy;
            }
            let Some(beat) = s.fabric_idle() else { return Step::Busy };
            let until = s.timers.next_deadline().min(beat);
            if until <= s.now() {
                return Step::Busy;
            }
            s.arm_timer(false, Nanos::NEVER);
            Step::Idle { until }
        })
    }

    /// The monotonic clock.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.handle.with(|s| s.now())
    }

    /// Has the next step ask the host link for what has come, as after an interrupt of it.
    pub fn hear_host(&mut self) {
        self.handle.with(|s| s.pending |= Interrupts::HOST);
    }

    /// Halts the core until something comes from outside. To be called after [`Step::Idle`].
    pub fn wait_for_interrupt(&mut self) {
        self.handle.with(|s| {
            s.stats.idles += 1;
            let interrupts = s.arch.wait_for_interrupt();
            s.pending |= interrupts;
        });
    }

    /// Steps until the program has ended; returns its `wait4` status.
    pub fn run(&mut self) -> u32 {
        loop {
            match self.step() {
                Step::Busy => {}
                Step::Idle { .. } => self.wait_for_interrupt(),
                Step::Halted { status } => return status,
            }
        }
    }

    /// All counters by name.
    #[must_use]
    pub fn counters(&self) -> Vec<(String, u64)> {
        self.handle.with(|s| s.stats.counters())
    }

    /// One counter, 0 if there is none of that name.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters().into_iter().find(|(n, _)| n == name).map_or(0, |(_, count)| count)
    }

    /// Whether a frame is this instance's, and free: for a simulator, which sees to it that nobody else
    /// uses it then.
    #[must_use]
    pub fn is_free(&self, frame: Frame) -> bool {
        self.handle.with(|s| s.memory.frames().is_free(frame))
    }

    /// Looks at the machine: for simulators, which move its clock and see what it did.
    pub fn with_arch<R>(&self, f: impl FnOnce(&mut A) -> R) -> R {
        self.handle.with(|s| f(&mut s.arch))
    }

    /// What there is, for tests that nothing is left.
    #[must_use]
    pub fn census(&self) -> Census {
        self.handle.with(|s| {
            let usage = s.memory.usage();
            Census {
                processes: s.processes.len(),
                threads: s.threads.len(),
                replicas: s.replicas(),
                arriving: s.arriving(),
                free_pages: usage.free + usage.reclaimable,
            }
        })
    }

    /// Tasks that have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.executor.len()
    }
}

impl<A: Arch> State<A> {
    /// Takes what the host has sent.
    fn serve_host(&mut self) {
        while let Some(event) = self.host.poll() {
            match event {
                HostEvent::Input(bytes) => self.console_input(&bytes),
                HostEvent::InputClosed => self.console_closed(),
                HostEvent::OutputClosed(stream) => self.console_output_closed(stream),
                HostEvent::StatsRequest => {
                    let counters = self.stats.counters();
                    self.host.report(Report::Stats { counters });
                }
                HostEvent::TasksRequest => self.report_tasks(),
                HostEvent::WindowSize { rows, cols } => self.console_resized(rows, cols),
                HostEvent::Signal(signal) => self.console_signal(signal),
                HostEvent::Shutdown => self.shut_down(),
            }
        }
        self.console_pump();
    }
}
