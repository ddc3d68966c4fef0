//! Programs of Csmith's give Linux's answer on both instruction sets, however they move.
//!
//! A usual run tries few, as each is built with the whole C library; `MAIZE_PROGRAMS=500` tries many,
//! `MAIZE_SEED=N` begins with another. What takes longer than a moment at home is left out.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod build;

use std::path::Path;
use std::process::Command;

use build::Program;
use maize_xisa_metadata::Isa;

/// Where Debian's package has its header.
const HEADERS: &str = "/usr/include/csmith";

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What a program prints that the host's compiler builds; none if it does not end in a moment.
fn expected(source: &Path) -> Option<String> {
    let program = source.with_extension("host");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-w", "-I", HEADERS, "-o"]).arg(&program).arg(source);
    assert!(compiler.status().unwrap().success());
    let run = Command::new("timeout").arg("2").arg(program).output().unwrap();
    run.status.success().then(|| String::from_utf8(run.stdout).unwrap())
}

#[test]
fn programs_of_csmith_give_one_answer() {
    let (first, count) = (number("MAIZE_SEED", 1), number("MAIZE_PROGRAMS", 4));
    assert!(Path::new(HEADERS).is_dir(), "it wants Debian's csmith and libcsmith-dev");
    let mut tried = 0;
    for seed in first.. {
        if tried == count {
            break;
        }
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("main.c");
        let mut csmith = Command::new("csmith");
        // It leaves a file about the host where it runs.
        csmith.current_dir(folder.path()).args(["--seed", &seed.to_string(), "--max-funcs", "6"]);
        csmith.arg("--output").arg(&source);
        assert!(csmith.status().unwrap().success(), "csmith of seed {seed}");
        let Some(expected) = expected(&source) else { continue };
        tried += 1;
        let program = Program::hosted(source.to_str().unwrap(), &["-O2", "-w", "-I", HEADERS]);
        for isa in Isa::ALL {
            for every in ["self:1", "self:7"] {
                let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
                let found = (run.status, &run.text);
                assert_eq!(found, (0, &expected), "seed {seed} on {isa}, {every}: {}", run.errors);
            }
        }
        let trip = program.trip_of_at_most(50, 10);
        assert_eq!((trip.status, &trip.text), (0, &expected), "seed {seed}: {}", trip.errors);
    }
}
