//! Many kernels on emulated machines with a simulated network between them, in virtual time.

use std::collections::{BTreeMap, HashSet};

use maize_abi::isa::aarch64::Aarch64;
use maize_abi::isa::x86_64::X86_64;
use maize_abi::{Isa, IsaKind};
use maize_arch_host::{EmulatedMemory, HostArch, Script, ScriptRegs, ScriptedHost, Wires};
use maize_core::{
    FabricSettings, Kernel, LinkTransport, ProgramSpec, SpawnError, Step, WindowFrames,
};
use maize_hal::{Frame, FrameRange, Interrupts, Nanos};
use maize_launcher::cpio;
use maize_launcher::tree::Tree;
use maize_link::{FabricConfig, LifeConfig, LinkConfig};
use maize_simnet::{NetConfig, Network};
use maize_wire::{Epoch, InstanceId};

use crate::{Outcome, Stuck, config, program, root_with, runs_at_once};

/// Frames of an emulated machine in a fabric: 16 MiB.
const FRAMES: u64 = 4096;

/// Virtual time that a step of a kernel takes besides its user code.
const STEP_TIME: Nanos = Nanos(200);

/// Links that never poll: on a simulated machine waiting costs nothing.
#[must_use]
pub fn links() -> FabricConfig {
    FabricConfig { poll_for: Nanos(0), ..FabricConfig::default() }
}

/// As [`links`], but a silent peer is given up after 4 ms, so that tests of deaths are short.
#[must_use]
pub fn impatient_links() -> FabricConfig {
    let life = LifeConfig {
        suspect_after: Nanos::from_millis(2),
        dead_after: Nanos::from_millis(4),
        longest_step: Nanos::MILLI,
    };
    let link = LinkConfig { life, ..LinkConfig::default() };
    FabricConfig { link, beat_every: Nanos(200_000), poll_for: Nanos(0) }
}

/// Frames of a window that each instance has for its pages.
const WINDOW_FRAMES: u64 = 8;

/// The first frame of an instance, counted over those that are emulated in one memory.
const fn first_frame(place: u64) -> Frame {
    Frame(16 + place * FRAMES)
}

/// Frames that all of so many instances see, for [`FabricSettings::window`].
#[must_use]
pub const fn window(instances: u16) -> WindowFrames {
    let start = first_frame(instances as u64);
    let end = Frame(start.0 + instances as u64 * WINDOW_FRAMES);
    WindowFrames { all: FrameRange { start, end }, each: WINDOW_FRAMES }
}

/// The emulated machines that host a fabric.
struct Machines {
    /// The machine of each instance.
    numbers: Vec<usize>,
    /// With a window all machines are emulated in one memory, of which each uses its own frames.
    window: Option<WindowFrames>,
    memories: BTreeMap<usize, EmulatedMemory>,
}

impl Machines {
    fn new(instances: u16, settings: &FabricSettings) -> Machines {
        let machines = &settings.machines;
        let alone = |number: usize| usize::from(u16::MAX) + 1 + number;
        let of = |number| machines.get(number).map_or(alone(number), |m| usize::from(*m));
        let numbers = (0..usize::from(instances)).map(of).collect();
        let window = settings.window;
        Machines { numbers, window, memories: BTreeMap::new() }
    }

    /// The memory that an instance sees, its own frames, and those of others in its machine.
    fn core<I: Isa>(&mut self, number: u16) -> (EmulatedMemory, FrameRange, Vec<FrameRange>) {
        let number = usize::from(number);
        let machine = self.numbers[number];
        let together = |other: &usize| self.numbers[*other] == machine;
        let emulated = |other: &usize| self.window.is_some() || together(other);
        let place = |number: usize| (0..number).filter(emulated).count() as u64;
        let frames = |number: usize| {
            let place = place(number);
            FrameRange { start: first_frame(place), end: first_frame(place + 1) }
        };
        let all = 0..self.numbers.len();
        let end = self.window.map_or(first_frame(place(all.end)), |window| window.all.end);
        let ram = FrameRange { start: first_frame(0), end };
        let own = frames(number);
        let borrowed = all.filter(|other| *other != number && together(other)).map(frames);
        let borrowed = borrowed.collect();
        let key = self.window.map_or(machine, |_| 0);
        let memory = self.memories.entry(key).or_insert_with(|| EmulatedMemory::new(I::PTE, ram));
        (memory.core_of(I::PTE), own, borrowed)
    }
}

/// A kernel on an emulated machine, whatever that is.
pub trait Instance {
    /// See [`Kernel::step`].
    fn step(&mut self) -> Step;

    /// See [`Kernel::wait_for_interrupt`].
    fn wait_for_interrupt(&mut self);

    /// See [`Kernel::peers`].
    fn peers(&self) -> Vec<u16>;

