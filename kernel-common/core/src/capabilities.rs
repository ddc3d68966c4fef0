//! Which capabilities a process has, and what becomes of them. All rules are those of Linux, whose
//! programs have no capabilities of their own here.

use maize_abi::Errno;
use maize_abi::capability::{Capability, CapabilitySet};

use crate::credentials::Ids;

/// Bits of `PR_SET_SECUREBITS`: rules, each with a bit above it that locks it.
pub(crate) mod secure {
    pub(crate) const NOROOT: u32 = 1 << 0;
    pub(crate) const NO_SETUID_FIXUP: u32 = 1 << 2;
    pub(crate) const KEEP_CAPS: u32 = 1 << 4;
    pub(crate) const KEEP_CAPS_LOCKED: u32 = 1 << 5;
    pub(crate) const NO_CAP_AMBIENT_RAISE: u32 = 1 << 6;
    pub(crate) const RULES: u32 = NOROOT | NO_SETUID_FIXUP | KEEP_CAPS | NO_CAP_AMBIENT_RAISE;
    pub(crate) const LOCKS: u32 = RULES << 1;
}

/// The sets of a process. The default is the superuser's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// What counts.
    pub(crate) effective: CapabilitySet,
    /// What may become effective.
    pub(crate) permitted: CapabilitySet,
    /// What the programs may have that it runs.
    pub(crate) inheritable: CapabilitySet,
    /// What programs that it runs can have at most.
    pub(crate) bounding: CapabilitySet,
    /// What programs have that it runs as anybody.
    pub(crate) ambient: CapabilitySet,
    /// Bits of [`secure`].
    pub(crate) rules: u32,
}

impl Default for Capabilities {
    fn default() -> Capabilities {
        Capabilities {
            effective: CapabilitySet::ALL,
            permitted: CapabilitySet::ALL,
            inheritable: CapabilitySet::EMPTY,
            bounding: CapabilitySet::ALL,
            ambient: CapabilitySet::EMPTY,
            rules: 0,
        }
    }
}

impl Capabilities {
    /// Effective, permitted, inheritable, bounding, ambient: as `/proc` shows them.
    pub(crate) const fn all(&self) -> [CapabilitySet; 5] {
        [self.effective, self.permitted, self.inheritable, self.bounding, self.ambient]
    }

    const fn follows(&self, rule: u32) -> bool {
        self.rules & rule != 0
    }

    /// What follows when the user ids change.
    pub(crate) fn user_changed(&mut self, from: &Ids, to: &Ids) {
        if self.follows(secure::NO_SETUID_FIXUP) {
            return;
        }
        let has_root = |ids: &Ids| [ids.real, ids.effective, ids.saved].contains(&0);
        if has_root(from) && !has_root(to) {
            if !self.follows(secure::KEEP_CAPS) {
                self.permitted = CapabilitySet::EMPTY;
                self.effective = CapabilitySet::EMPTY;
            }
            self.ambient = CapabilitySet::EMPTY;
        }
        match (from.effective, to.effective) {
            (0, 1..) => self.effective = CapabilitySet::EMPTY,
            (1.., 0) => self.effective = self.permitted,
            _ => {}
        }
    }

    /// What follows when `setfsuid` changes the user for files.
    pub(crate) fn user_for_files_changed(&mut self, from: u32, to: u32) {
        if self.follows(secure::NO_SETUID_FIXUP) {
            return;
        }
        let of_files = CapabilitySet::OF_FILES;
        match (from, to) {
            (0, 1..) => self.effective = self.effective.without(of_files),
            (1.., 0) => self.effective = self.effective.or(of_files.and(self.permitted)),
            _ => {}
        }
    }

    /// After `exec` as these users.
    pub(crate) fn run_program(&mut self, user: &Ids) {
        let root = !self.follows(secure::NOROOT);
        let gained = match user {
            Ids { real: 0, .. } | Ids { effective: 0, .. } if root => {
                self.bounding.or(self.inheritable)
            }
            _ => CapabilitySet::EMPTY,
        };
        self.permitted = gained.or(self.ambient);
        self.effective = if root && user.effective == 0 { self.permitted } else { self.ambient };
        self.rules &= !secure::KEEP_CAPS;
    }

    /// `capset`.
    ///
    /// # Errors
    /// `EPERM`.
    pub(crate) fn set(&mut self, wanted: [CapabilitySet; 3]) -> Result<(), Errno> {
        let [effective, permitted, inheritable] = wanted;
        let free = self.effective.has(Capability::Setpcap);
        if !free && !inheritable.is_within(self.inheritable.or(self.permitted))
            || !inheritable.is_within(self.inheritable.or(self.bounding))
            || !permitted.is_within(self.permitted)
            || !effective.is_within(permitted)
        {
            return Err(Errno::EPERM);
        }
        let ambient = self.ambient.and(permitted).and(inheritable);
        *self = Capabilities { effective, permitted, inheritable, ambient, ..*self };
        Ok(())
    }

