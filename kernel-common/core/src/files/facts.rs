//! The facts that `/proc` shows.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use maize_abi::Isa;
use maize_abi::message_queue::MsqidDs;
use maize_abi::pte::Access;
use maize_abi::semaphore::SemidDs;
use maize_abi::shm::ShmidDs;
use maize_abi::signal::{SigAction, Signal, SignalSet};
use maize_hal::{Arch, Nanos};
use maize_mm::{AreaFlags, AreaUsage, PageStore, Sharing};
use maize_vfs::{Area, FdTable, FileId, Memory, ProcSource, System, SystemMemory, Task, View};

use super::env::Env;
use crate::ids::{Pid, Tid};
use crate::process::{Life, Process, rlimit};
use crate::syscall::UTS;
use crate::wait::Interruptible;

const PAGE: u64 = maize_abi::PAGE_SIZE as u64;

impl<A: Arch> Env<'_, A> {
    fn process(&self, pid: u32) -> Option<&Process> {
        self.processes.get(&Pid(pid))
    }

    /// A process that still has memory: a zombie's arguments are gone with it.
    fn running(&self, pid: u32) -> Option<&Process> {
        self.process(pid).filter(|process| !matches!(process.life, Life::Zombie(_)))
    }

    /// As in Linux, who waits for something that signals do not interrupt, such as a page of another instance, is
    /// told from who sleeps.
    fn state(&self, process: &Process, tid: u32) -> char {
        match (process.life, self.threads.get(&Tid(tid))) {
            (Life::Zombie(_), _) | (_, None) => 'Z',
            _ if process.stopped => 'T',
            // Its task waits, but the thread runs: somewhere else.
            (_, Some(thread)) if thread.away.is_some() => 'R',
            (_, Some(thread)) => match self.waits.sleep(thread.task) {
                Some(Interruptible::BySignals) => 'S',
                Some(_) => 'D',
                None => 'R',
            },
        }
    }

    fn memory(&self, process: &Process, tid: u32) -> Memory {
        let Some(space) = process.space else { return Memory::default() };
        let Ok(usage) = self.store.memory().space_usage(space) else { return Memory::default() };
        let stack = self.threads.get(&Tid(tid)).map_or(0, |thread| thread.regs.sp());
        Memory {
            total: usage.mapped,
            peak: usage.mapped,
            resident: usage.resident,
            shared: 0,
            text: usage.text,
            data: usage.data.saturating_sub(usage.stack),
            stack: usage.stack,
            stack_start: stack,
            code: (0, 0),
        }
    }

    fn mapped(&self, pid: u32, from: u64) -> impl Iterator<Item = &maize_mm::Area> {
        let space = self.process(pid).and_then(|process| process.space);
        space
            .and_then(|space| self.store.memory().areas_from(space, from).ok())
            .into_iter()
            .flatten()
    }

    /// User and system time of a thread, the time it is in user mode now left out.
    fn times(&self, tid: Tid) -> (Nanos, Nanos) {
        self.threads.get(&tid).map_or((Nanos(0), Nanos(0)), |t| (t.user_time, t.system_time))
    }
}

/// What `/proc` shows of an area.
fn shown(area: &maize_mm::Area) -> Area {
    let label = area.label.as_deref();
    let name = match label {
        Some(label) => label.path.clone(),
        None if area.flags.contains(AreaFlags::HEAP) => "[heap]".into(),
        None if area.flags.contains(AreaFlags::STACK) => "[stack]".into(),
        None => String::new(),
    };
    Area {
        start: area.start,
        end: area.end,
        access: [Access::READ, Access::WRITE, Access::EXECUTE]
            .map(|access| area.access.contains(access)),
        shared: area.sharing == Sharing::Shared,
        offset: if label.is_some_and(|l| l.inode != 0) { area.first * PAGE } else { 0 },
        identity: label.map_or((0, 0), |label| (label.device, label.inode)),
        name: name.into_bytes(),
    }
}

/// The signals that a process ignores, and those it has handlers for.
fn dispositions(actions: &[SigAction; 64]) -> (SignalSet, SignalSet) {
    let mut sets = (SignalSet::EMPTY, SignalSet::EMPTY);
    for (number, action) in (1..).zip(actions) {
        let Some(signal) = Signal::new(number) else { continue };
        match action.handler {
            SigAction::SIG_DFL => {}
            SigAction::SIG_IGN => sets.0.insert(signal),
            _ => sets.1.insert(signal),
        }
    }
    sets
}

