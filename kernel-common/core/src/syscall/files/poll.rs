//! `poll` and `ppoll`.

use alloc::vec;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::poll as p;
use maize_abi::signal::SignalSet;
use maize_hal::{Arch, Nanos};

use super::super::clock::{timespec, timespec_bytes};
use super::super::{Call, CallResult};
use crate::process::rlimit;
use crate::state::State;
use crate::thread::{Current, RestartBlock};
use crate::wait::{Interruptible, WaitKey, Woken};

/// Bytes of a `struct pollfd`.
const POLLFD_LEN: usize = 8;

/// A descriptor, the events asked for, and those that hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Polled {
    pub(super) fd: i32,
    pub(super) events: u16,
    pub(super) found: u16,
}

impl<A: Arch> State<A> {
    /// Finds out which events hold. Returns how many descriptors have any, and what to wait for if
    /// none has.
    pub(super) fn poll_files(
        &self,
        current: Current,
        polled: &mut [Polled],
    ) -> Result<(u64, Vec<WaitKey>), Errno> {
        let mut ready = 0;
        let mut keys = Vec::new();
        let table = self.descriptors(current)?;
        let pending = self.signals_to_poll(current)?;
        for one in polled {
            one.found = 0;
            if one.fd < 0 {
                continue;
            }
            let Ok(file) = table.file(one.fd) else {
                one.found = p::POLLNVAL;
                ready += 1;
                continue;
            };
            let wanted = one.events | p::POLLERR | p::POLLHUP | p::POLLNVAL;
            one.found = self.files.vfs.poll(file, pending)? & wanted;
            if one.found != 0 {
                ready += 1;
            } else {
                let sources = self.files.vfs.poll_keys(file)?;
                keys.extend(sources.into_iter().flatten().map(WaitKey::File));
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok((ready, keys))
    }

    /// Ends a temporary signal mask whose call was not interrupted.
    fn restore_mask(&mut self, current: Current) {
        if let Some(thread) = self.threads.get_mut(&current.tid)
            && let Some(mask) = thread.saved_mask.take()
        {
            thread.mask = mask;
        }
    }
}

/// Waits until an event holds or the deadline has passed. Returns how many descriptors have any.
///
/// # Errors
/// `EINTR` if a signal came first.
pub(super) async fn wait_ready<A: Arch>(
    call: Call<'_, A>,
    polled: &mut [Polled],
    deadline: Nanos,
) -> CallResult {
    loop {
        let (ready, keys) = call.k.with(|s| s.poll_files(call.current, polled))?;
        if ready > 0 {
            return Ok(ready);
        }
        let by = Interruptible::BySignals;
        match call.k.wait_for(call.current.task, &keys, deadline, by).await {
            Woken::Event => {}
            Woken::TimedOut => {
                let (ready, _) = call.k.with(|s| s.poll_files(call.current, polled))?;
                return Ok(ready);
            }
            Woken::Interrupted => return Err(Errno::EINTR),
        }
    }
}

async fn import<A: Arch>(call: Call<'_, A>, fds: u64, count: u64) -> Result<Vec<Polled>, Errno> {
    let limit = call.k.with(|s| {
        s.processes.get(&call.current.pid).map_or(0, |p| p.limits[rlimit::RLIMIT_NOFILE].soft)
    });
    if count > limit {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; count as usize * POLLFD_LEN];
    call.k.read_user(call.current, fds, &mut bytes).await?;
    Ok(bytes
        .as_chunks::<POLLFD_LEN>()
        .0
        .iter()
        .map(|b| Polled {
            fd: i32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            events: u16::from_le_bytes([b[4], b[5]]),
            found: 0,
        })
        .collect())
}

async fn export<A: Arch>(call: Call<'_, A>, fds: u64, polled: &[Polled]) -> Result<(), Errno> {
    let bytes: Vec<u8> = polled
        .iter()
        .flat_map(|one| {
            let mut b = [0; POLLFD_LEN];
            b[..4].copy_from_slice(&one.fd.to_le_bytes());
            b[4..6].copy_from_slice(&one.events.to_le_bytes());
            b[6..].copy_from_slice(&one.found.to_le_bytes());
            b
        })
        .collect();
    call.k.write_user(call.current, fds, &bytes).await
}

/// Goes on with a `poll` whose time-out became a deadline.
pub(in super::super) async fn poll_until<A: Arch>(
    call: Call<'_, A>,
    fds: u64,
    count: u64,
    deadline: Nanos,
) -> CallResult {
    let mut polled = import(call, fds, count).await?;
    match wait_ready(call, &mut polled, deadline).await {
        Ok(ready) => {
            export(call, fds, &polled).await?;
            Ok(ready)
        }
        Err(Errno::EINTR) => {
            let block = RestartBlock::Poll { fds, count, deadline };
            call.k.with(|s| s.set_restart(call.current.tid, block));
            Err(Errno::ERESTART_RESTARTBLOCK)
        }
        Err(errno) => Err(errno),
    }
}

pub(super) async fn poll<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [fds, count, ..] = call.args;
    let deadline = match u64::try_from(call.int(2)) {
        Ok(millis) => call.k.with(|s| s.now()) + Nanos::from_millis(millis),
        Err(_) => Nanos::NEVER,
    };
    poll_until(call, fds, u64::from(count as u32), deadline).await
}

/// A deadline from a relative time-out in user memory, with where to write what is left of it.
#[derive(Clone, Copy)]
pub(super) struct TimeOut {
    address: u64,
    pub(super) deadline: Nanos,
}

impl TimeOut {
    /// Reads a `struct timespec`; a null pointer is no time-out.
    pub(super) async fn read<A: Arch>(call: Call<'_, A>, address: u64) -> Result<TimeOut, Errno> {
        if address == 0 {
            return Ok(TimeOut { address, deadline: Nanos::NEVER });
        }
        let mut bytes = [0; 16];
        call.k.read_user(call.current, address, &mut bytes).await?;
        let span = timespec(&bytes)?;
        Ok(TimeOut { address, deadline: call.k.with(|s| s.now()) + span })
    }

