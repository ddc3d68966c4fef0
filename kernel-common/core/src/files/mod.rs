//! Files of processes: the tree, what is open, and who has it open.

mod env;
mod facts;
mod program;
mod sets;

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::signal::{SigInfo, Signal};
use maize_abi::termios::WindowSize;
use maize_hal::Arch;
use maize_mm::ImageSource;
use maize_vfs::{
    At, Caller, Console, Descriptor, FdTable, FileId, Job, Limits, Recipient, Vfs, View,
    WaitKey as FileKey, cpio::CpioError,
};

pub(crate) use env::Env;
pub(crate) use program::ProgramFile;
pub(crate) use sets::FilesId;
use sets::{Sets, Sharing, end_program};

use crate::ids::Pid;
use crate::lifecycle::ProgramSpec;
use crate::state::State;
use crate::thread::Current;
use crate::wait::WaitKey;

/// The file system as the core holds it.
pub(crate) struct Files {
    pub(crate) vfs: Vfs,
    pub(crate) sets: Sets,
}

impl Files {
    pub(crate) fn new() -> Files {
        Files { vfs: Vfs::new(Limits::default()), sets: Sets::default() }
    }
}

impl<A: Arch> State<A> {
    /// The file system, and the rest of the state as it sees it.
    pub(crate) fn split_files(&mut self) -> (&mut Vfs, Env<'_, A>) {
        let env = Env {
            store: self.memory.store(&mut self.arch),
            sets: &self.files.sets,
            processes: &self.processes,
            threads: &self.threads,
            waits: &self.waits,
            run_queue: &self.run_queue,
            stats: &self.stats,
            segments: &self.segments,
            message_queues: &self.message_queues,
            semaphores: &self.semaphores,
            hostname: &self.hostname,
            boot_id: &self.boot_id,
            cpu: self.cpu,
            cpus: self.cpus,
        };
        (&mut self.files.vfs, env)
    }

    /// Fills the root from the image and mounts the standard file systems.
    pub(crate) fn load_root(&mut self, image: &dyn ImageSource) -> Result<(), RootError> {
        let members = self.hidden.clone();
        let hidden: Vec<&[u8]> = members.iter().map(Vec::as_slice).collect();
        let (vfs, mut env) = self.split_files();
        let loaded = vfs.load_image(&mut env, image, &hidden).map_err(RootError::Image)?;
        vfs.mount_standard(&mut env).map_err(RootError::Mounts)?;
        log::info!("root: {} files, {} bytes", loaded.members, loaded.bytes);
        Ok(())
    }

    fn files_of(&self, pid: Pid) -> Result<FilesId, Errno> {
        self.processes.get(&pid).map(|process| process.files).ok_or(Errno::ESRCH)
    }

    /// A process's descriptors.
    ///
    /// # Errors
    /// `ESRCH` if it has given them up.
    pub(crate) fn descriptors(&self, current: Current) -> Result<&FdTable, Errno> {
        self.files.sets.table(self.files_of(current.pid)?)
    }

    /// A process's descriptors, to be changed.
    ///
    /// # Errors
    /// `ESRCH` if it has given them up.
    pub(crate) fn descriptors_mut(&mut self, current: Current) -> Result<&mut FdTable, Errno> {
        let files = self.files_of(current.pid)?;
        self.files.sets.table_mut(files)
    }

