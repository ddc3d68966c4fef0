//! Programs whose threads move between kernels of different instruction sets. Ignored unless asked for:
//! each test boots two machines, and programs are made by `maize-cc`, which `./maize test
//! qemu-between` sets up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use maize_hostlink::boot::{Placement, Sharing};
use maize_launcher::run::{Ending, RunConfig};
use maize_launcher::workspace::Workspace;
use maize_launcher::{compiler, placement};
use maize_runs::{LIMIT, outcome};

const PAIR: &str = "x86_64+aarch64";
const OTHER_PAIR: &str = "aarch64+x86_64";

/// Makes a program of a source in the checkout.
fn make(source: &str) -> PathBuf {
    compiler::program(source, &Workspace::find().unwrap()).unwrap()
}

/// What a program says on a fabric and how often threads crossed; it must succeed.
fn run(program: &Path, topology: &str, sharing: Sharing) -> (String, u64) {
    let name = program.to_str().unwrap();
    let mut config = RunConfig::new(topology.parse().unwrap(), name).timeout(LIMIT).patient();
    config.sharing = sharing;
    config.stats = true;
    let outcome = outcome(config).unwrap();
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let errors = String::from_utf8_lossy(&outcome.stderr).into_owned();
    let consoles = outcome.consoles.concat();
    assert_eq!(outcome.ending, Ending::Exited(0), "{said}{errors}{consoles}");
    let crossings = outcome.stats.counter("fabric.crossings");
    (said, crossings)
}

