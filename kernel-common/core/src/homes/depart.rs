//! A process leaves: its threads stop, its pages come together, its body is sent and then gone.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::{Errno, Isa, PAGE_SIZE};
use maize_hal::{Arch, Nanos};
use maize_mm::{Area, AreaFlags, ObjectId, Origin, Sharing, SpaceId};
use maize_wire::InstanceId;

use super::news::News;
use super::record::{AreaLuggage, Backing, Piece, ProcessRecord, ThreadRecord};
use crate::executor::TaskId;
use crate::fabric::message::{Carry, Depart, Message};
use crate::group::recall;
use crate::handle::Handle;
use crate::ids::{Pid, Tid};
use crate::process::Life;
use crate::state::State;
use crate::thread::Current;
use crate::wait::{Interruptible, WaitKey};

/// Areas in one piece.
const AREAS: usize = 128;

/// Pages in one piece.
const PAGES: usize = 12;

/// What has become of a thread that was to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parked {
    /// It did not have to.
    Not,
    /// It did, and the process has stayed.
    Stayed,
    /// The thread goes on elsewhere: nothing is left to do for this task.
    Gone,
}

/// Stops a thread whose process is about to leave, until it has left or stays.
pub(crate) async fn park<A: Arch>(k: &Handle<A>, current: Current) -> Parked {
    let mut stopped = Parked::Not;
    loop {
        let state = k.with(|s| s.parking(current));
        match state {
            Parked::Not => return stopped,
            Parked::Gone => return Parked::Gone,
            Parked::Stayed => {}
        }
        stopped = Parked::Stayed;
        let key = [WaitKey::Unparked(current.pid)];
        k.wait_for(current.task, &key, Nanos::NEVER, Interruptible::ByKill).await;
    }
}

/// What a mover finds.
enum Readiness {
    Ready,
    NotYet,
    /// The process ends, or has ended.
    Never,
}

impl<A: Arch> State<A> {
    /// Whether the thread's process is about to leave.
    pub(crate) fn is_leaving(&self, tid: Tid) -> bool {
        self.threads.get(&tid).is_some_and(|thread| {
            let process = self.processes.get(&thread.process);
            thread.guest.is_none() && process.is_some_and(|p| p.seat.leaving.is_some())
        })
    }

    fn parking(&mut self, current: Current) -> Parked {
        if !self.task_threads.contains_key(&current.task) {
            return Parked::Gone;
        }
        let exits = self.must_exit(current.tid);
        let Some(process) = self.processes.get_mut(&current.pid) else { return Parked::Gone };
        if process.seat.leaving.is_none() || exits {
            process.seat.parked.remove(&current.tid);
            self.wake(WaitKey::Parked(current.pid));
            return Parked::Not;
        }
        process.seat.parked.insert(current.tid);
        self.sync_fpu(current.tid);
        self.charge_system_time(current.tid);
        self.wake(WaitKey::Parked(current.pid));
        Parked::Stayed
    }

    /// Whether this instance keeps the records of processes.
    pub(crate) fn is_registry(&self) -> bool {
        self.program.is_some()
    }

    /// Begins to move a process whose home this is.
    ///
    /// # Errors
    /// `ESRCH`; `EINVAL` if nothing can be sent there; `EBUSY` if the process has memory in common
    /// with others, or is on its way already.
    pub(crate) fn start_move(
        &mut self,
        k: &Handle<A>,
        pid: Pid,
        to: InstanceId,
    ) -> Result<(), Errno> {
        let registry = self.is_registry();
        let process = self.processes.get(&pid).ok_or(Errno::ESRCH)?;
        if pid == Pid::INIT || process.life != Life::Alive || process.seat.away.is_some() {
            return Err(Errno::ESRCH);
        }
        if to == self.fabric.me {
            return Ok(());
        }
        // A process lives on one instruction set; threads of some can go to others.
        let alike = self.isa_of(to) == Some(<A::Isa as Isa>::KIND);
        if !alike || !self.fabric.is_usable(to) || !registry && process.seat.registry.is_none() {
            return Err(Errno::EINVAL);
        }
        let space = process.space.ok_or(Errno::ESRCH)?;
        if process.seat.leaving.is_some() || process.pair.is_some() {
            return Err(Errno::EBUSY);
        }
        // Signals are read where the body is, from files that are here.
        if registry && self.has_signal_file(pid) {
            return Err(Errno::EBUSY);
        }
        if self.is_shared_space(space) || !self.can_be_packed(space) {
            return Err(Errno::EBUSY);
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            process.seat.leaving = Some(to);
        }
        self.interrupt_all(pid);
        // Threads of a stopped process wait for this.
        self.wake(WaitKey::Continued(pid));
        let task = self.tasks.reserve();
        self.tasks.spawn(task, Box::pin(depart(k.clone(), task, pid, to)));
        Ok(())
    }

