//! The home's side of a thread that runs somewhere else.

use maize_abi::signal::{Signal, si_code};
use maize_abi::{Isa, Sysno};
use maize_hal::{Arch, Exception, Interrupts, Nanos, Trap};
use maize_trace::EventKind;
use maize_wire::InstanceId;

use super::travel::{Departure, Stay, TrapRecord, UserMode, rseq_record};
use crate::fabric::message::{Message, Run};
use crate::fabric::{Answer, PeerDied, RequestId};
use crate::handle::Handle;
use crate::ids::Tid;
use crate::rseq;
use crate::state::State;
use crate::syscall::FutexOp;
use crate::thread::{Current, Thread};
use crate::wait::Interruptible;

impl<A: Arch> Handle<A> {
    /// Runs the thread in user mode, where its place is, until it traps.
    pub(crate) async fn run_user(&self, current: Current) -> Trap {
        if !self.with(|s| s.fabric.is_joined()) {
            return self.run_user_here(current.tid).await;
        }
        self.confirm_change(current).await;
        let moved = self.with(|s| s.arrive_at_place(current.tid));
        if let Some(cpu) = moved {
            // As Linux does on migration: the thread's own word for its core.
            rseq::on_migration(self, current, cpu).await;
            self.unpack(current).await;
        }
        match self.with(|s| s.away_place(current.tid)) {
            None if self.with(|s| s.is_stranded(current.tid)) => {
                self.with(|s| s.strand(current));
                Trap::Interrupt(Interrupts::empty())
            }
            None => {
                self.bring_ahead(current).await;
                self.run_user_here(current.tid).await
            }
            Some(place) => self.run_user_at(current, place).await,
        }
    }

    async fn run_user_at(&self, current: Current, place: InstanceId) -> Trap {
        let nothing = Trap::Interrupt(Interrupts::empty());
        let Some(id) = self.with(|s| s.send_away(current, place)) else { return nothing };
        let answer = self.answer(current.task, place, id, Interruptible::ByRecall).await;
        self.with(|s| s.come_home(current, place, answer)).unwrap_or(nothing)
    }
}

impl<A: Arch> State<A> {
    /// Where the thread is to run, if that is not here.
    pub(crate) fn away_place(&self, tid: Tid) -> Option<InstanceId> {
        let thread = self.threads.get(&tid)?;
        let (place, isa) = (thread.place, thread.isa());
        let can_run = |peer: &InstanceId| self.fabric.isa_of_peer(*peer) == Some(isa);
        if can_run(&place) {
            return Some(place);
        }
        if isa == <A::Isa as Isa>::KIND {
            return None;
        }
        // Its instance is gone, or it has to be here: then another one of its instruction set.
        self.fabric.usable_peers().find(can_run)
    }

    /// Whether no instance can run the thread.
    fn is_stranded(&self, tid: Tid) -> bool {
        let own = <A::Isa as Isa>::KIND;
        self.threads.get(&tid).is_some_and(|thread| thread.isa() != own)
    }

    /// The thread's registers are of no use to any instance that is left.
    fn strand(&mut self, current: Current) {
        let place = self.threads.get(&current.tid).map_or(self.fabric.me, |thread| thread.place);
        self.lost(current, place);
    }

    /// Whether the thread is not where it is to be.
    pub(crate) fn is_misplaced(&self, tid: Tid) -> bool {
        self.threads.get(&tid).is_some_and(|t| {
            let stays = t.away == self.away_place(tid);
            let knows = t.away.is_none() || t.away_bound == t.is_requested();
            t.guest.is_none() && !(stays && knows)
        })
    }

    /// If the thread was somewhere else before: the number of the core it will be on.
    fn arrive_at_place(&mut self, tid: Tid) -> Option<u32> {
        let place = self.away_place(tid).unwrap_or(self.fabric.me);
        let thread = self.threads.get_mut(&tid)?;
        if thread.last_place == place {
            return None;
        }
        thread.last_place = place;
        thread.needs_next = Some(thread.regs.sp());
        self.stats.fabric.moves += 1;
        Some(u32::from(place.0))
    }

    /// A thread of this instance has been in user mode.
    pub(crate) fn after_user_mode(&mut self, k: &Handle<A>, current: Current) {
        if self.fabric.is_joined() {
            self.release_used(current.tid);
            self.force_move(current.tid);
            self.force_process_move(k, current.pid);
        }
    }

    /// Lets the pages go that came for a thread, unless the access that they came for is still to be
    /// made: it may need several pages at once, or an interrupt came before it.
    pub(crate) fn release_used(&mut self, tid: Tid) {
        if self.threads.get(&tid).is_none_or(|thread| thread.advanced) {
            self.release_holds(tid);
        } else {
            self.release_older_holds(tid);
        }
    }

