//! `membarrier`: has every thread of a process, or all threads, pass a memory barrier.
//!
//! On an instance's core only the thread runs that calls, and whoever comes after it has passed a barrier. Other
//! instances are asked for an answer: their kernels give it, so user code has been interrupted, and goes on
//! behind a barrier and with a synchronised context.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_hal::Arch;

use super::{Call, CallResult};

const QUERY: u32 = 0;
const GLOBAL: u32 = 1;
const GLOBAL_EXPEDITED: u32 = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: u32 = 1 << 2;
const PRIVATE_EXPEDITED: u32 = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: u32 = 1 << 4;
const PRIVATE_EXPEDITED_SYNC_CORE: u32 = 1 << 5;
const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: u32 = 1 << 6;

/// Every command there is; those of restartable sequences are not.
const SERVED: u32 = (1 << 7) - 1;

/// The command that registers for this one, which is for one process.
const fn registration(command: u32) -> u32 {
    command << 1
}

pub(super) async fn membarrier<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (k, current) = (call.k, call.current);
    let command = call.uint(0);
    if call.uint(1) != 0 {
        return Err(Errno::EINVAL);
    }
    match command {
        QUERY => return Ok(u64::from(SERVED)),
        REGISTER_GLOBAL_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE => k.with(|s| {
            if let Some(process) = s.processes.get_mut(&current.pid) {
                process.barriers |= command;
            }
        }),
        // Any thread of any process may run anywhere.
        GLOBAL | GLOBAL_EXPEDITED => {
            let everybody: Vec<_> = k.with(|s| s.fabric.usable_peers().collect());
            k.interrupt_all(current, everybody).await;
        }
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE => {
            let registered =
                k.with(|s| s.processes.get(&current.pid).map_or(0, |process| process.barriers));
            if registered & registration(command) == 0 {
                return Err(Errno::EPERM);
            }
            let members = k.with(|s| {
                s.shared_space(current).map(|space| s.members(space)).unwrap_or_default()
            });
            k.interrupt_all(current, members).await;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
