//! The seed benchmarks' access patterns, for any number of nodes.

use maize_coherence::directory::Directory;
use maize_coherence::shared::{Domain, Shared};
use maize_coherence::voting::Voting;
use maize_coherence::{Agent, Config, Home, Machine, NodeId, Nodes, Policy};

use crate::{Op, Settings, Sim, Tally};

/// How threads share pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// Everybody reads a few pages again and again; now and then one writes one (EP, BT).
    ReadMostly,
    /// Each page is read and written by one node after the other, as under a lock (IS).
    Migratory,
    /// Each node writes a page that its neighbour reads (pipelines).
    ProducerConsumer,
    /// Everybody writes its own part of the same page (CG's reductions).
    FalseSharing,
    /// Each node writes its pages, then reads those of others (FT's transposition).
    AllToAll,
}

impl Pattern {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ReadMostly,
        Self::Migratory,
        Self::ProducerConsumer,
        Self::FalseSharing,
        Self::AllToAll,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadMostly => "read-mostly",
            Self::Migratory => "migratory",
            Self::ProducerConsumer => "producer-consumer",
            Self::FalseSharing => "false sharing",
            Self::AllToAll => "all-to-all",
        }
    }

    /// The program of the `rank`-th of `active` threads.
    #[must_use]
    pub fn program(self, rank: u32, active: u32, rounds: u32) -> Vec<Op> {
        let mut ops = vec![];
        for round in 0..rounds {
            match self {
                Self::ReadMostly => {
                    if rank == round % active {
                        ops.push(Op::Write(round % 4));
                    }
                    ops.push(Op::Barrier);
                    ops.extend((0..4).map(Op::Read));
                }
                Self::Migratory => {
                    let page = (rank + round) % active;
                    ops.extend([Op::Read(page), Op::Increment(page)]);
                }
                Self::ProducerConsumer => {
                    ops.push(Op::Write(rank));
                    ops.push(Op::Barrier);
                    ops.push(Op::Read((rank + 1) % active));
                }
                Self::FalseSharing => ops.extend([Op::Increment(0), Op::Compute(2_000)]),
                Self::AllToAll => {
                    ops.push(Op::Write(rank));
                    ops.push(Op::Barrier);
                    let reach = active.min(9);
                    ops.extend((1..reach).map(|step| Op::Read((rank + step) % active)));
                }
            }
            if self != Self::FalseSharing {
                ops.push(Op::Barrier);
            }
        }
        ops
    }
}

/// A policy between nodes, as a benchmark names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyName {
    /// The seed's protocol.
    Voting,
    /// A directory, all pages at home on node 0.
    Directory,
    /// A directory, the pages' homes spread over all nodes.
    DirectoryHashed,
    /// All instances in one node, which shares memory.
    Shared,
    /// Nodes of several instances, a directory between them.
    SharedDirectory,
    /// Nodes of several instances, voting between them.
    SharedVoting,
}

impl PolicyName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Voting,
        Self::Directory,
        Self::DirectoryHashed,
        Self::Shared,
        Self::SharedDirectory,
        Self::SharedVoting,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Voting => "voting",
            Self::Directory => "directory",
            Self::DirectoryHashed => "directory-hashed",
            Self::Shared => "shared",
            Self::SharedDirectory => "shared+directory",
            Self::SharedVoting => "shared+voting",
        }
    }

    /// How many instances a node has on a fabric of so many; `None` if the policy is no different
    /// there from one without `shared`, or cannot tell so many siblings apart.
    #[must_use]
    pub fn siblings(self, instances: usize) -> Option<usize> {
        match self {
            Self::Voting | Self::Directory | Self::DirectoryHashed => Some(1),
            Self::Shared => (instances <= Nodes::<1>::CAPACITY).then_some(instances),
            Self::SharedDirectory | Self::SharedVoting => {
                Some((instances / 2).min(4)).filter(|&siblings| siblings > 1)
            }
        }
    }

    /// Where pages are at home on a fabric of `nodes`.
    #[must_use]
    pub fn home(self, nodes: usize) -> Home {
        match self {
            Self::Voting
            | Self::Directory
            | Self::Shared
            | Self::SharedDirectory
            | Self::SharedVoting => Home::At(NodeId(0)),
            Self::DirectoryHashed => Home::Hashed(nodes as u16),
        }
    }
}

/// How long a page that arrived is held in simulations, in nanoseconds.
pub const HOLD_NS: u64 = 20_000;

/// The machines of a fabric.
#[must_use]
pub fn agents<P: Policy<W>, const W: usize>(nodes: usize, home: Home) -> Vec<Agent<P, W>> {
    (0..nodes)
        .map(|node| {
            let config = Config { node: NodeId(node as u16), home, hold_ns: HOLD_NS };
            Agent::new(config, Nodes::first_n(nodes))
        })
        .collect()
}

/// The machines of a fabric whose nodes have several instances each.
#[must_use]
pub fn domains<P: Policy<W>, const W: usize>(
    nodes: usize,
    siblings: usize,
    home: Home,
    ahead: u8,
) -> Vec<Shared<Agent<P, W>>> {
    domains_with(nodes, siblings, home, ahead, |agent| agent)
}

