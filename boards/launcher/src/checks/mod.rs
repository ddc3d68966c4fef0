//! `maize test`: the groups of checks, run one after another, each with its log.

pub mod dependencies;
pub mod groups;
pub mod links;
pub mod metadata;
pub mod sources;

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use self::metadata::Metadata;
use crate::workspace::Workspace;

/// Some checks with one name.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// How it is asked for.
    pub name: &'static str,
    /// One line on what it checks.
    pub about: &'static str,
    /// What it does, in order, until something fails.
    pub steps: &'static [Step],
}

/// One thing that a group does.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A `cargo` command that must succeed; its arguments are words.
    Cargo(&'static str),
    /// The tests of every package of the host in these folders; a folder that ends in `/` or `*`
    /// stands for all whose names begin so. Tests marked `#[ignore]` are run when long runs are
    /// asked for.
    Packages(&'static [&'static str]),
    /// `cargo test` with these arguments; it must run at least one test.
    Tests(&'static str),
    /// The same, only when long runs are asked for.
    Long(&'static str),
    /// A check of this program: a note on what was looked at, or what is wrong.
    Check(fn(&Workspace) -> Result<String, String>),
}

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// What CI runs.
    Usual,
    /// Also what takes long.
    Long,
}

/// What a group came to.
#[derive(Debug)]
pub struct Verdict {
    /// Whether every step succeeded.
    pub passed: bool,
    /// Tests that ran.
    pub tests: usize,
    /// From the first step to the last.
    pub time: Duration,
    /// Where everything it said is.
    pub log: PathBuf,
}

/// No such group.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no test group `{0}` (./maize test --list shows them)")]
pub struct UnknownGroup(String);

/// The groups of these names in the registry's order; all, if no name is given.
pub fn select(names: &[String]) -> Result<Vec<&'static Group>, UnknownGroup> {
    if let Some(unknown) =
        names.iter().find(|name| groups::GROUPS.iter().all(|group| group.name != name.as_str()))
    {
        return Err(UnknownGroup(unknown.clone()));
    }
    let wanted = |group: &&Group| names.is_empty() || names.iter().any(|name| name == group.name);
    Ok(groups::GROUPS.iter().filter(wanted).collect())
}

