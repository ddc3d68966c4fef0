//! Starts the machines of a run, and starts them again.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use maize_hostlink::BootRecord;
use maize_hostlink::boot::{Action, Program};

use crate::fabric_window::FabricWindow;
use crate::gdb::Port;
use crate::ivshmem::Server;
use crate::machine::{GdbPort, GdbStart, Machine, WindowPort, emulator};
use crate::memory_size::MemorySize;
use crate::placement;
use crate::process::{LauncherEnds, MachineEnds, Process, streams};
use crate::profile::Profiler;
use crate::ramdisk::Files;
use crate::run::{RunConfig, RunError, host, kernel_files};
use crate::topology::MachineSpec;
use crate::workspace::Workspace;

/// For how long an instance polls after the last activity where each virtual core has a core of the
/// host, in nanoseconds.
const POLL_NS: u64 = 500_000;

/// Virtual cores for each of the host's with which an instance has its turn soon enough.
const QUICK: usize = 2;

/// Silence after which an instance gives a peer up, in milliseconds, on a host that has to share each of its
/// cores among `crowding` virtual ones.
fn dead_after_ms(on_a_core_each: Duration, crowding: usize) -> u32 {
    let factor = u32::try_from((crowding / QUICK).max(1)).unwrap_or(u32::MAX);
    u32::try_from(on_a_core_each.saturating_mul(factor).as_millis()).unwrap_or(u32::MAX)
}

/// One machine, as often as it may be started.
struct Blueprint {
    spec: MachineSpec,
    memory: MemorySize,
    /// What QEMU loads.
    kernel: PathBuf,
    /// The ELF file with its symbols.
    elf: PathBuf,
    /// Number of its first instance.
    first: u16,
    action: Action,
}

/// The machines of a run.
pub struct Starter {
    blueprints: Vec<Blueprint>,
    /// What the root of every machine has: instances work together only if they have the same, and
    /// programs for several instruction sets are in it with all their files.
    files: Files,
    /// The boot record of every machine, but for what differs between them.
    record: BootRecord,
    /// Who connects the machines' windows, and with how many vectors.
    server: Option<(Server, u16)>,
    gdb: Option<GdbStart>,
    emulator: Option<PathBuf>,
    profiler: Option<Profiler>,
    folder: PathBuf,
}

impl Starter {
    /// Builds what is needed. RAM disks and debuggers' sockets will be in `folder`.
    pub fn prepare(
        config: &RunConfig,
        workspace: &Workspace,
        folder: &Path,
        window: Option<&FabricWindow>,
    ) -> Result<Self, RunError> {
        let instances = config.topology.instances();
        placement::check(&config.sharing.placement, &config.topology)?;
        let specs = config.topology.machines();
        let host_cores = std::thread::available_parallelism().map_or(1, usize::from);
        let record = BootRecord {
            action: Action::Serve,
            console: config.console,
            instance: 0,
            poll_ns: if instances.len() > host_cores { 0 } else { POLL_NS },
            dead_after_ms: dead_after_ms(config.dead_after, instances.len().div_ceil(host_cores)),
            instances,
            wall_clock_ns: 0,
            entropy: [0; 32],
            stats: config.stats,
            fabric: window.map_or(0, FabricWindow::fabric),
            trace: config.trace,
            debugged: config.gdb.is_some(),
            sharing: config.sharing.clone(),
            exercise: config.exercise.clone().unwrap_or_default(),
        };
        let server = match window {
            Some(window) => {
                let vectors = specs.iter().map(|spec| spec.instances).max().unwrap_or(1);
                let server = Server::new(window.as_fd(), specs.len(), vectors);
                Some((server.map_err(host("window"))?, vectors))
            }
            None => None,
        };
        // What was asked for may be wrong: that is found before anything is built.
        let (files, program) = files(config, workspace)?;
        let mut actions = program.map(Action::Run).into_iter();
        let mut blueprints: Vec<Blueprint> = Vec::new();
        let mut first = 0;
        for spec in specs {
            let (kernel, elf) = match &config.kernel {
                Some(kernel) => (kernel.clone(), kernel.clone()),
                None => kernel_files(config.kernel_for(spec.isa), workspace)?,
            };
            let memory = config.memory.for_instances(spec.instances);
            let memory = spec.memory.unwrap_or(memory);
            let action = actions.next().unwrap_or(Action::Serve);
            blueprints.push(Blueprint { spec: *spec, memory, kernel, elf, first, action });
            first += spec.instances;
        }
        let profiler = config.profile.then(|| Profiler::set_up(workspace, folder));
        let profiler = profiler.transpose().map_err(RunError::Profile)?;
        Ok(Self {
            blueprints,
            files,
            record,
            server,
            gdb: config.gdb,
            emulator: config.emulator.clone(),
            profiler,
            folder: folder.to_owned(),
        })
    }

    /// What counts the blocks that the machines execute, if asked for.
    #[must_use]
    pub const fn profiler(&self) -> Option<&Profiler> {
        self.profiler.as_ref()
    }

