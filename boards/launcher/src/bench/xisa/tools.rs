//! Compilers and emulators that the benchmark uses.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use maize_hostlink::boot::Isa;

use crate::command::output;
use crate::compiler::Compiler;
use crate::plugin;
use crate::workspace::Workspace;

/// What compiles, runs and counts.
#[derive(Debug)]
pub(super) struct Tools {
    /// The instruction set that is measured.
    pub(super) isa: Isa,
    /// Where programs are built.
    pub(super) folder: PathBuf,
    /// Sources of the benchmark's own programs.
    pub(super) sources: PathBuf,
    /// Sources of foreign programs.
    pub(super) foreign: PathBuf,
    compiler: Compiler,
    counter: PathBuf,
}

/// Which of a program's builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    /// By clang, for the instruction set.
    Clang,
    /// By `maize-cc`, with nothing in it that moves.
    Fixed,
    /// By `maize-cc`.
    Movable,
}

/// Whether a program moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    /// No.
    None,
    /// At each of its points, to where it is.
    InPlace,
}

/// What `MAIZE_MIGRATE` is for that.
const EVERY_POINT: &str = "self:1";

impl Tools {
    /// Builds what is missing.
    pub(super) fn set_up(workspace: &Workspace, isa: Isa) -> anyhow::Result<Self> {
        let root = workspace.root();
        output(workspace.cargo().args(["build", "--quiet", "--package", "maize-cc"]))?;
        let folder = workspace.target().join("xisa-bench");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let sources = root.join("compiler-plugin/cc/tests/bench");
        let counter = folder.join("count.so");
        plugin::build(&sources.join("count.c"), &counter)?;
        Ok(Self {
            isa,
            folder,
            sources,
            foreign: workspace.cache().join("xisa/foreign"),
            compiler: Compiler::of(workspace),
            counter,
        })
    }

    /// Compiles and links a program if it is not there yet, and says where it is.
    pub(super) fn build(
        &self,
        build: Build,
        name: &str,
        arguments: &[String],
    ) -> anyhow::Result<PathBuf> {
        let isa = self.isa.name();
        let file = match build {
            Build::Clang => self.folder.join(format!("{name}.clang.{isa}")),
            Build::Fixed => self.folder.join(format!("{name}.fixed")),
            Build::Movable => self.folder.join(name),
        };
        let mut command = match build {
            Build::Clang => {
                let mut clang = Command::new("clang-22");
                let target = format!("--target={isa}-linux-gnu");
                clang.args([&target, "-fuse-ld=lld", "-static", "-ffp-contract=off"]);
                clang
            }
            Build::Fixed | Build::Movable => {
                let mut ours = self.compiler.command();
                if build == Build::Fixed {
                    ours.arg("--polls=none");
                }
                ours
            }
        };
        let mut program = file.clone().into_os_string();
        if build != Build::Clang {
            program.push(format!(".{isa}"));
        }
        let program = PathBuf::from(program);
        if !self.is_current(&program, arguments) {
            output(command.args(["-O2", "-w"]).args(arguments).arg("-lm").arg("-o").arg(&file))?;
        }
        Ok(program)
    }

    /// Whether a program is there and what it is made of has not changed since: one link makes the
    /// files of both instruction sets.
    fn is_current(&self, program: &Path, arguments: &[String]) -> bool {
        let changed = |path: &Path| path.metadata().and_then(|facts| facts.modified()).ok();
        let Some(made) = changed(program) else { return false };
        let sources = arguments.iter().map(Path::new).filter(|path| path.is_file());
        let stamp = self.compiler.set_up_stamp();
        let mut made_of = sources.chain([self.compiler.program(), &stamp]);
        made_of.all(|path| changed(path).is_some_and(|at| at < made))
    }

    /// Runs a program that stays where it is, or moves in place at each of its points, and counts its
    /// instructions.
    pub(super) fn count(
        &self,
        program: &Path,
        arguments: &[String],
        moves: Moves,
    ) -> anyhow::Result<Counted> {
        let mut command = Command::new(format!("qemu-{}", self.isa.name()));
        command.arg("-plugin").arg(&self.counter).arg(program).args(arguments);
        if moves == Moves::InPlace {
            command.env("MAIZE_MIGRATE", EVERY_POINT);
        }
        let (text, errors) = output(&mut command)?;
        let count = errors.lines().find_map(|line| line.strip_prefix("instructions "));
        let instructions = count.and_then(|count| count.parse().ok());
        Ok(Counted { text, instructions: instructions.context("the emulator did not count")? })
    }

    /// The text that a program prints on the host that moves in place at each of its points.
    pub(super) fn run(&self, program: &Path, arguments: &[String]) -> anyhow::Result<String> {
        Ok(output(Command::new(program).args(arguments).env("MAIZE_MIGRATE", EVERY_POINT))?.0)
    }

    /// Whether programs of the instruction set run on the host itself.
    pub(super) fn is_native(&self) -> bool {
        self.isa.name() == std::env::consts::ARCH
    }

    /// Bytes of functions of a program: those that run, and those that are entered after moves only.
    pub(super) fn text_bytes(&self, program: &Path) -> anyhow::Result<(f64, f64)> {
        let mut list = Command::new("llvm-nm-22");
        list.args(["--defined-only", "--print-size", "--format=posix"]).arg(program);
        Ok(text_bytes(&output(&mut list)?.0))
    }
}

/// What a program did in the emulator.
#[derive(Debug)]
pub(super) struct Counted {
    /// What it printed.
    pub(super) text: String,
    /// Its instructions.
    pub(super) instructions: f64,
}

/// Adds up the sizes in a list of symbols: functions, and what is only for moves: resume clones, and
/// what polls jump to.
fn text_bytes(list: &str) -> (f64, f64) {
    let (mut hot, mut cold) = (0.0, 0.0);
    for line in list.lines() {
        let [name, "t" | "T", _, size] = line.split(' ').collect::<Vec<_>>()[..] else { continue };
        let bytes = u64::from_str_radix(size, 16).unwrap_or(0) as f64;
        let is_cold = name.ends_with(".resume") || name.ends_with(".poll");
        *(if is_cold { &mut cold } else { &mut hot }) += bytes;
    }
    (hot, cold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_clones_are_added_up() {
        let list = "main T 810000 20\nmain.resume t 820000 100\ndata D 900000 8\nlist t 810040 10\n\
             main.3.poll t 821000 40\n";
        assert_eq!(text_bytes(list), (48.0, 320.0));
    }
}
