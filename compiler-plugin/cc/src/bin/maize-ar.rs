//! `maize-ar`: makes archives of the objects that `maize-cc` makes, with an index of their symbols.
//!
//! It is LLVM's own archiver, whose index knows bitcode, and takes its options. An
//! archive needs no `ranlib`.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

const ARCHIVER: &str = "llvm-ar-22";

fn main() -> ExitCode {
    let error = Command::new(ARCHIVER).args(std::env::args_os().skip(1)).exec();
    eprintln!("maize-ar: {ARCHIVER}: {error}");
    ExitCode::FAILURE
}
