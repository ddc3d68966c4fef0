//! Programs that nobody here wrote: which a script needs, and getting them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use maize_launcher::workspace::Workspace;

use crate::build::sources;
use crate::case::Case;

/// Why a foreign program is not there.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// A script, or the one that fetches.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// What a script needs could not be had.
    #[error("{0}")]
    NotFetched(String),
}

/// The folder of the scripts.
#[must_use]
pub fn folder(workspace: &Workspace) -> PathBuf {
    sources(workspace).join("foreign")
}

/// A case for each script.
pub fn all(workspace: &Workspace) -> Result<Vec<Case>, ForeignError> {
    let folder = folder(workspace);
    let failed = |error| ForeignError::File(folder.clone(), error);
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "sh")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            cases.push(Case::Foreign { name: name.to_owned() });
        }
    }
    cases.sort();
    Ok(cases)
}

/// The programs named in a script's line `# needs: ...`.
fn needs(script: &str) -> Vec<String> {
    let named = script.lines().find_map(|line| line.strip_prefix("# needs:"));
    named.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Held while something is fetched: two that fetch the same would write the same files.
static FETCHING: Mutex<()> = Mutex::new(());

/// Gets what the script of this name needs; the programs' files.
pub fn fetch(name: &str, workspace: &Workspace) -> Result<Vec<PathBuf>, ForeignError> {
    let script = folder(workspace).join(format!("{name}.sh"));
    let text = std::fs::read_to_string(&script)
        .map_err(|error| ForeignError::File(script.clone(), error))?;
    let programs = needs(&text);
    let fetcher = folder(workspace).join("fetch");
    let _alone = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(&fetcher)
        .arg(workspace.cache())
        .args(&programs)
        .output()
        .map_err(|error| ForeignError::File(fetcher, error))?;
    if !output.status.success() {
        return Err(ForeignError::NotFetched(String::from_utf8_lossy(&output.stderr).into()));
    }
    Ok(programs.iter().map(|program| kept(workspace).join(program)).collect())
}

/// Where they are kept once fetched.
#[must_use]
pub fn kept(workspace: &Workspace) -> PathBuf {
    workspace.cache().join("foreign")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_what_it_needs() {
        assert_eq!(needs("# needs: a b-1\n# Words.\n"), ["a", "b-1"]);
        assert!(needs("echo\n").is_empty());
    }
}
