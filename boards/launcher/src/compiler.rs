//! Programs for several instruction sets, made by the `maize-cc` of this checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::{Workspace, WorkspaceError};

/// Options that programs are made with.
const OPTIONS: [&str; 3] = ["-O2", "-g", "-pthread"];

fn failed(what: &Path, reason: impl Into<String>) -> WorkspaceError {
    WorkspaceError::Build { what: what.display().to_string(), reason: reason.into() }
}

fn read(path: &Path) -> Result<String, WorkspaceError> {
    fs::read_to_string(path).map_err(|error| WorkspaceError::File(path.to_owned(), error))
}

/// Makes a program of C sources in the checkout, unless it is there and neither they nor the compiler
/// have changed since; its path without an instruction set's ending.
///
/// # Errors
/// [`WorkspaceError::Build`] if the compiler is not set up, which `./maize` sees to, or refuses them.
pub fn program(source: &str, workspace: &Workspace) -> Result<PathBuf, WorkspaceError> {
    let source = workspace.root().join(source);
    let name = source.file_stem().unwrap_or_default();
    let program = workspace.cache_folder("xisa/programs")?.join(name);
    let sysroot = workspace.cache().join("xisa/sysroot");
    let compiler = workspace.target().join("debug/maize-cc");
    // What the set-up leaves when it is complete: a digest of all that programs are made with.
    let set_up = read(&sysroot.join(".all")).map_err(|_| {
        failed(&source, "maize-cc is not set up: `./maize run` without more words does that")
    })?;
    let inputs = set_up + &read(&source)?;
    let stamp = program.with_extension("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|before| before == inputs) {
        return Ok(program);
    }
    eprintln!("maize: compiling {}", source.display());
    let output = Command::new(&compiler)
        .env("MAIZE_SYSROOT", &sysroot)
        .args(OPTIONS)
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .output()
        .map_err(|error| failed(&source, format!("{}: {error}", compiler.display())))?;
    if !output.status.success() {
        return Err(failed(&source, String::from_utf8_lossy(&output.stderr)));
    }
    fs::write(&stamp, inputs).map_err(|error| WorkspaceError::File(stamp, error))?;
    Ok(program)
}
