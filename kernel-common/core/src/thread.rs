//! One thread.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::signal::{AltStack, SignalSet};
use maize_abi::{AnyRegs, IsaKind};
use maize_hal::{FpuState, Nanos, Trap};
use maize_mm::SpaceId;
use maize_wire::InstanceId;

use crate::executor::TaskId;
use crate::group::SpaceKey;
use crate::ids::{Pid, Tid};
use crate::migrate::Packed;
use crate::signal::PendingSignals;

/// Bytes of a thread's name, with its final zero.
pub(crate) const COMM_LEN: usize = 16;

/// A system call that a signal met, until it is decided whether it is restarted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InterruptedCall {
    pub(crate) number: u64,
    pub(crate) arg0: u64,
    /// One of the `ERESTART…` errors.
    pub(crate) how: Errno,
}

/// A wait for a futex.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FutexWait {
    /// Address of the word.
    pub(crate) address: u64,
    /// The value it must have.
    pub(crate) expected: u32,
    /// The wake mask.
    pub(crate) bits: u32,
    /// Whether the futex is private to the process.
    pub(crate) private: bool,
    /// The deadline on the monotonic clock.
    pub(crate) deadline: Nanos,
}

/// How an interrupted wait goes on after `restart_syscall`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RestartBlock {
    /// A sleep.
    Sleep {
        /// The deadline on the monotonic clock.
        deadline: Nanos,
        /// Where the remaining time goes if a handler interrupts for good, or 0.
        remaining: u64,
    },
    /// A `FUTEX_WAIT` with a relative time-out.
    Futex(FutexWait),
    /// A `poll` with a time-out.
    Poll {
        /// Address of the array.
        fds: u64,
        /// Its length.
        count: u64,
        /// The deadline on the monotonic clock.
        deadline: Nanos,
    },
}

/// `rseq` area of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RseqArea {
    pub(crate) address: u64,
    pub(crate) len: u32,
    pub(crate) signature: u32,
}

/// A thread of another instance's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    /// The instance that everything but its user mode is on.
    pub(crate) home: InstanceId,
    /// The replica of its space.
    pub(crate) space: SpaceId,
    /// What the home calls the space.
    pub(crate) key: SpaceKey,
    /// What it is here for.
    pub(crate) errand: Errand,
    /// Whether its process has a clock of its own, which only the home knows.
    pub(crate) own_clock: bool,
    /// Whether it was waiting on a futex when that was called back: it still is, at home.
    pub(crate) waits_at_home: bool,
}

/// What a thread of another instance's process is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// It runs user code.
    UserMode,
    /// A call is served for it.
    Call,
    /// A call is served for it, and a signal waits at home.
    RecalledCall,
}

/// A thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) process: Pid,
    pub(crate) task: TaskId,
    /// Of the instruction set that the thread runs on.
    pub(crate) regs: AnyRegs,
    /// Up to date only after [`crate::state::State::sync_fpu`].
    pub(crate) fpu: FpuState,
    /// What is to be in its place, as it came from another instance: mostly it goes back there, and nobody
    /// looks at it here.
    packed_fpu: Option<Packed>,
    /// Why the thread last left user mode, and when, until its task has seen it.
    pub(crate) trap: Option<(Trap, Nanos)>,
    /// Whether it got beyond the instruction that it entered user mode at last.
    pub(crate) advanced: bool,
    pub(crate) interrupted_call: Option<InterruptedCall>,
    pub(crate) restart: Option<RestartBlock>,

    pub(crate) mask: SignalSet,
    /// The mask to return to after a handler that `rt_sigsuspend`, `ppoll` … let in.
    pub(crate) saved_mask: Option<SignalSet>,
    pub(crate) pending: PendingSignals,
    pub(crate) altstack: AltStack,
    /// Signals that `rt_sigtimedwait` waits for.
    pub(crate) awaited: SignalSet,

    /// What the thread gets when its process's parent ends, or 0.
    pub(crate) parent_death_signal: u8,

    pub(crate) clear_child_tid: u64,
    /// Where the thread writes its id when it starts, or 0.
    pub(crate) set_child_tid: u64,
    pub(crate) robust_list: u64,
    pub(crate) rseq: Option<RseqArea>,
    pub(crate) comm: [u8; COMM_LEN],

    pub(crate) started: Nanos,
    pub(crate) user_time: Nanos,
    pub(crate) system_time: Nanos,
    pub(crate) kernel_since: Nanos,
    /// This thread alone is to end, with this status. A guest is to go home.
    pub(crate) exiting: Option<u32>,

    /// It is called home so that its processor time is known.
    pub(crate) time_wanted: bool,
    /// Its call of `FUTEX_WAIT` began where it was, and it is in the queue, or was woken.
    pub(crate) waits_already: bool,

    /// What `ioprio_set` set: a class and a level, which nothing here goes by.
    pub(crate) io_priority: u16,
    /// From -20 to 19, as `setpriority` set it. It is remembered and told; all threads get the same share.
    pub(crate) nice: i8,
    /// The latest time of its home's monotonic clock that the thread may have been shown somewhere else:
    /// it is shown no earlier one.
    pub(crate) shown: Nanos,

    /// Set if the thread's process is another instance's.
    pub(crate) guest: Option<Guest>,
    /// Where it is to run in user mode.
    pub(crate) place: InstanceId,
    /// Where it is to go on at its next migration point: an instance of another instruction set. Of a
    /// guest only whether there is one matters.
    pub(crate) bound: Option<InstanceId>,
    /// Whether it has asked for itself to look at its next migration point.
    pub(crate) asks: bool,
    /// Pages that it needs first where it goes on next: it has just changed its instruction set.
    pub(crate) ahead: Vec<u64>,
    /// Where it runs now, if not here.
    pub(crate) away: Option<InstanceId>,
    /// Whether it was told there to look at its next migration point.
    pub(crate) away_bound: bool,
    /// Where it was sent to user mode last.
    pub(crate) last_place: InstanceId,
    /// The number of the request by which it was sent to another instance last.
    pub(crate) last_run: u32,
    /// An address whose page it will need first where it is sent next.
    pub(crate) needs_next: Option<u64>,
    /// The cores that it may run on, one bit each.
    pub(crate) affinity: u64,
}

