//! Files that programs are loaded from.

use alloc::vec::Vec;

use maize_abi::file::at;
use maize_abi::pte::Access;
use maize_abi::{Errno, file};
use maize_hal::Arch;
use maize_mm::{Label, ObjectId, PageStore};
use maize_vfs::{At, FileId, OpenHow, Target};

use super::sets::end_program;
use crate::ids::Pid;
use crate::state::State;
use crate::syscall::Mappable;
use crate::thread::Current;

/// A program's file, open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramFile {
    file: FileId,
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
        label(&self.path, self.inode)
    }
}

fn label(path: &[u8], (device, inode): (u64, u64)) -> Label {
    Label { path: alloc::string::String::from_utf8_lossy(path).into_owned(), device, inode }
}

impl<A: Arch> State<A> {
    /// Opens a file to be executed.
    ///
    /// # Errors
    /// As `execveat`.
    pub(crate) fn open_program(
        &mut self,
        current: Current,
        dirfd: Option<i32>,
        path: &[u8],
        no_follow: bool,
    ) -> Result<ProgramFile, Errno> {
        let at = match dirfd {
            None => At::Cwd,
            Some(_) if path.starts_with(b"/") => At::Cwd,
            Some(at::AT_FDCWD) => At::Cwd,
            Some(fd) => At::File(self.file_of(current, fd)?),
        };
        let file = self.with_files(current, |vfs, env, caller| match at {
            At::File(file) if path.is_empty() => {
                vfs.hold(file)?;
                Ok(file)
            }
            _ => {
                let how = OpenHow { flags: file::o::O_PATH, nofollow: no_follow, ..OpenHow::READ };
                vfs.open(env, caller, at, path, how)
            }
        })?;
        let opened = self.with_files(current, |vfs, env, caller| {
            vfs.check_executable(caller, file)?;
            let len = vfs.stat(env, caller, Target::File(file))?.size as u64;
            let object = vfs.object_of(env, file)?;
            vfs.begin_execution(file)?;
            let (path, inode) = (vfs.path_of(file), vfs.identity(file)?);
            Ok(ProgramFile { file, object, len, path, inode })
        });
        if opened.is_err() {
            let (vfs, mut env) = self.split_files();
            vfs.release(&mut env, file);
        }
        opened
    }

    pub(crate) fn read_program(
        &mut self,
        file: &ProgramFile,
        at: u64,
        out: &mut [u8],
    ) -> Result<usize, Errno> {
        self.memory.store(&mut self.arch).read(file.object, at, out).map_err(|_| Errno::EIO)
    }

    pub(crate) fn close_program(&mut self, file: ProgramFile) {
        let (vfs, mut env) = self.split_files();
        end_program(vfs, &mut env, Some(file.file));
    }

    /// The process now runs this file.
    pub(crate) fn run_program(&mut self, pid: Pid, file: &ProgramFile) {
        let Some(files) = self.processes.get(&pid).map(|process| process.files) else { return };
        // It is open and executed: by the caller, for as long as it loads it.
        let _ = self.files.vfs.hold(file.file);
        let _ = self.files.vfs.begin_execution(file.file);
        let before = self.files.sets.set_program(files, Some(file.file));
        let (vfs, mut env) = self.split_files();
        end_program(vfs, &mut env, before);
    }

    /// The file of a descriptor, to be mapped with `access`; `None` if a mapping of it is anonymous
    /// memory.
    pub(crate) fn file_to_map(
        &mut self,
        current: Current,
        fd: i32,
        access: Access,
        shared: bool,
    ) -> Result<Option<Mappable>, Errno> {
        let file = self.file_of(current, fd)?;
        self.with_files(current, |vfs, env, _| {
            let written = shared && access.contains(Access::WRITE);
            if vfs.maps_as_anonymous(file, written)? {
                return Ok(None);
            }
            let object = vfs.object_to_map(env, file, written)?;
            let mut may = Access::all();
            let writable = vfs.status(file)? & file::o::O_ACCMODE == file::o::O_RDWR;
            if shared && !writable {
                may.remove(Access::WRITE);
            }
            let label = label(&vfs.path_of(file), vfs.identity(file)?);
            Ok(Some(Mappable { object, may, label }))
        })
    }
}