impl<A: Arch> ProcSource for Env<'_, A> {
    fn processes(&self) -> Vec<u32> {
        self.processes.keys().map(|pid| pid.0).collect()
    }

    fn threads(&self, pid: u32) -> Vec<u32> {
        let Some(process) = self.process(pid) else { return Vec::new() };
        let mut threads: Vec<u32> = process.threads.iter().map(|tid| tid.0).collect();
        // A process without threads, ended or the kernel's own, is shown as one.
        if threads.first() != Some(&pid) {
            threads.insert(0, pid);
        }
        threads
    }

    fn task(&self, pid: u32, tid: u32) -> Option<Task> {
        let process = self.process(pid)?;
        let thread = self.threads.get(&Tid(tid));
        let (ignored, handled) = dispositions(&process.actions);
        let threads = process.threads.iter();
        let whole = threads
            .map(|tid| self.times(*tid))
            .fold((process.user_time, process.system_time), |(user, system), (u, s)| {
                (user + u, system + s)
            });
        let comm = match thread {
            Some(thread) => &thread.comm[..],
            None if pid == Pid::INIT.0 => b"maize",
            None => process.exe.rsplit(|byte| *byte == b'/').next().unwrap_or_default(),
        };
        let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
        let last_cpu = self.cpus.saturating_sub(1);
        let affinity = if last_cpu == 0 { "0".to_string() } else { format!("0-{last_cpu}") };
        Some(Task {
            name: name[..name.len().min(15)].to_vec(),
            state: if pid == Pid::INIT.0 { 'S' } else { self.state(process, tid) },
            parent: process.parent.0,
            group: process.group.0,
            session: process.session.0,
            threads: process.threads.len().max(1),
            started: thread.map_or(process.started, |thread| thread.started),
            times: if tid == pid { whole } else { self.times(Tid(tid)) },
            child_times: process.children_time,
            cpu: thread.map_or(self.cpu, |thread| u32::from(thread.last_place.0)),
            affinity: (affinity, self.cpus),
            nice: thread.map_or(0, |thread| i32::from(thread.nice)),
            signals: [
                thread.map_or(SignalSet::EMPTY, |thread| thread.pending.set()),
                process.pending.set(),
                thread.map_or(SignalSet::EMPTY, |thread| thread.mask),
                ignored,
                handled,
            ],
            memory: self.memory(process, tid),
            uids: process.credentials.user.all(),
            capabilities: process.credentials.capabilities.all(),
            gids: process.credentials.group.all(),
            ..Task::default()
        })
    }

    fn descriptors(&self, pid: u32) -> Option<&FdTable> {
        self.sets.table(self.process(pid)?.files).ok()
    }

    fn view(&self, pid: u32) -> Option<&View> {
        self.sets.view(self.process(pid)?.files).ok()
    }

    fn executable(&self, pid: u32) -> Option<FileId> {
        self.sets.program(self.process(pid)?.files)
    }

    fn arguments(&self, pid: u32) -> Vec<u8> {
        self.running(pid).map(|process| process.cmdline.to_vec()).unwrap_or_default()
    }

    fn environment(&self, pid: u32) -> Vec<u8> {
        self.running(pid).map(|process| process.environment.to_vec()).unwrap_or_default()
    }

    fn auxiliary_vector(&self, pid: u32) -> Vec<u8> {
        self.running(pid).map(|process| process.auxv.to_vec()).unwrap_or_default()
    }

    fn areas(&self, pid: u32, from: u64, most: usize) -> Vec<Area> {
        self.mapped(pid, from).take(most).map(shown).collect()
    }

    fn areas_in_use(&self, pid: u32, from: u64, most: usize) -> Vec<(Area, AreaUsage)> {
        let memory = self.store.memory();
        let areas = self.mapped(pid, from).take(most);
        areas.map(|area| (shown(area), memory.area_usage(area))).collect()
    }

    fn limits(&self, pid: u32) -> [(u64, u64); rlimit::COUNT] {
        self.process(pid).map_or([(0, 0); rlimit::COUNT], |process| {
            process.limits.map(|limit| (limit.soft, limit.hard))
        })
    }

    fn session_of_group(&self, group: u32) -> Option<u32> {
        let mut members = self.processes.values();
        members.find(|process| process.group.0 == group).map(|process| process.session.0)
    }

    fn segments(&self) -> Vec<(i32, ShmidDs, u64)> {
        let all = self.segments.told(self.store.memory(), self.processes);
        all.map(|(id, object, facts)| {
            let pages = self.store.resident_pages(object).unwrap_or(0);
            (id, facts, pages * PAGE)
        })
        .collect()
    }

    fn message_queues(&self) -> Vec<(i32, MsqidDs)> {
        self.message_queues.iter().map(|(id, queue)| (id, queue.told())).collect()
    }

    fn semaphores(&self) -> Vec<(i32, SemidDs)> {
        self.semaphores.sets().iter().map(|(id, set)| (id, *set.facts())).collect()
    }

    fn system(&self) -> System {
        let machine = self.store.machine();
        let usage = self.store.memory().usage();
        let (user, system) = self
            .threads
            .values()
            .map(|thread| (thread.user_time, thread.system_time))
            .chain(self.processes.values().map(|p| (p.user_time, p.system_time)))
            .fold((Nanos(0), Nanos(0)), |(user, system), (u, s)| (user + u, system + s));
        let idle = machine.now().since(user + system);
        System {
            uptime: (machine.now(), idle),
            booted: machine.boot_time(),
            load: [0; 3],
            threads: (self.run_queue.len() + 1, self.threads.len()),
            last_pid: self.threads.keys().next_back().map_or(0, |tid| tid.0),
            forks: self.stats.threads_started,
            switches: self.stats.switches,
            interrupts: self.stats.traps,
            // Of the other cores it is known that they are there.
            cpu_times: (0..self.cpus)
                .map(|cpu| if cpu == self.cpu { [user, system, idle] } else { [Nanos(0); 3] })
                .collect(),
            memory: SystemMemory {
                total_pages: usage.total,
                free_pages: usage.free + usage.reclaimable,
                file_pages: usage.reclaimable,
                anonymous_pages: usage.total - usage.free - usage.reclaimable,
                ..SystemMemory::default()
            },
            host_name: String::from_utf8_lossy(self.hostname).into_owned(),
            release: UTS[1].to_string(),
            version: UTS[2].to_string(),
            command_line: String::new(),
            boot_id: *self.boot_id,
        }
    }

    fn cpus(&self) -> Vec<Vec<(&'static str, String)>> {
        let lines = self.store.machine().describe_cpu();
        (0..self.cpus).map(|_| lines.clone()).collect()
    }

    fn counters(&self) -> Vec<(&'static str, String)> {
        let lines = self.stats.counters().into_iter();
        alloc::vec![
            ("counters", lines.map(|(name, count)| format!("{name} {count}\n")).collect()),
            ("isa", format!("{}\n", <A::Isa as Isa>::NAME)),
        ]
    }
}
