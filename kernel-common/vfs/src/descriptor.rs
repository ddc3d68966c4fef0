//! A process's descriptors.

use alloc::vec::Vec;

use maize_abi::Errno;

use crate::Vfs;
use crate::caller::Surroundings;
use crate::id::FileId;

/// A file descriptor's file and flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The open file.
    pub file: FileId,
    /// `FD_CLOEXEC`: closed by `execve`.
    pub close_on_exec: bool,
}

/// The descriptors of a process, or of several that share them (`CLONE_FILES`).
///
/// Each entry counts as one holder of its file; a table that is dropped without
/// [`Vfs::close_all`] leaks them.
#[derive(Debug, Default)]
pub struct FdTable {
    entries: Vec<Option<Descriptor>>,
}

/// Descriptors of one process at most, whatever its `RLIMIT_NOFILE` (Linux's default `nr_open` is
/// larger; a table of this size still fits the kernel's heap).
pub const NR_OPEN: usize = 1 << 16;

impl FdTable {
    /// An empty table.
    #[must_use]
    pub const fn new() -> FdTable {
        FdTable { entries: Vec::new() }
    }

    /// The descriptor of this number.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn get(&self, fd: i32) -> Result<Descriptor, Errno> {
        let entry = usize::try_from(fd).ok().and_then(|fd| *self.entries.get(fd)?);
        entry.ok_or(Errno::EBADF)
    }

    /// The file behind this number.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn file(&self, fd: i32) -> Result<FileId, Errno> {
        Ok(self.get(fd)?.file)
    }

    /// The lowest free number from `from` on that is below `limit`.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn lowest_free(&self, from: usize, limit: u64) -> Result<i32, Errno> {
        let limit = usize::try_from(limit).unwrap_or(NR_OPEN).min(NR_OPEN);
        let used = |fd: usize| self.entries.get(fd).is_some_and(Option::is_some);
        let fd = (from..limit).find(|fd| !used(*fd)).ok_or(Errno::EMFILE)?;
        i32::try_from(fd).map_err(|_| Errno::EMFILE)
    }

    /// Gives a file the lowest free number. The table takes over one holder of the file.
    ///
    /// # Errors
    /// `EMFILE`; the holder is then still the caller's.
    pub fn install(
        &mut self,
        from: usize,
        limit: u64,
        descriptor: Descriptor,
    ) -> Result<i32, Errno> {
        let fd = self.lowest_free(from, limit)?;
        // The number was free.
        let _ = self.replace(fd, descriptor);
        Ok(fd)
    }

    /// Gives a file this number, and returns what had it, for the caller to release. The number
    /// must be below [`NR_OPEN`].
    #[must_use]
    pub fn replace(&mut self, fd: i32, descriptor: Descriptor) -> Option<FileId> {
        let at = usize::try_from(fd).ok().filter(|at| *at < NR_OPEN)?;
        if self.entries.len() <= at {
            self.entries.resize(at + 1, None);
        }
        self.entries[at].replace(descriptor).map(|old| old.file)
    }

    /// Frees a number and returns its file, for the caller to release.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn remove(&mut self, fd: i32) -> Result<FileId, Errno> {
        let file = self.file(fd)?;
        self.entries[fd as usize] = None;
        Ok(file)
    }

    /// Sets or clears `FD_CLOEXEC`.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_close_on_exec(&mut self, fd: i32, close_on_exec: bool) -> Result<(), Errno> {
        self.get(fd)?;
        self.entries[fd as usize] = Some(Descriptor { close_on_exec, ..self.get(fd)? });
        Ok(())
    }

    /// The numbers in use, in order, with their descriptors.
    pub fn iter(&self) -> impl Iterator<Item = (i32, Descriptor)> {
        (0..).zip(&self.entries).filter_map(|(fd, entry)| Some((fd, (*entry)?)))
    }

    /// How many numbers are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether no number is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl Vfs {
    /// A copy of a table for a new process, sharing its files (`fork`).
    #[must_use]
    pub fn copy_table(&mut self, table: &FdTable) -> FdTable {
        for (_, descriptor) in table.iter() {
            // A table holds its files, so they exist.
            let _ = self.hold(descriptor.file);
        }
        FdTable { entries: table.entries.clone() }
    }

    /// Closes the descriptors that `which` picks. `owner` is the process, whose record locks go
    /// with its descriptors.
    pub fn close_where(
        &mut self,
        env: &mut dyn Surroundings,
        owner: u32,
        table: &mut FdTable,
        which: impl Fn(i32, Descriptor) -> bool,
    ) {
        let fds: Vec<i32> = table.iter().filter(|(fd, d)| which(*fd, *d)).map(|e| e.0).collect();
        for fd in fds {
            if let Ok(file) = table.remove(fd) {
                self.close_descriptor(env, owner, file);
            }
        }
    }

    /// Closes all descriptors: the process ends.
    pub fn close_all(&mut self, env: &mut dyn Surroundings, owner: u32, table: &mut FdTable) {
        self.close_where(env, owner, table, |_, _| true);
    }

    /// Closes what a descriptor removed from a table stood for: the process's record locks on the
    /// file, whichever descriptor they were made by, and one holder.
    pub fn close_descriptor(&mut self, env: &mut dyn Surroundings, owner: u32, file: FileId) {
        self.unlock_records(owner, file);
        self.release(env, file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(n: u64) -> Descriptor {
        Descriptor { file: FileId(n), close_on_exec: false }
    }

    #[test]
    fn the_lowest_number_is_taken() {
        let mut table = FdTable::new();
        for n in 0..3 {
            assert_eq!(table.install(0, 1024, descriptor(n)), Ok(n as i32));
        }
        assert_eq!(table.remove(1), Ok(FileId(1)));
        assert_eq!(table.install(0, 1024, descriptor(7)), Ok(1));
        assert_eq!(table.install(10, 1024, descriptor(8)), Ok(10));
        assert_eq!(table.install(0, 4, descriptor(9)), Ok(3));
        assert_eq!(table.install(0, 4, descriptor(9)), Err(Errno::EMFILE));
        assert_eq!(table.install(2000, 1024, descriptor(9)), Err(Errno::EMFILE));
        assert_eq!(table.replace(3, descriptor(5)), Some(FileId(9)));
        assert_eq!(table.iter().map(|(fd, _)| fd).collect::<Vec<_>>(), [0, 1, 2, 3, 10]);
    }

    #[test]
    fn odd_numbers_are_bad() {
        let mut table = FdTable::new();
        for fd in [-1, 0, i32::MIN, i32::MAX] {
            assert_eq!(table.get(fd), Err(Errno::EBADF));
            assert_eq!(table.remove(fd), Err(Errno::EBADF));
        }
        assert_eq!(table.lowest_free(usize::MAX, u64::MAX), Err(Errno::EMFILE));
    }
}
