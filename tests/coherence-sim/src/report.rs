//! Rows of a benchmark, in the shape that all benchmarks of the project share.

use serde::Serialize;

/// One measured quantity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The fabric, as `./maize run --topology` would write it.
    pub topology: String,
    /// What was measured.
    pub name: String,
    /// Of what.
    pub unit: &'static str,
    /// How many runs.
    pub n: usize,
    /// The least value.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest value.
    pub max: f64,
    /// Which policy.
    pub policy: &'static str,
    /// Which group of rows: `figure7` or `scale`.
    pub group: &'static str,
    /// The row's place on the horizontal axis: iterations or nodes.
    pub x: u32,
}

/// Names a row before its values are known.
#[derive(Clone, Debug)]
pub struct Label {
    /// The fabric.
    pub topology: String,
    /// What was measured.
    pub name: String,
    /// Of what.
    pub unit: &'static str,
    /// Which policy.
    pub policy: &'static str,
    /// Which group of rows.
    pub group: &'static str,
    /// The place on the horizontal axis.
    pub x: u32,
}

impl Row {
    /// A row from the values of some runs; `None` without any.
    #[must_use]
    pub fn new(label: Label, values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * (sorted.len() - 1) as f64).ceil() as usize;
            sorted.get(index).copied()
        };
        let Label { topology, name, unit, policy, group, x } = label;
        Some(Self {
            topology,
            name,
            unit,
            n: values.len(),
            min: *sorted.first()?,
            median: at(0.5)?,
            p99: at(0.99)?,
            max: *sorted.last()?,
            policy,
            group,
            x,
        })
    }
}

/// Where the benchmark ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// The operating system.
    pub os: &'static str,
    /// The instruction set.
    pub arch: &'static str,
    /// Cores that the process may use.
    pub cores: usize,
    /// Results are counts in virtual time: they do not depend on the host.
    pub virtual_time: bool,
}

impl Host {
    /// This host.
    #[must_use]
    pub fn this() -> Self {
        Self {
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            virtual_time: true,
        }
    }
}

/// A benchmark's results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The benchmark's name.
    pub bench: &'static str,
    /// Where it ran.
    pub host: Host,
    /// What it measured.
    pub rows: Vec<Row>,
}

impl Report {
    /// The results as a table for a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut group = "";
        for row in &self.rows {
            if row.group != group {
                group = row.group;
                text.push_str(&format!(
                    "\n{:<14} {:<44} {:<17} {:>5} {:>10} {:>10} {:>10}  unit\n",
                    "topology", group, "policy", "x", "min", "median", "max"
                ));
            }
            text.push_str(&format!(
                "{:<14} {:<44} {:<17} {:>5} {:>10.2} {:>10.2} {:>10.2}  {}\n",
                row.topology, row.name, row.policy, row.x, row.min, row.median, row.max, row.unit
            ));
        }
        text
    }
}
