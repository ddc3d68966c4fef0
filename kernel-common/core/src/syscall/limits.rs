//! Resource limits and use.

use maize_abi::Errno;
use maize_hal::{Arch, Nanos};
use maize_vfs::NR_OPEN;

use super::clock::timeval_bytes;
use super::{Call, CallResult};
use crate::ids::Pid;
use crate::process::{Rlimit, rlimit, space_limits};

/// A `struct rusage` that tells only times.
pub(super) fn rusage_bytes((user, system): (Nanos, Nanos)) -> [u8; 144] {
    let mut bytes = [0; 144];
    bytes[..16].copy_from_slice(&timeval_bytes(user));
    bytes[16..32].copy_from_slice(&timeval_bytes(system));
    bytes
}

pub(super) async fn getrusage<A: Arch>(call: Call<'_, A>) -> CallResult {
    const RUSAGE_SELF: i32 = 0;
    const RUSAGE_CHILDREN: i32 = -1;
    const RUSAGE_THREAD: i32 = 1;
    let current = call.current;
    let times = call.k.with(|s| match call.int(0) {
        RUSAGE_SELF => Ok(s.process_times(current.pid)),
        RUSAGE_CHILDREN => {
            Ok(s.processes.get(&current.pid).map(|p| p.children_time).unwrap_or_default())
        }
        RUSAGE_THREAD => Ok(s.thread_times(current.tid)),
        _ => Err(Errno::EINVAL),
    })?;
    call.k.write_user(current, call.args[1], &rusage_bytes(times)).await?;
    Ok(0)
}

async fn limit<A: Arch>(
    call: Call<'_, A>,
    pid: Pid,
    resource: u32,
    new_at: u64,
    old_at: u64,
) -> CallResult {
    let index = resource as usize;
    if index >= rlimit::COUNT {
        return Err(Errno::EINVAL);
    }
    if new_at != 0 {
        // The registry looks at limits too.
        call.k.at_registry(call.current)?;
    }
    let old =
        call.k.with(|s| s.processes.get(&pid).map(|p| p.limits[index])).ok_or(Errno::ESRCH)?;
    if new_at != 0 {
        let [soft, hard] = call.k.read_words::<2>(call.current, new_at).await?;
        if soft > hard {
            return Err(Errno::EINVAL);
        }
        if index == rlimit::RLIMIT_NOFILE && hard > NR_OPEN as u64 {
            return Err(Errno::EPERM);
        }
        call.k.with(|s| {
            if let Some(process) = s.processes.get_mut(&pid) {
                process.limits[index] = Rlimit { soft, hard };
                if let Some(space) = process.space {
                    // The space exists as long as its process has it.
                    let _ = s.memory.set_limits(space, space_limits(&process.limits));
                }
            }
        });
    }
    if old_at != 0 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&old.soft.to_le_bytes());
        bytes[8..].copy_from_slice(&old.hard.to_le_bytes());
        call.k.write_user(call.current, old_at, &bytes).await?;
    }
    Ok(0)
}

pub(super) async fn prlimit64<A: Arch>(call: Call<'_, A>) -> CallResult {
    let pid = match call.int(0) {
        0 => call.current.pid,
        pid => Pid(pid as u32),
    };
    limit(call, pid, call.uint(1), call.args[2], call.args[3]).await
}

pub(super) async fn getrlimit<A: Arch>(call: Call<'_, A>) -> CallResult {
    limit(call, call.current.pid, call.uint(0), 0, call.args[1]).await
}

pub(super) async fn setrlimit<A: Arch>(call: Call<'_, A>) -> CallResult {
    limit(call, call.current.pid, call.uint(0), call.args[1], 0).await
}
