//! System V shared memory: numbers and structures, the same on all 64-bit instruction sets.

/// Commands and flags.
pub mod ipc {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const IPC_PRIVATE: i32 = 0;
    pub const IPC_CREAT: u32 = 0o1000;
    pub const IPC_EXCL: u32 = 0o2000;
    pub const IPC_RMID: u32 = 0;
    pub const IPC_SET: u32 = 1;
    pub const IPC_STAT: u32 = 2;
    pub const SHM_LOCK: u32 = 11;
    pub const SHM_UNLOCK: u32 = 12;
    /// Of `shmget`.
    pub const SHM_HUGETLB: u32 = 0o4000;
    /// Of `shmat`.
    pub const SHM_RDONLY: u32 = 0o10_000;
    pub const SHM_RND: u32 = 0o20_000;
    pub const SHM_REMAP: u32 = 0o40_000;
    pub const SHM_EXEC: u32 = 0o100_000;
    /// Of a mode: the segment goes with its last mapping.
    pub const SHM_DEST: u32 = 0o1000;
}

/// `struct shmid64_ds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ShmidDs {
    /// What it was asked for by.
    pub key: i32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Who made it.
    pub creator: (u32, u32),
    /// Permissions, and `SHM_DEST`.
    pub mode: u32,
    /// Bytes.
    pub len: u64,
    /// Seconds since the epoch of the last `shmat`, `shmdt` and change.
    pub times: [i64; 3],
    /// The processes that made it and that used it last.
    pub pids: [u32; 2],
    /// Mappings.
    pub attached: u64,
}

impl ShmidDs {
    /// Bytes of the structure.
    pub const LEN: usize = 112;

    /// The structure as C has it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let ShmidDs { key, owner, creator, mode, times, pids, .. } = *self;
        let mut out = [0; Self::LEN];
        out[..24].copy_from_slice(permission_words(key, owner, creator, mode).as_flattened());
        let [at, dt, ct] = times.map(|time| time as u64);
        let both = u64::from(pids[0]) | u64::from(pids[1]) << 32;
        let longs = [self.len, at, dt, ct, both, self.attached];
        for (chunk, long) in out[48..].as_chunks_mut::<8>().0.iter_mut().zip(longs) {
            *chunk = long.to_le_bytes();
        }
        out
    }
}

/// The start of `struct ipc64_perm`.
pub(crate) fn permission_words(
    key: i32,
    owner: (u32, u32),
    creator: (u32, u32),
    mode: u32,
) -> [[u8; 4]; 6] {
    [key as u32, owner.0, owner.1, creator.0, creator.1, mode].map(u32::to_le_bytes)
}

/// What `IPC_SET` takes of the bytes of a structure that begins with `struct ipc64_perm`: owner, group,
/// permissions.
#[must_use]
pub fn settable_permissions<const N: usize>(bytes: &[u8; N]) -> (u32, u32, u32) {
    const { assert!(N >= 24) };
    let (words, _) = bytes.as_chunks::<4>();
    let word = |n: usize| u32::from_le_bytes(words[n]);
    (word(1), word(2), word(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_c_has_them() {
        let segment = ShmidDs {
            key: -2,
            owner: (1, 2),
            creator: (3, 4),
            mode: 0o1600,
            len: 5,
            times: [6, 7, 8],
            pids: [9, 10],
            attached: 11,
        };
        let bytes = segment.to_bytes();
        assert_eq!(settable_permissions(&bytes), (1, 2, 0o1600));
        assert_eq!(i32::from_le_bytes(*bytes.first_chunk().unwrap()), -2);
        for (at, value) in [(48, 5), (56, 6), (64, 7), (72, 8), (80, 9), (84, 10), (88, 11)] {
            assert_eq!(bytes[at], value, "{at}");
        }
    }
}
