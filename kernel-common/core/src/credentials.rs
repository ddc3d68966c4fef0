//! As whom a process acts: users and groups.
//!
//! The registry has them with the record of the process, beside the files that they are checked for. A
//! home elsewhere knows the real user only, whom it names as the sender of signals.
//! Threads of a process share them; the C libraries see to it on Linux, where each thread has its own.

use alloc::sync::Arc;

use maize_abi::Errno;
use maize_abi::capability::Capability;
use maize_hal::Arch;

use crate::capabilities::Capabilities;
use crate::ids::Pid;
use crate::state::State;

/// An argument that leaves an id as it is.
pub(crate) const UNCHANGED: u32 = u32::MAX;

/// The ids of a process as a user or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Ids {
    pub(crate) real: u32,
    pub(crate) effective: u32,
    pub(crate) saved: u32,
    /// For files: the effective one, unless `setfsuid` has set it.
    pub(crate) files: u32,
}

/// Users and groups of a process. The default is the superuser.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Credentials {
    pub(crate) user: Ids,
    pub(crate) group: Ids,
    /// Supplementary groups.
    pub(crate) groups: Arc<[u32]>,
    pub(crate) capabilities: Capabilities,
}

impl Ids {
    /// Real, effective, saved, for files: as `/proc` shows them.
    pub(crate) const fn all(self) -> [u32; 4] {
        [self.real, self.effective, self.saved, self.files]
    }

    /// `setuid`, `setgid`.
    ///
    /// # Errors
    /// `EINVAL` for what is no id, `EPERM`.
    pub(crate) fn set(&mut self, id: u32, privileged: bool) -> Result<(), Errno> {
        if id == UNCHANGED {
            return Err(Errno::EINVAL);
        }
        if privileged {
            *self = Ids { real: id, effective: id, saved: id, files: id };
        } else if id == self.real || id == self.saved {
            *self = Ids { effective: id, files: id, ..*self };
        } else {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// `setreuid`, `setregid`.
    ///
    /// # Errors
    /// `EPERM`.
    pub(crate) fn set_two(
        &mut self,
        real: u32,
        effective: u32,
        privileged: bool,
    ) -> Result<(), Errno> {
        let old = *self;
        let allowed = |id, others: &[u32]| privileged || id == UNCHANGED || others.contains(&id);
        if !allowed(real, &[old.real, old.effective])
            || !allowed(effective, &[old.real, old.effective, old.saved])
        {
            return Err(Errno::EPERM);
        }
        self.change(real, effective, UNCHANGED);
        if real != UNCHANGED || effective != UNCHANGED && effective != old.real {
            self.saved = self.effective;
        }
        Ok(())
    }

    /// `setresuid`, `setresgid`.
    ///
    /// # Errors
    /// `EPERM`.
    pub(crate) fn set_three(&mut self, ids: [u32; 3], privileged: bool) -> Result<(), Errno> {
        let old = [self.real, self.effective, self.saved, UNCHANGED];
        if !privileged && ids.iter().any(|id| !old.contains(id)) {
            return Err(Errno::EPERM);
        }
        let [real, effective, saved] = ids;
        self.change(real, effective, saved);
        Ok(())
    }

    fn change(&mut self, real: u32, effective: u32, saved: u32) {
        for (id, to) in
            [(&mut self.real, real), (&mut self.effective, effective), (&mut self.saved, saved)]
        {
            if to != UNCHANGED {
                *id = to;
            }
        }
        self.files = self.effective;
    }

    /// `setfsuid`, `setfsgid`: sets the id if it may, and tells the one before.
    pub(crate) fn set_for_files(&mut self, id: u32, privileged: bool) -> u32 {
        let old = self.files;
        if id != UNCHANGED && (privileged || self.all().contains(&id)) {
            self.files = id;
        }
        old
    }

    /// After `exec`.
    const fn run_program(&mut self) {
        self.saved = self.effective;
        self.files = self.effective;
    }
}

impl Credentials {
    /// Whether the process has a capability now.
    pub(crate) const fn may(&self, capability: Capability) -> bool {
        self.capabilities.effective.has(capability)
    }

    /// After `exec`.
    pub(crate) fn run_program(&mut self) {
        self.capabilities.run_program(&self.user);
        self.user.run_program();
        self.group.run_program();
    }

    /// Whether a process of these may send signals to one of `target`.
    fn may_signal(&self, target: &Credentials) -> bool {
        let targets = [target.user.real, target.user.saved];
        self.may(Capability::Kill)
            || targets.contains(&self.user.effective)
            || targets.contains(&self.user.real)
    }
}

impl<A: Arch> State<A> {
    /// The user that a process is of, as receivers of its signals are told.
    pub(crate) fn user_of(&self, pid: Pid) -> u32 {
        self.processes.get(&pid).map_or(0, |process| process.credentials.user.real)
    }

    /// As whom a process acts.
    pub(crate) fn credentials(&self, pid: Pid) -> Credentials {
        self.processes.get(&pid).map(|process| process.credentials.clone()).unwrap_or_default()
    }

    /// Whether a process may send another one signals, or none but `SIGCONT` within its session.
    pub(crate) fn may_signal(&self, sender: Pid, target: Pid, continues: bool) -> bool {
        let (Some(from), Some(to)) = (self.processes.get(&sender), self.processes.get(&target))
        else {
            return true;
        };
        sender == target
            || from.credentials.may_signal(&to.credentials)
            || continues && from.session == to.session
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ids(real: u32, effective: u32, saved: u32) -> Ids {
        Ids { real, effective, saved, files: effective }
    }

    #[test]
    fn a_user_goes_to_and_fro_between_own_ids_only() {
        let mut user = ids(7, 7, 7);
        assert_eq!(user.set(0, false), Err(Errno::EPERM));
        assert_eq!(user.set(UNCHANGED, true), Err(Errno::EINVAL));
        user = ids(7, 8, 9);
        assert_eq!((user.set(9, false), user), (Ok(()), ids(7, 9, 9)));
        assert_eq!((user.set(7, false), user), (Ok(()), ids(7, 7, 9)));
        assert_eq!((user.set(5, true), user), (Ok(()), ids(5, 5, 5)));
        user = ids(7, 8, 9);
        assert_eq!(user.set_two(9, UNCHANGED, false), Err(Errno::EPERM));
        assert_eq!((user.set_two(UNCHANGED, 7, false), user), (Ok(()), ids(7, 7, 9)));
        user = ids(7, 8, 9);
        assert_eq!((user.set_two(8, 7, false), user), (Ok(()), ids(8, 7, 7)));
        user = ids(7, 8, 9);
        assert_eq!(user.set_three([7, 7, 1], false), Err(Errno::EPERM));
        assert_eq!((user.set_three([9, UNCHANGED, 8], false), user), (Ok(()), ids(9, 8, 8)));
        assert_eq!((user.set_for_files(1, false), user.files), (8, 8));
        assert_eq!((user.set_for_files(9, false), user.files), (8, 9));
    }

    #[test]
    fn signals_are_for_processes_of_the_same_user() {
        let of = |user| {
            let mut credentials = Credentials { user, ..Credentials::default() };
            credentials.capabilities.user_changed(&ids(0, 0, 0), &user);
            credentials
        };
        let (root, one, other) = (of(ids(0, 0, 0)), of(ids(1, 1, 1)), of(ids(2, 2, 2)));
        let both = of(ids(1, 2, 2));
        assert!(root.may_signal(&one) && one.may_signal(&one) && !one.may_signal(&root));
        assert!(!one.may_signal(&other) && both.may_signal(&other) && other.may_signal(&both));
    }
}
