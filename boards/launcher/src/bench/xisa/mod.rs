//! `bench xisa`: what it costs a program that its threads can move between instruction sets.
//!
//! Each program is built three times: by `clang -O2` for the instruction set, by `maize-cc`, and by
//! `maize-cc` without polls, which makes nothing in it movable: the difference of the last two is the
//! transformation's alone, as compiler and C library are the same. Floating point is not contracted
//! in any of them, since a program must give one answer everywhere.
//!
//! Moves are measured in place, and between two machines.
//!
//! Instructions are counted by a plugin of QEMU's user-mode emulators, exactly; times are the host's
//! own and measured for its instruction set only.

mod moves;
mod programs;
mod tools;

use anyhow::bail;
use maize_hostlink::boot::Isa;

use super::{Bench, Effort, Row};
use crate::topology::Topology;
use crate::workspace::Workspace;
use programs::{Built, PROGRAMS};
use tools::Tools;

/// The benchmark.
#[derive(Debug)]
pub struct Xisa;

/// Programs of a quick run.
const QUICK_PROGRAMS: usize = 2;

impl Bench for Xisa {
    fn name(&self) -> &'static str {
        "xisa"
    }

    fn about(&self) -> &'static str {
        "what programs cost whose threads can move between instruction sets, and their moves"
    }

    fn topologies(&self) -> Vec<Topology> {
        let pair = Topology::two_machines(Isa::X86_64, Isa::Aarch64);
        Isa::ALL.map(Topology::single).into_iter().chain([pair]).collect()
    }

    fn measure(
        &self,
        topology: &Topology,
        effort: Effort,
        workspace: &Workspace,
        progress: &mut dyn FnMut(f64),
    ) -> anyhow::Result<Vec<Row>> {
        let (isas, instances) = (topology.isas(), topology.instances().len());
        let isa = match (&isas[..], instances) {
            ([isa], 1) | ([isa, _], 2) => *isa,
            _ => bail!("programs are measured on one instance, and moves on two that differ"),
        };
        let tools = Tools::set_up(workspace, isa)?;
        if instances == 2 {
            return moves::between(&tools, topology, effort, workspace, progress);
        }
        let programs = match effort {
            Effort::Full => PROGRAMS,
            Effort::Quick => PROGRAMS.get(..QUICK_PROGRAMS).unwrap_or_default(),
        };
        let (mut rows, mut means) = (Vec::new(), Means::default());
        for (number, program) in (1_u32..).zip(programs) {
            let built = Built::new(program, &tools)?;
            rows.extend(built.measure(&tools, topology, effort, &mut means)?);
            progress(f64::from(number) / (programs.len() as f64 + 1.0));
        }
        rows.extend(means.rows(topology));
        rows.extend(moves::measure(&tools, topology, effort)?);
        Ok(rows)
    }
}

/// Ratios of all programs, for their geometric means.
#[derive(Debug, Default)]
struct Means(std::collections::BTreeMap<&'static str, Vec<f64>>);

impl Means {
    fn add(&mut self, figure: &'static str, ratio: f64) {
        self.0.entry(figure).or_default().push(ratio);
    }

    fn rows(&self, topology: &Topology) -> Vec<Row> {
        let rows = self.0.iter().filter_map(|(figure, ratios)| {
            let name = format!("all: {figure}, geometric mean");
            Row::from_samples(topology, name, "ratio", &[geometric_mean(ratios)])
        });
        rows.collect()
    }
}

fn geometric_mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_of_factors() {
        assert!((geometric_mean(&[0.5, 8.0]) - 2.0).abs() < 1e-12);
        let mut means = Means::default();
        means.add("instructions", 1.5);
        let rows = means.rows(&Topology::single(Isa::X86_64));
        assert_eq!((rows.len(), rows[0].median), (1, 1.5));
    }
}
