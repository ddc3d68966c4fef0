//! A process's body as it travels, in pieces.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use maize_abi::pte::Access;
use maize_abi::signal::{AltStack, SigAction, SigFields, SigInfo, Signal, SignalSet};
use maize_abi::{AnyRegs, Isa};
use maize_hal::{Arch, FpuState, Nanos};
use maize_mm::{AreaFlags, Label};
use serde::{Deserialize, Serialize};

use crate::migrate::{UserMode, rseq_area, rseq_record};
use crate::process_timer::TimerRecord;
use crate::signal::PendingSignals;
use crate::thread::{COMM_LEN, FutexWait, RestartBlock, Thread};

/// A part of a body. Areas come first, then pages of them, then the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Piece {
    /// Areas, in order of address.
    Areas(Vec<AreaLuggage>),
    /// Addresses, and what is there: whole pages.
    Pages(Vec<(u64, Vec<u8>)>),
    Thread(ThreadRecord),
    /// The last piece.
    Process(ProcessRecord),
}

/// Where an area's pages come from that the process has not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Backing {
    Zero,
    /// Of a file that the root image has at this place and with this length: from which page on.
    Image(u64, u64, u64),
    /// They are the page that signal handlers return through.
    Trampoline,
}

/// An area.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AreaLuggage {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Bits of [`Access`].
    pub(crate) access: u8,
    pub(crate) may: u8,
    /// Bits of [`AreaFlags`].
    pub(crate) flags: u16,
    pub(crate) backing: Backing,
    /// Whether the process may have written pages of it.
    pub(crate) written: bool,
    pub(crate) label: Option<(String, u64, u64)>,
}

impl AreaLuggage {
    pub(crate) fn access(&self) -> Access {
        Access::from_bits_truncate(self.access)
    }

    pub(crate) fn flags(&self) -> AreaFlags {
        AreaFlags::from_bits_truncate(self.flags)
    }

    pub(crate) fn label(&self) -> Option<Arc<Label>> {
        let (path, device, inode) = self.label.clone()?;
        Some(Arc::new(Label { path, device, inode }))
    }
}

/// A signal, with what comes along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignalRecord {
    signal: u8,
    code: i32,
    errno: i32,
    fields: FieldsRecord,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum FieldsRecord {
    None,
    Sender { pid: u32, uid: u32, value: u64 },
    Fault { address: u64 },
    Child { pid: u32, uid: u32, status: i32 },
    Timer { id: u32, overrun: u32, value: u64 },
    Raw(Vec<u8>),
}

impl From<SigInfo> for SignalRecord {
    fn from(info: SigInfo) -> SignalRecord {
        let fields = match info.fields {
            SigFields::None => FieldsRecord::None,
            SigFields::Sender { pid, uid, value } => FieldsRecord::Sender { pid, uid, value },
            SigFields::Fault { address } => FieldsRecord::Fault { address },
            SigFields::Child { pid, uid, status } => FieldsRecord::Child { pid, uid, status },
            SigFields::Timer { id, overrun, value } => FieldsRecord::Timer { id, overrun, value },
            SigFields::Raw(bytes) => FieldsRecord::Raw(bytes.to_vec()),
        };
        let SigInfo { signal, code, errno, .. } = info;
        SignalRecord { signal: signal.number(), code, errno, fields }
    }
}

impl SignalRecord {
    /// The signal; `None` if there is no such one.
    pub(crate) fn info(&self) -> Option<SigInfo> {
        let fields = match &self.fields {
            FieldsRecord::None => SigFields::None,
            &FieldsRecord::Sender { pid, uid, value } => SigFields::Sender { pid, uid, value },
            &FieldsRecord::Fault { address } => SigFields::Fault { address },
            &FieldsRecord::Child { pid, uid, status } => SigFields::Child { pid, uid, status },
            &FieldsRecord::Timer { id, overrun, value } => SigFields::Timer { id, overrun, value },
            FieldsRecord::Raw(bytes) => SigFields::Raw(bytes.as_slice().try_into().ok()?),
        };
        let signal = Signal::new(u64::from(self.signal))?;
        Some(SigInfo { signal, code: self.code, errno: self.errno, fields })
    }
}

/// Pending signals as they travel.
type PendingRecord = (u64, Vec<SignalRecord>);

fn pending_record(pending: &PendingSignals) -> PendingRecord {
    (pending.set().0, pending.queued().map(SignalRecord::from).collect())
}

fn pending(record: &PendingRecord) -> Option<PendingSignals> {
    let queue = record.1.iter().map(SignalRecord::info).collect::<Option<_>>()?;
    Some(PendingSignals::restored(SignalSet(record.0), queue))
}

