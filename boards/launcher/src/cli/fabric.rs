//! `run` and `shell`.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use maize_hostlink::boot::{Coherence, Console, Isa, Placement, Sharing};
use maize_launcher::input::Input;
use maize_launcher::machine::GdbStart;
use maize_launcher::memory_size::MemorySize;
use maize_launcher::placement;
use maize_launcher::ramdisk::GuestFile;
use maize_launcher::root::Root;
use maize_launcher::run::{self, Ending, RunConfig, RunOutcome};
use maize_launcher::signals::Signals;
use maize_launcher::sink::Destination;
use maize_launcher::stats_report;
use maize_launcher::terminal::window_size;
use maize_launcher::topology::Topology;
use maize_launcher::tour;
use maize_launcher::workspace::Workspace;

use super::output::OutputFile;

/// What `run` and `shell` have in common.
#[derive(Debug, Args)]
struct FabricOptions {
    /// Machines: ISA or ISA*N joined by +, such as x86_64+aarch64 or x86_64*4; or a TOML file [default:
    /// x86_64; x86_64+aarch64 without a program].
    #[arg(long, short = 'T', value_parser = topology)]
    topology: Option<Topology>,
    /// Memory of each machine.
    #[arg(long, short, default_value_t = MemorySize::DEFAULT, value_name = "SIZE")]
    memory: MemorySize,
    /// Where new threads go: where their creator is (local), to all CPUs that the program has a file
    /// for in turn (spread), or to those of a list of global CPU numbers in turn, such as 0,2-3. Or where
    /// the phases that a program names by maize_phase() are measured to be faster (fastest).
    #[arg(long, default_value = "local", value_name = "local|spread|fastest|LIST",
          value_parser = placement::parse_threads)]
    place: placement::Threads,
    /// How instances keep the pages of a process coherent.
    #[arg(long, value_enum, default_value_t = Policy::Directory)]
    coherence: Policy,
    /// Pages that a page which is read may bring along at the most.
    #[arg(long, default_value = "4", value_name = "0|1|4|8",
          value_parser = PossibleValuesParser::new(["0", "1", "4", "8"]).try_map(|n| n.parse::<u8>()))]
    prefetch: u8,
    /// Whether pages that two machines write in turn move into the memory that both see.
    #[arg(long, value_enum, default_value_t = Switch::On, value_name = "on|off")]
    promote: Switch,
    /// Move a thread to a random CPU at every N-th trap of the program, for tests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    migrate_every: Option<u32>,
    /// Where processes live that run a new program: where they are (local), on all CPUs of the
    /// program's instruction set in turn (spread), or on those of a list in turn.
    #[arg(long, default_value = "local", value_name = "local|spread|LIST",
          value_parser = placement::parse)]
    homes: Placement,
    /// Move a process to a random other home at every N-th trap that reaches its home, for tests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    move_processes_every: Option<u32>,
    /// Move threads from crowded CPUs to idle ones.
    #[arg(long)]
    balance: bool,
    /// Put a file or directory of the host into the root file system.
    #[arg(long = "file", value_name = "HOST:GUEST")]
    files: Vec<GuestFile>,
    /// Root file system: a directory, or an uncompressed newc cpio archive [default: busybox].
    #[arg(long, value_name = "DIR|CPIO")]
    root: Option<PathBuf>,
    /// Environment of the program, added to PATH, HOME and USER.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<OsString>,
    /// Working directory in the guest.
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// End with status 124 after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Silence in seconds after which instances give one up: more where the host has other work that may
    /// keep a machine waiting [default: 1.8].
    #[arg(long, value_name = "SECONDS", value_parser = patience)]
    dead_after: Option<Duration>,
    /// Write the kernels' consoles to a file.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Show the kernels' consoles on standard error.
    #[arg(long, short)]
    verbose: bool,
    /// Show the kernels' counters on standard error at the end.
    #[arg(long)]
    stats: bool,
    /// Write the kernels' counters to a JSON file.
    #[arg(long, value_name = "FILE")]
    stats_json: Option<PathBuf>,
    /// Write what all instances did to a JSON file for Perfetto or Chrome's tracing page.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write how many blocks of code the machines executed, by function of their kernels, to a file. The
    /// programs run more slowly.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Start a machine again that ends before the program does, unless it is the program's.
    #[arg(long)]
    restart_machines: bool,
    /// Open a debugger's port on each machine, for `./maize gdb`; it waits for one, or runs.
    #[arg(long, value_name = "START", num_args = 0..=1, require_equals = true,
          default_missing_value = "wait")]
    gdb: Option<Start>,
    /// Only show the commands that would start the machines.
    #[arg(long)]
    dry_run: bool,
    /// Runs in place of QEMU.
    #[arg(long, hide = true, value_name = "PROGRAM")]
    emulator: Option<PathBuf>,
    /// Runs in place of the built kernel.
    #[arg(long, hide = true, value_name = "FILE")]
    kernel: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Start {
    /// Wait for the debugger before the first instruction.
    Wait,
    /// Start at once.
    Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    /// Each page is ordered by the instance that its object comes from.
    Directory,
    /// The published Popcorn protocol.
    Voting,
}

