//! From a call's name to what serves it.

use maize_abi::{Errno, Sysno};
use maize_hal::Arch;

use super::credentials::Kind;
use super::{
    Call, capabilities, credentials, files, fork, futex, identity, limits, memory, message_queues,
    sched, semaphores, shm, signal, system, time, timers, wait,
};
use crate::lifecycle;

/// Serves `sysno`. `Ok(None)` leaves the thread's registers as the call has set them.
pub(super) async fn dispatch<A: Arch>(
    call: Call<'_, A>,
    sysno: Sysno,
) -> Result<Option<u64>, Errno> {
    use Sysno as N;
    let result = match sysno {
        // Processes and threads.
        N::Fork => fork::fork(call).await,
        N::Vfork => fork::vfork(call).await,
        N::Clone => fork::clone(call).await,
        N::Clone3 => fork::clone3(call).await,
        N::Exit => fork::exit(call),
        N::ExitGroup => fork::exit_group(call),
        N::SetTidAddress => fork::set_tid_address(call),
        N::Wait4 => wait::wait4(call).await,
        N::Waitid => wait::waitid(call).await,
        N::Execve => return lifecycle::execve(call).await.map(|()| None),
        N::Execveat => return lifecycle::execveat(call).await.map(|()| None),

        // Identity.
        N::Getpid => identity::getpid(call),
        N::Gettid => identity::gettid(call),
        N::Getppid => identity::getppid(call),
        N::Setpgid => identity::setpgid(call),
        N::Getpgid => identity::getpgid(call),
        N::Getpgrp => identity::getpgrp(call),
        N::Getsid => identity::getsid(call),
        N::Setsid => identity::setsid(call),
        N::Getuid => credentials::real(call, Kind::User),
        N::Getgid => credentials::real(call, Kind::Group),
        N::Geteuid => credentials::effective(call, Kind::User),
        N::Getegid => credentials::effective(call, Kind::Group),
        N::Getresuid => credentials::get_three(call, Kind::User).await,
        N::Getresgid => credentials::get_three(call, Kind::Group).await,
        N::Setuid => credentials::set(call, Kind::User),
        N::Setgid => credentials::set(call, Kind::Group),
        N::Setreuid => credentials::set_two(call, Kind::User),
        N::Setregid => credentials::set_two(call, Kind::Group),
        N::Setresuid => credentials::set_three(call, Kind::User),
        N::Setresgid => credentials::set_three(call, Kind::Group),
        N::Setfsuid => credentials::set_for_files(call, Kind::User),
        N::Setfsgid => credentials::set_for_files(call, Kind::Group),
        N::Getgroups => credentials::getgroups(call).await,
        N::Setgroups => credentials::setgroups(call).await,
        N::Capget => capabilities::capget(call).await,
        N::Capset => capabilities::capset(call).await,
        N::Prctl => identity::prctl(call).await,
        N::ArchPrctl => identity::arch_prctl(call).await,

        // Signals.
        N::RtSigaction => signal::rt_sigaction(call).await,
        N::RtSigprocmask => signal::rt_sigprocmask(call).await,
        N::RtSigpending => signal::rt_sigpending(call).await,
        N::RtSigsuspend => signal::rt_sigsuspend(call).await,
        N::RtSigtimedwait => signal::rt_sigtimedwait(call).await,
        N::RtSigqueueinfo => signal::rt_sigqueueinfo(call).await,
        N::RtTgsigqueueinfo => signal::rt_tgsigqueueinfo(call).await,
        N::Sigaltstack => signal::sigaltstack(call).await,
        N::Kill => signal::kill(call),
        N::Tkill => signal::tkill(call).await,
        N::Tgkill => signal::tgkill(call).await,
        N::Pause => signal::pause(call).await,

        // Time.
        N::ClockGettime => time::clock_gettime(call).await,
        N::ClockGetres => time::clock_getres(call).await,
        N::ClockNanosleep => time::clock_nanosleep(call).await,
        N::Nanosleep => time::nanosleep(call).await,
        N::RestartSyscall => time::restart_syscall(call).await,
        N::Gettimeofday => time::gettimeofday(call).await,
        N::Time => time::time(call).await,
        N::Times => time::times(call).await,
        N::Setitimer => time::setitimer(call).await,
        N::Getitimer => time::getitimer(call).await,
        N::Alarm => time::alarm(call),
        N::TimerCreate => timers::create(call).await,
        N::TimerSettime => timers::settime(call).await,
        N::TimerGettime => timers::gettime(call).await,
        N::TimerGetoverrun => timers::getoverrun(call),
        N::TimerDelete => timers::delete(call),

        // Synchronisation and scheduling.
        N::Futex => futex::futex(call).await,
        N::SetRobustList => futex::set_robust_list(call),
        N::GetRobustList => futex::get_robust_list(call).await,
        N::Rseq => sched::rseq_register(call).await,
        N::SchedYield => sched::sched_yield(call).await,
        N::SchedGetaffinity => sched::sched_getaffinity(call).await,
        N::SchedSetaffinity => sched::sched_setaffinity(call).await,
        N::SchedGetscheduler => sched::sched_getscheduler(call),
        N::SchedSetscheduler => sched::sched_setscheduler(call).await,
        N::SchedGetparam => sched::sched_getparam(call).await,
        N::SchedSetparam => sched::sched_setparam(call).await,
        N::SchedGetattr => sched::sched_getattr(call).await,
        N::SchedSetattr => sched::sched_setattr(call).await,
        N::SchedGetPriorityMax => sched::priority_bound(call, 99),
        N::SchedGetPriorityMin => sched::priority_bound(call, 1),
        N::SchedRrGetInterval => sched::sched_rr_get_interval(call).await,
        N::Getpriority => sched::getpriority(call),
        N::Setpriority => sched::setpriority(call),
        N::Getcpu => sched::getcpu(call).await,
        N::IoprioGet => sched::ioprio_get(call),
        N::IoprioSet => sched::ioprio_set(call),

        // System V shared memory.
        N::Shmget => shm::shmget(call),
        N::Shmat => shm::shmat(call).await,
        N::Shmdt => shm::shmdt(call).await,
        N::Shmctl => shm::shmctl(call).await,

        // System V message queues.
        N::Msgget => message_queues::msgget(call),
        N::Msgsnd => message_queues::msgsnd(call).await,
        N::Msgrcv => message_queues::msgrcv(call).await,
        N::Msgctl => message_queues::msgctl(call).await,

        // System V semaphores.
        N::Semget => semaphores::semget(call),
        N::Semop => semaphores::semop(call).await,
        N::Semtimedop => semaphores::semtimedop(call).await,
        N::Semctl => semaphores::semctl(call).await,

        // The system and its limits.
        N::Personality => system::personality(call),
        N::Uname => system::uname(call).await,
        N::Sethostname => system::sethostname(call).await,
        N::Sysinfo => system::sysinfo(call).await,
        N::Getrandom => system::getrandom(call).await,
        N::Syslog => system::syslog(call).await,
        N::Prlimit64 => limits::prlimit64(call).await,
        N::Getrlimit => limits::getrlimit(call).await,
        N::Setrlimit => limits::setrlimit(call).await,
        N::Getrusage => limits::getrusage(call).await,

        other => match memory::dispatch(call, other).await {
            Some(result) => result,
            None => match files::dispatch(call, other).await {
                Some(result) => result,
                None => {
                    call.k.with(|s| s.stats.count_unserved(other));
                    Err(Errno::ENOSYS)
                }
            },
        },
    };
    result.map(Some)
}
