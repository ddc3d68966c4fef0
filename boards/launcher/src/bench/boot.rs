//! `bench boot`: from the start of QEMU to the first instruction of the program, beside an empty
//! kernel on the same machine.

use std::time::Duration;

use anyhow::{Context, bail};
use maize_hostlink::boot::Isa;

use super::{Bench, Effort, Row, succeeded};
use crate::run::{RunConfig, kernel_files, time_to_first_console_byte};
use crate::topology::Topology;
use crate::workspace::{Workspace, empty_kernel};

/// The benchmark.
#[derive(Debug)]
pub struct Boot;

/// Longest time for one boot.
const LIMIT: Duration = Duration::from_secs(60);

const fn samples(effort: Effort) -> usize {
    match effort {
        Effort::Full => 25,
        Effort::Quick => 5,
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Bench for Boot {
    fn name(&self) -> &'static str {
        "boot"
    }

    fn about(&self) -> &'static str {
        "start of QEMU to the program's first instruction, beside an empty kernel"
    }

    fn topologies(&self) -> Vec<Topology> {
        Isa::ALL.map(Topology::single).into()
    }

    fn measure(
        &self,
        topology: &Topology,
        effort: Effort,
        workspace: &Workspace,
        progress: &mut dyn FnMut(f64),
    ) -> anyhow::Result<Vec<Row>> {
        let [isa] = topology.isas()[..] else { bail!("one instruction set at a time") };
        let (empty, _) = kernel_files(empty_kernel(isa), workspace)?;
        let config = || RunConfig::new(topology.clone(), "/bin/busybox").arguments(["true"]);
        let rounds = samples(effort);
        let (mut empties, mut programs, mut differences) = (Vec::new(), Vec::new(), Vec::new());
        let mut phases: Vec<(String, Vec<f64>)> = Vec::new();
        // One round of each that does not count: what is read from disk is in memory after it.
        for round in 0..=rounds {
            let mut bare = config();
            bare.kernel = Some(empty.clone());
            let bare = milliseconds(time_to_first_console_byte(&bare, workspace)?);
            let outcome = succeeded(config().timeout(LIMIT), workspace)?;
            let ready = milliseconds(outcome.ready.context("the kernel never was ready")?);
            if round > 0 {
                empties.push(bare);
                programs.push(ready);
                differences.push(ready - bare);
                add_phases(&mut phases, &outcome.phases);
            }
            progress((round + 1) as f64 / (rounds + 1) as f64);
        }
        let figures = [
            ("empty kernel".to_owned(), empties),
            ("first user instruction".to_owned(), programs),
            ("difference".to_owned(), differences),
        ];
        let phases = phases.into_iter().map(|(name, times)| (format!("phase: {name}"), times));
        let rows = figures.into_iter().chain(phases);
        rows.map(|(name, times)| {
            Row::from_samples(topology, name, "ms", &times).context("a figure that is no number")
        })
        .collect()
    }
}

/// Adds what each phase took: a phase's time is at its end, and begins at the end of the last.
fn add_phases(all: &mut Vec<(String, Vec<f64>)>, phases: &[(String, u64)]) {
    let mut before = 0;
    for (index, (name, end)) in phases.iter().enumerate() {
        let took = milliseconds(Duration::from_nanos(end.saturating_sub(before)));
        before = *end;
        match all.get_mut(index) {
            Some((known, times)) if known == name => times.push(took),
            Some(_) => {}
            None => all.push((name.clone(), vec![took])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_told_by_their_ends() {
        let mut all = Vec::new();
        let boot = |a, b| [("memory".to_owned(), a), ("files".to_owned(), b)];
        add_phases(&mut all, &boot(2_000_000, 5_000_000));
        add_phases(&mut all, &boot(1_000_000, 2_000_000));
        assert_eq!(
            all,
            [("memory".to_owned(), vec![2.0, 1.0]), ("files".to_owned(), vec![3.0, 1.0])]
        );
    }
}
