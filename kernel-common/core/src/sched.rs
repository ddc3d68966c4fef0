//! Which thread runs: round robin with time slices on the instance's one core.

use alloc::collections::VecDeque;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use maize_abi::UserRegs;
use maize_hal::{Arch, Interrupts, Nanos, Trap};
use maize_trace::EventKind;

use crate::executor::TaskId;
use crate::handle::Handle;
use crate::ids::Tid;
use crate::state::State;

/// How long a thread runs before others that are ready get their turn.
pub const TIME_SLICE: Nanos = Nanos::from_millis(10);

/// How long a thread may use pages that others wait for before they may go.
const USE_TIME: Nanos = Nanos(20_000);

/// For how long a thread goes straight back to user mode before the rest of the kernel has a turn.
const TURN_TIME: Nanos = Nanos(50_000);

/// How often it does so at the most, whatever the clock says: a good [`Config::runs_at_once`].
///
/// [`Config::runs_at_once`]: crate::Config::runs_at_once
pub const RUNS_AT_ONCE: u32 = 16;

/// The threads that are ready to run user code.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    ready: VecDeque<Tid>,
    /// How often threads may go straight back to user mode between two turns of the rest of the kernel.
    at_once: u32,
    /// Until when, and how often, they still may.
    turn: (Nanos, u32),
    /// Whose slice it is, and when that ends.
    slice: Option<(Tid, Nanos)>,
    /// Whose FPU state the FPU holds.
    fpu: Option<Tid>,
}

impl RunQueue {
    pub(crate) fn new(at_once: u32) -> RunQueue {
        RunQueue { at_once, ..RunQueue::default() }
    }

    /// Threads that are ready and do not run.
    pub(crate) fn len(&self) -> usize {
        self.ready.len()
    }

    /// All of the kernel has had its turn.
    pub(crate) fn begin_turn(&mut self, now: Nanos) {
        self.turn = (now + TURN_TIME, self.at_once);
    }

    /// Ends the running thread's slice (`sched_yield`).
    pub(crate) fn end_slice(&mut self) {
        self.slice = None;
    }

    /// Makes a thread ready. One that came back from the kernel within its slice goes on first, and so
    /// does one that is `awaited`: other instances wait until it has used a page.
    fn enqueue(&mut self, tid: Tid, now: Nanos, awaited: bool) {
        match self.slice {
            _ if awaited => self.ready.push_front(tid),
            Some((owner, end)) if owner == tid && now < end => self.ready.push_front(tid),
            _ => self.ready.push_back(tid),
        }
    }

    /// The FPU no longer holds this thread's state, if it did.
    pub(crate) fn forget_fpu(&mut self, tid: Tid) {
        if self.fpu == Some(tid) {
            self.fpu = None;
        }
    }
}

/// Why a thread left user mode, as a trace has it.
const fn reason(trap: Trap) -> u64 {
    match trap {
        Trap::Syscall => 0,
        Trap::PageFault(_) => 1,
        Trap::Exception(_) => 2,
        Trap::Interrupt(_) => 3,
    }
}

impl<A: Arch> State<A> {
    /// Runs the first ready thread in user mode until something needs the kernel. False if no
    /// thread is ready.
    pub(crate) fn run_next(&mut self) -> bool {
        let Some(tid) = self.run_queue.ready.pop_front() else { return false };
        if let Some(task) = self.run_thread(tid) {
            self.tasks.wake(task);
        }
        true
    }

    /// Runs a thread in user mode at once, if nothing else is to be done: most calls are over when they
    /// return, and finding that out again costs as much as they do. False if it has not run.
    fn run_at_once(&mut self, tid: Tid, now: Nanos) -> bool {
        self.memory.tend_heap();
        self.wake_files();
        let (until, runs) = self.run_queue.turn;
        if runs == 0
            || now >= until.min(self.timers.next_deadline())
            || !self.run_queue.ready.is_empty()
            || self.tasks.has_ready()
            || !self.pending.is_empty()
            || self.exit_status.is_some()
        {
            return false;
        }
        self.run_queue.turn.1 -= 1;
        self.notify_fabric();
        self.arm_fabric() && self.run_thread(tid).is_some()
    }

    /// Runs a thread in user mode until something needs the kernel; its task, which finds what that is in
    /// [`Thread::trap`]. `None` if the thread cannot run any more.
    fn run_thread(&mut self, tid: Tid) -> Option<TaskId> {
        let space = self.thread_space(tid)?;
        let started = self.now();
        if self.must_exit(tid)
            || self.has_signal(tid)
            || self.is_stopped(tid)
            || self.is_leaving(tid)
            || self.fabric.is_joined() && self.is_misplaced(tid)
        {
            // Something came while the thread was waiting for its turn.
            return self.bounce(tid, started);
        }
        if self.run_queue.slice.is_none_or(|(owner, end)| owner != tid || started >= end) {
            self.run_queue.slice = Some((tid, started + TIME_SLICE));
        }
        let contested = self.has_contested_holds(tid);
        let use_end = if contested { started + USE_TIME } else { Nanos::NEVER };
        // A step that lasted for long has left tasks for the next.
        let others_ready = !self.run_queue.ready.is_empty() || self.tasks.has_ready();
        self.arm_timer(others_ready, use_end);
        self.own_fpu(tid);
        self.show_request(tid);
        let root = self.memory.root(space).ok()?;
        self.report_ready(started);
        if self.is_traced() {
            self.trace_at(started, EventKind::RunBegin, tid, [0; 2]);
        }
        let thread = self.threads.get_mut(&tid)?;
        let first = thread.regs.pc();
        let regs = UserRegs::of_any(&mut thread.regs)?;
        let trap = self.arch.run_user(regs, root);
        let ended = self.arch.now();
        // A loop of one instruction, or that interrupts only meet at its start, is where it was.
        thread.advanced = thread.regs.pc() != first || ended.since(started) >= USE_TIME;
        thread.user_time = thread.user_time + ended.since(started);
        self.stats.traps += 1;
        if let Trap::Interrupt(interrupts) = trap {
            self.pending |= interrupts;
        }
        thread.trap = Some((trap, ended));
        let task = thread.task;
        if self.is_traced() {
            self.trace_at(ended, EventKind::RunEnd, tid, [reason(trap), 0]);
        }
        Some(task)
    }

