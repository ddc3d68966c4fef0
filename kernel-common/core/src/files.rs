//! Files of processes: the tree, what is open, and who has it open.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::pte::Access;
use maize_hal::Arch;
use maize_mm::{Label, ObjectId};

use crate::ids::Pid;
use crate::lifecycle::ProgramSpec;
use crate::state::State;
use crate::syscall::Mappable;
use crate::thread::Current;

/// Names a process's descriptors and directories. Processes that were cloned with `CLONE_FILES`
/// have one in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FilesId(u32);

/// The file system as the core holds it.
#[derive(Default)]
pub(crate) struct Files {}

/// A program's file, open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramFile {
    /// Its bytes.
    pub(crate) object: ObjectId,
    /// How many.
    pub(crate) len: u64,
    /// Its path from the root, links resolved.
    pub(crate) path: Vec<u8>,
    /// Device and inode number.
    pub(crate) inode: (u64, u64),
}

impl ProgramFile {
    /// What `/proc/PID/maps` shows.
    pub(crate) fn label(&self) -> Label {
        let path = alloc::string::String::from_utf8_lossy(&self.path).into_owned();
        Label { path, device: self.inode.0, inode: self.inode.1 }
    }
}

impl<A: Arch> State<A> {
    pub(crate) fn open_program(
        &mut self,
        _current: Current,
        _dirfd: Option<i32>,
        _path: &[u8],
        _no_follow: bool,
    ) -> Result<ProgramFile, Errno> {
        Err(Errno::ENOENT)
    }

    /// The file of a descriptor, to be mapped with `access`.
    pub(crate) fn file_to_map(
        &mut self,
        _current: Current,
        _fd: i32,
        _access: Access,
        _shared: bool,
    ) -> Result<Mappable, Errno> {
        Err(Errno::EBADF)
    }

    pub(crate) fn read_program(
        &mut self,
        file: &ProgramFile,
        at: u64,
        out: &mut [u8],
    ) -> Result<usize, Errno> {
        use maize_mm::PageStore;
        self.memory.store(&mut self.arch).read(file.object, at, out).map_err(|_| Errno::EIO)
    }

    pub(crate) fn close_program(&mut self, _file: ProgramFile) {}

    pub(crate) fn first_files(&mut self, _program: &ProgramSpec) -> Result<FilesId, Errno> {
        Ok(FilesId(0))
    }

    pub(crate) fn clone_files(
        &mut self,
        of: FilesId,
        _share_descriptors: bool,
        _share_directories: bool,
    ) -> Result<FilesId, Errno> {
        Ok(of)
    }

    pub(crate) fn release_files(&mut self, _files: FilesId) {}

    pub(crate) fn close_on_exec(&mut self, _pid: Pid) {}

    pub(crate) fn take_terminal(&mut self, _pid: Pid) {}

    pub(crate) fn leave_terminal(&mut self, _session: Pid, _group: Pid) {}

    pub(crate) fn wake_files(&mut self) {}
}
