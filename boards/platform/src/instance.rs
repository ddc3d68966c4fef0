//! The life of an instance after its board has found the machine out.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt::Display;

use maize_core::{
    Coherence, Config, FabricSettings, Kernel, Placement, ProgramSpec, RUNS_AT_ONCE, Step,
    TIME_SLICE,
};
use maize_hal::{Arch, FrameRange, HostIo, Nanos};
use maize_hostlink::boot::{self, Action, BOOT_RECORD_PATH, Console, Program, Sharing};
use maize_hostlink::control::Level;
use maize_hostlink::{BootRecord, KernelMessage};
use maize_ivshmem::Ivshmem;
use maize_trace::{Counter, EventKind};

use crate::fabric::{self, CoreTransport, MachineLinks};
use crate::shared_link::{SharedLink, SharedLinks};
use crate::siblings::{LocalWindow, Siblings};
use crate::{ByteStream, End, HostLink, heap, orders};

/// A machine, ready to run an instance.
#[derive(Debug)]
pub struct Machine<A, S> {
    /// The processor.
    pub arch: A,
    /// Frames that nothing uses yet.
    pub free: Vec<FrameRange>,
    /// Bytes of RAM that the instance has in all.
    pub ram: u64,
    /// The initial RAM disk, in place.
    pub initrd: &'static [u8],
    /// What the launcher asks for.
    pub record: BootRecord,
    /// The host link.
    pub link: HostLink<S>,
    /// The device that shares memory with other machines; `None` if there are none.
    pub pci: Option<Ivshmem>,
    /// The window of this machine's instances; `None` where the instance is alone in its machine.
    pub local: Option<LocalWindow>,
    /// The machine's other instances, if this is its first.
    pub siblings: Option<Siblings>,
}

/// How long the last words to the launcher, which tell how the program ended, may take to leave: longer than a busy host
/// keeps the emulator waiting.
const FLUSH_PATIENCE: Nanos = Nanos::from_millis(10_000);
/// Time for what instances of a machine, and links, still have to pass on when the program has ended.
const LAST_WORDS: Nanos = Nanos::from_millis(10_000);
/// How often the launcher is heard while there is something else to do.
const TURN_EVERY: Nanos = Nanos(50_000);

/// Ends an instance that cannot go on, and says why to whoever can hear it.
pub fn give_up<S: ByteStream>(
    link: &mut HostLink<S>,
    now: impl Fn() -> Nanos,
    why: &dyn Display,
) -> ! {
    log::error!("{why}");
    link.tell(&KernelMessage::Report { level: Level::Error, text: why.to_string() });
    flush(link, now);
    crate::end(End::Failed)
}

/// Waits until everything has left the machine, if that does not take long.
pub fn flush<S: ByteStream>(link: &mut HostLink<S>, now: impl Fn() -> Nanos) {
    let patience = now() + FLUSH_PATIENCE;
    while !link.flushed() && now() < patience {
        core::hint::spin_loop();
    }
}

/// Runs an instance to its end.
pub fn run_instance<A: Arch, S: ByteStream + 'static>(machine: Machine<A, S>) -> ! {
    let Machine { arch, free, ram, initrd, record, link, pci, local, siblings } = machine;
    log::info!("instance {}: {} MiB of memory", record.instance, ram >> 20);
    let others = local.as_ref().map(|local| local.others.clone()).unwrap_or_default();
    let link = Rc::new(RefCell::new(link));
    let shared_links = SharedLinks::default();
    let host = SharedLink::new(link.clone(), shared_links.clone());
    let shutdown = host.shutdown();
    let counts = record.stats;
    let config = Config {
        cpu: u32::from(record.instance),
        cpus: record.instances.len().max(1) as u32,
        hostname: b"maize".to_vec(),
        stats: record.stats,
        hidden: alloc::vec![BOOT_RECORD_PATH.into()],
        heap: Some(Box::new(heap::Growing)),
        runs_at_once: RUNS_AT_ONCE,
    };
    let kernel = Kernel::new(arch, Box::new(host), &free, &[], Box::new(initrd), config);
    let mut kernel = match kernel {
        Ok(kernel) => kernel,
        Err(error) => {
            log::error!("{error}");
            crate::end(End::Failed)
        }
    };
    // Now that the root has been read, which takes longer than peers wait for a sign of life.
    let joined = match kernel.with_arch(|arch| fabric::join(arch, &record, pci, local)) {
        Ok(joined) => joined,
        Err(error) => give_up(&mut link.borrow_mut(), || kernel.now(), &error),
    };
    let window = joined.as_ref().and_then(|joined| joined.window);
    let links =
        joined.map(|joined| shared_links.get_or_init(|| Rc::new(RefCell::new(joined.links))));
    if let Some(links) = links {
        let machines = record.instances.iter().map(|instance| instance.machine).collect();
        let settings =
            FabricSettings { machines, borrowed: others, window, ..settings(record.sharing) };
        kernel.join(Box::new(CoreTransport::new(links.clone())), settings);
    }
    let serves = match record.action {
        Action::Run(program) => {
            spawn(&mut kernel, program, record.console);
            false
        }
        Action::Serve if links.is_some() => true,
        Action::Serve => {
            let mut link = link.borrow_mut();
            give_up(&mut link, || kernel.now(), &"there is no other instance to serve")
        }
    };
    let Some(links) = links.cloned() else {
        let status = kernel.run();
        log::info!("the program has ended with status {status:#x}");
        crate::end(End::Done)
    };
    let mut instance = Instance { kernel, links, link, siblings, last_turn: Nanos(0) };
    let status = instance.run(|| serves && shutdown.get());
    if counts {
        instance.hear_out();
    }
    let Instance { kernel, links, link, .. } = instance;
    links.borrow_mut().leave(kernel.now());
    match status {
        Some(status) => log::info!("the program has ended with status {status:#x}"),
        None => log::info!("asked to end"),
    }
    flush(&mut link.borrow_mut(), || kernel.now());
    crate::end(End::Done)
}