    /// `PR_CAPBSET_DROP`.
    ///
    /// # Errors
    /// `EPERM`; `EINVAL` if there is no such capability.
    pub(crate) fn drop_bounding(&mut self, capability: u64) -> Result<(), Errno> {
        if !self.effective.has(Capability::Setpcap) {
            return Err(Errno::EPERM);
        }
        let one = CapabilitySet::of_argument(capability).ok_or(Errno::EINVAL)?;
        self.bounding = self.bounding.without(one);
        Ok(())
    }

    /// `PR_SET_SECUREBITS`.
    ///
    /// # Errors
    /// `EPERM` for what is locked or unknown, and without `CAP_SETPCAP`.
    pub(crate) fn set_rules(&mut self, rules: u64) -> Result<(), Errno> {
        let locked = (self.rules & secure::LOCKS) >> 1;
        let known = u32::try_from(rules).ok().filter(|r| r & !(secure::RULES | secure::LOCKS) == 0);
        let rules = known.ok_or(Errno::EPERM)?;
        let unlocks = self.rules & secure::LOCKS & !rules != 0;
        if locked & (self.rules ^ rules) != 0 || unlocks || !self.effective.has(Capability::Setpcap)
        {
            return Err(Errno::EPERM);
        }
        self.rules = rules;
        Ok(())
    }

    /// `PR_SET_KEEPCAPS`.
    ///
    /// # Errors
    /// `EPERM` if that is locked.
    pub(crate) const fn set_keeping(&mut self, keeps: bool) -> Result<(), Errno> {
        if self.follows(secure::KEEP_CAPS_LOCKED) {
            return Err(Errno::EPERM);
        }
        self.rules &= !secure::KEEP_CAPS;
        if keeps {
            self.rules |= secure::KEEP_CAPS;
        }
        Ok(())
    }

    /// `PR_CAP_AMBIENT_RAISE`.
    ///
    /// # Errors
    /// `EPERM` unless the capability is permitted and inheritable.
    pub(crate) const fn raise_ambient(&mut self, one: CapabilitySet) -> Result<(), Errno> {
        if !one.is_within(self.permitted.and(self.inheritable))
            || self.follows(secure::NO_CAP_AMBIENT_RAISE)
        {
            return Err(Errno::EPERM);
        }
        self.ambient = self.ambient.or(one);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ids(real: u32, effective: u32, saved: u32) -> Ids {
        Ids { real, effective, saved, files: effective }
    }

    #[test]
    fn leaving_root_gives_them_up_unless_they_are_kept() {
        let (root, user) = (ids(0, 0, 0), ids(7, 7, 7));
        let mut all = Capabilities::default();
        all.user_changed(&root, &ids(0, 7, 0));
        assert_eq!((all.effective, all.permitted), (CapabilitySet::EMPTY, CapabilitySet::ALL));
        all.user_changed(&ids(0, 7, 0), &root);
        assert_eq!(all, Capabilities::default());
        all.set_keeping(true).unwrap();
        all.user_changed(&root, &user);
        assert_eq!((all.effective, all.permitted), (CapabilitySet::EMPTY, CapabilitySet::ALL));
        all.run_program(&user);
        assert_eq!((all.permitted, all.rules), (CapabilitySet::EMPTY, 0));
        all.run_program(&root);
        assert_eq!(all, Capabilities::default());
        all.user_changed(&root, &user);
        assert_eq!(all.permitted, CapabilitySet::EMPTY);
        let mut files = Capabilities::default();
        files.user_for_files_changed(0, 7);
        assert_eq!(files.effective, CapabilitySet::ALL.without(CapabilitySet::OF_FILES));
        files.user_for_files_changed(7, 0);
        assert_eq!(files, Capabilities::default());
    }

    #[test]
    fn nothing_is_gained_by_setting_them() {
        let (none, one) = (CapabilitySet::EMPTY, CapabilitySet(1));
        let mut some = Capabilities::default();
        assert_eq!(some.set([one, none, none]), Err(Errno::EPERM));
        assert_eq!((some.set([none, one, one]), some.permitted), (Ok(()), one));
        assert_eq!(some.set([none, CapabilitySet(3), one]), Err(Errno::EPERM));
        assert_eq!(some.set([none, one, CapabilitySet(3)]), Err(Errno::EPERM));
        assert_eq!(some.drop_bounding(1), Err(Errno::EPERM));
        assert_eq!((some.raise_ambient(one), some.ambient), (Ok(()), one));
        some.run_program(&ids(7, 7, 7));
        assert_eq!((some.effective, some.permitted, some.inheritable), (one, one, one));
        assert_eq!((some.set([none, one, none]), some.ambient), (Ok(()), none));
    }

    #[test]
    fn locked_rules_stay() {
        let mut all = Capabilities::default();
        assert_eq!(all.set_rules(1 << 8), Err(Errno::EPERM));
        assert_eq!(all.set_rules((secure::KEEP_CAPS | secure::KEEP_CAPS_LOCKED).into()), Ok(()));
        assert_eq!(all.set_keeping(false), Err(Errno::EPERM));
        assert_eq!(all.set_rules(0), Err(Errno::EPERM));
        assert_eq!(all.set_rules(secure::KEEP_CAPS_LOCKED.into()), Err(Errno::EPERM));
    }
}
