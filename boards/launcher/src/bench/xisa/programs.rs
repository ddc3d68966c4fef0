//! The programs, and what each of them costs.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};

use super::super::{Effort, Row};
use super::Means;
use super::tools::{Build, Moves, Tools};
use crate::topology::Topology;

/// A program of the benchmark.
#[derive(Debug)]
pub(super) struct Program {
    name: &'static str,
    /// Foreign sources that it is linked with.
    foreign: &'static [&'static str],
    /// Its argument where instructions are counted: some millions.
    counted: u32,
    /// Its argument where time is measured: a tenth of a second or more.
    timed: u32,
}

const fn own(name: &'static str, counted: u32, timed: u32) -> Program {
    Program { name, foreign: &[], counted, timed }
}

const BZIP2: [&str; 7] = [
    "bzip2/blocksort.c",
    "bzip2/huffman.c",
    "bzip2/crctable.c",
    "bzip2/randtable.c",
    "bzip2/compress.c",
    "bzip2/decompress.c",
    "bzip2/bzlib.c",
];

/// All of them.
pub(super) const PROGRAMS: &[Program] = &[
    own("ep", 100_000, 3_000_000),
    own("fib", 24, 36),
    own("is", 10, 2000),
    own("cg", 3, 150),
    own("mg", 2, 100),
    own("sort", 4000, 200_000),
    own("tree", 12, 18),
    own("sha256", 1500, 60_000),
    Program { name: "json", foreign: &["cjson/cJSON.c"], counted: 150, timed: 10_000 },
    Program { name: "pack", foreign: &BZIP2, counted: 1, timed: 20 },
];

/// A program in its three builds.
pub(super) struct Built {
    program: &'static Program,
    clang: PathBuf,
    fixed: PathBuf,
    movable: PathBuf,
}

impl Built {
    pub(super) fn new(program: &'static Program, tools: &Tools) -> anyhow::Result<Self> {
        let own = tools.sources.join(format!("{}.c", program.name));
        let foreign = program.foreign.iter().map(|file| tools.foreign.join(file));
        let mut arguments: Vec<String> =
            [own].into_iter().chain(foreign).map(|file| file.display().to_string()).collect();
        for folder in ["cjson", "bzip2"] {
            arguments.push(format!("-I{}", tools.foreign.join(folder).display()));
        }
        let build = |which| tools.build(which, program.name, &arguments);
        Ok(Self {
            program,
            clang: build(Build::Clang)?,
            fixed: build(Build::Fixed)?,
            movable: build(Build::Movable)?,
        })
    }

    /// Every figure of the program.
    pub(super) fn measure(
        &self,
        tools: &Tools,
        topology: &Topology,
        effort: Effort,
        means: &mut Means,
    ) -> anyhow::Result<Vec<Row>> {
        let name = self.program.name;
        let argument = [self.program.counted.to_string()];
        let count = |file| tools.count(file, &argument, Moves::None);
        let [clang, fixed, movable] =
            [count(&self.clang)?, count(&self.fixed)?, count(&self.movable)?];
        if clang.text != movable.text || clang.text != fixed.text {
            bail!("{name} gives {:?} by clang, but {:?}", clang.text, movable.text);
        }
        let mut rows = Vec::new();
        let mut push = |figure: &'static str, samples: &[f64], more: &[(&str, f64)]| {
            let row = Row::from_samples(topology, format!("{name}: {figure}"), "ratio", samples);
            if let Some(mut row) = row {
                row.more.extend(more.iter().map(|(name, value)| ((*name).to_owned(), *value)));
                means.add(figure, row.median);
                rows.push(row);
            }
        };
        let counts = [
            ("clang", clang.instructions),
            ("fixed", fixed.instructions),
            ("movable", movable.instructions),
        ];
        push("instructions to clang", &[movable.instructions / clang.instructions], &counts);
        push("instructions to fixed", &[movable.instructions / fixed.instructions], &[]);
        let (hot, clones) = tools.text_bytes(&self.movable)?;
        let (fixed_hot, _) = tools.text_bytes(&self.fixed)?;
        let text = [("functions", hot), ("clones", clones), ("fixed", fixed_hot)];
        push("functions' bytes to fixed", &[hot / fixed_hot], &text);
        let bytes = |file: &PathBuf| -> anyhow::Result<f64> {
            let facts = std::fs::metadata(file).with_context(|| file.display().to_string())?;
            Ok(facts.len() as f64)
        };
        push("file's bytes to fixed", &[bytes(&self.movable)? / bytes(&self.fixed)?], &[]);
        if tools.is_native() {
            let (to_clang, to_fixed) = self.times(effort)?;
            push("time to clang", &to_clang, &[]);
            push("time to fixed", &to_fixed, &[]);
        }
        Ok(rows)
    }

    /// Times of runs, one after the other in turns: ratios to clang's and to the fixed one's.
    fn times(&self, effort: Effort) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
        let rounds = if effort == Effort::Full { 7 } else { 2 };
        let time = |file: &PathBuf| -> anyhow::Result<f64> {
            let mut command = std::process::Command::new(file);
            command.arg(self.program.timed.to_string()).stdout(std::process::Stdio::null());
            let start = Instant::now();
            let status = command.status().with_context(|| file.display().to_string())?;
            let taken = start.elapsed().as_secs_f64();
            if status.success() {
                Ok(taken)
            } else {
                bail!("{} ended with {status}", file.display())
            }
        };
        let (mut to_clang, mut to_fixed) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let [clang, fixed, movable] =
                [time(&self.clang)?, time(&self.fixed)?, time(&self.movable)?];
            to_clang.push(movable / clang);
            to_fixed.push(movable / fixed);
        }
        Ok((to_clang, to_fixed))
    }
}
