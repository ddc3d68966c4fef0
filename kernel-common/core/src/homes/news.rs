//! What a registry and a home tell each other of a process, without an answer.

use maize_abi::signal::{SigInfo, Signal, SignalSet, si_code};
use maize_hal::{Arch, Nanos, Report};
use maize_wire::InstanceId;
use serde::{Deserialize, Serialize};

use super::record::SignalRecord;
use crate::fabric::message::Tell;
use crate::handle::Handle;
use crate::ids::{Pid, Tid};
use crate::process::Life;
use crate::state::State;
use crate::wait::WaitKey;

/// Something about a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum News {
    /// To the home: a signal for the process or one of its threads, and whether the process's group is
    /// orphaned.
    Signal { tid: Option<u32>, signal: SignalRecord, orphaned: bool },
    /// To the home: the process's parent has ended.
    Orphaned,
    /// To the home: a call that is served for a thread has set a mask for its time.
    Masked { tid: u32, mask: u64 },
    /// To the home: the process is of this user from now on.
    User { real: u32 },
    /// To the home: the process is to go there.
    Go { to: u16 },
    /// To where a process has arrived: it is this instance's.
    Start,
    /// To where a process was arriving: it does not come.
    Discard,
    /// To the registry: the process has ended, with this status and these times.
    Ended { status: u32, user: u64, system: u64, children: (u64, u64) },
    /// To the registry: the process was stopped or continued: `si_code` and `si_status`.
    Changed { code: i32, status: i32 },
    /// To the registry: the process's action for a signal that the registry looks at.
    Action { signal: u8, handler: u64, flags: u64 },
    /// To the registry: the process has been sent there, or stays if that is its home.
    Moved { to: u16 },
}

impl<A: Arch> State<A> {
    /// Tells a peer something about a process.
    pub(crate) fn tell_news(&mut self, to: InstanceId, pid: Pid, news: News) {
        self.post(to, Tell { pid: pid.0, news }.into(), None);
    }

    /// At the registry: tells a process's home, or keeps it while the process is on its way. False if
    /// the process is here.
    pub(crate) fn tell_home(&mut self, pid: Pid, news: News) -> bool {
        let Some(process) = self.processes.get_mut(&pid) else { return false };
        if let Some((_, held)) = process.seat.held.as_mut() {
            held.push(news);
            return true;
        }
        let Some(home) = process.seat.away else { return false };
        self.tell_news(home, pid, news);
        true
    }

    /// If signals for the process are to be sent on, sends this one. False if they are taken here.
    pub(crate) fn pass_signal_on(&mut self, pid: Pid, tid: Option<Tid>, info: SigInfo) -> bool {
        let Some(process) = self.processes.get(&pid) else { return false };
        let seat = &process.seat;
        if seat.away.is_none() && seat.held.is_none() && !seat.sealed {
            return false;
        }
        let orphaned = self.is_orphaned_group(pid);
        let signal = SignalRecord::from(info);
        let news = News::Signal { tid: tid.map(|tid| tid.0), signal, orphaned };
        match (process.seat.registry, process.seat.sealed) {
            // The registry sends it to where the process arrives.
            (Some(registry), true) => {
                self.tell_news(registry, pid, news);
                true
            }
            (Some(_), false) => false,
            (None, _) => self.tell_home(pid, news),
        }
    }

    /// A peer tells something about a process.
    pub(crate) fn on_news(&mut self, k: &Handle<A>, from: InstanceId, pid: Pid, news: News) {
        let Some(process) = self.processes.get(&pid) else {
            match news {
                News::Start => self.start_arrived(k, pid, from),
                News::Discard => self.discard_arrival(pid, from),
                // The process has ended here, which the peer will hear.
                _ => {}
            }
            return;
        };
        let from_registry = process.seat.registry == Some(from);
        let from_home = process.seat.away == Some(from);
        match news {
            News::Signal { tid, signal, .. } if from_home => {
                // From a home that has already packed: it goes where the process goes.
                if let Some(info) = signal.info() {
                    self.pass_signal_on(pid, tid.map(Tid), info);
                }
            }
            News::Discard => self.discard_arrival(pid, from),
            _ if from_registry => self.on_registry_news(k, pid, news),
            _ if from_home => self.on_home_news(k, from, pid, news),
            // Late: the process has gone on.
            _ => {}
        }
    }