/// How an interrupted wait goes on, with what is left of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RestartRecord {
    Sleep { left: u64, remaining: u64 },
    Futex { address: u64, expected: u32, bits: u32, private: bool, left: u64 },
    Poll { fds: u64, count: u64, left: u64 },
}

impl RestartRecord {
    pub(crate) fn of(block: RestartBlock, now: Nanos) -> RestartRecord {
        match block {
            RestartBlock::Sleep { deadline, remaining } => {
                RestartRecord::Sleep { left: left(deadline, now), remaining }
            }
            RestartBlock::Futex(FutexWait { address, expected, bits, private, deadline }) => {
                let left = left(deadline, now);
                RestartRecord::Futex { address, expected, bits, private, left }
            }
            RestartBlock::Poll { fds, count, deadline } => {
                RestartRecord::Poll { fds, count, left: left(deadline, now) }
            }
        }
    }

    pub(crate) fn block(self, now: Nanos) -> RestartBlock {
        match self {
            RestartRecord::Sleep { left, remaining } => {
                RestartBlock::Sleep { deadline: deadline(left, now), remaining }
            }
            RestartRecord::Futex { address, expected, bits, private, left } => {
                let deadline = deadline(left, now);
                RestartBlock::Futex(FutexWait { address, expected, bits, private, deadline })
            }
            RestartRecord::Poll { fds, count, left } => {
                RestartBlock::Poll { fds, count, deadline: deadline(left, now) }
            }
        }
    }
}

/// What is left until a deadline; a wait without one has for ever.
fn left(deadline: Nanos, now: Nanos) -> u64 {
    if deadline == Nanos::NEVER { u64::MAX } else { deadline.since(now).0 }
}

fn deadline(left: u64, now: Nanos) -> Nanos {
    if left == u64::MAX { Nanos::NEVER } else { now + Nanos(left) }
}

/// A thread between two stays in user mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ThreadRecord {
    pub(crate) tid: u32,
    user: UserMode,
    restart: Option<RestartRecord>,
    mask: u64,
    pending: PendingRecord,
    /// Address, flags, size.
    altstack: (u64, u32, u64),
    parent_death_signal: u8,
    clear_child_tid: u64,
    robust_list: u64,
    rseq: Option<(u64, u32, u32)>,
    comm: [u8; COMM_LEN],
    /// User and system time.
    times: (u64, u64),
    /// Time since it started.
    age: u64,
    affinity: u64,
    /// Of the processor and of files.
    priorities: (i8, u16),
    last_place: u16,
}

impl ThreadRecord {
    /// Of a thread whose saved FPU state is up to date, and that no call holds.
    pub(crate) fn of(tid: u32, thread: &Thread, now: Nanos) -> ThreadRecord {
        let stack = thread.altstack;
        ThreadRecord {
            tid,
            user: UserMode::of(thread),
            restart: thread.restart.map(|block| RestartRecord::of(block, now)),
            mask: thread.mask.0,
            pending: pending_record(&thread.pending),
            altstack: (stack.sp, stack.flags, stack.size),
            parent_death_signal: thread.parent_death_signal,
            clear_child_tid: thread.clear_child_tid,
            robust_list: thread.robust_list,
            rseq: rseq_record(thread.rseq),
            comm: thread.comm,
            times: (thread.user_time.0, thread.system_time.0),
            age: now.since(thread.started).0,
            affinity: thread.affinity,
            priorities: (thread.nice, thread.io_priority),
            last_place: thread.last_place.0,
        }
    }

    /// The thread again. `None` if this instance cannot run it.
    pub(crate) fn thread<A: Arch>(
        &self,
        arch: &A,
        made: impl FnOnce(AnyRegs, FpuState) -> Thread,
        now: Nanos,
    ) -> Option<Thread> {
        let (regs, fpu) = self.user.load(<A::Isa as Isa>::KIND, arch)?;
        let mut thread = made(regs, fpu);
        let (sp, flags, size) = self.altstack;
        thread.restart = self.restart.map(|record| record.block(now));
        thread.mask = SignalSet(self.mask).blockable();
        thread.pending = pending(&self.pending)?;
        thread.altstack = AltStack { sp, flags, size };
        thread.parent_death_signal = self.parent_death_signal;
        thread.clear_child_tid = self.clear_child_tid;
        thread.robust_list = self.robust_list;
        thread.rseq = rseq_area(self.rseq);
        thread.comm = self.comm;
        thread.comm[COMM_LEN - 1] = 0;
        thread.user_time = Nanos(self.times.0);
        thread.system_time = Nanos(self.times.1);
        thread.started = Nanos(now.0.saturating_sub(self.age));
        thread.affinity = self.affinity;
        (thread.nice, thread.io_priority) = self.priorities;
        thread.last_place = maize_wire::InstanceId(self.last_place);
        Some(thread)
    }
}

