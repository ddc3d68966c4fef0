//! The program of `./maize run` without a program: threads that move between instruction sets.

use std::path::PathBuf;

use crate::compiler;
use crate::workspace::{Workspace, WorkspaceError};

/// The machines of the tour if nothing else is said.
pub const TOPOLOGY: &str = "x86_64+aarch64";

/// Its source in the checkout.
const SOURCE: &str = "boards/launcher/tour/tour.c";

/// Makes the tour; its path without an instruction set's ending.
///
/// # Errors
/// As [`compiler::program`].
pub fn build(workspace: &Workspace) -> Result<PathBuf, WorkspaceError> {
    compiler::program(SOURCE, workspace)
}
