//! The simulated network for whoever runs the instances itself: their links, their doorbells, and
//! a clock that the owner moves.

use alloc::{collections::BTreeMap, rc::Rc, vec::Vec};
use core::cell::RefCell;

use maize_hal::Nanos;
use maize_link::{Fabric, FabricConfig};
use maize_wire::{Epoch, InstanceId};

use crate::{
    NetConfig, SimAnnounce, SimFabric, SimPort,
    net::{Net, instances_of},
};

/// When doorbells that are on their way will ring, by who hears them.
type Rung = Rc<RefCell<BTreeMap<InstanceId, Vec<Nanos>>>>;

/// A network of instances that somebody else runs. Clones are the same network.
#[derive(Clone)]
pub struct Network {
    net: Net,
    rung: Rung,
    instances: usize,
}

impl Network {
    /// A network between that many instances, at time 0.
    #[must_use]
    pub fn new(config: NetConfig, instances: usize) -> Network {
        Network { net: Net::new(config), rung: Rung::default(), instances }
    }

    /// The links of an instance that starts now, in incarnation `epoch`.
    #[must_use]
    pub fn start(&self, me: InstanceId, epoch: Epoch, config: FabricConfig) -> SimFabric {
        let announce = SimAnnounce::new(self.net.clone(), me, self.instances);
        let ports = instances_of(self.instances)
            .map(|peer| (peer, SimPort::new(self.net.clone(), me, peer)));
        Fabric::new(config, self.now(), (me, epoch), announce, ports)
    }

    /// What rings the doorbells of others for `me`.
    pub fn doorbell(&self, me: InstanceId) -> impl FnMut(InstanceId) + use<> {
        let (net, rung) = (self.net.clone(), Rc::clone(&self.rung));
        move |peer| {
            let at = net.inner().ring(me, peer);
            rung.borrow_mut().entry(peer).or_default().push(at);
        }
    }

    /// The network's time.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.net.inner().now
    }

    /// Moves the clock; it never goes back.
    pub fn advance_to(&self, now: Nanos) {
        let mut net = self.net.inner();
        net.now = net.now.max(now);
    }

    /// When the next doorbell rings at an instance.
    #[must_use]
    pub fn next_doorbell(&self, me: InstanceId) -> Option<Nanos> {
        self.rung.borrow().get(&me)?.iter().min().copied()
    }

    /// Takes the doorbells that have rung at an instance by now; whether there were any.
    pub fn take_doorbells(&self, me: InstanceId, now: Nanos) -> bool {
        let mut rung = self.rung.borrow_mut();
        let Some(times) = rung.get_mut(&me) else { return false };
        let before = times.len();
        times.retain(|at| *at > now);
        times.len() < before
    }

    /// An instance dies: of what it stored last, each peer sees a prefix.
    pub fn cut(&self, instance: InstanceId) {
        self.net.inner().cut(instance);
    }
}
