//! The programs under `tests/programs`, built by the `Makefile` beside them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::Workspace;

/// Why there are no programs.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `make` could not be started.
    #[error("make could not be started: {0} (./maize doctor says what is missing)")]
    Make(std::io::Error),
    /// The folder of what was built could not be had for this build alone.
    #[error("{0}: {1}")]
    Folder(PathBuf, std::io::Error),
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

/// Holds what was built for one build at a time, also of another process: two that build the same would write the
/// same files. It ends when the file is closed.
fn alone_in(folder: &Path) -> std::io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let lock = File::create(folder.join(".lock"))?;
    lock.lock()?;
    Ok(lock)
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
    let folder = built(workspace);
    let _lock = alone_in(&folder).map_err(|error| BuildError::Folder(folder.clone(), error))?;
    let variants = variants.join(" ");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let output = Command::new("make")
        .args(["--no-print-directory", "--silent"])
        .arg(format!("--jobs={jobs}"))
        .arg("-C")
        .arg(sources(workspace))
        .arg(format!("OUT={}", folder.display()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_builds_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let built = folder.path().join("built");
        let first = alone_in(&built).unwrap();
        let second = File::open(built.join(".lock")).unwrap();
        assert!(second.try_lock().is_err());
        drop(first);
        second.try_lock().unwrap();
    }
}