/// Runs groups, shows a line for each and the log of each that fails; whether all passed.
///
/// The last line written to `out` is `N passed, N failed`.
pub fn run_all(
    groups: &[&Group],
    length: Length,
    workspace: &Workspace,
    out: &mut dyn Write,
) -> std::io::Result<bool> {
    let logs = workspace.cache_folder("logs").map_err(std::io::Error::other)?;
    let (mut passed, mut failed) = (0, 0);
    for group in groups {
        let progress = std::io::stderr().is_terminal();
        if progress {
            eprint!("running {} …\r", group.name);
        }
        let verdict = run_group(group, length, workspace, &logs)?;
        if progress {
            eprint!("\x1b[K");
        }
        if !verdict.passed {
            let log = std::fs::read(&verdict.log)?;
            writeln!(out, "--- log of {} ---", group.name)?;
            out.write_all(&log)?;
            writeln!(out, "--- end of the log of {} ---", group.name)?;
        }
        writeln!(out, "{}", summary(group, &verdict))?;
        out.flush()?;
        if verdict.passed { passed += 1 } else { failed += 1 }
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(failed == 0)
}

fn summary(group: &Group, verdict: &Verdict) -> String {
    let mark = if verdict.passed { "ok    " } else { "FAILED" };
    let seconds = verdict.time.as_secs_f64();
    let tests = match verdict.tests {
        0 => String::new(),
        1 => ", 1 test".to_owned(),
        number => format!(", {number} tests"),
    };
    format!("{mark} {:14} {seconds:6.1} s{tests}", group.name)
}

fn run_group(
    group: &Group,
    length: Length,
    workspace: &Workspace,
    logs: &Path,
) -> std::io::Result<Verdict> {
    let path = logs.join(format!("{}.log", group.name));
    let mut log = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    let started = Instant::now();
    let mut passed = true;
    for step in group.steps {
        passed = run_step(*step, length, workspace, &mut log)?;
        if !passed {
            break;
        }
    }
    drop(log);
    let tests = tests_passed(&std::fs::read_to_string(&path).unwrap_or_default());
    Ok(Verdict { passed, tests, time: started.elapsed(), log: path })
}

fn run_step(
    step: Step,
    length: Length,
    workspace: &Workspace,
    log: &mut File,
) -> std::io::Result<bool> {
    match step {
        Step::Check(check) => match check(workspace) {
            Ok(note) => writeln!(log, "{note}").map(|()| true),
            Err(wrong) => writeln!(log, "{wrong}").map(|()| false),
        },
        Step::Cargo(arguments) => cargo(arguments.split(' '), workspace, log),
        Step::Long(_) if length == Length::Usual => Ok(true),
        Step::Tests(arguments) | Step::Long(arguments) => {
            tests(arguments.split(' '), workspace, log)
        }
        Step::Packages(folders) => {
            let packages = match packages_in(folders, workspace) {
                Ok(packages) => packages,
                Err(wrong) => return writeln!(log, "{wrong}").map(|()| false),
            };
            let mut arguments = vec!["--quiet"];
            arguments.extend(packages.iter().flat_map(|package| ["--package", package]));
            if length == Length::Long {
                arguments.extend(["--", "--include-ignored"]);
            }
            tests(arguments.into_iter(), workspace, log)
        }
    }
}

/// The packages of the host in some folders.
fn packages_in(folders: &[&str], workspace: &Workspace) -> Result<Vec<String>, String> {
    let metadata = Metadata::read(workspace)?;
    let found: Vec<String> = metadata
        .host_packages()
        .filter(|package| folders.iter().any(|pattern| covers(pattern, &metadata.folder(package))))
        .map(|package| package.name.clone())
        .collect();
    if found.is_empty() { Err(format!("no package in {folders:?}")) } else { Ok(found) }
}

/// Whether a pattern stands for a path: `a/b` for itself, `a/` and `a/b*` for what begins so.
fn covers(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None if pattern.ends_with('/') => path.starts_with(pattern),
        None => path == pattern,
    }
}

/// Every package of the host is tested: once as a package of a group, or by a command that names it.
fn every_package_is_tested(workspace: &Workspace) -> Result<String, String> {
    let metadata = Metadata::read(workspace)?;
    let (mut patterns, mut named) = (Vec::<&str>::new(), Vec::<&str>::new());
    for step in groups::GROUPS.iter().flat_map(|group| group.steps) {
        match step {
            Step::Packages(folders) => patterns.extend(folders.iter()),
            Step::Tests(arguments) | Step::Long(arguments) => named.extend(arguments.split(' ')),
            Step::Cargo(_) | Step::Check(_) => {}
        }
    }
    let mut wrong = Vec::new();
    for package in metadata.host_packages() {
        let folder = metadata.folder(package);
        match patterns.iter().filter(|pattern| covers(pattern, &folder)).count() {
            1 => {}
            0 if named.contains(&package.name.as_str()) => {}
            count => wrong.push(format!("{folder}: its tests are in {count} groups")),
        }
    }
    if wrong.is_empty() {
        Ok(format!("{} packages have their group", metadata.host_packages().count()))
    } else {
        Err(wrong.join("\n"))
    }
}

/// Runs `cargo test`; whether it succeeded and ran a test.
fn tests<'a>(
    arguments: impl Iterator<Item = &'a str>,
    workspace: &Workspace,
    log: &mut File,
) -> std::io::Result<bool> {
    let before = log.metadata()?.len();
    let succeeded = cargo(["test"].into_iter().chain(arguments), workspace, log)?;
    if succeeded && tests_passed(&read_from(log, before)?) == 0 {
        writeln!(log, "no test ran")?;
        return Ok(false);
    }
    Ok(succeeded)
}

