//! `maize test`: the groups of checks, each with its log.

mod build;
mod cpu_time;
pub mod dependencies;
mod examples;
pub mod groups;
pub mod links;
pub mod metadata;
mod runner;
pub mod sources;

use std::path::PathBuf;
use std::time::Duration;

use maize_hostlink::boot::Isa;

use self::metadata::Metadata;
pub use self::runner::run_all;
use crate::workspace::Workspace;

/// Some checks with one name.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// How it is asked for.
    pub name: &'static str,
    /// One line on what it checks.
    pub about: &'static str,
    /// What it must not run beside.
    pub lane: Lane,
    /// What it does, in order, until something fails.
    pub steps: &'static [Step],
}

/// Groups of one lane run one after another, beside those of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Builds, and tests on the host.
    Host,
    /// Machines: one group's at a time.
    Machines,
}

impl Lane {
    /// All of them.
    pub const ALL: [Lane; 2] = [Lane::Host, Lane::Machines];
}

/// One thing that a group does.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A `cargo` command that must succeed; its arguments are words.
    Cargo(&'static str),
    /// The same, only when long runs are asked for.
    LongCargo(&'static str),
    /// `cargo test` with these arguments, for packages that want more than others to be built; it
    /// must run at least one test.
    CargoTest(&'static str),
    /// Everything for the host builds, without a warning of rustc or clippy.
    BuildHost,
    /// Every kernel of an instruction set builds, without a warning of rustc or clippy.
    BuildKernels(Isa),
    /// These kernels are there: built once in a run, by the group that needs them first.
    NeedKernels(Isa),
    /// The examples in the documentation of packages run.
    Examples,
    /// The tests of every package of the host in these folders; a folder that ends in `/` or `*`
    /// stands for all whose names begin so. A package for a bare target has to be named exactly.
    /// Tests marked `#[ignore]` are run when long runs are asked for.
    Packages(&'static [&'static str]),
    /// Some tests: at least one must run.
    Tests(Selection),
    /// The same, only when long runs are asked for.
    Long(Selection),
    /// A check of this program: a note on what was looked at, or what is wrong.
    Check(fn(&Workspace) -> Result<String, String>),
}

/// Some tests of a package.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// Folder of the package.
    pub package: &'static str,
    /// `runs` for `tests/runs.rs`.
    pub target: &'static str,
    /// For the test program.
    pub arguments: &'static [&'static str],
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
    /// Of the processors, by all commands.
    pub cpu: Duration,
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

/// A package that tests are run of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TestedPackage {
    name: String,
    /// Where it is.
    folder: PathBuf,
}

/// The packages in some folders.
fn packages_in(folders: &[&str], workspace: &Workspace) -> Result<Vec<TestedPackage>, String> {
    let metadata = Metadata::read(workspace)?;
    let on_host: Vec<&str> = metadata.host_packages().map(|p| p.id.as_str()).collect();
    let wanted = |package: &&metadata::Package| {
        let folder = metadata.folder(package);
        folders.iter().any(|pattern| {
            *pattern == folder || on_host.contains(&package.id.as_str()) && covers(pattern, &folder)
        })
    };
    let found: Vec<TestedPackage> = metadata
        .packages
        .iter()
        .filter(wanted)
        .map(|package| TestedPackage {
            name: package.name.clone(),
            folder: metadata.workspace_root.join(metadata.folder(package)),
        })
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
            Step::Tests(tests) | Step::Long(tests) => named.push(tests.package),
            _ => {}
        }
    }
    let mut wrong = Vec::new();
    for package in metadata.host_packages() {
        let folder = metadata.folder(package);
        match patterns.iter().filter(|pattern| covers(pattern, &folder)).count() {
            1 => {}
            0 if named.contains(&folder.as_str()) => {}
            count => wrong.push(format!("{folder}: its tests are in {count} groups")),
        }
    }
    if wrong.is_empty() {
        Ok(format!("{} packages have their group", metadata.host_packages().count()))
    } else {
        Err(wrong.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
