//! `maize bench`: benchmarks that give rows of one shape, and ways to show them.

pub mod boot;
pub mod coherence;
pub mod host;
pub mod html;
pub mod lines;
pub mod migrate;
pub mod msg;
pub mod smp_linux;
pub mod table;
pub mod xisa;

use std::collections::BTreeMap;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::run::{self, Ending, RunConfig, RunOutcome};
use crate::topology::Topology;
use crate::workspace::Workspace;

/// Something that is measured on fabrics.
pub trait Bench: Sync {
    /// How it is asked for.
    fn name(&self) -> &'static str;

    /// One line on what it measures.
    fn about(&self) -> &'static str;

    /// What it is measured on when no topology is asked for.
    fn topologies(&self) -> Vec<Topology>;

    /// Measures on one topology. `progress` is told how much of it is done, from 0 to 1.
    fn measure(
        &self,
        topology: &Topology,
        effort: Effort,
        workspace: &Workspace,
        progress: &mut dyn FnMut(f64),
    ) -> anyhow::Result<Vec<Row>>;
}

/// Runs a program that must succeed.
fn succeeded(config: RunConfig, workspace: &Workspace) -> anyhow::Result<RunOutcome> {
    let outcome = run::run(config, workspace)?;
    if outcome.ending != Ending::Exited(0) {
        let output = String::from_utf8_lossy(&outcome.stdout);
        let consoles = outcome.consoles.concat();
        bail!("the program ended with {:?}\n{output}\n{consoles}", outcome.ending);
    }
    Ok(outcome)
}

/// Runs a program that must succeed, for what it prints.
fn printed(config: RunConfig, workspace: &Workspace) -> anyhow::Result<String> {
    Ok(String::from_utf8_lossy(&succeeded(config, workspace)?.stdout).into_owned())
}

/// How many samples to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Enough for figures to rely on.
    Full,
    /// Enough to see that it works.
    Quick,
}

/// Every benchmark.
pub const BENCHES: &[&dyn Bench] =
    &[&boot::Boot, &msg::Msg, &coherence::Coherence, &migrate::Migrate, &xisa::Xisa];

/// Which of several curves a row is on, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What the curves are about.
    pub group: String,
    /// Which curve.
    pub policy: String,
    /// Where: how many iterations, instances, …
    pub x: f64,
}

/// The distribution of one figure on one topology.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it was measured on.
    pub topology: String,
    /// What was measured.
    pub name: String,
    /// Unit of the figures.
    pub unit: String,
    /// Number of samples.
    pub n: usize,
    /// Least.
    pub min: f64,
    /// Median.
    pub median: f64,
    /// 99th percentile, by nearest rank.
    pub p99: f64,
    /// Greatest.
    pub max: f64,
    /// The row's place among others of its name; nothing if it stands alone.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
    /// Further figures by name, in the same unit or with the unit in the name.
    #[serde(flatten)]
    pub more: BTreeMap<String, f64>,
}

impl Row {
    /// The row of some samples; `None` if there is none, or one that is no number.
    #[must_use]
    pub fn from_samples(
        topology: &Topology,
        name: impl Into<String>,
        unit: impl Into<String>,
        samples: &[f64],
    ) -> Option<Self> {
        if samples.iter().any(|sample| !sample.is_finite()) {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let at = |index: usize| sorted.get(index).copied();
        let (low, high) = (at(n.checked_sub(1)? / 2)?, at(n / 2)?);
        Some(Self {
            topology: topology.to_string(),
            name: name.into(),
            unit: unit.into(),
            n,
            min: at(0)?,
            median: f64::midpoint(low, high),
            p99: at((n * 99).div_ceil(100) - 1)?,
            max: at(n - 1)?,
            series: None,
            more: BTreeMap::new(),
        })
    }
}

/// Everything that one benchmark gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Name of the benchmark.
    pub bench: String,
    /// What it was measured with.
    pub host: BTreeMap<String, String>,
    /// Figures.
    pub rows: Vec<Row>,
}

/// No such benchmark.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no benchmark `{0}` (there are: {known})", known = known())]
pub struct UnknownBench(String);

fn known() -> String {
    BENCHES.iter().map(|bench| bench.name()).collect::<Vec<_>>().join(", ")
}

/// The benchmark of a name.
pub fn find(name: &str) -> Result<&'static dyn Bench, UnknownBench> {
    let found = BENCHES.iter().find(|bench| bench.name() == name);
    found.copied().ok_or_else(|| UnknownBench(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use maize_hostlink::boot::Isa;

    fn row(samples: &[f64]) -> Option<Row> {
        Row::from_samples(&Topology::single(Isa::X86_64), "boot", "ms", samples)
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let samples: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let row = row(&samples).unwrap();
        assert_eq!((row.n, row.min, row.median, row.p99, row.max), (200, 1.0, 100.5, 198.0, 200.0));
    }

    #[test]
    fn few_samples_and_bad_ones() {
        let one = row(&[3.0]).unwrap();
        assert_eq!((one.min, one.median, one.p99, one.max), (3.0, 3.0, 3.0, 3.0));
        assert_eq!(row(&[]), None);
        assert_eq!(row(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn the_json_has_the_documented_shape() {
        let mut row = row(&[1.0, 2.0]).unwrap();
        row.more.insert("mean".to_owned(), 1.5);
        let report = Report { bench: "boot".to_owned(), host: BTreeMap::new(), rows: vec![row] };
        let value = serde_json::to_value(&report).unwrap();
        let expected = serde_json::json!({
            "bench": "boot", "host": {}, "rows": [{
                "topology": "x86_64", "name": "boot", "unit": "ms", "n": 2,
                "min": 1.0, "median": 1.5, "p99": 2.0, "max": 2.0, "mean": 1.5,
            }],
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_row_of_a_series_is_read_as_it_is_written() {
        let series = Series { group: "scale".to_owned(), policy: "voting".to_owned(), x: 4.0 };
        let row = Row { series: Some(series), ..row(&[1.0]).unwrap() };
        let text = serde_json::to_string(&row).unwrap();
        assert!(text.contains("\"policy\":\"voting\"") && text.contains("\"x\":4.0"));
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
    }

    #[test]
    fn unknown_names_are_told() {
        assert!(find("boot").is_ok());
        assert_eq!(find("boots").err(), Some(UnknownBench("boots".to_owned())));
    }
}
