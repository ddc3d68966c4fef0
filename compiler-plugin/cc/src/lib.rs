//! Compiles a C program for every instruction set at once, so that its threads can move.
//!
//! One front end makes code for a neutral target ([`frontend`], [`neutral`]); a link merges it,
//! optimises it, makes it able to move ([`migrate`]) and writes one ELF per instruction set with
//! the same data at the same addresses ([`link`]).
#![forbid(unsafe_code)]

pub mod frontend;
pub mod link;
pub mod migrate;
pub mod neutral;
pub mod options;
pub mod sysroot;

use std::path::PathBuf;

use maize_llvm::LlvmError;

/// What cannot be compiled, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Source file; of the object, if it has no debug information.
    pub file: String,
    /// Line, if known.
    pub line: Option<u32>,
    /// The function, if it is in one.
    pub function: Option<String>,
    /// What it is.
    pub what: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": error: ")?;
        if let Some(function) = &self.function {
            write!(f, "in `{function}`: ")?;
        }
        write!(f, "{} cannot move between instruction sets", self.what)
    }
}

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Options that make no sense.
    #[error("{0}")]
    Usage(String),
    /// Source that cannot be compiled for every instruction set.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refusal>),
    /// The front end has said why.
    #[error("the front end ended with {0}")]
    FrontEnd(std::process::ExitStatus),
    /// A program that should be there is not.
    #[error("{program}: {error}")]
    Tool {
        /// Which.
        program: String,
        /// Why it cannot be run.
        error: std::io::Error,
    },
    /// The linker's own words.
    #[error("{0}")]
    Linker(String),
    /// Symbols that nothing defines.
    #[error("undefined: {}", .0.join(", "))]
    Undefined(Vec<String>),
    /// A file that cannot be read or written.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file that holds something else.
    #[error("{}: {what}", .path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// LLVM's words.
    #[error(transparent)]
    Llvm(#[from] LlvmError),
    /// A bug of this program.
    #[error("internal error: {0}")]
    Internal(String),
}

impl CompileError {
    fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File { path, error }
    }
}