    /// Whether all of a space can be sent.
    fn can_be_packed(&self, space: SpaceId) -> bool {
        let Ok(mut areas) = self.memory.areas(space) else { return false };
        areas.all(|area| self.pack_area(area).is_some())
    }

    fn pack_area(&self, area: &Area) -> Option<AreaLuggage> {
        if area.sharing == Sharing::Shared || area.flags.contains(AreaFlags::INSTANCE_PRIVATE) {
            return None;
        }
        let backing = match self.memory.origin(area) {
            _ if Some(area.object) == self.trampoline => Backing::Trampoline,
            Origin::Zero => Backing::Zero,
            Origin::Image(start, len) => Backing::Image(start, len, area.first),
            Origin::File(_) => return None,
        };
        let label = area.label.as_deref();
        Some(AreaLuggage {
            start: area.start,
            end: area.end,
            access: area.access.bits(),
            may: area.may.bits(),
            flags: area.flags.bits(),
            backing,
            written: self.memory.is_private(area.object),
            label: label.map(|label| (label.path.clone(), label.device, label.inode)),
        })
    }

    fn readiness(&self, pid: Pid) -> Readiness {
        match self.processes.get(&pid) {
            Some(process) if process.life != Life::Alive || process.threads.is_empty() => {
                Readiness::Never
            }
            Some(process) if process.threads.is_subset(&process.seat.parked) => Readiness::Ready,
            Some(_) => Readiness::NotYet,
            None => Readiness::Never,
        }
    }

    /// The process stays.
    fn stay(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.seat.leaving = None;
            process.seat.sealed = false;
            process.seat.parked.clear();
        }
        self.wake(WaitKey::Unparked(pid));
    }

    /// At the registry: what happens to the process from now on is kept until it has arrived. False
    /// if it cannot go.
    pub(crate) fn hold_news(&mut self, pid: Pid, from: Option<InstanceId>, to: InstanceId) -> bool {
        let reachable = to == self.fabric.me || self.fabric.is_usable(to);
        match self.processes.get_mut(&pid) {
            Some(process)
                if process.seat.away == from
                    && process.seat.held.is_none()
                    && process.life == Life::Alive
                    && reachable =>
            {
                process.seat.held = Some((to, Vec::new()));
                true
            }
            _ => false,
        }
    }

    /// At the registry: the process has been sent to `to`, which may be where it was.
    pub(crate) fn has_moved(&mut self, k: &Handle<A>, from: InstanceId, pid: Pid, to: InstanceId) {
        let me = self.fabric.me;
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let Some((aim, held)) = process.seat.held.take() else { return };
        let home = if to == aim { to } else { from };
        process.seat.away = (home != me).then_some(home);
        // Who looks for a thread of the process.
        self.wake(WaitKey::Unparked(pid));
        if home == me {
            if home != from {
                self.start_arrived(k, pid, from);
            }
        } else if home != from {
            self.tell_news(home, pid, News::Start);
        }
        for news in held {
            if !self.tell_home(pid, news.clone()) {
                self.apply(k, pid, news);
            }
        }
        // The destination may have died meanwhile, with what was sent to it.
        if home != me && !self.fabric.is_usable(home) {
            self.homes_peer_died(home);
        }
    }

    /// Does what a home would have been told.
    fn apply(&mut self, k: &Handle<A>, pid: Pid, news: News) {
        match news {
            News::Signal { tid, signal, .. } => {
                let Some(info) = signal.info() else { return };
                // As where it was sent: nobody is left to be told.
                let _ = match tid {
                    Some(tid) => self.send_to_thread(Tid(tid), info),
                    None => self.send_to_process(pid, info),
                };
            }
            News::Orphaned => self.become_orphan(pid),
            News::Go { to } => {
                let _ = self.start_move(k, pid, InstanceId(to));
            }
            _ => {}
        }
    }

    /// The body of a process that has been sent is taken away.
    fn leave_behind(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let threads = core::mem::take(&mut process.threads);
        let registry = process.seat.registry;
        process.seat.leaving = None;
        process.seat.sealed = false;
        process.seat.parked.clear();
        process.stopped &= registry.is_none();
        process.pending = crate::signal::PendingSignals::default();
        process.timers = crate::process_timer::ProcessTimers::default();
        for tid in threads {
            self.release_holds(tid);
            self.futexes.cancel(tid);
            self.run_queue.forget_fpu(tid);
            if let Some(thread) = self.threads.remove(&tid) {
                self.task_threads.remove(&thread.task);
            }
        }
        self.release_space(pid);
        if registry.is_some() {
            self.processes.remove(&pid);
        }
        self.stats.fabric.processes_sent += 1;
        self.wake(WaitKey::Unparked(pid));
    }
}

