//! Scheduling calls, and which core a thread is on.

use maize_abi::Errno;
use maize_hal::{Arch, Nanos};

use super::time::timespec_bytes;
use super::{Call, CallResult};
use crate::ids::Tid;
use crate::rseq;
use crate::sched::TIME_SLICE;

pub(super) async fn sched_yield<A: Arch>(call: Call<'_, A>) -> CallResult {
    call.k.with(|s| s.run_queue.end_slice());
    call.k.yield_now(call.current.task).await;
    Ok(0)
}

/// The thread an argument names; 0 is the caller.
fn target<A: Arch>(call: Call<'_, A>, n: i32) -> Result<Tid, Errno> {
    match n {
        0 => Ok(call.current.tid),
        n => {
            let tid = Tid(n as u32);
            call.k.with(|s| s.threads.contains_key(&tid)).then_some(tid).ok_or(Errno::ESRCH)
        }
    }
}

/// Bytes of the kernel's own CPU masks.
const MASK_LEN: usize = 8;

pub(super) async fn sched_getaffinity<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, len, at, ..] = call.args;
    let tid = target(call, call.int(0))?;
    if len < MASK_LEN as u64 || !len.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let cpus = call.k.with(|s| s.affinity(tid));
    call.k.write_user(call.current, at, &cpus.to_le_bytes()).await?;
    Ok(MASK_LEN as u64)
}

pub(super) async fn sched_setaffinity<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, len, at, ..] = call.args;
    let tid = target(call, call.int(0))?;
    let mut bytes = [0; MASK_LEN];
    let len = (len as usize).min(MASK_LEN);
    call.k.read_user(call.current, at, &mut bytes[..len]).await?;
    call.k.with(|s| s.set_affinity(tid, u64::from_le_bytes(bytes))).map(|()| 0)
}

pub(super) async fn getcpu<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [cpu_at, node_at, ..] = call.args;
    let cpu = call.k.with(|s| s.cpu_of(call.current.tid));
    for (at, value) in [(cpu_at, cpu), (node_at, 0)] {
        if at != 0 {
            call.k.write_user(call.current, at, &value.to_le_bytes()).await?;
        }
    }
    Ok(0)
}

const SCHED_OTHER: i32 = 0;
const SCHED_BATCH: i32 = 3;
const SCHED_IDLE: i32 = 5;

pub(super) fn sched_getscheduler<A: Arch>(call: Call<'_, A>) -> CallResult {
    target(call, call.int(0)).map(|_| SCHED_OTHER as u64)
}

/// All threads have one priority: the policies that say no more than that are taken.
pub(super) async fn sched_setscheduler<A: Arch>(call: Call<'_, A>) -> CallResult {
    target(call, call.int(0))?;
    let mut priority = [0; 4];
    call.k.read_user(call.current, call.args[2], &mut priority).await?;
    match call.int(1) {
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE if priority == [0; 4] => Ok(0),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE => Err(Errno::EINVAL),
        1 | 2 => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) async fn sched_getparam<A: Arch>(call: Call<'_, A>) -> CallResult {
    target(call, call.int(0))?;
    call.k.write_user(call.current, call.args[1], &[0; 4]).await?;
    Ok(0)
}

pub(super) async fn sched_setparam<A: Arch>(call: Call<'_, A>) -> CallResult {
    target(call, call.int(0))?;
    let mut priority = [0; 4];
    call.k.read_user(call.current, call.args[1], &mut priority).await?;
    if priority == [0; 4] { Ok(0) } else { Err(Errno::EINVAL) }
}

pub(super) fn priority_bound<A: Arch>(call: Call<'_, A>, realtime: u64) -> CallResult {
    match call.int(0) {
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE => Ok(0),
        1 | 2 => Ok(realtime),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) async fn sched_rr_get_interval<A: Arch>(call: Call<'_, A>) -> CallResult {
    target(call, call.int(0))?;
    call.k.write_user(call.current, call.args[1], &timespec_bytes(TIME_SLICE)).await?;
    Ok(0)
}

pub(super) async fn rseq_register<A: Arch>(call: Call<'_, A>) -> CallResult {
    rseq::register(call.k, call.current, call.args).await
}

/// `getpriority` returns 20 minus the nice value, which is 0 for all.
pub(super) const fn getpriority() -> CallResult {
    Ok(20)
}

const _: () = assert!(TIME_SLICE.0 > Nanos::MILLI.0);
