//! `migrate-xisa`: looks into transformation metadata, verifies and compares it.
//!
//! Exit status: 0 if all is well, 1 if something was found, 2 if a file could not be looked at.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use maize_xisa_metadata::ThreadState;
use migrate_xisa::inspect::{self, Wanted};
use migrate_xisa::{Elf, diff, frames, verify};

/// Looks into the transformation metadata of programs that move between instruction sets.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Show a program's sites and records.
    Inspect {
        /// The program's file of one instruction set.
        program: PathBuf,
        /// Only the sites of this function.
        #[arg(long)]
        function: Option<String>,
        /// Only this site.
        #[arg(long)]
        site: Option<u32>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prove that a thread can move between two files of a program.
    Verify {
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what is different between two builds.
    Diff {
        /// The older.
        old: PathBuf,
        /// The newer.
        new: PathBuf,
    },
    /// Show the frames of a saved thread.
    Frames {
        /// The thread's state.
        state: PathBuf,
        /// The program's file of any instruction set.
        program: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().what) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("migrate-xisa: {error}");
            ExitCode::from(2)
        }
    }
}

fn open(path: &Path) -> Result<Elf, Box<dyn Error>> {
    Elf::open(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn run(what: What) -> Result<bool, Box<dyn Error>> {
    match what {
        What::Inspect { program, function, site, json } => {
            let elf = open(&program)?;
            let wanted = Wanted { function, site };
            if wanted.is_narrow() && wanted.sites(&elf.program).is_empty() {
                return Err("there is no such site".into());
            }
            if json {
                print(&(inspect::json(&elf, &wanted)? + "\n"))?;
            } else {
                print(&inspect::text(&elf, &wanted))?;
            }
            Ok(true)
        }
        What::Verify { first, second, json } => {
            let report = verify::verify(&open(&first)?, &open(&second)?)?;
            if json {
                print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
            } else {
                print(&report_text(&report))?;
            }
            Ok(report.findings.is_empty())
        }
        What::Diff { old, new } => {
            let lines = diff::lines(&open(&old)?.program, &open(&new)?.program);
            print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
            Ok(lines.is_empty())
        }
        What::Frames { state, program } => {
            let elf = open(&program)?;
            let bytes = std::fs::read(&state).map_err(|e| format!("{}: {e}", state.display()))?;
            let thread =
                ThreadState::read(&bytes).map_err(|e| format!("{}: {e}", state.display()))?;
            print(&frames::text(&thread, &elf, &frames::Lines::of(&program, &elf))?)?;
            Ok(true)
        }
    }
}

fn report_text(report: &verify::Report) -> String {
    let mut lines = vec![
        format!(
            "{} bytes of data and {} symbols at the same addresses",
            report.data_bytes, report.symbols
        ),
        format!("{} sites, {} pads that store their records", report.sites, report.pads),
        format!(
            "{} calls with a pad, {} that only return, {} of code that does not move",
            report.calls_with_pad, report.calls_that_return, report.native_calls
        ),
    ];
    for finding in &report.findings {
        let isa = finding.isa.map(|isa| format!("{isa}: ")).unwrap_or_default();
        lines.push(format!("{isa}{:?}: {}", finding.property, finding.text));
    }
    lines.push(match report.findings.len() {
        0 => "verified: nothing is lost in a move".to_owned(),
        number => format!("{number} findings"),
    });
    lines.join("\n") + "\n"
}

/// Prints; who has stopped reading has seen enough.
fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
