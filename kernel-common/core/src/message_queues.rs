//! Message queues of System V, which programs find by a number or a key.
//!
//! A message is in the kernel's heap from when it is sent until it is received.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::ipc::Permissions;
use maize_abi::message_queue::{Limits, MsqidDs, Usage};
use maize_hal::Arch;

use crate::ids::Pid;
use crate::state::State;
use crate::system_v::Object;
use crate::thread::Current;
use crate::wait::WaitKey;

/// Bytes of messages in a queue at most, and their number (`kernel.msgmnb`).
const MOST_BYTES: u64 = 16384;

/// Bytes of a message at most (`kernel.msgmax`).
pub(crate) const LARGEST: usize = 8192;

/// What there may be at most.
pub(crate) const LIMITS: Limits =
    Limits { message: LARGEST as u32, queue: MOST_BYTES as u32, queues: Queue::MOST as u32 };

#[derive(Debug)]
struct Message {
    kind: i64,
    text: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    /// Without what is counted when it is asked for.
    facts: MsqidDs,
    messages: VecDeque<Message>,
    bytes: u64,
}

impl Object for Queue {
    /// Linux has more (`kernel.msgmni`), and memory for what may be in them.
    const MOST: usize = 256;

    fn permissions(&self) -> &Permissions {
        &self.facts.permissions
    }

    fn permissions_mut(&mut self) -> &mut Permissions {
        &mut self.facts.permissions
    }
}

/// Which messages a receiver takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The first.
    Any,
    /// The first of this kind.
    Kind(i64),
    /// The first of another kind.
    Except(i64),
    /// The first of the lowest kind, if that is not above this one.
    UpTo(i64),
}

/// How a receiver takes a message: into how many bytes, and whether what does not fit is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) address: u64,
    pub(crate) len: u64,
    pub(crate) cuts: bool,
}

/// How far receiving a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A message of so many bytes is in the program's memory.
    Got(u64),
    /// The next one needs so many bytes that can be written to in this step.
    Needs(u64),
    /// There is none.
    Nothing,
}

impl Queue {
    /// What `IPC_STAT` tells.
    pub(crate) fn told(&self) -> MsqidDs {
        MsqidDs { bytes: self.bytes, count: self.messages.len() as u64, ..self.facts }
    }

    fn find(&self, wanted: Wanted) -> Option<usize> {
        let mut all = self.messages.iter().enumerate();
        match wanted {
            Wanted::Any => (!self.messages.is_empty()).then_some(0),
            Wanted::Kind(kind) => all.find(|(_, it)| it.kind == kind).map(|(at, _)| at),
            Wanted::Except(kind) => all.find(|(_, it)| it.kind != kind).map(|(at, _)| at),
            Wanted::UpTo(most) => {
                // The first of several.
                let lowest = all.min_by_key(|(at, it)| (it.kind, *at))?;
                (lowest.1.kind <= most).then_some(lowest.0)
            }
        }
    }
}

impl<A: Arch> State<A> {
    /// The queue of a key, or a new one: `msgget`.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `ENOSPC`.
    pub(crate) fn find_message_queue(&mut self, key: i32, flags: u32) -> Result<u64, Errno> {
        if let Some((id, _)) = self.message_queues.find(key, flags)? {
            return Ok(id as u64);
        }
        let room = self.message_queues.check_room()?;
        let facts = MsqidDs {
            permissions: Permissions::new(key, flags),
            times: [0, 0, self.seconds()],
            most_bytes: MOST_BYTES,
            ..MsqidDs::default()
        };
        let queue = Queue { facts, messages: VecDeque::new(), bytes: 0 };
        Ok(self.message_queues.add(room, queue) as u64)
    }

    /// Puts a message into a queue. False if it is full.
    ///
    /// # Errors
    /// `EINVAL` if there is no such queue.
    pub(crate) fn send_message(
        &mut self,
        id: i32,
        by: Pid,
        (kind, text): (i64, &[u8]),
    ) -> Result<bool, Errno> {
        let now = self.seconds();
        let queue = self.message_queues.get_mut(id)?;
        let (bytes, count) = (queue.bytes + text.len() as u64, queue.messages.len() as u64 + 1);
        if bytes > queue.facts.most_bytes || count > queue.facts.most_bytes {
            return Ok(false);
        }
        queue.bytes = bytes;
        queue.messages.push_back(Message { kind, text: text.to_vec() });
        queue.facts.times[0] = now;
        queue.facts.pids[0] = by.0;
        self.wake(WaitKey::Messages(id));
        Ok(true)
    }

