//! `maize-bench-coherence`: the coherency benchmark as a program.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use maize_coherence_sim::bench::{Effort, run};
use maize_coherence_sim::html;

/// Messages and bytes of the page coherency policies, in a simulated fabric.
#[derive(Parser, Debug)]
struct Arguments {
    /// Write the rows as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// One seed, and at most 64 nodes.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    let shows = std::io::stderr().is_terminal();
    let report = run(effort, &mut |progress| {
        if shows {
            eprint!("\r\x1b[K[{}/{}] {}", progress.done, progress.total, progress.what);
        }
    })
    .map_err(|error| anyhow!(error))?;
    if shows {
        eprint!("\r\x1b[K");
    }
    std::io::stdout().write_all(report.table().as_bytes())?;
    if let Some(path) = arguments.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(path) = arguments.html {
        fs::write(&path, html::page(&report))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
