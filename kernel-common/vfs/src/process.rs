//! Files that stand for a process (`pidfd`).
//!
//! Such a file never comes to stand for another process that is given the same id later: what becomes of
//! its process is noted in the file.

use maize_abi::Errno;

use crate::Vfs;
use crate::caller::{Caller, Surroundings};
use crate::file::{File, Handle};
use crate::id::FileId;
use crate::outcome::WaitKey;

/// What has become of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has threads.
    Alive,
    /// It has ended, and its parent has not waited for it yet.
    Ended,
    /// It is gone, and its id is free.
    Gone,
}

impl Vfs {
    /// `pidfd_open`. `status` is `O_NONBLOCK` or nothing.
    ///
    /// # Errors
    /// `ENFILE`.
    pub fn make_process_file(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        (pid, fate): (u32, Fate),
        status: u32,
    ) -> Result<FileId, Errno> {
        let file = self.add_nameless(env, caller, Handle::Process(pid, fate), status)?;
        self.process_files += 1;
        Ok(file)
    }

    /// A file that was made for a process before that had an id now stands for it.
    pub fn name_process(&mut self, file: FileId, pid: u32) {
        if let Ok(File { handle: Handle::Process(of, _), .. }) = self.file_mut(file) {
            *of = pid;
        }
    }

    /// The process that a file stands for, and what has become of it.
    ///
    /// # Errors
    /// `EBADF` for other files.
    pub fn process_of(&self, file: FileId) -> Result<(u32, Fate), Errno> {
        match self.file(file)?.handle {
            Handle::Process(pid, fate) => Ok((pid, fate)),
            _ => Err(Errno::EBADF),
        }
    }

    /// Something has become of a process: files that stand for it show it.
    pub fn process_changed(&mut self, pid: u32, now: Fate) {
        if self.process_files == 0 {
            return;
        }
        for (id, file) in &mut self.files {
            match &mut file.handle {
                Handle::Process(of, fate) if *of == pid && *fate != Fate::Gone => {
                    *fate = now;
                    self.wakes.wake(WaitKey::ProcessEnded(*id));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use maize_abi::file::poll;
    use maize_abi::signal::SignalSet;

    use super::*;
    use crate::Limits;
    use crate::testing::World;

    #[test]
    fn a_process_is_readable_when_it_has_ended_and_its_id_is_never_anothers() {
        let mut world = World::default();
        let mut vfs = Vfs::new(Limits::default());
        let view = vfs.initial_view(0o22);
        let caller = crate::root::kernel_caller(&view);
        let ready = |vfs: &Vfs, file| vfs.poll(file, SignalSet::EMPTY).unwrap();
        let file = vfs.make_process_file(&mut world, &caller, (7, Fate::Alive), 0).unwrap();
        let other = vfs.make_process_file(&mut world, &caller, (8, Fate::Alive), 0).unwrap();
        let _ = vfs.take_wakes();
        vfs.process_changed(7, Fate::Ended);
        assert_eq!(vfs.take_wakes(), [WaitKey::ProcessEnded(file)]);
        assert_eq!((ready(&vfs, file), ready(&vfs, other)), (poll::POLLIN | poll::POLLRDNORM, 0));
        vfs.process_changed(7, Fate::Gone);
        vfs.process_changed(7, Fate::Ended);
        assert_eq!(vfs.process_of(file), Ok((7, Fate::Gone)));
        assert_eq!(vfs.process_of(other), Ok((8, Fate::Alive)));
        for file in [file, other] {
            vfs.release(&mut world, file);
        }
        assert_eq!((vfs.process_files, vfs.process_of(file)), (0, Err(Errno::EBADF)));
    }
}
