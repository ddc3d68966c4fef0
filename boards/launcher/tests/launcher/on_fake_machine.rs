//! Runs on the fake machine: its kernel is `/dev/null`, its root holds nothing but the "programs".

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use maize_hostlink::boot::Isa;
use maize_launcher::live::Live;
use maize_launcher::root::Root;
use maize_launcher::run::{RunConfig, RunOutcome};
use maize_launcher::topology::Topology;
use maize_launcher::workspace::Workspace;

const PROGRAMS: [&str; 16] = [
    "both",
    "cat",
    "complain",
    "die",
    "echo",
    "exit",
    "flood",
    "garbage",
    "hang",
    "killed",
    "old",
    "panic",
    "report",
    "stats",
    "terminal",
    "until-closed",
];

/// The example that takes QEMU's place; cargo builds it with the tests.
pub(crate) fn fake() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(|deps| deps.parent()).unwrap().join("examples/fake-machine")
}

/// A root file system in which the fake machine's programs exist.
fn root() -> PathBuf {
    static ROOT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("fake");
        std::fs::create_dir(&folder).unwrap();
        for program in PROGRAMS {
            std::fs::write(folder.join(program), "").unwrap();
        }
        root
    });
    root.path().to_owned()
}

/// A run of a fake program through the library.
pub(crate) fn config(program: &str, arguments: &[&str]) -> RunConfig {
    let mut config = RunConfig::new(Topology::single(Isa::X86_64), format!("/fake/{program}"))
        .arguments(arguments)
        .timeout(Duration::from_secs(60));
    config.root = Root::Directory(root());
    config.emulator = Some(fake());
    config.kernel = Some("/dev/null".into());
    config
}

/// A run of that many fake machines without a program, for another thread to steer.
pub(crate) fn live(topology: &str) -> Live {
    let mut config = config("echo", &[]);
    config.topology = topology.parse().unwrap();
    config.exercise = Some(Vec::new());
    Live::start(config, &Workspace::find().unwrap()).unwrap()
}

/// Runs to the end.
pub(crate) fn run(config: RunConfig) -> RunOutcome {
    maize_launcher::run::run(config, &Workspace::find().unwrap()).unwrap()
}

/// A run of a fake program through the command line; `arguments` begin with the verb.
pub(crate) fn launcher(arguments: &[&str], program: &str, program_arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maize-launcher"));
    let (verb, options) = arguments.split_first().unwrap();
    command.arg(verb).args(["--kernel", "/dev/null"]);
    if !options.contains(&"--root") {
        command.arg("--root").arg(root());
    }
    if !options.contains(&"--emulator") {
        command.arg("--emulator").arg(fake());
    }
    command.args(options).arg("--").arg(format!("/fake/{program}")).args(program_arguments);
    command.stdin(Stdio::null());
    command
}
