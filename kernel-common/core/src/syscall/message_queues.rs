//! System V message queues.

use alloc::vec;

use maize_abi::Errno;
use maize_abi::ipc::{self, Permissions};
use maize_abi::message_queue::{MsqidDs, command, msg, msginfo};
use maize_hal::{Arch, Nanos};

use super::{Call, CallResult};
use crate::message_queues::{LARGEST, LIMITS, Received, Room, Wanted};
use crate::wait::{Interruptible, WaitKey, Woken};

/// Bytes before a message's text: its kind.
const KIND_LEN: u64 = size_of::<i64>() as u64;

impl<A: Arch> Call<'_, A> {
    /// The queue that the first argument names.
    fn queue(&self) -> Result<i32, Errno> {
        if self.int(0) < 0 { Err(Errno::EINVAL) } else { Ok(self.int(0)) }
    }

    /// Waits until something has changed in a queue. It is never begun anew after a handler, as on Linux.
    async fn wait_for_messages(&self, id: i32) -> Result<(), Errno> {
        let keys = [WaitKey::Messages(id)];
        let by = Interruptible::BySignals;
        match self.k.wait_for(self.current.task, &keys, Nanos::NEVER, by).await {
            Woken::Interrupted => Err(Errno::ERESTARTNOHAND),
            Woken::Event | Woken::TimedOut => Ok(()),
        }
    }
}

/// The error of a try: after a wait, a queue that is not there was removed meanwhile.
fn after_wait(waited: bool) -> impl Fn(Errno) -> Errno {
    move |errno| if waited && errno == Errno::EINVAL { Errno::EIDRM } else { errno }
}

pub(super) fn msgget<A: Arch>(call: Call<'_, A>) -> CallResult {
    call.k.with(|s| s.find_message_queue(call.int(0), call.uint(1)))
}

pub(super) async fn msgsnd<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, address, len, ..] = call.args;
    let id = call.queue()?;
    let len = usize::try_from(len).ok().filter(|len| *len <= LARGEST).ok_or(Errno::EINVAL)?;
    let [kind] = call.k.read_words(call.current, address).await?.map(|word| word as i64);
    if kind < 1 {
        return Err(Errno::EINVAL);
    }
    let mut text = vec![0; len];
    let at = address.checked_add(KIND_LEN).ok_or(Errno::EFAULT)?;
    call.k.read_user(call.current, at, &mut text).await?;
    let mut waited = false;
    loop {
        let sent = call.k.with(|s| s.send_message(id, call.current.pid, (kind, &text)));
        if sent.map_err(after_wait(waited))? {
            return Ok(0);
        }
        if call.uint(3) & ipc::IPC_NOWAIT != 0 {
            return Err(Errno::EAGAIN);
        }
        call.wait_for_messages(id).await?;
        waited = true;
    }
}

pub(super) async fn msgrcv<A: Arch>(call: Call<'_, A>) -> CallResult {
    let [_, address, len, kind, ..] = call.args;
    let (kind, flags) = (kind as i64, call.uint(4));
    if flags & msg::MSG_COPY != 0 {
        return Err(Errno::ENOSYS);
    }
    let id = call.queue()?;
    if len > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    let wanted = match kind {
        0 => Wanted::Any,
        1.. if flags & msg::MSG_EXCEPT != 0 => Wanted::Except(kind),
        1.. => Wanted::Kind(kind),
        // The lowest number has no positive one.
        _ => Wanted::UpTo(kind.checked_neg().unwrap_or(i64::MAX)),
    };
    let room = Room { address, len, cuts: flags & msg::MSG_NOERROR != 0 };
    let mut waited = false;
    loop {
        let received = call.k.with(|s| s.receive_message(call.current, id, wanted, room));
        match received.map_err(after_wait(waited))? {
            Received::Got(len) => return Ok(len),
            Received::Needs(len) => call.k.hold_writable(call.current, address, len).await?,
            Received::Nothing if flags & ipc::IPC_NOWAIT != 0 => return Err(Errno::ENOMSG),
            Received::Nothing => {
                call.wait_for_messages(id).await?;
                waited = true;
            }
        }
    }
}

pub(super) async fn msgctl<A: Arch>(call: Call<'_, A>) -> CallResult {
    let (id, buffer) = (call.queue()?, call.args[2]);
    match call.uint(1) {
        ipc::IPC_RMID => call.k.with(|s| s.remove_message_queue(id))?,
        ipc::IPC_STAT => {
            let facts = call.k.with(|s| s.message_queue_facts(id))?;
            call.k.write_user(call.current, buffer, &facts.to_bytes()).await?;
        }
        command::MSG_STAT | command::MSG_STAT_ANY => {
            let (id, facts) = call.k.with(|s| s.message_queue_at_place(id))?;
            call.k.write_user(call.current, buffer, &facts.to_bytes()).await?;
            return Ok(id as u64);
        }
        info @ (ipc::IPC_INFO | command::MSG_INFO) => {
            let (highest, usage) = call.k.with(|s| s.message_queues_usage());
            let told = msginfo(LIMITS, (info == command::MSG_INFO).then_some(usage));
            call.k.write_user(call.current, buffer, &told).await?;
            return Ok(u64::from(highest));
        }
        ipc::IPC_SET => {
            let mut bytes = [0; MsqidDs::LEN];
            call.k.read_user(call.current, buffer, &mut bytes).await?;
            let most = MsqidDs::settable_bytes(&bytes);
            let wanted = Permissions::from_bytes(&bytes);
            call.k.with(|s| s.change_message_queue(id, &wanted, most))?;
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}
