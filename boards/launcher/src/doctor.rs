//! What this machine lacks, and what would install it.

use std::path::PathBuf;

use maize_hostlink::boot::Isa;

use crate::machine::emulator;
use crate::root::busybox_path;
use crate::workspace::{Workspace, bare_target};

/// What something is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing works without it.
    Always,
    /// Only for this.
    For(&'static str),
}

/// One thing looked for.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What it is needed for.
    pub need: Need,
    /// What was found, if it was.
    pub found: Option<String>,
    /// What would bring it.
    pub remedy: String,
}

/// Programs: name, what for, Debian package.
const PROGRAMS: [(&str, Need, &str); 7] = [
    ("cargo", Need::Always, "rustup, from https://rustup.rs"),
    (emulator(Isa::X86_64), Need::Always, "qemu-system-x86"),
    (emulator(Isa::Aarch64), Need::Always, "qemu-system-arm"),
    ("gdb-multiarch", Need::For("gdb"), "gdb-multiarch"),
    ("musl-gcc", Need::For("test programs"), "musl-tools"),
    ("cc", Need::Always, "gcc"),
    ("aarch64-linux-gnu-gcc", Need::For("test programs"), "gcc-aarch64-linux-gnu"),
];

/// The first file of this name in `PATH`.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Looks for everything.
#[must_use]
pub fn examine(workspace: &Workspace) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, need, package) in PROGRAMS {
        let remedy = if package.contains(' ') {
            package.to_owned()
        } else {
            format!("apt-get install {package}")
        };
        let found = on_path(name).map(|path| path.display().to_string());
        checks.push(Check { name: name.to_owned(), need, found, remedy });
    }
    for isa in Isa::ALL {
        let target = bare_target(isa);
        checks.push(Check {
            name: format!("Rust target {target}"),
            need: Need::Always,
            found: target_library(workspace, target),
            remedy: "./maize (it runs boards/launcher/setup/bare-targets)".to_owned(),
        });
        let busybox = busybox_path(isa, workspace);
        checks.push(Check {
            name: format!("busybox for {isa}"),
            need: Need::For("runs without --root"),
            found: busybox.exists().then(|| busybox.display().to_string()),
            remedy: "is fetched by the first run (apt-get, Debian or a relative)".to_owned(),
        });
    }
    checks
}

/// The folder of a target's core library, if it is installed.
fn target_library(workspace: &Workspace, target: &str) -> Option<String> {
    let output = std::process::Command::new("rustc")
        .current_dir(workspace.root())
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .ok()?;
    let folder = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let has_core = std::fs::read_dir(&folder).ok()?.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    });
    has_core.then(|| folder.display().to_string())
}

/// Shows the checks; whether everything that is always needed was found.
#[must_use]
pub fn report(checks: &[Check]) -> (String, bool) {
    let mut text = String::new();
    let mut well = true;
    for check in checks {
        let (mark, what) = match (&check.found, check.need) {
            (Some(found), _) => ("ok     ", found.clone()),
            (None, Need::Always) => ("MISSING", format!("install: {}", check.remedy)),
            (None, Need::For(purpose)) => {
                ("absent ", format!("needed for {purpose}; install: {}", check.remedy))
            }
        };
        well &= check.found.is_some() || check.need != Need::Always;
        text.push_str(&format!("{mark}  {:40} {what}\n", check.name));
    }
    (text, well)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(need: Need, found: Option<&str>) -> Check {
        let (name, remedy) = ("x".to_owned(), "apt-get install x".to_owned());
        Check { name, need, found: found.map(str::to_owned), remedy }
    }

    #[test]
    fn only_what_is_always_needed_makes_it_ill() {
        assert!(report(&[check(Need::Always, Some("/bin/x")), check(Need::For("y"), None)]).1);
        let (text, well) = report(&[check(Need::Always, None)]);
        assert!(!well && text.contains("MISSING") && text.contains("apt-get install x"));
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-anywhere").is_none());
    }
}