/// How often loads are measured: as long as a time slice.
const BALANCE_EVERY: Nanos = TIME_SLICE;

fn settings(sharing: Sharing) -> FabricSettings {
    let coherence = match sharing.coherence {
        boot::Coherence::Directory => Coherence::Directory,
        boot::Coherence::Voting => Coherence::Voting,
    };
    FabricSettings {
        coherence,
        placement: placement(sharing.placement),
        homes: placement(sharing.homes),
        move_processes_every: sharing.move_processes_every,
        migrate_every: sharing.migrate_every,
        prefetch: sharing.prefetch,
        balance_every: if sharing.balance { BALANCE_EVERY } else { Nanos(0) },
        ..FabricSettings::default()
    }
}

fn placement(placement: boot::Placement) -> Placement {
    match placement {
        boot::Placement::Local => Placement::Local,
        boot::Placement::Spread => Placement::Spread,
        boot::Placement::List(cpus) => Placement::List(cpus.into_iter().map(u32::from).collect()),
    }
}

fn spawn<A: Arch>(kernel: &mut Kernel<A>, program: Program, console: Console) {
    let terminal = match console {
        Console::Streams => None,
        Console::Terminal(size) => Some((size.rows, size.columns)),
    };
    let spec = ProgramSpec {
        path: program.path,
        argv: program.argv,
        envp: program.env,
        cwd: program.cwd,
        terminal,
    };
    if let Err(error) = kernel.spawn(spec) {
        log::error!("{error}");
        crate::end(End::Failed)
    }
}

/// A kernel, and what it does not know of its machine.
struct Instance<A: Arch, S> {
    kernel: Kernel<A>,
    links: Rc<RefCell<MachineLinks>>,
    link: Rc<RefCell<HostLink<S>>>,
    siblings: Option<Siblings>,
    last_turn: Nanos,
}

impl<A: Arch, S: ByteStream> Instance<A, S> {
    /// Runs until the program has ended, with its status, or `ended` says so.
    fn run(&mut self, ended: impl Fn() -> bool) -> Option<u32> {
        loop {
            let step = self.kernel.step();
            match step {
                Step::Halted { status } => return Some(status),
                Step::Busy if self.kernel.now().since(self.last_turn) < TURN_EVERY => continue,
                Step::Busy | Step::Idle { .. } => {}
            }
            self.last_turn = self.kernel.now();
            let (links, link) = (&mut *self.links.borrow_mut(), &mut *self.link.borrow_mut());
            let again = orders::serve(links, link, self.siblings.as_mut(), self.last_turn);
            if link.has_events() {
                // It came through another instance, without an interrupt of the device.
                self.kernel.hear_host();
                continue;
            }
            if ended() {
                return None;
            }
            if step != Step::Busy && !again {
                links.count(Counter::Sleeps);
                links.trace(self.kernel.now(), EventKind::IdleBegin, 0, [0; 2]);
                self.kernel.wait_for_interrupt();
                links.trace(self.kernel.now(), EventKind::IdleEnd, 0, [0; 2]);
            }
        }
    }

    /// Passes on what is still to be said after the program's end. The machine ends with its first
    /// instance, through which the others tell the launcher what they have counted; they end with
    /// the program.
    fn hear_out(&mut self) {
        let until = self.kernel.now() + LAST_WORDS;
        loop {
            let now = self.kernel.now();
            // Asked before the links are polled: whoever has ended had said everything before.
            let ended = self.siblings.as_ref().is_none_or(Siblings::have_ended);
            let (links, link) = (&mut *self.links.borrow_mut(), &mut *self.link.borrow_mut());
            while links.poll(now).is_some() {}
            orders::serve(links, link, self.siblings.as_mut(), now);
            if ended && links.is_flushed() || now >= until {
                return;
            }
        }
    }
}
