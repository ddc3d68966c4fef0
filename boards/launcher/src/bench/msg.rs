//! `bench msg`: the link between two instances, beside a ping-pong on two bare words of the memory
//! that it lies in.

use std::time::Duration;

use anyhow::{Context, bail};
use maize_hostlink::KernelMessage;
use maize_hostlink::boot::Isa;
use maize_msg_exercise::{BenchOutcome, BenchRequest, Exercise, Outcome, Rate, Spread};

use super::{Bench, Effort, Row};
use crate::live::{Event, Live};
use crate::run::RunConfig;
use crate::topology::Topology;
use crate::workspace::Workspace;

/// The benchmark.
#[derive(Debug)]
pub struct Msg;

/// Longest time for one run: an emulated machine on a busy host.
const LIMIT: Duration = Duration::from_secs(120);

/// How often the fabric is started: each gives one sample of every figure.
const fn rounds(effort: Effort) -> usize {
    match effort {
        Effort::Full => 5,
        Effort::Quick => 1,
    }
}

pub(super) const fn request(effort: Effort) -> BenchRequest {
    match effort {
        Effort::Full => BenchRequest::DEFAULT,
        Effort::Quick => {
            let usual = BenchRequest::DEFAULT;
            BenchRequest { batches: 50, doorbells: 500, messages: 100_000, pages: 20_000, ..usual }
        }
    }
}

impl Bench for Msg {
    fn name(&self) -> &'static str {
        "msg"
    }

    fn about(&self) -> &'static str {
        "messages between two instances, beside a bare ping-pong in the same memory"
    }

    fn topologies(&self) -> Vec<Topology> {
        let [x86, arm] = [Isa::X86_64, Isa::Aarch64];
        vec![
            Topology::two_machines(x86, arm),
            Topology::two_machines(x86, x86),
            Topology::two_machines(arm, arm),
            Topology::two_instances(x86),
            Topology::two_instances(arm),
        ]
    }

    fn measure(
        &self,
        topology: &Topology,
        effort: Effort,
        workspace: &Workspace,
        progress: &mut dyn FnMut(f64),
    ) -> anyhow::Result<Vec<Row>> {
        if topology.instances().len() != 2 {
            bail!("the link of two instances is measured, here are {}", topology.instances().len());
        }
        let mut outcomes = Vec::new();
        for round in 0..rounds(effort) {
            outcomes.push(once(topology, request(effort), workspace)?);
            progress((round + 1) as f64 / rounds(effort) as f64);
        }
        rows(topology, &outcomes).context("a figure that is no number")
    }
}

/// Starts the two instances and takes their figures.
pub(super) fn once(
    topology: &Topology,
    request: BenchRequest,
    workspace: &Workspace,
) -> anyhow::Result<BenchOutcome> {
    let request = postcard::to_allocvec(&Exercise::Bench(request))?;
    let config = RunConfig::exercise(topology.clone(), request).timeout(LIMIT).patient();
    let mut live = Live::start(config, workspace)?;
    let mut found = None;
    let came = live.wait_until(LIMIT, |event| match event {
        Event::Said { message: KernelMessage::Exercise { bytes }, .. } => {
            found = Some(postcard::from_bytes(bytes));
            true
        }
        Event::Ended { .. } => true,
        _ => false,
    });
    let outcome = live.dismiss()?;
    match found {
        Some(Ok(Outcome::Bench(figures))) => Ok(*figures),
        Some(Ok(Outcome::Failed(why))) => bail!("{why}\n{}", outcome.consoles.concat()),
        Some(other) => bail!("unexpected outcome {other:?}"),
        None if came => bail!("a machine has ended\n{}", outcome.consoles.concat()),
        None => bail!("no figures within {} s\n{}", LIMIT.as_secs(), outcome.consoles.concat()),
    }
}

fn microseconds(picoseconds: u64) -> f64 {
    picoseconds as f64 / 1e6
}

fn per(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
}

