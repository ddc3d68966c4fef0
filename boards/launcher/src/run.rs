//! Runs one program on a fabric: what `maize run`, the tests and the benchmarks share.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use maize_hostlink::boot::{Console as ConsoleKind, Isa, Sharing};
use maize_hostlink::control::{Level, shell_status};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::console::ConsoleLog;
use crate::fabric_window::{FabricWindow, WindowError};
use crate::image::{ImageError, image_of};
use crate::input::Input;
use crate::live::Remote;
use crate::machine::GdbStart;
use crate::memory_size::MemorySize;
use crate::placement::PlacementError;
use crate::profile::Profiled;
use crate::ramdisk::{GuestFile, PATH, RamDiskError};
use crate::root::{Root, RootError};
use crate::session::{Session, SessionConfig};
use crate::signals::Signals;
use crate::sink::Destination;
use crate::starter::{Starter, entropy};
use crate::stats_report::FabricStats;
use crate::topology::Topology;
use crate::workspace::{self, BareBinary, Workspace, WorkspaceError};

/// Longest wait for the first byte on a console.
pub const FIRST_BYTE_LIMIT: Duration = Duration::from_secs(60);

/// Silence after which instances usually give a peer up.
pub const DEAD_AFTER: Duration = Duration::from_millis(1_800);

/// The same where no instance is to die: a host with other work to do may keep a machine waiting for seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Status of the launcher when the time was up.
pub const STATUS_TIMED_OUT: u8 = 124;

/// Status of the launcher when the fabric failed, or could not be started.
pub const STATUS_FABRIC_FAILED: u8 = 125;

/// What to run, on what, and what it is connected to.
#[derive(Debug)]
pub struct RunConfig {
    /// Machines.
    pub topology: Topology,
    /// Memory of each machine for which the topology does not say another; a machine with more than
    /// four instances gets more, see [`MemorySize::for_instances`].
    pub memory: MemorySize,
    /// How instances share the program's threads.
    pub sharing: Sharing,
    /// Root file system.
    pub root: Root,
    /// Files of the host to put into it.
    pub files: Vec<GuestFile>,
    /// Program: see [`Files::program`].
    pub program: String,
    /// Arguments after the program's name.
    pub arguments: Vec<Vec<u8>>,
    /// Environment, `NAME=value` each.
    pub environment: Vec<Vec<u8>>,
    /// Working directory in the guest.
    pub directory: String,
    /// What the standard streams are.
    pub console: ConsoleKind,
    /// Standard input.
    pub input: Input,
    /// Standard output.
    pub stdout: Destination,
    /// Standard error.
    pub stderr: Destination,
    /// Wall time from the start of the machines; not counted with a debugger.
    pub timeout: Option<Duration>,
    /// Silence after which instances give a peer up, on a host that has a core for each.
    pub dead_after: Duration,
    /// File that gets the consoles.
    pub log: Option<PathBuf>,
    /// Whether standard error gets the consoles.
    pub verbose: bool,
    /// Whether the kernels are asked for their counters.
    pub stats: bool,
    /// Whether instances write traces, of which [`RunOutcome::timeline`] is made.
    pub trace: bool,
    /// Whether what the machines execute is counted, for [`RunOutcome::profile`].
    pub profile: bool,
    /// Whether machines without the program that end are started again.
    pub restart_machines: bool,
    /// `Some`: no program runs, all instances wait for work. Unless it is empty it is the request to
    /// the kernels that exercise the fabric, which then run in place of the usual ones.
    pub exercise: Option<Vec<u8>>,
    /// Whether there is a debugger's port.
    pub gdb: Option<GdbStart>,
    /// Runs in place of QEMU, for tests of the launcher.
    pub emulator: Option<PathBuf>,
    /// Kernel in place of the built one, as QEMU loads it.
    pub kernel: Option<PathBuf>,
    /// Signals that end the run.
    pub signals: Option<Signals>,
    /// Who follows and steers the run from another thread, see [`crate::live`].
    pub remote: Option<Remote>,
}

