//! What a move costs by how many frames are on the stack.
//!
//! One program moves in place: all frames are saved, and each is entered again, but nothing is sent.
//! Its polls are off, so that it moves where it says and nowhere else. The other moves to and fro
//! between two machines, and says what it was waiting for.

use std::time::Duration;

use anyhow::{Context, bail};

use super::super::{Effort, Row, Series, printed};
use super::tools::{Build, Moves, Tools};
use crate::run::RunConfig;
use crate::topology::Topology;
use crate::workspace::Workspace;

/// Frames on the stack.
const FRAMES: [u32; 4] = [1, 10, 100, 1000];

/// Measures moves of every depth.
pub(super) fn measure(
    tools: &Tools,
    topology: &Topology,
    effort: Effort,
) -> anyhow::Result<Vec<Row>> {
    let source = tools.sources.join("moves.c").display().to_string();
    let program = tools.build(Build::Fixed, "moves", &[source])?;
    let rounds = if effort == Effort::Full { 200 } else { 20 };
    let mut rows = Vec::new();
    for frames in FRAMES {
        let arguments = |rounds: u32| [frames.to_string(), rounds.to_string()];
        // What the first round costs more (pages, start and end of the program) is not the move's.
        let few = tools.count(&program, &arguments(2), Moves::InPlace)?.instructions;
        let many = tools.count(&program, &arguments(12), Moves::InPlace)?.instructions;
        let mut push = |name: &str, unit: &str, policy: &str, samples: &[f64]| {
            rows.extend(row(topology, (name, unit, "moves by frames", policy), frames, samples));
        };
        push("instructions of a move", "instructions", "whole", &[(many - few) / 10.0]);
        if tools.is_native() {
            let text = tools.run(&program, &arguments(rounds + 1))?;
            let (save, resume) = read(&text)?;
            push("time of a move", "µs", "save, and enter the innermost", &save);
            push("time of a move", "µs", "enter the others", &resume);
        }
    }
    Ok(rows)
}

fn row(
    topology: &Topology,
    (name, unit, group, policy): (&str, &str, &str, &str),
    frames: u32,
    samples: &[f64],
) -> Option<Row> {
    let mut row = Row::from_samples(topology, name, unit, samples)?;
    let (group, policy) = (group.to_owned(), policy.to_owned());
    row.series = Some(Series { group, policy, x: f64::from(frames) });
    Some(row)
}

/// Longest time for one run: two emulated machines on a busy host.
const LIMIT: Duration = Duration::from_secs(120);

/// Measures moves between two machines of every depth.
pub(super) fn between(
    tools: &Tools,
    topology: &Topology,
    effort: Effort,
    workspace: &Workspace,
    progress: &mut dyn FnMut(f64),
) -> anyhow::Result<Vec<Row>> {
    let source = tools.sources.join("travel.c").display().to_string();
    let program = tools.build(Build::Movable, "travel", &[source])?.with_extension("");
    let program = program.to_str().context("a path that is no text")?;
    let rounds = if effort == Effort::Full { 100 } else { 15 };
    let mut rows = Vec::new();
    for (number, frames) in (1_u32..).zip(FRAMES) {
        let arguments = [frames.to_string(), (rounds + 1).to_string()];
        let config = RunConfig::new(topology.clone(), program).arguments(arguments);
        let moves = read_travel(&printed(config.timeout(LIMIT).patient(), workspace)?)?;
        let mut from: Vec<_> = moves.iter().map(|each| each.from.as_str()).collect();
        from.sort_unstable();
        from.dedup();
        for from in from {
            let name = format!("time of a move from {from}");
            for (policy, part) in Travel::PARTS {
                let samples: Vec<f64> =
                    moves.iter().filter(|each| each.from == from).map(part).collect();
                let figure = (name.as_str(), "µs", "moves between machines by frames", policy);
                rows.extend(row(topology, figure, frames, &samples));
            }
        }
        progress(f64::from(number) / FRAMES.len() as f64);
    }
    Ok(rows)
}

/// A move between two machines; times are in microseconds.
#[derive(Debug, PartialEq)]
struct Travel {
    from: String,
    /// Until the innermost frame went on.
    whole: f64,
    /// Then, until all others had gone on and returned.
    others: f64,
    save: f64,
    resume: f64,
}

/// A part of a move by its name.
type Part = (&'static str, fn(&Travel) -> f64);

impl Travel {
    const PARTS: [Part; 5] = [
        ("whole, until the innermost frame goes on", |each| each.whole),
        ("save", |each| each.save),
        ("transfer", |each| each.whole - each.save - each.resume),
        ("resume", |each| each.resume),
        ("then enter the others", |each| each.others),
    ];

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let from = fields.next()?.to_owned();
        let mut next = || fields.next()?.parse::<f64>().ok().map(|ns| ns / 1000.0);
        let moved = Self { from, whole: next()?, others: next()?, save: next()?, resume: next()? };
        fields.next().is_none().then_some(moved)
    }
}

/// Each move but the first one of either direction.
fn read_travel(text: &str) -> anyhow::Result<Vec<Travel>> {
    let parse = |line| Travel::parse(line).with_context(|| format!("a line that is none: {line}"));
    let moves = text.lines().skip(2).map(parse).collect::<anyhow::Result<Vec<_>>>()?;
    if moves.is_empty() {
        bail!("no move was measured");
    }
    Ok(moves)
}

/// Microseconds of each round but the first.
fn read(text: &str) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let mut times = (Vec::new(), Vec::new());
    for line in text.lines().skip(1) {
        let (save, resume) = line.split_once(' ').context("a line of one number")?;
        times.0.push(save.parse::<f64>()? / 1000.0);
        times.1.push(resume.parse::<f64>()? / 1000.0);
    }
    if times.0.is_empty() {
        bail!("no round was measured");
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_read_with_their_parts() {
        let text = "x86_64 9 9 9 9\naarch64 9 9 9 9\nx86_64 90000 2000 10000 20000\n";
        let moves = read_travel(text).unwrap();
        let parts: Vec<f64> = Travel::PARTS.iter().map(|(_, part)| part(&moves[0])).collect();
        assert_eq!((moves.len(), parts), (1, vec![90.0, 10.0, 60.0, 20.0, 2.0]));
        assert!(read_travel("x86_64 9 9 9 9\naarch64 9 9 9 9\n").is_err());
        assert!(read_travel("\n\nx86_64 1 2 3\n").is_err());
        assert!(read_travel("\n\nx86_64 1 2 3 4 5\n").is_err());
    }

    #[test]
    fn the_first_round_is_left_out() {
        assert_eq!(read("9000 9000\n1500 250\n").unwrap(), (vec![1.5], vec![0.25]));
        assert!(read("9000 9000\n").is_err());
        assert!(read("1 1\nx\n").is_err());
    }
}
