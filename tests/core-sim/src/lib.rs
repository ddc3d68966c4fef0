//! Kernels on emulated machines, from a script to its output: one alone, or a fabric of them.
#![forbid(unsafe_code)]

pub mod compiled;
pub mod fabric;
pub mod scripts;

use maize_abi::isa::aarch64::Aarch64;
use maize_abi::isa::x86_64::X86_64;
use maize_abi::{Isa, IsaKind};
use maize_arch_host::{HostArch, Script, ScriptRegs, ScriptedHost, Wires};
use maize_core::{Config, Kernel, ProgramSpec, RUNS_AT_ONCE, Step};
use maize_hal::{Frame, FrameRange, KernelHeap, Nanos};
use maize_launcher::cpio;
use maize_launcher::tree::Tree;

/// Frames of an emulated machine: 32 MiB.
const FRAMES: u64 = 8192;

/// What a run has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `wait4` status of the program.
    pub status: u32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// Virtual time at its end.
    pub ended: Nanos,
}

/// Why a run did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// Nothing will ever happen again.
    Deadlock,
    /// The bound on steps was reached.
    TooLong,
}

/// A kernel on an emulated machine.
pub struct Sim<I: Isa>
where
    I::Regs: ScriptRegs,
{
    /// The kernel.
    pub kernel: Kernel<HostArch<I>>,
    /// The host's end of its streams.
    pub host: ScriptedHost,
    /// The machine's clock and interrupts.
    pub wires: Wires,
}

/// The number in a variable of the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seeds of this run: `few`, or as many as `FABRIC_SEEDS` says, or only `FABRIC_SEED`.
#[must_use]
pub fn seeds(few: u64) -> Vec<u64> {
    match (number("FABRIC_SEED"), number("FABRIC_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (1..=count.unwrap_or(few)).collect(),
    }
}

/// Half of all seeds look at every run of user code, half let kernels go on as on machines.
const fn runs_at_once(seed: u64) -> u32 {
    if seed & 4 == 0 { 0 } else { RUNS_AT_ONCE }
}

/// Settings of instance `cpu` of a fabric of `cpus`, with no heap to grow.
#[must_use]
pub fn config(cpu: u32, cpus: u32, seed: u64) -> Config {
    let (hostname, runs_at_once) = (b"sim".to_vec(), runs_at_once(seed));
    Config { cpu, cpus, hostname, stats: false, hidden: Vec::new(), heap: None, runs_at_once }
}

/// `/program`, with its streams.
#[must_use]
pub fn program() -> ProgramSpec {
    ProgramSpec {
        path: b"/program".to_vec(),
        argv: vec![b"/program".to_vec()],
        envp: Vec::new(),
        cwd: b"/".to_vec(),
        terminal: None,
    }
}

/// A root with one script at `/program`.
#[must_use]
pub fn root_with<I: Isa>(script: &Script) -> Tree {
    let mut tree = Tree::new();
    tree.directory("tmp", 0o1777);
    tree.directory("dev", 0o755);
    tree.directory("proc", 0o555);
    tree.file("program", 0o755, script.to_elf::<I>());
    tree
}

/// A root with one script for both instruction sets, `/program` being the file for `home`.
#[must_use]
pub fn root_with_pair(script: &Script, home: IsaKind) -> Tree {
    let mut tree = Tree::new();
    tree.directory("tmp", 0o1777);
    tree.directory("dev", 0o755);
    tree.directory("proc", 0o555);
    tree.file("program.x86_64", 0o755, script.to_elf::<X86_64>());
    tree.file("program.aarch64", 0o755, script.to_elf::<Aarch64>());
    tree.symlink("program", &format!("program.{}", home.name()));
    tree
}

impl<I: Isa> Sim<I>
where
    I::Regs: ScriptRegs,
{
    /// A machine that is about to run `/program` of `root`.
    ///
    /// # Panics
    /// If the root cannot be made into an archive or the kernel refuses it: the test is wrong.
    #[must_use]
    pub fn new(root: &Tree, seed: u64) -> Sim<I> {
        Sim::with_heap(root, seed, None)
    }

    /// As [`Self::new`], with a heap that the kernel makes grow.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn with_heap(root: &Tree, seed: u64, heap: Option<Box<dyn KernelHeap>>) -> Sim<I> {
        let mut archive = cpio::Writer::new();
        assert!(archive.tree(root).is_ok(), "the root is too large");
        let frames = FrameRange { start: Frame(16), end: Frame(16 + FRAMES) };
        let arch = HostArch::<I>::new(frames, seed);
        let wires = arch.wires();
        let host = ScriptedHost::default();
        let config = Config { heap, ..config(0, 1, seed) };
        let kernel = Kernel::new(
            arch,
            Box::new(host.clone()),
            &[frames],
            &[],
            Box::new(archive.finish()),
            config,
        );
        let mut kernel = match kernel {
            Ok(kernel) => kernel,
            Err(error) => unreachable!("{error}"),
        };
        let spawned = kernel.spawn(program());
        assert!(spawned.is_ok(), "{spawned:?}");
        Sim { kernel, host, wires }
    }

    /// Runs until the program ends.
    ///
    /// # Errors
    /// [`Stuck`] if it does not within `steps`.
    pub fn run(&mut self, steps: u64) -> Result<Outcome, Stuck> {
        for _ in 0..steps {
            match self.kernel.step() {
                Step::Busy => {}
                Step::Idle { until: Nanos::NEVER } => return Err(Stuck::Deadlock),
                Step::Idle { until } => {
                    self.wires.advance_to(until);
                    self.kernel.wait_for_interrupt();
                }
                Step::Halted { status } => return Ok(self.outcome(status)),
            }
        }
        Err(Stuck::TooLong)
    }

    fn outcome(&self, status: u32) -> Outcome {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome {
            status,
            stdout: text(self.host.stdout()),
            stderr: text(self.host.stderr()),
            ended: self.wires.now(),
        }
    }
}

/// Steps that every test's program ends within.
pub const ENOUGH: u64 = 2_000_000;

/// Runs a script from a seed.
///
/// # Panics
/// If it does not end.
#[must_use]
pub fn run<I: Isa>(script: &Script, seed: u64) -> Outcome
where
    I::Regs: ScriptRegs,
{
    let mut sim = Sim::<I>::new(&root_with::<I>(script), seed);
    match sim.run(ENOUGH) {
        Ok(outcome) => outcome,
        Err(stuck) => unreachable!(
            "{stuck:?}; output so far: {}{}",
            String::from_utf8_lossy(&sim.host.stdout()),
            String::from_utf8_lossy(&sim.host.stderr()),
        ),
    }
}

/// Stamps a test for both instruction sets: the body is a function generic over the set.
#[macro_export]
macro_rules! on_both {
    ($(#[$meta:meta])* $name:ident, $body:ident) => {
        mod $name {
            $(#[$meta])*
            #[test]
            fn x86_64() {
                super::$body::<maize_abi::isa::x86_64::X86_64>();
            }

            $(#[$meta])*
            #[test]
            fn aarch64() {
                super::$body::<maize_abi::isa::aarch64::Aarch64>();
            }
        }
    };
}