/// What a run came to.
#[derive(Debug)]
pub struct RunOutcome {
    /// How it ended.
    pub ending: Ending,
    /// Captured standard output.
    pub stdout: Vec<u8>,
    /// Captured standard error.
    pub stderr: Vec<u8>,
    /// Transcript of each console, backtraces' functions named.
    pub consoles: Vec<String>,
    /// Reports of the kernels, in order.
    pub reports: Vec<(Level, String)>,
    /// Counters of each instance, if asked for.
    pub stats: FabricStats,
    /// The trace of all instances as Chrome's trace-event JSON, if asked for.
    pub timeline: Option<String>,
    /// What the machines executed, see [`crate::profile::Profiler::report`], or why that is not known; if asked for.
    pub profile: Option<Result<String, String>>,
    /// From the start of the first machine to the message before the first user instruction.
    pub ready: Option<Duration>,
    /// Steps of the boot by the kernel's clock: name, and nanoseconds since its entry.
    pub phases: Vec<(String, u64)>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The program ended with this `wait4` status.
    Exited(i32),
    /// The time was up.
    TimedOut,
    /// A machine ended or spoke nonsense.
    FabricFailed(String),
    /// The launcher got this signal.
    Interrupted(i32),
    /// Who steers the run has ended it.
    Dismissed,
}

impl Ending {
    /// The launcher's exit status.
    #[must_use]
    pub const fn status(&self) -> u8 {
        match self {
            Self::Exited(status) => shell_status(*status),
            Self::TimedOut => STATUS_TIMED_OUT,
            Self::FabricFailed(_) => STATUS_FABRIC_FAILED,
            Self::Dismissed => 0,
            Self::Interrupted(signal) => ((128 + *signal) & 0xff) as u8,
        }
    }
}

/// Why a run could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The window between the machines.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Where threads are to be placed.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The checkout.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The root file system.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The RAM disk.
    #[error(transparent)]
    RamDisk(#[from] RamDiskError),
    /// The kernel's image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The profiler.
    #[error("--profile: {0:#}")]
    Profile(anyhow::Error),
    /// QEMU.
    #[error("{0} could not be started: {1} (./maize doctor says what is missing)")]
    Start(String, std::io::Error),
    /// A kernel that was to say something did not.
    #[error("the kernel said nothing on its console")]
    Silent,
    /// A file or a stream of the host.
    #[error("{0}: {1}")]
    Host(String, std::io::Error),
}

/// What a failure of the host was about.
pub(crate) fn host(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> RunError {
    let what = what.into();
    move |error| RunError::Host(what, error)
}

impl RunConfig {
    /// A run of a program with no input and captured output, on machines with the usual memory and
    /// root.
    #[must_use]
    pub fn new(topology: Topology, program: impl Into<String>) -> Self {
        Self {
            topology,
            memory: MemorySize::DEFAULT,
            sharing: Sharing::default(),
            root: Root::default(),
            files: Vec::new(),
            program: program.into(),
            arguments: Vec::new(),
            environment: default_environment(),
            directory: "/".to_owned(),
            console: ConsoleKind::Streams,
            input: Input::empty(),
            stdout: Destination::Capture,
            stderr: Destination::Capture,
            timeout: None,
            dead_after: DEAD_AFTER,
            log: None,
            verbose: false,
            stats: false,
            trace: false,
            profile: false,
            restart_machines: false,
            exercise: None,
            gdb: None,
            emulator: None,
            kernel: None,
            signals: None,
            remote: None,
        }
    }

    /// A run without a program, see [`RunConfig::exercise`].
    #[must_use]
    pub fn exercise(topology: Topology, request: Vec<u8>) -> Self {
        Self { exercise: Some(request), ..Self::new(topology, "") }
    }

    /// The kernel that is built for this instruction set.
    #[must_use]
    pub fn kernel_for(&self, isa: Isa) -> BareBinary {
        match &self.exercise {
            Some(request) if !request.is_empty() => workspace::exercise_kernel(isa),
            _ => workspace::kernel(isa),
        }
    }

    /// Creates the window between the machines, if there is to be one: instances of one machine
    /// have their own.
    fn window(&self) -> Result<Option<FabricWindow>, RunError> {
        if self.topology.machines().len() < 2 && !self.trace {
            return Ok(None);
        }
        let number = u64::from_le_bytes(entropy().map_err(host("/dev/urandom"))?).max(1);
        let instances = self.topology.instances().len() as u16;
        Ok(Some(FabricWindow::create(instances, number, self.trace)?))
    }

    /// Adds arguments.
    #[must_use]
    pub fn arguments<A: AsRef<[u8]>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_vec()));
        self
    }

    /// Limits the time.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// For runs in which no instance is to die: none is given up for having to wait for the host.
    #[must_use]
    pub const fn patient(mut self) -> Self {
        self.dead_after = PATIENCE;
        self
    }
}

/// The environment of a program when nothing is said.
#[must_use]
pub fn default_environment() -> Vec<Vec<u8>> {
    let path = format!("PATH={}", PATH.join(":"));
    ["HOME=/root", &path, "USER=root", "LOGNAME=root"].map(|text| text.as_bytes().to_vec()).into()
}

