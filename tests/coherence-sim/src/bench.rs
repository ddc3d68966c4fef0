//! The benchmark behind `./maize bench coherence`.

use serde::Serialize;

use crate::Tally;
use crate::adaptive::{self, Window};
use crate::figure7::{self, Case, ITERATIONS, Size};
use crate::patterns::{Pattern, PolicyName, run_ahead, run_pattern};
use crate::report::{Host, Label, Report, Row};

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Seconds: fewer seeds, up to 64 nodes.
    Quick,
    /// Everything, up to 1,024 nodes.
    Full,
}

impl Effort {
    fn seeds(self) -> u64 {
        match self {
            Self::Quick => 1,
            Self::Full => 3,
        }
    }

    /// Sizes of fabrics, in instances.
    fn fabrics(self) -> &'static [usize] {
        match self {
            Self::Quick => &[2, 4, 16, 64],
            Self::Full => &[2, 4, 16, 64, 256, 1024],
        }
    }
}

/// Neighbouring mappings that come along with one.
const AHEADS: [u8; 4] = [0, 1, 4, 8];

/// A step of the benchmark that is about to run, for a progress display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Steps done.
    pub done: usize,
    /// All steps.
    pub total: usize,
    /// What runs now.
    pub what: String,
}

/// Runs the benchmark; `progress` is called before every step.
///
/// # Errors
///
/// What a simulation found wrong: a stale read, two writers, a thread that never ends.
pub fn run(effort: Effort, progress: &mut dyn FnMut(&Progress)) -> Result<Report, String> {
    let on_two = || PolicyName::ALL.into_iter().filter(|policy| policy.siblings(2).is_some());
    let fabrics = |policy: PolicyName| {
        let sizes = effort.fabrics().iter().copied();
        sizes.filter(move |&instances| policy.siblings(instances).is_some())
    };
    let figures = on_two().count() * Case::ALL.len() * Size::ALL.len() * ITERATIONS.len();
    let sizes: usize = PolicyName::ALL.iter().map(|&policy| fabrics(policy).count()).sum();
    let scales = Pattern::ALL.len() * sizes;
    let windows = Window::ALL.len() * ITERATIONS.len();
    let total = figures + scales + windows + AHEADS.len();
    let mut done = 0;
    let mut tell = |what: String| {
        progress(&Progress { done, total, what });
        done += 1;
    };
    let mut rows = vec![];
    for policy in on_two() {
        for case in Case::ALL {
            for size in Size::ALL {
                for iterations in ITERATIONS {
                    let name = format!("{}, {}", case.name(), size.name());
                    tell(format!("figure 7: {} {name} x {iterations}", policy.name()));
                    let tallies = tallies(effort, |seed| {
                        figure7::run_case(policy, case, size, iterations, seed)
                    })?;
                    figure_rows(&mut rows, policy.name(), &name, iterations, &tallies);
                }
            }
        }
    }
    for pattern in Pattern::ALL {
        for policy in PolicyName::ALL {
            for nodes in fabrics(policy) {
                tell(format!("{}: {} on {nodes} instances", policy.name(), pattern.name()));
                let rounds = if nodes > 64 { 4 } else { 12 };
                let tallies =
                    tallies(effort, |seed| run_pattern(policy, pattern, nodes, rounds, seed))?;
                scale_rows(&mut rows, policy.name(), pattern.name(), nodes, &tallies);
            }
        }
    }
    for window in Window::ALL {
        for iterations in ITERATIONS {
            tell(format!("ping-pong x {iterations}, {}", window.name()));
            let tallies =
                tallies(effort, |seed| adaptive::ping_pong(window, iterations * 10, seed))?;
            let totals: Vec<f64> = tallies.iter().map(|t| t.total() as f64).collect();
            let label = Label {
                topology: "x86_64+x86_64".into(),
                name: format!("two writers of one page, {}", window.name()),
                unit: "messages",
                policy: window.policy(),
                group: "ping-pong",
                x: iterations * 10,
            };
            rows.extend(Row::new(label, &totals));
        }
    }
    for ahead in AHEADS {
        tell(format!("shared: {ahead} neighbouring mappings"));
        let tallies = tallies(effort, |seed| run_ahead(256, ahead, seed))?;
        let totals: Vec<f64> = tallies.iter().map(|t| t.total() as f64 / 256.0).collect();
        let label = Label {
            topology: "x86_64*2".into(),
            name: "256 pages read in order: messages per page".into(),
            unit: "messages",
            policy: PolicyName::Shared.name(),
            group: "prefetch",
            x: u32::from(ahead),
        };
        rows.extend(Row::new(label, &totals));
    }
    Ok(Report { bench: "coherence", host: Host::this(), rows })
}

fn tallies(
    effort: Effort,
    mut run: impl FnMut(u64) -> Result<Tally, String>,
) -> Result<Vec<Tally>, String> {
    (1..=effort.seeds())
        .map(|seed| run(seed).map_err(|error| format!("seed {seed}: {error}")))
        .collect()
}

fn figure_rows(
    rows: &mut Vec<Row>,
    policy: &'static str,
    name: &str,
    iterations: u32,
    tallies: &[Tally],
) {
    let mut kinds: Vec<&'static str> =
        tallies.iter().flat_map(|t| t.messages.keys().copied()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds.into_iter().chain(["all"]) {
        let count = |t: &Tally| if kind == "all" { t.total() } else { t.of(kind) } as f64;
        let values: Vec<f64> = tallies.iter().map(count).collect();
        let label = Label {
            topology: "x86_64+x86_64".into(),
            name: format!("{name}: {kind}"),
            unit: "messages",
            policy,
            group: "figure 7",
            x: iterations,
        };
        rows.extend(Row::new(label, &values));
    }
}

fn scale_rows(
    rows: &mut Vec<Row>,
    policy: &'static str,
    pattern: &str,
    nodes: usize,
    tallies: &[Tally],
) {
    let per_miss = |count: fn(&Tally) -> u64| -> Vec<f64> {
        tallies.iter().map(|t| count(t) as f64 / t.misses().max(1) as f64).collect()
    };
    for (what, unit, values) in [
        ("messages per miss", "messages", per_miss(Tally::total)),
        ("bytes per miss", "bytes", per_miss(|t| t.bytes)),
    ] {
        let label = Label {
            topology: format!("{nodes} instances"),
            name: format!("{pattern}: {what}"),
            unit,
            policy,
            group: "scale",
            x: nodes as u32,
        };
        rows.extend(Row::new(label, &values));
    }
}