    /// See [`Kernel::spawn`].
    ///
    /// # Errors
    /// As that.
    fn spawn(&mut self, program: ProgramSpec) -> Result<(), SpawnError>;

    /// See [`Kernel::counters`].
    fn counters(&self) -> Vec<(String, u64)>;

    /// Frames that user code has used since this was asked.
    fn take_used(&self) -> HashSet<Frame>;

    /// See [`Kernel::is_free`].
    fn is_free(&self, frame: Frame) -> bool;
}

impl<I: Isa> Instance for Kernel<HostArch<I>>
where
    I::Regs: ScriptRegs,
{
    fn step(&mut self) -> Step {
        Kernel::step(self)
    }

    fn wait_for_interrupt(&mut self) {
        Kernel::wait_for_interrupt(self);
    }

    fn peers(&self) -> Vec<u16> {
        Kernel::peers(self)
    }

    fn spawn(&mut self, program: ProgramSpec) -> Result<(), SpawnError> {
        Kernel::spawn(self, program)
    }

    fn counters(&self) -> Vec<(String, u64)> {
        Kernel::counters(self)
    }

    fn take_used(&self) -> HashSet<Frame> {
        self.with_arch(|arch| arch.memory().take_used())
    }

    fn is_free(&self, frame: Frame) -> bool {
        Kernel::is_free(self, frame)
    }
}

/// One instance.
pub struct Node<K: ?Sized> {
    /// The kernel.
    pub kernel: Box<K>,
    /// The host's end of its streams.
    pub host: ScriptedHost,
    /// The machine's clock and interrupts.
    pub wires: Wires,
    /// Until when it sleeps, if it does.
    asleep: Option<Nanos>,
    /// Whether it still runs.
    on: bool,
    /// What it has for itself of its machine's memory.
    frames: FrameRange,
    epoch: Epoch,
    /// How its program, or the fabric's, has ended.
    status: Option<u32>,
}

/// A fabric of kernels of one instruction set.
pub type Fabric<I> = FabricOf<Kernel<HostArch<I>>>;

/// A fabric of kernels of both instruction sets.
pub type Mixed = FabricOf<dyn Instance>;

/// A fabric.
pub struct FabricOf<K: Instance + ?Sized> {
    /// The instances; the program is started on the first.
    pub nodes: Vec<Node<K>>,
    plan: Plan,
    rng: fastrand::Rng,
}

/// What all instances of a fabric are made with.
struct Plan {
    instances: u16,
    image: Vec<u8>,
    network: Network,
    settings: FabricSettings,
    net: NetConfig,
    links: FabricConfig,
}

impl Plan {
    fn new(
        instances: u16,
        root: &Tree,
        settings: &FabricSettings,
        net: NetConfig,
        links: FabricConfig,
    ) -> Plan {
        let mut archive = cpio::Writer::new();
        assert!(archive.tree(root).is_ok(), "the root is too large");
        let network = Network::new(net, usize::from(instances));
        let settings = settings.clone();
        Plan { instances, image: archive.finish(), network, settings, net, links }
    }

    fn seed(&self, number: u16) -> u64 {
        self.net.seed ^ u64::from(number) << 32
    }

    /// An incarnation of an instance with its own frames, and those of others in its machine.
    fn node<I: Isa>(
        &self,
        (number, epoch): (u16, Epoch),
        arch: HostArch<I>,
        frames: FrameRange,
        borrowed: Vec<FrameRange>,
    ) -> Node<Kernel<HostArch<I>>>
    where
        I::Regs: ScriptRegs,
    {
        let me = InstanceId(number);
        let wires = arch.wires();
        wires.advance_to(self.network.now());
        let host = ScriptedHost::default();
        let config = config(number.into(), self.instances.into(), self.net.seed);
        let (host_end, image) = (Box::new(host.clone()), Box::new(self.image.clone()));
        let mut kernel = match Kernel::new(arch, host_end, &[frames], &[], image, config) {
            Ok(kernel) => Box::new(kernel),
            Err(error) => unreachable!("{error}"),
        };
        let fabric = self.network.start(me, epoch, self.links);
        let transport = LinkTransport::new(fabric, self.network.doorbell(me));
        kernel.join(transport.boxed(), FabricSettings { borrowed, ..self.settings.clone() });
        Node { kernel, host, wires, asleep: None, on: true, frames, epoch, status: None }
    }

    /// An incarnation of an instance alone in its machine.
    fn alone<I: Isa>(&self, number: u16, epoch: Epoch) -> Node<Kernel<HostArch<I>>>
    where
        I::Regs: ScriptRegs,
    {
        let frames = FrameRange { start: Frame(16), end: Frame(16 + FRAMES) };
        let arch = HostArch::<I>::new(frames, self.seed(number));
        self.node((number, epoch), arch, frames, Vec::new())
    }

