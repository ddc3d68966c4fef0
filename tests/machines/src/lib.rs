//! Starts a kernel in QEMU by itself: no host link, no RAM disk, its console as text.

mod siblings;

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use maize_launcher::symbols::Symbols;

pub use siblings::Siblings;

/// What a machine said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Exit status of the emulator; `None` if it was killed, as after a time-out.
    pub status: Option<i32>,
    /// Everything on the serial console.
    pub console: String,
}

/// Longest time that a machine may take.
const PATIENCE: Duration = Duration::from_secs(400);

/// Runs an emulator with these arguments; its serial console must be its standard output.
///
/// # Errors
/// If it cannot be started.
pub fn run<I, S>(emulator: &str, arguments: I) -> std::io::Result<Ran>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut child = Command::new(emulator)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = output.as_mut().map_or(Ok(0), |output| output.read_to_end(&mut text));
        read.map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status.code();
        }
        if started.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let console = reader.join().unwrap_or_else(|_| Ok(String::new()))?;
    Ok(Ran { status, console })
}

/// A console's text with the functions of backtraces named, as the launcher shows it.
///
/// # Errors
/// If the kernel's symbols cannot be read.
pub fn annotated(console: &str, kernel: &Path, sources: &Path) -> Result<String, String> {
    let symbols = Symbols::load(kernel, sources)?;
    Ok(console.lines().map(|line| symbols.annotate(line) + "\n").collect())
}

/// Arguments of every aarch64 machine; `machine` and `cpu` as QEMU names them.
#[must_use]
pub fn virt(machine: &str, cpu: &str, image: &Path) -> Vec<String> {
    let image = image.to_string_lossy().into_owned();
    let fixed = "-nodefaults -no-user-config -no-reboot -display none -serial stdio -m 256M \
                 -accel tcg,thread=multi -smp 1,maxcpus=2";
    let mut all: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
    for (option, value) in [("-M", machine), ("-cpu", cpu), ("-kernel", &image)] {
        all.extend([option.to_owned(), value.to_owned()]);
    }
    all
}

/// Arguments of every x86_64 machine; `cpu` as QEMU names it.
#[must_use]
pub fn q35(cpu: &str, kernel: &Path) -> Vec<String> {
    let kernel = kernel.to_string_lossy().into_owned();
    let fixed = "-nodefaults -no-user-config -no-reboot -display none -serial stdio -m 256M -M q35 \
                 -accel tcg,thread=multi -smp 1,maxcpus=2 \
                 -device isa-debug-exit,iobase=0xf4,iosize=0x04";
    let mut all: Vec<String> = fixed.split_whitespace().map(str::to_owned).collect();
    for (option, value) in [("-cpu", cpu), ("-kernel", &kernel)] {
        all.extend([option.to_owned(), value.to_owned()]);
    }
    all
}