    /// Why a thread has left user mode, if its task has not seen that yet.
    fn take_trap(&mut self, tid: Tid) -> Poll<Trap> {
        let trap = self.threads.get_mut(&tid).and_then(|thread| {
            let (trap, since) = thread.trap.take()?;
            thread.kernel_since = since;
            Some(trap)
        });
        trap.map_or(Poll::Pending, Poll::Ready)
    }

    pub(crate) fn is_stopped(&self, tid: Tid) -> bool {
        let process = self.threads.get(&tid).and_then(|t| self.processes.get(&t.process));
        process.is_some_and(|p| p.stopped)
    }

    /// The time until now, which is returned, counts as the thread's system time; the next starts now.
    pub(crate) fn charge_system_time(&mut self, tid: Tid) -> Nanos {
        let now = self.now();
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.system_time = thread.system_time + now.since(thread.kernel_since);
            thread.kernel_since = now;
        }
        now
    }

    /// The time until now counts as nobody's: the thread was waiting.
    pub(crate) fn skip_time(&mut self, tid: Tid) {
        let now = self.now();
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        thread.kernel_since = now;
        if thread.guest.is_none() {
            let pid = thread.process;
            self.resume_processor_timers(pid);
        }
    }

    /// Sends a ready thread back into the kernel without running it.
    fn bounce(&mut self, tid: Tid, now: Nanos) -> Option<TaskId> {
        let thread = self.threads.get_mut(&tid)?;
        thread.trap = Some((Trap::Interrupt(Interrupts::empty()), now));
        thread.advanced = false;
        Some(thread.task)
    }

    /// Loads the FPU with the state of `tid`, saving whose state was in it.
    fn own_fpu(&mut self, tid: Tid) {
        if self.run_queue.fpu == Some(tid) {
            return;
        }
        if let Some(owner) = self.run_queue.fpu.take() {
            self.spill_fpu(owner);
        }
        self.unpack_fpu(tid);
        if let Some(thread) = self.threads.get(&tid) {
            self.arch.load_fpu(&thread.fpu);
            self.run_queue.fpu = Some(tid);
        }
    }

    fn spill_fpu(&mut self, owner: Tid) {
        if let Some(thread) = self.threads.get_mut(&owner) {
            self.arch.save_fpu(&mut thread.fpu);
        }
    }

    /// Brings the saved FPU state of `tid` up to date, so that it can be read.
    pub(crate) fn sync_fpu(&mut self, tid: Tid) {
        self.save_fpu(tid);
        self.unpack_fpu(tid);
    }

    /// Saves the FPU state of `tid` if the FPU has it.
    pub(crate) fn save_fpu(&mut self, tid: Tid) {
        if self.run_queue.fpu == Some(tid) {
            self.spill_fpu(tid);
        }
    }

    fn unpack_fpu(&mut self, tid: Tid) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if let Some(packed) = thread.take_packed_fpu() {
            // It was looked at when it came.
            let state = packed.to_fpu(&self.arch);
            thread.set_fpu(state.unwrap_or_else(|| self.arch.fpu_initial()));
        }
    }

    /// Sets the timer to the next deadline, at the latest to `latest`, and to the end of the slice if
    /// other threads or tasks are ready.
    pub(crate) fn arm_timer(&mut self, others_ready: bool, latest: Nanos) {
        let mut deadline = self.timers.next_deadline().min(self.fabric_beat()).min(latest);
        if let (true, Some((_, end))) = (others_ready, self.run_queue.slice) {
            deadline = deadline.min(end);
        }
        // One that comes too early is set again when it has come: setting it costs more than a message, and
        // most deadlines that it was set for are taken back before they pass.
        if deadline < self.armed {
            self.armed = deadline;
            self.arch.set_timer(deadline);
        }
    }

    /// What has happened outside since the last call.
    pub(crate) fn take_interrupts(&mut self) -> Interrupts {
        let pending = core::mem::replace(&mut self.pending, Interrupts::empty());
        if pending.contains(Interrupts::TIMER) {
            // The timer is spent: the next deadline must be set again even if it is the same.
            self.armed = Nanos::NEVER;
        }
        pending
    }
}

/// Runs user code: ready from the first poll on, done when the thread has trapped.
struct RunUser<'a, A: Arch> {
    handle: &'a Handle<A>,
    tid: Tid,
    queued: bool,
}

impl<A: Arch> Future for RunUser<'_, A> {
    type Output = Trap;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Trap> {
        let this = &mut *self;
        this.handle.with(|s| {
            let trapped = s.take_trap(this.tid);
            if trapped.is_ready() || core::mem::replace(&mut this.queued, true) {
                return trapped;
            }
            let now = s.charge_system_time(this.tid);
            if s.run_at_once(this.tid, now) {
                return s.take_trap(this.tid);
            }
            let awaited = s.has_holds(this.tid);
            s.run_queue.enqueue(this.tid, now, awaited);
            Poll::Pending
        })
    }
}

impl<A: Arch> Handle<A> {
    /// Runs the thread in user mode on this instance until it traps.
    pub(crate) async fn run_user_here(&self, tid: Tid) -> Trap {
        RunUser { handle: self, tid, queued: false }.await
    }
}
