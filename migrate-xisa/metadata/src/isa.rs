//! Instruction sets as values.

use serde::{Deserialize, Serialize};

/// An instruction set between which threads move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Isa {
    /// x86-64, System V ABI.
    X86_64,
    /// AArch64, AAPCS64, little-endian.
    Aarch64,
}

impl Isa {
    /// Every one, in the order of a program's files.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// Linux's name, as `uname -m` prints it; a program's file ends in it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// `e_machine` of its ELF files.
    #[must_use]
    pub const fn elf_machine(self) -> u16 {
        match self {
            Self::X86_64 => 62,
            Self::Aarch64 => 183,
        }
    }

    /// The instruction set of an ELF file with this `e_machine`.
    #[must_use]
    pub fn of_elf_machine(machine: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.elf_machine() == machine)
    }
}

impl core::fmt::Display for Isa {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
