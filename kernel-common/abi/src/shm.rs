//! System V shared memory: numbers and structures, the same on all 64-bit instruction sets.

use crate::ipc::{Permissions, pair, structure};

/// Command: keep a segment in memory.
pub const SHM_LOCK: u32 = 11;
/// Command: a segment need not be kept in memory.
pub const SHM_UNLOCK: u32 = 12;

/// Command: tell what a segment is like that a place leads to.
pub const SHM_STAT: u32 = 13;
/// Command: tell what there is of all segments.
pub const SHM_INFO: u32 = 14;
/// Command: as [`SHM_STAT`], also of a segment that may not be read.
pub const SHM_STAT_ANY: u32 = 15;

/// Flag of `shmget`: huge pages.
pub const SHM_HUGETLB: u32 = 0o4000;

/// Flag of `shmat`: not to be written.
pub const SHM_RDONLY: u32 = 0o10_000;
/// Flag of `shmat`: at the page of the address.
pub const SHM_RND: u32 = 0o20_000;
/// Flag of `shmat`: in place of what is there.
pub const SHM_REMAP: u32 = 0o40_000;
/// Flag of `shmat`: to be executed, too.
pub const SHM_EXEC: u32 = 0o100_000;

/// Flag of a mode: the segment goes with its last mapping.
pub const SHM_DEST: u32 = 0o1000;

/// `struct shmid64_ds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ShmidDs {
    /// Its key, and whose it is; the mode may have [`SHM_DEST`].
    pub permissions: Permissions,
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
        let [at, dt, ct] = self.times.map(|time| time as u64);
        structure(&self.permissions, &[self.len, at, dt, ct, pair(self.pids), self.attached])
    }
}

/// What there may be at most: `struct shminfo64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a segment.
    pub len: u64,
    /// Segments.
    pub segments: u64,
    /// Pages of all segments.
    pub pages: u64,
}

impl Limits {
    /// The structure as C has it. A process may attach as many segments as there may be.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 72] {
        words(&[self.len, 1, self.segments, self.segments, self.pages])
    }
}

/// What there is of all segments: `struct shm_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Segments.
    pub segments: u32,
    /// Pages that the segments have.
    pub pages: u64,
    /// Pages that are in memory; none is ever anywhere else.
    pub resident: u64,
}

impl Usage {
    /// The structure as C has it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 48] {
        words(&[self.segments.into(), self.pages, self.resident])
    }
}

/// 64-bit words, and zeros behind them.
fn words<const N: usize>(words: &[u64]) -> [u8; N] {
    let mut out = [0; N];
    for (chunk, word) in out.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_c_has_them() {
        let permissions = Permissions { key: -2, mode: 0o1600, ..Permissions::default() };
        let segment =
            ShmidDs { permissions, len: 5, times: [6, 7, 8], pids: [9, 10], attached: 11 };
        let bytes = segment.to_bytes();
        assert_eq!(Permissions::from_bytes(&bytes), permissions);
        for (at, value) in [(48, 5), (56, 6), (64, 7), (72, 8), (80, 9), (84, 10), (88, 11)] {
            assert_eq!(bytes[at], value, "{at}");
        }
        let limits = Limits { len: 2, segments: 3, pages: 4 }.to_bytes();
        assert_eq!([0, 8, 16, 24, 32, 40].map(|at| limits[at]), [2, 1, 3, 3, 4, 0]);
        let usage = Usage { segments: 2, pages: 3, resident: 4 }.to_bytes();
        assert_eq!([0, 4, 8, 16, 24].map(|at| usage[at]), [2, 0, 3, 4, 0]);
    }
}
