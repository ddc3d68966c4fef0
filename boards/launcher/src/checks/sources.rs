//! House rules that the compiler does not check, on the text of the sources.

use std::path::PathBuf;
use std::process::Command;

use super::covers;
use super::metadata::Metadata;
use crate::workspace::Workspace;

/// Files outside `arch/` that may ask for the target instruction set, each with the reason.
const TARGET_ARCH: [(&str, &str); 3] = [
    ("boards/launcher/src/checks/", "these checks speak of it"),
    ("migrate-xisa/runtime/src/arch/", "a program's own half of a context switch"),
    ("msg-pcie/window/src/fence.rs", "a fence that the compiler makes too dear in kernels"),
];

/// Packages that need `unsafe`, each with the reason; all others of the kernel forbid it.
const MAY_BE_UNSAFE: [(&str, &str); 10] = [
    ("msg-pcie/window", "reads and writes memory that peers write too"),
    ("msg-pcie/ivshmem", "maps the device's registers and the window"),
    ("msg-pcie/pci", "configuration space is reached through memory"),
    ("migrate-xisa/runtime", "reads and replaces the frames of its program"),
    ("boards/empty", "nothing but a machine's first instructions"),
    ("boards/platform", "drivers and the panic path"),
    ("boards/q35", "entry and devices of the machine"),
    ("boards/virt", "entry and devices of the machine"),
    ("boards/launcher", "a step between fork and exec"),
    ("arch/", "instructions of the processor"),
];

/// Packages that use the standard library, by folder.
const HOSTED: [&str; 6] = [
    "arch/host",
    "boards/launcher",
    "msg-pcie/simnet",
    "migrate-xisa/cli",
    "compiler-plugin/",
    "tests/",
];

/// The files that git keeps.
fn tracked(workspace: &Workspace) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(workspace.root())
        .output()
        .map_err(|error| format!("git: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let files: Vec<String> =
        text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect();
    if files.is_empty() { Err("git keeps no files here".to_owned()) } else { Ok(files) }
}

fn verdict(looked_at: usize, what: &str, wrong: Vec<String>) -> Result<String, String> {
    if wrong.is_empty() { Ok(format!("{looked_at} {what}")) } else { Err(wrong.join("\n")) }
}

/// `target_arch` is asked for only in `arch/`.
pub fn target_arch(workspace: &Workspace) -> Result<String, String> {
    let files = tracked(workspace)?;
    let mut wrong = Vec::new();
    let sources = files.iter().filter(|path| path.ends_with(".rs") || path.ends_with(".toml"));
    let mut looked_at = 0;
    for path in sources.filter(|path| !path.starts_with("arch/")) {
        looked_at += 1;
        let text = std::fs::read_to_string(workspace.root().join(path)).unwrap_or_default();
        if !TARGET_ARCH.iter().any(|(allowed, _)| covers(allowed, path)) {
            wrong.extend(lines_with(&text, "target_arch").map(|n| {
                format!(
                    "{path}:{n}: target_arch outside arch/ (put the code there, or name a reason)"
                )
            }));
        }
    }
    verdict(looked_at, "sources outside arch/", wrong)
}

/// A library or program whose unit tests are not built, because it has none, has none.
pub fn no_test_is_left_out(workspace: &Workspace) -> Result<String, String> {
    let metadata = Metadata::read(workspace)?;
    let files = tracked(workspace)?;
    let mut wrong = Vec::new();
    for package in metadata.host_packages() {
        let folder = metadata.folder(package);
        let untested = |kind: &'static str| {
            let targets = package.targets.iter();
            targets.filter(move |target| !target.test && target.kind.iter().any(|k| k == kind))
        };
        let mut paths: Vec<PathBuf> = untested("bin").map(|bin| bin.src_path.clone()).collect();
        if untested("lib").next().is_some() {
            let sources = format!("{folder}/src/");
            let mine = files.iter().filter(|file| file.starts_with(&sources));
            paths.extend(mine.map(|file| workspace.root().join(file)));
        }
        for path in paths {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if ["cfg(test)", "cfg(all(test"].into_iter().any(|mark| text.contains(mark)) {
                wrong.push(format!("{folder}: has `test = false` but {} a test", path.display()));
            }
        }
    }
    verdict(metadata.host_packages().count(), "packages build every test they have", wrong)
}

