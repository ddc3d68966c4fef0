//! The program of `./maize run` without a program: threads that move between instruction sets.

use std::path::PathBuf;

use maize_hostlink::boot::Isa;

use crate::compiler;
use crate::topology::Topology;
use crate::workspace::{Workspace, WorkspaceError};

/// The machines of the tour if nothing else is said.
#[must_use]
pub fn topology() -> Topology {
    Topology::two_machines(Isa::X86_64, Isa::Aarch64)
}

/// Its source in the checkout.
const SOURCE: &str = "boards/launcher/tour/tour.c";

/// Makes the tour; its path without an instruction set's ending.
///
/// # Errors
/// As [`compiler::program`].
pub fn build(workspace: &Workspace) -> Result<PathBuf, WorkspaceError> {
    compiler::program(SOURCE, workspace)
}
