//! Instances on the simulated network, and the loop that runs them.

use alloc::vec::Vec;

use maize_hal::Nanos;
use maize_link::{Event, Fabric, FabricConfig, Idle};
use maize_wire::{Epoch, InstanceId};

use crate::{
    NetConfig, SimAnnounce, SimPort,
    net::{Net, instances_of},
};

/// A simulated instance's links.
pub type SimFabric = Fabric<SimPort, SimAnnounce>;

/// Events that an instance handles before others get their turn.
const EVENTS_A_TURN: usize = 32;

enum Power {
    On,
    Frozen,
    Off,
}

struct Node {
    fabric: SimFabric,
    power: Power,
    /// Sleeps until then, or until its doorbell rings; `None` if it polls.
    asleep: Option<Nanos>,
    /// When doorbells that are on their way will ring. Those that have rung are one.
    rung: Vec<Nanos>,
}

/// A fabric of simulated instances.
pub struct Sim {
    net: Net,
    config: FabricConfig,
    nodes: Vec<Node>,
    doorbells: u64,
}

impl Sim {
    /// That many instances, all of them starting at time 0.
    #[must_use]
    pub fn new(instances: usize, net: NetConfig, config: FabricConfig) -> Sim {
        let mut sim =
            Sim { net: Net::new(net), config, nodes: Vec::with_capacity(instances), doorbells: 0 };
        for me in instances_of(instances) {
            let fabric = sim.start(me, Epoch::FIRST, instances);
            sim.nodes.push(Node { fabric, power: Power::On, asleep: None, rung: Vec::new() });
        }
        sim
    }

    fn start(&self, me: InstanceId, epoch: Epoch, instances: usize) -> SimFabric {
        let announce = SimAnnounce::new(self.net.clone(), me, instances);
        let ports =
            instances_of(instances).map(|peer| (peer, SimPort::new(self.net.clone(), me, peer)));
        Fabric::new(self.config, self.now(), (me, epoch), announce, ports)
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.net.inner().now
    }

    /// Doorbells that were rung so far.
    #[must_use]
    pub const fn doorbells(&self) -> u64 {
        self.doorbells
    }

    /// An instance's links; `None` if there is no such instance, or it is not running.
    pub fn fabric(&mut self, instance: InstanceId) -> Option<&mut SimFabric> {
        let node = self.nodes.get_mut(instance.index())?;
        // Whoever uses the links may make work for the instance: it must not stay asleep.
        node.asleep = None;
        matches!(node.power, Power::On).then_some(&mut node.fabric)
    }

    /// An instance dies. Of what it stored last, each peer sees a prefix.
    pub fn kill(&mut self, instance: InstanceId) {
        if let Some(node) = self.nodes.get_mut(instance.index()) {
            node.power = Power::Off;
            self.net.inner().cut(instance);
        }
    }

    /// An instance stops running, but keeps its state.
    pub fn freeze(&mut self, instance: InstanceId) {
        self.switch(instance, Power::Frozen);
    }

    /// An instance that was frozen goes on as if nothing had been.
    pub fn thaw(&mut self, instance: InstanceId) {
        self.switch(instance, Power::On);
    }

    fn switch(&mut self, instance: InstanceId, power: Power) {
        if let Some(node) = self.nodes.get_mut(instance.index())
            && !matches!(node.power, Power::Off)
        {
            node.power = power;
            node.asleep = None;
        }
    }

    /// A dead instance starts again, with nothing but the next epoch, which it returns. `None` if
    /// there is no such instance.
    pub fn restart(&mut self, instance: InstanceId) -> Option<Epoch> {
        let epoch = self.nodes.get(instance.index())?.fabric.epoch().next()?;
        let fabric = self.start(instance, epoch, self.nodes.len());
        let node = self.nodes.get_mut(instance.index())?;
        *node = Node { fabric, power: Power::On, asleep: None, rung: Vec::new() };
        Some(epoch)
    }

    /// Nothing that `from` stores is seen by `to` before that time.
    pub fn hold(&mut self, from: InstanceId, to: InstanceId, until: Nanos) {
        self.net.inner().seen(from, to).hold(until);
    }

    /// Runs until that time. Events go to `handle`, with the links of the instance they are for.
    pub fn run_until(
        &mut self,
        end: Nanos,
        handle: &mut impl FnMut(InstanceId, &mut SimFabric, Nanos, (InstanceId, Event)),
    ) {
        while self.now() < end {
            let mut order: Vec<InstanceId> = instances_of(self.nodes.len()).collect();
            self.net.inner().rng.shuffle(&mut order);
            for instance in order {
                self.turn(instance, handle);
            }
            let next = self.next_time().min(end);
            self.net.inner().now = next;
        }
    }

    /// One instance's turn, if it is awake.
    fn turn(
        &mut self,
        instance: InstanceId,
        handle: &mut impl FnMut(InstanceId, &mut SimFabric, Nanos, (InstanceId, Event)),
    ) {
        let now = self.now();
        let Some(node) = self.nodes.get_mut(instance.index()) else { return };
        if !matches!(node.power, Power::On) {
            return;
        }
        if node.rung.iter().any(|at| *at <= now) {
            node.rung.retain(|at| *at > now);
            node.asleep = None;
            node.fabric.heard_doorbell();
        }
        if node.asleep.is_some_and(|until| until > now) {
            return;
        }
        node.asleep = None;
        let mut events = 0;
        while let Some(event) = node.fabric.poll(now) {
            handle(instance, &mut node.fabric, now, event);
            events += 1;
            if events == EVENTS_A_TURN {
                break;
            }
        }
        let mut rung = Vec::new();
        node.fabric.notify(&mut |peer| rung.push(peer));
        if events < EVENTS_A_TURN
            && let Idle::Sleep(until) = node.fabric.idle(now)
        {
            node.asleep = Some(until);
        }
        for peer in rung {
            self.doorbells += 1;
            let at = self.net.inner().ring(instance, peer);
            if let Some(peer) = self.nodes.get_mut(peer.index()) {
                peer.rung.push(at);
            }
        }
    }

    /// When something happens next: at least a nanosecond from now.
    fn next_time(&self) -> Nanos {
        let net = self.net.inner();
        let mut next = Nanos::NEVER;
        for (instance, node) in instances_of(self.nodes.len()).zip(&self.nodes) {
            if !matches!(node.power, Power::On) {
                continue;
            }
            next = node.rung.iter().copied().fold(next, Nanos::min);
            next = next.min(match node.asleep {
                Some(until) => until,
                // It polls: when it sees something new, or a moment later.
                None => net
                    .next_arrival(instance)
                    .unwrap_or(Nanos::NEVER)
                    .min(net.now + self.config.poll_for.max(Nanos::MICRO)),
            });
        }
        next.max(net.now + Nanos(1))
    }
}
