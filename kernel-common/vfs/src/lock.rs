//! Advisory locks: `flock` on open files, records on processes (`F_SETLK`) and open files
//! (`F_OFD_SETLK`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::file::flock;

use crate::Vfs;
use crate::file::Handle;
use crate::id::{FileId, InodeId};
use crate::node::Node;
use crate::outcome::{Io, Stop, WaitKey};

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockOwner {
    /// A process.
    Process(u32),
    /// An open file.
    File(FileId),
}

/// What a lock keeps others from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Others may share it.
    Shared,
    /// Nobody else may have it.
    Exclusive,
}

/// A locked range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who holds it.
    pub owner: LockOwner,
    /// Its kind.
    pub kind: LockKind,
    /// The first byte.
    pub start: u64,
    /// The byte after the last; `u64::MAX` reaches to every end of the file.
    pub end: u64,
}

/// Locks of one file.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    whole: Vec<(FileId, LockKind)>,
    records: Vec<Record>,
}

/// Records on one file at most.
const RECORDS_MAX: usize = 1024;

/// The locks of all files that have any.
pub(crate) type LockTable = BTreeMap<InodeId, Locks>;

fn conflict(a: LockKind, b: LockKind) -> bool {
    a == LockKind::Exclusive || b == LockKind::Exclusive
}

impl Locks {
    fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.records.is_empty()
    }

    /// The first record that keeps `wanted` from being had.
    fn obstacle(&self, wanted: &Record) -> Option<Record> {
        let mut others = self.records.iter().filter(|held| held.owner != wanted.owner);
        others
            .find(|held| {
                held.start < wanted.end
                    && wanted.start < held.end
                    && conflict(held.kind, wanted.kind)
            })
            .copied()
    }

    /// Takes the owner's locks off `start..end`.
    fn clear(&mut self, owner: LockOwner, start: u64, end: u64) {
        let mut rest = Vec::new();
        for held in self.records.drain(..) {
            if held.owner != owner || held.end <= start || end <= held.start {
                rest.push(held);
                continue;
            }
            if held.start < start {
                rest.push(Record { end: start, ..held });
            }
            if end < held.end {
                rest.push(Record { start: end, ..held });
            }
        }
        self.records = rest;
    }
}

impl Vfs {
    fn lockable(&self, file: FileId) -> Result<InodeId, Errno> {
        let file = self.file(file)?;
        match (&file.handle, file.node) {
            (Handle::Place, _) | (_, Node::Proc(_)) => Err(Errno::EBADF),
            (_, Node::Inode(id)) => Ok(id),
        }
    }

    /// `flock`. The lock belongs to the open file and goes with it.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`, `EWOULDBLOCK` with `LOCK_NB`, else [`Stop::Wait`].
    pub fn flock(&mut self, file: FileId, operation: u32) -> Io<()> {
        let inode = self.lockable(file)?;
        let kind = match operation & !flock::LOCK_NB {
            flock::LOCK_SH => LockKind::Shared,
            flock::LOCK_EX => LockKind::Exclusive,
            flock::LOCK_UN => {
                self.unlock_whole(inode, file);
                return Ok(());
            }
            _ => return Err(Errno::EINVAL.into()),
        };
        let locks = self.locks.entry(inode).or_default();
        let held = |(owner, other): &(FileId, LockKind)| *owner != file && conflict(kind, *other);
        if locks.whole.iter().any(held) {
            return Err(match operation & flock::LOCK_NB {
                0 => Stop::wait(WaitKey::Unlocked(inode)),
                _ => Errno::EAGAIN.into(),
            });
        }
        locks.whole.retain(|(owner, _)| *owner != file);
        locks.whole.push((file, kind));
        // A lock made weaker may let others in.
        self.wakes.wake(WaitKey::Unlocked(inode));
        Ok(())
    }

