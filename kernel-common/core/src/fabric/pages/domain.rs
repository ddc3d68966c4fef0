//! Which instances share RAM, and who speaks for them.

use alloc::vec;
use alloc::vec::Vec;

use maize_coherence::{NodeId, Nodes};
use maize_radix::RadixMap;
use maize_wire::InstanceId;

/// The machines of a fabric, as far as the page protocol cares.
#[derive(Debug)]
pub(crate) struct Domains {
    me: InstanceId,
    /// The machine that hosts each instance; one that is not listed has its own.
    machines: Vec<u16>,
    /// The instances of each machine.
    hosted: RadixMap<Vec<InstanceId>>,
}

impl Domains {
    pub(crate) fn new(me: InstanceId, machines: Vec<u16>) -> Domains {
        let mut hosted: RadixMap<Vec<InstanceId>> = RadixMap::new();
        for (instance, machine) in (0..).map(InstanceId).zip(&machines) {
            match hosted.get_mut(u64::from(*machine)) {
                Some(instances) => instances.push(instance),
                None => drop(hosted.insert(u64::from(*machine), vec![instance])),
            }
        }
        Domains { me, machines, hosted }
    }

    /// Whether two instances share RAM.
    pub(crate) fn together(&self, one: InstanceId, other: InstanceId) -> bool {
        let machine = |instance: InstanceId| self.machines.get(usize::from(instance.0));
        one == other || machine(one).is_some_and(|known| Some(known) == machine(other))
    }

    /// Whether an instance shares this one's RAM. It does so with itself.
    pub(crate) fn is_sibling(&self, other: InstanceId) -> bool {
        self.together(self.me, other)
    }

    /// The instance that has the frames of `home`'s objects in the machine of `of`, and speaks to other
    /// machines about them: the home itself in its own machine.
    pub(crate) fn lead(&self, of: InstanceId, home: InstanceId) -> InstanceId {
        if self.together(of, home) {
            return home;
        }
        let machine = self.machines.get(usize::from(of.0));
        let hosted = machine.and_then(|machine| self.hosted.get(u64::from(*machine)));
        // Homes' objects are spread over the machine's instances.
        hosted.map_or(of, |hosted| hosted[usize::from(home.0) % hosted.len()])
    }

    /// Of `instances`, those that share this one's RAM.
    pub(crate) fn siblings(&self, instances: Nodes) -> Nodes {
        instances.iter().filter(|node| self.is_sibling(InstanceId(node.0))).collect()
    }

    /// Of `instances`, those that speak for their machines about the objects of `home`.
    pub(crate) fn leads(&self, instances: Nodes, home: InstanceId) -> Nodes {
        let leads = |node: &NodeId| self.lead(InstanceId(node.0), home).0 == node.0;
        instances.iter().filter(leads).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_has_one_that_speaks_for_it() {
        let domains = Domains::new(InstanceId(1), vec![0, 0, 1, 1, 1]);
        let lead = |of, home| domains.lead(InstanceId(of), InstanceId(home)).0;
        assert_eq!([0, 1].map(|of| lead(of, 1)), [1, 1], "the home itself");
        assert_eq!([2, 3, 4].map(|of| lead(of, 1)), [3, 3, 3]);
        assert_eq!([2, 3, 4].map(|of| lead(of, 0)), [2, 2, 2]);
        assert_eq!([0, 1].map(|of| lead(of, 4)), [0, 0]);
        assert_eq!(lead(7, 1), 7, "an instance that nobody knows is alone");
        let all = Nodes::first_n(5);
        let numbers = |nodes: Nodes| nodes.iter().map(|n| n.0).collect::<Vec<_>>();
        assert_eq!(numbers(domains.leads(all, InstanceId(1))), [1, 3]);
        assert_eq!(numbers(domains.siblings(all)), [0, 1]);
        let alone = Domains::new(InstanceId(0), vec![]);
        assert_eq!(numbers(alone.leads(Nodes::first_n(3), InstanceId(2))), [0, 1, 2]);
        assert!(!alone.is_sibling(InstanceId(1)) && alone.is_sibling(InstanceId(0)));
    }
}