/// As [`domains`], with a layer between the agents and their domains.
#[must_use]
pub fn domains_with<P: Policy<W>, M: Machine, const W: usize>(
    nodes: usize,
    siblings: usize,
    home: Home,
    ahead: u8,
    layer: impl Fn(Agent<P, W>) -> M,
) -> Vec<Shared<M>> {
    (0..nodes * siblings)
        .map(|instance| {
            let node = NodeId((instance / siblings) as u16);
            let config = Config { node, home, hold_ns: HOLD_NS };
            let sibling = NodeId((instance % siblings) as u16);
            let domain = Domain { sibling, lead: NodeId(0), ahead, hold_ns: HOLD_NS };
            let agent = Agent::new(config, Nodes::first_n(nodes));
            Shared::new(layer(agent), domain, Nodes::first_n(siblings))
        })
        .collect()
}

/// Neighbouring mappings that come along, unless a run says otherwise.
pub const AHEAD: u8 = 4;

/// Runs one program per instance for any policy and size.
///
/// # Errors
///
/// What was wrong with the run; see [`Sim::run`].
pub fn run(
    policy: PolicyName,
    instances: usize,
    seed: u64,
    programs: &[Vec<Op>],
) -> Result<Tally, String> {
    let siblings = policy
        .siblings(instances)
        .ok_or_else(|| format!("{} does not apply to {instances} instances", policy.name()))?;
    let nodes = instances / siblings;
    let home = policy.home(nodes);
    let settings = Settings { home, seed, siblings: siblings as u16, ..Settings::default() };
    match (policy, nodes) {
        (PolicyName::Voting, ..=64) => go(agents::<Voting<1>, 1>(nodes, home), settings, programs),
        (PolicyName::Voting, _) => go(agents::<Voting<16>, 16>(nodes, home), settings, programs),
        (PolicyName::Directory | PolicyName::DirectoryHashed, ..=64) => {
            go(agents::<Directory<1>, 1>(nodes, home), settings, programs)
        }
        (PolicyName::Directory | PolicyName::DirectoryHashed, _) => {
            go(agents::<Directory<16>, 16>(nodes, home), settings, programs)
        }
        (PolicyName::Shared | PolicyName::SharedDirectory, ..=64) => {
            go(domains::<Directory<1>, 1>(nodes, siblings, home, AHEAD), settings, programs)
        }
        (PolicyName::Shared | PolicyName::SharedDirectory, _) => {
            go(domains::<Directory<16>, 16>(nodes, siblings, home, AHEAD), settings, programs)
        }
        (PolicyName::SharedVoting, ..=64) => {
            go(domains::<Voting<1>, 1>(nodes, siblings, home, AHEAD), settings, programs)
        }
        (PolicyName::SharedVoting, _) => {
            go(domains::<Voting<16>, 16>(nodes, siblings, home, AHEAD), settings, programs)
        }
    }
}

/// One sibling reads the pages that another has written, `ahead` neighbouring mappings coming along
/// with each.
///
/// # Errors
///
/// What was wrong with the run; see [`Sim::run`].
pub fn run_ahead(pages: u32, ahead: u8, seed: u64) -> Result<Tally, String> {
    let home = Home::At(NodeId(0));
    let settings = Settings { home, seed, siblings: 2, ..Settings::default() };
    let mut writer: Vec<Op> = (0..pages).map(Op::Write).collect();
    writer.push(Op::Barrier);
    let mut reader = vec![Op::Barrier];
    reader.extend((0..pages).map(Op::Read));
    go(domains::<Directory<1>, 1>(1, 2, home, ahead), settings, &[writer, reader])
}

/// Runs programs on machines, thread `i` on the `i`-th instance.
///
/// # Errors
///
/// What was wrong with the run; see [`Sim::run`].
pub fn go<M: Machine>(
    machines: Vec<M>,
    settings: Settings,
    programs: &[Vec<Op>],
) -> Result<Tally, String> {
    let mut sim = Sim::new(machines, settings);
    for (node, program) in programs.iter().enumerate() {
        sim.spawn(node as u16, program.iter().copied());
    }
    sim.run(200_000_000)?;
    Ok(sim.tally)
}

/// How many of a fabric's instances run a thread: all members take part in the protocol, but the voting
/// protocol's broadcasts make more threads on the large fabrics cost hours.
#[must_use]
pub fn active(nodes: usize) -> u32 {
    nodes.min(32) as u32
}

/// Runs a pattern on a fabric.
///
/// # Errors
///
/// What was wrong with the run; see [`Sim::run`].
pub fn run_pattern(
    policy: PolicyName,
    pattern: Pattern,
    nodes: usize,
    rounds: u32,
    seed: u64,
) -> Result<Tally, String> {
    let active = active(nodes);
    let programs: Vec<_> = (0..active).map(|rank| pattern.program(rank, active, rounds)).collect();
    run(policy, nodes, seed, &programs)
}
