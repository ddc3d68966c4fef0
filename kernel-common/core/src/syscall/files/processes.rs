//! Files that stand for a process: `pidfd_open`, `pidfd_send_signal`, `pidfd_getfd`.

use maize_abi::Errno;
use maize_abi::file::o;
use maize_hal::Arch;
use maize_vfs::{Fate, FileId};

use super::super::{Call, CallResult, signal};
use super::open::install_new;
use crate::ids::{Pid, Tid};
use crate::process::Life;
use crate::state::State;
use crate::thread::Current;

impl<A: Arch> State<A> {
    /// A file for a process that is about to be made (`CLONE_PIDFD`).
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub(crate) fn prepare_process_file(&mut self, current: Current) -> Result<FileId, Errno> {
        self.check_descriptor_room(current)?;
        self.with_files(current, |vfs, env, caller| {
            vfs.make_process_file(env, caller, (0, Fate::Alive), 0)
        })
    }

    /// The process has been made: the file stands for it, and gets a descriptor.
    ///
    /// # Errors
    /// `EMFILE`.
    pub(crate) fn install_process_file(
        &mut self,
        current: Current,
        file: FileId,
        pid: Pid,
    ) -> CallResult {
        self.files.vfs.name_process(file, pid.0);
        self.install_file(current, file, true)
    }

    /// The process that a file stands for.
    ///
    /// # Errors
    /// `EBADF` for other files; `ESRCH` if the process is gone.
    pub(crate) fn process_of_file(&self, file: FileId) -> Result<Pid, Errno> {
        match self.files.vfs.process_of(file)? {
            (_, Fate::Gone) => Err(Errno::ESRCH),
            (pid, _) => Ok(Pid(pid)),
        }
    }

    /// What has become of a process, as far as a file can tell.
    ///
    /// # Errors
    /// `ESRCH`; `EINVAL` for a thread that its process is not named by.
    fn fate(&self, pid: u32) -> Result<Fate, Errno> {
        match self.processes.get(&Pid(pid)).map(|process| process.life) {
            Some(Life::Zombie(_)) => Ok(Fate::Ended),
            Some(_) => Ok(Fate::Alive),
            None if self.threads.contains_key(&Tid(pid)) => Err(Errno::EINVAL),
            None => Err(Errno::ESRCH),
        }
    }
}

pub(super) fn open<A: Arch>(call: Call<'_, A>) -> CallResult {
    let flags = call.uint(1);
    let pid = u32::try_from(call.int(0)).ok().filter(|pid| *pid > 0).ok_or(Errno::EINVAL)?;
    if flags & !o::O_NONBLOCK != 0 {
        return Err(Errno::EINVAL);
    }
    let fate = call.k.with(|s| s.fate(pid))?;
    install_new(call, true, |vfs, env, caller| {
        vfs.make_process_file(env, caller, (pid, fate), flags)
    })
}

pub(super) async fn send_signal<A: Arch>(call: Call<'_, A>) -> CallResult {
    if call.uint(3) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = call.file(0)?;
    call.k.with(|s| s.files.vfs.process_of(file))?;
    signal::send_to_file(call, file).await
}

pub(super) fn get_file<A: Arch>(call: Call<'_, A>) -> CallResult {
    if call.uint(2) != 0 {
        return Err(Errno::EINVAL);
    }
    let file = call.file(0)?;
    call.k.with(|s| {
        let pid = s.process_of_file(file)?;
        s.check_descriptor_room(call.current)?;
        // One that has ended has none.
        let of = s.processes.get(&pid).filter(|process| !matches!(process.life, Life::Zombie(_)));
        let of = of.ok_or(Errno::ESRCH)?.files;
        let wanted = s.files.sets.table(of)?.file(call.int(1))?;
        s.files.vfs.hold(wanted)?;
        s.install_file(call.current, wanted, true)
    })
}
