//! One process.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use maize_abi::signal::{SigAction, Signal};
use maize_hal::Nanos;
use maize_mm::SpaceId;

use crate::credentials::Credentials;
use crate::homes::Seat;
use crate::ids::{Pid, Tid};
use crate::lifecycle::Pair;
use crate::process_timer::ProcessTimers;
use crate::signal::PendingSignals;

/// Resource limits, by Linux's numbers.
pub(crate) mod rlimit {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub(crate) const RLIMIT_DATA: usize = 2;
    pub(crate) const RLIMIT_STACK: usize = 3;
    pub(crate) const RLIMIT_CORE: usize = 4;
    pub(crate) const RLIMIT_NPROC: usize = 6;
    pub(crate) const RLIMIT_NOFILE: usize = 7;
    pub(crate) const RLIMIT_MEMLOCK: usize = 8;
    pub(crate) const RLIMIT_AS: usize = 9;
    pub(crate) const RLIMIT_SIGPENDING: usize = 11;
    pub(crate) const COUNT: usize = 16;
    pub(crate) const INFINITY: u64 = u64::MAX;
}

/// A soft and a hard limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rlimit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// The limits a first process starts with.
pub(crate) const DEFAULT_LIMITS: [Rlimit; rlimit::COUNT] = {
    let mut limits = [Rlimit { soft: rlimit::INFINITY, hard: rlimit::INFINITY }; rlimit::COUNT];
    limits[rlimit::RLIMIT_STACK].soft = 8 << 20;
    limits[rlimit::RLIMIT_CORE].soft = 0;
    limits[rlimit::RLIMIT_NOFILE] = Rlimit { soft: 1024, hard: 4096 };
    limits[rlimit::RLIMIT_NPROC] = Rlimit { soft: 4096, hard: 4096 };
    limits[rlimit::RLIMIT_SIGPENDING] = Rlimit { soft: 4096, hard: 4096 };
    limits[rlimit::RLIMIT_MEMLOCK] = Rlimit { soft: 8 << 20, hard: 8 << 20 };
    limits
};

/// Those of a process's limits that its address space observes.
pub(crate) fn space_limits(limits: &[Rlimit; rlimit::COUNT]) -> maize_mm::Limits {
    maize_mm::Limits {
        address_space: limits[rlimit::RLIMIT_AS].soft,
        data: limits[rlimit::RLIMIT_DATA].soft,
        stack: limits[rlimit::RLIMIT_STACK].soft,
    }
}

/// How far a process is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Threads run.
    Alive,
    /// All threads are to end, with this `wait4` status.
    Exiting(u32),
    /// All threads have ended; the parent has not waited yet.
    Zombie(u32),
}

/// What a parent that waits is still to be told of a live child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Unreported {
    /// The signal that stopped the child.
    pub(crate) stopped: Option<u8>,
    /// The child was continued.
    pub(crate) continued: bool,
}

/// A process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) parent: Pid,
    pub(crate) group: Pid,
    pub(crate) session: Pid,
    pub(crate) children: BTreeSet<Pid>,
    pub(crate) threads: BTreeSet<Tid>,
    pub(crate) life: Life,
    /// Stopped by SIGSTOP or its like.
    pub(crate) stopped: bool,
    pub(crate) unreported: Unreported,
    /// The signal its parent gets at its end, 0 for none.
    pub(crate) exit_signal: u8,

    /// Whether it has called `exec`: its parent can no longer move it to another group.
    pub(crate) execed: bool,
    /// Whether its session has the terminal.
    pub(crate) terminal: bool,

    /// `None` for the kernel's own process and for zombies.
    pub(crate) space: Option<SpaceId>,
    /// The parent that waits until this process has its own memory.
    pub(crate) vfork_parent: Option<Pid>,
    pub(crate) files: crate::files::FilesId,
    /// The registry has them.
    pub(crate) credentials: Credentials,
    pub(crate) exe: Vec<u8>,
    /// The arguments that the program was started with, each ended by a zero byte.
    pub(crate) cmdline: Arc<[u8]>,
    /// The environment that the program was started with, each entry ended by a zero byte.
    pub(crate) environment: Arc<[u8]>,
    /// The auxiliary vector that the program was started with.
    pub(crate) auxv: Arc<[u8]>,
    /// Where the arguments lie in memory: first byte, byte behind the last.
    pub(crate) arguments: (u64, u64),

    /// Index 0 is signal 1.
    pub(crate) actions: [SigAction; 64],
    pub(crate) pending: PendingSignals,
    pub(crate) limits: [Rlimit; rlimit::COUNT],
    pub(crate) timers: ProcessTimers,
    /// The program's files, if it exists for several instruction sets.
    pub(crate) pair: Option<Arc<Pair>>,
    /// Address of the page that returns from signal handlers.
    pub(crate) trampoline: u64,
    /// The registering commands of `membarrier` that it has given.
    pub(crate) barriers: u32,

    pub(crate) started: Nanos,
    /// Of threads that have ended.
    pub(crate) user_time: Nanos,
    /// Of threads that have ended.
    pub(crate) system_time: Nanos,
    /// Of children that were waited for.
    pub(crate) children_time: (Nanos, Nanos),
    /// Where its parts are.
    pub(crate) seat: Seat,
}

impl Process {
    /// A process of a group and session of its own, without memory and threads, that was made at `now`.
    pub(crate) fn new(
        (parent, own): (Pid, Pid),
        files: crate::files::FilesId,
        now: Nanos,
    ) -> Process {
        Process {
            parent,
            group: own,
            session: own,
            children: BTreeSet::new(),
            threads: BTreeSet::new(),
            life: Life::Alive,
            stopped: false,
            unreported: Unreported::default(),
            exit_signal: Signal::SIGCHLD.number(),
            execed: false,
            terminal: false,
            space: None,
            vfork_parent: None,
            files,
            exe: Vec::new(),
            cmdline: Arc::default(),
            environment: Arc::default(),
            auxv: Arc::default(),
            credentials: Credentials::default(),
            arguments: (0, 0),
            actions: [SigAction::default(); 64],
            pending: PendingSignals::default(),
            limits: DEFAULT_LIMITS,
            timers: ProcessTimers::default(),
            pair: None,
            trampoline: 0,
            barriers: 0,
            started: now,
            user_time: Nanos(0),
            system_time: Nanos(0),
            children_time: (Nanos(0), Nanos(0)),
            seat: Seat::default(),
        }
    }

    /// The process's own monotonic clock when this instance's shows `now`.
    pub(crate) fn clock(&self, now: Nanos) -> Nanos {
        Nanos(now.0.saturating_add_signed(self.seat.clock_ahead))
    }
}
