//! `bench`.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap::error::ErrorKind;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use maize_launcher::bench::{self, BENCHES, Bench, Effort, Report, host, html, table};
use maize_launcher::topology::Topology;
use maize_launcher::workspace::Workspace;

use super::output::OutputFile;

/// Steps that a progress bar shows of one topology.
const STEPS: u64 = 100;

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Benchmarks [default: all].
    names: Vec<String>,
    /// What to measure on; may be given several times [default: what the benchmark says].
    #[arg(long, short = 'T', value_parser = super::fabric::topology)]
    topology: Vec<Topology>,
    /// Write the figures to a JSON file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Take few samples.
    #[arg(long)]
    quick: bool,
    /// Only show which benchmarks there are.
    #[arg(long)]
    list: bool,
}

impl BenchOptions {
    pub(crate) fn execute(&self, workspace: &Workspace) -> anyhow::Result<u8> {
        if self.list {
            for bench in BENCHES {
                println!("{:14} {}", bench.name(), bench.about());
            }
            return Ok(0);
        }
        let benches: Vec<&dyn Bench> = if self.names.is_empty() {
            BENCHES.to_vec()
        } else {
            let found = self.names.iter().map(|name| bench::find(name));
            let found = found.collect::<Result<Vec<&dyn Bench>, _>>();
            found.unwrap_or_else(|unknown| {
                super::wrong_usage(ErrorKind::InvalidValue, &unknown.to_string())
            })
        };
        // Nothing is measured for figures that could not be written.
        let json_file = self.json.clone().map(OutputFile::create).transpose()?;
        let html_file = self.html.clone().map(OutputFile::create).transpose()?;
        let mut reports = Vec::new();
        for bench in benches {
            let report = self.measure(bench, workspace)?;
            println!("{}: {}\n{}", bench.name(), bench.about(), table::render(&report.rows));
            reports.push(report);
        }
        if let Some(file) = json_file {
            // One benchmark is an object of the documented shape; several are a list of them.
            let json = match &reports[..] {
                [report] => serde_json::to_string_pretty(report)?,
                reports => serde_json::to_string_pretty(reports)?,
            };
            file.write(&(json + "\n"))?;
        }
        if let Some(file) = html_file {
            file.write(&html::render(&reports))?;
        }
        Ok(0)
    }

    fn measure(&self, bench: &dyn Bench, workspace: &Workspace) -> anyhow::Result<Report> {
        let topologies =
            if self.topology.is_empty() { bench.topologies() } else { self.topology.clone() };
        let effort = if self.quick { Effort::Quick } else { Effort::Full };
        let bar = progress_bar(topologies.len())?;
        let mut rows = Vec::new();
        for (index, topology) in (0u64..).zip(&topologies) {
            bar.set_message(format!("{} on {topology}", bench.name()));
            let mut progress = |part: f64| {
                bar.set_position(index * STEPS + (part.clamp(0.0, 1.0) * STEPS as f64) as u64);
            };
            rows.extend(
                bench
                    .measure(topology, effort, workspace, &mut progress)
                    .with_context(|| format!("{} on {topology}", bench.name()))?,
            );
        }
        bar.finish_and_clear();
        Ok(Report { bench: bench.name().to_owned(), host: host::describe(&topologies), rows })
    }
}

fn progress_bar(topologies: usize) -> anyhow::Result<ProgressBar> {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(topologies as u64 * STEPS), target);
    bar.set_style(ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}")?);
    Ok(bar)
}
