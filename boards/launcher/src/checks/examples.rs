//! Which packages have examples in their documentation.
//!
//! To look for examples cargo runs rustdoc on every package, which takes longer than many a group;
//! a look at the text tells where there are any.

use std::path::Path;

use super::metadata::Metadata;
use crate::workspace::Workspace;

/// What may follow the fence of a block that is no example to run.
const NOT_RUN: [&str; 4] = ["text", "ignore", "sh", "toml"];

/// The packages of the host whose documentation has examples.
pub(super) fn packages(workspace: &Workspace) -> Result<Vec<String>, String> {
    let metadata = Metadata::read(workspace)?;
    let mut found = Vec::new();
    for package in metadata.host_packages() {
        let source = workspace.root().join(metadata.folder(package)).join("src");
        if has_example(&source).map_err(|error| format!("{}: {error}", source.display()))? {
            found.push(package.name.clone());
        }
    }
    Ok(found)
}

fn has_example(folder: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            has_example(&path)?
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
                && example_in(&std::fs::read_to_string(&path)?)
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether documentation in a source text opens a block of code that is to be run.
fn example_in(text: &str) -> bool {
    let mut open = false;
    for line in text.lines().map(str::trim_start) {
        let Some(doc) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            open = false;
            continue;
        };
        let doc = doc.trim_start();
        let Some(language) = doc.strip_prefix("```").or_else(|| doc.strip_prefix("~~~")) else {
            continue;
        };
        open = !open;
        let words = || language.split([',', ' ', '{', '}']);
        if open && !words().any(|word| NOT_RUN.contains(&word.trim())) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_told_from_other_blocks() {
        assert!(example_in("/// Adds.\n///\n/// ```\n/// add(1, 2);\n/// ```\nfn add() {}"));
        assert!(example_in("    //! ```rust,no_run\n"));
        assert!(!example_in("//! ```text\n//! a\n//! ```\n//! b\n"));
        assert!(!example_in("/// ```ignore\n/// a\n/// ```\n"));
        assert!(!example_in("let text = \"```\";\n// ```\n"));
        assert!(example_in("/// ```text\n/// ```\n/// ```\n/// f()\n"));
    }
}