    /// Sends the thread's user mode to `place`.
    fn send_away(&mut self, current: Current, place: InstanceId) -> Option<RequestId> {
        self.trace(EventKind::MigrateOut, current.tid, [u64::from(place.0), 0]);
        // What the last call has read or written here, the thread may need there.
        self.release_holds(current.tid);
        self.save_fpu(current.tid);
        self.run_queue.forget_fpu(current.tid);
        self.charge_system_time(current.tid);
        let own_space = self.thread_space(current.tid)?;
        let futexes = self.lend_futexes(own_space, place);
        let space = self.add_member(own_space, place);
        let luggage = self.pack(current, place, space);
        let now = self.now();
        let process = self.processes.get(&current.pid);
        let own_clock = process.is_some_and(|process| process.seat.clock_ahead != 0);
        let thread = self.threads.get_mut(&current.tid)?;
        thread.away = Some(place);
        thread.away_bound = thread.is_requested();
        let stay = Stay {
            space,
            pid: current.pid.0,
            user: UserMode::take(thread),
            bound: thread.away_bound,
            ahead: core::mem::take(&mut thread.ahead),
            rseq: rseq_record(thread.rseq),
            now: now.max(thread.shown).0,
            own_clock,
            luggage: luggage.clone(),
            futexes: futexes.clone(),
        };
        let asked = self.ask(place, current.tid.0, |id| Run { id, stay }.into());
        self.futexes_go(own_space, place, &futexes, asked);
        if let Some(thread) = self.threads.get_mut(&current.tid) {
            thread.last_run = asked.sequence;
        }
        for page in luggage {
            self.send_after(place, page);
        }
        Some(asked)
    }

    /// Takes the thread back. `None` if it will not run again.
    fn come_home(&mut self, current: Current, place: InstanceId, answer: Answer) -> Option<Trap> {
        let now = self.now();
        self.trace(EventKind::MigrateIn, current.tid, [u64::from(place.0), 0]);
        let thread = self.threads.get_mut(&current.tid)?;
        thread.away = None;
        thread.time_wanted = false;
        thread.advanced = true;
        thread.kernel_since = now;
        let departure = match answer {
            Ok(message) => {
                let Message::Trapped(trapped) = *message else {
                    self.distrust(place);
                    self.lost(current, place);
                    return None;
                };
                trapped.departure
            }
            Err(PeerDied) => {
                self.lost(current, place);
                return None;
            }
        };
        let Departure { user, trap, user_time, shown } = departure;
        let isa = thread.isa();
        let Some(served) = trap.trap().filter(|_| user.give(thread, &self.arch)) else {
            self.distrust(place);
            self.lost(current, place);
            return None;
        };
        thread.user_time = thread.user_time + Nanos(user_time);
        // A clock that is far ahead is not believed.
        if shown <= now.0.saturating_add(Nanos::SECOND.0) {
            thread.shown = thread.shown.max(Nanos(shown));
        }
        thread.waits_already = trap == TrapRecord::Waiting && is_futex_wait(thread);
        if !thread.waits_already {
            self.futexes.cancel(current.tid);
        }
        let TrapRecord::NeedsHome { address, .. } = trap else { return Some(served) };
        if isa == <A::Isa as Isa>::KIND {
            self.call_home(current.tid);
            return Some(served);
        }
        log::error!("thread {} cannot have what is at {address:#x} on {}", current.tid, isa.name());
        let (signal, code) = (Signal::SIGBUS, si_code::BUS_ADRERR);
        Some(Trap::Exception(Exception { signal, code, address }))
    }

    /// A thread's registers are lost with the instance that it ran on: its process cannot go on.
    fn lost(&mut self, current: Current, place: InstanceId) {
        let text = alloc::format!(
            "thread {} of process {} was on {place}, which is gone: the process ends",
            current.tid,
            current.pid
        );
        log::error!("{text}");
        self.host.report(maize_hal::Report::Fault { text });
        self.begin_group_exit(current.pid, u32::from(Signal::SIGKILL.number()));
    }
}

/// Whether the call that a thread has made is one that waits where its futex is lent to.
fn is_futex_wait(thread: &Thread) -> bool {
    let number = usize::try_from(thread.regs.syscall_number()).ok();
    let call = number.and_then(|number| thread.isa().syscalls().get(number).copied().flatten());
    let args = thread.regs.syscall_args();
    call == Some(Sysno::Futex) && matches!(FutexOp::of(&args), Some(FutexOp::Wait { .. }))
}