/// Builds a kernel: what QEMU loads, and the ELF file with its symbols.
pub fn kernel_files(
    binary: BareBinary,
    workspace: &Workspace,
) -> Result<(PathBuf, PathBuf), RunError> {
    let elf = workspace.build(binary)?;
    let loaded = match binary.isa {
        Isa::X86_64 => elf.clone(),
        Isa::Aarch64 => image_of(&elf)?,
    };
    Ok((loaded, elf))
}

/// The commands that a run would start; the files that they name are left in the cache.
pub fn dry_run(config: &RunConfig, workspace: &Workspace) -> Result<Vec<String>, RunError> {
    let folder = workspace.cache_folder("dry-run")?;
    let window = config.window()?;
    let mut starter = Starter::prepare(config, workspace, &folder, window.as_ref())?;
    let machines = 0..config.topology.machines().len();
    machines.map(|index| Ok(starter.machine(index)?.0.command_line())).collect()
}

fn temporary_folder() -> Result<tempfile::TempDir, RunError> {
    tempfile::Builder::new().prefix("maize-").tempdir().map_err(host("temporary folder"))
}

/// Runs to the end.
pub fn run(config: RunConfig, workspace: &Workspace) -> Result<RunOutcome, RunError> {
    let file = match &config.log {
        Some(path) => Some(File::create(path).map_err(host(path.display().to_string()))?),
        None => None,
    };
    let folder = temporary_folder()?;
    let window = config.window()?;
    let starter = Starter::prepare(&config, workspace, folder.path(), window.as_ref())?;
    let raw_terminal = matches!(config.console, ConsoleKind::Terminal(_));
    let warnings = matches!(config.stderr, Destination::Descriptor(_));
    let log = ConsoleLog { file, verbose: config.verbose, warnings, raw_terminal };
    let registered = match config.gdb {
        Some(_) => {
            Some(crate::gdb::register(workspace, &starter.ports()).map_err(host(".maize/gdb"))?)
        }
        None => None,
    };
    let started = Instant::now();
    let session = SessionConfig {
        input: config.input,
        stdout: config.stdout,
        stderr: config.stderr,
        deadline: config.timeout.filter(|_| config.gdb.is_none()).map(|limit| started + limit),
        patient: config.gdb.is_some(),
        log,
        signals: config.signals,
        terminal: raw_terminal,
        started,
        stats: config.stats,
        restart_machines: config.restart_machines,
        has_program: config.exercise.is_none(),
        instances: config.topology.instances(),
        remote: config.remote,
        source_root: workspace.root().to_owned(),
    };
    let profiler = starter.profiler().cloned();
    let machines = starter.machines();
    let machines = machines.map(|(name, _, _, elf)| Profiled { name, kernel: elf.to_owned() });
    let machines: Vec<Profiled> = machines.collect();
    let mut outcome = Session::start(session, starter, window)?.run();
    drop(registered);
    outcome.profile = profiler.map(|profiler| {
        profiler.report(&machines, workspace).map_err(|error| format!("--profile: {error:#}"))
    });
    Ok(outcome)
}

/// The time from the start of the first machine to the first byte on its kernel's console; then the
/// machine is killed. [`FIRST_BYTE_LIMIT`] is an error.
pub fn time_to_first_console_byte(
    config: &RunConfig,
    workspace: &Workspace,
) -> Result<Duration, RunError> {
    let folder = temporary_folder()?;
    let mut starter = Starter::prepare(config, workspace, folder.path(), None)?;
    let (process, started) = starter.start(0)?;
    let limit = Timespec::try_from(FIRST_BYTE_LIMIT)
        .map_err(|error| RunError::Host("time".to_owned(), std::io::Error::other(error)))?;
    let mut polls = [PollFd::new(&process.console, PollFlags::IN)];
    let count = rustix::event::poll(&mut polls, Some(&limit))
        .map_err(|error| RunError::Host("poll".to_owned(), error.into()))?;
    let elapsed = started.elapsed();
    // The end of the machine makes its console readable too; then there is no byte.
    let mut byte = [0];
    match (count, (&process.console).read(&mut byte)) {
        (1.., Ok(1)) => Ok(elapsed),
        _ => Err(RunError::Silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_its_status() {
        assert_eq!(Ending::Exited(7 << 8).status(), 7);
        assert_eq!(Ending::Exited(9).status(), 137);
        assert_eq!(Ending::TimedOut.status(), 124);
        assert_eq!(Ending::FabricFailed(String::new()).status(), 125);
        assert_eq!(Ending::Interrupted(2).status(), 130);
    }
}