    /// Writes what is left, as Linux does. That the memory cannot be written is no error.
    pub(super) async fn write_left<A: Arch>(self, call: Call<'_, A>) {
        if self.address != 0 {
            let left = self.deadline.since(call.k.with(|s| s.now()));
            let bytes = timespec_bytes(left);
            let _ = call.k.write_user(call.current, self.address, &bytes).await;
        }
    }
}

/// Sets the signal mask at `address` for the time of the call, if there is one.
pub(super) async fn mask_signals<A: Arch>(
    call: Call<'_, A>,
    address: u64,
    len: u64,
) -> Result<(), Errno> {
    if address == 0 {
        return Ok(());
    }
    if len != 8 {
        return Err(Errno::EINVAL);
    }
    let [mask] = call.k.read_words::<1>(call.current, address).await?;
    call.k.with(|s| s.set_temporary_mask(call.current.tid, SignalSet(mask)));
    Ok(())
}

/// Ends what [`mask_signals`] began. A signal that interrupted the call is delivered under the
/// temporary mask, and the mask ends with that.
pub(super) fn unmask_signals<A: Arch>(call: Call<'_, A>, result: CallResult) -> CallResult {
    if let Err(Errno::EINTR) = result {
        return Err(Errno::ERESTARTNOHAND);
    }
    call.k.with(|s| s.restore_mask(call.current));
    result
}

pub(super) async fn ppoll<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [fds, count, time_out, mask, mask_len, _] = call.args;
    let time_out = TimeOut::read(call, time_out).await?;
    let mut polled = import(call, fds, u64::from(count as u32)).await?;
    mask_signals(call, mask, mask_len).await?;
    let mut result = wait_ready(call, &mut polled, time_out.deadline).await;
    if result.is_ok()
        && let Err(errno) = export(call, fds, &polled).await
    {
        result = Err(errno);
    }
    time_out.write_left(call).await;
    unmask_signals(call, result)
}