    /// The name of each machine, its first instance and how many it has, and its kernel's symbols.
    pub fn machines(&self) -> impl Iterator<Item = (String, u16, u16, &Path)> {
        self.blueprints.iter().enumerate().map(|(index, blueprint)| {
            let name = format!("{index}/{}", blueprint.spec.isa);
            (name, blueprint.first, blueprint.spec.instances, &*blueprint.elf)
        })
    }

    /// The debuggers' ports.
    #[must_use]
    pub fn ports(&self) -> Vec<Port> {
        let ports = self.blueprints.iter().enumerate().map(|(machine, blueprint)| Port {
            machine,
            isa: blueprint.spec.isa,
            socket: self.gdb_socket(machine),
            kernel: blueprint.elf.clone(),
        });
        ports.filter(|_| self.gdb.is_some()).collect()
    }

    fn gdb_socket(&self, machine: usize) -> PathBuf {
        self.folder.join(format!("gdb-{machine}"))
    }

    /// Writes the RAM disk of a machine and makes its streams.
    pub fn machine(
        &mut self,
        index: usize,
    ) -> Result<(Machine, MachineEnds, LauncherEnds), RunError> {
        let initrd = self.folder.join(format!("initrd-{index}"));
        let socket = self.gdb_socket(index);
        let missing = || host("machine")(io::ErrorKind::NotFound.into());
        let blueprint = self.blueprints.get(index).ok_or_else(missing)?;
        let record = BootRecord {
            action: blueprint.action.clone(),
            instance: blueprint.first,
            wall_clock_ns: wall_clock_ns(),
            entropy: entropy().map_err(host("/dev/urandom"))?,
            ..self.record.clone()
        };
        std::fs::write(&initrd, self.files.ram_disk(&record)?)
            .map_err(host(initrd.display().to_string()))?;
        let (mut theirs, ours) = streams().map_err(host("socket pair"))?;
        let mut vectors = 0;
        if let Some((server, of_each)) = &mut self.server {
            theirs.add_window(server.connect(index).map_err(host("window"))?);
            vectors = *of_each;
        }
        let machine = Machine {
            isa: blueprint.spec.isa,
            instances: blueprint.spec.instances,
            memory: blueprint.memory,
            kernel: blueprint.kernel.clone(),
            initrd,
            firmware: None,
            link: theirs.link_number(),
            console: theirs.console_number(),
            window: theirs.window_number().map(|server| WindowPort { server, vectors }),
            gdb: self.gdb.map(|start| GdbPort { socket, start }),
            plugin: self.profiler.as_ref().map(|profiler| profiler.option(index)),
        };
        Ok((machine, theirs, ours))
    }

    /// Starts a machine, whose last process, if there was one, has ended; the process, and when it
    /// was started, all preparations done.
    pub fn start(&mut self, index: usize) -> Result<(Process, Instant), RunError> {
        let (machine, theirs, ours) = self.machine(index)?;
        let program = self.emulator.clone().unwrap_or_else(|| emulator(machine.isa).into());
        let started = Instant::now();
        let process = Process::start(&machine, &program, theirs, ours)
            .map_err(|error| RunError::Start(program.display().to_string(), error))?;
        Ok((process, started))
    }

    /// Tells the other machines that this one has ended.
    pub fn ended(&mut self, index: usize) {
        if let Some((server, _)) = &mut self.server {
            server.disconnect(index);
        }
    }

    /// Sends on what machines' windows were not told yet.
    pub fn flush(&mut self) {
        if let Some((server, _)) = &mut self.server {
            server.flush();
        }
    }

    /// What has to become writable before [`Starter::flush`] can go on.
    pub fn waits_for(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.server.iter().flat_map(|(server, _)| server.waits_for())
    }
}

/// The files of every machine, and the program that the first is to run, if any: an exercise is in the
/// kernels themselves.
fn files(config: &RunConfig, workspace: &Workspace) -> Result<(Files, Option<Program>), RunError> {
    let isa = config.topology.first_isa();
    let root = config.root.load(isa, workspace)?;
    let mut files = Files::new(root, &config.files, isa)?;
    let program = match config.exercise {
        None => Some(program(config, &mut files)?),
        Some(_) => None,
    };
    Ok((files, program))
}

fn program(config: &RunConfig, files: &mut Files) -> Result<Program, RunError> {
    let path = files.program(&config.program)?;
    // A file of the host is elsewhere in the guest; programs start themselves again by this name.
    let name = if config.program.contains('/') { &path } else { &config.program };
    let mut argv = vec![name.clone().into_bytes()];
    argv.extend(config.arguments.iter().cloned());
    Ok(Program {
        path: path.into_bytes(),
        argv,
        env: config.environment.clone(),
        cwd: config.directory.clone().into_bytes(),
    })
}

fn wall_clock_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Random bytes of the host's.
pub fn entropy<const N: usize>() -> io::Result<[u8; N]> {
    let mut seed = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_a_core_with_many_may_be_silent_for_longer() {
        let usual = Duration::from_millis(1_800);
        assert_eq!(
            [0, 1, 3, 4, 8].map(|n| dead_after_ms(usual, n)),
            [1_800, 1_800, 1_800, 3_600, 7_200]
        );
        assert_eq!(dead_after_ms(Duration::MAX, 8), u32::MAX);
    }
}
