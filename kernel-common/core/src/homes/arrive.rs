//! A process arrives: its body is put together, and starts when the registry says so.

use alloc::boxed::Box;
use alloc::vec::Vec;

use maize_abi::pte::Access;
use maize_hal::{Arch, Nanos};
use maize_mm::{AreaFlags, MapRequest, Placement, Sharing, SpaceId};
use maize_wire::InstanceId;

use super::Seat;
use super::record::{AreaLuggage, Backing, Piece, ProcessRecord, ThreadRecord};
use crate::executor::TaskId;
use crate::fabric::message::{Carried, Carry};
use crate::files::FilesId;
use crate::handle::Handle;
use crate::ids::{Pid, Tid};
use crate::lifecycle::finish_steps;
use crate::process::{DEFAULT_LIMITS, Process, Rlimit, rlimit, space_limits};
use crate::process_timer::ProcessTimers;
use crate::state::State;
use crate::thread::{Current, Thread};

/// What has come of a process so far.
pub(crate) struct Arrival {
    from: InstanceId,
    space: SpaceId,
    /// Areas that pages are filled into, with the rights that they get in the end.
    filling: Vec<AreaLuggage>,
    threads: Vec<ThreadRecord>,
    /// The last piece.
    process: Option<ProcessRecord>,
}

/// The piece does not fit.
struct Refused;

/// Processes that may be arriving at once.
const MOST_ARRIVING: usize = 1024;

impl<A: Arch> State<A> {
    /// How many processes are on their way here.
    pub(crate) fn arriving(&self) -> usize {
        self.homes.arriving.len()
    }

    /// A piece of a process has come.
    pub(crate) fn begin_carry(&mut self, k: &Handle<A>, from: InstanceId, carry: Carry) {
        let task = self.tasks.reserve();
        self.tasks.spawn(task, Box::pin(take_in(k.clone(), task, from, carry)));
    }

    /// The space that a piece goes into, made with the first.
    fn arrival(&mut self, pid: Pid, from: InstanceId) -> Result<SpaceId, Refused> {
        match self.homes.arriving.get(&pid) {
            Some(arrival) if arrival.from == from && arrival.process.is_none() => {
                return Ok(arrival.space);
            }
            Some(_) => return Err(Refused),
            None => {}
        }
        let expected = match self.processes.get(&pid) {
            Some(process) => process.seat.away == Some(from) && self.is_registry(),
            None => !self.is_registry(),
        };
        if !expected || self.homes.arriving.len() >= MOST_ARRIVING {
            return Err(Refused);
        }
        let layout = self.replica_layout();
        let space = self.memory.create_space(&mut self.arch, layout).map_err(|_| Refused)?;
        let arrival =
            Arrival { from, space, filling: Vec::new(), threads: Vec::new(), process: None };
        self.homes.arriving.insert(pid, arrival);
        Ok(space)
    }

    fn map_luggage(
        &mut self,
        pid: Pid,
        space: SpaceId,
        areas: Vec<AreaLuggage>,
    ) -> Result<(), Refused> {
        for area in areas {
            let len = area.end.checked_sub(area.start).filter(|len| *len > 0).ok_or(Refused)?;
            let mut access = area.access();
            if area.written {
                access |= Access::READ | Access::WRITE;
            }
            let backing = match area.backing {
                Backing::Zero => maize_mm::Backing::Anonymous,
                Backing::Image(start, bytes, first) => {
                    let object = self.image_object(start, bytes).map_err(|_| Refused)?;
                    let offset = first.checked_mul(maize_abi::PAGE_SIZE as u64).ok_or(Refused)?;
                    maize_mm::Backing::Object { object, offset }
                }
                Backing::Trampoline => {
                    let object = self.trampoline_object().map_err(|_| Refused)?;
                    maize_mm::Backing::Object { object, offset: 0 }
                }
            };
            let request = MapRequest {
                placement: Placement::FixedFree(area.start),
                len,
                access,
                may: Access::from_bits_truncate(area.may) | access,
                sharing: Sharing::Private,
                flags: area.flags() & !AreaFlags::INSTANCE_PRIVATE,
                backing,
                label: area.label(),
                populate: false,
            };
            self.memory.map(&mut self.arch, space, &request).map_err(|_| Refused)?;
            if area.written
                && let Some(arrival) = self.homes.arriving.get_mut(&pid)
            {
                arrival.filling.push(area);
            }
        }
        Ok(())
    }

