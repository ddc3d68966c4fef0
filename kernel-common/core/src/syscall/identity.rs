//! Who a process is: ids, groups, sessions, users, names.

use maize_abi::Errno;
use maize_abi::signal::Signal;
use maize_hal::Arch;

use super::{Call, CallResult, capabilities};
use crate::homes::{PR_MAIZE_GET_HOME, PR_MAIZE_SET_HOME};
use crate::ids::Pid;
use crate::process::Life;
use crate::state::State;
use crate::thread::COMM_LEN;

pub(super) fn getpid<A: Arch>(call: Call<'_, A>) -> CallResult {
    Ok(u64::from(call.current.pid.0))
}

pub(super) fn gettid<A: Arch>(call: Call<'_, A>) -> CallResult {
    Ok(u64::from(call.current.tid.0))
}

pub(super) fn getppid<A: Arch>(call: Call<'_, A>) -> CallResult {
    Ok(call.k.with(|s| s.processes.get(&call.current.pid).map_or(0, |p| u64::from(p.parent.0))))
}

impl<A: Arch> State<A> {
    /// The process group of a process.
    pub(crate) fn group_of(&self, pid: Pid) -> Pid {
        self.processes.get(&pid).map_or(pid, |p| p.group)
    }

    fn set_group(&mut self, me: Pid, pid: i32, group: i32) -> CallResult {
        if group < 0 || pid < 0 {
            return Err(Errno::EINVAL);
        }
        let pid = if pid == 0 { me } else { Pid(pid as u32) };
        let group = if group == 0 { pid } else { Pid(group as u32) };
        let session = self.processes.get(&me).ok_or(Errno::ESRCH)?.session;
        let process = self.processes.get(&pid).ok_or(Errno::ESRCH)?;
        if pid != me && process.parent != me || matches!(process.life, Life::Zombie(_)) {
            return Err(Errno::ESRCH);
        }
        if pid != me && process.session != session || process.session == pid {
            return Err(Errno::EPERM);
        }
        if pid != me && process.execed {
            return Err(Errno::EACCES);
        }
        let exists = self.processes.values().any(|p| p.group == group && p.session == session);
        if group != pid && !exists {
            return Err(Errno::EPERM);
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            process.group = group;
        }
        Ok(0)
    }

    fn new_session(&mut self, me: Pid) -> CallResult {
        if self.processes.values().any(|p| p.group == me) {
            return Err(Errno::EPERM);
        }
        let process = self.processes.get_mut(&me).ok_or(Errno::ESRCH)?;
        process.session = me;
        process.group = me;
        process.terminal = false;
        Ok(u64::from(me.0))
    }
}

pub(super) fn setpgid<A: Arch>(call: Call<'_, A>) -> CallResult {
    call.k.with(|s| s.set_group(call.current.pid, call.int(0), call.int(1)))
}

fn lookup<A: Arch>(
    call: Call<'_, A>,
    n: i32,
    of: impl Fn(&crate::process::Process) -> Pid,
) -> CallResult {
    let pid = match n {
        0 => call.current.pid,
        n => Pid(n as u32),
    };
    call.k.with(|s| s.processes.get(&pid).map(|p| u64::from(of(p).0)).ok_or(Errno::ESRCH))
}

pub(super) fn getpgid<A: Arch>(call: Call<'_, A>) -> CallResult {
    lookup(call, call.int(0), |p| p.group)
}

pub(super) fn getpgrp<A: Arch>(call: Call<'_, A>) -> CallResult {
    lookup(call, 0, |p| p.group)
}

pub(super) fn getsid<A: Arch>(call: Call<'_, A>) -> CallResult {
    lookup(call, call.int(0), |p| p.session)
}

pub(super) fn setsid<A: Arch>(call: Call<'_, A>) -> CallResult {
    call.k.with(|s| s.new_session(call.current.pid))
}

const PR_SET_PDEATHSIG: i32 = 1;
const PR_GET_PDEATHSIG: i32 = 2;
const PR_GET_DUMPABLE: i32 = 3;
const PR_SET_DUMPABLE: i32 = 4;
const PR_SET_NAME: i32 = 15;
const PR_GET_NAME: i32 = 16;
const PR_SET_NO_NEW_PRIVS: i32 = 38;
const PR_GET_NO_NEW_PRIVS: i32 = 39;
const PR_SET_VMA: i32 = 0x5356_4d41;

pub(super) async fn prctl<A: Arch>(call: Call<'_, A>) -> CallResult {
    let current = call.current;
    match call.int(0) {
        PR_SET_NAME => {
            let mut name = [0; COMM_LEN];
            let len =
                call.k.read_user_string(current, call.args[1], &mut name[..COMM_LEN - 1]).await?;
            name[len..].fill(0);
            call.k.with(|s| {
                if let Some(thread) = s.threads.get_mut(&current.tid) {
                    thread.comm = name;
                }
            });
            Ok(0)
        }
        PR_GET_NAME => {
            let name = call.k.with(|s| s.threads.get(&current.tid).map(|t| t.comm));
            let name = name.unwrap_or_default();
            call.k.write_user(current, call.args[1], &name).await?;
            Ok(0)
        }
        PR_SET_PDEATHSIG => {
            let signal = call.args[1];
            if signal != 0 && Signal::new(signal).is_none() {
                return Err(Errno::EINVAL);
            }
            call.k.with(|s| {
                if let Some(thread) = s.threads.get_mut(&current.tid) {
                    thread.parent_death_signal = signal as u8;
                }
            });
            Ok(0)
        }
        PR_GET_PDEATHSIG => {
            let signal = call.k.with(|s| Some(s.threads.get(&current.tid)?.parent_death_signal));
            let signal = i32::from(signal.unwrap_or(0));
            call.k.write_user(current, call.args[1], &signal.to_le_bytes()).await?;
            Ok(0)
        }
        PR_GET_DUMPABLE => Ok(1),
        PR_SET_DUMPABLE if call.args[1] <= 1 => Ok(0),
        PR_SET_NO_NEW_PRIVS if call.args[1] == 1 => Ok(0),
        PR_GET_NO_NEW_PRIVS => Ok(0),
        PR_MAIZE_SET_HOME => {
            call.k.with(|s| s.set_home(call.k, current, (call.args[1], call.args[2])))
        }
        PR_MAIZE_GET_HOME => call.k.with(|s| s.home_of(current, call.args[1])),
        // Names of anonymous memory, which nothing shows.
        PR_SET_VMA => Ok(0),
        _ => capabilities::prctl(call),
    }
}

/// `arch_prctl` of x86_64: the segment bases.
pub(super) async fn arch_prctl<A: Arch>(call: Call<'_, A>) -> CallResult {
    const ARCH_SET_FS: i32 = 0x1002;
    const ARCH_GET_FS: i32 = 0x1003;
    let current = call.current;
    match call.int(0) {
        ARCH_SET_FS => {
            if call.args[1] >= call.isa.user_end() {
                return Err(Errno::EPERM);
            }
            call.k.with(|s| {
                if let Some(thread) = s.threads.get_mut(&current.tid) {
                    thread.regs.set_tls(call.args[1]);
                }
            });
            Ok(0)
        }
        ARCH_GET_FS => {
            let tls = call.k.with(|s| s.threads.get(&current.tid).map_or(0, |t| t.regs.tls()));
            call.k.write_user(current, call.args[1], &tls.to_le_bytes()).await?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}
