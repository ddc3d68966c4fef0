//! Verbs and options, and what each verb does with the library.

mod bench;
mod fabric;
mod output;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use maize_launcher::checks::{self, Length};
use maize_launcher::workspace::Workspace;
use maize_launcher::{doctor, gdb};

/// One program, many kernels, two instruction sets.
#[derive(Debug, Parser)]
#[command(name = "maize", bin_name = "./maize", version, max_term_width = 100)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a program on a fabric; its streams and exit status are this command's.
    Run(fabric::RunOptions),
    /// An interactive shell on a fabric.
    Shell(fabric::ShellOptions),
    /// Measure, beside something to compare with.
    Bench(bench::BenchOptions),
    /// Every check that CI runs, or some groups of them.
    Test(TestOptions),
    /// What this machine lacks, and what would install it.
    Doctor,
    /// Attach a debugger to a machine that `run --gdb` or `shell --gdb` started.
    Gdb(GdbOptions),
}

#[derive(Debug, Args)]
struct GdbOptions {
    /// Number of the machine in its fabric.
    #[arg(default_value_t = 0)]
    machine: usize,
    /// Arguments for the debugger.
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Args)]
struct TestOptions {
    /// Groups [default: all].
    groups: Vec<String>,
    /// Also run what takes long.
    #[arg(long)]
    long: bool,
    /// Only show which groups there are.
    #[arg(long)]
    list: bool,
}

impl TestOptions {
    fn execute(&self, workspace: &Workspace) -> anyhow::Result<u8> {
        let groups = checks::select(&self.groups)
            .unwrap_or_else(|unknown| wrong_usage(ErrorKind::InvalidValue, &unknown.to_string()));
        if self.list {
            for group in groups {
                println!("{:14} {}", group.name, group.about);
            }
            return Ok(0);
        }
        let length = if self.long { Length::Long } else { Length::Usual };
        let passed = checks::run_all(&groups, length, workspace, &mut std::io::stdout())?;
        Ok(u8::from(!passed))
    }
}

/// Ends the process as for any other wrong command line: with status 2, and says why.
fn wrong_usage(kind: ErrorKind, why: &str) -> ! {
    Command::command().error(kind, why).exit()
}

impl Command {
    /// Reads the command line; a wrong one ends the process with status 2 and says why.
    pub(crate) fn parse_command() -> Self {
        Self::parse()
    }

    /// Does what was asked; the exit status.
    pub(crate) fn execute(self) -> anyhow::Result<u8> {
        let workspace = Workspace::find()?;
        match self.verb {
            Verb::Run(options) => options.execute(&workspace),
            Verb::Shell(options) => options.execute(&workspace),
            Verb::Bench(options) => options.execute(&workspace),
            Verb::Test(options) => options.execute(&workspace),
            Verb::Doctor => {
                let (text, well) = doctor::report(&doctor::examine(&workspace));
                print!("{text}");
                Ok(u8::from(!well))
            }
            Verb::Gdb(options) => {
                let status = gdb::attach(&workspace, options.machine, &options.arguments)?;
                Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }
}
