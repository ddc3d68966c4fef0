//! Which thread runs: round robin with time slices on the instance's one core.

use alloc::collections::VecDeque;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use maize_abi::UserRegs;
use maize_hal::{Arch, Interrupts, Nanos, Trap};
use maize_trace::EventKind;

use crate::handle::Handle;
use crate::ids::Tid;
use crate::state::State;

/// How long a thread runs before others that are ready get their turn.
pub const TIME_SLICE: Nanos = Nanos::from_millis(10);

/// How long a thread may use pages that others wait for before they may go.
const USE_TIME: Nanos = Nanos(20_000);

/// The threads that are ready to run user code.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    ready: VecDeque<Tid>,
    /// Whose slice it is, and when that ends.
    slice: Option<(Tid, Nanos)>,
    /// Whose FPU state the FPU holds.
    fpu: Option<Tid>,
}

impl RunQueue {
    /// Threads that are ready and do not run.
    pub(crate) fn len(&self) -> usize {
        self.ready.len()
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
        let Some(space) = self.thread_space(tid) else { return true };
        let started = self.now();
        if self.must_exit(tid)
            || self.has_signal(tid)
            || self.is_stopped(tid)
            || self.is_leaving(tid)
            || self.fabric.is_joined() && self.is_misplaced(tid)
        {
            // Something came while the thread was waiting for its turn.
            self.bounce(tid, started);
            return true;
        }
        if self.run_queue.slice.is_none_or(|(owner, end)| owner != tid || started >= end) {
            self.run_queue.slice = Some((tid, started + TIME_SLICE));
        }
        let contested = self.has_contested_holds(tid);
        let use_end = if contested { started + USE_TIME } else { Nanos::NEVER };
        self.arm_timer(!self.run_queue.ready.is_empty(), use_end);
        self.own_fpu(tid);
        self.show_request(tid);
        let Ok(root) = self.memory.root(space) else { return true };
        self.report_ready(started);
        if self.is_traced() {
            self.trace_at(started, EventKind::RunBegin, tid, [0; 2]);
        }
        let Some(thread) = self.threads.get_mut(&tid) else { return true };
        let first = thread.regs.pc();
        let Some(regs) = UserRegs::of_any(&mut thread.regs) else { return true };
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
        self.tasks.wake(task);
        if self.is_traced() {
            self.trace_at(ended, EventKind::RunEnd, tid, [reason(trap), 0]);
        }
        true
    }

    pub(crate) fn is_stopped(&self, tid: Tid) -> bool {
        let process = self.threads.get(&tid).and_then(|t| self.processes.get(&t.process));
        process.is_some_and(|p| p.stopped)
    }

    /// The time until now counts as the thread's system time; the next starts now.
    pub(crate) fn charge_system_time(&mut self, tid: Tid) {
        let now = self.now();
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.system_time = thread.system_time + now.since(thread.kernel_since);
            thread.kernel_since = now;
        }
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
    fn bounce(&mut self, tid: Tid, now: Nanos) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.trap = Some((Trap::Interrupt(Interrupts::empty()), now));
            thread.advanced = false;
            self.tasks.wake(thread.task);
        }
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
    /// others are ready.
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
            let Some(thread) = s.threads.get_mut(&this.tid) else { return Poll::Pending };
            if let Some((trap, since)) = thread.trap.take() {
                thread.kernel_since = since;
                return Poll::Ready(trap);
            }
            if !this.queued {
                s.charge_system_time(this.tid);
                this.queued = true;
                let now = s.now();
                let awaited = s.has_holds(this.tid);
                s.run_queue.enqueue(this.tid, now, awaited);
            }
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
