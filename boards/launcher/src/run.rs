//! Runs one program on a fabric: what `maize run`, the tests and the benchmarks share.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use maize_hostlink::BootRecord;
use maize_hostlink::boot::{Action, Console as ConsoleKind, Isa, Program};
use maize_hostlink::control::{Level, Stats, shell_status};
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::console::ConsoleLog;
use crate::image::{ImageError, image_of};
use crate::input::Input;
use crate::machine::{GdbPort, GdbStart, Machine, emulator};
use crate::memory_size::MemorySize;
use crate::process::{LauncherEnds, MachineEnds, Process, streams};
use crate::ramdisk::{Files, GuestFile, PATH, RamDiskError};
use crate::root::{Root, RootError};
use crate::session::{Session, SessionConfig};
use crate::signals::Signals;
use crate::sink::Destination;
use crate::symbols::LazySymbols;
use crate::topology::Topology;
use crate::workspace::{self, BareBinary, Workspace, WorkspaceError};

/// Longest wait for the first byte on a console.
pub const FIRST_BYTE_LIMIT: Duration = Duration::from_secs(60);

/// Status of the launcher when the time was up.
pub const STATUS_TIMED_OUT: u8 = 124;

/// Status of the launcher when the fabric failed, or could not be started.
pub const STATUS_FABRIC_FAILED: u8 = 125;

/// What to run, on what, and what it is connected to.
#[derive(Debug)]
pub struct RunConfig {
    /// Machines.
    pub topology: Topology,
    /// Memory of each machine for which the topology does not say another.
    pub memory: MemorySize,
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
    /// File that gets the consoles.
    pub log: Option<PathBuf>,
    /// Whether standard error gets the consoles.
    pub verbose: bool,
    /// Whether the kernels are asked for their counters.
    pub stats: bool,
    /// Whether there is a debugger's port.
    pub gdb: Option<GdbStart>,
    /// Runs in place of QEMU, for tests of the launcher.
    pub emulator: Option<PathBuf>,
    /// Kernel in place of the built one, as QEMU loads it.
    pub kernel: Option<PathBuf>,
    /// Signals that end the run.
    pub signals: Option<Signals>,
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
    /// Counters, if asked for.
    pub stats: Stats,
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
}

impl Ending {
    /// The launcher's exit status.
    #[must_use]
    pub const fn status(&self) -> u8 {
        match self {
            Self::Exited(status) => shell_status(*status),
            Self::TimedOut => STATUS_TIMED_OUT,
            Self::FabricFailed(_) => STATUS_FABRIC_FAILED,
            Self::Interrupted(signal) => ((128 + *signal) & 0xff) as u8,
        }
    }
}

/// Why a run could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Several machines or instances.
    #[error("topology {0}: more than one instance cannot be run yet")]
    NotYet(Topology),
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

fn host(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> RunError {
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
            log: None,
            verbose: false,
            stats: false,
            gdb: None,
            emulator: None,
            kernel: None,
            signals: None,
        }
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
}

/// The environment of a program when nothing is said.
#[must_use]
pub fn default_environment() -> Vec<Vec<u8>> {
    let path = format!("PATH={}", PATH.join(":"));
    ["HOME=/root", &path, "USER=root", "LOGNAME=root"].map(|text| text.as_bytes().to_vec()).into()
}

