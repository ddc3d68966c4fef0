//! Which package may depend on which: data ← core and protocols ← arch and drivers ← boards.

use super::covers;
use super::metadata::{Dependency, Metadata};
use crate::workspace::Workspace;

/// Who may depend on whom. Folders end in `/` and cover what is in them; the first rule whose
/// package matches is the one that counts.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// A package's folder, or the folder that it is in.
    package: &'static str,
    /// What it may depend on.
    may_use: &'static [&'static str],
    /// What its tests may depend on, besides.
    tests_may_use: &'static [&'static str],
}

const fn rule(package: &'static str, may_use: &'static [&'static str]) -> Rule {
    Rule { package, may_use, tests_may_use: &[] }
}

/// Packages that only hold data formats.
const DATA: [&str; 4] =
    ["kernel-common/abi", "msg-pcie/hostlink", "msg-pcie/wire", "migrate-xisa/metadata"];

const RULES: [Rule; 15] = [
    rule(DATA[0], &[]),
    rule(DATA[1], &[]),
    rule(DATA[2], &[]),
    rule(DATA[3], &[DATA[0]]),
    rule("kernel-common/hal", &DATA),
    rule("kernel-common/coherence", &DATA),
    Rule {
        package: "kernel-common/",
        may_use: &[
            DATA[0],
            DATA[2],
            "kernel-common/",
            "msg-pcie/link",
            "msg-pcie/ring",
            // The events of a timeline; who writes them down is the transport.
            "msg-pcie/trace",
            "migrate-xisa/",
        ],
        tests_may_use: &["arch/host", "msg-pcie/simnet"],
    },
    // The simulated network joins links for tests; links and rings know nothing of it.
    rule("msg-pcie/simnet", &[DATA[0], DATA[2], "kernel-common/hal", "msg-pcie/"]),
    Rule {
        package: "msg-pcie/",
        may_use: &[
            DATA[0],
            DATA[2],
            "kernel-common/hal",
            "msg-pcie/link",
            "msg-pcie/ring",
            "msg-pcie/window",
            "msg-pcie/pci",
        ],
        tests_may_use: &["msg-pcie/"],
    },
    rule("migrate-xisa/", &[DATA[0], DATA[3], "migrate-xisa/"]),
    // The emulated machine is given page-table geometry by the core's own tables.
    rule("arch/host", &[DATA[0], "kernel-common/hal", "kernel-common/mm"]),
    rule("arch/", &[DATA[0], "kernel-common/hal"]),
    rule("compiler-plugin/", &["migrate-xisa/", "compiler-plugin/"]),
    rule(
        "boards/",
        &["kernel-common/", "msg-pcie/", "migrate-xisa/", "arch/", "boards/", "tests/"],
    ),
    rule(
        "tests/",
        &[
            "kernel-common/",
            "msg-pcie/",
            "migrate-xisa/",
            "arch/",
            "boards/",
            "compiler-plugin/",
            "tests/",
        ],
    ),
];

/// Which boards use something in `tests/`: the launcher, for its benchmarks, and those that have
/// kernels that exercise links or siblings instead of running programs.
const USE_TESTS: [(&str, &str); 5] = [
    ("boards/launcher", "tests/"),
    ("boards/q35", "tests/msg-exercise"),
    ("boards/q35", "tests/sibling-life"),
    ("boards/virt", "tests/msg-exercise"),
    ("boards/virt", "tests/sibling-life"),
];

/// Why an edge is wrong, if it is.
fn judge(from: &str, to: &str, dependency: &Dependency) -> Option<String> {
    let Some(rule) = RULES.iter().find(|rule| covers(rule.package, from)) else {
        return Some(format!("{from}: no rule says what it may depend on"));
    };
    let for_tests = dependency.kind.as_deref() == Some("dev");
    let mut allowed = rule.may_use.iter().any(|pattern| covers(pattern, to));
    allowed |= for_tests && rule.tests_may_use.iter().any(|pattern| covers(pattern, to));
    if covers("boards/", from) && covers("tests/", to) {
        allowed = USE_TESTS.iter().any(|(board, what)| *board == from && covers(what, to));
    }
    let kind = dependency.kind.as_deref().map(|kind| format!(" ({kind})")).unwrap_or_default();
    (!allowed).then(|| {
        let may = rule.may_use.join(", ");
        format!("{from} depends on {to}{kind}; it may only use: {may}")
    })
}

/// Every edge of the workspace that breaks a rule.
fn broken(metadata: &Metadata) -> (usize, Vec<String>) {
    let (mut edges, mut wrong) = (0, Vec::new());
    for package in &metadata.packages {
        let from = metadata.folder(package);
        for dependency in package.dependencies.iter().filter(|d| d.path.is_some()) {
            let Some(to) = metadata.packages.iter().find(|p| p.name == dependency.name) else {
                wrong.push(format!("{from} depends on {}, outside the workspace", dependency.name));
                continue;
            };
            edges += 1;
            wrong.extend(judge(&from, &metadata.folder(to), dependency));
        }
    }
    (edges, wrong)
}

/// Every package is in a folder of its kind, and its dependencies keep the rules.
pub fn check(workspace: &Workspace) -> Result<String, String> {
    let metadata = Metadata::read(workspace)?;
    let (edges, wrong) = broken(&metadata);
    if wrong.is_empty() {
        Ok(format!("{} packages, {edges} dependencies between them", metadata.packages.len()))
    } else {
        Err(wrong.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::metadata::Package;
    use super::*;

    fn edge(from: &str, to: &str, kind: Option<&str>) -> Option<String> {
        let package = |folder: &str, dependencies| Package {
            targets: Vec::new(),
            id: folder.to_owned(),
            name: folder.replace('/', "-"),
            manifest_path: format!("/top/{folder}/Cargo.toml").into(),
            dependencies,
        };
        let dependency = Dependency {
            name: to.replace('/', "-"),
            kind: kind.map(str::to_owned),
            path: Some(format!("/top/{to}").into()),
        };
        let metadata = Metadata {
            packages: vec![package(from, vec![dependency]), package(to, Vec::new())],
            workspace_default_members: Vec::new(),
            workspace_root: "/top".into(),
        };
        broken(&metadata).1.pop()
    }

    #[test]
    fn dependencies_point_one_way() {
        for (from, to, kind) in [
            ("kernel-common/core", "kernel-common/mm", None),
            ("kernel-common/core", "arch/host", Some("dev")),
            ("arch/x86_64", "kernel-common/hal", None),
            ("msg-pcie/pci", "kernel-common/hal", None),
            ("boards/q35", "arch/x86_64", None),
            ("boards/launcher", "tests/coherence-model", None),
            ("tests/programs-runner", "boards/launcher", None),
        ] {
            assert_eq!(edge(from, to, kind), None);
        }
        for (from, to, kind) in [
            ("kernel-common/core", "arch/x86_64", None),
            ("kernel-common/core", "arch/host", None),
            ("kernel-common/core", "boards/platform", Some("dev")),
            ("kernel-common/abi", "kernel-common/hal", None),
            ("kernel-common/core", "msg-pcie/pci", None),
            ("msg-pcie/link", "kernel-common/core", None),
            ("msg-pcie/link", "msg-pcie/simnet", None),
            ("arch/x86_64", "arch/aarch64", None),
            ("arch/x86_64", "kernel-common/core", None),
            ("boards/q35", "tests/coherence-model", None),
            ("elsewhere/x", "kernel-common/abi", None),
        ] {
            assert!(edge(from, to, kind).is_some(), "{from} -> {to}");
        }
    }
}
