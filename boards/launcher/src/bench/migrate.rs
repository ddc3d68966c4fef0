//! `bench migrate`: what it costs to move a thread between instances, and to be on another one: times,
//! messages, bytes and pages of each operation.
//!
//! `tests/programs/bench/migration.c` measures. On one machine of two instances, SMP Linux runs the same
//! program in a machine of two processors, and the bare doorbells of the two instances are measured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use maize_hostlink::boot::Isa;

use super::{Bench, Effort, Row, msg, printed, smp_linux};
use crate::run::RunConfig;
use crate::test_programs;
use crate::topology::Topology;
use crate::workspace::Workspace;

/// The benchmark.
#[derive(Debug)]
pub struct Migrate;

/// Longest time for one run: an emulated machine on a busy host.
const LIMIT: Duration = Duration::from_secs(240);

/// The figure in which a thread moves there and back and does nothing else.
const MOVE: &str = "there and back, stack unused";

/// The program's last figure: without it, it has not come to its end.
const LAST: &str = "file read 4 KiB";

/// Figures of pages that ping-pong, which move into the memory that two machines see; they are measured
/// with pages that are copied, too.
const PING_PONG: &str = "ping-pong";

/// Operations of a figure.
const fn operations(effort: Effort) -> &'static str {
    match effort {
        Effort::Full => "300",
        Effort::Quick => "60",
    }
}

impl Bench for Migrate {
    fn name(&self) -> &'static str {
        "migrate"
    }

    fn about(&self) -> &'static str {
        "threads that move between instances and work on another one"
    }

    fn topologies(&self) -> Vec<Topology> {
        // Every kind of pair whose instances have one instruction set.
        let [x86, arm] = [Isa::X86_64, Isa::Aarch64];
        vec![
            Topology::two_machines(x86, x86),
            Topology::two_instances(x86),
            Topology::two_machines(arm, arm),
        ]
    }

    fn measure(
        &self,
        topology: &Topology,
        effort: Effort,
        workspace: &Workspace,
        progress: &mut dyn FnMut(f64),
    ) -> anyhow::Result<Vec<Row>> {
        let [isa] = topology.isas()[..] else { bail!("one instruction set at a time") };
        if topology.instances().len() != 2 {
            bail!("two instances are measured, here are {}", topology.instances().len());
        }
        let program = build(isa, workspace)?;
        let config = on_instances(topology, &program, &[operations(effort)])?;
        let mut rows = rows(topology, "", LAST, &printed(config, workspace)?)?;
        progress(0.5);
        if topology.machines().len() > 1 {
            let mut config = on_instances(topology, &program, &[operations(effort), PING_PONG])?;
            config.sharing.promote = false;
            rows.extend(self::rows(topology, "copied: ", PING_PONG, &printed(config, workspace)?)?);
            progress(0.9);
        }
        if topology.machines().len() == 1 {
            let bare = msg::once(topology, msg::request(effort), workspace)?;
            for (name, spread) in [
                ("doorbell round trip, two bare words", bare.bare_doorbell),
                ("doorbell round trip, link", bare.link_doorbell),
                ("polled round trip, link", bare.link_polled),
            ] {
                let median = [spread.median_ps as f64 / 1e6];
                rows.push(row(topology, name, "µs", &median)?);
            }
            progress(0.7);
            let image = std::fs::read(&program).with_context(|| program.display().to_string())?;
            let shown = smp_linux::run((isa, 2), &image, &[operations(effort)], LIMIT, workspace)?;
            let peer = self::rows(topology, "SMP Linux: ", LAST, &shown)?;
            let median = |rows: &[Row], name: &str| {
                rows.iter().find(|row| row.name.ends_with(name)).map(|row| row.median)
            };
            if let (Some(ours), Some(theirs)) = (median(&rows, MOVE), median(&peer, MOVE)) {
                rows.push(row(topology, &format!("{MOVE} / SMP Linux"), "×", &[ours / theirs])?);
            }
            rows.extend(peer);
        }
        progress(1.0);
        Ok(rows)
    }
}

