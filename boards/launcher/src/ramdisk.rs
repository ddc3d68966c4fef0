//! The initial RAM disk of a run: root file system, files of this run, boot record.

use std::path::{Path, PathBuf};

use maize_hostlink::boot::{BOOT_RECORD_PATH, Isa};
use maize_hostlink::{BootRecord, BootRecordError};
use object::Endianness;
use object::read::elf::{ElfFile64, ProgramHeader};

use crate::cpio::{TooLarge, Writer};
use crate::root::LoadedRoot;
use crate::tree::{Content, Tree, TreeError, base_name};

/// Where programs that come from the host are put.
pub const PROGRAM_FOLDER: &str = "/usr/local/bin";

/// Folders in which a program named without `/` is looked for.
pub const PATH: [&str; 5] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Directories over which every kernel mounts a file system of its own.
const KERNELS_OWN: [&str; 2] = ["/dev", "/proc"];

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A file of the host to put into the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFile {
    /// Path on the host; a directory is taken with what is in it.
    pub host: PathBuf,
    /// Absolute path in the guest.
    pub guest: String,
}

/// Why there is no RAM disk.
#[derive(Debug, thiserror::Error)]
pub enum RamDiskError {
    /// A file of the host.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file is too large.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Arguments and environment are too large.
    #[error(transparent)]
    BootRecord(#[from] BootRecordError),
    /// The program is neither in the root nor on the host.
    #[error("{0}: no such program, neither in the root file system nor on the host")]
    NoProgram(String),
    /// The program is of another instruction set.
    #[error("{program} is a program for {found}; this machine is {isa}")]
    ForeignProgram {
        /// As given.
        program: String,
        /// What it is for.
        found: String,
        /// What the machine is.
        isa: Isa,
    },
    /// The program is a directory.
    #[error("{0}: is a directory, not a program")]
    Directory(String),
    /// The program is linked dynamically, and what is to start it is not in the guest.
    #[error(
        "{program} needs {interpreter} and shared libraries, which the guest does not have: add them \
         (--root, --file), or link it with -static"
    )]
    NoInterpreter {
        /// As given.
        program: String,
        /// Path of the interpreter that it names.
        interpreter: String,
    },
    /// `--file` to where the kernel's own file systems are.
    #[error("`{0}`: /dev and /proc of the guest are its kernel's")]
    KernelsOwn(String),
    /// `--file` without `:`.
    #[error("`{0}`: write HOST:GUEST")]
    BadFile(String),
}

impl std::str::FromStr for GuestFile {
    type Err = RamDiskError;

    fn from_str(text: &str) -> Result<Self, RamDiskError> {
        match text.rsplit_once(':') {
            Some((_, guest)) if KERNELS_OWN.iter().any(|own| is_below(guest, own)) => {
                Err(RamDiskError::KernelsOwn(text.to_owned()))
            }
            Some((host, guest)) if !host.is_empty() && guest.starts_with('/') => {
                Ok(Self { host: host.into(), guest: guest.to_owned() })
            }
            _ => Err(RamDiskError::BadFile(text.to_owned())),
        }
    }
}

/// Root and overlay of a run, before the boot record is known.
#[derive(Debug)]
pub struct Files {
    root: LoadedRoot,
    overlay: Tree,
    isa: Isa,
}

impl Files {
    /// Joins a root and the files of this run.
    pub fn new(root: LoadedRoot, files: &[GuestFile], isa: Isa) -> Result<Self, RamDiskError> {
        let mut overlay = Tree::new();
        for file in files {
            overlay.add_host_file(&file.host, &file.guest, root.outline())?;
        }
        Ok(Self { root, overlay, isa })
    }