/// Crates of the kernel are `no_std` and forbid `unsafe`, but for those that are listed.
pub fn crate_headers(workspace: &Workspace) -> Result<String, String> {
    let metadata = Metadata::read(workspace)?;
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let folder = metadata.folder(package);
        let Some(path) = ["src/lib.rs", "src/main.rs"]
            .map(|file| workspace.root().join(&folder).join(file))
            .into_iter()
            .find(|path| path.exists())
        else {
            continue;
        };
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        wrong.extend(missing_headers(&folder, &text));
    }
    verdict(metadata.packages.len(), "packages", wrong)
}

fn missing_headers(folder: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let listed = |list: &[&str]| list.iter().any(|pattern| covers(pattern, folder));
    let has = |attribute: &str| text.lines().any(|line| line.trim() == attribute);
    let no_std = [
        "#![no_std]",
        "#![cfg_attr(not(test), no_std)]",
        "#![cfg_attr(target_os = \"none\", no_std)]",
    ];
    if !listed(&HOSTED) && !no_std.into_iter().any(has) {
        wrong.push(format!("{folder}: lacks #![no_std]"));
    }
    let reasons = MAY_BE_UNSAFE.map(|(pattern, _)| pattern);
    if !listed(&reasons) && !listed(&HOSTED) && !has("#![forbid(unsafe_code)]") {
        wrong.push(format!("{folder}: lacks #![forbid(unsafe_code)]"));
    }
    wrong
}

/// Nothing that git keeps names a folder of the machine it was written on.
pub fn absolute_paths(workspace: &Workspace) -> Result<String, String> {
    let files = tracked(workspace)?;
    let here = format!("{}/", workspace.root().display());
    let home = std::env::var("HOME").ok().filter(|home| home.len() > "/root".len());
    let home = home.map(|home| format!("{home}/"));
    let mut wrong = Vec::new();
    for path in &files {
        let Ok(text) = std::fs::read_to_string(workspace.root().join(path)) else { continue };
        for folder in [Some(&here), home.as_ref()].into_iter().flatten() {
            wrong.extend(lines_with(&text, folder).map(|n| format!("{path}:{n}: names {folder}")));
        }
    }
    verdict(files.len(), "files", wrong)
}

/// Every package is built for the host by default, belongs to a kernel, or needs LLVM.
pub fn default_members(workspace: &Workspace) -> Result<String, String> {
    let metadata = Metadata::read(workspace)?;
    let wrong = metadata
        .packages
        .iter()
        .filter(|package| !metadata.workspace_default_members.contains(&package.id))
        .map(|package| metadata.folder(package))
        .filter(|folder| !super::groups::BARE_FOLDERS.contains(&folder.as_str()))
        .filter(|folder| !super::groups::LLVM_FOLDERS.contains(&folder.as_str()))
        .map(|folder| format!("{folder}: neither in default-members nor built for a bare target"))
        .collect();
    verdict(metadata.packages.len(), "packages", wrong)
}

fn lines_with<'t>(text: &'t str, needle: &'t str) -> impl Iterator<Item = usize> + 't {
    (1..).zip(text.lines()).filter(move |(_, line)| line.contains(needle)).map(|(n, _)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_asked_of_the_kernels_crates() {
        let both = "//! Doc.\n#![no_std]\n#![forbid(unsafe_code)]\n";
        assert!(missing_headers("kernel-common/mm", both).is_empty());
        assert_eq!(missing_headers("kernel-common/mm", "#![no_std]\n").len(), 1);
        assert_eq!(missing_headers("kernel-common/mm", "// #![no_std]\n").len(), 2);
        assert!(missing_headers("arch/x86_64", "#![no_std]\n").is_empty());
        assert_eq!(missing_headers("arch/x86_64", "").len(), 1);
        assert!(missing_headers("tests/programs-runner", "").is_empty());
    }

    #[test]
    fn lines_are_numbered_from_one() {
        assert_eq!(lines_with("a\nxb\nc x\n", "x").collect::<Vec<_>>(), [2, 3]);
    }
}
