//! Programs that a test builds for itself.

use std::ffi::OsStr;
use std::io;
use std::process::Command;

/// Runs a compiler for what it prints.
///
/// # Errors
/// What it says when it fails.
pub fn compile<S: AsRef<OsStr>>(compiler: &str, arguments: &[S]) -> io::Result<String> {
    let output = Command::new(compiler).args(arguments).output()?;
    let [said, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    if output.status.success() {
        Ok(said.trim_end().to_owned())
    } else {
        Err(io::Error::other(errors))
    }
}