    /// The last piece is there: areas get their rights.
    fn complete(&mut self, pid: Pid, process: ProcessRecord) -> Result<(), Refused> {
        let Some(arrival) = self.homes.arriving.get_mut(&pid) else { return Err(Refused) };
        let filling = core::mem::take(&mut arrival.filling);
        let space = arrival.space;
        for area in filling {
            let access = area.access();
            if !access.contains(Access::READ | Access::WRITE) {
                let len = area.end - area.start;
                let arch = &mut self.arch;
                self.memory.protect(arch, space, area.start, len, access).map_err(|_| Refused)?;
            }
        }
        let (start, end) = process.heap;
        self.memory.set_heap_range(space, start..end.max(start));
        let limits = limits(&process);
        self.memory.set_limits(space, space_limits(&limits)).map_err(|_| Refused)?;
        if let Some(arrival) = self.homes.arriving.get_mut(&pid) {
            arrival.process = Some(process);
        }
        Ok(())
    }

    /// What has come of a process is of no use.
    pub(crate) fn discard_arrival(&mut self, pid: Pid, from: InstanceId) {
        let registry = self.is_registry();
        // The registry may say so too, of a process that comes from a third.
        let of = |arrival: &Arrival| arrival.from == from || !registry;
        if self.homes.arriving.get(&pid).is_some_and(of)
            && let Some(arrival) = self.homes.arriving.remove(&pid)
        {
            self.memory.destroy_space(arrival.space);
            self.wake_background();
        }
    }

    /// A peer is dead that processes were coming from. What has come whole may still start: the
    /// registry decides.
    pub(crate) fn discard_arrivals_of(&mut self, peer: InstanceId) {
        let arriving = self.homes.arriving.iter();
        let from =
            arriving.filter(|(_, arrival)| arrival.from == peer && arrival.process.is_none());
        for pid in from.map(|(pid, _)| *pid).collect::<Vec<_>>() {
            self.discard_arrival(pid, peer);
        }
    }

