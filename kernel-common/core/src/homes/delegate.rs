//! The home's side of a call that needs what the registry has.

use maize_abi::signal::SignalSet;
use maize_abi::{Errno, Sysno};
use maize_hal::{Arch, Nanos};
use maize_wire::InstanceId;

use super::record::RestartRecord;
use super::serve::{CallDone, CallRecord};
use crate::fabric::message::{Call, Message};
use crate::handle::Handle;
use crate::ids::{Pid, Tid};
use crate::state::State;
use crate::syscall;
use crate::thread::{Current, RestartBlock};
use crate::wait::Interruptible;

/// Who serves a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// The home.
    Home,
    /// The registry, which is another instance.
    Registry(InstanceId),
}

/// Whether a call only needs what the home has: threads, memory, signals. `fork`, `execve` and
/// mappings of files are begun at home and bring the process to the registry.
const fn is_served_at_home(call: Sysno) -> bool {
    use Sysno as N;
    matches!(
        call,
        N::Fork
            | N::Vfork
            | N::Clone
            | N::Clone3
            | N::Exit
            | N::ExitGroup
            | N::SetTidAddress
            | N::Execve
            | N::Execveat
            | N::Getpid
            | N::Gettid
            | N::Getppid
            | N::Prctl
            | N::ArchPrctl
            | N::RtSigaction
            | N::RtSigprocmask
            | N::RtSigpending
            | N::RtSigsuspend
            | N::RtSigtimedwait
            | N::RtSigreturn
            | N::Sigaltstack
            | N::Pause
            | N::ClockGettime
            | N::ClockGetres
            | N::ClockNanosleep
            | N::Nanosleep
            | N::RestartSyscall
            | N::Gettimeofday
            | N::Time
            | N::Times
            | N::Setitimer
            | N::Getitimer
            | N::Alarm
            | N::TimerCreate
            | N::TimerSettime
            | N::TimerGettime
            | N::TimerGetoverrun
            | N::TimerDelete
            | N::Syslog
            | N::Futex
            | N::SetRobustList
            | N::GetRobustList
            | N::Rseq
            | N::SchedYield
            | N::SchedGetaffinity
            | N::SchedSetaffinity
            | N::Getcpu
            | N::SchedGetscheduler
            | N::SchedSetscheduler
            | N::SchedGetparam
            | N::SchedSetparam
            | N::SchedGetattr
            | N::SchedSetattr
            | N::SchedGetPriorityMax
            | N::SchedGetPriorityMin
            | N::SchedRrGetInterval
            | N::Getpriority
            | N::Getrandom
            | N::Prlimit64
            | N::Getrlimit
            | N::Setrlimit
            | N::Getrusage
            | N::Mmap
            | N::Munmap
            | N::Mprotect
            | N::Mremap
            | N::Brk
            | N::Madvise
            | N::Msync
            | N::Mincore
            | N::Mlock
            | N::Mlock2
            | N::Munlock
            | N::Mlockall
            | N::Munlockall
            | N::Membarrier
            | N::Shmat
            | N::Shmdt
    )
}

/// Whether a registry serves a call for threads whose home is elsewhere.
pub(super) const fn is_served_for_others(call: Sysno) -> bool {
    // The last two say by their arguments whose they are.
    !is_served_at_home(call) || matches!(call, Sysno::Prctl | Sysno::RestartSyscall)
}

impl<A: Arch> State<A> {
    /// Who serves a call of a thread.
    pub(crate) fn server(&self, current: Current, call: Sysno, args: &[u64; 6]) -> Server {
        let registry = self.processes.get(&current.pid).and_then(|p| p.seat.registry);
        let Some(registry) = registry else { return Server::Home };
        let thread = self.threads.get(&current.tid);
        let own = |id: u64| id as u32 == current.pid.0;
        let home = match call {
            Sysno::Kill | Sysno::RtSigqueueinfo | Sysno::Tgkill | Sysno::RtTgsigqueueinfo => {
                own(args[0])
            }
            Sysno::Tkill => {
                self.threads.get(&Tid(args[0] as u32)).is_some_and(|t| t.process == current.pid)
            }
            // Of the caller itself.
            Sysno::Setpriority => (args[0] as i32, args[1] as i32) == (0, 0),
            Sysno::IoprioGet | Sysno::IoprioSet => (args[0] as i32, args[1] as i32) == (1, 0),
            Sysno::Prctl => {
                !super::place::is_about_another(args, current.pid)
                    && !syscall::is_about_capabilities(args[0] as i32)
            }
            // A poll looks at files.
            Sysno::RestartSyscall => {
                !matches!(thread.and_then(|t| t.restart), Some(RestartBlock::Poll { .. }))
            }
            call => is_served_at_home(call),
        };
        if home { Server::Home } else { Server::Registry(registry) }
    }

