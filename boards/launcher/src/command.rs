//! Commands that are run to their end for what they print.

use std::process::Command;

use anyhow::{Context, bail};

/// Runs a command that must succeed, for what it prints on both outputs.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<(String, String)> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let [text, errors] =
        [output.stdout, output.stderr].map(|t| String::from_utf8_lossy(&t).into_owned());
    if !output.status.success() {
        bail!("{command:?} ended with {}: {errors}", output.status);
    }
    Ok((text, errors))
}