    /// The process that has arrived is this instance's from now on. `from`: the registry says so, or,
    /// at the registry, where it came from.
    pub(crate) fn start_arrived(&mut self, k: &Handle<A>, pid: Pid, from: InstanceId) {
        let Some(arrival) = self.homes.arriving.remove(&pid) else { return };
        let Arrival { space, threads, process: Some(record), .. } = arrival else {
            self.memory.destroy_space(arrival.space);
            return;
        };
        let now = self.now();
        let me = self.fabric.me;
        let made: Option<Vec<(Tid, Thread)>> = threads
            .iter()
            .map(|thread| {
                if self.threads.contains_key(&Tid(thread.tid)) {
                    return None;
                }
                let task = self.tasks.reserve();
                let made = |regs, fpu| Thread::new(pid, task, regs, fpu, now);
                Some((Tid(thread.tid), thread.thread(&self.arch, made, now)?))
            })
            .collect();
        let pending = record.pending();
        let (Some(made), Some(pending)) = (made, pending) else {
            log::error!("process {pid} has arrived in a state that cannot be run");
            self.memory.destroy_space(space);
            if !self.is_registry() {
                let status = u32::from(maize_abi::signal::Signal::SIGKILL.number());
                let ended = super::News::Ended { status, user: 0, system: 0, children: (0, 0) };
                self.tell_news(from, pid, ended);
            }
            return;
        };
        let mut process = match self.processes.remove(&pid) {
            Some(process) => process,
            None => bodiless(Pid(record.parent), pid, now),
        };
        if !self.is_registry() {
            process.seat = Seat { registry: Some(from), ..Seat::default() };
            process.credentials.user.real = record.user;
        }
        let ahead = i128::from(record.clock) - i128::from(now.0);
        // The registry's clock is the one that all others follow.
        let ahead = if self.is_registry() { ahead.max(0) } else { ahead };
        process.seat.clock_ahead = i64::try_from(ahead).unwrap_or(0);
        process.space = Some(space);
        process.stopped = record.stopped;
        process.trampoline = record.trampoline;
        process.barriers = record.barriers;
        process.arguments = record.arguments;
        process.actions = record.actions();
        process.pending = pending;
        process.limits = limits(&record);
        process.user_time = Nanos(record.times.0);
        process.system_time = Nanos(record.times.1);
        process.children_time = (Nanos(record.children_time.0), Nanos(record.children_time.1));
        process.exe.clone_from(&record.exe);
        process.started = Nanos(now.0.saturating_sub(record.age));
        process.timers = ProcessTimers::arrived(&record.timers, now);
        process.threads = made.iter().map(|(tid, _)| *tid).collect();
        self.processes.insert(pid, process);
        self.stats.fabric.processes_received += 1;
        for (tid, mut thread) in made {
            thread.place = me;
            let current = Current { tid, pid, task: thread.task };
            self.task_threads.insert(thread.task, tid);
            let mask = thread.affinity;
            self.threads.insert(tid, Box::new(thread));
            // If its mask leaves this instance out, it runs elsewhere.
            let _ = self.set_affinity(tid, mask);
            let main = crate::trap::thread_main(k.clone(), current);
            self.tasks.spawn(current.task, Box::pin(main));
        }
        self.resume_timers(pid);
    }
}

/// A process as an instance has it that is not its registry, without a body yet.
fn bodiless(parent: Pid, pid: Pid, now: Nanos) -> Process {
    Process { exit_signal: 0, execed: true, ..Process::new((parent, pid), FilesId::NONE, now) }
}

fn limits(record: &ProcessRecord) -> [Rlimit; rlimit::COUNT] {
    let mut limits = DEFAULT_LIMITS;
    for (slot, &(soft, hard)) in limits.iter_mut().zip(&record.limits) {
        *slot = Rlimit { soft, hard };
    }
    limits
}

async fn take_in<A: Arch>(k: Handle<A>, task: TaskId, from: InstanceId, carry: Carry) {
    let Carry { id, pid, piece } = carry;
    let pid = Pid(pid);
    let taken = put(&k, task, from, pid, piece).await.is_ok();
    k.with(|s| {
        if !taken {
            s.discard_arrival(pid, from);
        }
        s.answer(from, id, Carried { id, taken }.into());
    });
}

async fn put<A: Arch>(
    k: &Handle<A>,
    task: TaskId,
    from: InstanceId,
    pid: Pid,
    piece: Piece,
) -> Result<(), Refused> {
    let space = k.with(|s| s.arrival(pid, from))?;
    let current = Current { tid: pid.leader(), pid, task };
    match piece {
        Piece::Areas(areas) => k.with(|s| s.map_luggage(pid, space, areas))?,
        Piece::Pages(pages) => {
            for (address, bytes) in pages {
                if bytes.len() != maize_abi::PAGE_SIZE {
                    return Err(Refused);
                }
                let written = k.write_space(current, space, address, &bytes).await;
                written.map_err(|_| Refused)?;
            }
        }
        Piece::Thread(thread) => k.with(|s| {
            let known = s.threads.contains_key(&Tid(thread.tid));
            let arrival = s.homes.arriving.get_mut(&pid).filter(|_| !known).ok_or(Refused)?;
            arrival.threads.push(thread);
            Ok(())
        })?,
        Piece::Process(process) => k.with(|s| s.complete(pid, process))?,
    }
    finish_steps(k, current, space).await.map_err(|_| Refused)
}
