//! The network: pipes between all instances, a clock, and one source of chance.

use alloc::{collections::BTreeMap, rc::Rc};
use core::cell::{RefCell, RefMut};

use fastrand::Rng;
use maize_hal::Nanos;
use maize_window::Presence;
use maize_wire::InstanceId;

use crate::pipe::{Pipe, Store};

/// Settings of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// Where chance starts.
    pub seed: u64,
    /// The least time that a store needs to be seen, and a doorbell to be heard.
    pub min_delay: Nanos,
    /// The most.
    pub max_delay: Nanos,
    /// Slots of each ring; at least 256.
    pub ring_slots: usize,
}

impl NetConfig {
    /// Delays of 0.1 to 5 µs and rings of 256 slots.
    #[must_use]
    pub const fn new(seed: u64) -> NetConfig {
        NetConfig { seed, min_delay: Nanos(100), max_delay: Nanos(5_000), ring_slots: 256 }
    }
}

pub(crate) struct Inner {
    pub(crate) config: NetConfig,
    pub(crate) now: Nanos,
    pub(crate) rng: Rng,
    /// By receiver, then sender.
    pipes: BTreeMap<(InstanceId, InstanceId), Pipe>,
}

/// The network, shared by all the ports.
#[derive(Clone)]
pub(crate) struct Net(Rc<RefCell<Inner>>);

impl Net {
    pub(crate) fn new(config: NetConfig) -> Net {
        Net(Rc::new(RefCell::new(Inner {
            config,
            now: Nanos(0),
            rng: Rng::with_seed(config.seed),
            pipes: BTreeMap::new(),
        })))
    }

    /// No call of another object is made while the borrow lasts, so it is the only one.
    pub(crate) fn inner(&self) -> RefMut<'_, Inner> {
        self.0.borrow_mut()
    }
}

impl Inner {
    /// A delay, by chance.
    pub(crate) fn delay(&mut self) -> Nanos {
        Nanos(self.rng.u64(self.config.min_delay.0..=self.config.max_delay.0))
    }

    /// What `to` sees of `from` now.
    pub(crate) fn seen(&mut self, from: InstanceId, to: InstanceId) -> &mut Pipe {
        let pipe = self.pipes.entry((to, from)).or_insert_with(Pipe::new);
        pipe.arrive(self.now);
        pipe
    }

    /// Stores something of `from` for `to` to see.
    pub(crate) fn store(&mut self, from: InstanceId, to: InstanceId, store: Store) {
        let arrival = self.now + self.delay();
        self.seen(from, to).store(arrival, store);
    }

    /// When `to` hears a doorbell that `from` rings now: not before it sees what was stored before.
    pub(crate) fn ring(&mut self, from: InstanceId, to: InstanceId) -> Nanos {
        let arrival = self.now + self.delay();
        self.seen(from, to).latest().max(arrival)
    }

    /// Stores the presence of `from` for everybody.
    pub(crate) fn announce(&mut self, from: InstanceId, presence: Presence, instances: usize) {
        for to in instances_of(instances).filter(|to| *to != from) {
            self.store(from, to, Store::Presence(presence));
        }
    }

    /// When `to` next sees something new.
    pub(crate) fn next_arrival(&self, to: InstanceId) -> Option<Nanos> {
        let first = (to, InstanceId(0));
        let last = (to, InstanceId(u16::MAX));
        self.pipes.range(first..=last).filter_map(|(_, pipe)| pipe.next_arrival(self.now)).min()
    }

    /// Loses, on each link, a part of what `from` stored last and nobody has seen yet.
    pub(crate) fn cut(&mut self, from: InstanceId) {
        for ((_, sender), pipe) in &mut self.pipes {
            if *sender == from {
                let keep = self.rng.usize(..=pipe.travelling());
                pipe.cut(keep);
            }
        }
    }
}

/// The numbers of that many instances.
pub(crate) fn instances_of(count: usize) -> impl Iterator<Item = InstanceId> {
    (0..=u16::MAX).take(count).map(InstanceId)
}