    /// Finds the program to run; its absolute path in the guest.
    ///
    /// A name without `/` is looked for in [`PATH`] in the guest. A path is the guest's if the guest
    /// has such a file, else the host's; then the file is put into [`PROGRAM_FOLDER`]. A program of the
    /// host for several instruction sets, `NAME.x86_64` and `NAME.aarch64`, is put there with all its
    /// files; it may be given without the ending.
    pub fn program(&mut self, program: &str) -> Result<String, RamDiskError> {
        let missing = || RamDiskError::NoProgram(program.to_owned());
        let mut all = self.root.outline().clone();
        all.overlay(&self.overlay);
        let candidates = if program.contains('/') {
            vec![program.to_owned()]
        } else {
            PATH.iter().map(|folder| format!("{folder}/{program}")).collect()
        };
        for candidate in candidates.into_iter().filter(|path| path.starts_with('/')) {
            if let Some(node) = all.resolve(&candidate) {
                if let Content::File(data) = &node.content {
                    self.check(program, data, &all)?;
                }
                return Ok(candidate);
            }
        }
        if !program.contains('/') {
            return Err(missing());
        }
        if let Some(guest) = self.add_pair(program)? {
            return Ok(guest);
        }
        let host = Path::new(program);
        if host.is_dir() {
            return Err(RamDiskError::Directory(program.to_owned()));
        }
        if !host.is_file() {
            return Err(missing());
        }
        let guest = format!("{PROGRAM_FOLDER}/{}", base_name(host).ok_or_else(missing)?);
        let data = std::fs::read(host).map_err(|error| TreeError::Read(host.to_owned(), error))?;
        self.check(program, &data, &all)?;
        self.overlay.add_host_file(host, &guest, self.root.outline())?;
        Ok(guest)
    }

    /// Adds a program of the host that exists for each instruction set, if it does: the path of this
    /// one's in the guest.
    fn add_pair(&mut self, program: &str) -> Result<Option<String>, RamDiskError> {
        let suffix = |isa: Isa| format!(".{}", isa.name());
        let stem = Isa::ALL
            .into_iter()
            .find_map(|isa| program.strip_suffix(&suffix(isa)))
            .unwrap_or(program);
        let file = |isa: Isa| PathBuf::from(format!("{stem}{}", suffix(isa)));
        if !Isa::ALL.into_iter().all(|isa| file(isa).is_file()) {
            return Ok(None);
        }
        for isa in Isa::ALL {
            let host = file(isa);
            let Some(name) = base_name(&host) else { return Ok(None) };
            let data =
                std::fs::read(&host).map_err(|error| TreeError::Read(host.clone(), error))?;
            if let Some(found) = foreign_elf(&data, isa) {
                let program = host.display().to_string();
                return Err(RamDiskError::ForeignProgram { program, found, isa });
            }
            let guest = format!("{PROGRAM_FOLDER}/{name}");
            self.overlay.add_host_file(&host, &guest, self.root.outline())?;
        }
        Ok(base_name(&file(self.isa)).map(|name| format!("{PROGRAM_FOLDER}/{name}")))
    }

    /// Whether a program's content is for these machines, which have all these files.
    fn check(&self, program: &str, data: &[u8], all: &Tree) -> Result<(), RamDiskError> {
        let program = || program.to_owned();
        if let Some(found) = foreign_elf(data, self.isa) {
            return Err(RamDiskError::ForeignProgram { program: program(), found, isa: self.isa });
        }
        match interpreter(data) {
            Some(interpreter) if all.resolve(&interpreter).is_none() => {
                Err(RamDiskError::NoInterpreter { program: program(), interpreter })
            }
            _ => Ok(()),
        }
    }

    /// The RAM disk with this boot record.
    pub fn ram_disk(&self, record: &BootRecord) -> Result<Vec<u8>, RamDiskError> {
        let mut writer = Writer::new();
        match &self.root {
            LoadedRoot::Tree(tree) => writer.tree(tree)?,
            LoadedRoot::Archive { bytes, .. } => writer.raw(bytes),
        }
        writer.tree(&self.overlay)?;
        let mut last = Tree::new();
        last.file(BOOT_RECORD_PATH, 0o400, record.encode()?);
        writer.separate();
        writer.tree(&last)?;
        Ok(writer.finish())
    }
}

/// What a program is for, if it is an ELF file and not one of this instruction set.
fn foreign_elf(program: &[u8], isa: Isa) -> Option<String> {
    let header = program.first_chunk::<20>()?;
    let [0x7f, b'E', b'L', b'F', class, .., m0, m1] = header else {
        return None;
    };
    let found = match (class, object::elf::Machine(u16::from_le_bytes([*m0, *m1]))) {
        (2, object::elf::EM_X86_64) => Isa::X86_64.name().to_owned(),
        (2, object::elf::EM_AARCH64) => Isa::Aarch64.name().to_owned(),
        (class, machine) => format!("ELF class {class}, machine {}", machine.0),
    };
    (found != isa.name()).then_some(found)
}