fn row(topology: &Topology, name: &str, unit: &str, samples: &[f64]) -> anyhow::Result<Row> {
    Row::from_samples(topology, name, unit, samples)
        .with_context(|| format!("{name}: no figures, or one that is no number"))
}

/// Builds the program that measures; musl does nothing behind its back.
///
/// # Errors
/// What `make` says.
pub fn build(isa: Isa, workspace: &Workspace) -> Result<PathBuf, test_programs::BuildError> {
    let variant = format!("{isa}-musl");
    let program = test_programs::built(workspace).join(&variant).join("bench-migration");
    test_programs::build(&[variant], Some(&program), workspace)?;
    Ok(program)
}

fn on_instances(
    topology: &Topology,
    program: &Path,
    arguments: &[&str],
) -> anyhow::Result<RunConfig> {
    let program = program.to_str().context("a path that is no text")?;
    Ok(RunConfig::new(topology.clone(), program).arguments(arguments).timeout(LIMIT).patient())
}

/// A figure as the program prints it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Messages, bytes of their bodies, and pages of one operation, where there are counters.
    pub counts: [Option<f64>; 3],
    /// Time of each operation.
    pub nanoseconds: Vec<f64>,
}

impl Figure {
    /// A line of the program's; `None` for any other.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim_end().split('\t');
        let name = fields.next()?.to_owned();
        let mut count = || match fields.next()? {
            "-" => Some(None),
            number => number.parse().ok().map(Some),
        };
        let counts = [count()?, count()?, count()?];
        let times: Option<_> = fields.next()?.split(' ').map(|ns| ns.parse().ok()).collect();
        fields.next().is_none().then_some(Self { name, counts, nanoseconds: times? })
    }
}

/// The rows of what the program printed, if it came to its `last` figure.
fn rows(topology: &Topology, prefix: &str, last: &str, output: &str) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for figure in output.lines().filter_map(Figure::parse) {
        let samples: Vec<f64> = figure.nanoseconds.iter().map(|ns| ns / 1e3).collect();
        let mut row = row(topology, &format!("{prefix}{}", figure.name), "µs", &samples)?;
        for (what, count) in ["messages", "bytes", "pages"].into_iter().zip(figure.counts) {
            row.more.extend(count.map(|count| (what.to_owned(), count)));
        }
        rows.push(row);
    }
    if !rows.iter().any(|row| row.name.ends_with(last)) {
        bail!("the program did not come to its end:\n{output}");
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_they_are_printed() {
        let line = "there and back\t2.00\t123.5\t0.00\t1500 900 2000\r\n";
        let figure = Figure::parse(line).unwrap();
        assert_eq!(figure.name, "there and back");
        assert_eq!(figure.counts, [Some(2.0), Some(123.5), Some(0.0)]);
        assert_eq!(figure.nanoseconds, [1500.0, 900.0, 2000.0]);
        assert_eq!(Figure::parse("back\t-\t-\t-\t7").unwrap().counts, [None; 3]);
        for line in ["", "reboot: Restarting", "a\tb", "a\t1\t2\t3\t4\t5", "a\t1\t2\t3\tx"] {
            assert!(Figure::parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn a_program_that_ended_early_gives_no_rows() {
        let topology = "x86_64*2".parse().unwrap();
        assert!(rows(&topology, "", LAST, "back\t-\t-\t-\t7\n").is_err());
        let all = "back\t2.5\t10\t1\t7000\nfile read 4 KiB\t-\t-\t-\t1\n";
        let rows = rows(&topology, "SMP Linux: ", LAST, all).unwrap();
        assert_eq!((rows[0].name.as_str(), rows[0].median), ("SMP Linux: back", 7.0));
        assert_eq!(rows[0].more["messages"], 2.5);
        assert!(rows[1].more.is_empty());
    }
}
