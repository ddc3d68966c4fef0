//! `bench coherence`: messages of the page coherency policies on simulated fabrics.
//!
//! The simulator is a program of its own, built when it is asked for. Its times are virtual, so the
//! figures are the same on every host.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, bail};
use maize_hostlink::boot::Isa;
use serde::Deserialize;

use super::{Bench, Effort, Row};
use crate::topology::Topology;
use crate::workspace::Workspace;

/// The benchmark.
#[derive(Debug)]
pub struct Coherence;

/// What the simulator says, a line each.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Line {
    /// A step begins.
    Progress {
        /// Steps done.
        done: f64,
        /// All steps.
        total: f64,
    },
    /// The end.
    Report {
        /// Everything that was counted.
        rows: Vec<Row>,
    },
}

impl Bench for Coherence {
    fn name(&self) -> &'static str {
        "coherence"
    }

    fn about(&self) -> &'static str {
        "messages and bytes of the page protocols on simulated fabrics of 2 to 1024 instances"
    }

    fn topologies(&self) -> Vec<Topology> {
        // Figures of all sizes come from one run; this one stands for all.
        vec![Topology::single(Isa::X86_64)]
    }

    fn measure(
        &self,
        topology: &Topology,
        effort: Effort,
        workspace: &Workspace,
        progress: &mut dyn FnMut(f64),
    ) -> anyhow::Result<Vec<Row>> {
        if !self.topologies().contains(topology) {
            bail!("the simulated fabrics are always the same: there is no topology to choose");
        }
        let mut command = workspace.cargo();
        command.args(["run", "--quiet", "--package", "maize-coherence-sim", "--", "--stream"]);
        if effort == Effort::Quick {
            command.arg("--quick");
        }
        let mut simulator = command.stdout(Stdio::piped()).spawn().context("cargo")?;
        let output = simulator.stdout.take().context("the simulator has no output")?;
        let rows = read(BufReader::new(output), progress);
        let status = simulator.wait().context("the simulator")?;
        if !status.success() {
            bail!("the simulator ended with {status}");
        }
        rows
    }
}

/// Reads what the simulator says until it ends.
fn read(output: impl BufRead, progress: &mut dyn FnMut(f64)) -> anyhow::Result<Vec<Row>> {
    let mut report = None;
    for line in output.lines() {
        let line = line.context("the simulator's output")?;
        match serde_json::from_str(&line).with_context(|| format!("the simulator: {line}"))? {
            Line::Progress { done, total } => progress(done / total.max(1.0)),
            Line::Report { rows } => report = Some(rows),
        }
    }
    report.context("the simulator gave no report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_follows_its_progress() {
        let text = "{\"done\": 1, \"total\": 4, \"what\": \"figure 7\"}\n\
             {\"bench\": \"coherence\", \"host\": {}, \"rows\": [{\"topology\": \"4 instances\", \
             \"name\": \"a\", \"unit\": \"messages\", \"n\": 1, \"min\": 1.0, \"median\": 1.0, \
             \"p99\": 1.0, \"max\": 1.0, \"policy\": \"voting\", \"group\": \"scale\", \"x\": 4}]}\n";
        let mut told = vec![];
        let rows = read(text.as_bytes(), &mut |part| told.push(part)).unwrap();
        assert_eq!(told, [0.25]);
        let series = rows[0].series.as_ref().unwrap();
        assert_eq!((series.policy.as_str(), series.x), ("voting", 4.0));
    }

    #[test]
    fn an_output_that_breaks_off_is_an_error() {
        assert!(read("{\"done\": 1, \"total\": 4}\n".as_bytes(), &mut |_| {}).is_err());
        assert!(read("panicked".as_bytes(), &mut |_| {}).is_err());
    }
}
