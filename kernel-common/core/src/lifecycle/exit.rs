//! The end of threads and processes.

use alloc::vec::Vec;

use maize_abi::signal::{SigAction, SigInfo, Signal, sa, si_code};
use maize_hal::{Arch, Nanos, Report};
use maize_vfs::Fate;

use crate::handle::Handle;
use crate::homes::News;
use crate::ids::{Pid, Tid};
use crate::process::Life;
use crate::robust;
use crate::state::State;
use crate::thread::Current;
use crate::wait::{Interruptible, WaitKey, Woken};

/// `wait4`'s status of a process that called `exit(code)`.
pub(crate) const fn exited(code: i32) -> u32 {
    ((code as u32) & 0xff) << 8
}

/// The last part of a thread's life.
pub(crate) async fn exit_thread<A: Arch>(k: &Handle<A>, current: Current) {
    robust::release_all(k, current).await;
    robust::clear_child_tid(k, current).await;
    if !k.with(|s| s.remove_thread(current)) {
        return;
    }
    // The memory itself is freed in the background, in bounded steps.
    k.with(|s| s.release_space(current.pid));
    k.with(|s| {
        if !s.end_at_home(current.pid) {
            s.become_zombie(current.pid);
        }
        s.wake(WaitKey::ThreadExit(current.pid));
    });
}

impl<A: Arch> State<A> {
    /// Ends all threads of a process; the first status given is the one that counts.
    pub(crate) fn begin_group_exit(&mut self, pid: Pid, status: u32) {
        if self.processes.get(&pid).is_some_and(|p| p.seat.away.is_some()) {
            self.pass_signal_on(pid, None, SigInfo::from_kernel(Signal::SIGKILL));
            return;
        }
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.life != Life::Alive {
            return;
        }
        process.life = Life::Exiting(status);
        process.stopped = false;
        let threads: Vec<_> = process.threads.iter().copied().collect();
        for tid in threads {
            self.interrupt(tid);
        }
    }

    /// Takes a thread that has ended out of its process. True if it was the last.
    fn remove_thread(&mut self, current: Current) -> bool {
        self.futexes.cancel(current.tid);
        self.run_queue.forget_fpu(current.tid);
        self.release_holds(current.tid);
        self.task_threads.remove(&current.task);
        let Some(thread) = self.threads.remove(&current.tid) else { return false };
        let now = self.now();
        let Some(process) = self.processes.get_mut(&current.pid) else { return false };
        process.threads.remove(&current.tid);
        process.user_time = process.user_time + thread.user_time;
        process.system_time =
            process.system_time + thread.system_time + now.since(thread.kernel_since);
        if !process.threads.is_empty() {
            self.wake(WaitKey::ThreadExit(current.pid));
            return false;
        }
        if process.life == Life::Alive {
            process.life = Life::Exiting(thread.exiting.unwrap_or(0));
        }
        let files = process.files;
        self.pause_timers(current.pid);
        self.release_files(files);
        true
    }

    /// A process of which another instance has the record has ended here. False if the record is here.
    fn end_at_home(&mut self, pid: Pid) -> bool {
        let Some(process) = self.processes.get(&pid) else { return true };
        let (Some(registry), Life::Exiting(status)) = (process.seat.registry, process.life) else {
            return false;
        };
        let (user, system) = (process.user_time.0, process.system_time.0);
        let children = (process.children_time.0.0, process.children_time.1.0);
        self.processes.remove(&pid);
        self.tell_news(registry, pid, News::Ended { status, user, system, children });
        true
    }

    /// Makes a process whose threads have all ended into a zombie, or removes it if its parent
    /// does not want to know.
    pub(crate) fn become_zombie(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let Life::Exiting(status) = process.life else { return };
        process.life = Life::Zombie(status);
        self.files.vfs.process_changed(pid.0, Fate::Ended);
        let parent = process.parent;
        let children = core::mem::take(&mut process.children);
        let leads_session = process.session == pid;
        let group = process.group;
        self.undo_semaphores(pid);
        self.release_vfork_parent(pid);
        for child in children {
            self.adopt(child);
        }
        if leads_session {
            self.leave_terminal(pid, group);
        }
        self.hang_up_orphans(pid, group);
        if self.program == Some(pid) {
            self.program_exited(status);
        }
        let (code, value) = match status & 0x7f {
            0 => (si_code::CLD_EXITED, ((status >> 8) & 0xff) as i32),
            signal => (si_code::CLD_KILLED, signal as i32),
        };
        let unwanted = parent == Pid::INIT
            || self.processes.get(&parent).is_none_or(|p| {
                let action = p.actions[usize::from(Signal::SIGCHLD.number()) - 1];
                action.handler == SigAction::SIG_IGN || action.flags & sa::SA_NOCLDWAIT != 0
            });
        self.notify_parent(pid, parent, code, value);
        if unwanted {
            self.reap(pid);
            self.wake(WaitKey::Child(parent));
        }
    }

