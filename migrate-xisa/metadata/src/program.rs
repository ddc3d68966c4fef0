//! What a program's files say about how its threads move.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::container::{self, ContainerError, Kind};
use crate::record::{ALIGNMENT, HEADER_BYTES};
use crate::{LiveValue, ValueType};

/// The section that holds a sealed [`Program`].
pub const SECTION: &str = ".maize.xisa";
/// Most sites of a program.
pub const MAX_SITES: usize = 1 << 22;
/// Most bytes of a record: what a frame may save.
pub const MAX_RECORD_BYTES: u32 = 1 << 16;
/// Most bytes of a name.
const MAX_NAME_BYTES: usize = 1 << 14;

/// Says that files come from one link: the same in every instruction set's file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BuildId(pub [u8; 16]);

impl core::fmt::Display for BuildId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl core::fmt::Debug for BuildId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// Where polls were placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Polls {
    /// Nowhere: threads move where the program asks for it.
    None,
    /// At the entry of every function that calls another.
    Calls,
    /// There, and in every loop that has no small bound.
    Loops,
}

/// The thread-local variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadLocals {
    /// Bytes, from [`crate::address::thread_block::BYTES`] above the thread pointer on.
    pub bytes: u64,
    /// Alignment in bytes, a power of two.
    pub alignment: u64,
}

/// A function with sites.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its symbol.
    pub name: String,
    /// Its source file, if the program has debug information.
    pub file: Option<String>,
}

/// Where in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub column: u32,
}

/// What the call of a site calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Callee {
    /// A function by its symbol.
    Direct(String),
    /// Whatever a pointer holds.
    Indirect,
}

/// A call that may be on the stack when its thread moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Index of the function in [`Program::functions`].
    pub function: u32,
    /// What is called.
    pub callee: Callee,
    /// Where the call is in the source, if known.
    pub location: Option<Location>,
    /// The parts of what the call returns.
    pub result: Vec<ValueType>,
    /// Bytes of the site's record, header included.
    pub record_bytes: u32,
    /// What the record holds, by ascending offset.
    pub values: Vec<LiveValue>,
    /// Live values that are computed again from those of the record.
    pub recomputed: u32,
}

/// A program's transformation metadata. It is the same in the files of every instruction set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Which link it comes from.
    pub build_id: BuildId,
    /// Where polls were placed.
    pub polls: Polls,
    /// Its thread-local variables.
    pub thread_locals: ThreadLocals,
    /// Functions that may be on the stack when a thread moves and have work left to do then.
    pub functions: Vec<Function>,
    /// Functions that may be on the stack without a record: nothing is left of them but to return.
    pub transparent: Vec<String>,
    /// Sites; the number of the first is 1.
    pub sites: Vec<Site>,
}

/// Why a section is not a program's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say which site and what was found")]
pub enum MetadataError {
    /// What surrounds the metadata is wrong.
    Container(ContainerError),
    /// More sites than [`MAX_SITES`].
    Sites { number: usize },
    /// A name is empty or absurdly long.
    Name { bytes: usize },
    /// A site names a function that is not listed.
    Function { site: u32, index: u32 },
    /// A record's size is not a multiple of its alignment, too small, or too large.
    RecordSize { site: u32, bytes: u32 },
    /// A value is empty, overlaps the one before it, or lies outside its record.
    Value { site: u32, index: usize },
    /// The alignment of thread-local variables is no power of two, or absurd.
    ThreadLocals { bytes: u64, alignment: u64 },
}

impl core::fmt::Display for MetadataError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Container(error) => error.fmt(f),
            Self::Sites { number } => write!(f, "{number} sites; at most {MAX_SITES} are read"),
            Self::Name { bytes } => write!(f, "a name of {bytes} bytes"),
            Self::Function { site, index } => {
                write!(f, "site {site} is in function {index}, which is not listed")
            }
            Self::RecordSize { site, bytes } => {
                write!(f, "site {site} has a record of {bytes} bytes")
            }
            Self::Value { site, index } => write!(
                f,
                "value {index} of site {site} is empty, overlaps another or leaves its record"
            ),
            Self::ThreadLocals { bytes, alignment } => {
                write!(f, "{bytes} bytes of thread-local variables, aligned to {alignment}")
            }
        }
    }
}

impl core::error::Error for MetadataError {}

impl From<ContainerError> for MetadataError {
    fn from(error: ContainerError) -> Self {
        Self::Container(error)
    }
}

impl Program {
    /// Seals it, as the section holds it.
    #[must_use]
    pub fn seal(&self) -> Vec<u8> {
        container::seal(Kind::Program, self)
    }

    /// Opens a section's bytes and checks every property that this module states.
    ///
    /// # Errors
    /// [`MetadataError`] says which one does not hold.
    pub fn read(bytes: &[u8]) -> Result<Self, MetadataError> {
        let program: Self = container::open(Kind::Program, bytes)?;
        program.check()?;
        Ok(program)
    }