/// A move under way.
struct Move<A: Arch> {
    k: Handle<A>,
    current: Current,
    space: SpaceId,
    to: InstanceId,
}

async fn depart<A: Arch>(k: Handle<A>, task: TaskId, pid: Pid, to: InstanceId) {
    loop {
        match k.with(|s| s.readiness(pid)) {
            Readiness::Ready => break,
            Readiness::Never => return k.with(|s| s.stay(pid)),
            Readiness::NotYet => {
                let keys = [WaitKey::Parked(pid), WaitKey::ThreadExit(pid)];
                k.wait_for(task, &keys, Nanos::NEVER, Interruptible::Not).await;
            }
        }
    }
    let found = k.with(|s| {
        let process = s.processes.get(&pid)?;
        Some((*process.threads.first()?, process.space?, process.seat.registry))
    });
    let Some((tid, space, registry)) = found else { return k.with(|s| s.stay(pid)) };
    if !hold(&k, task, pid, registry, to).await {
        return k.with(|s| s.stay(pid));
    }
    let current = Current { tid, pid, task };
    let moving = Move { k: k.clone(), current, space, to };
    let objects = moving.gather().await;
    let sent = match objects {
        Ok(_) => moving.send().await,
        Err(_) => Err(()),
    };
    k.with(|s| {
        s.release_holds(tid);
        let left = sent.is_ok() && matches!(s.readiness(pid), Readiness::Ready);
        if left {
            s.leave_behind(pid);
        } else {
            s.tell_news(to, pid, News::Discard);
            s.rewind_timers(pid);
            s.stay(pid);
        }
        s.resume_pages(&objects.unwrap_or_default());
        s.end_turn(space);
        let me = s.fabric.me;
        let home = if left { to } else { me };
        match registry {
            Some(registry) => s.tell_news(registry, pid, News::Moved { to: home.0 }),
            None => s.has_moved(&k, me, pid, home),
        }
        s.wake_background();
    });
}

/// Has the registry keep what happens to the process. What it has told before has arrived when it
/// answers.
async fn hold<A: Arch>(
    k: &Handle<A>,
    task: TaskId,
    pid: Pid,
    registry: Option<InstanceId>,
    to: InstanceId,
) -> bool {
    let Some(registry) = registry else { return k.with(|s| s.hold_news(pid, None, to)) };
    let id = k.with(|s| s.ask(registry, pid.0, |id| Depart { id, pid: pid.0, to: to.0 }.into()));
    match k.answer(task, registry, id, Interruptible::Not).await.as_deref() {
        Ok(Message::Departs(departs)) => departs.may,
        _ => false,
    }
}

