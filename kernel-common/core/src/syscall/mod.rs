//! System calls.
//!
//! A call is an `async fn` of three parts: *import* reads arguments and user memory and may wait;
//! the *effect* is one step, in one closure of [`Handle::with`]; *export* writes results to user
//! memory. A call that a signal meets in its import returns an `ERESTART…` error and leaves nothing
//! behind.

use maize_abi::migration::{ASK, LEAVE};
use maize_abi::{Errno, Isa, IsaKind, Sysno};
use maize_hal::Arch;

use crate::handle::Handle;
use crate::homes::{self, Server};
use crate::state::State;
use crate::thread::{Current, InterruptedCall};

mod capabilities;
mod clock;
mod credentials;
mod dispatch;
mod files;
mod fork;
mod futex;
mod identity;
mod limits;
mod membarrier;
mod memory;
mod message_queues;
mod sched;
mod semaphores;
mod shm;
mod signal;
mod system;
mod time;
mod timers;
mod wait;

pub(crate) use capabilities::is_about_capabilities;
pub(crate) use futex::FutexOp;
pub(crate) use memory::Mappable;
pub(crate) use system::UTS;

/// What a system call is given.
pub(crate) struct Call<'a, A: Arch> {
    pub(crate) k: &'a Handle<A>,
    pub(crate) current: Current,
    /// The instruction set that the thread runs on: numbers, flags and structures are its.
    pub(crate) isa: IsaKind,
    /// The six argument registers.
    pub(crate) args: [u64; 6],
}

impl<A: Arch> Clone for Call<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Arch> Copy for Call<'_, A> {}

/// What a system call returns: the value, or the error.
pub(crate) type CallResult = Result<u64, Errno>;

impl<A: Arch> Call<'_, A> {
    /// Argument `n` as a 32-bit `int`, the upper half ignored as C does.
    pub(crate) fn int(&self, n: usize) -> i32 {
        self.args[n] as i32
    }

    /// Argument `n` as an `unsigned int`.
    pub(crate) fn uint(&self, n: usize) -> u32 {
        self.args[n] as u32
    }
}

/// Whether a call makes the kernel keep something new for the program, which takes memory of the
/// kernel's heap until it is given back. What others allocate ends with the call, or is bounded by
/// the program's pages.
const fn makes_something(call: Sysno) -> bool {
    use Sysno as N;
    matches!(
        call,
        N::Fork
            | N::Vfork
            | N::Clone
            | N::Clone3
            | N::Execve
            | N::Execveat
            | N::Open
            | N::Openat
            | N::Creat
            | N::Dup
            | N::Dup2
            | N::Dup3
            | N::Pipe
            | N::Pipe2
            | N::MemfdCreate
            | N::PidfdOpen
            | N::PidfdGetfd
            | N::Eventfd
            | N::Eventfd2
            | N::Signalfd
            | N::Signalfd4
            | N::TimerCreate
            | N::TimerSettime
            | N::TimerfdCreate
            | N::TimerfdSettime
            | N::EpollCreate
            | N::EpollCreate1
            | N::EpollCtl
            | N::Socket
            | N::Socketpair
            | N::Accept
            | N::Accept4
            | N::Bind
            | N::Connect
            | N::Sendto
            | N::Sendmsg
            | N::Sendmmsg
            | N::Splice
            | N::Tee
            | N::Vmsplice
            | N::Mkdir
            | N::Mkdirat
            | N::Mknod
            | N::Mknodat
            | N::Link
            | N::Linkat
            | N::Symlink
            | N::Symlinkat
            | N::Mmap
            | N::Mprotect
            | N::Mremap
            | N::RtSigqueueinfo
            | N::RtTgsigqueueinfo
            | N::Msgget
            | N::Msgsnd
            | N::Semget
            | N::Semop
            | N::Semtimedop
    )
}

impl<A: Arch> State<A> {
    /// A call that only ended because the process leaves goes on where it arrives.
    fn begin_again(
        &self,
        current: Current,
        result: Result<Option<u64>, Errno>,
    ) -> Result<Option<u64>, Errno> {
        match result {
            Err(Errno::EINTR)
                if self.is_leaving(current.tid)
                    && !self.must_exit(current.tid)
                    && !self.has_signal(current.tid) =>
            {
                Err(Errno::ERESTARTNOINTR)
            }
            result => result,
        }
    }
}

/// Serves a call for a thread whose home is another instance.
pub(crate) async fn serve<A: Arch>(
    k: &Handle<A>,
    current: Current,
    sysno: Sysno,
    args: [u64; 6],
) -> Result<Option<u64>, Errno> {
    if makes_something(sysno) && k.with(|s| s.memory.heap_is_low()) {
        return Err(Errno::ENOMEM);
    }
    let isa = <A::Isa as Isa>::KIND;
    dispatch::dispatch(Call { k, current, isa, args }, sysno).await
}

/// Serves the system call that the thread trapped with.
pub(crate) async fn handle<A: Arch>(k: &Handle<A>, current: Current) {
    let Some((isa, number, args)) = k.with(|s| {
        let thread = s.threads.get_mut(&current.tid)?;
        thread.interrupted_call = None;
        Some((thread.isa(), thread.regs.syscall_number(), thread.regs.syscall_args()))
    }) else {
        return;
    };
    if number == LEAVE {
        let left = k.with(|s| s.leave(current, args));
        if let Err(errno) = left {
            k.with(|s| s.set_result(current.tid, Err(errno)));
        }
        return;
    }
    if number == ASK {
        let [wish, ..] = args;
        return k.with(|s| {
            let result = s.ask_itself(current, wish);
            s.set_result(current.tid, result);
        });
    }
    let known =
        usize::try_from(number).ok().and_then(|n| isa.syscalls().get(n)).and_then(|call| *call);
    let Some(sysno) = known else {
        k.with(|s| {
            s.stats.count_unknown_number(number);
            s.set_result(current.tid, Err(Errno::ENOSYS));
        });
        return;
    };
    k.with(|s| s.stats.count_syscall(sysno));
    if makes_something(sysno) && k.with(|s| s.memory.heap_is_low()) {
        return k.with(|s| s.set_result(current.tid, Err(Errno::ENOMEM)));
    }
    let call = Call { k, current, isa, args };
    if sysno == Sysno::RtSigreturn {
        // Its result is the register as it was, not a return value.
        return signal::rt_sigreturn(call).await;
    }
    let result = match k.with(|s| s.server(current, sysno, &args)) {
        Server::Home => dispatch::dispatch(call, sysno).await,
        Server::Registry(registry) => {
            homes::delegate(k, current, registry, (sysno, (number, args))).await.map(Some)
        }
    };
    k.with(|s| match s.begin_again(current, result) {
        Ok(None) => {}
        Ok(Some(value)) => s.set_result(current.tid, Ok(value)),
        Err(
            how @ (Errno::ERESTARTSYS
            | Errno::ERESTARTNOINTR
            | Errno::ERESTARTNOHAND
            | Errno::ERESTART_RESTARTBLOCK),
        ) => {
            if let Some(thread) = s.threads.get_mut(&current.tid) {
                thread.interrupted_call = Some(InterruptedCall { number, arg0: args[0], how });
            }
        }
        Err(errno) => s.set_result(current.tid, Err(errno)),
    });
}
