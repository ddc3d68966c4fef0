//! The programs under `tests/programs`, built by the `Makefile` beside them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Workspace;

/// Why there are no programs.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `make` could not be started.
    #[error("make could not be started: {0} (./maize doctor says what is missing)")]
    Make(std::io::Error),
    /// It failed.
    #[error("the test programs for {variants} do not build:\n{output}")]
    Failed {
        /// For these instruction sets and C libraries.
        variants: String,
        /// Its error output.
        output: String,
    },
}

/// The folder of the programs' sources.
#[must_use]
pub fn sources(workspace: &Workspace) -> PathBuf {
    workspace.root().join("tests/programs")
}

/// The folder that has a folder for each variant.
#[must_use]
pub fn built(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/programs")
}

/// Brings the programs of some variants (`x86_64-musl`) up to date, or one of them alone: a file in
/// [`built`].
///
/// # Errors
/// [`BuildError`].
pub fn build(
    variants: &[String],
    alone: Option<&Path>,
    workspace: &Workspace,
) -> Result<(), BuildError> {
    let variants = variants.join(" ");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let output = Command::new("make")
        .args(["--no-print-directory", "--silent"])
        .arg(format!("--jobs={jobs}"))
        .arg("-C")
        .arg(sources(workspace))
        .arg(format!("OUT={}", built(workspace).display()))
        .arg(format!("CACHE={}", workspace.cache().display()))
        .arg(format!("VARIANTS={variants}"))
        .args(alone)
        .env_remove("MAKEFLAGS")
        .output()
        .map_err(BuildError::Make)?;
    if output.status.success() {
        return Ok(());
    }
    Err(BuildError::Failed { variants, output: String::from_utf8_lossy(&output.stderr).into() })
}
