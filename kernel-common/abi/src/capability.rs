//! Capabilities: what a process may do that only the superuser may otherwise.

/// A capability. The numbers are Linux's; those that nothing here asks for have no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Give files away.
    Chown = 0,
    /// Read, write and search whatever the mode says.
    DacOverride = 1,
    /// Read and search whatever the mode says.
    DacReadSearch = 2,
    /// Do with files of others what their owners may.
    Fowner = 3,
    /// Keep the set-id bits of files that are changed.
    Fsetid = 4,
    /// Send signals to anybody.
    Kill = 5,
    /// Become of any group.
    Setgid = 6,
    /// Become any user.
    Setuid = 7,
    /// Give capabilities up for good, and set rules for them.
    Setpcap = 8,
    /// Change flags of files.
    LinuxImmutable = 9,
    /// Look into other processes.
    SysPtrace = 19,
    /// Administer.
    SysAdmin = 21,
    /// Make device files.
    Mknod = 27,
    /// Pass over mandatory access control.
    MacOverride = 32,
}

/// The highest capability that Linux 6.1 has.
pub const LAST: u32 = 40;

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// None.
    pub const EMPTY: CapabilitySet = CapabilitySet(0);
    /// All that there are.
    pub const ALL: CapabilitySet = CapabilitySet((1 << (LAST + 1)) - 1);
    /// Those that are about files.
    pub const OF_FILES: CapabilitySet = CapabilitySet(
        1 << Capability::Chown as u8
            | 1 << Capability::DacOverride as u8
            | 1 << Capability::DacReadSearch as u8
            | 1 << Capability::Fowner as u8
            | 1 << Capability::Fsetid as u8
            | 1 << Capability::LinuxImmutable as u8
            | 1 << Capability::Mknod as u8
            | 1 << Capability::MacOverride as u8,
    );

    /// The set of one that an argument names; `None` if there is no such capability.
    #[must_use]
    pub const fn of_argument(number: u64) -> Option<CapabilitySet> {
        if number <= LAST as u64 { Some(CapabilitySet(1 << number)) } else { None }
    }

    /// Whether it has a capability.
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.0 >> capability as u8 & 1 != 0
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & other.0)
    }

    /// Those in either.
    #[must_use]
    pub const fn or(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 | other.0)
    }

    /// Those that are not in the other.
    #[must_use]
    pub const fn without(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & !other.0)
    }

    /// Whether all of them are in the other.
    #[must_use]
    pub const fn is_within(self, other: CapabilitySet) -> bool {
        self.without(other).0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_bits() {
        assert_eq!(CapabilitySet::ALL, CapabilitySet(0x1ff_ffff_ffff));
        assert_eq!(CapabilitySet::OF_FILES, CapabilitySet(0x1_0800_021f));
        assert_eq!(CapabilitySet::of_argument(40), Some(CapabilitySet(1 << 40)));
        assert_eq!(CapabilitySet::of_argument(41), None);
        let some = CapabilitySet(0b1010);
        assert!(some.has(Capability::DacOverride) && !some.has(Capability::Chown));
        assert!(some.is_within(CapabilitySet::ALL) && !CapabilitySet::ALL.is_within(some));
    }
}
