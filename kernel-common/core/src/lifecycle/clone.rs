//! `fork`, `vfork`, `clone`, `clone3`: new threads and processes.

use alloc::boxed::Box;
use alloc::sync::Arc;

use maize_abi::Errno;
use maize_abi::signal::{AltStack, Signal};
use maize_hal::{Arch, Nanos};
use maize_mm::SpaceId;

use super::space::fork_space;
use crate::handle::Handle;
use crate::ids::{IdSequence, Pid, Tid};
use crate::process::{Life, Process, rlimit};
use crate::state::State;
use crate::thread::{Current, Thread};
use crate::trap::thread_main;
use crate::wait::{Interruptible, WaitKey};

/// `CLONE_*` flags.
pub(crate) mod flag {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub(crate) const CLONE_VM: u64 = 0x100;
    pub(crate) const CLONE_FS: u64 = 0x200;
    pub(crate) const CLONE_FILES: u64 = 0x400;
    pub(crate) const CLONE_SIGHAND: u64 = 0x800;
    pub(crate) const CLONE_PIDFD: u64 = 0x1000;
    pub(crate) const CLONE_PTRACE: u64 = 0x2000;
    pub(crate) const CLONE_VFORK: u64 = 0x4000;
    pub(crate) const CLONE_PARENT: u64 = 0x8000;
    pub(crate) const CLONE_THREAD: u64 = 0x1_0000;
    pub(crate) const CLONE_SYSVSEM: u64 = 0x4_0000;
    pub(crate) const CLONE_SETTLS: u64 = 0x8_0000;
    pub(crate) const CLONE_PARENT_SETTID: u64 = 0x10_0000;
    pub(crate) const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
    pub(crate) const CLONE_DETACHED: u64 = 0x40_0000;
    pub(crate) const CLONE_UNTRACED: u64 = 0x80_0000;
    pub(crate) const CLONE_CHILD_SETTID: u64 = 0x100_0000;
    pub(crate) const CLONE_IO: u64 = 0x8000_0000;
    pub(crate) const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

    /// What is served; anything else is refused with `EINVAL`.
    pub(crate) const SERVED: u64 = CLONE_VM
        | CLONE_FS
        | CLONE_FILES
        | CLONE_SIGHAND
        | CLONE_PIDFD
        | CLONE_PTRACE
        | CLONE_VFORK
        | CLONE_PARENT
        | CLONE_THREAD
        | CLONE_SYSVSEM
        | CLONE_SETTLS
        | CLONE_PARENT_SETTID
        | CLONE_CHILD_CLEARTID
        | CLONE_DETACHED
        | CLONE_UNTRACED
        | CLONE_CHILD_SETTID
        | CLONE_IO
        | CLONE_CLEAR_SIGHAND;
}

/// What `clone` and `clone3` ask for, in one form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CloneArgs {
    /// `CLONE_*` without the signal in the low byte.
    pub(crate) flags: u64,
    /// The signal the parent gets at the child's end, 0 for none.
    pub(crate) exit_signal: u64,
    /// The child's stack pointer, 0 for the parent's.
    pub(crate) stack: u64,
    /// Where the child's id is written in the parent's memory.
    pub(crate) parent_tid: u64,
    /// Where the child's id is written in, or cleared from, the child's memory.
    pub(crate) child_tid: u64,
    /// The child's thread pointer.
    pub(crate) tls: u64,
    /// Where the number of a file that stands for the child is written in the parent's memory.
    pub(crate) pidfd: u64,
}

