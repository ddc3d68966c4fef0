//! Random programs give one answer: on both instruction sets, however they move, at any optimisation.
//!
//! A usual run tries a few; `MAIZE_PROGRAMS=500 cargo test --release -p maize-cc --test random` many.
//! `MAIZE_SEED=N` begins with another program. A failure says its seed and leaves nothing else behind.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod build;
mod generator;

use std::process::Command;

use build::Program;
use generator::Generator;
use maize_xisa_metadata::Isa;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn random_programs_give_one_answer() {
    let first = number("MAIZE_SEED", 1);
    let mut hops = 0;
    for seed in first..first + number("MAIZE_PROGRAMS", 12) {
        let text = Generator::program(seed);
        let program = Program::of_text(&text, &["-O2"]);
        let at_home = program.run(Isa::X86_64, &[]);
        assert_eq!(at_home.status, 0, "seed {seed}: {at_home:?}");
        for isa in Isa::ALL {
            for every in ["self:1", "self:7"] {
                let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
                let found = (run.status, &run.text);
                assert_eq!(found, (0, &at_home.text), "seed {seed} on {isa}, {every}");
            }
        }
        let points = 7 + 40 * (seed % 3) as u32;
        let trip = program.trip_of_at_most(points, 60);
        assert_eq!((trip.status, &trip.text), (0, &at_home.text), "seed {seed}: {}", trip.errors);
        hops += trip.hops;
        let plain = Program::of_text(&text, &["-O0", "--polls=none"]);
        assert_eq!(plain.run(Isa::X86_64, &[]).text, at_home.text, "seed {seed} at -O0");
    }
    assert!(hops > 0);
}

/// What a program with threads prints that the host's compiler builds.
fn on_host(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let [source, program] = ["main.c", "main"].map(|name| folder.path().join(name));
    std::fs::write(&source, text).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-w", "-ffp-contract=off", "-pthread", "-o"]).arg(&program).arg(source);
    assert!(compiler.status().unwrap().success());
    let run = Command::new(program).output().unwrap();
    assert!(run.status.success());
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn random_programs_with_threads_give_linux_s_answer() {
    let first = number("MAIZE_SEED", 1);
    for seed in first..first + number("MAIZE_PROGRAMS", 4) {
        let text = Generator::threads(seed);
        let expected = on_host(&text);
        let program = Program::of_hosted_text(&text, &["-O2", "-w", "-pthread"]);
        for isa in Isa::ALL {
            for every in ["self:1", "self:7"] {
                let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
                let found = (run.status, &run.text);
                assert_eq!(found, (0, &expected), "seed {seed} on {isa}, {every}: {}", run.errors);
            }
        }
    }
}
