//! Linux on one machine with several processors: what moves of threads are compared with.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use maize_hostlink::boot::Isa;

use crate::cpio::Writer;
use crate::machine::emulator;
use crate::root::debian_architecture;
use crate::tree::Tree;
use crate::workspace::Workspace;

/// Memory of the machine, in MiB: Debian's kernel alone takes a good part of 256.
const MEMORY_MIB: u32 = 512;

/// How often it is looked whether the machine has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Debian's kernel for an instruction set, fetched if it is not there yet.
fn kernel(isa: Isa, workspace: &Workspace) -> anyhow::Result<PathBuf> {
    let architecture = debian_architecture(isa);
    let folder = workspace.cache().join(format!("linux-{architecture}"));
    let kernel = folder.join("vmlinuz");
    if !kernel.exists() {
        eprintln!("maize: fetching Debian's Linux for {architecture}");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let output = Command::new("sh")
            .arg(workspace.root().join("boards/launcher/setup/linux-kernel"))
            .arg(architecture)
            .arg(workspace.cache().join(format!("debian-{architecture}")))
            .arg(&folder)
            .output()
            .context("sh")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(kernel)
}

/// Boots Linux on as many processors with a static program as its only process; returns what the
/// machine's console showed, the program's output included. The machine ends with the program.
pub fn run(
    (isa, processors): (Isa, u16),
    program: &[u8],
    arguments: &[&str],
    limit: Duration,
    workspace: &Workspace,
) -> anyhow::Result<String> {
    let kernel = kernel(isa, workspace)?;
    let mut root = Tree::new();
    root.directory("dev", 0o755);
    root.file("init", 0o755, program);
    let mut archive = Writer::new();
    archive.tree(&root)?;
    let folder = tempfile::Builder::new().prefix("maize-linux-").tempdir()?;
    let initrd = folder.path().join("initrd");
    std::fs::write(&initrd, archive.finish())?;
    let console = folder.path().join("console");
    let (machine, serial) = match isa {
        Isa::X86_64 => ("q35", "ttyS0"),
        Isa::Aarch64 => ("virt,gic-version=2", "ttyAMA0"),
    };
    // When its only process ends Linux panics, and then starts the machine anew at once.
    let arguments =
        format!("console={serial} quiet loglevel=1 panic=-1 -- {}", arguments.join(" "));
    let mut process = Command::new(emulator(isa))
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-M", machine])
        .args(["-cpu", "max", "-accel", "tcg,thread=multi"])
        .args(["-smp", &processors.to_string(), "-m", &format!("{MEMORY_MIB}M")])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(&initrd)
        .args(["-append", &arguments])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .stdin(Stdio::null())
        .spawn()
        .context(emulator(isa))?;
    let end = Instant::now() + limit;
    let ended = loop {
        if process.try_wait()?.is_some() {
            break true;
        }
        if Instant::now() > end {
            process.kill()?;
            process.wait()?;
            break false;
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let shown = String::from_utf8_lossy(&std::fs::read(&console).unwrap_or_default()).into_owned();
    if ended { Ok(shown) } else { bail!("Linux did not end within {} s\n{shown}", limit.as_secs()) }
}
