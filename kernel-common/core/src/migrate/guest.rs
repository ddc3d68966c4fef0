//! The other side: a thread of another instance's process that runs user code here.

use alloc::boxed::Box;
use alloc::vec::Vec;

use maize_abi::pte::Access;
use maize_abi::{Isa, PAGE_SIZE, Sysno};
use maize_hal::{Arch, Nanos, PageFault, Trap};
use maize_mm::{FaultError, SpaceId};
use maize_trace::EventKind;
use maize_wire::InstanceId;

use super::futex::futex;
use super::travel::{Departure, TrapRecord, UserMode, rseq_area};
use super::{ahead, luggage};
use crate::fabric::RequestId;
use crate::fabric::message::{NoArea, Run, Trapped};
use crate::group::SpaceKey;
use crate::handle::Handle;
use crate::ids::{Pid, Tid};
use crate::lifecycle::finish_steps;
use crate::state::State;
use crate::syscall;
use crate::thread::{Current, Errand, Guest, Thread};

/// A thread's state that this instance cannot run.
pub(crate) struct BadStay;

impl<A: Arch> State<A> {
    /// A thread has arrived.
    pub(crate) fn begin_stay(
        &mut self,
        k: &Handle<A>,
        from: InstanceId,
        run: Run,
    ) -> Result<(), BadStay> {
        let Run { id, stay } = run;
        let tid = Tid(id.asker);
        if stay.space.home != from.0 || self.threads.contains_key(&tid) {
            return Err(BadStay);
        }
        if stay.ahead.len() > ahead::MOST || stay.luggage.len() > luggage::MOST {
            return Err(BadStay);
        }
        let isa = <A::Isa as Isa>::KIND;
        let (regs, fpu) = stay.user.load(isa, &self.arch).ok_or(BadStay)?;
        let Ok(space) = self.replica(stay.space) else {
            log::error!("no memory for a replica of a space of {from}");
            let trap = TrapRecord::NeedsHome { address: regs.pc(), access: 0 };
            let departure = Departure { user: stay.user, trap, user_time: 0, shown: 0 };
            self.answer(from, id, Trapped { id, departure }.into());
            return Ok(());
        };
        self.groups.serve_futexes(stay.space, &stay.futexes);
        let luggage = stay.luggage.into_iter();
        let mut ahead: Vec<u64> =
            luggage.filter_map(|page| self.expect(from, tid, stay.space, page)).collect();
        ahead.extend(stay.ahead);
        let now = self.now();
        let task = self.tasks.reserve();
        let mut thread = Thread::new(Pid(stay.pid), task, regs, fpu, now);
        thread.rseq = rseq_area(stay.rseq);
        thread.shown = Nanos(stay.now);
        let (key, own_clock) = (stay.space, stay.own_clock);
        let errand = Errand::UserMode;
        let waits_at_home = false;
        thread.guest = Some(Guest { home: from, space, key, errand, own_clock, waits_at_home });
        thread.bound = stay.bound.then_some(from);
        thread.ahead = ahead;
        self.threads.insert(tid, Box::new(thread));
        self.task_threads.insert(task, tid);
        self.stats.fabric.stays += 1;
        self.trace(EventKind::MigrateIn, tid, [u64::from(from.0), 0]);
        let current = Current { tid, pid: Pid(stay.pid), task };
        let visit = Visit { home: from, id, space: stay.space, current };
        self.tasks.spawn(task, Box::pin(stay_here(k.clone(), visit)));
        Ok(())
    }

    /// The home wants a thread back.
    pub(crate) fn recall_guest(&mut self, from: InstanceId, id: RequestId) {
        let tid = Tid(id.asker);
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let Some(guest) = thread.guest.as_mut().filter(|guest| guest.home == from) else { return };
        match guest.errand {
            // The thread goes as soon as it is to run; what its task waits for is bounded, but for a futex.
            Errand::UserMode => {
                thread.exiting = Some(0);
                self.interrupt(tid);
            }
            Errand::Call | Errand::RecalledCall => {
                guest.errand = Errand::RecalledCall;
                self.interrupt(tid);
            }
        }
    }

    /// Ends the guests of a dead peer, and what they have here.
    pub(crate) fn end_guests_of(&mut self, peer: InstanceId) {
        let guests = self.threads.iter_mut();
        let guests = guests.filter(|(_, t)| t.guest.is_some_and(|guest| guest.home == peer));
        let tids: Vec<Tid> = guests
            .map(|(tid, thread)| {
                thread.exiting = Some(0);
                *tid
            })
            .collect();
        for tid in tids {
            self.interrupt(tid);
        }
        self.drop_replicas_of(peer);
    }

    /// The space of a thread, if changes of it are still to be carried out.
    fn unsettled_space(&self, tid: Tid) -> Option<SpaceId> {
        self.thread_space(tid).filter(|space| !self.memory.is_settled(*space))
    }

    /// Takes a guest's record away; returns what goes home.
    fn end_stay(&mut self, visit: &Visit, trap: TrapRecord) -> Option<Departure> {
        let current = visit.current;
        self.trace(EventKind::MigrateOut, current.tid, [u64::from(visit.home.0), 0]);
        self.release_holds(current.tid);
        self.sync_fpu(current.tid);
        self.run_queue.forget_fpu(current.tid);
        self.task_threads.remove(&current.task);
        let thread = self.threads.remove(&current.tid)?;
        let user = UserMode::of(&thread);
        let (user_time, shown) = (thread.user_time.0, thread.shown.0);
        Some(Departure { user, trap, user_time, shown })
    }
}

