//! Which process has which descriptors and directories.

use alloc::collections::BTreeMap;

use maize_abi::Errno;
use maize_vfs::{FdTable, FileId, Surroundings, Vfs, View};

/// Names a process's descriptors, directories and program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FilesId(u32);

impl FilesId {
    /// Of a process whose descriptors another instance has.
    pub(crate) const NONE: FilesId = FilesId(0);
}

/// Something that several processes may have in common.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    pub(crate) value: T,
    processes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Set {
    /// Number of the descriptors: common to processes that were cloned with `CLONE_FILES`.
    table: u32,
    /// Number of the directories: common to processes that were cloned with `CLONE_FS`.
    view: u32,
    /// The program's file, with a holder of its own.
    program: Option<FileId>,
}

/// What all processes have.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    next: u32,
    sets: BTreeMap<FilesId, Set>,
    tables: BTreeMap<u32, Shared<FdTable>>,
    views: BTreeMap<u32, Shared<View>>,
}

/// Which parts a new process has in common with its parent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharing {
    pub(crate) descriptors: bool,
    pub(crate) directories: bool,
}

impl Sets {
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// A process that stands at `view` and has nothing open.
    pub(crate) fn add(&mut self, table: FdTable, view: View) -> FilesId {
        let (id, table_id, view_id) = (FilesId(self.number()), self.number(), self.number());
        self.tables.insert(table_id, Shared { value: table, processes: 1 });
        self.views.insert(view_id, Shared { value: view, processes: 1 });
        self.sets.insert(id, Set { table: table_id, view: view_id, program: None });
        id
    }

    /// # Errors
    /// `ESRCH` if the process has given them up.
    pub(crate) fn table(&self, id: FilesId) -> Result<&FdTable, Errno> {
        let set = self.sets.get(&id).ok_or(Errno::ESRCH)?;
        self.tables.get(&set.table).map(|shared| &shared.value).ok_or(Errno::ESRCH)
    }

    pub(crate) fn table_mut(&mut self, id: FilesId) -> Result<&mut FdTable, Errno> {
        let set = self.sets.get(&id).ok_or(Errno::ESRCH)?;
        self.tables.get_mut(&set.table).map(|shared| &mut shared.value).ok_or(Errno::ESRCH)
    }

    pub(crate) fn view(&self, id: FilesId) -> Result<&View, Errno> {
        let set = self.sets.get(&id).ok_or(Errno::ESRCH)?;
        self.views.get(&set.view).map(|shared| &shared.value).ok_or(Errno::ESRCH)
    }

    /// Takes where a process stands out of the table, to be changed and put back.
    pub(crate) fn take_view(&mut self, id: FilesId) -> Result<Shared<View>, Errno> {
        let set = self.sets.get(&id).ok_or(Errno::ESRCH)?;
        self.views.remove(&set.view).ok_or(Errno::ESRCH)
    }

    /// Ends what [`Self::take_view`] began.
    pub(crate) fn put_view(&mut self, id: FilesId, view: Shared<View>) {
        if let Some(set) = self.sets.get(&id) {
            self.views.insert(set.view, view);
        }
    }

    /// The file that the process runs.
    pub(crate) fn program(&self, id: FilesId) -> Option<FileId> {
        self.sets.get(&id)?.program
    }

    /// Sets the file that the process runs and returns the one before.
    pub(crate) fn set_program(&mut self, id: FilesId, program: Option<FileId>) -> Option<FileId> {
        self.sets.get_mut(&id).and_then(|set| core::mem::replace(&mut set.program, program))
    }

    /// What a new process gets from its parent.
    pub(crate) fn copy(
        &mut self,
        vfs: &mut Vfs,
        of: FilesId,
        sharing: Sharing,
    ) -> Result<FilesId, Errno> {
        let set = *self.sets.get(&of).ok_or(Errno::ESRCH)?;
        let table = self.tables.get_mut(&set.table).ok_or(Errno::ESRCH)?;
        let new_table = if sharing.descriptors {
            table.processes += 1;
            None
        } else {
            Some(vfs.copy_table(&table.value))
        };
        let view = self.views.get_mut(&set.view).ok_or(Errno::ESRCH)?;
        let new_view = if sharing.directories {
            view.processes += 1;
            None
        } else {
            Some(vfs.share_view(&view.value))
        };
        let mut new = set;
        if let Some(value) = new_table {
            new.table = self.number();
            self.tables.insert(new.table, Shared { value, processes: 1 });
        }
        if let Some(value) = new_view {
            new.view = self.number();
            self.views.insert(new.view, Shared { value, processes: 1 });
        }
        if let Some(program) = set.program {
            // The parent runs it, so it is open, and nobody can be writing it.
            let _ = vfs.hold(program);
            let _ = vfs.begin_execution(program);
        }
        let id = FilesId(self.number());
        self.sets.insert(id, new);
        Ok(id)
    }

    /// Gives a process descriptors of its own (`execve`).
    pub(crate) fn unshare_table(&mut self, vfs: &mut Vfs, id: FilesId) -> Result<(), Errno> {
        let number = self.sets.get(&id).ok_or(Errno::ESRCH)?.table;
        let table = self.tables.get_mut(&number).ok_or(Errno::ESRCH)?;
        if table.processes == 1 {
            return Ok(());
        }
        table.processes -= 1;
        let value = vfs.copy_table(&table.value);
        let number = self.number();
        self.tables.insert(number, Shared { value, processes: 1 });
        if let Some(set) = self.sets.get_mut(&id) {
            set.table = number;
        }
        Ok(())
    }

    /// Takes a process out. Returns what nobody else has in common with it.
    pub(crate) fn remove(&mut self, id: FilesId) -> (Option<FdTable>, Option<View>) {
        let Some(set) = self.sets.remove(&id) else { return (None, None) };
        (leave(&mut self.tables, set.table), leave(&mut self.views, set.view))
    }
}

fn leave<T>(all: &mut BTreeMap<u32, Shared<T>>, number: u32) -> Option<T> {
    let shared = all.get_mut(&number)?;
    shared.processes -= 1;
    if shared.processes > 0 {
        return None;
    }
    all.remove(&number).map(|shared| shared.value)
}

/// Ends a process's use of its program's file.
pub(crate) fn end_program(vfs: &mut Vfs, env: &mut dyn Surroundings, program: Option<FileId>) {
    if let Some(program) = program {
        vfs.end_execution(program);
        vfs.release(env, program);
    }
}
