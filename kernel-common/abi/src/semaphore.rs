//! System V semaphores: numbers and structures.

use alloc::vec::Vec;

use crate::IsaKind;
use crate::ipc::{Permissions, structure};

/// Flag of an operation: it is undone when the process ends.
pub const SEM_UNDO: u16 = 0x1000;

/// Commands of `semctl`.
pub mod command {
    #![allow(missing_docs, reason = "the names are Linux's own")]
    pub const GETPID: u32 = 11;
    pub const GETVAL: u32 = 12;
    pub const GETALL: u32 = 13;
    pub const GETNCNT: u32 = 14;
    pub const GETZCNT: u32 = 15;
    pub const SETVAL: u32 = 16;
    pub const SETALL: u32 = 17;
    pub const SEM_STAT: u32 = 18;
    pub const SEM_INFO: u32 = 19;
    pub const SEM_STAT_ANY: u32 = 20;
}

/// Limits, as Linux has them unless told otherwise (`kernel.sem`).
pub mod limit {
    /// Semaphores in a set at most.
    pub const SEMMSL: u32 = 32_000;
    /// Semaphores in all sets at most.
    pub const SEMMNS: u32 = SEMMNI * SEMMSL;
    /// Operations of a call at most.
    pub const SEMOPM: u32 = 500;
    /// Sets at most.
    pub const SEMMNI: u32 = 32_000;
    /// The highest value of a semaphore, and the most that is undone of one.
    pub const SEMVMX: i32 = 32_767;
}

/// `struct sembuf`: an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sembuf {
    /// Which semaphore of the set.
    pub number: u16,
    /// What is added to it. 0 waits until it is 0.
    pub change: i16,
    /// `IPC_NOWAIT` and [`SEM_UNDO`].
    pub flags: u16,
}

impl Sembuf {
    /// Bytes of the structure.
    pub const LEN: usize = 6;

    /// The structure, of its bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Sembuf {
        let [number0, number1, change0, change1, flags0, flags1] = *bytes;
        Sembuf {
            number: u16::from_le_bytes([number0, number1]),
            change: i16::from_le_bytes([change0, change1]),
            flags: u16::from_le_bytes([flags0, flags1]),
        }
    }
}

/// `struct semid64_ds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SemidDs {
    /// Its key, and whose it is.
    pub permissions: Permissions,
    /// Seconds since the epoch of the last operation and the last change.
    pub times: [i64; 2],
    /// Semaphores.
    pub count: u64,
}

impl SemidDs {
    /// The structure as C has it.
    #[must_use]
    pub fn to_bytes(&self, isa: IsaKind) -> Vec<u8> {
        let [operated, changed] = self.times.map(|time| time as u64);
        if isa.semaphore_times_are_apart() {
            let words = [operated, 0, changed, 0, self.count, 0, 0];
            structure::<104>(&self.permissions, &words).to_vec()
        } else {
            structure::<88>(&self.permissions, &[operated, changed, self.count]).to_vec()
        }
    }
}

/// `struct seminfo`: the limits, and for `SEM_INFO` what is there of sets and of semaphores.
#[must_use]
pub fn seminfo(there: Option<(u32, u32)>) -> [u8; 40] {
    use limit::{SEMMNI, SEMMNS, SEMMSL, SEMOPM, SEMVMX};
    /// What Linux says, which has no structure of that size.
    const SEMUSZ: u32 = 20;
    let highest = SEMVMX as u32;
    let (sets, semaphores) = there.unwrap_or((SEMUSZ, highest));
    let words = [SEMMNS, SEMMNI, SEMMNS, SEMMNS, SEMMSL, SEMOPM, SEMOPM, sets, highest, semaphores];
    let mut out = [0; 40];
    out.copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_c_has_them() {
        let operation = Sembuf::from_bytes(&[1, 2, 0xff, 0xff, 0, 0x18]);
        assert_eq!(operation, Sembuf { number: 0x201, change: -1, flags: 0x1800 });
        let permissions = Permissions { key: 7, ..Permissions::default() };
        let set = SemidDs { permissions, times: [1, 2], count: 3 };
        let cases = [
            (IsaKind::X86_64, 104, [(48, 1), (64, 2), (80, 3)]),
            (IsaKind::Aarch64, 88, [(48, 1), (56, 2), (64, 3)]),
        ];
        for (isa, len, places) in cases {
            let bytes = set.to_bytes(isa);
            assert_eq!((bytes.len(), bytes[0]), (len, 7));
            for (at, value) in places {
                assert_eq!(bytes[at], value, "{isa:?} {at}");
            }
        }
        let words = |bytes: [u8; 40]| {
            let words = bytes.as_chunks::<4>().0.iter().copied();
            words.map(u32::from_le_bytes).collect::<Vec<_>>()
        };
        let limits = words(seminfo(None));
        let all = 1_024_000_000;
        assert_eq!(limits, [all, 32000, all, all, 32000, 500, 500, 20, 32767, 32767]);
        let there = words(seminfo(Some((4, 9))));
        assert_eq!((there[7], there[9]), (4, 9));
    }
}