    /// Takes a message out of a queue and writes it to the program's memory.
    ///
    /// # Errors
    /// `EINVAL` if there is no such queue, `E2BIG` if the message does not fit, `EFAULT`.
    pub(crate) fn receive_message(
        &mut self,
        current: Current,
        id: i32,
        wanted: Wanted,
        room: Room,
    ) -> Result<Received, Errno> {
        let queue = self.message_queues.get_mut(id)?;
        let Some(at) = queue.find(wanted) else { return Ok(Received::Nothing) };
        let whole = queue.messages.get(at).map_or(0, |message| message.text.len() as u64);
        if whole > room.len && !room.cuts {
            return Err(Errno::E2BIG);
        }
        let len = whole.min(room.len);
        let needs = size_of::<i64>() as u64 + len;
        if !self.is_writable_now(current, room.address, needs)? {
            return Ok(Received::Needs(needs));
        }
        let now = self.seconds();
        let queue = self.message_queues.get_mut(id)?;
        let Some(message) = queue.messages.remove(at) else { return Ok(Received::Nothing) };
        queue.bytes -= whole;
        queue.facts.times[1] = now;
        queue.facts.pids[1] = current.pid.0;
        let mut bytes = message.kind.to_le_bytes().to_vec();
        bytes.extend(message.text.iter().take(len as usize));
        self.write_now(current, room.address, &bytes)?;
        // There is room.
        self.wake(WaitKey::Messages(id));
        Ok(Received::Got(len))
    }

    /// What `IPC_STAT` tells.
    ///
    /// # Errors
    /// `EINVAL` if there is no such queue.
    pub(crate) fn message_queue_facts(&self, id: i32) -> Result<MsqidDs, Errno> {
        self.message_queues.get(id).map(Queue::told)
    }

    /// The number of the queue at a place, and what is told of it.
    ///
    /// # Errors
    /// `EINVAL` if there is none.
    pub(crate) fn message_queue_at_place(&self, id: i32) -> Result<(i32, MsqidDs), Errno> {
        self.message_queues.at_place(id).map(|(id, queue)| (id, queue.told()))
    }

    /// The highest place that has a queue, and what there is of all.
    pub(crate) fn message_queues_usage(&self) -> (u32, Usage) {
        let mut usage = Usage { queues: self.message_queues.len() as u32, ..Usage::default() };
        for (_, queue) in self.message_queues.iter() {
            usage.messages += queue.messages.len() as u32;
            usage.bytes += queue.bytes as u32;
        }
        (self.message_queues.highest_place(), usage)
    }

    /// `IPC_SET`.
    ///
    /// # Errors
    /// `EINVAL` if there is no such queue, `EPERM` for more bytes than one may have.
    pub(crate) fn change_message_queue(
        &mut self,
        id: i32,
        wanted: &Permissions,
        most_bytes: u64,
    ) -> Result<(), Errno> {
        let now = self.seconds();
        let facts = &mut self.message_queues.get_mut(id)?.facts;
        if most_bytes > MOST_BYTES {
            return Err(Errno::EPERM);
        }
        facts.permissions.set(wanted);
        facts.most_bytes = most_bytes;
        facts.times[2] = now;
        self.wake(WaitKey::Messages(id));
        Ok(())
    }

    /// `IPC_RMID`: whoever waits is told.
    ///
    /// # Errors
    /// `EINVAL` if there is no such queue.
    pub(crate) fn remove_message_queue(&mut self, id: i32) -> Result<(), Errno> {
        self.message_queues.remove(id)?;
        self.wake(WaitKey::Messages(id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_by_kind() {
        let message = |kind| Message { kind, text: Vec::new() };
        let messages = [5, 3, 3, 9].map(message).into();
        let queue = Queue { facts: MsqidDs::default(), messages, bytes: 0 };
        let cases = [
            (Wanted::Any, Some(0)),
            (Wanted::Kind(9), Some(3)),
            (Wanted::Kind(4), None),
            (Wanted::Except(5), Some(1)),
            (Wanted::UpTo(9), Some(1)),
            (Wanted::UpTo(2), None),
        ];
        for (wanted, at) in cases {
            assert_eq!(queue.find(wanted), at, "{wanted:?}");
        }
        let empty = Queue { facts: MsqidDs::default(), messages: VecDeque::new(), bytes: 0 };
        assert_eq!((empty.find(Wanted::Any), empty.find(Wanted::UpTo(9))), (None, None));
    }
}