    fn ask_registry(
        &mut self,
        current: Current,
        registry: InstanceId,
        (number, args): (u64, [u64; 6]),
    ) -> Option<crate::fabric::RequestId> {
        let now = self.now();
        let space = self.thread_space(current.tid)?;
        let space = self.add_member(space, registry);
        let thread = self.threads.get_mut(&current.tid)?;
        let restart = thread.restart.take().map(|block| RestartRecord::of(block, now));
        let masks = (thread.mask.0, thread.saved_mask.map(|mask| mask.0));
        let call = CallRecord { space, pid: current.pid.0, number, args, masks, restart };
        self.stats.fabric.calls_asked += 1;
        Some(self.ask(registry, current.tid.0, |id| Call { id, call }.into()))
    }

    fn take_result(&mut self, current: Current, done: CallDone) -> Result<u64, Errno> {
        let now = self.now();
        if let Some(thread) = self.threads.get_mut(&current.tid) {
            thread.mask = SignalSet(done.masks.0).blockable();
            thread.saved_mask = done.masks.1.map(SignalSet);
            thread.restart = done.restart.map(|record| record.block(now));
        }
        if let Some(process) = self.processes.get_mut(&current.pid) {
            process.children_time = (Nanos(done.children.0), Nanos(done.children.1));
        }
        done.result.map_err(Errno::from_number)
    }
}

/// Whether a call opens what `/proc` says of the caller itself, which only who has its body can say.
async fn opens_own_facts<A: Arch>(
    k: &Handle<A>,
    current: Current,
    sysno: Sysno,
    args: &[u64; 6],
) -> bool {
    let path = match sysno {
        Sysno::Open => args[0],
        Sysno::Openat | Sysno::Openat2 => args[1],
        _ => return false,
    };
    let mut start = [0; PROC.len() + 24];
    // A path that cannot be read is the call's to refuse.
    let Ok(len) = k.read_user_string(current, path, &mut start).await else { return false };
    is_own_fact(&start[..len], current.pid)
}

const PROC: &[u8] = b"/proc/";

/// Whether a path, or its start, leads below the directory of a process in `/proc`.
fn is_own_fact(path: &[u8], pid: Pid) -> bool {
    let Some(rest) = path.strip_prefix(PROC) else { return false };
    let name = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
    let number = core::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
    name == b"self" || name == b"thread-self" || number == Some(pid.0)
}

/// Has the registry serve a call. A signal cancels it, and the answer says how far it has come.
pub(crate) async fn delegate<A: Arch>(
    k: &Handle<A>,
    current: Current,
    registry: InstanceId,
    (sysno, call): (Sysno, (u64, [u64; 6])),
) -> Result<u64, Errno> {
    if opens_own_facts(k, current, sysno, &call.1).await {
        k.at_registry(current)?;
    }
    let id = k.with(|s| s.ask_registry(current, registry, call)).ok_or(Errno::ESRCH)?;
    match k.answer(current.task, registry, id, Interruptible::BySignals).await.as_deref() {
        Ok(Message::Called(called)) => match k.with(|s| s.take_result(current, called.done)) {
            Err(Errno::ERESTART_AT_REGISTRY) => {
                k.at_registry(current)?;
                Err(Errno::ERESTARTNOINTR)
            }
            result => result,
        },
        // Without its registry the process ends.
        Ok(_) | Err(_) => Err(Errno::EIO),
    }
}

impl<A: Arch> Handle<A> {
    /// For a call that can only be served at the registry, and needs memory and threads there: has
    /// the process go to it, where the call begins anew.
    ///
    /// # Errors
    /// Such that the call is begun anew, if the process is elsewhere.
    pub(crate) fn at_registry(&self, current: Current) -> Result<(), Errno> {
        let registry = self.with(|s| s.processes.get(&current.pid).and_then(|p| p.seat.registry));
        let Some(registry) = registry else { return Ok(()) };
        if !self.with(|s| s.is_leaving(current.tid)) {
            self.with(|s| s.start_move(self, current.pid, registry))?;
        }
        Err(Errno::ERESTARTNOINTR)
    }
}

/// The process that an argument names; 0 is the caller's.
pub(super) fn named(argument: u64, own: Pid) -> Pid {
    if argument as u32 == 0 { own } else { Pid(argument as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_callers_own_directory_is_its_own() {
        let own = |path: &str| is_own_fact(path.as_bytes(), Pid(12));
        assert!(own("/proc/self/maps") && own("/proc/thread-self/stat") && own("/proc/12/status"));
        assert!(!own("/proc/13/status") && !own("/proc/cpuinfo") && !own("/proc") && !own("self"));
    }

    #[test]
    fn what_is_served_at_home_is_not_served_for_others() {
        assert!(is_served_at_home(Sysno::Mmap) && !is_served_for_others(Sysno::Mmap));
        assert!(!is_served_at_home(Sysno::Read) && is_served_for_others(Sysno::Read));
        assert!(is_served_for_others(Sysno::Prctl) && !is_served_for_others(Sysno::Fork));
    }
}
