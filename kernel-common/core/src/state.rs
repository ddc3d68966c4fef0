//! Everything an instance knows.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_hal::{Arch, HostIo, Interrupts, Nanos, Report};
use maize_mm::{Memory, ObjectId, SpaceId};

use crate::boot::SharedImage;
use crate::executor::{TaskId, TaskQueue};
use crate::fabric::Fabric;
use crate::files::Files;
use crate::futex::Futexes;
use crate::group::Groups;
use crate::homes::Homes;
use crate::ids::{IdSequence, Pid, Tid};
use crate::message_queues::Queue;
use crate::migrate::MovePage;
use crate::process::Process;
use crate::sched::RunQueue;
use crate::segments::Segments;
use crate::semaphores::Semaphores;
use crate::stats::Stats;
use crate::system_v::Objects;
use crate::thread::Thread;
use crate::timer::{FileTimers, TimerAction, Timers};
use crate::wait::{WaitKey, Waits, Woken};

/// The state of an instance. It is reached through [`crate::handle::Handle::with`].
pub(crate) struct State<A: Arch> {
    pub(crate) arch: A,
    pub(crate) host: Box<dyn HostIo>,
    pub(crate) memory: Memory,
    pub(crate) files: Files,
    pub(crate) segments: Segments,
    pub(crate) message_queues: Objects<Queue>,
    pub(crate) semaphores: Semaphores,

    pub(crate) tasks: TaskQueue,
    pub(crate) waits: Waits,
    pub(crate) timers: Timers,
    pub(crate) file_timers: FileTimers,
    pub(crate) run_queue: RunQueue,
    pub(crate) futexes: Futexes,
    pub(crate) fabric: Fabric,
    pub(crate) groups: Groups,
    pub(crate) homes: Homes,

    pub(crate) ids: IdSequence,
    /// Boxed, since those of other instances come and go with each of their calls.
    pub(crate) threads: BTreeMap<Tid, Box<Thread>>,
    pub(crate) processes: BTreeMap<Pid, Process>,
    pub(crate) task_threads: BTreeMap<TaskId, Tid>,

    /// Interrupts seen and not yet served.
    pub(crate) pending: Interrupts,
    /// What the timer is set to.
    pub(crate) armed: Nanos,
    /// This instance's number among the cores of the fabric.
    pub(crate) cpu: u32,
    /// Cores of the fabric.
    pub(crate) cpus: u32,
    pub(crate) hostname: Vec<u8>,
    /// Random, and the same until the next boot.
    pub(crate) boot_id: [u8; 16],
    /// The root image, and its members that are no files of the root.
    pub(crate) image: SharedImage,
    pub(crate) hidden: Vec<Vec<u8>>,
    /// The page with the migration-request word, once a program has needed it.
    pub(crate) move_page: Option<MovePage>,
    /// The object of the page that signal handlers return through.
    pub(crate) trampoline: Option<ObjectId>,
    /// The task that frees memory in the background.
    pub(crate) background: TaskId,
    pub(crate) stats: Stats,
    /// Whether they are reported when the program has ended.
    pub(crate) report_stats: bool,
    /// The program that the instance was started for.
    pub(crate) program: Option<Pid>,
    /// Its `wait4` status once it has ended.
    pub(crate) exit_status: Option<u32>,
    /// Whether the host was told.
    pub(crate) exit_reported: bool,
    /// Whether the first user instruction has been reported.
    pub(crate) ready_reported: bool,
}

impl<A: Arch> State<A> {
    /// The monotonic clock.
    pub(crate) fn now(&self) -> Nanos {
        self.arch.now()
    }

    /// Wakes every task that waits for `key`.
    pub(crate) fn wake(&mut self, key: WaitKey) {
        self.waits.wake(key, &mut self.tasks);
    }

    /// Carries out what the deadlines that have passed ask for.
    pub(crate) fn expire_timers(&mut self, now: Nanos) {
        while let Some(action) = self.timers.pop_due(now) {
            match action {
                TimerAction::WakeTask(task) => {
                    if self.waits.finish(task, Woken::TimedOut) {
                        self.tasks.wake(task);
                    }
                }
                TimerAction::PageHold(page) => self.expire_hold(page),
                TimerAction::WindowLook => self.look_at_window(),
                TimerAction::Balance => self.balance(),
                TimerAction::FileTimer(timer) => self.expire_file_timer(timer, now),
                TimerAction::ProcessTimer(pid, name) => self.expire_process_timer(pid, name),
                TimerAction::ProcessorTime(pid) => self.look_at_processor_time(pid),
            }
        }
    }

    /// The address space a thread runs in.
    pub(crate) fn thread_space(&self, tid: Tid) -> Option<SpaceId> {
        let thread = self.threads.get(&tid)?;
        match thread.guest {
            Some(guest) => Some(guest.space),
            None => self.processes.get(&thread.process)?.space,
        }
    }

    /// Puts the result of a system call where the program finds it.
    pub(crate) fn set_result(&mut self, tid: Tid, result: Result<u64, Errno>) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.regs.set_syscall_result(result.unwrap_or_else(Errno::to_register));
        }
    }

    /// User and system time of a thread.
    pub(crate) fn thread_times(&self, tid: Tid) -> (Nanos, Nanos) {
        let now = self.now();
        self.threads.get(&tid).map_or((Nanos(0), Nanos(0)), |t| {
            let in_kernel =
                if self.waits.is_waiting(t.task) { Nanos(0) } else { now.since(t.kernel_since) };
            (t.user_time, t.system_time + in_kernel)
        })
    }

    /// User and system time of all of a process's threads, ended ones included.
    pub(crate) fn process_times(&self, pid: Pid) -> (Nanos, Nanos) {
        let Some(process) = self.processes.get(&pid) else { return (Nanos(0), Nanos(0)) };
        process
            .threads
            .iter()
            .map(|tid| self.thread_times(*tid))
            .fold((process.user_time, process.system_time), |(user, system), (u, s)| {
                (user + u, system + s)
            })
    }

    /// One bit per core of the fabric.
    pub(crate) fn cpu_mask(&self) -> u64 {
        if self.cpus >= 64 { u64::MAX } else { (1 << self.cpus) - 1 }
    }

    /// Tells the host once that user code starts.
    pub(crate) fn report_ready(&mut self, at: Nanos) {
        if !self.ready_reported {
            self.ready_reported = true;
            self.host.report(Report::Ready { at });
        }
    }
}