/// What is to start an ELF file that is linked dynamically; of damaged files the kernel says more.
fn interpreter(program: &[u8]) -> Option<String> {
    let file = ElfFile64::<Endianness>::parse(program).ok()?;
    let mut segments = file.elf_program_headers().iter();
    let path = segments.find_map(|s| s.interpreter(file.endian(), program).ok().flatten())?;
    Some(String::from_utf8_lossy(path).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[GuestFile]) -> Files {
        let mut root = Tree::new();
        root.directory("bin", 0o755);
        root.file("bin/tool", 0o755, "#!/bin/sh\n");
        Files::new(LoadedRoot::Tree(root), files, Isa::Aarch64).unwrap()
    }

    fn elf(machine: u8) -> Vec<u8> {
        let mut elf = vec![0u8; 64];
        elf[..5].copy_from_slice(b"\x7fELF\x02");
        elf[18] = machine;
        elf
    }

    #[test]
    fn programs_are_the_guests_before_the_hosts() {
        let host = tempfile::tempdir().unwrap();
        let path = |name: &str| host.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("mine"), elf(183)).unwrap();
        std::fs::write(path("theirs"), elf(62)).unwrap();
        let mut files = files(&[]);
        assert_eq!(files.program("tool").unwrap(), "/bin/tool");
        assert_eq!(files.program("/bin/tool").unwrap(), "/bin/tool");
        assert_eq!(files.program(&path("mine")).unwrap(), "/usr/local/bin/mine");
        assert_eq!(files.program("mine").unwrap(), "/usr/local/bin/mine");
        assert!(matches!(
            files.program(&path("theirs")),
            Err(RamDiskError::ForeignProgram { found, .. }) if found == "x86_64"
        ));
        for missing in ["none", "./none", "/none", "bin/tool", ""] {
            assert!(matches!(files.program(missing), Err(RamDiskError::NoProgram(_))), "{missing}");
        }
    }

    #[test]
    fn a_program_for_several_instruction_sets_comes_with_all_its_files() {
        let host = tempfile::tempdir().unwrap();
        let path = |name: &str| host.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("both.x86_64"), elf(62)).unwrap();
        std::fs::write(path("both"), elf(62)).unwrap();
        assert!(matches!(
            files(&[]).program(&path("both")),
            Err(RamDiskError::ForeignProgram { .. })
        ));
        std::fs::write(path("both.aarch64"), elf(183)).unwrap();
        for name in ["both", "both.x86_64", "both.aarch64"] {
            let mut files = files(&[]);
            assert_eq!(files.program(&path(name)).unwrap(), "/usr/local/bin/both.aarch64");
            for isa in ["x86_64", "aarch64"] {
                let guest = format!("/usr/local/bin/both.{isa}");
                assert!(files.overlay.resolve(&guest).is_some(), "{guest}");
            }
        }
        std::fs::write(path("both.aarch64"), elf(62)).unwrap();
        assert!(matches!(
            files(&[]).program(&path("both")),
            Err(RamDiskError::ForeignProgram { found, isa: Isa::Aarch64, .. }) if found == "x86_64"
        ));
    }

    #[test]
    fn elf_files_are_told_apart() {
        assert_eq!(foreign_elf(&elf(183), Isa::Aarch64), None);
        assert_eq!(foreign_elf(&elf(183), Isa::X86_64).unwrap(), "aarch64");
        assert_eq!(foreign_elf(&elf(243), Isa::X86_64).unwrap(), "ELF class 2, machine 243");
        assert_eq!(foreign_elf(b"#!/bin/sh\n", Isa::X86_64), None);
    }

    #[test]
    fn file_arguments_are_read() {
        let file: GuestFile = "a:b:/c".parse().unwrap();
        assert_eq!((file.host.to_str().unwrap(), file.guest.as_str()), ("a:b", "/c"));
        for bad in ["a", "a:b", ":/b", ""] {
            assert!(matches!(bad.parse::<GuestFile>(), Err(RamDiskError::BadFile(_))));
        }
        for hidden in ["a:/dev/x", "a:/proc"] {
            assert!(matches!(hidden.parse::<GuestFile>(), Err(RamDiskError::KernelsOwn(_))));
        }
        assert!("a:/devices".parse::<GuestFile>().is_ok());
    }
}