    /// The site with this number.
    #[must_use]
    pub fn site(&self, number: u32) -> Option<&Site> {
        self.sites.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// The function that a site is in.
    #[must_use]
    pub fn function_of(&self, site: &Site) -> Option<&Function> {
        self.functions.get(usize::try_from(site.function).ok()?)
    }

    /// Every site with its number.
    pub fn numbered_sites(&self) -> impl Iterator<Item = (u32, &Site)> {
        (1..).zip(&self.sites)
    }

    /// Whether every stated property holds.
    ///
    /// # Errors
    /// [`MetadataError`] for the first that does not.
    pub fn check(&self) -> Result<(), MetadataError> {
        let ThreadLocals { bytes, alignment } = self.thread_locals;
        if !alignment.is_power_of_two() || alignment > 4096 || bytes > 1 << 30 {
            return Err(MetadataError::ThreadLocals { bytes, alignment });
        }
        if self.sites.len() > MAX_SITES {
            return Err(MetadataError::Sites { number: self.sites.len() });
        }
        let names = self.functions.iter().map(|function| &function.name).chain(&self.transparent);
        for name in names {
            if name.is_empty() || name.len() > MAX_NAME_BYTES {
                return Err(MetadataError::Name { bytes: name.len() });
            }
        }
        self.numbered_sites().try_for_each(|(number, site)| self.check_site(number, site))
    }

    fn check_site(&self, number: u32, site: &Site) -> Result<(), MetadataError> {
        if self.function_of(site).is_none() {
            return Err(MetadataError::Function { site: number, index: site.function });
        }
        let bytes = site.record_bytes;
        let possible = HEADER_BYTES..=MAX_RECORD_BYTES;
        if !possible.contains(&bytes) || !bytes.is_multiple_of(ALIGNMENT) {
            return Err(MetadataError::RecordSize { site: number, bytes });
        }
        let mut free = HEADER_BYTES;
        for (index, value) in site.values.iter().enumerate() {
            let range = value.range();
            if range.is_empty() || range.start < free || range.end > bytes {
                return Err(MetadataError::Value { site: number, index });
            }
            free = range.end;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::borrow::ToOwned;
    use std::vec;

    use super::*;

    pub(crate) fn example() -> Program {
        let value = |offset, kind| LiveValue { offset, kind, name: "x".to_owned() };
        Program {
            build_id: BuildId([7; 16]),
            polls: Polls::Loops,
            thread_locals: ThreadLocals { bytes: 24, alignment: 8 },
            functions: vec![Function { name: "walk".to_owned(), file: Some("w.c".to_owned()) }],
            transparent: vec!["tail".to_owned()],
            sites: vec![Site {
                function: 0,
                callee: Callee::Indirect,
                location: Some(Location { line: 3, column: 9 }),
                result: vec![ValueType::Double],
                record_bytes: 48,
                values: vec![
                    value(16, ValueType::Pointer),
                    value(24, ValueType::Integer(1)),
                    value(32, ValueType::Floats(4)),
                ],
                recomputed: 1,
            }],
        }
    }

    #[test]
    fn what_is_sealed_is_read() {
        let program = example();
        assert_eq!(Program::read(&program.seal()), Ok(program));
    }

    #[test]
    fn every_property_is_checked() {
        let with = |change: fn(&mut Program)| {
            let mut program = example();
            change(&mut program);
            Program::read(&program.seal()).unwrap_err()
        };
        let value = |index| MetadataError::Value { site: 1, index };
        let size = |bytes| MetadataError::RecordSize { site: 1, bytes };
        assert_eq!(with(|p| p.sites[0].values[0].offset = 8), value(0));
        assert_eq!(with(|p| p.sites[0].values[1].offset = 20), value(1));
        assert_eq!(with(|p| p.sites[0].values[2].offset = 40), value(2));
        assert_eq!(with(|p| p.sites[0].values[2].offset = u32::MAX), value(2));
        assert_eq!(with(|p| p.sites[0].values[1].kind = ValueType::Integer(0)), value(1));
        assert_eq!(with(|p| p.sites[0].record_bytes = 40), size(40));
        assert_eq!(with(|p| p.sites[0].record_bytes = 0), size(0));
        assert_eq!(with(|p| p.sites[0].record_bytes = 1 << 20), size(1 << 20));
        let function = MetadataError::Function { site: 1, index: 1 };
        assert_eq!(with(|p| p.sites[0].function = 1), function);
        assert_eq!(with(|p| p.functions[0].name.clear()), MetadataError::Name { bytes: 0 });
        let locals = MetadataError::ThreadLocals { bytes: 24, alignment: 12 };
        assert_eq!(with(|p| p.thread_locals.alignment = 12), locals);
    }
}
