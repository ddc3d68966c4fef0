//! Debuggers' ports: who has one now, and attaching to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use maize_hostlink::boot::Isa;
use serde::{Deserialize, Serialize};

use crate::workspace::Workspace;

/// How long the debugger waits for an answer of the emulator, in seconds: a busy host may keep it waiting.
const ANSWER_LIMIT: u32 = 60;

/// A machine with a debugger's port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Number of the machine in its fabric.
    pub machine: usize,
    /// Instruction set.
    pub isa: Isa,
    /// UNIX socket.
    pub socket: PathBuf,
    /// ELF file with the kernel's symbols.
    pub kernel: PathBuf,
}

/// The record of a run's ports; dropping it removes it.
#[derive(Debug)]
pub struct Registration(PathBuf);

impl Drop for Registration {
    fn drop(&mut self) {
        // If it stays, `ports` finds that its launcher is gone.
        let _ = fs::remove_file(&self.0);
    }
}

/// Records the ports of a run, where `maize gdb` looks.
pub fn register(workspace: &Workspace, ports: &[Port]) -> io::Result<Registration> {
    for port in ports {
        eprintln!("maize: machine {} ({}): attach with ./maize gdb {0}", port.machine, port.isa);
    }
    record(&workspace.cache().join("gdb"), ports)
}

/// A record is there as a whole or not at all: others may look at any time.
fn record(folder: &Path, ports: &[Port]) -> io::Result<Registration> {
    fs::create_dir_all(folder)?;
    let name = format!("{}.json", std::process::id());
    let (path, unfinished) = (folder.join(&name), folder.join(format!(".{name}.tmp")));
    fs::write(&unfinished, serde_json::to_vec(ports)?)?;
    fs::rename(&unfinished, &path)?;
    Ok(Registration(path))
}

/// The ports of every run that is still there, newest run first.
pub fn ports(workspace: &Workspace) -> io::Result<Vec<Port>> {
    recorded(&workspace.cache().join("gdb"))
}

fn recorded(folder: &Path) -> io::Result<Vec<Port>> {
    let Some(entries) = if_there(fs::read_dir(folder))? else { return Ok(Vec::new()) };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if !launcher_of(&path).is_some_and(|pid| Path::new("/proc").join(pid).exists()) {
            continue;
        }
        // A run that ends meanwhile takes its record along.
        let written = if_there(path.metadata().and_then(|metadata| metadata.modified()))?;
        let text = if_there(fs::read(&path))?;
        if let (Some(written), Some(text)) = (written, text) {
            records.push((written, path, serde_json::from_slice::<Vec<Port>>(&text)?));
        }
    }
    records.sort_by(|one, other| (other.0, &other.1).cmp(&(one.0, &one.1)));
    Ok(records.into_iter().flat_map(|(_, _, ports)| ports).collect())
}

/// Nothing, if what was asked for is not there.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The process number in the name of a record.
fn launcher_of(record: &Path) -> Option<&str> {
    record.file_stem()?.to_str().filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()))
}

/// The debugger for an instruction set: one that knows all, or the host's own for the host's.
fn debugger(isa: Isa) -> Option<&'static str> {
    let native = std::env::consts::ARCH == isa.name();
    ["gdb-multiarch", "gdb"]
        .into_iter()
        .filter(|name| native || *name == "gdb-multiarch")
        .find(|name| crate::doctor::on_path(name).is_some())
}

/// The debugger's command for a port.
fn command(program: &str, port: &Port, arguments: &[String]) -> Command {
    let architecture = match port.isa {
        Isa::X86_64 => "i386:x86-64",
        Isa::Aarch64 => "aarch64",
    };
    let mut command = Command::new(program);
    command.arg("-q").arg(&port.kernel);
    command.args(["-ex", &format!("set architecture {architecture}")]);
    command.args(["-ex", &format!("set remotetimeout {ANSWER_LIMIT}")]);
    command.args(["-ex", &format!("target remote {}", port.socket.display())]);
    command.args(arguments);
    command
}

/// Attaches a debugger to a machine of the newest run with ports, and waits for its end.
pub fn attach(
    workspace: &Workspace,
    machine: usize,
    arguments: &[String],
) -> anyhow::Result<std::process::ExitStatus> {
    let ports = ports(workspace).context(".maize/gdb")?;
    if ports.is_empty() {
        bail!("no run has a debugger's port: start one with ./maize run --gdb -- PROGRAM");
    }
    let port = ports
        .iter()
        .find(|port| port.machine == machine)
        .with_context(|| format!("no run with a debugger's port has a machine {machine}"))?;
    let program = debugger(port.isa)
        .with_context(|| format!("no debugger for {}: install gdb-multiarch", port.isa))?;
    // ^C is the debugger's while it runs: the launcher must not end by it.
    let _signals = crate::signals::Signals::catch()?;
    command(program, port, arguments).status().with_context(|| program.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debugger_gets_symbols_and_port() {
        let port = Port {
            machine: 0,
            isa: Isa::Aarch64,
            socket: "/tmp/x/gdb-0".into(),
            kernel: "k".into(),
        };
        let command = command("gdb-multiarch", &port, &["-batch".to_owned()]);
        let arguments: Vec<_> = command.get_args().map(|a| a.to_str().unwrap()).collect();
        assert_eq!(
            arguments,
            [
                "-q",
                "k",
                "-ex",
                "set architecture aarch64",
                "-ex",
                "set remotetimeout 60",
                "-ex",
                "target remote /tmp/x/gdb-0",
                "-batch"
            ]
        );
    }

    #[test]
    fn records_can_be_looked_at_while_runs_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let port = |machine| Port {
            machine,
            isa: Isa::X86_64,
            socket: "/tmp/x/gdb".into(),
            kernel: "k".into(),
        };
        let ports = [port(0), port(1)];
        std::thread::scope(|scope| {
            let comes_and_goes = scope.spawn(|| {
                for _ in 0..500 {
                    drop(record(folder.path(), &ports).unwrap());
                }
            });
            while !comes_and_goes.is_finished() {
                assert!([0, 2].contains(&recorded(folder.path()).unwrap().len()));
            }
        });
        let _registered = record(folder.path(), &ports).unwrap();
        assert_eq!(recorded(folder.path()).unwrap(), ports);
    }

    #[test]
    fn records_are_named_by_process() {
        assert_eq!(launcher_of(Path::new("a/12.json")), Some("12"));
        assert_eq!(launcher_of(Path::new("a/.12.json.tmp")), None);
    }
}
