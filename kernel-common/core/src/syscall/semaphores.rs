//! System V semaphores.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::ipc::{self, Permissions};
use maize_abi::semaphore::limit::SEMOPM;
use maize_abi::semaphore::{Sembuf, command, seminfo};
use maize_hal::{Arch, Nanos};

use super::clock::timespec;
use super::{Call, CallResult};
use crate::semaphores::{Fact, GivesUp, Turn};
use crate::wait::{Interruptible, WaitKey, Woken};

/// Bytes of a value of `GETALL` and `SETALL`.
const VALUE_LEN: usize = size_of::<u16>();

pub(super) fn semget<A: Arch>(call: Call<'_, A>) -> CallResult {
    call.k.with(|s| s.find_semaphores((call.int(0), call.int(1), call.uint(2))))
}

pub(super) async fn semop<A: Arch>(call: Call<'_, A>) -> CallResult {
    operate(call, None).await
}

pub(super) async fn semtimedop<A: Arch>(call: Call<'_, A>) -> CallResult {
    if call.args[3] == 0 {
        return operate(call, None).await;
    }
    let mut bytes = [0; 16];
    call.k.read_user(call.current, call.args[3], &mut bytes).await?;
    operate(call, Some(bytes)).await
}

async fn operate<A: Arch>(call: Call<'_, A>, time: Option<[u8; 16]>) -> CallResult {
    let (id, address) = (call.int(0), call.args[1]);
    let count = call.uint(2);
    if count > SEMOPM {
        return Err(Errno::E2BIG);
    }
    if count == 0 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![[0; Sembuf::LEN]; count as usize];
    call.k.read_user(call.current, address, bytes.as_flattened_mut()).await?;
    let operations: Vec<Sembuf> = bytes.iter().map(Sembuf::from_bytes).collect();
    let deadline = match time {
        Some(time) => call.k.with(|s| s.now()) + timespec(&time)?,
        None => Nanos::NEVER,
    };
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    match call.k.with(|s| s.operate_semaphores(id, call.current.pid, &operations))? {
        None => Ok(0),
        Some(turn) => wait(call, (id, turn), deadline).await,
    }
}

/// Waits until operations are carried out. A wait that a signal has ended is never begun anew, as on
/// Linux.
async fn wait<A: Arch>(call: Call<'_, A>, (id, turn): (i32, Turn), deadline: Nanos) -> CallResult {
    let keys = [WaitKey::Semaphores(turn)];
    loop {
        let by = Interruptible::BySignals;
        let woken = call.k.wait_for(call.current.task, &keys, deadline, by).await;
        let (gives_up, otherwise) = match woken {
            Woken::Event => (GivesUp::No, None),
            Woken::TimedOut => (GivesUp::Yes, Some(Errno::EAGAIN)),
            Woken::Interrupted => (GivesUp::Yes, Some(Errno::EINTR)),
        };
        if call.k.with(|s| s.end_semaphore_wait(id, turn, gives_up))?.is_some() {
            return Ok(0);
        }
        if let Some(errno) = otherwise {
            return Err(errno);
        }
    }
}

pub(super) async fn semctl<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (id, number, argument) = (call.int(0), call.int(1), call.args[3]);
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let fact = |fact| call.k.with(|s| s.semaphore_set(id)?.fact(number, fact));
    match call.uint(2) {
        command::GETVAL => return fact(Fact::Value),
        command::GETPID => return fact(Fact::Pid),
        command::GETNCNT => return fact(Fact::WaitForMore),
        command::GETZCNT => return fact(Fact::WaitForZero),
        command::SETVAL => {
            let value = argument as i32;
            call.k.with(|s| s.set_semaphore((id, number), call.current.pid, value))?;
        }
        command::GETALL => {
            let values: Vec<_> =
                call.k.with(|s| s.semaphore_set(id).map(|set| set.values().collect()))?;
            let values: Vec<_> = values.into_iter().map(u16::to_le_bytes).collect();
            call.k.write_user(call.current, argument, values.as_flattened()).await?;
        }
        command::SETALL => {
            let count = call.k.with(|s| s.semaphore_set(id).map(|set| set.values().count()))?;
            let mut bytes = vec![[0; VALUE_LEN]; count];
            call.k.read_user(call.current, argument, bytes.as_flattened_mut()).await?;
            let values = bytes.iter().map(|value| u16::from_le_bytes(*value));
            call.k.with(|s| s.set_semaphores(id, call.current.pid, values))?;
        }
        ipc::IPC_STAT => {
            let facts = call.k.with(|s| s.semaphore_set(id).map(|set| *set.facts()))?;
            call.k.write_user(call.current, argument, &facts.to_bytes(call.isa)).await?;
        }
        command::SEM_STAT | command::SEM_STAT_ANY => {
            let found = call
                .k
                .with(|s| s.semaphores.sets().at_place(id).map(|(id, set)| (id, *set.facts())));
            let (id, facts) = found?;
            call.k.write_user(call.current, argument, &facts.to_bytes(call.isa)).await?;
            return Ok(id as u64);
        }
        info @ (ipc::IPC_INFO | command::SEM_INFO) => {
            let (highest, there) = call.k.with(|s| {
                let sets = s.semaphores.sets();
                let semaphores = sets.iter().map(|(_, set)| set.facts().count as u32).sum();
                (sets.highest_place(), (sets.len() as u32, semaphores))
            });
            let told = seminfo((info == command::SEM_INFO).then_some(there));
            call.k.write_user(call.current, argument, &told).await?;
            return Ok(u64::from(highest));
        }
        ipc::IPC_SET => {
            let mut bytes = [0; Permissions::LEN];
            call.k.read_user(call.current, argument, &mut bytes).await?;
            call.k.with(|s| s.change_semaphores(id, &Permissions::from_bytes(&bytes)))?;
        }
        ipc::IPC_RMID => call.k.with(|s| s.remove_semaphores(id))?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
