//! The fuzz target, built as `cargo fuzz` does but for the sanitizer, so that the stable compiler
//! will do: coverage guides it.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::{env, path::Path, process::Command};

/// What makes the compiler count what is reached and show what is compared.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 --cfg fuzzing";

/// Scripts that are played: some minutes of them on a busy host.
const RUNS: u32 = 50_000;

#[test]
#[ignore = "takes minutes"]
fn the_fuzz_target_finds_nothing() {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let corpus = tempfile::tempdir().unwrap();
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml"])
        .arg("--target-dir")
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz"))
        // Of another target, so that build scripts are not made to count.
        .args(["--target", &format!("{}-unknown-linux-gnu", env::consts::ARCH), "--"])
        .arg(corpus.path())
        .args([&format!("-runs={RUNS}"), "-max_len=4096", "-timeout=10"])
        .env("RUSTFLAGS", COVERAGE)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("Done {RUNS} runs")), "{said}");
    // It was led by coverage: there are scripts that reach what others do not.
    let kept = std::fs::read_dir(corpus.path()).unwrap().count();
    println!("{kept} scripts reach something of their own");
    assert!(kept > 10, "{said}");
}
