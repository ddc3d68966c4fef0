//! Sending signals.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::signal::{DefaultAction, SigAction, SigFields, SigInfo, Signal, SignalSet, si_code};
use maize_hal::{Arch, Exception};

use crate::executor::TaskId;
use crate::homes::News;
use crate::ids::{Pid, Tid};
use crate::process::{Life, rlimit};
use crate::state::State;
use crate::thread::{Current, Errand};
use crate::wait::{Interruptible, WaitKey, Woken};

const STOPS: SignalSet = SignalSet(
    SignalSet::of(Signal::SIGSTOP).0
        | SignalSet::of(Signal::SIGTSTP).0
        | SignalSet::of(Signal::SIGTTIN).0
        | SignalSet::of(Signal::SIGTTOU).0,
);

impl<A: Arch> State<A> {
    /// Whether a signal of this action does nothing when it is taken.
    pub(crate) fn is_ignored(action: &SigAction, signal: Signal) -> bool {
        match action.handler {
            SigAction::SIG_IGN => true,
            SigAction::SIG_DFL => {
                matches!(signal.default_action(), DefaultAction::Ignore | DefaultAction::Continue)
            }
            _ => false,
        }
    }

    /// What `info` does at the moment it is sent, whether or not it is blocked: SIGCONT continues,
    /// a stop signal cancels a pending SIGCONT.
    fn on_sent(&mut self, pid: Pid, signal: Signal) {
        if signal == Signal::SIGCONT || signal == Signal::SIGKILL {
            self.discard_everywhere(pid, STOPS);
            self.resume(pid, signal == Signal::SIGCONT);
        } else if STOPS.contains(signal) {
            self.discard_everywhere(pid, SignalSet::of(Signal::SIGCONT));
        }
    }

