//! `epoll`.

use alloc::vec;

use maize_abi::Errno;
use maize_abi::file::{epoll as e, o};
use maize_hal::{Arch, Nanos};
use maize_vfs::{Change, Interest};

use super::super::{Call, CallResult};
use super::open::install_new;
use super::poll::{TimeOut, mask_signals, unmask_signals};
use crate::wait::{Interruptible, WaitKey, Woken};

/// Events told by one call at most. Linux allows more, and no program minds being told in parts.
const MOST: usize = 1024;

pub(super) fn create<A: Arch>(call: Call<'_, A>, has_flags: bool) -> CallResult {
    let flags = if has_flags { call.uint(0) } else { 0 };
    if flags & !o::O_CLOEXEC != 0 || !has_flags && call.int(0) <= 0 {
        return Err(Errno::EINVAL);
    }
    install_new(call, flags & o::O_CLOEXEC != 0, |vfs, env, caller| {
        vfs.make_interest_set(env, caller)
    })
}

pub(super) async fn change<A: Arch>(call: Call<'_, A>) -> CallResult {
    let command = call.uint(1);
    let interest = if command == e::EPOLL_CTL_DEL {
        Interest { events: 0, data: 0 }
    } else {
        read_event(call, call.args[3]).await?
    };
    let (set, file) = (call.file(0)?, call.file(2)?);
    let change = match command {
        e::EPOLL_CTL_ADD => Change::Add(interest),
        e::EPOLL_CTL_MOD => Change::Modify(interest),
        e::EPOLL_CTL_DEL => Change::Delete,
        _ => return Err(Errno::EINVAL),
    };
    call.k.with(|s| s.files.vfs.change_interest(set, (call.int(2), file), change)).map(|()| 0)
}

/// Reads a `struct epoll_event`.
async fn read_event<A: Arch>(call: Call<'_, A>, address: u64) -> Result<Interest, Errno> {
    let (len, data_at) = call.isa.epoll_event();
    let mut bytes = [0; 16];
    call.k.read_user(call.current, address, &mut bytes[..len]).await?;
    let mut events = [0; 4];
    events.copy_from_slice(&bytes[..4]);
    let mut data = [0; 8];
    data.copy_from_slice(&bytes[data_at..data_at + 8]);
    Ok(Interest { events: u32::from_le_bytes(events), data: u64::from_le_bytes(data) })
}

/// Waits until the set has something to tell or the deadline has passed; tells it.
///
/// # Errors
/// `EINTR` if a signal came first.
async fn wait_until<A: Arch>(call: Call<'_, A>, deadline: Nanos) -> CallResult {
    let (current, address) = (call.current, call.args[1]);
    let set = call.file(0)?;
    let most = usize::try_from(call.int(2)).ok().filter(|most| *most > 0).ok_or(Errno::EINVAL)?;
    let most = most.min(MOST);
    let key = call.k.with(|s| s.files.vfs.interest_key(set))?;
    let (len, data_at) = call.isa.epoll_event();
    let mut late = false;
    loop {
        let told = call.k.with(|s| {
            let pending = s.signals_to_poll(current)?;
            s.files.vfs.to_tell(set, most, pending)
        })?;
        if told.is_empty() {
            if late {
                return Ok(0);
            }
            let keys = [WaitKey::File(key)];
            let by = Interruptible::BySignals;
            match call.k.wait_for(current.task, &keys, deadline, by).await {
                Woken::Event => {}
                Woken::TimedOut => late = true,
                Woken::Interrupted => return Err(Errno::EINTR),
            }
            continue;
        }
        let room = (told.len() * len) as u64;
        call.k.hold_writable(current, address, room).await?;
        // Obtaining the memory may have taken its time: what is told is what holds now.
        let done = call.k.with(|s| {
            let pending = s.signals_to_poll(current)?;
            let told = s.files.vfs.to_tell(set, told.len(), pending)?;
            let mut bytes = vec![0; told.len() * len];
            for (event, (_, _, told)) in bytes.chunks_exact_mut(len).zip(&told) {
                event[..4].copy_from_slice(&told.events.to_le_bytes());
                event[data_at..data_at + 8].copy_from_slice(&told.data.to_le_bytes());
            }
            let space = s.thread_space(current.tid).ok_or(Errno::EFAULT)?;
            if !s.try_write(space, address, &bytes)? {
                return Ok(None);
            }
            s.files.vfs.tell(set, &told)?;
            Ok::<_, Errno>(Some(told.len() as u64))
        })?;
        match done {
            Some(0) | None => {}
            Some(count) => return Ok(count),
        }
    }
}

/// A deadline from a time-out in milliseconds; a negative one is none.
fn deadline<A: Arch>(call: Call<'_, A>, millis: i32) -> Nanos {
    match u64::try_from(millis) {
        Ok(millis) => call.k.with(|s| s.now()) + Nanos::from_millis(millis),
        Err(_) => Nanos::NEVER,
    }
}

pub(super) async fn wait<A: Arch>(call: Call<'_, A>) -> CallResult {
    wait_until(call, deadline(call, call.int(3))).await
}

pub(super) async fn pwait<A: Arch>(call: Call<'_, A>) -> CallResult {
    let deadline = deadline(call, call.int(3));
    mask_signals(call, call.args[4], call.args[5]).await?;
    ended(call, wait_until(call, deadline).await)
}

pub(super) async fn pwait2<A: Arch>(call: Call<'_, A>) -> CallResult {
    let time_out = TimeOut::read(call, call.args[3]).await?;
    mask_signals(call, call.args[4], call.args[5]).await?;
    ended(call, wait_until(call, time_out.deadline).await)
}

/// Ends a call with a signal mask. As on Linux a signal ends it whatever its handler asks for.
fn ended<A: Arch>(call: Call<'_, A>, result: CallResult) -> CallResult {
    match unmask_signals(call, result) {
        Err(Errno::ERESTARTNOHAND) => Err(Errno::EINTR),
        other => other,
    }
}