    fn on_registry_news(&mut self, k: &Handle<A>, pid: Pid, news: News) {
        match news {
            News::Signal { tid, signal, orphaned } => {
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.seat.orphaned = orphaned;
                }
                let Some(info) = signal.info() else { return };
                // A thread that has ended, or a queue that is full, has no one left to be told.
                let _ = match tid {
                    Some(tid) if self.threads.get(&Tid(tid)).is_some_and(|t| t.process == pid) => {
                        self.send_to_thread(Tid(tid), info)
                    }
                    Some(_) => Ok(()),
                    None => self.send_to_process(pid, info),
                };
            }
            News::Orphaned => self.become_orphan(pid),
            News::Masked { tid, mask } => {
                let tid = Tid(tid);
                if self.threads.get(&tid).is_some_and(|t| t.process == pid && t.guest.is_none()) {
                    self.set_temporary_mask(tid, SignalSet(mask));
                    self.interrupt(tid);
                }
            }
            News::User { real } => {
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.credentials.user.real = real;
                }
            }
            News::Go { to } => {
                if let Err(errno) = self.start_move(k, pid, InstanceId(to)) {
                    log::info!("process {pid} cannot go to {to}: {errno}");
                }
            }
            _ => {}
        }
    }

    fn on_home_news(&mut self, k: &Handle<A>, from: InstanceId, pid: Pid, news: News) {
        match news {
            News::Ended { status, user, system, children } => {
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.user_time = Nanos(user);
                    process.system_time = Nanos(system);
                    process.children_time = (Nanos(children.0), Nanos(children.1));
                }
                self.ended_away(pid, status);
            }
            News::Changed { code, status } => {
                let Some(process) = self.processes.get_mut(&pid) else { return };
                let stopped = code == si_code::CLD_STOPPED;
                process.stopped = stopped;
                process.unreported.stopped = stopped.then_some(status as u8);
                process.unreported.continued = !stopped;
                let parent = process.parent;
                self.notify_parent(pid, parent, code, status);
            }
            News::Action { signal, handler, flags } => {
                let slot = Signal::new(u64::from(signal)).map(|s| usize::from(s.number()) - 1);
                if let (Some(process), Some(slot)) = (self.processes.get_mut(&pid), slot) {
                    process.actions[slot].handler = handler;
                    process.actions[slot].flags = flags;
                }
            }
            News::Moved { to } => self.has_moved(k, from, pid, InstanceId(to)),
            _ => {}
        }
    }

    /// At the registry: a process whose home is elsewhere has ended.
    pub(crate) fn ended_away(&mut self, pid: Pid, status: u32) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.seat.away = None;
        process.seat.held = None;
        // Who looks for a thread of it.
        self.wake(WaitKey::Unparked(pid));
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.life == Life::Alive {
            process.life = Life::Exiting(status);
        }
        let files = process.files;
        self.release_files(files);
        self.become_zombie(pid);
    }

    /// A peer is dead: processes whose home it was have ended, and those whose registry it was cannot
    /// go on.
    pub(crate) fn homes_peer_died(&mut self, peer: InstanceId) {
        let of = |which: fn(&super::Seat) -> Option<InstanceId>| {
            move |(_, p): &(&Pid, &crate::process::Process)| which(&p.seat) == Some(peer)
        };
        let lost = self.processes.iter().filter(of(|seat| seat.away)).map(|(pid, _)| *pid);
        for pid in lost.collect::<alloc::vec::Vec<_>>() {
            let text = alloc::format!("process {pid} was on {peer}, which is gone: it ends");
            log::error!("{text}");
            self.host.report(Report::Fault { text });
            let held = self.processes.get_mut(&pid).and_then(|process| process.seat.held.take());
            if let Some((to, _)) = held {
                self.tell_news(to, pid, News::Discard);
            }
            self.ended_away(pid, u32::from(Signal::SIGKILL.number()));
        }
        let bereft = self.processes.iter().filter(of(|seat| seat.registry)).map(|(pid, _)| *pid);
        for pid in bereft.collect::<alloc::vec::Vec<_>>() {
            self.begin_group_exit(pid, u32::from(Signal::SIGKILL.number()));
        }
        self.discard_arrivals_of(peer);
    }
}