/// What the program says on the host's Linux.
fn on_linux(program: &Path) -> String {
    let file = format!("{}.{}", program.display(), std::env::consts::ARCH);
    let output = Command::new(file).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn spread() -> Sharing {
    Sharing { placement: Placement::Spread, ..Sharing::default() }
}

fn every(migrate_every: u32) -> Sharing {
    Sharing { migrate_every, ..Sharing::default() }
}

#[test]
#[ignore = "boots machines"]
fn the_tour_ends_well() {
    let (said, crossings) = run(&make("boards/launcher/tour/tour.c"), PAIR, Sharing::default());
    assert!(said.trim_end().ends_with("verified"), "{said}");
    assert!(crossings >= 8, "{crossings}");
}

#[test]
#[ignore = "boots machines"]
fn a_program_goes_to_and_fro_wherever_it_was_started() {
    let program = make("compiler-plugin/cc/tests/programs/hosted.c");
    let expected = on_linux(&program);
    for topology in [PAIR, OTHER_PAIR] {
        let (said, crossings) = run(&program, topology, every(1));
        assert_eq!(said, expected);
        assert!(crossings > 10, "{crossings}");
    }
}

#[test]
#[ignore = "boots machines"]
fn threads_work_on_both_wherever_they_were_started() {
    let program = make("compiler-plugin/cc/tests/programs/threads.c");
    let expected = on_linux(&program);
    for (topology, sharing) in [(PAIR, spread()), (OTHER_PAIR, spread()), (PAIR, every(7))] {
        let (said, crossings) = run(&program, topology, sharing);
        assert_eq!(said, expected);
        assert!(crossings >= 2, "{crossings}");
    }
}

/// Runs a program of the compiler's tests each way; what it says must be what is expected.
fn says(source: &str, expected: &str, ways: &[(&str, Sharing)]) {
    let program = make(source);
    for (topology, sharing) in ways {
        let (said, crossings) = run(&program, topology, sharing.clone());
        assert_eq!(said, expected, "{topology}");
        assert!(crossings >= 2, "{crossings}");
    }
}

#[test]
#[ignore = "boots machines"]
fn handlers_run_wherever_their_threads_are() {
    let expected = include_str!("../../../compiler-plugin/cc/tests/programs/signals.txt");
    let ways = [(PAIR, spread()), (PAIR, every(3)), (OTHER_PAIR, every(5))];
    says("compiler-plugin/cc/tests/programs/signals.c", expected, &ways);
}

const STORM: (&str, &str) = (
    "compiler-plugin/cc/tests/programs/storm.c",
    include_str!("../../../compiler-plugin/cc/tests/programs/storm.txt"),
);

#[test]
#[ignore = "boots machines"]
fn a_storm_of_signals_meets_threads_on_both() {
    says(STORM.0, STORM.1, &[(PAIR, spread())]);
}

#[test]
#[ignore = "boots machines"]
fn a_storm_of_signals_meets_threads_that_move_at_length() {
    says(STORM.0, STORM.1, &[(OTHER_PAIR, every(9)), (PAIR, every(9))]);
}

#[test]
#[ignore = "boots machines"]
fn numerical_kernels_have_threads_on_both() {
    let program = make("compiler-plugin/cc/tests/programs/kernels.c");
    let expected = include_str!("../../../compiler-plugin/cc/tests/programs/kernels.txt");
    for sharing in [spread(), every(50)] {
        let (said, crossings) = run(&program, PAIR, sharing);
        assert_eq!(said, expected);
        assert!(crossings >= 2, "{crossings}");
    }
}

#[test]
#[ignore = "boots machines"]
fn phases_run_where_they_are_faster() {
    let program = make("tests/runs/programs/phases.c");
    let name = program.to_str().unwrap();
    let mut config = RunConfig::new(PAIR.parse().unwrap(), name).timeout(LIMIT).patient();
    config.environment.push(placement::FASTEST.into());
    let outcome = outcome(config).unwrap();
    let said = String::from_utf8_lossy(&outcome.stdout);
    assert_eq!(outcome.ending, Ending::Exited(0), "{said}");
    let expected = "first: on x86_64\nsecond: on aarch64\n\
                    first: 6 times, 4 on the faster, measured\n\
                    second: 6 times, 4 on the faster, measured\n";
    assert_eq!(said, expected);

    // Without the option the program stays where it is.
    let (said, crossings) = run(&program, PAIR, Sharing::default());
    assert!(said.starts_with("first: on x86_64\nsecond: on x86_64\n"), "{said}");
    assert_eq!(crossings, 0);
}

#[test]
#[ignore = "boots machines"]
fn threads_are_moved_by_others_whatever_they_do() {
    let program = make("tests/runs/programs/moved.c");
    let (said, _) = run(&program, PAIR, Sharing::default());
    assert_eq!(said, "spins: aarch64 well\nsleeps: aarch64 well\nreads: aarch64 well\n");
}

#[test]
#[ignore = "boots machines"]
fn a_program_without_the_other_s_file_stays() {
    let program = make("tests/runs/programs/cores.c");
    let (said, _) = run(&program, PAIR, Sharing::default());
    assert_eq!(said, "2 cores, 1: went on aarch64, 0: went on x86_64\n");

    let folder = tempfile::tempdir().unwrap();
    let file = |program: &Path, isa: &str| PathBuf::from(format!("{}.{isa}", program.display()));
    let alone = folder.path().join("alone");
    std::fs::copy(file(&program, "x86_64"), &alone).unwrap();
    let (said, crossings) = run(&alone, PAIR, every(1));
    assert_eq!(said, "1 cores, 1: EINVAL on x86_64, 0: went on x86_64\n");
    assert_eq!(crossings, 0);

    // The other instruction set's file is of another link.
    let other = make("tests/runs/programs/moved.c");
    let mixed = folder.path().join("mixed");
    std::fs::copy(file(&program, "x86_64"), file(&mixed, "x86_64")).unwrap();
    std::fs::copy(file(&other, "aarch64"), file(&mixed, "aarch64")).unwrap();
    let (said, _) = run(&mixed, PAIR, Sharing::default());
    assert_eq!(said, "1 cores, 1: EINVAL on x86_64, 0: went on x86_64\n");
}
