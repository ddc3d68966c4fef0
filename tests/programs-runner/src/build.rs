//! Builds the programs, by the `Makefile` beside them.

use std::path::PathBuf;
use std::process::Command;

use maize_hostlink::boot::Isa;
use maize_launcher::workspace::Workspace;

use crate::case::Libc;

/// Why there are no programs.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `make` could not be started.
    #[error("make could not be started: {0} (./maize doctor says what is missing)")]
    Make(std::io::Error),
    /// It failed; its last lines.
    #[error("the test programs for {isa} do not build:\n{output}")]
    Failed {
        /// For this instruction set.
        isa: Isa,
        /// Its error output.
        output: String,
    },
}

/// The built programs of one instruction set.
#[derive(Clone, Debug)]
pub struct Programs {
    isa: Isa,
    folder: PathBuf,
}

/// The folder of the programs' sources.
#[must_use]
pub fn sources(workspace: &Workspace) -> PathBuf {
    workspace.root().join("tests/programs")
}

/// Brings the programs for an instruction set up to date.
pub fn build(isa: Isa, workspace: &Workspace) -> Result<Programs, BuildError> {
    let folder = workspace.root().join("target/programs");
    let variants: Vec<String> = Libc::ALL.iter().map(|libc| variant(isa, *libc)).collect();
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let output = Command::new("make")
        .arg("--no-print-directory")
        .arg("--silent")
        .arg(format!("--jobs={jobs}"))
        .arg("-C")
        .arg(sources(workspace))
        .arg(format!("OUT={}", folder.display()))
        .arg(format!("CACHE={}", workspace.cache().display()))
        .arg(format!("VARIANTS={}", variants.join(" ")))
        .env_remove("MAKEFLAGS")
        .output()
        .map_err(BuildError::Make)?;
    if output.status.success() {
        Ok(Programs { isa, folder })
    } else {
        Err(BuildError::Failed { isa, output: String::from_utf8_lossy(&output.stderr).into() })
    }
}

/// The name of a build in the `Makefile`.
fn variant(isa: Isa, libc: Libc) -> String {
    format!("{isa}-{}", libc.name())
}

impl Programs {
    /// The folder of those linked with a library.
    #[must_use]
    pub fn folder(&self, libc: Libc) -> PathBuf {
        self.folder.join(variant(self.isa, libc))
    }

    /// The driver. The one linked with musl asks less of a kernel.
    #[must_use]
    pub fn driver(&self) -> PathBuf {
        self.folder(Libc::Musl).join("driver")
    }
}
