//! Futexes that a home has lent to the instance that its threads are on: they wait and wake each other here.

use maize_abi::pte::Access;
use maize_abi::{Errno, Sysno};
use maize_hal::{Arch, Nanos, PageFault};

use super::guest::{Visit, page_fault};
use super::travel::TrapRecord;
use crate::futex::{FutexKey, MOST_WAITING};
use crate::handle::Handle;
use crate::state::State;
use crate::syscall::FutexOp;
use crate::wait::{Interruptible, WaitKey};

/// How often the word of a wait is asked for before the home is left to do it.
const TRIES: usize = 8;

/// What the look at a word has come to.
enum Looked {
    /// The call is over.
    Done,
    /// The thread is in the queue.
    Queued,
    /// The word is not here.
    Absent,
    /// The home has to serve the call.
    AtHome,
}

impl<A: Arch> State<A> {
    /// What a guest names if its futex is served here.
    fn lent_futex(&self, visit: &Visit, address: u64) -> Option<FutexKey> {
        let space = self.thread_space(visit.current.tid)?;
        let key = FutexKey::Private(space, address);
        let (_, page) = key.page()?;
        let served = address.is_multiple_of(4) && self.groups.serves_futexes(visit.space, page);
        served.then_some(key)
    }

    fn end_futex_call(&mut self, visit: &Visit, result: Result<u64, Errno>) {
        self.stats.fabric.futexes_served += 1;
        self.stats.count_syscall(Sysno::Futex);
        self.set_result(visit.current.tid, result);
    }

    /// Compares and queues in one step.
    fn look_and_queue(&mut self, visit: &Visit, address: u64, value: u32, bits: u32) -> Looked {
        let tid = visit.current.tid;
        let Some(key) = self.lent_futex(visit, address) else { return Looked::AtHome };
        match self.peek_u32(visit.current, address) {
            None => return Looked::Absent,
            Some(found) if found != value => {
                self.end_futex_call(visit, Err(Errno::EAGAIN));
                return Looked::Done;
            }
            Some(_) => {}
        }
        let waiting =
            key.page().map_or(0, |(space, page)| self.futexes.on_page(space, page).count());
        if waiting >= MOST_WAITING {
            return Looked::AtHome;
        }
        self.futexes.enqueue(key, tid, bits);
        Looked::Queued
    }
}

/// Serves a call of `futex` if the futex is lent to this instance and nobody needs more of it than waits
/// without a time-out and wakes.
///
/// # Errors
/// The trap that the home is told of, if the call is the home's.
pub(super) async fn futex<A: Arch>(
    k: &Handle<A>,
    visit: &Visit,
    args: [u64; 6],
) -> Result<(), TrapRecord> {
    let address = args[0];
    match FutexOp::of(&args) {
        Some(FutexOp::Wake { count, bits }) => k.with(|s| {
            let key = s.lent_futex(visit, address).ok_or(TrapRecord::Syscall)?;
            let woken = s.futex_wake(key, count, bits);
            s.end_futex_call(visit, Ok(u64::from(woken)));
            Ok(())
        }),
        Some(FutexOp::Wait { value, bits }) => wait(k, visit, address, value, bits).await,
        None => Err(TrapRecord::Syscall),
    }
}

async fn wait<A: Arch>(
    k: &Handle<A>,
    visit: &Visit,
    address: u64,
    value: u32,
    bits: u32,
) -> Result<(), TrapRecord> {
    let mut looked = Looked::Absent;
    for _ in 0..TRIES {
        looked = k.with(|s| s.look_and_queue(visit, address, value, bits));
        if !matches!(looked, Looked::Absent) {
            break;
        }
        let fault = PageFault { address, access: Access::READ };
        if page_fault(k, visit, fault).await.is_err() {
            return Err(TrapRecord::Syscall);
        }
    }
    match looked {
        Looked::Done => Ok(()),
        Looked::Queued => wait_in_queue(k, visit).await,
        Looked::Absent | Looked::AtHome => Err(TrapRecord::Syscall),
    }
}

async fn wait_in_queue<A: Arch>(k: &Handle<A>, visit: &Visit) -> Result<(), TrapRecord> {
    let current = visit.current;
    let key = [WaitKey::Futex(current.tid)];
    loop {
        k.wait_for(current.task, &key, Nanos::NEVER, Interruptible::ByKill).await;
        let ended = k.with(|s| {
            let guest = s.threads.get_mut(&current.tid).and_then(|thread| thread.guest.as_mut());
            if guest.is_some_and(|guest| core::mem::take(&mut guest.waits_at_home)) {
                return Some(Err(TrapRecord::Waiting));
            }
            if !s.futexes.is_queued(current.tid) {
                s.end_futex_call(visit, Ok(0));
                return Some(Ok(()));
            }
            // It is wanted at home, where the call begins anew.
            s.must_exit(current.tid).then(|| {
                s.futexes.cancel(current.tid);
                Err(TrapRecord::Syscall)
            })
        });
        if let Some(ended) = ended {
            return ended;
        }
    }
}