/// One stay of a thread here.
pub(super) struct Visit {
    home: InstanceId,
    id: RequestId,
    pub(super) space: SpaceKey,
    pub(super) current: Current,
}

/// Runs a guest until it needs its home.
async fn stay_here<A: Arch>(k: Handle<A>, visit: Visit) {
    if let Some(space) = k.with(|s| s.unsettled_space(visit.current.tid)) {
        // What the home has changed before it sent the thread: that takes no memory here.
        let _ = finish_steps(&k, visit.current, space).await;
    }
    k.bring_ahead(visit.current).await;
    let trap = run_here(&k, &visit).await;
    k.with(|s| {
        let id = visit.id;
        if let Some(departure) = s.end_stay(&visit, trap) {
            s.answer(visit.home, id, Trapped { id, departure }.into());
        }
    });
}

async fn run_here<A: Arch>(k: &Handle<A>, visit: &Visit) -> TrapRecord {
    let current = visit.current;
    loop {
        let cancelled = k.with(|s| s.fabric.serving.is_cancelled(visit.home, visit.id));
        if cancelled {
            return TrapRecord::Interrupt;
        }
        let trap = k.run_user_here(current.tid).await;
        k.with(|s| s.release_used(current.tid));
        match trap {
            Trap::PageFault(fault) => {
                if let Err(trap) = page_fault(k, visit, fault).await {
                    return trap;
                }
            }
            Trap::Interrupt(_) => {
                if k.with(|s| s.is_in_sequence(current)) {
                    return TrapRecord::Interrupt;
                }
            }
            Trap::Syscall => {
                if let Err(trap) = served_here(k, visit).await {
                    return trap;
                }
            }
            Trap::Exception(_) => return TrapRecord::of(trap),
        }
    }
}

/// Makes a page accessible.
pub(super) async fn page_fault<A: Arch>(
    k: &Handle<A>,
    visit: &Visit,
    fault: PageFault,
) -> Result<(), TrapRecord> {
    let PageFault { address, access } = fault;
    let refused = Err(TrapRecord::of(Trap::PageFault(fault)));
    // The area may change between the home's answer and its use; then the home is asked again, and
    // who has no luck leaves the fault to the home, which is never wrong.
    const TRIES: usize = 4;
    for attempt in 0..TRIES {
        match k.resolve_traced_fault(visit.current, fault).await {
            Ok(()) => {
                k.with(|s| s.stats.page_faults += 1);
                return Ok(());
            }
            Err(FaultError::NoMapping | FaultError::Denied) => {}
            // A file may have grown since its area was learnt.
            Err(FaultError::PastEnd) if attempt == 0 => {}
            // The home knows why, and whom to signal.
            Err(FaultError::PastEnd | FaultError::OutOfMemory) => {
                return Err(TrapRecord::NeedsHome { address, access: access.bits() });
            }
        }
        match k.fetch_area(visit.current, visit.space, address, access).await {
            Ok(()) => {}
            Err(NoArea::Fault) => return refused,
            Err(NoArea::Unsupported) => {
                return Err(TrapRecord::NeedsHome { address, access: access.bits() });
            }
        }
    }
    refused
}

/// Serves a call that needs nothing of the home. `Err` if it is the home's: the trap that it is told of.
async fn served_here<A: Arch>(k: &Handle<A>, visit: &Visit) -> Result<(), TrapRecord> {
    let current = visit.current;
    let called = k.with(|s| {
        let regs = &s.threads.get(&current.tid)?.regs;
        let number = usize::try_from(regs.syscall_number()).ok()?;
        Some((
            number,
            <A::Isa as Isa>::SYSCALLS.get(number).copied().flatten(),
            regs.syscall_args(),
        ))
    });
    let at_home = Err(TrapRecord::Syscall);
    let Some((number, sysno, args)) = called else { return at_home };
    k.with(|s| s.send_ahead(current.tid, visit.home, (number as u64, sysno), args));
    let Some(sysno) = sysno else { return at_home };
    if sysno == Sysno::Futex {
        return futex(k, visit, args).await;
    }
    // Where its results go, and how long each is.
    let results = match sysno {
        Sysno::Getpid | Sysno::Gettid | Sysno::SchedYield => [(0, 0); 2],
        Sysno::Getcpu => [(args[0], 4), (args[1], 4)],
        Sysno::ClockGettime if k.with(|s| s.shows_clock(current.tid, args[0] as i32)) => {
            [(args[1], 16), (0, 0)]
        }
        Sysno::Gettimeofday if k.with(|s| s.shows_clock(current.tid, 0)) => {
            [(args[0], 16), (args[1], 8)]
        }
        _ => return at_home,
    };
    for (address, len) in results.into_iter().filter(|(address, _)| *address != 0) {
        let fault = PageFault { address, access: Access::WRITE };
        let page = PAGE_SIZE as u64;
        if address.checked_add(len - 1).is_none_or(|last| last / page != address / page)
            || page_fault(k, visit, fault).await.is_err()
        {
            return at_home;
        }
    }
    syscall::handle(k, current).await;
    Ok(())
}