    /// The open file of a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub(crate) fn file_of(&self, current: Current, fd: i32) -> Result<FileId, Errno> {
        self.descriptors(current)?.file(fd)
    }

    /// Where a path starts that is given with a directory's descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub(crate) fn at(&self, current: Current, dirfd: i32, path: &[u8]) -> Result<At, Errno> {
        if dirfd == maize_abi::file::at::AT_FDCWD || path.starts_with(b"/") {
            return Ok(At::Cwd);
        }
        Ok(At::File(self.file_of(current, dirfd)?))
    }

    /// Runs an operation of the file system for a process.
    ///
    /// # Errors
    /// Those of `f`; `ESRCH` if the process has given up its files.
    pub(crate) fn with_files<R, E: From<Errno>>(
        &mut self,
        current: Current,
        f: impl FnOnce(&mut Vfs, &mut Env<'_, A>, &Caller<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        let files = self.files_of(current.pid)?;
        let job = self.job(current);
        let credentials = self.credentials(current.pid);
        let (vfs, mut env) = self.split_files();
        let view = env.view_of(files)?;
        let caller = Caller {
            pid: current.pid.0,
            tid: current.tid.0,
            uid: credentials.user.files,
            gid: credentials.group.files,
            groups: &credentials.groups,
            capabilities: credentials.capabilities.effective,
            view,
            job,
        };
        f(vfs, &mut env, &caller)
    }

    /// Changes where a process stands.
    ///
    /// # Errors
    /// `ESRCH` if it has given up its files.
    pub(crate) fn change_view<R>(
        &mut self,
        current: Current,
        f: impl FnOnce(&mut Vfs, &mut Env<'_, A>, &mut View) -> R,
    ) -> Result<R, Errno> {
        let files = self.files_of(current.pid)?;
        // Out of its place while it is changed, since the rest of the state is looked at.
        let mut view = self.files.sets.take_view(files)?;
        let (vfs, mut env) = self.split_files();
        let result = f(vfs, &mut env, &mut view.value);
        self.files.sets.put_view(files, view);
        Ok(result)
    }

    /// Gives a process descriptors of its own (`CLOSE_RANGE_UNSHARE`).
    ///
    /// # Errors
    /// `ESRCH` if it has given them up.
    pub(crate) fn unshare_descriptors(&mut self, current: Current) -> Result<(), Errno> {
        let files = self.files_of(current.pid)?;
        self.files.sets.unshare_table(&mut self.files.vfs, files)
    }

    /// A process's place in job control.
    fn job(&self, current: Current) -> Job {
        let Some(process) = self.processes.get(&current.pid) else { return Job::default() };
        let (group, session) = (process.group.0, process.session.0);
        let background = self.files.vfs.foreground(session).is_some_and(|other| other != group);
        if !background {
            return Job { group, session, ..Job::default() };
        }
        let mask = self.threads.get(&current.tid).map(|thread| thread.mask).unwrap_or_default();
        let ignores = |signal: Signal| {
            let action = &process.actions[usize::from(signal.number()) - 1];
            mask.contains(signal) || Self::is_ignored(action, signal)
        };
        Job {
            group,
            session,
            orphaned: self.is_orphaned_group(current.pid),
            ignores_ttin: ignores(Signal::SIGTTIN),
            ignores_ttou: ignores(Signal::SIGTTOU),
        }
    }

    /// Descriptors 0, 1 and 2 and the directory of the first process.
    ///
    /// # Errors
    /// As opening and `chdir`.
    pub(crate) fn first_files(&mut self, program: &ProgramSpec) -> Result<FilesId, Errno> {
        const UMASK: u32 = 0o022;
        let console = program
            .terminal
            .map_or(Console::Streams, |(rows, cols)| Console::Terminal(WindowSize { rows, cols }));
        let (vfs, mut env) = self.split_files();
        vfs.set_console(console);
        let mut table = FdTable::new();
        for (fd, file) in (0..).zip(vfs.open_standard(&mut env)?) {
            let _ = table.replace(fd, Descriptor { file, close_on_exec: false });
        }
        let mut view = vfs.initial_view(UMASK);
        if !program.cwd.is_empty() {
            vfs.enter(&mut env, &mut view, &program.cwd)?;
        }
        Ok(self.files.sets.add(table, view))
    }

    /// The files of a new process.
    ///
    /// # Errors
    /// `ESRCH` if the parent has given up its own.
    pub(crate) fn clone_files(
        &mut self,
        of: FilesId,
        share_descriptors: bool,
        share_directories: bool,
    ) -> Result<FilesId, Errno> {
        let sharing = Sharing { descriptors: share_descriptors, directories: share_directories };
        self.files.sets.copy(&mut self.files.vfs, of, sharing)
    }

    /// A process ends: its descriptors are closed.
    pub(crate) fn release_files(&mut self, files: FilesId) {
        let owner = self.processes.iter().find(|(_, p)| p.files == files && p.space.is_some());
        let owner = owner.map_or(0, |(pid, _)| pid.0);
        let program = self.files.sets.set_program(files, None);
        let (table, view) = self.files.sets.remove(files);
        let (vfs, mut env) = self.split_files();
        end_program(vfs, &mut env, program);
        if let Some(mut table) = table {
            vfs.close_all(&mut env, owner, &mut table);
        }
        if let Some(view) = view {
            vfs.release_view(&mut env, &view);
        }
    }

    /// `execve` closes what is marked for it, in a table that is the process's own.
    pub(crate) fn close_on_exec(&mut self, pid: Pid) {
        let Ok(files) = self.files_of(pid) else { return };
        if self.files.sets.unshare_table(&mut self.files.vfs, files).is_err() {
            return;
        }
        let Ok(table) = self.files.sets.table_mut(files) else { return };
        let mut table = core::mem::take(table);
        let (vfs, mut env) = self.split_files();
        vfs.close_where(&mut env, pid.0, &mut table, |_, descriptor| descriptor.close_on_exec);
        if let Ok(emptied) = self.files.sets.table_mut(files) {
            *emptied = table;
        }
    }

    /// The first process's session gets the terminal.
    pub(crate) fn take_terminal(&mut self, pid: Pid) {
        self.files.vfs.control_terminal(pid.0, pid.0);
    }

    /// The leader of a session has ended.
    pub(crate) fn leave_terminal(&mut self, session: Pid, _group: Pid) {
        self.files.vfs.session_ended(session.0);
    }

    /// Carries on what file operations have made possible for others.
    ///
    /// Every step takes it, some of them twice, and nearly always there is nothing to take. Nobody asks
    /// beforehand whether there is: who answered would have to know all that can be taken, and who waits
    /// for what that answer forgot would wait for ever.
    pub(crate) fn wake_files(&mut self) {
        // First, since it makes room that someone may wait for.
        self.console_pump();
        for key in self.files.vfs.take_wakes() {
            if let FileKey::CounterReadable(timer) = key {
                self.stop_closed_timer(timer);
            }
            self.wake(WaitKey::File(key));
        }
        for sent in self.files.vfs.take_signals() {
            let info = SigInfo::from_kernel(sent.signal);
            match sent.to {
                Recipient::Group(group) => {
                    self.send_to_group(Pid(group), info);
                }
                Recipient::Process(pid) => {
                    // It can only fail if the process has ended.
                    let _ = self.send_to_process(Pid(pid), info);
                }
            }
        }
    }
}

/// Why there is no root file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootError {
    /// The image is malformed.
    Image(CpioError),
    /// The standard file systems could not be mounted on it.
    Mounts(Errno),
}

impl core::fmt::Display for RootError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            RootError::Image(error) => error.fmt(f),
            RootError::Mounts(errno) => {
                write!(f, "cannot mount the standard file systems: {}", errno.describe())
            }
        }
    }
}

impl core::error::Error for RootError {}