/// What has been written to a log from an offset on.
fn read_from(log: &File, offset: u64) -> std::io::Result<String> {
    use std::os::unix::fs::FileExt;
    let length = log.metadata()?.len().saturating_sub(offset);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    log.read_exact_at(&mut bytes, offset)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Seeds property tests. A run of all checks tries the same inputs each time, so that it fails for
/// what was changed and not by chance; `cargo test` by hand explores new ones.
const SEED: &str = "PROPTEST_RNG_SEED";

fn cargo<'a>(
    arguments: impl Iterator<Item = &'a str>,
    workspace: &Workspace,
    log: &mut File,
) -> std::io::Result<bool> {
    let arguments: Vec<&str> = arguments.collect();
    writeln!(log, "$ cargo {}", arguments.join(" "))?;
    let seed = std::env::var_os(SEED).unwrap_or_else(|| "1".into());
    let status = workspace
        .cargo()
        .args(&arguments)
        .env(SEED, seed)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .status()?;
    writeln!(log, "$ {status}")?;
    Ok(status.success())
}

/// The number of tests that passed, by the summaries of Rust's test programs.
fn tests_passed(log: &str) -> usize {
    log.lines()
        .filter_map(|line| {
            line.split_once("test result: ")?.1.split_once(" passed")?.0.rsplit(' ').next()
        })
        .filter_map(|number| number.parse::<usize>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well(_: &Workspace) -> Result<String, String> {
        Ok("looked at 3 things".to_owned())
    }

    fn ill(_: &Workspace) -> Result<String, String> {
        Err("the third thing is wrong".to_owned())
    }

    const WELL: Group = Group { name: "well", about: "", steps: &[Step::Check(well)] };
    const ILL: Group =
        Group { name: "ill", about: "", steps: &[Step::Check(ill), Step::Check(well)] };
    const EMPTY: Group = Group {
        name: "empty",
        about: "",
        steps: &[Step::Tests("--quiet --package maize-launcher --lib no-test-has-this-name")],
    };

    fn run_in_text(groups: &[&Group]) -> (bool, String) {
        let mut out = Vec::new();
        let workspace = Workspace::find().unwrap();
        let passed = run_all(groups, Length::Usual, &workspace, &mut out).unwrap();
        (passed, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_last_line_counts_and_failures_show_their_log() {
        let (passed, text) = run_in_text(&[&WELL, &ILL]);
        assert!(!passed && text.ends_with("\n1 passed, 1 failed\n"), "{text}");
        assert!(text.contains("the third thing is wrong") && !text.contains("3 things"), "{text}");
        let (passed, text) = run_in_text(&[&WELL]);
        assert!(passed && text.ends_with("\n1 passed, 0 failed\n"), "{text}");
    }

    #[test]
    fn a_group_in_which_no_test_runs_fails() {
        let (passed, text) = run_in_text(&[&EMPTY]);
        assert!(!passed && text.contains("no test ran"), "{text}");
    }

    #[test]
    fn groups_are_selected_by_name_in_their_order() {
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            select(&wanted).map(|groups| groups.iter().map(|g| g.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["clippy", "fmt"]), Ok(vec!["fmt", "clippy"]));
        assert_eq!(names(&[]).unwrap().len(), groups::GROUPS.len());
        assert_eq!(names(&["fmt", "nonsense"]), Err(UnknownGroup("nonsense".to_owned())));
    }

    #[test]
    fn group_names_are_unique() {
        let mut names: Vec<_> = groups::GROUPS.iter().map(|group| group.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), groups::GROUPS.len());
    }

    #[test]
    fn patterns_cover_folders() {
        assert!(covers("a/b", "a/b") && !covers("a/b", "a/bc"));
        assert!(covers("a/", "a/b") && !covers("a/", "ab/c"));
        assert!(covers("a/b*", "a/bc") && !covers("a/b*", "a/c"));
    }

    #[test]
    fn summaries_of_tests_are_added_up() {
        let log = "test result: ok. 12 passed; 0 failed; 1 ignored\nnoise 5 passed\n\
                   test result: FAILED. 3 passed; 1 failed\n";
        assert_eq!(tests_passed(log), 15);
    }
}
