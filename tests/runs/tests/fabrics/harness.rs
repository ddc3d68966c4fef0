//! A fabric that a test follows and steers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use maize_hostlink::{KernelMessage, LauncherMessage};
use maize_launcher::live::{Event, Live, Order};
use maize_launcher::run::{RunConfig, RunOutcome};
use maize_launcher::topology::Topology;
use maize_launcher::workspace::Workspace;
use maize_msg_exercise::{ExchangeRequest, Exercise, Outcome, PairOutcome};
use maize_trace::Counters;
use maize_window::{HostWindow, Window, WindowHeader};
use maize_wire::{InstanceId, Kind};

/// Longest time for machines to start and their links to come up, on a busy host.
pub(crate) const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// Longest time for news of a peer, on a busy host.
pub(crate) const NEWS_LIMIT: Duration = Duration::from_secs(120);

/// Silence after which a peer is given up where one is to die: the others are to be given their turns more often than
/// that, also on a busy host.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(8);

/// The kind of an exchange's messages, and how many more of them show that it goes on.
const MESSAGE: Kind = Kind(100);
const MORE: u64 = 200;

/// Longest time for a whole run.
const RUN_LIMIT: Duration = Duration::from_secs(1_500);

/// Events shown of a run that went wrong.
const SHOWN: usize = 40;

/// A fabric without a program.
pub(crate) struct Fabric {
    live: Option<Live>,
    instances: u16,
    /// The process of each machine.
    pub(crate) processes: BTreeMap<usize, u32>,
    /// What each instance has told of its exercise.
    outcomes: BTreeMap<u16, Outcome>,
}

impl Fabric {
    fn start(config: RunConfig) -> Self {
        let config = config.timeout(RUN_LIMIT);
        let instances = config.topology.instances();
        let live = Live::start(config, &Workspace::find().unwrap()).unwrap();
        Self {
            live: Some(live),
            instances: u16::try_from(instances.len()).unwrap(),
            processes: BTreeMap::new(),
            outcomes: BTreeMap::new(),
        }
    }

    /// The ordinary kernels, waiting for work.
    pub(crate) fn serve(topology: &str) -> Self {
        Self::start(RunConfig::exercise(topology.parse().unwrap(), Vec::new()).patient())
    }

    /// Kernels that exchange numbered messages between all pairs.
    pub(crate) fn exchange(topology: &str, request: ExchangeRequest) -> Self {
        Self::start(exchange(topology, request).patient())
    }

    /// The same, and who is silent for [`DEAD_AFTER`] is given up.
    pub(crate) fn mortal_exchange(topology: &str, request: ExchangeRequest) -> Self {
        Self::start(RunConfig { dead_after: DEAD_AFTER, ..exchange(topology, request) })
    }

    /// The same, and every message is traced.
    pub(crate) fn traced_exchange(topology: &str, request: ExchangeRequest) -> Self {
        Self::start(RunConfig { trace: true, ..exchange(topology, request).patient() })
    }

    fn live(&mut self) -> &mut Live {
        self.live.as_mut().unwrap()
    }

    /// The numbers of the instances.
    pub(crate) fn instances(&self) -> std::ops::Range<u16> {
        0..self.instances
    }

    /// The window between the machines.
    pub(crate) fn window(&mut self) -> HostWindow {
        let window = self.live().window(BOOT_LIMIT);
        window.unwrap_or_else(|| self.fail("there is no window"))
    }

    pub(crate) fn order(&mut self, order: Order) {
        self.live().order(order);
    }

    /// Follows the run for a while.
    pub(crate) fn follow(&mut self, time: Duration, mut take: impl FnMut(&Event)) {
        self.live().wait_until(time, |event| {
            take(event);
            false
        });
    }