/// Options of `run`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: the program's (128 + N if signal N killed it); \
    124: time-out; 125: a machine failed, its console is shown; 2: wrong usage.")]
pub(crate) struct RunOptions {
    #[command(flatten)]
    fabric: FabricOptions,
    /// Give the program a terminal: standard input becomes raw.
    #[arg(long, short)]
    tty: bool,
    /// Program: a path in the root file system, or a file of the host, which is copied to
    /// /usr/local/bin; with both files of what maize-cc made. Without one: a tour of threads that move
    /// between instruction sets.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// Options of `shell`.
#[derive(Debug, Args)]
pub(crate) struct ShellOptions {
    #[command(flatten)]
    fabric: FabricOptions,
    /// Arguments of /bin/sh.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub(super) fn topology(text: &str) -> Result<Topology, String> {
    Topology::from_argument(text).map_err(|error| error.to_string())
}

fn variable(text: &str) -> Result<OsString, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.into()),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    let limit = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if limit.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(limit) }
}

/// Whoever is heard every 100 ms is not dead because of one or two of them.
fn patience(text: &str) -> Result<Duration, String> {
    let patience = seconds(text)?;
    let least = Duration::from_millis(500);
    if patience < least { Err("must be at least 0.5".to_owned()) } else { Ok(patience) }
}

impl RunOptions {
    pub(crate) fn execute(self, workspace: &Workspace) -> anyhow::Result<u8> {
        let mut words = self.program.into_iter();
        let Some(program) = words.next() else {
            let mut fabric = self.fabric;
            fabric.topology.get_or_insert_with(tour::topology);
            let program = tour::build(workspace)?.into_os_string();
            return fabric.execute(program, Vec::new(), self.tty, workspace);
        };
        self.fabric.execute(program, words.collect(), self.tty, workspace)
    }
}

impl ShellOptions {
    pub(crate) fn execute(self, workspace: &Workspace) -> anyhow::Result<u8> {
        let mut arguments = vec!["-l".into()];
        arguments.extend(self.arguments);
        let tty = std::io::stdin().is_terminal();
        self.fabric.execute("/bin/sh".into(), arguments, tty, workspace)
    }
}

impl FabricOptions {
    fn execute(
        self,
        program: OsString,
        arguments: Vec<OsString>,
        tty: bool,
        workspace: &Workspace,
    ) -> anyhow::Result<u8> {
        let (stats, dry_run) = (self.stats, self.dry_run);
        let (stats_json, trace) = (self.stats_json.clone(), self.trace.clone());
        let profile = self.profile.clone();
        let config = self.config(program, arguments, tty)?;
        if dry_run {
            for line in run::dry_run(&config, workspace)? {
                println!("{line}");
            }
            return Ok(0);
        }
        // A program is not run for figures that could not be written.
        let stats_json = stats_json.map(OutputFile::create).transpose()?;
        let trace = trace.map(OutputFile::create).transpose()?;
        let profile = profile.map(OutputFile::create).transpose()?;
        let outcome = run::run(config, workspace)?;
        if let Some(file) = stats_json {
            file.write(&stats_report::json(&outcome.stats))?;
        }
        if let (Some(file), Some(timeline)) = (trace, &outcome.timeline) {
            file.write(timeline)?;
        }
        match (profile, &outcome.profile) {
            (Some(file), Some(Ok(table))) => file.write(table)?,
            (_, Some(Err(error))) => eprintln!("maize: {error}"),
            _ => {}
        }
        if stats {
            eprint!("{}", stats_report::table(&outcome.stats));
        }
        explain(&outcome);
        Ok(outcome.ending.status())
    }