/// One row for each figure; a sample is the median of one run, or its rate.
fn rows(topology: &Topology, outcomes: &[BenchOutcome]) -> Option<Vec<Row>> {
    let row = |name: &str, unit: &str, figure: &dyn Fn(&BenchOutcome) -> f64| {
        let samples: Vec<f64> = outcomes.iter().map(figure).collect();
        Row::from_samples(topology, name, unit, &samples)
    };
    // The extremes within a run say more than those of the runs' medians.
    let times = |name: &str, spread: &dyn Fn(&BenchOutcome) -> Spread| {
        let mut row = row(name, "µs", &|outcome| microseconds(spread(outcome).median_ps))?;
        let all = || outcomes.iter().map(spread);
        let least = all().map(|spread| spread.min_ps).min()?;
        let most = all().map(|spread| spread.p99_ps).max()?;
        row.more.insert("min of a round trip".to_owned(), microseconds(least));
        row.more.insert("p99 of a run".to_owned(), microseconds(most));
        Some(row)
    };
    let ratio = |link: Spread, bare: Spread| per(link.median_ps, bare.median_ps);
    let doorbells = |rate: Rate| per(rate.doorbells + rate.doorbells_back, rate.count);
    Some(vec![
        times("round trip, polled: two bare words", &|o| o.bare_polled)?,
        times("round trip, polled: link", &|o| o.link_polled)?,
        row("round trip, polled: link / bare", "×", &|o| ratio(o.link_polled, o.bare_polled))?,
        times("round trip, polled: lines with a header", &|o| o.line_polled)?,
        times("round trip, doorbell: two bare words", &|o| o.bare_doorbell)?,
        times("round trip, doorbell: link", &|o| o.link_doorbell)?,
        row("round trip, doorbell: link / bare", "×", &|o| {
            ratio(o.link_doorbell, o.bare_doorbell)
        })?,
        row("64-byte messages, one way", "M/s", &|o| per(o.messages.count, o.messages.ns) * 1e3)?,
        row("4 KiB pages, one way", "GB/s", &|o| per(o.pages.bytes, o.pages.ns))?,
        row("4 KiB pages, one way: copies", "GB/s", &|o| per(o.bare_pages.bytes, o.bare_pages.ns))?,
        row("doorbells per message, saturated", "doorbells", &|o| doorbells(o.messages))?,
        row("doorbells per page, saturated", "doorbells", &|o| doorbells(o.pages))?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topology_has_two_instances() {
        let topologies = Msg.topologies();
        assert!(topologies.iter().all(|topology| topology.instances().len() == 2));
    }

    #[test]
    fn figures_have_their_units() {
        let spread = |ps| Spread { min_ps: ps / 2, median_ps: ps, p99_ps: ps * 3 };
        let rate =
            |count, bytes| Rate { count, bytes, ns: 1_000_000, doorbells: 5, doorbells_back: 5 };
        let outcome = BenchOutcome {
            bare_polled: spread(250_000),
            line_polled: spread(300_000),
            bare_doorbell: spread(40_000_000),
            link_polled: spread(500_000),
            link_doorbell: spread(50_000_000),
            messages: rate(4_000, 256_000),
            pages: rate(500, 2_048_000),
            bare_pages: rate(500, 3_072_000),
        };
        let rows = rows(&Topology::two_instances(Isa::X86_64), &[outcome, outcome]).unwrap();
        let median = |name: &str| rows.iter().find(|row| row.name == name).unwrap().median;
        let close = |name: &str, value: f64| assert!((median(name) - value).abs() < 1e-9, "{name}");
        close("round trip, polled: two bare words", 0.25);
        close("round trip, polled: link / bare", 2.0);
        close("round trip, doorbell: link", 50.0);
        close("64-byte messages, one way", 4.0);
        close("4 KiB pages, one way", 2.048);
        close("round trip, polled: lines with a header", 0.3);
        close("4 KiB pages, one way: copies", 3.072);
        close("doorbells per message, saturated", 0.0025);
        let link = rows.iter().find(|row| row.name == "round trip, polled: link").unwrap();
        assert!((link.more["p99 of a run"] - 1.5).abs() < 1e-9);
        // A run in which nothing was measured gives no row, and no figure that is none.
        assert!(
            super::rows(&Topology::two_instances(Isa::X86_64), &[BenchOutcome::default()])
                .is_none()
        );
    }
}
