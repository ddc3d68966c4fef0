//! The seed benchmarks' access patterns, for any number of nodes.

use maize_coherence::directory::Directory;
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
}

impl PolicyName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Voting, Self::Directory, Self::DirectoryHashed];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Voting => "voting",
            Self::Directory => "directory",
            Self::DirectoryHashed => "directory-hashed",
        }
    }

    /// Where pages are at home on a fabric of `nodes`.
    #[must_use]
    pub fn home(self, nodes: usize) -> Home {
        match self {
            Self::Voting | Self::Directory => Home::At(NodeId(0)),
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

/// Runs one program per node for any policy and size.
///
/// # Errors
///
/// What was wrong with the run; see [`Sim::run`].
pub fn run(
    policy: PolicyName,
    nodes: usize,
    seed: u64,
    programs: &[Vec<Op>],
) -> Result<Tally, String> {
    let home = policy.home(nodes);
    let settings = Settings { home, seed, ..Settings::default() };
    match (policy, nodes) {
        (PolicyName::Voting, ..=64) => go(agents::<Voting<1>, 1>(nodes, home), settings, programs),
        (PolicyName::Voting, _) => go(agents::<Voting<16>, 16>(nodes, home), settings, programs),
        (_, ..=64) => go(agents::<Directory<1>, 1>(nodes, home), settings, programs),
        (_, _) => go(agents::<Directory<16>, 16>(nodes, home), settings, programs),
    }
}

/// Runs programs on machines, thread `i` on the `i`-th node.
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

/// How many of a fabric's nodes run a thread: all members take part in the protocol, but the voting
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