    fn config(
        self,
        program: OsString,
        arguments: Vec<OsString>,
        tty: bool,
    ) -> anyhow::Result<RunConfig> {
        let Ok(program) = program.into_string() else { bail!("the program's name is not UTF-8") };
        let topology = self.topology.unwrap_or_else(|| Topology::single(Isa::X86_64));
        if let Err(error) = placement::check(&self.place.placement(), &topology) {
            super::wrong_usage(ErrorKind::ValueValidation, &format!("--place: {error}"));
        }
        if let Err(error) = placement::check(&self.homes, &topology) {
            super::wrong_usage(ErrorKind::ValueValidation, &format!("--homes: {error}"));
        }
        let mut config = RunConfig::new(topology, program)
            .arguments(arguments.iter().map(|argument| argument.as_bytes()));
        config.memory = self.memory;
        config.sharing = Sharing {
            placement: self.place.placement(),
            coherence: match self.coherence {
                Policy::Directory => Coherence::Directory,
                Policy::Voting => Coherence::Voting,
            },
            migrate_every: self.migrate_every.unwrap_or(0),
            homes: self.homes,
            move_processes_every: self.move_processes_every.unwrap_or(0),
            balance: self.balance,
            prefetch: self.prefetch,
            promote: self.promote == Switch::On,
        };
        config.files = self.files;
        config.root = self.root.map_or_else(Root::default, Root::from_path);
        if self.place == placement::Threads::Fastest {
            config.environment.push(placement::FASTEST.into());
        }
        config.environment.extend(self.env.into_iter().map(OsStringExt::into_vec));
        config.directory = self.cwd.unwrap_or_else(|| "/".to_owned());
        config.timeout = self.timeout;
        config.dead_after = self.dead_after.unwrap_or(run::DEAD_AFTER);
        config.log = self.log;
        config.verbose = self.verbose;
        config.stats = self.stats || self.stats_json.is_some();
        config.trace = self.trace.is_some();
        config.profile = self.profile.is_some();
        config.restart_machines = self.restart_machines;
        config.gdb = self.gdb.map(|start| match start {
            Start::Wait => GdbStart::Wait,
            Start::Run => GdbStart::Run,
        });
        config.emulator = self.emulator;
        config.kernel = self.kernel;
        let input = std::io::stdin().as_fd().try_clone_to_owned().context("standard input")?;
        if tty {
            if !std::io::stdin().is_terminal() {
                bail!("standard input is no terminal");
            }
            config.console = Console::Terminal(window_size(&input));
            let term = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
            config.environment.push(format!("TERM={term}").into_bytes());
        }
        config.input = Input::descriptor(input);
        let stdout = std::io::stdout().as_fd().try_clone_to_owned().context("standard output")?;
        config.stdout = Destination::Descriptor(stdout);
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().context("standard error")?;
        config.stderr = Destination::Descriptor(stderr);
        config.signals = Some(Signals::catch().context("signals")?);
        Ok(config)
    }
}

/// Says on standard error why a run did not end as a program does.
fn explain(outcome: &RunOutcome) {
    let reason = match &outcome.ending {
        Ending::Exited(_) | Ending::Interrupted(_) | Ending::Dismissed => return,
        Ending::TimedOut => "the time is up",
        Ending::FabricFailed(reason) => reason,
    };
    let mut text = String::new();
    for console in &outcome.consoles {
        text.push_str(console);
    }
    text.push_str(&format!("maize: {reason}\n"));
    // If standard error is closed, nobody wants to know.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
