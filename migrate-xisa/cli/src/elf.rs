//! A program's ELF file of one instruction set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use maize_xisa_metadata::{Isa, MetadataError, Program, SECTION};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ObjectSymbol, SectionKind};

/// Why a file is not a program with metadata.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ElfError {
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error("not a 64-bit little-endian ELF file: {0}")]
    Elf(object::Error),
    #[error("its machine {0} is none that threads move between")]
    Machine(u16),
    #[error("it has no section {0}")]
    NoSection(&'static str),
    #[error("section {name} cannot be read: {error}")]
    Section { name: String, error: object::Error },
    #[error("section {SECTION}: {0}")]
    Metadata(#[from] MetadataError),
    #[error("it has no symbol {0}")]
    NoSymbol(&'static str),
    #[error("its code begins at {start:#x} and ends at {end:#x}")]
    Text { start: u64, end: u64 },
    #[error("its unwind tables cannot be read: {0}")]
    Unwind(gimli::Error),
    #[error("the unwind table at {0:#x} names landing pads that cannot be read")]
    Pads(u64),
}

/// A section that is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Where it is loaded.
    pub address: u64,
    /// Its bytes, zeroed ones included in the number.
    pub size: u64,
    /// Its bytes in the file; empty if it has none there.
    pub bytes: Vec<u8>,
}

impl Section {
    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        address >= self.address && address - self.address < self.size
    }

    /// Its bytes from an address on.
    #[must_use]
    pub fn from(&self, address: u64) -> Option<&[u8]> {
        self.bytes.get(usize::try_from(address.checked_sub(self.address)?).ok()?..)
    }
}

/// A symbol with an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its address.
    pub address: u64,
    /// Its bytes.
    pub size: u64,
    /// Its section's name.
    pub section: String,
}

/// A program's file, read.
#[derive(Debug)]
pub struct Elf {
    /// Its instruction set.
    pub isa: Isa,
    /// Its metadata.
    pub program: Program,
    /// Loaded sections by name.
    pub sections: BTreeMap<String, Section>,
    /// Symbols by name.
    pub symbols: BTreeMap<String, Symbol>,
    /// Bytes of the metadata's section.
    pub metadata_bytes: usize,
    /// The identity that the linker wrote.
    pub build_id: Option<Vec<u8>>,
}

/// Most bytes of one section that are read (1 GiB): a file may claim any size.
const MOST: u64 = 1 << 30;

impl Elf {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ElfError`] says what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, ElfError> {
        let bytes =
            std::fs::read(path).map_err(|error| ElfError::File { path: path.to_owned(), error })?;
        Self::read(&bytes)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`ElfError`] says what is wrong with them.
    pub fn read(bytes: &[u8]) -> Result<Self, ElfError> {
        let file = ElfFile64::<LittleEndian>::parse(bytes).map_err(ElfError::Elf)?;
        let machine = file.elf_header().e_machine.get(LittleEndian);
        let isa = Isa::of_elf_machine(machine.0).ok_or(ElfError::Machine(machine.0))?;
        let metadata = file.section_by_name(SECTION).ok_or(ElfError::NoSection(SECTION))?;
        let metadata = metadata
            .data()
            .map_err(|error| ElfError::Section { name: SECTION.to_owned(), error })?;
        let program = Program::read(metadata)?;
        let mut sections = BTreeMap::new();
        for section in file.sections() {
            let name = String::from_utf8_lossy(section.name_bytes().unwrap_or_default());
            let zeroed = section.kind() == SectionKind::UninitializedData;
            if section.address() == 0 || section.size() > MOST {
                continue;
            }
            let bytes = if zeroed {
                Vec::new()
            } else {
                let fail = |error| ElfError::Section { name: name.clone().into_owned(), error };
                section.data().map_err(fail)?.to_vec()
            };
            let (address, size) = (section.address(), section.size());
            sections.insert(name.into_owned(), Section { address, size, bytes });
        }
        let symbols = symbols(&file);
        let build_id = file.build_id().ok().flatten().map(<[u8]>::to_vec);
        let metadata_bytes = metadata.len();
        Ok(Self { isa, program, sections, symbols, metadata_bytes, build_id })
    }

    /// A section that must be there.
    ///
    /// # Errors
    /// [`ElfError::NoSection`] if it is not.
    pub fn section(&self, name: &'static str) -> Result<&Section, ElfError> {
        self.sections.get(name).ok_or(ElfError::NoSection(name))
    }

    /// The address of a symbol that must be there.
    ///
    /// # Errors
    /// [`ElfError::NoSymbol`] if it is not.
    pub fn address(&self, name: &'static str) -> Result<u64, ElfError> {
        self.symbols.get(name).map(|symbol| symbol.address).ok_or(ElfError::NoSymbol(name))
    }

    /// The section that an address lies in.
    #[must_use]
    pub fn section_at(&self, address: u64) -> Option<&Section> {
        self.sections.values().find(|section| section.contains(address))
    }
}

/// The section of the program's own code.
const PROGRAM_TEXT: &str = ".text.program";

fn symbols(file: &ElfFile64<'_, LittleEndian>) -> BTreeMap<String, Symbol> {
    let mut symbols = BTreeMap::new();
    for symbol in file.symbols() {
        let Ok(name) = symbol.name() else { continue };
        let Some(section) = symbol.section_index() else { continue };
        // Names that begin with a dollar say where code and data begin on aarch64.
        if name.is_empty() || name.starts_with('$') {
            continue;
        }
        let section = file
            .section_by_index(section)
            .ok()
            .and_then(|section| section.name().ok().map(str::to_owned))
            .unwrap_or_default();
        let (address, size) = (symbol.address(), symbol.size());
        // The runtime, which is in Rust too, may have symbols of the names that the program's have.
        let is_known =
            symbols.get(name).is_some_and(|known: &Symbol| known.section == PROGRAM_TEXT);
        if !is_known || section == PROGRAM_TEXT {
            symbols.insert(name.to_owned(), Symbol { address, size, section });
        }
    }
    symbols
}
