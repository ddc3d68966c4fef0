//! The set-up of the bare-metal Rust targets, both ways, on a copy of the toolchain.
//!
//! Not run by default: the second way fetches a package and builds a library (`./maize test --long`).

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use maize_launcher::workspace::Workspace;

const TARGETS: [&str; 2] = ["x86_64-unknown-none", "aarch64-unknown-none-softfloat"];

/// A copy of the toolchain, as hard links where possible, without the bare targets and the library
/// source. The compiler finds its library beside itself, so the copy is a toolchain of its own.
fn toolchain_without_targets(into: &Path) -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let sysroot = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let copy = into.join("toolchain");
    let linked = Command::new("cp").arg("-al").arg(&sysroot).arg(&copy).status().unwrap();
    if !linked.success() {
        let _ = std::fs::remove_dir_all(&copy);
        let copied = Command::new("cp").arg("-a").arg(&sysroot).arg(&copy).status().unwrap();
        assert!(copied.success());
    }
    for part in TARGETS.into_iter().chain(["src"]) {
        let _ = std::fs::remove_dir_all(copy.join("lib/rustlib").join(part));
    }
    copy
}

/// Builds something with `alloc` for both targets.
fn builds(toolchain: &Path, folder: &Path) {
    let package = folder.join("package");
    std::fs::create_dir_all(package.join("src")).unwrap();
    std::fs::write(
        package.join("Cargo.toml"),
        "[package]\nname = 'probe'\nversion = '0.0.0'\nedition = '2024'\n[workspace]\n",
    )
    .unwrap();
    std::fs::write(
        package.join("src/lib.rs"),
        "#![no_std]\nextern crate alloc;\npub fn f(n: u8) -> alloc::vec::Vec<u8> { alloc::vec![n; 3] }\n",
    )
    .unwrap();
    for target in TARGETS {
        let status = Command::new(toolchain.join("bin/cargo"))
            .args(["build", "--quiet", "--offline", "--release", "--target", target])
            .current_dir(&package)
            .env("RUSTC", toolchain.join("bin/rustc"))
            .env_remove("RUSTUP_TOOLCHAIN")
            .env("CARGO_TARGET_DIR", folder.join("built"))
            .status()
            .unwrap();
        assert!(status.success(), "{target}");
    }
}

fn script() -> PathBuf {
    Workspace::find().unwrap().root().join("boards/launcher/setup/bare-targets")
}

fn bare_targets(toolchain: &Path, cache: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg(script()).arg(cache);
    command.args(TARGETS);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", toolchain.join("bin").display()));
    command.env_remove("RUSTUP_TOOLCHAIN");
    command
}

#[test]
#[ignore = "fetches a package and builds the core library for two targets"]
fn the_targets_are_built_where_rustup_does_not_answer() {
    let scratch = tempfile::tempdir().unwrap();
    let toolchain = toolchain_without_targets(scratch.path());
    let cache = Workspace::find().unwrap().cache();
    let status = bare_targets(&toolchain, &cache).env("SKIP_RUSTUP", "1").status().unwrap();
    assert!(status.success());
    builds(&toolchain, scratch.path());
    let again = bare_targets(&toolchain, Path::new("/proc/no-cache")).output().unwrap();
    assert!(!again.status.success(), "the cache folder cannot be made");
    let again = bare_targets(&toolchain, &cache).output().unwrap();
    assert!(again.status.success() && again.stderr.is_empty(), "nothing is left to do: {again:?}");
}

/// Rustup itself, asked on a copy of its home that has lost the targets.
#[test]
#[ignore = "copies the toolchain and asks rustup's server"]
fn the_targets_come_from_rustup() {
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new("rustup").args(["show", "home"]).output().unwrap();
    let home = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let toolchain = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let name = toolchain.file_name().unwrap();
    let copy = scratch.path().join("toolchains").join(name);
    std::fs::create_dir(scratch.path().join("toolchains")).unwrap();
    let copied = Command::new("cp").arg("-a").arg(&toolchain).arg(&copy).status().unwrap();
    assert!(copied.success());
    std::fs::copy(home.join("settings.toml"), scratch.path().join("settings.toml")).unwrap();
    let rustup = |arguments: &[&str]| {
        let mut command = Command::new("rustup");
        command.args(arguments).env("RUSTUP_HOME", scratch.path()).env("RUSTUP_TOOLCHAIN", name);
        assert!(command.status().unwrap().success(), "rustup {arguments:?}");
    };
    for target in TARGETS {
        rustup(&["target", "remove", target]);
    }
    let output = Command::new("sh")
        .arg(script())
        .arg(scratch.path().join("cache"))
        .args(TARGETS)
        .env("RUSTUP_HOME", scratch.path())
        .env("RUSTUP_TOOLCHAIN", name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("building the libraries"), "{said}");
    builds(&copy, scratch.path());
}
