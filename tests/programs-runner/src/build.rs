//! Builds the programs for every C library.

use std::path::PathBuf;

use maize_hostlink::boot::Isa;
use maize_launcher::test_programs;
use maize_launcher::workspace::Workspace;

pub use maize_launcher::test_programs::{BuildError, sources};

use crate::case::Libc;

/// The built programs of one instruction set.
#[derive(Clone, Debug)]
pub struct Programs {
    isa: Isa,
    folder: PathBuf,
}

/// Brings the programs for an instruction set up to date.
///
/// # Errors
/// [`BuildError`].
pub fn build(isa: Isa, workspace: &Workspace) -> Result<Programs, BuildError> {
    let variants: Vec<String> = Libc::ALL.iter().map(|libc| variant(isa, *libc)).collect();
    test_programs::build(&variants, None, workspace)?;
    Ok(Programs { isa, folder: test_programs::built(workspace) })
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
