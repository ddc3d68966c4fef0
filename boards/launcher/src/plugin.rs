//! Plugins of the emulator.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::command::output;
use crate::machine::escape_commas;

/// Builds a plugin.
///
/// # Errors
/// There is no C compiler, or it does not take the source.
pub(crate) fn build(source: &Path, plugin: &Path) -> anyhow::Result<()> {
    let mut compile = Command::new("cc");
    compile.args(["-O2", "-shared", "-fPIC", "-o"]).arg(plugin).arg(source);
    output(&mut compile).map(drop)
}

/// What the emulator's `-plugin` says for a plugin that writes to a file.
pub(crate) fn option(plugin: &Path, out: &Path) -> OsString {
    [escape_commas(plugin), ",out=".into(), escape_commas(out)].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_paths_are_not_the_options() {
        let option = option(Path::new("/tmp/a,b/blocks.so"), Path::new("/tmp/a,b/blocks-0"));
        assert_eq!(option, "/tmp/a,,b/blocks.so,out=/tmp/a,,b/blocks-0");
    }

    #[test]
    fn a_source_that_is_no_c_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("wrong.c");
        std::fs::write(&source, "no C\n").unwrap();
        let error = build(&source, &folder.path().join("wrong.so")).unwrap_err();
        assert!(error.to_string().contains("wrong.c"), "{error:#}");
    }
}