    /// Follows the run until `done`; fails with what was seen and the consoles.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&Event) -> bool,
    ) {
        let (mut processes, mut told) = (BTreeMap::new(), Vec::new());
        let came = self.live().wait_until(limit, |event| {
            match event {
                Event::Started { machine, process } => {
                    processes.insert(*machine, *process);
                }
                Event::Said { instance, message: KernelMessage::Exercise { bytes } } => {
                    told.push((*instance, postcard::from_bytes(bytes)));
                }
                _ => {}
            }
            done(event)
        });
        self.processes.extend(processes);
        for (instance, outcome) in told {
            match outcome {
                Ok(outcome) => self.outcomes.insert(instance, outcome),
                Err(error) => self.fail(&format!("instance {instance}: bad outcome: {error}")),
            };
        }
        if !came {
            self.fail(what);
        }
    }

    /// Waits until every instance is up and has links to all others.
    pub(crate) fn wait_for_links(&mut self) {
        let mut missing: BTreeSet<(u16, u16)> = self
            .instances()
            .flat_map(|one| self.instances().map(move |other| (one, other)))
            .collect();
        let mut ended = false;
        self.wait("not all links came up", BOOT_LIMIT, |event| {
            match event {
                Event::Ended { .. } => ended = true,
                Event::Said { instance, message: KernelMessage::Up { .. } } => {
                    missing.remove(&(*instance, *instance));
                }
                Event::Said { instance, message: KernelMessage::PeerUp { peer, .. } } => {
                    missing.remove(&(*instance, *peer));
                }
                _ => {}
            }
            missing.is_empty() || ended
        });
        if ended {
            self.fail("a machine has ended");
        }
    }

    /// Waits until these instances have told what came of their exchange.
    pub(crate) fn exchanged(
        &mut self,
        of: impl IntoIterator<Item = u16>,
        limit: Duration,
    ) -> BTreeMap<u16, Vec<PairOutcome>> {
        let all: BTreeSet<u16> = of.into_iter().collect();
        let mut missing: BTreeSet<u16> =
            all.iter().filter(|one| !self.outcomes.contains_key(one)).copied().collect();
        if !missing.is_empty() {
            self.wait("not everybody told of an exchange", limit, |event| {
                if let Event::Said { instance, message: KernelMessage::Exercise { .. } } = event {
                    missing.remove(instance);
                }
                missing.is_empty()
            });
        }
        let outcomes = std::mem::take(&mut self.outcomes);
        outcomes
            .into_iter()
            .filter(|(instance, _)| all.contains(instance))
            .map(|(instance, outcome)| match outcome {
                Outcome::Exchange(pairs) => (instance, pairs),
                other => self.fail(&format!("instance {instance}: {other:?}")),
            })
            .collect()
    }

    /// Waits until each of these instances has received more messages of an exchange.
    pub(crate) fn wait_for_messages(
        &mut self,
        window: &HostWindow,
        of: impl IntoIterator<Item = u16>,
    ) {
        let layout = WindowHeader::read(&window.window()).unwrap().layout;
        let received = |instance: u16| {
            let span = layout.counters(InstanceId(instance)).unwrap();
            let counters = Counters::new(window.window().part(span).unwrap()).unwrap();
            counters.kind(MESSAGE).received
        };
        let mut missing: Vec<(u16, u64)> =
            of.into_iter().map(|instance| (instance, received(instance) + MORE)).collect();
        let end = Instant::now() + NEWS_LIMIT;
        while !missing.is_empty() {
            if Instant::now() > end {
                self.fail(&format!("instances did not go on to these counts: {missing:?}"));
            }
            self.follow(Duration::from_millis(10), |_| {});
            missing.retain(|(instance, count)| received(*instance) < *count);
        }
    }

    /// Asks these instances to end, and takes what they tell of their exchange.
    pub(crate) fn finish(
        &mut self,
        of: impl IntoIterator<Item = u16> + Clone,
    ) -> BTreeMap<u16, Vec<PairOutcome>> {
        for instance in of.clone() {
            self.order(Order::Tell(instance, LauncherMessage::Shutdown));
        }
        self.exchanged(of, NEWS_LIMIT)
    }

    /// Ends the run.
    pub(crate) fn end(mut self) -> RunOutcome {
        self.live.take().unwrap().dismiss().unwrap()
    }

    /// Ends the run and the test.
    pub(crate) fn fail(&mut self, why: &str) -> ! {
        let live = self.live.take().unwrap();
        let seen: Vec<String> = live.seen().iter().map(|(_, event)| format!("{event:?}")).collect();
        let last = seen.get(seen.len().saturating_sub(SHOWN)..).unwrap_or(&seen).join("\n");
        let outcome = live.dismiss().unwrap();
        panic!("{why}\n{last}\n{:?}\n{}", outcome.ending, outcome.consoles.concat());
    }
}

fn exchange(topology: &str, request: ExchangeRequest) -> RunConfig {
    let topology: Topology = topology.parse().unwrap();
    let request = postcard::to_allocvec(&Exercise::Exchange(request)).unwrap();
    RunConfig::exercise(topology, request)
}

/// Nothing was lost, came twice, or was not what it should be.
pub(crate) fn assert_flawless(outcomes: &BTreeMap<u16, Vec<PairOutcome>>) {
    for (instance, pairs) in outcomes {
        for pair in pairs {
            assert_eq!(pair.fault, None, "instance {instance}: {pair:?}");
        }
    }
}
