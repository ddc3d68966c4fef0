//! Scheduling calls, and which core a thread is on.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_hal::{Arch, Nanos};

use super::clock::timespec_bytes;
use super::{Call, CallResult};
use crate::ids::{Pid, Tid};
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

/// Bytes of a `struct sched_attr` in its first version, and in the largest known.
const ATTR_LEN: u32 = 48;
const ATTR_LEN_MAX: u32 = 56;

/// `sched_getattr`: size, policy, flags, nice value, and what the other policies would have.
pub(super) async fn sched_getattr<A: Arch>(call: Call<'_, A>) -> CallResult {
    let size = call.uint(2);
    if call.args[1] == 0 || call.uint(3) != 0 || !(ATTR_LEN..=4096).contains(&size) {
        return Err(Errno::EINVAL);
    }
    let tid = target(call, call.int(0))?;
    let nice = call.k.with(|s| s.threads.get(&tid).map_or(0, |thread| thread.nice));
    let len = size.min(ATTR_LEN_MAX);
    let mut bytes = [0; ATTR_LEN_MAX as usize];
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes[4..8].copy_from_slice(&SCHED_OTHER.to_le_bytes());
    bytes[16..20].copy_from_slice(&i32::from(nice).to_le_bytes());
    call.k.write_user(call.current, call.args[1], &bytes[..len as usize]).await?;
    Ok(0)
}

/// `sched_setattr`, of the policies that [`sched_setscheduler`] takes: the nice value changes.
pub(super) async fn sched_setattr<A: Arch>(call: Call<'_, A>) -> CallResult {
    const RESET_ON_FORK: u64 = 1;
    const KEEP_POLICY: u64 = 8;
    const KEEP_PARAMS: u64 = 0x10;
    let at = call.args[1];
    if at == 0 || call.uint(2) != 0 {
        return Err(Errno::EINVAL);
    }
    let size = match call.k.read_u32(call.current, at).await? {
        0 => ATTR_LEN,
        size @ ATTR_LEN..=4096 => size,
        _ => return Err(Errno::E2BIG),
    };
    let mut bytes = alloc::vec![0; size as usize];
    call.k.read_user(call.current, at, &mut bytes).await?;
    // What is asked for beyond what is known.
    if bytes.iter().skip(ATTR_LEN_MAX as usize).any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let (words, _) = bytes.as_chunks::<4>();
    let word = |n: usize| u32::from_le_bytes(words[n]);
    let (flags, nice) = (u64::from(word(2)) | u64::from(word(3)) << 32, word(4) as i32);
    let tid = target(call, call.int(0))?;
    if flags & !(RESET_ON_FORK | KEEP_POLICY | KEEP_PARAMS) != 0 {
        return Err(Errno::EINVAL);
    }
    match word(1) as i32 {
        _ if flags & KEEP_POLICY != 0 => {}
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE if word(5) == 0 => {}
        1 | 2 if (1..=99).contains(&word(5)) => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    }
    if flags & KEEP_PARAMS == 0 {
        let nice = nice.clamp(-20, 19) as i8;
        call.k.with(|s| {
            if let Some(thread) = s.threads.get_mut(&tid) {
                thread.nice = nice;
            }
        });
    }
    Ok(0)
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

/// The threads that `getpriority` and `setpriority` are about.
fn prioritised<A: Arch>(call: Call<'_, A>) -> Result<Vec<Tid>, Errno> {
    named(call, call.int(0), call.int(1))
}

/// The threads of a thread, process group or user.
fn named<A: Arch>(call: Call<'_, A>, which: i32, who: i32) -> Result<Vec<Tid>, Errno> {
    const PRIO_PROCESS: i32 = 0;
    const PRIO_PGRP: i32 = 1;
    const PRIO_USER: i32 = 2;
    if !(PRIO_PROCESS..=PRIO_USER).contains(&which) {
        return Err(Errno::EINVAL);
    }
    let named = match which {
        PRIO_PROCESS => Vec::from_iter(target(call, who)),
        _ => call.k.with(|s| {
            let own = s.processes.get(&call.current.pid).map(|process| process.group);
            let group = if who == 0 { own } else { Some(Pid(who as u32)) };
            // There is one user, whose number is 0.
            let all = which == PRIO_USER && who == 0;
            let processes = s.processes.values();
            let meant = processes.filter(|p| all || which == PRIO_PGRP && Some(p.group) == group);
            meant.flat_map(|process| process.threads.iter().copied()).collect()
        }),
    };
    if named.is_empty() { Err(Errno::ESRCH) } else { Ok(named) }
}

/// Returns 20 minus the lowest nice value.
pub(super) fn getpriority<A: Arch>(call: Call<'_, A>) -> CallResult {
    let named = prioritised(call)?;
    let lowest =
        call.k.with(|s| named.iter().filter_map(|tid| Some(s.threads.get(tid)?.nice)).min());
    lowest.map(|nice| (20 - i64::from(nice)) as u64).ok_or(Errno::ESRCH)
}

pub(super) fn setpriority<A: Arch>(call: Call<'_, A>) -> CallResult {
    let named = prioritised(call)?;
    let nice = call.int(2).clamp(-20, 19) as i8;
    call.k.with(|s| {
        for tid in named {
            if let Some(thread) = s.threads.get_mut(&tid) {
                thread.nice = nice;
            }
        }
    });
    Ok(0)
}

/// The threads that `ioprio_get` and `ioprio_set` are about.
fn with_io_priority<A: Arch>(call: Call<'_, A>) -> Result<Vec<Tid>, Errno> {
    // Numbers are those of `getpriority` and one more.
    match call.int(0) {
        which @ 1..=3 => named(call, which - 1, call.int(1)),
        _ => Err(Errno::EINVAL),
    }
}

/// Returns the highest priority: of a class that is set the lowest number.
pub(super) fn ioprio_get<A: Arch>(call: Call<'_, A>) -> CallResult {
    let named = with_io_priority(call)?;
    call.k.with(|s| {
        let all = named.iter().filter_map(|tid| Some(s.threads.get(tid)?.io_priority));
        // 0 says that none is set, which is less than any.
        all.min_by_key(|priority| (*priority == 0, *priority)).map(u64::from).ok_or(Errno::ESRCH)
    })
}

/// Sets a priority, which is remembered and told: there are no disks.
pub(super) fn ioprio_set<A: Arch>(call: Call<'_, A>) -> CallResult {
    const NONE: i32 = 0;
    const REALTIME: i32 = 1;
    const BEST_EFFORT: i32 = 2;
    const IDLE: i32 = 3;
    const LEVELS: i32 = 8;
    let (class, level) = (call.int(2) >> 13, call.int(2) & 0x1fff);
    let valid = match class {
        REALTIME | BEST_EFFORT => level < LEVELS,
        IDLE => true,
        NONE => level == 0,
        _ => false,
    };
    let named = with_io_priority(call)?;
    if !valid {
        return Err(Errno::EINVAL);
    }
    call.k.with(|s| {
        for tid in named {
            if let Some(thread) = s.threads.get_mut(&tid) {
                thread.io_priority = call.int(2) as u16;
            }
        }
    });
    Ok(0)
}

const _: () = assert!(TIME_SLICE.0 > Nanos::MILLI.0);
