//! What a move costs by how many frames are on the stack.
//!
//! The program moves in place: all frames are saved, and each is entered again, but nothing is sent.
//! Its polls are off, so that it moves where it says and nowhere else.

use anyhow::{Context, bail};

use super::super::{Effort, Row, Series};
use super::tools::{Build, Moves, Tools};
use crate::topology::Topology;

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
            if let Some(mut row) = Row::from_samples(topology, name, unit, samples) {
                let (group, policy) = ("moves by frames".to_owned(), policy.to_owned());
                row.series = Some(Series { group, policy, x: f64::from(frames) });
                rows.push(row);
            }
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
    fn the_first_round_is_left_out() {
        assert_eq!(read("9000 9000\n1500 250\n").unwrap(), (vec![1.5], vec![0.25]));
        assert!(read("9000 9000\n").is_err());
        assert!(read("1 1\nx\n").is_err());
    }
}
