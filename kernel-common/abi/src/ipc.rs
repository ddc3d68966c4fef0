//! What the objects of System V have in common: shared memory, message queues, semaphores. Numbers and
//! structures are the same on all 64-bit instruction sets.

/// The key that no object is found by: whoever asks for it gets a new one.
pub const IPC_PRIVATE: i32 = 0;

/// Flag: make the object, if there is none.
pub const IPC_CREAT: u32 = 0o1000;
/// Flag, with [`IPC_CREAT`]: there must be none.
pub const IPC_EXCL: u32 = 0o2000;
/// Flag of what may wait: fail instead.
pub const IPC_NOWAIT: u32 = 0o4000;

/// Command: remove the object.
pub const IPC_RMID: u32 = 0;
/// Command: change owner and permissions.
pub const IPC_SET: u32 = 1;
/// Command: tell what the object is like.
pub const IPC_STAT: u32 = 2;
/// Command: tell the limits.
pub const IPC_INFO: u32 = 3;

/// The bits of a mode that say who may do what.
pub const PERMISSIONS: u32 = 0o777;

/// `struct ipc64_perm`, with which the structure of each object begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Permissions {
    /// What the object was asked for by.
    pub key: i32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Who made it.
    pub creator: (u32, u32),
    /// [`PERMISSIONS`], and flags of some objects.
    pub mode: u32,
    /// Tells the objects apart that have a place after one another.
    pub sequence: u16,
}

impl Permissions {
    /// Bytes of the structure.
    pub const LEN: usize = 48;

    /// Of a new object that was asked for by `key`, with the flags of that call.
    #[must_use]
    pub fn new(key: i32, flags: u32) -> Permissions {
        Permissions { key, mode: flags & PERMISSIONS, ..Permissions::default() }
    }

    /// The structure as C has it.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let Permissions { key, owner, creator, mode, sequence } = *self;
        let words = [key as u32, owner.0, owner.1, creator.0, creator.1, mode, sequence.into()];
        let mut out = [0; Self::LEN];
        for (chunk, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *chunk = word.to_le_bytes();
        }
        out
    }

    /// Of the bytes of a structure that begins with this one.
    #[must_use]
    pub fn from_bytes<const N: usize>(bytes: &[u8; N]) -> Permissions {
        const { assert!(N >= Self::LEN) };
        let (words, _) = bytes.as_chunks::<4>();
        let word = |n: usize| u32::from_le_bytes(words[n]);
        Permissions {
            key: word(0) as i32,
            owner: (word(1), word(2)),
            creator: (word(3), word(4)),
            mode: word(5),
            sequence: word(6) as u16,
        }
    }

    /// Takes over what [`IPC_SET`] may change: owner, group, permissions.
    pub const fn set(&mut self, wanted: &Permissions) {
        self.owner = wanted.owner;
        self.mode = self.mode & !PERMISSIONS | wanted.mode & PERMISSIONS;
    }
}

/// A structure that has [`Permissions`] first, and then 64-bit words.
pub(crate) fn structure<const N: usize>(permissions: &Permissions, words: &[u64]) -> [u8; N] {
    const { assert!(N >= Permissions::LEN) };
    let mut out = [0; N];
    out[..Permissions::LEN].copy_from_slice(&permissions.to_bytes());
    for (chunk, word) in out[Permissions::LEN..].as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    out
}

/// Two 32-bit fields side by side, as a word.
pub(crate) const fn pair([low, high]: [u32; 2]) -> u64 {
    low as u64 | (high as u64) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_c_has_them() {
        let all =
            Permissions { key: -2, owner: (1, 2), creator: (3, 4), mode: 0o1600, sequence: 0x1234 };
        let bytes: [u8; 64] = structure(&all, &[pair([5, 6]), 7]);
        assert_eq!(Permissions::from_bytes(&bytes), all);
        assert_eq!(i32::from_le_bytes(*bytes.first_chunk().unwrap()), -2);
        let places =
            [(4, 1), (8, 2), (12, 3), (16, 4), (20, 0x80), (21, 3), (24, 0x34), (25, 0x12)];
        for (at, value) in places.into_iter().chain([(48, 5), (52, 6), (56, 7)]) {
            assert_eq!(bytes[at], value, "{at}");
        }
    }

    #[test]
    fn only_owner_and_permissions_are_set() {
        let mut all = Permissions { key: 1, mode: 0o1600, sequence: 2, ..Permissions::default() };
        all.set(&Permissions { key: 9, owner: (3, 4), creator: (5, 6), mode: 0o2640, sequence: 7 });
        let owner = (3, 4);
        assert_eq!(all, Permissions { key: 1, owner, creator: (0, 0), mode: 0o1640, sequence: 2 });
    }
}
