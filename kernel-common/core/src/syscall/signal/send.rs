//! Calls that send signals.

use maize_abi::Errno;
use maize_abi::signal::{SIGINFO_LEN, SigFields, SigInfo, Signal, si_code};
use maize_hal::Arch;
use maize_vfs::FileId;

use super::{Call, CallResult};
use crate::ids::{Pid, Tid};
use crate::process::Life;

impl<A: Arch> Call<'_, A> {
    /// A signal that the caller sends.
    fn sends(&self, signal: Signal, code: i32) -> SigInfo {
        let pid = self.current.pid;
        let uid = self.k.with(|s| s.user_of(pid));
        let fields = SigFields::Sender { pid: pid.0, uid, value: 0 };
        SigInfo { signal, code, errno: 0, fields }
    }
}

/// The signal of an argument; `None` for 0, which only asks whether it could be sent.
fn signal_argument(n: i32) -> Result<Option<Signal>, Errno> {
    match n {
        0 => Ok(None),
        n => Signal::new(n as u32 as u64).map(Some).ok_or(Errno::EINVAL),
    }
}

pub(in crate::syscall) fn kill<A: Arch>(call: Call<'_, A>) -> CallResult {
    let signal = signal_argument(call.int(1))?;
    let me = call.current.pid;
    let info = signal.map(|signal| call.sends(signal, si_code::SI_USER));
    call.k.with(|s| {
        let group = match call.int(0) {
            i32::MIN => return Err(Errno::ESRCH),
            pid @ 1.. => return s.signal_process(me, Pid(pid as u32), info),
            -1 => {
                return s.signal_processes(me, info, |pid, process| {
                    pid != me && pid != Pid::INIT && !matches!(process.life, Life::Zombie(_))
                });
            }
            0 => s.group_of(me),
            group => Pid(group.unsigned_abs()),
        };
        s.signal_processes(me, info, |_, process| process.group == group)
    })
}

/// Sends a signal to a thread, which is of `group` if that is said; none only asks.
async fn signal_thread<A: Arch>(
    call: Call<'_, A>,
    group: Option<Pid>,
    tid: Tid,
    info: Option<SigInfo>,
) -> CallResult {
    let pid = call.k.process_of_thread(call.current, group, tid).await.map_err(Errno::from)?;
    call.k.with(|s| {
        s.check_signal(call.current.pid, pid, info.map(|info| info.signal))?;
        info.map_or(Ok(0), |info| s.send_to_thread_of(pid, tid, info).map(|()| 0))
    })
}

pub(in crate::syscall) async fn tkill<A: Arch>(call: Call<'_, A>) -> CallResult {
    let tid = call.int(0);
    if tid <= 0 {
        return Err(Errno::EINVAL);
    }
    let info = signal_argument(call.int(1))?.map(|signal| call.sends(signal, si_code::SI_TKILL));
    signal_thread(call, None, Tid(tid as u32), info).await
}

pub(in crate::syscall) async fn tgkill<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (group, tid) = (call.int(0), call.int(1));
    if group <= 0 || tid <= 0 {
        return Err(Errno::EINVAL);
    }
    let info = signal_argument(call.int(2))?.map(|signal| call.sends(signal, si_code::SI_TKILL));
    signal_thread(call, Some(Pid(group as u32)), Tid(tid as u32), info).await
}

/// Reads the `siginfo` a program wants to send; it must not look like one from the kernel.
async fn read_info<A: Arch>(
    call: Call<'_, A>,
    n: i32,
    at: u64,
    to_self: bool,
) -> Result<Option<SigInfo>, Errno> {
    let mut bytes = [0; SIGINFO_LEN];
    call.k.read_user(call.current, at, &mut bytes).await?;
    let Some(signal) = signal_argument(n)? else { return Ok(None) };
    let info = SigInfo::from_program(signal, &bytes);
    if (info.code >= 0 || info.code == si_code::SI_TKILL) && !to_self {
        return Err(Errno::EPERM);
    }
    Ok(Some(info))
}

pub(in crate::syscall) async fn rt_sigqueueinfo<A: Arch>(call: Call<'_, A>) -> CallResult {
    let pid = Pid(call.uint(0));
    let info = read_info(call, call.int(1), call.args[2], pid == call.current.pid).await?;
    call.k.with(|s| s.signal_process(call.current.pid, pid, info))
}

/// Sends argument 1 to the process that a file stands for, with the `siginfo` at argument 2 if there is
/// one.
pub(in crate::syscall) async fn send_to_file<A: Arch>(
    call: Call<'_, A>,
    file: FileId,
) -> CallResult {
    let me = call.current.pid;
    let info = if call.args[2] == 0 {
        let signal = signal_argument(call.int(1))?;
        signal.map(|signal| call.sends(signal, si_code::SI_USER))
    } else {
        let mut number = [0; 4];
        call.k.read_user(call.current, call.args[2], &mut number).await?;
        if i32::from_le_bytes(number) != call.int(1) {
            return Err(Errno::EINVAL);
        }
        let (pid, _) = call.k.with(|s| s.files.vfs.process_of(file))?;
        read_info(call, call.int(1), call.args[2], Pid(pid) == me).await?
    };
    call.k.with(|s| {
        let pid = s.process_of_file(file)?;
        s.signal_process(me, pid, info)
    })
}

pub(in crate::syscall) async fn rt_tgsigqueueinfo<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (pid, tid) = (Pid(call.uint(0)), Tid(call.uint(1)));
    let info = read_info(call, call.int(2), call.args[3], pid == call.current.pid).await?;
    signal_thread(call, Some(pid), tid, info).await
}