    /// The first incarnation.
    fn first<I: Isa>(&self, machines: &mut Machines, number: u16) -> Node<Kernel<HostArch<I>>>
    where
        I::Regs: ScriptRegs,
    {
        let (memory, frames, borrowed) = machines.core::<I>(number);
        let arch = HostArch::<I>::of_core(memory, self.seed(number));
        self.node((number, Epoch::FIRST), arch, frames, borrowed)
    }

    /// The first incarnation, whatever its instruction set.
    fn any<I: Isa>(&self, machines: &mut Machines, number: u16) -> Node<dyn Instance>
    where
        I::Regs: ScriptRegs,
    {
        let Node { kernel, host, wires, frames, epoch, .. } = self.first::<I>(machines, number);
        Node { kernel, host, wires, asleep: None, on: true, frames, epoch, status: None }
    }

    /// The fabric, its program about to run.
    fn start<K: Instance + ?Sized>(self, nodes: Vec<Node<K>>) -> FabricOf<K> {
        let rng = fastrand::Rng::with_seed(self.net.seed);
        let mut fabric = FabricOf { nodes, plan: self, rng };
        fabric.meet();
        let spawned = fabric.nodes[0].kernel.spawn(program());
        fabric.nodes[0].asleep = None;
        assert!(spawned.is_ok(), "{spawned:?}");
        fabric
    }
}

impl Mixed {
    /// Instances of these instruction sets, each in a machine of its own; the first is about to run
    /// `/program` of `root`.
    ///
    /// # Panics
    /// If a kernel refuses the root or the program: the test is wrong.
    #[must_use]
    pub fn of(
        isas: &[IsaKind],
        root: &Tree,
        settings: &FabricSettings,
        net: NetConfig,
        links: FabricConfig,
    ) -> Mixed {
        let instances = isas.len() as u16;
        let plan = Plan::new(instances, root, settings, net, links);
        let mut machines = Machines::new(instances, settings);
        let nodes = isas.iter().zip(0..).map(|(isa, number)| match isa {
            IsaKind::X86_64 => plan.any::<X86_64>(&mut machines, number),
            IsaKind::Aarch64 => plan.any::<Aarch64>(&mut machines, number),
        });
        let nodes = nodes.collect();
        plan.start(nodes)
    }
}

impl<I: Isa> Fabric<I>
where
    I::Regs: ScriptRegs,
{
    /// That many instances, the first of them about to run `script`.
    #[must_use]
    pub fn new(instances: u16, script: &Script, settings: &FabricSettings, seed: u64) -> Fabric<I> {
        Fabric::with_root(
            instances,
            &root_with::<I>(script),
            settings,
            NetConfig::new(seed),
            links(),
        )
    }

    /// As [`Fabric::new`], for `/program` of `root`, any network and any links.
    ///
    /// # Panics
    /// If a kernel refuses the root or the program: the test is wrong.
    #[must_use]
    pub fn with_root(
        instances: u16,
        root: &Tree,
        settings: &FabricSettings,
        net: NetConfig,
        links: FabricConfig,
    ) -> Fabric<I> {
        let plan = Plan::new(instances, root, settings, net, links);
        let mut machines = Machines::new(instances, settings);
        let nodes = (0..instances).map(|number| plan.first::<I>(&mut machines, number));
        let nodes = nodes.collect();
        plan.start(nodes)
    }
}

impl<I: Isa> Fabric<I>
where
    I::Regs: ScriptRegs,
{
    /// An instance that was killed, and is alone in its machine, starts again with nothing.
    ///
    /// # Panics
    /// If it has started more often than can be counted.
    pub fn restart(&mut self, number: u16) {
        let node = &mut self.nodes[usize::from(number)];
        let Some(epoch) = node.epoch.next() else { unreachable!("too many restarts") };
        *node = self.plan.alone(number, epoch);
    }
}

impl<K: Instance + ?Sized> FabricOf<K> {
    /// Runs until all instances know each other.
    fn meet(&mut self) {
        let others = self.nodes.len() - 1;
        for _ in 0..100_000 {
            if self.nodes.iter().all(|node| node.kernel.peers().len() == others) {
                return;
            }
            self.turn();
        }
        unreachable!("the instances do not find each other");
    }

