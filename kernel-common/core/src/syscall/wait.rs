//! `wait4`, `waitid`.

use maize_abi::Errno;
use maize_abi::file::o::O_NONBLOCK;
use maize_abi::signal::{SigFields, SigInfo, Signal, si_code};
use maize_hal::Arch;

use super::limits::rusage_bytes;
use super::{Call, CallResult};
use crate::ids::Pid;
use crate::lifecycle::{ChildKind, Selector, WaitOptions, Waited, wait};

const WNOHANG: u32 = 1;
const WUNTRACED: u32 = 2;
const WEXITED: u32 = 4;
const WCONTINUED: u32 = 8;
const WNOWAIT: u32 = 0x0100_0000;
/// Of no effect where every thread waits for the children of all.
const WNOTHREAD: u32 = 0x2000_0000;
const WALL: u32 = 0x4000_0000;
const WCLONE: u32 = 0x8000_0000;
const WLINUX: u32 = WNOTHREAD | WALL | WCLONE;

fn kind(options: u32) -> ChildKind {
    match (options & WALL, options & WCLONE) {
        (0, 0) => ChildKind::Forked,
        (0, _) => ChildKind::Cloned,
        _ => ChildKind::All,
    }
}

pub(super) async fn wait4<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, status_at, _, rusage_at, ..] = call.args;
    let options = call.uint(2);
    if options & !(WNOHANG | WUNTRACED | WCONTINUED | WLINUX) != 0 {
        return Err(Errno::EINVAL);
    }
    let selector = match call.int(0) {
        i32::MIN => return Err(Errno::ESRCH),
        -1 => Selector::Any,
        0 => Selector::Group(call.k.with(|s| s.group_of(call.current.pid))),
        pid @ 1.. => Selector::Process(Pid(pid as u32)),
        group => Selector::Group(Pid(group.unsigned_abs())),
    };
    let options = WaitOptions {
        exited: true,
        stopped: options & WUNTRACED != 0,
        continued: options & WCONTINUED != 0,
        dont_block: options & WNOHANG != 0,
        kind: kind(options),
        keep: false,
    };
    let Some(waited) = wait(call.k, call.current, selector, options).await? else { return Ok(0) };
    if status_at != 0 {
        call.k.write_user(call.current, status_at, &waited.status.to_le_bytes()).await?;
    }
    if rusage_at != 0 {
        call.k.write_user(call.current, rusage_at, &rusage_bytes(waited.times)).await?;
    }
    Ok(u64::from(waited.pid.0))
}

pub(super) async fn waitid<A: Arch>(call: Call<'_, A>) -> CallResult {
    const P_ALL: u32 = 0;
    const P_PID: u32 = 1;
    const P_PGID: u32 = 2;
    const P_PIDFD: u32 = 3;
    let [_, _, info_at, _, rusage_at, _] = call.args;
    let options = call.uint(3);
    if options & !(WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | WLINUX) != 0
        || options & (WUNTRACED | WEXITED | WCONTINUED) == 0
    {
        return Err(Errno::EINVAL);
    }
    let mut nonblocking = false;
    let selector = match (call.uint(0), call.int(1)) {
        (P_ALL, _) => Selector::Any,
        (P_PID, pid @ 1..) => Selector::Process(Pid(pid as u32)),
        (P_PGID, 0) => Selector::Group(call.k.with(|s| s.group_of(call.current.pid))),
        (P_PGID, group @ 1..) => Selector::Group(Pid(group as u32)),
        (P_PIDFD, 0..) => {
            let file = call.k.with(|s| s.file_of(call.current, call.int(1)))?;
            let (pid, status) = call.k.with(|s| {
                let (pid, _) = s.files.vfs.process_of(file)?;
                Ok::<_, Errno>((pid, s.files.vfs.status(file)?))
            })?;
            nonblocking = status & O_NONBLOCK != 0;
            Selector::Process(Pid(pid))
        }
        _ => return Err(Errno::EINVAL),
    };
    let asked_not_to_wait = options & WNOHANG != 0;
    let options = WaitOptions {
        exited: options & WEXITED != 0,
        stopped: options & WUNTRACED != 0,
        continued: options & WCONTINUED != 0,
        dont_block: nonblocking || asked_not_to_wait,
        kind: kind(options),
        keep: options & WNOWAIT != 0,
    };
    let waited = wait(call.k, call.current, selector, options).await?;
    if waited.is_none() && nonblocking && !asked_not_to_wait {
        return Err(Errno::EAGAIN);
    }
    if info_at != 0 {
        let bytes = waited.map_or([0; 128], |w| child_info(w).to_bytes());
        call.k.write_user(call.current, info_at, &bytes).await?;
    }
    if let (Some(waited), 1..) = (waited, rusage_at) {
        call.k.write_user(call.current, rusage_at, &rusage_bytes(waited.times)).await?;
    }
    Ok(0)
}

fn child_info(waited: Waited) -> SigInfo {
    let low = waited.status & 0x7f;
    let high = ((waited.status >> 8) & 0xff) as i32;
    let (code, status) = match (waited.status, low) {
        (0xffff, _) => (si_code::CLD_CONTINUED, i32::from(Signal::SIGCONT.number())),
        (_, 0x7f) => (si_code::CLD_STOPPED, high),
        (_, 0) => (si_code::CLD_EXITED, high),
        (_, signal) => (si_code::CLD_KILLED, signal as i32),
    };
    let fields = SigFields::Child { pid: waited.pid.0, uid: waited.user, status };
    SigInfo { signal: Signal::SIGCHLD, code, errno: 0, fields }
}