impl CloneArgs {
    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// Linux's rules on which flags go together.
    fn check(&self) -> Result<(), Errno> {
        if self.flags & !flag::SERVED != 0 || self.exit_signal > u64::from(Signal::MAX) {
            return Err(Errno::EINVAL);
        }
        let thread = self.has(flag::CLONE_THREAD);
        if thread && !self.has(flag::CLONE_SIGHAND)
            || self.has(flag::CLONE_SIGHAND) && !self.has(flag::CLONE_VM)
            || self.has(flag::CLONE_SIGHAND) && self.has(flag::CLONE_CLEAR_SIGHAND)
        {
            return Err(Errno::EINVAL);
        }
        // No file stands for a thread, and the flag that is of no use any more was once another's.
        if self.has(flag::CLONE_PIDFD) && (thread || self.has(flag::CLONE_DETACHED)) {
            return Err(Errno::EINVAL);
        }
        // Handlers shared between processes, which nothing has used since LinuxThreads.
        if self.has(flag::CLONE_SIGHAND) && !thread {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

/// Makes a thread or a process like the calling one; returns its id.
pub(crate) async fn clone<A: Arch>(
    k: &Handle<A>,
    current: Current,
    args: CloneArgs,
) -> Result<u64, Errno> {
    args.check()?;
    if !args.has(flag::CLONE_THREAD) {
        k.at_registry(current)?;
    }
    if args.has(flag::CLONE_PARENT_SETTID) {
        // The page is obtained before there is a child, so that a bad address leaves none.
        k.hold_writable(current, args.parent_tid, 4).await?;
    }
    if args.has(flag::CLONE_PIDFD) {
        k.hold_writable(current, args.pidfd, 4).await?;
    }
    let space = if args.has(flag::CLONE_VM) { None } else { Some(fork_space(k, current).await?) };
    let (child, pidfd) = match k.with(|s| s.create_child(current, &args, space)) {
        Ok(made) => made,
        Err(errno) => {
            if let Some(space) = space {
                k.with(|s| s.memory.destroy_space(space));
            }
            return Err(errno);
        }
    };
    if args.has(flag::CLONE_PARENT_SETTID) {
        let _ = k.write_user(current, args.parent_tid, &child.0.to_le_bytes()).await;
    }
    if let Some(pidfd) = pidfd {
        let _ = k.write_user(current, args.pidfd, &(pidfd as u32).to_le_bytes()).await;
    }
    k.with(|s| s.start_thread(k, child));
    if args.has(flag::CLONE_VFORK) {
        let pid = Pid(child.0);
        while k.with(|s| s.processes.get(&pid).is_some_and(|p| p.vfork_parent.is_some())) {
            let key = [WaitKey::Released(pid)];
            k.wait_for(current.task, &key, Nanos::NEVER, Interruptible::ByKill).await;
            if k.with(|s| s.must_exit(current.tid)) {
                break;
            }
        }
    }
    Ok(u64::from(child.0))
}

impl<A: Arch> State<A> {
    fn new_id(&mut self) -> Result<u32, Errno> {
        let State { ids, threads, processes, .. } = self;
        if threads.len() + processes.len() >= MAX_THREADS {
            return Err(Errno::EAGAIN);
        }
        ids.next(|id| {
            threads.contains_key(&Tid(id))
                || processes.contains_key(&Pid(id))
                || processes.values().any(|p| p.group.0 == id || p.session.0 == id)
        })
        .ok_or(Errno::EAGAIN)
    }

    /// Makes the thread or process without starting it, and the descriptor of a file that stands for it
    /// if that is asked for.
    fn create_child(
        &mut self,
        current: Current,
        args: &CloneArgs,
        space: Option<SpaceId>,
    ) -> Result<(Tid, Option<u64>), Errno> {
        if !args.has(flag::CLONE_PIDFD) {
            return Ok((self.create_task(current, args, space)?, None));
        }
        let file = self.prepare_process_file(current)?;
        match self.create_task(current, args, space) {
            Ok(child) => {
                // There was room for it, and nothing has happened since.
                let fd = self.install_process_file(current, file, Pid(child.0)).ok();
                Ok((child, fd))
            }
            Err(errno) => {
                self.release_file(file);
                Err(errno)
            }
        }
    }

    /// Makes the thread, and the process if it is to have one, without starting it.
    fn create_task(
        &mut self,
        current: Current,
        args: &CloneArgs,
        space: Option<SpaceId>,
    ) -> Result<Tid, Errno> {
        let id = self.new_id()?;
        let now = self.now();
        self.sync_fpu(current.tid);
        let as_thread = args.has(flag::CLONE_THREAD);
        let pid = if as_thread { current.pid } else { Pid(id) };
        let parent = self.threads.get(&current.tid).ok_or(Errno::ESRCH)?;

        let mut regs = parent.regs;
        regs.set_syscall_result(0);
        if args.stack != 0 {
            regs.set_sp(args.stack);
        }
        if args.has(flag::CLONE_SETTLS) {
            regs.set_tls(args.tls);
        }
        let task = self.tasks.reserve();
        let mut thread = Thread::new(pid, task, regs, parent.fpu.clone(), now);
        thread.mask = parent.saved_mask.unwrap_or(parent.mask);
        thread.comm = parent.comm;
        thread.place = parent.place;
        thread.last_place = parent.last_place;
        thread.affinity = parent.affinity;
        thread.nice = parent.nice;
        thread.io_priority = parent.io_priority;
        if !args.has(flag::CLONE_VM) {
            thread.rseq = parent.rseq;
        }
        if !args.has(flag::CLONE_VM) || args.has(flag::CLONE_VFORK) {
            thread.altstack = parent.altstack;
        } else {
            thread.altstack = AltStack::NONE;
        }
        if args.has(flag::CLONE_CHILD_CLEARTID) {
            thread.clear_child_tid = args.child_tid;
        }
        if args.has(flag::CLONE_CHILD_SETTID) {
            thread.set_child_tid = args.child_tid;
        }
        if !as_thread {
            self.create_process(current, args, pid, space)?;
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            if process.life != Life::Alive {
                return Err(Errno::EINTR);
            }
            process.threads.insert(Tid(id));
        }
        self.task_threads.insert(task, Tid(id));
        self.threads.insert(Tid(id), Box::new(thread));
        if as_thread {
            self.place_new_thread(Tid(id));
        }
        Ok(Tid(id))
    }

    fn create_process(
        &mut self,
        current: Current,
        args: &CloneArgs,
        pid: Pid,
        space: Option<SpaceId>,
    ) -> Result<(), Errno> {
        let now = self.now();
        let of = self.processes.get(&current.pid).ok_or(Errno::ESRCH)?;
        let running = self.processes.values().filter(|p| !matches!(p.life, Life::Zombie(_)));
        if running.count() as u64 >= of.limits[rlimit::RLIMIT_NPROC].soft {
            return Err(Errno::EAGAIN);
        }
        let parent = if args.has(flag::CLONE_PARENT) { of.parent } else { current.pid };
        let mut actions = of.actions;
        if args.has(flag::CLONE_CLEAR_SIGHAND) {
            for action in &mut actions {
                if action.handler != maize_abi::signal::SigAction::SIG_IGN {
                    *action = maize_abi::signal::SigAction::default();
                }
            }
        }
        let files = of.files;
        let process = Process {
            group: of.group,
            session: of.session,
            exit_signal: args.exit_signal as u8,
            terminal: of.terminal,
            space: space.or(of.space),
            vfork_parent: args.has(flag::CLONE_VFORK).then_some(current.pid),
            credentials: of.credentials.clone(),
            exe: of.exe.clone(),
            cmdline: Arc::clone(&of.cmdline),
            environment: Arc::clone(&of.environment),
            auxv: Arc::clone(&of.auxv),
            arguments: of.arguments,
            actions,
            limits: of.limits,
            pair: of.pair.clone(),
            trampoline: of.trampoline,
            barriers: of.barriers,
            ..Process::new((parent, pid), files, now)
        };
        let files =
            self.clone_files(files, args.has(flag::CLONE_FILES), args.has(flag::CLONE_FS))?;
        self.processes.insert(pid, Process { files, ..process });
        if let Some(parent) = self.processes.get_mut(&parent) {
            parent.children.insert(pid);
        }
        Ok(())
    }

    /// Starts the task of a thread that has been made.
    pub(crate) fn start_thread(&mut self, k: &Handle<A>, tid: Tid) {
        let Some(thread) = self.threads.get(&tid) else { return };
        self.stats.threads_started += 1;
        let current = Current { tid, pid: thread.process, task: thread.task };
        self.tasks.spawn(current.task, Box::pin(thread_main(k.clone(), current)));
    }
}

/// Threads and processes an instance may have in all.
const MAX_THREADS: usize = 16_384;

const _: () = assert!((MAX_THREADS as u32) < IdSequence::END / 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        let ok = |flags| CloneArgs { flags, ..CloneArgs::default() }.check().is_ok();
        assert!(ok(0));
        assert!(ok(flag::CLONE_VM | flag::CLONE_VFORK));
        assert!(ok(flag::CLONE_VM | flag::CLONE_SIGHAND | flag::CLONE_THREAD));
        assert!(!ok(flag::CLONE_THREAD));
        assert!(!ok(flag::CLONE_SIGHAND));
        assert!(!ok(0x200_0000));
        assert!(ok(flag::CLONE_PIDFD) && !ok(flag::CLONE_PIDFD | flag::CLONE_DETACHED));
        assert!(CloneArgs { exit_signal: 65, ..CloneArgs::default() }.check().is_err());
    }
}
