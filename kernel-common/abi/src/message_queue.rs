//! System V message queues: numbers and structures, the same on all 64-bit instruction sets.

use crate::ipc::{Permissions, pair, structure};

/// Flags of `msgrcv`.
pub mod msg {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const MSG_NOERROR: u32 = 0o10_000;
    pub const MSG_EXCEPT: u32 = 0o20_000;
    /// For checkpoints, which not every Linux has.
    pub const MSG_COPY: u32 = 0o40_000;
}

/// Commands of `msgctl`.
pub mod command {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const MSG_STAT: u32 = 11;
    pub const MSG_INFO: u32 = 12;
    pub const MSG_STAT_ANY: u32 = 13;
}

/// What there may be at most of messages and queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message.
    pub message: u32,
    /// Bytes of the messages in a queue.
    pub queue: u32,
    /// Queues.
    pub queues: u32,
}

/// What there is of all queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Queues.
    pub queues: u32,
    /// Messages in all of them.
    pub messages: u32,
    /// Bytes of these messages.
    pub bytes: u32,
}

/// `struct msginfo`: the limits, and for `MSG_INFO` what is there.
#[must_use]
pub fn msginfo(limits: Limits, there: Option<Usage>) -> [u8; 32] {
    /// Bytes of a segment of messages, and their number, which mean nothing any more.
    const MSGSSZ: u32 = 16;
    const MSGSEG: u32 = 0xffff;
    let pool = limits.queues * (limits.queue / 1024);
    let named = Usage { queues: pool, messages: limits.queue, bytes: limits.queue };
    let Usage { queues: pool, messages: map, bytes: headers } = there.unwrap_or(named);
    let words = [pool, map, limits.message, limits.queue, limits.queues, MSGSSZ, headers, MSGSEG];
    let mut out = [0; 32];
    out.copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
    out
}

/// `struct msqid64_ds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MsqidDs {
    /// Its key, and whose it is.
    pub permissions: Permissions,
    /// Seconds since the epoch of the last `msgsnd`, `msgrcv` and change.
    pub times: [i64; 3],
    /// Bytes of messages that are in it.
    pub bytes: u64,
    /// Messages that are in it.
    pub count: u64,
    /// Bytes of messages at most.
    pub most_bytes: u64,
    /// The processes that sent and that received last.
    pub pids: [u32; 2],
}

impl MsqidDs {
    /// Bytes of the structure.
    pub const LEN: usize = 120;

    /// The structure as C has it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let [st, rt, ct] = self.times.map(|time| time as u64);
        let words = [st, rt, ct, self.bytes, self.count, self.most_bytes, pair(self.pids)];
        structure(&self.permissions, &words)
    }

    /// What `IPC_SET` takes of the structure's bytes beside the permissions: bytes at most.
    #[must_use]
    pub const fn settable_bytes(bytes: &[u8; Self::LEN]) -> u64 {
        let (longs, _) = bytes.as_chunks::<8>();
        u64::from_le_bytes(longs[11])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_c_has_them() {
        let permissions = Permissions { key: -2, mode: 0o600, ..Permissions::default() };
        let queue = MsqidDs {
            permissions,
            times: [6, 7, 8],
            bytes: 9,
            count: 10,
            most_bytes: 11,
            pids: [12, 13],
        };
        let bytes = queue.to_bytes();
        assert_eq!(MsqidDs::settable_bytes(&bytes), 11);
        assert_eq!(Permissions::from_bytes(&bytes), permissions);
        let places = [(48, 6), (56, 7), (64, 8), (72, 9), (80, 10), (88, 11), (96, 12), (100, 13)];
        for (at, value) in places {
            assert_eq!(bytes[at], value, "{at}");
        }
        let limits = Limits { message: 2, queue: 3 << 10, queues: 4 };
        let bytes = msginfo(limits, None);
        assert_eq!(
            [0, 5, 8, 13, 16, 20, 25, 28].map(|at| bytes[at]),
            [12, 12, 2, 12, 4, 16, 12, 255]
        );
        let bytes = msginfo(limits, Some(Usage { queues: 5, messages: 6, bytes: 7 }));
        assert_eq!([0, 4, 24].map(|at| bytes[at]), [5, 6, 7]);
    }
}
