//! Signals that are read from a file (`signalfd`).
//!
//! Such a file says which signals are asked for. Whose they are is not the file's to say: they are
//! those of whoever reads or polls it.

use maize_abi::Errno;
use maize_abi::signal::{Signal, SignalSet};

use crate::Vfs;
use crate::caller::{Caller, Surroundings};
use crate::file::Handle;
use crate::id::FileId;
use crate::outcome::WaitKey;

impl Vfs {
    /// `signalfd4` without a descriptor. `status` is `O_NONBLOCK` or nothing.
    ///
    /// # Errors
    /// `ENFILE`.
    pub fn make_signal_file(
        &mut self,
        env: &mut dyn Surroundings,
        caller: &Caller<'_>,
        wanted: SignalSet,
        status: u32,
    ) -> Result<FileId, Errno> {
        let handle = Handle::Signals(wanted.blockable());
        let file = self.add_nameless(env, caller, handle, status)?;
        self.signal_files += 1;
        Ok(file)
    }

    /// `signalfd4` with a descriptor: the file asks for these signals now.
    ///
    /// # Errors
    /// `EBADF`; `EINVAL` for what is no file of signals.
    pub fn set_wanted_signals(&mut self, id: FileId, wanted: SignalSet) -> Result<(), Errno> {
        match &mut self.file_mut(id)?.handle {
            Handle::Signals(set) => *set = wanted.blockable(),
            _ => return Err(Errno::EINVAL),
        }
        self.wakes.wake(WaitKey::SignalSent(id));
        Ok(())
    }

    /// The signals that a file asks for; `None` if it is no file of signals.
    #[must_use]
    pub fn wanted_signals(&self, id: FileId) -> Option<SignalSet> {
        match self.file(id).ok()?.handle {
            Handle::Signals(set) => Some(set),
            _ => None,
        }
    }

    /// Whether any file of signals is open.
    #[must_use]
    pub const fn has_signal_files(&self) -> bool {
        self.signal_files > 0
    }

    /// A signal was sent to somebody: whoever waits for such a one looks again.
    pub fn signal_sent(&mut self, signal: Signal) {
        if self.signal_files == 0 {
            return;
        }
        for (id, file) in &self.files {
            if let Handle::Signals(wanted) = file.handle
                && wanted.contains(signal)
            {
                self.wakes.wake(WaitKey::SignalSent(*id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use maize_abi::file::poll;

    use super::*;
    use crate::testing::World;
    use crate::{Change, Interest, Limits, Told};

    #[test]
    fn a_file_of_signals_is_ready_for_who_has_one_pending() {
        let mut world = World::default();
        let mut vfs = Vfs::new(Limits::default());
        let view = vfs.initial_view(0o22);
        let caller = crate::root::kernel_caller(&view);
        let (usr1, usr2) = (SignalSet::of(Signal::SIGUSR1), SignalSet::of(Signal::SIGUSR2));
        let file = vfs.make_signal_file(&mut world, &caller, usr1, 0).unwrap();
        let set = vfs.make_interest_set(&mut world, &caller).unwrap();
        let interest = Interest { events: maize_abi::file::epoll::EPOLLIN, data: 9 };
        vfs.change_interest(set, (3, file), Change::Add(interest)).unwrap();
        let _ = vfs.take_wakes();

        assert_eq!(vfs.poll(file, usr2), Ok(0));
        assert_eq!(vfs.poll(file, usr1.union(usr2)), Ok(poll::POLLIN | poll::POLLRDNORM));
        assert!(vfs.to_tell(set, 1, usr2).unwrap().is_empty());
        let told = vfs.to_tell(set, 1, usr1).unwrap();
        assert_eq!(told, [(3, file, Told { ..interest })]);

        vfs.signal_sent(Signal::SIGUSR2);
        assert!(vfs.take_wakes().is_empty());
        vfs.signal_sent(Signal::SIGUSR1);
        let woken = vfs.take_wakes();
        assert!(woken.contains(&WaitKey::SignalSent(file)) && woken.len() == 2, "{woken:?}");

        assert_eq!(vfs.set_wanted_signals(set, usr2), Err(Errno::EINVAL));
        vfs.set_wanted_signals(file, usr2).unwrap();
        assert_eq!((vfs.poll(file, usr1), vfs.wanted_signals(file)), (Ok(0), Some(usr2)));
        let _ = vfs.take_wakes();
        vfs.release(&mut world, file);
        assert!(!vfs.has_signal_files());
        vfs.signal_sent(Signal::SIGUSR2);
        assert!(!vfs.take_wakes().contains(&WaitKey::SignalSent(file)));
    }
}
