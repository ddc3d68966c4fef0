//! The registry's side of a call that needs what it has.

use alloc::boxed::Box;

use maize_abi::signal::SignalSet;
use maize_abi::{Errno, Isa, Sysno};
use maize_hal::Arch;
use maize_wire::InstanceId;
use serde::{Deserialize, Serialize};

use super::delegate::is_served_for_others;
use super::record::RestartRecord;
use crate::fabric::RequestId;
use crate::fabric::message::{Call, Called};
use crate::group::SpaceKey;
use crate::handle::Handle;
use crate::ids::{Pid, Tid};
use crate::process::Life;
use crate::state::State;
use crate::syscall;
use crate::thread::{Current, Errand, Guest, Thread};

/// A system call of a thread. Its id is the request's asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallRecord {
    pub(crate) space: SpaceKey,
    pub(crate) pid: u32,
    pub(crate) number: u64,
    pub(crate) args: [u64; 6],
    /// The thread's signal mask, and the one that comes back after the call.
    pub(crate) masks: (u64, Option<u64>),
    /// How an earlier call goes on.
    pub(crate) restart: Option<RestartRecord>,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallDone {
    /// The value, or the error's number.
    pub(crate) result: Result<u64, u16>,
    pub(crate) masks: (u64, Option<u64>),
    pub(crate) restart: Option<RestartRecord>,
    /// Times of the process's children that were waited for.
    pub(crate) children: (u64, u64),
}

/// A call that no home asks for.
pub(crate) struct BadCall;

impl<A: Arch> State<A> {
    /// Serves a call of a thread whose home is `from`.
    pub(crate) fn begin_call(
        &mut self,
        k: &Handle<A>,
        from: InstanceId,
        call: Call,
    ) -> Result<(), BadCall> {
        let Call { id, call } = call;
        let (tid, pid) = (Tid(id.asker), Pid(call.pid));
        if call.space.home != from.0 || self.threads.contains_key(&tid) {
            return Err(BadCall);
        }
        let number = usize::try_from(call.number).ok();
        let sysno = number.and_then(|n| <A::Isa as Isa>::SYSCALLS.get(n).copied().flatten());
        let known = self.processes.get(&pid);
        let known = known.is_some_and(|p| p.seat.away == Some(from) && p.life == Life::Alive);
        let space = match sysno {
            _ if !known => Err(Errno::ESRCH),
            Some(sysno) if is_served_for_others(sysno) => {
                self.replica(call.space).map(|space| (sysno, space)).map_err(|_| Errno::ENOMEM)
            }
            _ => Err(Errno::ENOSYS),
        };
        let (sysno, space) = match space {
            Ok(found) => found,
            Err(errno) => {
                let done = CallDone {
                    result: Err(errno.number()),
                    masks: call.masks,
                    restart: None,
                    children: (0, 0),
                };
                self.answer(from, id, Called { id, done }.into());
                return Ok(());
            }
        };
        let now = self.now();
        let task = self.tasks.reserve();
        let fpu = self.arch.fpu_initial();
        let mut thread = Thread::new(pid, task, <A::Isa as Isa>::KIND.start(0, 0), fpu, now);
        thread.guest = Some(Guest {
            home: from,
            space,
            key: call.space,
            errand: Errand::Call,
            own_clock: false,
            waits_at_home: false,
        });
        thread.mask = SignalSet(call.masks.0);
        thread.saved_mask = call.masks.1.map(SignalSet);
        thread.restart = call.restart.map(|record| record.block(now));
        self.threads.insert(tid, Box::new(thread));
        self.task_threads.insert(task, tid);
        self.stats.fabric.calls_served += 1;
        let current = Current { tid, pid, task };
        self.tasks.spawn(task, Box::pin(serve(k.clone(), from, id, current, (sysno, call.args))));
        Ok(())
    }

    /// Takes the record of a served call away.
    fn end_call(&mut self, current: Current, result: Result<u64, Errno>) -> Option<CallDone> {
        self.release_holds(current.tid);
        self.task_threads.remove(&current.task);
        let now = self.now();
        let thread = self.threads.remove(&current.tid)?;
        let times = self.processes.get(&current.pid).map(|process| process.children_time);
        let times = times.unwrap_or_default();
        Some(CallDone {
            result: result.map_err(Errno::number),
            masks: (thread.mask.0, thread.saved_mask.map(|mask| mask.0)),
            restart: thread.restart.map(|block| RestartRecord::of(block, now)),
            children: (times.0.0, times.1.0),
        })
    }
}

async fn serve<A: Arch>(
    k: Handle<A>,
    from: InstanceId,
    id: RequestId,
    current: Current,
    (sysno, args): (Sysno, [u64; 6]),
) {
    let result = syscall::serve(&k, current, sysno, args).await;
    k.with(|s| {
        // None of the calls that are served for others leaves the result to the registers.
        let result = result.map(|value| value.unwrap_or(0));
        if let Some(done) = s.end_call(current, result) {
            s.answer(from, id, Called { id, done }.into());
        }
    });
}