impl<A: Arch> Move<A> {
    /// Gets all pages of the space here; returns the objects whose pages nobody gets until
    /// [`State::resume_pages`].
    async fn gather(&self) -> Result<Vec<ObjectId>, Errno> {
        let Move { k, current, space, .. } = self;
        k.take_turn(*current, *space).await;
        if k.with(|s| s.members(*space).is_empty()) {
            return Ok(Vec::new());
        }
        let all: Range<u64> = 0..k.with(|s| s.user_end());
        let objects = k.with(|s| s.pause_private_pages(*space));
        loop {
            if let Err(errno) = recall(k, *current, *space, all.clone()).await {
                k.with(|s| s.resume_pages(&objects));
                return Err(errno);
            }
            if k.with(|s| s.memory.absent_pages(*space, all.clone(), 1).is_empty()) {
                return Ok(objects);
            }
        }
    }

    async fn carry(&self, piece: Piece) -> Result<(), ()> {
        let Move { k, current, to, .. } = self;
        let id = k.with(|s| {
            s.ask(*to, current.pid.0, |id| Carry { id, pid: current.pid.0, piece }.into())
        });
        match k.answer(current.task, *to, id, Interruptible::Not).await.as_deref() {
            Ok(Message::Carried(carried)) if carried.taken => Ok(()),
            _ => Err(()),
        }
    }

    /// Sends the body.
    async fn send(&self) -> Result<(), ()> {
        let Move { k, current, space, .. } = self;
        let areas: Vec<(Area, AreaLuggage)> = k.with(|s| {
            let areas = s.memory.areas(*space).map_err(|_| ())?;
            areas
                .map(|area| Some((area.clone(), s.pack_area(area)?)))
                .collect::<Option<_>>()
                .ok_or(())
        })?;
        for some in areas.chunks(AREAS) {
            let some = some.iter().map(|(_, luggage)| luggage.clone()).collect();
            self.carry(Piece::Areas(some)).await?;
        }
        for (area, _) in areas.iter().filter(|(_, luggage)| luggage.written) {
            let mut next = Some(area.start);
            while let Some(from) = next {
                let (pages, rest) = k.with(|s| {
                    let (pages, rest) = s.memory.written_pages(area, from, PAGES);
                    let content = |s: &mut State<A>, frame| {
                        let mut bytes = vec![0; PAGE_SIZE];
                        s.arch.read(frame, 0, &mut bytes);
                        bytes
                    };
                    let read = pages.into_iter().map(|(va, frame)| (va, content(s, frame)));
                    (read.collect::<Vec<_>>(), rest)
                });
                next = rest;
                if !pages.is_empty() {
                    k.with(|s| s.stats.fabric.pages_carried += pages.len() as u64);
                    self.carry(Piece::Pages(pages)).await?;
                }
            }
        }
        // From here on nothing of the process changes here.
        let (threads, process) = k.with(|s| s.seal(current.pid, *space)).ok_or(())?;
        for thread in threads {
            self.carry(Piece::Thread(thread)).await?;
        }
        self.carry(Piece::Process(process)).await
    }
}

impl<A: Arch> State<A> {
    /// Fixes what of a process goes along.
    fn seal(&mut self, pid: Pid, space: SpaceId) -> Option<(Vec<ThreadRecord>, ProcessRecord)> {
        let now = self.now();
        if self.is_shared_space(space) {
            // One of its threads has made a process that runs in the same memory.
            return None;
        }
        let heap = self.memory.heap(space);
        let process = self.processes.get_mut(&pid).filter(|p| p.life == Life::Alive)?;
        let record = ProcessRecord::of(process, heap, now);
        process.seat.sealed = true;
        // Timers go along. Should the process stay, they are set again.
        self.pause_timers(pid);
        let process = self.processes.get(&pid)?;
        let of = |tid: &Tid| Some(ThreadRecord::of(tid.0, self.threads.get(tid)?, now));
        let threads = process.threads.iter().map(of).collect::<Option<_>>()?;
        Some((threads, record))
    }

    /// Sets the timers of a process again that was sealed and stays.
    fn rewind_timers(&mut self, pid: Pid) {
        let Some(process) = self.processes.get_mut(&pid).filter(|p| p.seat.sealed) else { return };
        process.seat.sealed = false;
        self.resume_timers(pid);
    }
}
