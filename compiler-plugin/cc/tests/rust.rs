//! A program in Rust without the standard library, as bitcode of the neutral target: it prints what the
//! host's own prints, wherever and however often it moves.
//!
//! It wants the library of Rust's target `riscv64gc-unknown-none-elf`, which `./maize test xisa` adds.
#![allow(clippy::unwrap_used, reason = "a test may fail so")]

mod build;

use std::path::{Path, PathBuf};
use std::process::Command;

use build::Program;
use maize_xisa_metadata::Isa;
use migrate_xisa::Elf;
use migrate_xisa::verify::verify;

const SOURCE: &str = "tests/programs/heap.rs";

fn rustc(output: &Path) -> Command {
    let mut command = Command::new("rustc");
    command.args(["--edition", "2024", "-O", "-C", "panic=abort", "--out-dir"]);
    command.arg(output).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE));
    command
}

fn succeed(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}

/// The program and all of Rust's library that it refers to, in one module that nobody has optimised
/// for an instruction set: as the book says.
fn bitcode(folder: &Path) -> PathBuf {
    let mut command = rustc(folder);
    command.args(["--target", "riscv64gc-unknown-none-elf", "--crate-type", "staticlib"]);
    succeed(command.args(["-C", "lto=fat", "-C", "save-temps"]));
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_merged = |path: &PathBuf| path.to_string_lossy().ends_with(".lto.after-restriction.bc");
    files.into_iter().find(is_merged).unwrap()
}

#[test]
fn a_rust_program_moves() {
    let folder = tempfile::tempdir().unwrap();
    succeed(&mut rustc(folder.path()));
    let expected =
        String::from_utf8(succeed(&mut Command::new(folder.path().join("heap")))).unwrap();
    let program = Program::hosted(bitcode(folder.path()).to_str().unwrap(), &["-O2"]);
    for isa in Isa::ALL {
        for every in ["self:1", "self:7"] {
            let run = program.run(isa, &[("MAIZE_MIGRATE", every)]);
            assert_eq!((run.status, &run.text), (0, &expected), "{isa} {every}: {}", run.errors);
        }
    }
    let files = Isa::ALL.map(|isa| Elf::read(&std::fs::read(program.file(isa)).unwrap()).unwrap());
    let report = verify(&files[0], &files[1]).unwrap();
    assert!(report.findings.is_empty(), "{report:#?}");
    let trip = program.trip_of_at_most(23, 60);
    assert_eq!((trip.status, &trip.text), (0, &expected), "{}", trip.errors);
    assert!(trip.hops > 20, "{} hops", trip.hops);
}
