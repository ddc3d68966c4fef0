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

/// The `maize-cc` of a checkout.
#[derive(Debug)]
pub(crate) struct Compiler {
    program: PathBuf,
    /// The C library and headers that programs are made with.
    sysroot: PathBuf,
}

impl Compiler {
    /// Where they are, or will be.
    pub(crate) fn of(workspace: &Workspace) -> Self {
        Self {
            program: workspace.target().join("debug/maize-cc"),
            sysroot: workspace.cache().join("xisa/sysroot"),
        }
    }

    /// The compiler itself.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// What the set-up leaves when it is complete: a digest of all that programs are made with.
    pub(crate) fn set_up_stamp(&self) -> PathBuf {
        self.sysroot.join(".all")
    }

    /// A command that compiles.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("MAIZE_SYSROOT", &self.sysroot);
        command
    }
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
    let compiler = Compiler::of(workspace);
    let set_up = read(&compiler.set_up_stamp()).map_err(|_| {
        failed(&source, "maize-cc is not set up: `./maize run` without more words does that")
    })?;
    let inputs = set_up + &read(&source)?;
    let stamp = program.with_extension("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|before| before == inputs) {
        return Ok(program);
    }
    eprintln!("maize: compiling {}", source.display());
    let mut compile = compiler.command();
    compile.args(OPTIONS).arg(&source).arg("-o").arg(&program);
    let output = compile
        .output()
        .map_err(|error| failed(&source, format!("{}: {error}", compiler.program().display())))?;
    if !output.status.success() {
        return Err(failed(&source, String::from_utf8_lossy(&output.stderr)));
    }
    fs::write(&stamp, inputs).map_err(|error| WorkspaceError::File(stamp, error))?;
    Ok(program)
}
