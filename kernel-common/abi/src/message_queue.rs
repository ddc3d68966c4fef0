//! System V message queues: numbers and structures, the same on all 64-bit instruction sets.

use crate::shm::permission_words;

/// Flags of `msgrcv`.
pub mod msg {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const IPC_NOWAIT: u32 = 0o4000;
    pub const MSG_NOERROR: u32 = 0o10_000;
    pub const MSG_EXCEPT: u32 = 0o20_000;
    /// For checkpoints, which not every Linux has.
    pub const MSG_COPY: u32 = 0o40_000;
}

/// `struct msqid64_ds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MsqidDs {
    /// What it was asked for by.
    pub key: i32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Who made it.
    pub creator: (u32, u32),
    /// Permissions.
    pub mode: u32,
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
        let MsqidDs { key, owner, creator, mode, times, bytes, count, most_bytes, pids } = *self;
        let mut out = [0; Self::LEN];
        out[..24].copy_from_slice(permission_words(key, owner, creator, mode).as_flattened());
        let [st, rt, ct] = times.map(|time| time as u64);
        let both = u64::from(pids[0]) | u64::from(pids[1]) << 32;
        let longs = [st, rt, ct, bytes, count, most_bytes, both];
        for (chunk, long) in out[48..].as_chunks_mut::<8>().0.iter_mut().zip(longs) {
            *chunk = long.to_le_bytes();
        }
        out
    }

    /// What `IPC_SET` takes of the structure's bytes beside what
    /// [`crate::shm::settable_permissions`] does: bytes at most.
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
        let queue = MsqidDs {
            key: -2,
            owner: (1, 2),
            creator: (3, 4),
            mode: 0o600,
            times: [6, 7, 8],
            bytes: 9,
            count: 10,
            most_bytes: 11,
            pids: [12, 13],
        };
        let bytes = queue.to_bytes();
        assert_eq!(MsqidDs::settable_bytes(&bytes), 11);
        assert_eq!(i32::from_le_bytes(*bytes.first_chunk().unwrap()), -2);
        let places = [(4, 1), (8, 2), (12, 3), (16, 4), (48, 6), (56, 7), (64, 8)];
        let more = [(72, 9), (80, 10), (88, 11), (96, 12), (100, 13)];
        for (at, value) in places.into_iter().chain(more) {
            assert_eq!(bytes[at], value, "{at}");
        }
    }
}