    fn unlock_whole(&mut self, inode: InodeId, file: FileId) {
        if let Some(locks) = self.locks.get_mut(&inode) {
            locks.whole.retain(|(owner, _)| *owner != file);
            self.locks_changed(inode);
        }
    }

    fn locks_changed(&mut self, inode: InodeId) {
        if self.locks.get(&inode).is_some_and(Locks::is_empty) {
            self.locks.remove(&inode);
        }
        self.wakes.wake(WaitKey::Unlocked(inode));
    }

    /// Locks a range of bytes, replacing what the owner holds there; `None` for `kind` unlocks it.
    ///
    /// # Errors
    /// `EBADF` (also if a shared lock is asked of a file not open for reading, an exclusive one of
    /// a file not open for writing), `ENOLCK` if there are too many, [`Stop::Wait`] if another
    /// owner's lock is in the way.
    pub fn lock_record(
        &mut self,
        file: FileId,
        owner: LockOwner,
        kind: Option<LockKind>,
        (start, end): (u64, u64),
    ) -> Io<()> {
        let inode = self.lockable(file)?;
        let Some(kind) = kind else {
            if let Some(locks) = self.locks.get_mut(&inode) {
                locks.clear(owner, start, end);
                self.locks_changed(inode);
            }
            return Ok(());
        };
        match kind {
            LockKind::Shared => self.file(file)?.check_readable()?,
            LockKind::Exclusive => self.file(file)?.check_writable()?,
        }
        let wanted = Record { owner, kind, start, end };
        let locks = self.locks.entry(inode).or_default();
        if locks.obstacle(&wanted).is_some() {
            return Err(Stop::wait(WaitKey::Unlocked(inode)));
        }
        if locks.records.len() >= RECORDS_MAX {
            return Err(Errno::ENOLCK.into());
        }
        locks.clear(owner, start, end);
        locks.records.push(wanted);
        self.wakes.wake(WaitKey::Unlocked(inode));
        Ok(())
    }

    /// The lock that keeps this one from being had (`F_GETLK`).
    ///
    /// # Errors
    /// `EBADF`.
    pub fn find_obstacle(&self, file: FileId, wanted: &Record) -> Result<Option<Record>, Errno> {
        let inode = self.lockable(file)?;
        Ok(self.locks.get(&inode).and_then(|locks| locks.obstacle(wanted)))
    }

    /// Gives back the record locks of a process on a file.
    pub(crate) fn unlock_records(&mut self, process: u32, file: FileId) {
        let Ok(inode) = self.lockable(file) else { return };
        if let Some(locks) = self.locks.get_mut(&inode) {
            locks.clear(LockOwner::Process(process), 0, u64::MAX);
            self.locks_changed(inode);
        }
    }

    /// Gives back the locks of an open file that is closed.
    pub(crate) fn unlock_file(&mut self, inode: InodeId, file: FileId) {
        if let Some(locks) = self.locks.get_mut(&inode) {
            locks.whole.retain(|(owner, _)| *owner != file);
            locks.clear(LockOwner::File(file), 0, u64::MAX);
            self.locks_changed(inode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LockOwner = LockOwner::Process(1);
    const B: LockOwner = LockOwner::Process(2);

    #[test]
    fn unlocking_the_middle_leaves_both_ends() {
        let exclusive = |start, end| Record { owner: A, kind: LockKind::Exclusive, start, end };
        let mut locks = Locks { records: alloc::vec![exclusive(0, 100)], ..Locks::default() };
        locks.clear(B, 0, u64::MAX);
        locks.clear(A, 40, 60);
        assert_eq!(locks.records, [exclusive(0, 40), exclusive(60, 100)]);
        let wanted = |start, end| Record { owner: B, kind: LockKind::Shared, start, end };
        assert_eq!(locks.obstacle(&wanted(40, 60)), None);
        assert_eq!(locks.obstacle(&wanted(40, 61)), Some(exclusive(60, 100)));
        assert_eq!(locks.obstacle(&Record { owner: A, ..wanted(0, 100) }), None);
    }
}
