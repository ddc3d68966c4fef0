//! The launcher stops an instance of a machine and starts it again, while the others go on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their helpers")]
#![allow(clippy::panic, reason = "tests and their helpers")]

use std::collections::BTreeMap;
use std::time::Duration;

use maize_hostlink::boot::Isa;
use maize_hostlink::{KernelMessage, LauncherMessage};
use maize_launcher::live::{Event, Live, Order};
use maize_launcher::run::{RunConfig, kernel_files};
use maize_launcher::workspace::{self, Workspace};

/// Longest wait for anything, on a busy host.
const LIMIT: Duration = Duration::from_secs(120);

/// A machine of three instances that serve, and what its instances know of each other.
struct Machine {
    live: Option<Live>,
    /// The epoch of each peer that an instance has a link to.
    links: BTreeMap<(u16, u16), u32>,
    /// The epoch of each instance.
    epochs: BTreeMap<u16, u32>,
}

impl Machine {
    fn start(isa: Isa) -> Machine {
        let topology = format!("{isa}*3").parse().unwrap();
        // Nobody is given up for being silent: the one that goes leaves orderly.
        let config = RunConfig::exercise(topology, Vec::new()).timeout(3 * LIMIT).patient();
        let workspace = Workspace::find().unwrap();
        // Building takes its time, which is not the machine's.
        kernel_files(workspace::kernel(isa), &workspace).unwrap();
        let live = Live::start(config, &workspace).unwrap();
        Machine { live: Some(live), links: BTreeMap::new(), epochs: BTreeMap::new() }
    }

    fn tell(&mut self, message: LauncherMessage) {
        self.live.as_ref().unwrap().order(Order::Tell(0, message));
    }

    /// Waits until what is known is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&Machine) -> bool) {
        let limit = std::time::Instant::now() + LIMIT;
        while !is_so(self) {
            let left = limit.saturating_duration_since(std::time::Instant::now());
            let next = self.live.as_mut().unwrap().next(left);
            match next {
                Some((_, Event::Said { instance, message })) => self.hear(instance, &message),
                Some((_, Event::Ended { how, .. })) => self.fail(what, &how),
                Some(_) => {}
                None => self.fail(what, "nothing more came"),
            }
        }
    }

    fn hear(&mut self, from: u16, message: &KernelMessage) {
        match message {
            KernelMessage::Up { instance, epoch } => {
                assert_eq!(*instance, from, "an instance speaks for itself");
                self.epochs.insert(from, *epoch);
            }
            KernelMessage::PeerUp { peer, epoch } => {
                self.links.insert((from, *peer), *epoch);
            }
            KernelMessage::PeerDown { peer, .. } => {
                self.links.remove(&(from, *peer));
            }
            _ => {}
        }
    }

    fn fail(&mut self, what: &str, why: &str) -> ! {
        let outcome = self.live.take().unwrap().dismiss().unwrap();
        panic!("{what}: {why}\n{:?}\n{}", self.links, outcome.consoles.concat());
    }
}

fn stopped_and_started(isa: Isa) {
    let mut machine = Machine::start(isa);
    machine.until("all links are up", |m| m.links.len() == 6 && m.epochs.len() == 3);
    let before = machine.epochs[&1];

    machine.tell(LauncherMessage::StopInstance { instance: 1 });
    machine.until("the others miss it", |m| {
        !m.links.contains_key(&(0, 1)) && !m.links.contains_key(&(2, 1))
    });
    assert!(machine.links.contains_key(&(0, 2)) && machine.links.contains_key(&(2, 0)));

    machine.tell(LauncherMessage::StartInstance { instance: 1 });
    machine.until("it joins again", |m| {
        let epoch = m.epochs[&1];
        let knows = |from| m.links.get(&(from, 1)) == Some(&epoch);
        epoch > before && knows(0) && knows(2)
    });
    let outcome = machine.live.take().unwrap().dismiss().unwrap();
    let consoles = outcome.consoles.concat();
    for line in ["instance 1 has stopped", "instance 1 has started", "[1] [INFO "] {
        assert!(consoles.contains(line), "{line}\n{consoles}");
    }
}

#[test]
fn a_sibling_on_q35_is_stopped_and_started_by_the_launcher() {
    stopped_and_started(Isa::X86_64);
}

#[test]
fn a_sibling_on_virt_is_stopped_and_started_by_the_launcher() {
    stopped_and_started(Isa::Aarch64);
}
