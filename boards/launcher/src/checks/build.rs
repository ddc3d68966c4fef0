//! Builds with lints: what is checked is what is run.
//!
//! Clippy's compiler is rustc with more warnings, so it builds what it looks at. A second pass that
//! only looks would compile every package and everything they depend on once more.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use maize_hostlink::boot::Isa;
use serde::Deserialize;

use super::cpu_time::{self, Ended};
use crate::workspace::{BareBinary, KERNELS, Workspace, bare_target};

/// The compiler that lints.
const LINTER: &str = "clippy-driver";

/// What a run of all checks adds to a `cargo` command, so that all of them share what they build.
/// Nothing is kept for the next build of a changed source: that costs a first build a fifth.
pub(super) fn share(command: &mut Command) -> &mut Command {
    command.env("CARGO_INCREMENTAL", "0");
    if has_linter() {
        command.env("RUSTC_WORKSPACE_WRAPPER", LINTER);
    }
    command
}

/// A test program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TestProgram {
    /// The package's folder.
    pub(super) folder: PathBuf,
    /// `runs` for `tests/runs.rs`; the package's name for its unit tests.
    pub(super) target: String,
    pub(super) path: PathBuf,
}

/// What a build came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Built {
    /// Whether everything was built.
    pub(super) succeeded: bool,
    /// Warnings of rustc and clippy.
    pub(super) warnings: usize,
    /// What these say.
    pub(super) diagnostics: String,
    pub(super) cpu: Duration,
    /// The test programs, in order.
    pub(super) tests: Vec<TestProgram>,
}

impl Built {
    /// Whether it was built without a warning.
    pub(super) fn is_clean(&self) -> bool {
        self.succeeded && self.warnings == 0
    }
}

/// A line that cargo prints about what it does.
#[derive(Debug, Deserialize)]
#[serde(tag = "reason")]
enum Message {
    #[serde(rename = "compiler-artifact")]
    Artifact {
        manifest_path: PathBuf,
        target: Target,
        profile: Profile,
        executable: Option<PathBuf>,
    },
    #[serde(rename = "compiler-message")]
    Diagnostic { message: Diagnostic },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Debug, Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
}

/// Builds targets of some packages for the host: all of them, or the tests of these names.
///
/// Whatever is built of them, packages that are built for the same run are named together: what they
/// depend on gets one set of features then, and is built once.
pub(super) fn host(
    packages: &BTreeSet<String>,
    tests: Option<&BTreeSet<&str>>,
    workspace: &Workspace,
    log: &mut File,
) -> io::Result<Built> {
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    let tests = tests.into_iter().flatten().flat_map(|test| ["--test", test]);
    let arguments: Vec<&str> =
        ["test", "--no-run"].into_iter().chain(packages).chain(tests).collect();
    build(&arguments, workspace, log)
}

/// Builds all kernels of an instruction set, as [`Workspace::build`] finds them.
pub(super) fn kernels(isa: Isa, workspace: &Workspace, log: &mut File) -> io::Result<Built> {
    let binaries: Vec<BareBinary> =
        KERNELS.iter().filter(|binary| binary.isa == isa).copied().collect();
    let (profile, target) = (workspace.kernel_profile(), bare_target(isa));
    let mut arguments = vec!["build", "--profile", profile, "--target", target];
    for binary in &binaries {
        arguments.extend(["--package", binary.package, "--bin", binary.binary]);
    }
    let features: Vec<String> = binaries
        .iter()
        .filter_map(|b| b.feature.map(|feature| format!("{}/{feature}", b.package)))
        .collect();
    arguments.extend(features.iter().flat_map(|feature| ["--features", feature]));
    let stamps = workspace.stamps(&binaries).map_err(io::Error::other)?;
    let built = build(&arguments, workspace, log)?;
    if built.succeeded {
        stamps.write().map_err(io::Error::other)?;
    }
    Ok(built)
}

fn build(arguments: &[&str], workspace: &Workspace, log: &mut File) -> io::Result<Built> {
    writeln!(log, "$ cargo {}", arguments.join(" "))?;
    let mut command = workspace.cargo();
    command.args(arguments).args(["--quiet", "--message-format", "json"]);
    share(&mut command);
    if !has_linter() {
        writeln!(log, "no {LINTER}: built without its lints (rustup component add clippy)")?;
    }
    let (Ended { status, cpu }, output) = cpu_time::capture(&mut command, log)?;
    let mut built = read(&output, log)?;
    writeln!(log, "$ {status}")?;
    built.succeeded = status.success();
    built.warnings += usize::from(!has_linter());
    built.cpu = cpu;
    Ok(built)
}

fn has_linter() -> bool {
    let mut asked = Command::new(LINTER);
    asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

/// Reads what cargo printed: test programs, and diagnostics, which go to the log.
fn read(output: &[u8], log: &mut dyn Write) -> io::Result<Built> {
    let mut built = Built::default();
    for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line)? {
            Message::Artifact { manifest_path, target, profile, executable } => {
                if let (true, Some(path)) = (profile.test, executable) {
                    let folder = manifest_path.parent().unwrap_or(&manifest_path).to_owned();
                    built.tests.push(TestProgram { folder, target: target.name, path });
                }
            }
            Message::Diagnostic { message } => {
                let text = message.rendered.unwrap_or_default();
                log.write_all(text.as_bytes())?;
                built.diagnostics.push_str(&text);
                built.warnings += usize::from(message.level == "warning");
            }
            Message::Other => {}
        }
    }
    built.tests.sort();
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = r#"{"reason":"compiler-artifact","package_id":"x","manifest_path":"/w/b/Cargo.toml","target":{"kind":["test"],"name":"t"},"profile":{"test":true},"executable":"/t/t-2"}
{"reason":"compiler-artifact","manifest_path":"/w/b/Cargo.toml","target":{"name":"b"},"profile":{"test":false},"executable":"/t/b"}
{"reason":"compiler-message","message":{"level":"warning","rendered":"unused\n","spans":[]}}
{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"a"},"profile":{"test":true},"executable":"/t/a-1"}
{"reason":"build-finished","success":true}
"#;

    #[test]
    fn tests_and_warnings_are_found_in_what_cargo_prints() {
        let mut log = Vec::new();
        let built = read(OUTPUT.as_bytes(), &mut log).unwrap();
        let names: Vec<&str> = built.tests.iter().map(|t| t.target.as_str()).collect();
        assert_eq!(names, ["a", "t"]);
        assert_eq!(built.tests[1].folder, PathBuf::from("/w/b"));
        assert_eq!((built.warnings, log.as_slice()), (1, b"unused\n".as_slice()));
        assert_eq!(built.diagnostics, "unused\n");
        assert!(read(b"no JSON\n", &mut Vec::new()).is_err());
    }
}