    /// The time up to which everything has happened.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.plan.network.now()
    }

    /// When an instance has its next turn.
    fn next_turn(&self, number: usize) -> Option<Nanos> {
        let node = &self.nodes[number];
        if !node.on || node.status.is_some() {
            return None;
        }
        let now = node.wires.now();
        let Some(until) = node.asleep else { return Some(now) };
        let bell = self.plan.network.next_doorbell(InstanceId(number as u16));
        Some(until.min(bell.unwrap_or(Nanos::NEVER)).max(now))
    }

    /// Lets the instance that is furthest behind do a step. False if nothing will happen any more.
    pub fn turn(&mut self) -> bool {
        let next = (0..self.nodes.len()).filter_map(|n| Some((self.next_turn(n)?, n))).min();
        let Some((at, number)) = next.filter(|(at, _)| *at != Nanos::NEVER) else { return false };
        self.plan.network.advance_to(at);
        let slice = Nanos(self.rng.u64(500..5_000));
        let node = &mut self.nodes[number];
        node.wires.advance_to(at);
        if self.plan.network.take_doorbells(InstanceId(number as u16), at) {
            node.wires.raise(Interrupts::DOORBELL);
        }
        if node.asleep.take().is_some() {
            node.kernel.wait_for_interrupt();
        }
        node.wires.stop_at(at + slice);
        match node.kernel.step() {
            Step::Busy => node.wires.advance_to(node.wires.now() + STEP_TIME),
            Step::Idle { until } => node.asleep = Some(until),
            Step::Halted { status } => node.status = Some(status),
        }
        self.check_frames(number);
        true
    }

    /// No frame that user code has used in the last step, in its one run, is free, whoever of the machine
    /// owns it, or belongs to an instance that is gone, as far as this one knows.
    fn check_frames(&self, number: usize) {
        if runs_at_once(self.plan.net.seed) > 0 {
            return;
        }
        let machines = &self.plan.settings.machines;
        let Some(machine) = machines.get(number) else { return };
        let used = self.nodes[number].kernel.take_used();
        let own = &self.nodes[number];
        let peers = own.kernel.peers();
        for (other, node) in self.nodes.iter().enumerate() {
            if machines.get(other) != Some(machine) || !own.on {
                continue;
            }
            if node.on {
                let freed = used.iter().find(|frame| node.kernel.is_free(**frame));
                assert_eq!(freed, None, "instance {number} uses what {other} has freed");
            } else if !peers.contains(&(other as u16)) {
                let theirs = node.frames.start..node.frames.end;
                let lost = used.iter().find(|frame| theirs.contains(*frame));
                assert_eq!(lost, None, "instance {number} uses memory of {other}, which is gone");
            }
        }
    }

    /// Runs until the program has ended and all instances know it.
    ///
    /// # Errors
    /// [`Stuck`] if that is not so after `turns`, or nothing happens for 20 s.
    pub fn run(&mut self, turns: u64) -> Result<Outcome, Stuck> {
        let mut last_progress = (self.progress(), self.now());
        for turn in 0..turns {
            if self.nodes.iter().all(|node| !node.on || node.status.is_some()) {
                return Ok(self.outcome());
            }
            if !self.turn() {
                return Err(Stuck::Deadlock);
            }
            if turn % 1024 == 0 {
                let progress = self.progress();
                if progress != last_progress.0 {
                    last_progress = (progress, self.now());
                } else if self.now().since(last_progress.1) > Nanos(20 * Nanos::SECOND.0) {
                    return Err(Stuck::Deadlock);
                }
            }
        }
        Err(Stuck::TooLong)
    }

    fn progress(&self) -> u64 {
        self.counter("traps")
    }

    fn outcome(&self) -> Outcome {
        let node = &self.nodes[0];
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome {
            status: node.status.unwrap_or(u32::MAX),
            stdout: text(node.host.stdout()),
            stderr: text(node.host.stderr()),
            ended: self.now(),
        }
    }

    /// An instance dies at once.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number].on = false;
        self.plan.network.cut(InstanceId(number as u16));
    }

    /// All instances' counters, added up.
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (name, count) in self.nodes.iter().flat_map(|node| node.kernel.counters()) {
            *all.entry(name).or_default() += count;
        }
        all
    }

    /// One counter, added up over all instances.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.nodes.iter().flat_map(|node| node.kernel.counters());
        counters.filter(|(known, _)| known == name).map(|(_, count)| count).sum()
    }
}

/// Turns that every test's program ends within.
pub const ENOUGH: u64 = 8_000_000;

/// Runs a script on that many instances from a seed.
///
/// # Panics
/// If it does not end.
#[must_use]
pub fn run<I: Isa>(
    instances: u16,
    script: &Script,
    settings: &FabricSettings,
    seed: u64,
) -> (Outcome, Fabric<I>)
where
    I::Regs: ScriptRegs,
{
    let mut fabric = Fabric::<I>::new(instances, script, settings, seed);
    match fabric.run(ENOUGH) {
        Ok(outcome) => (outcome, fabric),
        Err(stuck) => unreachable!(
            "{stuck:?} at {:?}, seed {seed}; output so far: {}{}\n{:#?}",
            fabric.now(),
            String::from_utf8_lossy(&fabric.nodes[0].host.stdout()),
            String::from_utf8_lossy(&fabric.nodes[0].host.stderr()),
            fabric.counters(),
        ),
    }
}
