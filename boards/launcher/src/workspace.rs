//! The checkout: where it is, its cache, and what is built from it.

use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::Command;

use maize_hostlink::boot::Isa;

/// The checkout that this launcher was built from.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    /// Cargo's profile for kernels.
    profile: String,
}

/// Names the profile that kernels are built with, if it is not to be [`RELEASE`].
pub const PROFILE_VARIABLE: &str = "MAIZE_KERNEL_PROFILE";

/// The profile of kernels, unless something else is said.
pub const RELEASE: &str = "release";

/// The profile of kernels for tests, which are built in half the time.
pub const TESTED: &str = "tested";

/// What of the checkout is missing or does not build.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// Neither `MAIZE_ROOT` nor a folder above the launcher is a checkout.
    #[error("no checkout of maize found (run ./maize, or set MAIZE_ROOT)")]
    NotFound,
    /// A file of the checkout or its cache.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// `cargo build` could not be started or failed.
    #[error("building {what} failed: {reason}")]
    Build {
        /// A package.
        what: String,
        /// What cargo said or how it ended.
        reason: String,
    },
}

/// A package to build for a target without an operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BareBinary {
    /// Package.
    pub package: &'static str,
    /// Binary of the package.
    pub binary: &'static str,
    /// Instruction set.
    pub isa: Isa,
    /// Feature of the package, if the binary needs one.
    pub feature: Option<&'static str>,
}

/// The kernel of the machine that each instruction set runs on.
#[must_use]
pub const fn kernel(isa: Isa) -> BareBinary {
    let name = match isa {
        Isa::X86_64 => "maize-q35",
        Isa::Aarch64 => "maize-virt",
    };
    BareBinary { package: name, binary: name, isa, feature: None }
}

/// The kernel that exercises its links in place of running programs, for the same machines.
#[must_use]
pub const fn exercise_kernel(isa: Isa) -> BareBinary {
    BareBinary { binary: "exercise", ..kernel(isa) }
}

/// A kernel that only reports that it has started, on the same machine.
#[must_use]
pub const fn empty_kernel(isa: Isa) -> BareBinary {
    let (binary, feature) = match isa {
        Isa::X86_64 => ("empty-q35", "q35"),
        Isa::Aarch64 => ("empty-virt", "virt"),
    };
    BareBinary { package: "maize-empty", binary, isa, feature: Some(feature) }
}

/// Every binary without an operating system.
pub const KERNELS: [BareBinary; 10] = [
    kernel(Isa::X86_64),
    test_kernel(Isa::X86_64, "fault-test"),
    test_kernel(Isa::X86_64, "sibling-test"),
    test_kernel(Isa::X86_64, "exercise"),
    empty_kernel(Isa::X86_64),
    kernel(Isa::Aarch64),
    test_kernel(Isa::Aarch64, "arch-test"),
    test_kernel(Isa::Aarch64, "sibling-test"),
    test_kernel(Isa::Aarch64, "exercise"),
    empty_kernel(Isa::Aarch64),
];

/// A kernel that is a test, of the same package as [`kernel`].
#[must_use]
pub const fn test_kernel(isa: Isa, binary: &'static str) -> BareBinary {
    BareBinary { binary, ..kernel(isa) }
}

/// The target triple of kernels.
#[must_use]
pub const fn bare_target(isa: Isa) -> &'static str {
    match isa {
        Isa::X86_64 => "x86_64-unknown-none",
        Isa::Aarch64 => "aarch64-unknown-none-softfloat",
    }
}

/// Folders and files that kernels are built from.
const KERNEL_SOURCES: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    ".cargo",
    "arch",
    "boards",
    "kernel-common",
    "migrate-xisa",
    "msg-pcie",
    "tests/msg-exercise",
];

impl Workspace {
    /// Finds the checkout: `MAIZE_ROOT`, else above the package under test, else above the program.
    pub fn find() -> Result<Self, WorkspaceError> {
        let given = std::env::var_os("MAIZE_ROOT").map(PathBuf::from);
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let program = std::env::current_exe().ok();
        [given, package, program]
            .into_iter()
            .flatten()
            .find_map(|path| {
                path.ancestors()
                    .find(|dir| dir.join("boards/launcher/Cargo.toml").exists())
                    .map(Path::to_owned)
            })
            .map(|root| {
                let profile = std::env::var(PROFILE_VARIABLE);
                Self { root, profile: profile.unwrap_or_else(|_| RELEASE.to_owned()) }
            })
            .ok_or(WorkspaceError::NotFound)
    }

    /// The same checkout, with kernels of another profile, unless [`PROFILE_VARIABLE`] names one.
    #[must_use]
    pub fn with_kernels(&self, profile: &str) -> Self {
        let named = std::env::var_os(PROFILE_VARIABLE).is_some();
        let profile = if named { self.profile.clone() } else { profile.to_owned() };
        Self { root: self.root.clone(), profile }
    }

    /// Cargo's profile for kernels.
    #[must_use]
    pub fn kernel_profile(&self) -> &str {
        &self.profile
    }