impl Thread {
    pub(crate) fn new(
        process: Pid,
        task: TaskId,
        regs: AnyRegs,
        fpu: FpuState,
        now: Nanos,
    ) -> Thread {
        Thread {
            process,
            task,
            regs,
            fpu,
            packed_fpu: None,
            trap: None,
            advanced: true,
            interrupted_call: None,
            restart: None,
            mask: SignalSet::EMPTY,
            saved_mask: None,
            pending: PendingSignals::default(),
            altstack: AltStack::NONE,
            awaited: SignalSet::EMPTY,
            parent_death_signal: 0,
            clear_child_tid: 0,
            set_child_tid: 0,
            robust_list: 0,
            rseq: None,
            comm: [0; COMM_LEN],
            started: now,
            user_time: Nanos(0),
            system_time: Nanos(0),
            kernel_since: now,
            exiting: None,
            time_wanted: false,
            waits_already: false,
            io_priority: 0,
            nice: 0,
            shown: Nanos(0),
            guest: None,
            place: InstanceId(0),
            bound: None,
            asks: false,
            ahead: Vec::new(),
            away: None,
            away_bound: false,
            last_place: InstanceId(0),
            last_run: 0,
            needs_next: None,
            affinity: u64::MAX,
        }
    }

    /// Gives the thread another FPU state.
    pub(crate) fn set_fpu(&mut self, fpu: FpuState) {
        self.fpu = fpu;
        self.packed_fpu = None;
    }

    /// Gives the thread an FPU state that is unpacked when it is needed here.
    pub(crate) fn set_packed_fpu(&mut self, fpu: Packed) {
        self.packed_fpu = Some(fpu);
    }

    /// The FPU state that is to be unpacked first, if there is one.
    pub(crate) fn take_packed_fpu(&mut self) -> Option<Packed> {
        self.packed_fpu.take()
    }

    /// Whether it is to look at its next migration point: it is to go elsewhere, or has a signal.
    pub(crate) const fn is_requested(&self) -> bool {
        self.bound.is_some() || self.asks
    }

    /// The instruction set that the thread runs on.
    pub(crate) const fn isa(&self) -> IsaKind {
        self.regs.kind()
    }

    /// Whether the thread runs a handler on its alternate stack now.
    pub(crate) fn on_altstack(&self) -> bool {
        self.altstack.holds(self.regs.sp())
    }

    /// Sets the name to the last component of `path`, cut to what fits.
    pub(crate) fn set_comm(&mut self, path: &[u8]) {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
        let len = name.len().min(COMM_LEN - 1);
        self.comm = [0; COMM_LEN];
        self.comm[..len].copy_from_slice(&name[..len]);
    }
}

/// Which thread a function is about, with what it looks up most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) tid: Tid,
    pub(crate) pid: Pid,
    pub(crate) task: TaskId,
}
