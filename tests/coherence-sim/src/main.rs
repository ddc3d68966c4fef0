//! `maize-bench-coherence`: the coherency benchmark as a program; `./maize bench coherence` runs it.

use std::io::{self, IsTerminal, Write};

use anyhow::{Result, anyhow};
use clap::Parser;
use maize_coherence_sim::bench::{Effort, run};

/// Messages and bytes of the page coherency policies, in a simulated fabric.
#[derive(Parser, Debug)]
struct Arguments {
    /// Print a JSON object for each step that begins, and one with all rows at the end.
    #[arg(long)]
    stream: bool,
    /// One seed, and at most 64 instances.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let shows = io::stderr().is_terminal() && !arguments.stream;
    let report = run(effort, &mut |progress| {
        if arguments.stream {
            if let Ok(line) = serde_json::to_string(progress) {
                // Who does not listen any more will not miss the report either.
                let _ = writeln!(io::stdout(), "{line}");
            }
        } else if shows {
            eprint!("\r\x1b[K[{}/{}] {}", progress.done, progress.total, progress.what);
        }
    })
    .map_err(|error| anyhow!(error))?;
    if shows {
        eprint!("\r\x1b[K");
    }
    let text =
        if arguments.stream { serde_json::to_string(&report)? + "\n" } else { report.table() };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