    /// The top folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of what is fetched and derived; git ignores it.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join(".maize")
    }

    /// The folder of what cargo builds.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), Into::into)
    }

    /// Creates a folder of the cache.
    pub fn cache_folder(&self, name: &str) -> Result<PathBuf, WorkspaceError> {
        let path = self.cache().join(name);
        std::fs::create_dir_all(&path).map_err(|e| WorkspaceError::File(path.clone(), e))?;
        Ok(path)
    }

    /// A `cargo` command in the checkout.
    #[must_use]
    pub fn cargo(&self) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.root);
        command
    }

    /// Builds a binary without an operating system, unless nothing it is built from has changed.
    pub fn build(&self, binary: BareBinary) -> Result<PathBuf, WorkspaceError> {
        let target = bare_target(binary.isa);
        // The one profile whose folder has another name.
        let folder = if self.profile == "dev" { "debug" } else { &self.profile };
        let built = self.target().join(target).join(folder).join(binary.binary);
        let stamps = self.stamps(&[binary])?;
        if built.exists() && stamps.are_current() {
            return Ok(built);
        }
        eprintln!("maize: building {} for {}", binary.binary, binary.isa);
        let failed =
            |reason: String| WorkspaceError::Build { what: binary.binary.to_owned(), reason };
        let status = self
            .cargo()
            .args(["build", "--quiet", "--profile", &self.profile, "--target", target])
            .args(["--package", binary.package, "--bin", binary.binary])
            .args(binary.feature.iter().flat_map(|feature| ["--features", feature]))
            .status()
            .map_err(|error| failed(format!("cargo: {error}")))?;
        if !status.success() {
            return Err(failed(format!("cargo: {status}")));
        }
        stamps.write()?;
        Ok(built)
    }

    /// What says that binaries are built from the sources as they are now.
    pub fn stamps(&self, binaries: &[BareBinary]) -> Result<Stamps, WorkspaceError> {
        let folder = self.cache_folder("stamps")?;
        let name = |b: &BareBinary| {
            folder.join(format!("{}-{}-{}", b.binary, bare_target(b.isa), self.profile))
        };
        let paths = binaries.iter().map(name).collect();
        Ok(Stamps { paths, sources: self.digest(&KERNEL_SOURCES)? })
    }

    /// A number that changes when a file below these paths does (by content), is added or removed.
    fn digest(&self, paths: &[&str]) -> Result<String, WorkspaceError> {
        let mut hasher = std::hash::DefaultHasher::new();
        for path in paths {
            digest_path(&self.root.join(path), &mut hasher)?;
        }
        Ok(format!("{:016x}", hasher.finish()))
    }
}

/// Files that keep what binaries were built from.
#[derive(Debug)]
pub struct Stamps {
    paths: Vec<PathBuf>,
    sources: String,
}

impl Stamps {
    /// Whether all were built from these sources.
    #[must_use]
    pub fn are_current(&self) -> bool {
        let current = |path| std::fs::read_to_string(path).is_ok_and(|text| text == self.sources);
        self.paths.iter().all(current)
    }

    /// Notes that all were.
    pub fn write(&self) -> Result<(), WorkspaceError> {
        self.paths.iter().try_for_each(|path| {
            std::fs::write(path, &self.sources)
                .map_err(|error| WorkspaceError::File(path.clone(), error))
        })
    }
}

fn digest_path(path: &Path, hasher: &mut impl Hasher) -> Result<(), WorkspaceError> {
    let failed = |error| WorkspaceError::File(path.to_owned(), error);
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let mut children: Vec<PathBuf> = entries
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        children.sort();
        children.iter().try_for_each(|child| digest_path(child, hasher))
    } else if path.exists() {
        hasher.write(path.as_os_str().as_encoded_bytes());
        let bytes = std::fs::read(path).map_err(failed)?;
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
        Ok(())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_found_from_a_package_of_it() {
        let workspace = Workspace::find().unwrap();
        assert!(workspace.root().join("boards/launcher/src/workspace.rs").exists());
    }

    #[test]
    fn every_kernel_is_listed() {
        let root = Workspace::find().unwrap().root().to_owned();
        let mut found = 0;
        for (folder, isa) in [("boards/q35", Isa::X86_64), ("boards/virt", Isa::Aarch64)] {
            for entry in std::fs::read_dir(root.join(folder).join("src/bin")).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap();
                let listed = KERNELS.iter().any(|k| k.isa == isa && k.binary == name);
                assert!(listed, "{}", path.display());
                found += 1;
            }
        }
        assert!(found >= 3);
    }

    #[test]
    fn digests_see_every_change() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: dir.path().to_owned(), profile: RELEASE.to_owned() };
        let digest = || workspace.digest(&["src", "gone"]).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        std::fs::create_dir(dir.path().join("src")).unwrap();
        let mut seen = vec![digest()];
        write("src/a", "1");
        seen.push(digest());
        write("src/a", "2");
        seen.push(digest());
        write("src/b", "");
        seen.push(digest());
        std::fs::rename(dir.path().join("src/b"), dir.path().join("src/c")).unwrap();
        seen.push(digest());
        let last = seen.last().cloned();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5);
        write("src/c", "");
        assert_eq!(Some(digest()), last);
    }
}