    /// Forgets the signals of `set` that are pending for a process and its threads.
    pub(crate) fn discard_everywhere(&mut self, pid: Pid, set: SignalSet) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.pending.discard(set);
        for tid in &process.threads {
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.pending.discard(set);
            }
        }
        self.restart_discarded_timers(pid, set);
    }

    fn resume(&mut self, pid: Pid, report: bool) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if !core::mem::replace(&mut process.stopped, false) {
            return;
        }
        let parent = process.parent;
        process.unreported.stopped = None;
        process.unreported.continued = report;
        self.wake(WaitKey::Continued(pid));
        if report {
            self.notify_parent(pid, parent, si_code::CLD_CONTINUED, 18);
        }
    }

    /// Sends `info` to a process: any of its threads may take it.
    ///
    /// # Errors
    /// `ESRCH` if there is no such process, `EAGAIN` if its queue of real-time signals is full.
    pub(crate) fn send_to_process(&mut self, pid: Pid, info: SigInfo) -> Result<(), Errno> {
        let process = self.processes.get(&pid).ok_or(Errno::ESRCH)?;
        if pid == Pid::INIT
            || matches!(process.life, Life::Zombie(_))
            || self.pass_signal_on(pid, None, info)
        {
            return Ok(());
        }
        self.on_sent(pid, info.signal);
        let Some(process) = self.processes.get_mut(&pid) else { return Ok(()) };
        let action = process.actions[usize::from(info.signal.number()) - 1];
        let blocked_by_all = process.threads.iter().all(|tid| {
            self.threads
                .get(tid)
                .is_some_and(|t| t.mask.contains(info.signal) || t.awaited.contains(info.signal))
        });
        // An ignored signal is dropped unless someone blocks it, who may yet want it.
        if Self::is_ignored(&action, info.signal) && !blocked_by_all {
            return Ok(());
        }
        if !process.pending.push(info, process.limits[rlimit::RLIMIT_SIGPENDING].soft) {
            return Err(Errno::EAGAIN);
        }
        self.files.vfs.signal_sent(info.signal);
        self.wake_for_signal(pid, info.signal);
        Ok(())
    }

    /// Lets a thread of `pid` that can take `signal` know of it.
    fn wake_for_signal(&mut self, pid: Pid, signal: Signal) {
        let Some(process) = self.processes.get(&pid) else { return };
        if signal == Signal::SIGKILL {
            self.begin_group_exit(pid, u32::from(signal.number()));
            return;
        }
        let threads: Vec<Tid> = process.threads.iter().copied().collect();
        for &tid in &threads {
            self.wake_sigwait(tid, signal);
        }
        // Prefer a thread that sleeps: one that runs would take the signal only when it traps, but
        // on one core whoever sends is in the kernel, so every other thread is between traps.
        let taker = threads
            .iter()
            .copied()
            .find(|tid| self.threads.get(tid).is_some_and(|t| !t.mask.contains(signal)));
        if let Some(tid) = taker {
            self.interrupt(tid);
        }
    }

    fn wake_sigwait(&mut self, tid: Tid, signal: Signal) {
        if self.threads.get(&tid).is_some_and(|t| t.awaited.contains(signal)) {
            self.wake(WaitKey::Signal(tid));
        }
    }

    /// Sends `info` to one thread.
    ///
    /// # Errors
    /// `ESRCH` if there is no such thread, `EAGAIN` if its queue of real-time signals is full.
    pub(crate) fn send_to_thread(&mut self, tid: Tid, info: SigInfo) -> Result<(), Errno> {
        let thread = self.threads.get(&tid).ok_or(Errno::ESRCH)?;
        let pid = thread.process;
        if self.pass_signal_on(pid, Some(tid), info) {
            return Ok(());
        }
        if info.signal == Signal::SIGKILL {
            return self.send_to_process(pid, info);
        }
        self.on_sent(pid, info.signal);
        let (Some(thread), Some(process)) = (self.threads.get_mut(&tid), self.processes.get(&pid))
        else {
            return Err(Errno::ESRCH);
        };
        let action = process.actions[usize::from(info.signal.number()) - 1];
        let kept = thread.mask.contains(info.signal) || thread.awaited.contains(info.signal);
        if Self::is_ignored(&action, info.signal) && !kept {
            return Ok(());
        }
        if !thread.pending.push(info, process.limits[rlimit::RLIMIT_SIGPENDING].soft) {
            return Err(Errno::EAGAIN);
        }
        self.files.vfs.signal_sent(info.signal);
        self.wake_sigwait(tid, info.signal);
        self.interrupt(tid);
        Ok(())
    }

    /// Sends `info` to one thread of a process, which may live elsewhere.
    ///
    /// # Errors
    /// As [`Self::send_to_thread`]; none if the home of the process is to find that out.
    pub(crate) fn send_to_thread_of(
        &mut self,
        pid: Pid,
        tid: Tid,
        info: SigInfo,
    ) -> Result<(), Errno> {
        if self.pass_signal_on(pid, Some(tid), info) {
            return Ok(());
        }
        self.send_to_thread(tid, info)
    }

    /// Sends `info` to each process of a group. Returns how many there were.
    pub(crate) fn send_to_group(&mut self, group: Pid, info: SigInfo) -> usize {
        let members: Vec<Pid> = self
            .processes
            .iter()
            .filter(|(_, p)| p.group == group && !matches!(p.life, Life::Zombie(_)))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in &members {
            // A full queue of one member does not keep the signal from the others.
            let _ = self.send_to_process(*pid, info);
        }
        members.len()
    }

    /// Makes the thread take the signal of its own fault: one that is blocked or ignored kills, as
    /// on Linux, since the faulting instruction would only fault again.
    pub(crate) fn force_fault(&mut self, tid: Tid, exception: Exception) {
        let info = SigInfo {
            signal: exception.signal,
            code: exception.code,
            errno: 0,
            fields: SigFields::Fault { address: exception.address },
        };
        self.force_signal(tid, info);
    }

    /// As [`Self::force_fault`], for any signal.
    pub(crate) fn force_signal(&mut self, tid: Tid, info: SigInfo) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let Some(process) = self.processes.get_mut(&thread.process) else { return };
        let action = &mut process.actions[usize::from(info.signal.number()) - 1];
        if thread.mask.contains(info.signal) || action.handler == SigAction::SIG_IGN {
            *action = SigAction::default();
            thread.mask.remove(info.signal);
        }
        thread.pending.push(info, u64::MAX);
    }

    /// Brings a process's threads home that run somewhere else, if they are to come.
    pub(crate) fn interrupt_all(&mut self, pid: Pid) {
        let Some(process) = self.processes.get(&pid) else { return };
        let threads: Vec<Tid> = process.threads.iter().copied().collect();
        for tid in threads {
            self.interrupt(tid);
        }
    }

    /// Ends the wait of a thread that a pending signal concerns.
    pub(crate) fn interrupt(&mut self, tid: Tid) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let task = thread.task;
        let Some(by) = self.waits.interruptible(task) else { return };
        if self.must_interrupt(task, by) && self.waits.finish(task, Woken::Interrupted) {
            self.tasks.wake(task);
        }
    }

    /// Whether a wait of `task` must not begin, or must end, because of signals.
    pub(crate) fn must_interrupt(&self, task: TaskId, by: Interruptible) -> bool {
        let Some(tid) = self.task_threads.get(&task) else { return false };
        match by {
            Interruptible::Not => false,
            Interruptible::ByKill => self.must_exit(*tid),
            Interruptible::BySignals => {
                self.must_exit(*tid)
                    || self.has_signal(*tid)
                    || self.is_leaving(*tid)
                    || self.is_recalled(*tid)
            }
            Interruptible::ByRecall => {
                self.must_exit(*tid)
                    || self.has_signal(*tid)
                    || self.is_leaving(*tid)
                    || self.is_stopped(*tid)
                    || self.is_misplaced(*tid)
                    || self.threads.get(tid).is_some_and(|thread| thread.time_wanted)
            }
        }
    }

    /// Whether a call is served for a thread that a signal waits for at home.
    fn is_recalled(&self, tid: Tid) -> bool {
        let guest = self.threads.get(&tid).and_then(|thread| thread.guest);
        guest.is_some_and(|guest| guest.errand == Errand::RecalledCall)
    }

    /// Whether the thread is to end before it runs user code again.
    pub(crate) fn must_exit(&self, tid: Tid) -> bool {
        self.threads.get(&tid).is_none_or(|thread| {
            thread.exiting.is_some()
                || thread.guest.is_none()
                    && self
                        .processes
                        .get(&thread.process)
                        .is_none_or(|p| !matches!(p.life, Life::Alive))
        })
    }

    /// Whether a signal that the thread does not block, and that does something, is pending.
    pub(crate) fn has_signal(&self, tid: Tid) -> bool {
        let Some(thread) = self.threads.get(&tid) else { return false };
        let Some(process) = self.processes.get(&thread.process) else { return false };
        let pending = thread.pending.set().union(process.pending.set()).difference(thread.mask);
        let mut rest = pending;
        while let Some(signal) = rest.first() {
            rest.remove(signal);
            if !Self::is_ignored(&process.actions[usize::from(signal.number()) - 1], signal) {
                return true;
            }
        }
        false
    }

    /// Takes a signal of `wanted` that is pending for the thread or its process.
    pub(crate) fn take_pending(&mut self, current: Current, wanted: SignalSet) -> Option<SigInfo> {
        let thread = self.threads.get_mut(&current.tid)?;
        let process = self.processes.get_mut(&current.pid)?;
        let mut info = thread.pending.take(wanted).or_else(|| process.pending.take(wanted))?;
        self.count_overrun(current.pid, &mut info);
        Some(info)
    }

    /// The signals that are pending for the thread or its process.
    ///
    /// # Errors
    /// [`Errno::ERESTART_AT_REGISTRY`] if a call is served for a thread whose signals are elsewhere.
    pub(crate) fn pending_signals(&self, current: Current) -> Result<SignalSet, Errno> {
        let process = self.processes.get(&current.pid).ok_or(Errno::ESRCH)?;
        if process.seat.away.is_some() {
            return Err(Errno::ERESTART_AT_REGISTRY);
        }
        let thread = self.threads.get(&current.tid).ok_or(Errno::ESRCH)?;
        Ok(thread.pending.set().union(process.pending.set()))
    }

    /// Tells the parent with SIGCHLD that a child has stopped, continued or ended, and wakes it if
    /// it waits.
    pub(crate) fn notify_parent(&mut self, child: Pid, parent: Pid, code: i32, status: i32) {
        if let Some(registry) = self.processes.get(&child).and_then(|p| p.seat.registry) {
            self.tell_news(registry, child, News::Changed { code, status });
            return;
        }
        let Some(process) = self.processes.get(&parent) else { return };
        let action = process.actions[usize::from(Signal::SIGCHLD.number()) - 1];
        let exit_signal = self.processes.get(&child).map_or(0, |c| c.exit_signal);
        let ended = matches!(code, si_code::CLD_EXITED | si_code::CLD_KILLED | si_code::CLD_DUMPED);
        let wanted = if ended {
            Signal::new(u64::from(exit_signal))
        } else if action.flags & maize_abi::signal::sa::SA_NOCLDSTOP == 0 {
            Some(Signal::SIGCHLD)
        } else {
            None
        };
        if let Some(signal) = wanted {
            let fields = SigFields::Child { pid: child.0, uid: self.user_of(child), status };
            // SIGCHLD is not a real-time signal, so its queue cannot be full.
            let _ = self.send_to_process(parent, SigInfo { signal, code, errno: 0, fields });
        }
        self.wake(WaitKey::Child(parent));
    }
}