/// What a process has besides threads and memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    pub(crate) parent: u32,
    pub(crate) stopped: bool,
    /// First address and address behind the last.
    pub(crate) heap: (u64, u64),
    pub(crate) trampoline: u64,
    pub(crate) barriers: u32,
    pub(crate) arguments: (u64, u64),
    /// Handler, flags, restorer, mask of each signal that has an action of its own.
    actions: Vec<(u8, u64, u64, u64, u64)>,
    pending: PendingRecord,
    /// Soft and hard limits.
    pub(crate) limits: Vec<(u64, u64)>,
    /// Its timers, and the number of the next.
    pub(crate) timers: (Vec<TimerRecord>, u32),
    /// Of threads that have ended: user and system time.
    pub(crate) times: (u64, u64),
    pub(crate) children_time: (u64, u64),
    pub(crate) age: u64,
    /// The process's own clock.
    pub(crate) clock: u64,
    pub(crate) exe: Vec<u8>,
    /// Its real user.
    pub(crate) user: u32,
}

impl ProcessRecord {
    pub(crate) fn of(
        process: &crate::process::Process,
        heap: core::ops::Range<u64>,
        now: Nanos,
    ) -> ProcessRecord {
        let actions = (1..).zip(&process.actions).filter(|(_, a)| **a != SigAction::default());
        ProcessRecord {
            parent: process.parent.0,
            stopped: process.stopped,
            heap: (heap.start, heap.end),
            trampoline: process.trampoline,
            barriers: process.barriers,
            arguments: process.arguments,
            actions: actions.map(|(n, a)| (n, a.handler, a.flags, a.restorer, a.mask.0)).collect(),
            pending: pending_record(&process.pending),
            limits: process.limits.iter().map(|limit| (limit.soft, limit.hard)).collect(),
            timers: process.timers.records(now),
            times: (process.user_time.0, process.system_time.0),
            children_time: (process.children_time.0.0, process.children_time.1.0),
            age: now.since(process.started).0,
            clock: process.clock(now).0,
            exe: process.exe.clone(),
            user: process.credentials.user.real,
        }
    }

    pub(crate) fn actions(&self) -> [SigAction; 64] {
        let mut actions = [SigAction::default(); 64];
        for &(number, handler, flags, restorer, mask) in &self.actions {
            let slot = usize::from(number).checked_sub(1).and_then(|n| actions.get_mut(n));
            if let Some(slot) = slot {
                *slot = SigAction { handler, flags, restorer, mask: SignalSet(mask).blockable() };
            }
        }
        actions
    }

    pub(crate) fn pending(&self) -> Option<PendingSignals> {
        pending(&self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_arrive_as_they_were_sent() {
        let signal = Signal::new(40).unwrap();
        for fields in [
            SigFields::None,
            SigFields::Sender { pid: 1, uid: 2, value: 3 },
            SigFields::Fault { address: u64::MAX },
            SigFields::Child { pid: 1, uid: 0, status: -1 },
            SigFields::Timer { id: 1, overrun: 2, value: 3 },
            SigFields::Raw([7; 112]),
        ] {
            let info = SigInfo { signal, code: -6, errno: 5, fields };
            assert_eq!(SignalRecord::from(info).info(), Some(info));
        }
        let mut none = SignalRecord::from(SigInfo::from_kernel(signal));
        none.signal = 65;
        assert_eq!(none.info(), None);
        none.signal = 40;
        none.fields = FieldsRecord::Raw([7; 111].to_vec());
        assert_eq!(none.info(), None);
    }

    #[test]
    fn waits_go_on_with_what_is_left() {
        let (then, later) = (Nanos(1_000), Nanos(9_000));
        let sleep = RestartBlock::Sleep { deadline: Nanos(1_300), remaining: 5 };
        let block = RestartRecord::of(sleep, then).block(later);
        assert!(matches!(block, RestartBlock::Sleep { deadline: Nanos(9_300), remaining: 5 }));
        let poll = RestartBlock::Poll { fds: 1, count: 2, deadline: Nanos::NEVER };
        let block = RestartRecord::of(poll, then).block(later);
        assert!(matches!(block, RestartBlock::Poll { deadline: Nanos::NEVER, .. }));
    }
}
