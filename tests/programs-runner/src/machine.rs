//! Maize in QEMU: many cases for each boot, and another boot after a case that took the machine down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use maize_hostlink::boot::{Isa, Sharing};
use maize_launcher::ramdisk::GuestFile;
use maize_launcher::run::{Ending as RunEnding, RunConfig, RunError, RunOutcome};
use maize_launcher::topology::Topology;
use maize_launcher::workspace::Workspace;

use crate::build::{BuildError, Programs, build, sources};
use crate::case::{Case, Layout, Libc, manifest};
use crate::foreign::{self, ForeignError};
use crate::host::mark;
use crate::transcript::{Ending, Outcome, Transcript};

/// Where the programs are in the guest.
const FOLDER: &str = "/programs";

/// Where the cases work: on the root's writable layer.
const WORK: &str = "/tmp";

/// Memory of the machine: the programs themselves take 60 MB of the RAM disk.
const MEMORY: &str = "512M";

/// Wall time of one boot. On a host with nothing else to do a whole run takes a tenth of it; a machine that hangs
/// takes it all.
const BOOT_LIMIT: Duration = Duration::from_secs(1_500);

/// Boots in a run: after so many lost machines the rest is not worth the time.
const BOOTS: usize = 6;

/// Lines of a console that are shown with a lost case.
const CONSOLE_LINES: usize = 60;

/// Why nothing could be run.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The programs.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A foreign program.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// The machine.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file of the host.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The driver itself does not run.
    #[error("no case was begun: {0}")]
    NothingBegun(String),
}

struct GuestLayout;

impl Layout for GuestLayout {
    fn program(&self, libc: Libc, name: &str) -> String {
        format!("{FOLDER}/{}/{name}", libc.name())
    }

    fn script(&self, name: &str) -> Vec<String> {
        ["/bin/busybox", "sh", &format!("{FOLDER}/{name}.sh"), "/bin"].map(str::to_owned).to_vec()
    }

    fn foreign(&self, name: &str) -> Vec<String> {
        let mut command = self.script(&format!("foreign/{name}"));
        command.push(format!("{FOLDER}/foreign"));
        command
    }
}

/// Runs cases on one instance of an instruction set.
pub fn run(
    cases: &[Case],
    isa: Isa,
    workspace: &Workspace,
) -> Result<BTreeMap<String, Outcome>, MachineError> {
    run_on(cases, isa, &Topology::single(isa), &Sharing::default(), workspace)
}

/// Runs cases on a fabric, in which `isa` is the first machine's instruction set.
pub fn run_on(
    cases: &[Case],
    isa: Isa,
    topology: &Topology,
    sharing: &Sharing,
    workspace: &Workspace,
) -> Result<BTreeMap<String, Outcome>, MachineError> {
    let programs = build(isa, workspace)?;
    let mut outcomes = BTreeMap::new();
    let mut left = cases.to_vec();
    for _ in 0..BOOTS {
        if left.is_empty() {
            break;
        }
        let config = RunConfig { sharing: sharing.clone(), ..driver(topology.clone()) };
        let (transcript, lost) = boot(&left, config, &programs, workspace)?;
        let before = outcomes.len();
        outcomes.extend(transcript.done);
        if let Some((name, output)) = transcript.open {
            outcomes.insert(name, Outcome { ending: Ending::Lost(lost), output });
        } else if outcomes.len() == before {
            let said = String::from_utf8_lossy(&transcript.outside).into_owned();
            return Err(MachineError::NothingBegun(format!("{lost}\n{said}")));
        }
        left.retain(|case| !outcomes.contains_key(&case.to_string()));
    }
    for case in left {
        let ending = Ending::Lost(format!("not run: {BOOTS} machines were lost before"));
        outcomes.insert(case.to_string(), Outcome { ending, output: Vec::new() });
    }
    Ok(outcomes)
}

fn driver(topology: Topology) -> RunConfig {
    RunConfig::new(topology, format!("{FOLDER}/driver")).timeout(BOOT_LIMIT).patient()
}

/// One boot: what the driver printed, and how the machine ended if it did not come to its end.
fn boot(
    cases: &[Case],
    config: RunConfig,
    programs: &Programs,
    workspace: &Workspace,
) -> Result<(Transcript, String), MachineError> {
    let folder = tempfile::Builder::new()
        .prefix("maize-machine-")
        .tempdir()
        .map_err(|error| MachineError::File("temporary folder".into(), error))?;
    let list = folder.path().join("manifest");
    std::fs::write(&list, manifest(cases, &GuestLayout))
        .map_err(|error| MachineError::File(list.clone(), error))?;
    let mark = mark(folder.path());
    let guest = |host: PathBuf, guest: String| GuestFile { host, guest };
    let mut files = vec![guest(list, format!("{FOLDER}/manifest"))];
    files.push(guest(programs.driver(), format!("{FOLDER}/driver")));
    for case in cases {
        let file = match case {
            Case::Program { libc, name } => {
                guest(programs.folder(*libc).join(name), GuestLayout.program(*libc, name))
            }
            Case::Script { name } => {
                guest(sources(workspace).join(format!("{name}.sh")), format!("{FOLDER}/{name}.sh"))
            }
            Case::Foreign { name } => {
                for program in foreign::fetch(name, workspace)? {
                    let at = format!("{FOLDER}/foreign/{}", file_name(&program));
                    files.push(guest(program, at));
                }
                let script = foreign::folder(workspace).join(format!("{name}.sh"));
                guest(script, format!("{FOLDER}/foreign/{name}.sh"))
            }
        };
        files.push(file);
    }
    let mut config =
        config.arguments([format!("{FOLDER}/manifest"), mark.clone(), WORK.to_owned()]);
    config.files = files;
    config.memory = MEMORY.parse().unwrap_or(config.memory);
    let outcome = maize_launcher::run::run(config, workspace)?;
    Ok((Transcript::parse(&outcome.stdout, &mark), how_it_ended(&outcome)))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn how_it_ended(outcome: &RunOutcome) -> String {
    let mut text = match &outcome.ending {
        RunEnding::Exited(status) => format!("the driver ended with wait status {status:#x}"),
        RunEnding::TimedOut => format!("nothing ended within {} s", BOOT_LIMIT.as_secs()),
        RunEnding::FabricFailed(why) => why.clone(),
        RunEnding::Dismissed => "dismissed".to_owned(),
        RunEnding::Interrupted(signal) => format!("interrupted by signal {signal}"),
    };
    for console in &outcome.consoles {
        let lines: Vec<&str> = console.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(CONSOLE_LINES)..).unwrap_or_default();
        text += &format!("\n--- console\n{}\n---", tail.join("\n"));
    }
    text
}