/// Machines ready to be started.
struct Prepared {
    machines: Vec<(Machine, MachineEnds, LauncherEnds)>,
    /// The ELF file with the symbols of each machine's kernel.
    kernels: Vec<PathBuf>,
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

/// Builds what is needed and writes the RAM disks into `folder`.
fn prepare(config: &RunConfig, workspace: &Workspace, folder: &Path) -> Result<Prepared, RunError> {
    let instances = config.topology.instances();
    if instances.len() != 1 {
        return Err(RunError::NotYet(config.topology.clone()));
    }
    let mut prepared = Prepared { machines: Vec::new(), kernels: Vec::new() };
    for (index, spec) in config.topology.machines().iter().enumerate() {
        let (kernel, elf) = match &config.kernel {
            Some(kernel) => (kernel.clone(), kernel.clone()),
            None => kernel_files(workspace::kernel(spec.isa), workspace)?,
        };
        let mut files =
            Files::new(config.root.load(spec.isa, workspace)?, &config.files, spec.isa)?;
        let path = files.program(&config.program)?.into_bytes();
        let mut argv = vec![config.program.clone().into_bytes()];
        argv.extend(config.arguments.iter().cloned());
        let record = BootRecord {
            action: Action::Run(Program {
                path,
                argv,
                env: config.environment.clone(),
                cwd: config.directory.clone().into_bytes(),
            }),
            console: config.console,
            instance: 0,
            instances: instances.clone(),
            wall_clock_ns: wall_clock_ns(),
            entropy: entropy().map_err(host("/dev/urandom"))?,
            stats: config.stats,
            fabric: 0,
            poll_ns: 0,
            trace: false,
            debugged: config.gdb.is_some(),
            exercise: Vec::new(),
        };
        let initrd = folder.join(format!("initrd-{index}"));
        std::fs::write(&initrd, files.ram_disk(&record)?)
            .map_err(host(initrd.display().to_string()))?;
        let (theirs, ours) = streams().map_err(host("socket pair"))?;
        let machine = Machine {
            isa: spec.isa,
            instances: spec.instances,
            memory: spec.memory.unwrap_or(config.memory),
            kernel,
            initrd,
            firmware: None,
            link: theirs.link_number(),
            console: theirs.console_number(),
            gdb: config
                .gdb
                .map(|start| GdbPort { socket: folder.join(format!("gdb-{index}")), start }),
        };
        prepared.machines.push((machine, theirs, ours));
        prepared.kernels.push(elf);
    }
    Ok(prepared)
}

/// The commands that a run would start; the files that they name are left in the cache.
pub fn dry_run(config: &RunConfig, workspace: &Workspace) -> Result<Vec<String>, RunError> {
    let folder = workspace.cache_folder("dry-run")?;
    let prepared = prepare(config, workspace, &folder)?;
    Ok(prepared.machines.iter().map(|(machine, ..)| machine.command_line()).collect())
}

fn temporary_folder() -> Result<tempfile::TempDir, RunError> {
    tempfile::Builder::new().prefix("maize-").tempdir().map_err(host("temporary folder"))
}

fn start(
    config: &RunConfig,
    machine: &Machine,
    theirs: MachineEnds,
    ours: LauncherEnds,
) -> Result<Process, RunError> {
    let program = config.emulator.clone().unwrap_or_else(|| emulator(machine.isa).into());
    Process::start(machine, &program, theirs, ours)
        .map_err(|error| RunError::Start(program.display().to_string(), error))
}

/// Runs to the end.
pub fn run(config: RunConfig, workspace: &Workspace) -> Result<RunOutcome, RunError> {
    let folder =
        tempfile::Builder::new().prefix("maize-").tempdir().map_err(host("temporary folder"))?;
    let prepared = prepare(&config, workspace, folder.path())?;
    let file = match &config.log {
        Some(path) => Some(File::create(path).map_err(host(path.display().to_string()))?),
        None => None,
    };
    let raw_terminal = matches!(config.console, ConsoleKind::Terminal(_));
    let warnings = matches!(config.stderr, Destination::Descriptor(_));
    let log = ConsoleLog { file, verbose: config.verbose, warnings, raw_terminal };
    let registered = match config.gdb {
        Some(_) => Some(
            crate::gdb::register(
                workspace,
                prepared.machines.iter().map(|m| &m.0),
                &prepared.kernels,
            )
            .map_err(host(".maize/gdb"))?,
        ),
        None => None,
    };
    let started = Instant::now();
    let mut processes = Vec::new();
    for ((machine, theirs, ours), kernel) in prepared.machines.into_iter().zip(&prepared.kernels) {
        let name = format!("{}/{}", processes.len(), machine.isa);
        let process = start(&config, &machine, theirs, ours)?;
        // A kernel without symbols is shown without: the run itself does not need them.
        processes.push((name, process, LazySymbols::new(kernel, workspace.root())));
    }
    let session = Session::new(
        SessionConfig {
            input: config.input,
            stdout: config.stdout,
            stderr: config.stderr,
            deadline: config.timeout.filter(|_| config.gdb.is_none()).map(|limit| started + limit),
            patient: config.gdb.is_some(),
            log,
            signals: config.signals,
            terminal: raw_terminal,
            started,
        },
        processes,
    );
    let outcome = session.map_err(host("host link"))?.run();
    drop(registered);
    Ok(outcome)
}

/// The time from the start of the first machine to the first byte on its kernel's console; then the
/// machine is killed. [`FIRST_BYTE_LIMIT`] is an error.
pub fn time_to_first_console_byte(
    config: &RunConfig,
    workspace: &Workspace,
) -> Result<Duration, RunError> {
    let folder = temporary_folder()?;
    let mut prepared = prepare(config, workspace, folder.path())?;
    let (machine, theirs, ours) = prepared.machines.swap_remove(0);
    let started = Instant::now();
    let process = start(config, &machine, theirs, ours)?;
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

fn wall_clock_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn entropy() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
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
