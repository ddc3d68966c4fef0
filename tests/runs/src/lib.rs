//! Runs of one program on one instance, for tests: each gives its outcome or fails with the consoles.

pub mod compile;
pub mod dynamic;

use std::time::Duration;

use maize_hostlink::boot::Isa;
use maize_launcher::run::{Ending, RunConfig, RunError, RunOutcome, run};
use maize_launcher::topology::Topology;
use maize_launcher::workspace::{Workspace, WorkspaceError};

/// Longest time for one run, on a busy host.
pub const LIMIT: Duration = Duration::from_secs(400);

/// Why there is no outcome to look at.
#[derive(Debug)]
pub enum Failure {
    /// The checkout was not found.
    Workspace(WorkspaceError),
    /// The run could not be started.
    Start(RunError),
    /// The fabric failed or took too long; with what the consoles said.
    Fabric(Ending, String),
}

impl From<WorkspaceError> for Failure {
    fn from(error: WorkspaceError) -> Self {
        Self::Workspace(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::Start(error)
    }
}

/// A run of a program of the default root.
#[must_use]
pub fn program(isa: Isa, words: &[&str]) -> RunConfig {
    let (name, arguments) = words.split_first().unwrap_or((&"", &[]));
    RunConfig::new(Topology::single(isa), *name).arguments(arguments).timeout(LIMIT).patient()
}

/// A run of a shell script.
#[must_use]
pub fn script(isa: Isa, text: &str) -> RunConfig {
    program(isa, &["sh", "-c", text])
}

/// Runs until the program ends, however it does.
pub fn outcome(config: RunConfig) -> Result<RunOutcome, Failure> {
    let outcome = run(config, &Workspace::find()?)?;
    match outcome.ending {
        Ending::Exited(_) => Ok(outcome),
        ending => Err(Failure::Fabric(ending, outcome.consoles.concat())),
    }
}

/// The output and the status of a script, as the launcher would give them.
pub fn shell(isa: Isa, text: &str) -> Result<(String, u8), Failure> {
    let outcome = outcome(script(isa, text))?;
    Ok((String::from_utf8_lossy(&outcome.stdout).into_owned(), outcome.ending.status()))
}