    /// Gives an orphan to the kernel's own process, which waits for all its children at once.
    fn adopt(&mut self, child: Pid) {
        let Some(process) = self.processes.get_mut(&child) else { return };
        process.exit_signal = Signal::SIGCHLD.number();
        let zombie = matches!(process.life, Life::Zombie(_));
        self.become_orphan(child);
        self.tell_home(child, News::Orphaned);
        if let Some(init) = self.processes.get_mut(&Pid::INIT) {
            init.children.insert(child);
        }
        if zombie {
            self.reap(child);
        }
    }

    /// A process's parent has ended: it is told so, where its threads are.
    pub(crate) fn become_orphan(&mut self, child: Pid) {
        let Some(process) = self.processes.get_mut(&child) else { return };
        process.parent = Pid::INIT;
        let threads: Vec<Tid> = process.threads.iter().copied().collect();
        for tid in threads {
            let signal = self.threads.get(&tid).map_or(0, |thread| thread.parent_death_signal);
            if let Some(signal) = Signal::new(u64::from(signal)) {
                // To the whole process, as on Linux; that it has gone already is no matter.
                let _ = self.send_to_process(child, SigInfo::from_kernel(signal));
            }
        }
    }

    /// Removes a zombie. Its times go to its parent.
    pub(crate) fn reap(&mut self, pid: Pid) {
        let Some(process) = self.processes.remove(&pid) else { return };
        self.files.vfs.process_changed(pid.0, Fate::Gone);
        if let Some(parent) = self.processes.get_mut(&process.parent) {
            parent.children.remove(&pid);
            let (user, system) = process.children_time;
            parent.children_time.0 = parent.children_time.0 + process.user_time + user;
            parent.children_time.1 = parent.children_time.1 + process.system_time + system;
        }
    }

    /// Lets a parent that waits in `vfork` go on.
    pub(crate) fn release_vfork_parent(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.vfork_parent.take().is_some() {
            self.wake(WaitKey::Released(pid));
        }
    }

    /// Whether nobody outside the group but in its session is parent of one of its members.
    pub(crate) fn is_orphaned_group(&self, pid: Pid) -> bool {
        self.processes.get(&pid).is_none_or(|p| match p.seat.registry {
            Some(_) => p.seat.orphaned,
            None => self.group_is_orphaned(p.group),
        })
    }

    fn group_is_orphaned(&self, group: Pid) -> bool {
        !self.processes.values().any(|p| {
            p.group == group
                && !matches!(p.life, Life::Zombie(_))
                && self.processes.get(&p.parent).is_some_and(|parent| {
                    p.parent != Pid::INIT && parent.group != group && parent.session == p.session
                })
        })
    }

    /// POSIX: a group that the exit of `pid` orphaned and that has a stopped member gets SIGHUP
    /// and SIGCONT.
    fn hang_up_orphans(&mut self, pid: Pid, group: Pid) {
        let mut groups: Vec<Pid> = self
            .processes
            .values()
            .filter(|p| p.parent == Pid::INIT || p.group == group)
            .filter(|p| p.stopped)
            .map(|p| p.group)
            .collect();
        groups.dedup();
        for group in groups {
            if group != pid && self.group_is_orphaned(group) {
                self.send_to_group(group, SigInfo::from_kernel(Signal::SIGHUP));
                self.send_to_group(group, SigInfo::from_kernel(Signal::SIGCONT));
            }
        }
    }

    /// The program that the instance was started for has ended.
    fn program_exited(&mut self, status: u32) {
        self.exit_status = Some(status);
        self.announce_end(status);
    }

    /// Reports the end of the program once all its output has gone to the host. False before that.
    pub(crate) fn report_exit(&mut self, status: u32) -> bool {
        if !self.exit_reported {
            self.console_pump();
            if !self.files.vfs.is_drained() {
                return false;
            }
            if self.report_stats {
                let counters = self.stats.counters();
                self.host.report(Report::Stats { counters });
            }
            self.host.report(Report::Exited { status });
            self.exit_reported = true;
        }
        true
    }
}

/// Ends all other threads of the process, for `exec`.
///
/// Returns false if the process is to end instead.
pub(crate) async fn end_other_threads<A: Arch>(k: &Handle<A>, current: Current) -> bool {
    loop {
        let others = k.with(|s| {
            let process = s.processes.get(&current.pid)?;
            if process.life != Life::Alive {
                return None;
            }
            let others: Vec<_> =
                process.threads.iter().copied().filter(|tid| *tid != current.tid).collect();
            for tid in &others {
                if let Some(thread) = s.threads.get_mut(tid) {
                    thread.exiting = Some(0);
                }
                s.interrupt(*tid);
            }
            Some(others.len())
        });
        match others {
            None => return false,
            Some(0) => return true,
            Some(_) => {
                let key = [WaitKey::ThreadExit(current.pid)];
                let woken =
                    k.wait_for(current.task, &key, Nanos::NEVER, Interruptible::ByKill).await;
                if woken == Woken::Interrupted {
                    return false;
                }
            }
        }
    }
}
