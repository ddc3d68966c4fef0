//! The root file system of a run: Debian's busybox in a small tree, or what the user gives.

use std::path::PathBuf;
use std::process::Command;

use maize_hostlink::boot::Isa;

use crate::tree::{Tree, TreeError};
use crate::workspace::Workspace;

/// Where the root file system comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Root {
    /// Busybox and what belongs to it.
    #[default]
    Busybox,
    /// A directory of the host.
    Directory(PathBuf),
    /// An uncompressed `newc` cpio archive.
    Archive(PathBuf),
}

/// A root file system as it goes into the RAM disk.
#[derive(Debug)]
pub enum LoadedRoot {
    /// Files.
    Tree(Tree),
    /// An archive, byte for byte, and what is in it.
    Archive {
        /// The archive.
        bytes: Vec<u8>,
        /// Its names.
        outline: Tree,
    },
}

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The given one cannot be used.
    #[error("root file system")]
    Tree(#[from] TreeError),
    /// The package could not be fetched or unpacked.
    #[error(
        "Debian's busybox-static for {isa} could not be had: {reason}\n\
         (./maize doctor says what is missing; --root DIR does without it)"
    )]
    Busybox {
        /// For this instruction set.
        isa: Isa,
        /// What failed.
        reason: String,
    },
}

impl Root {
    /// A root given on the command line.
    #[must_use]
    pub fn from_path(path: PathBuf) -> Self {
        if path.is_dir() { Self::Directory(path) } else { Self::Archive(path) }
    }

    /// Reads it, for machines of this instruction set.
    pub fn load(&self, isa: Isa, workspace: &Workspace) -> Result<LoadedRoot, RootError> {
        Ok(match self {
            Self::Busybox => LoadedRoot::Tree(busybox_tree(&fetch_busybox(isa, workspace)?, isa)?),
            Self::Directory(path) => LoadedRoot::Tree(Tree::from_directory(path)?),
            Self::Archive(path) => {
                let bytes =
                    std::fs::read(path).map_err(|error| TreeError::Read(path.clone(), error))?;
                let outline = Tree::outline_of_archive(&bytes, path)?;
                LoadedRoot::Archive { bytes, outline }
            }
        })
    }
}

impl LoadedRoot {
    /// The names in it.
    #[must_use]
    pub fn outline(&self) -> &Tree {
        match self {
            Self::Tree(tree) | Self::Archive { outline: tree, .. } => tree,
        }
    }
}

/// Debian's name of an instruction set.
#[must_use]
pub const fn debian_architecture(isa: Isa) -> &'static str {
    match isa {
        Isa::X86_64 => "amd64",
        Isa::Aarch64 => "arm64",
    }
}

/// Where the unpacked busybox of an instruction set is, once fetched.
#[must_use]
pub fn busybox_path(isa: Isa, workspace: &Workspace) -> PathBuf {
    workspace.cache().join(format!("busybox-{isa}/bin/busybox"))
}

/// Fetches busybox for an instruction set if it is not there yet.
pub fn fetch_busybox(isa: Isa, workspace: &Workspace) -> Result<Vec<u8>, RootError> {
    let path = busybox_path(isa, workspace);
    let failed = |reason: String| RootError::Busybox { isa, reason };
    let folder = workspace.cache().join(format!("busybox-{isa}"));
    // Written when all of the package is there.
    if !folder.join(".unpacked-busybox-static").exists() {
        let architecture = debian_architecture(isa);
        eprintln!("maize: fetching Debian's busybox-static for {architecture}");
        let output = Command::new("sh")
            .arg(workspace.root().join("boards/launcher/setup/debian-package"))
            .arg(architecture)
            .arg(workspace.cache().join(format!("debian-{architecture}")))
            .arg("busybox-static")
            .arg(&folder)
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
    }
    std::fs::read(&path).map_err(|error| failed(format!("{}: {error}", path.display())))
}

/// The tree around a busybox: a link for each of its programs, the usual directories and `/etc`.
fn busybox_tree(busybox: &[u8], isa: Isa) -> Result<Tree, RootError> {
    let programs = applets(busybox).ok_or_else(|| RootError::Busybox {
        isa,
        reason: "it has no table of its programs".to_owned(),
    })?;
    let mut tree = Tree::new();
    for directory in [
        "bin",
        "dev",
        "etc",
        "home",
        "lib",
        "proc",
        "root",
        "run",
        "usr",
        "usr/lib",
        "usr/local",
        "usr/local/bin",
        "var",
        "var/log",
    ] {
        tree.directory(directory, 0o755);
    }
    for directory in ["tmp", "var/tmp"] {
        tree.directory(directory, 0o1777);
    }
    for (link, target) in [("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin")] {
        tree.symlink(link, target);
    }
    tree.file("bin/busybox", 0o755, busybox);
    // The table lists the program itself too.
    for program in programs.into_iter().filter(|program| *program != "busybox") {
        tree.symlink(&format!("bin/{program}"), "busybox");
    }
    tree.file(
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    );
    tree.file("etc/group", 0o644, "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n");
    tree.file("etc/hostname", 0o644, "maize\n");
    tree.file("etc/hosts", 0o644, "127.0.0.1 localhost maize\n");
    tree.file("etc/shells", 0o644, "/bin/sh\n");
    tree.file("etc/profile", 0o644, "PS1='\\w \\$ '\n");
    Ok(tree)
}

/// The names of busybox's programs: it keeps them sorted, each ended by a zero byte, and the first
/// two are `[` and `[[`.
fn applets(busybox: &[u8]) -> Option<Vec<&str>> {
    const START: &[u8] = b"\0[\0[[\0";
    let start = busybox.windows(START.len()).position(|window| window == START)? + 1;
    let names = busybox.get(start..)?.split(|byte| *byte == 0).take_while(|name| {
        !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"[-_.+".contains(b))
    });
    let names: Vec<&str> = names.filter_map(|name| std::str::from_utf8(name).ok()).collect();
    names.is_sorted().then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_programs_is_found() {
        let file = b"\x7fELF junk\0[\0[[\0acpid\0ash\0cat\0\0rest\0";
        assert_eq!(applets(file).unwrap(), ["[", "[[", "acpid", "ash", "cat"]);
        assert_eq!(applets(b"no table"), None);
        assert_eq!(applets(b"\0[\0[[\0zcat\0ash\0\0"), None, "not sorted");
    }

    #[test]
    fn every_program_has_a_link_to_busybox() {
        let tree = busybox_tree(b"\0[\0[[\0ash\0busybox\0sh\0\0", Isa::X86_64).unwrap();
        for path in ["/bin/sh", "/usr/bin/ash", "/sbin/[", "/bin/busybox", "/etc/passwd"] {
            assert!(tree.resolve(path).is_some(), "{path}");
        }
    }
}
