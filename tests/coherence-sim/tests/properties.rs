//! Random programs on random fabrics equal the oracle; a failing seed replays exactly.

use maize_coherence::adaptive::{Adaptive, Tuning};
use maize_coherence::directory::Directory;
use maize_coherence::voting::Voting;
use maize_coherence::{Agent, Home, Machine, NodeId, ObjectId, Policy};
use maize_coherence_sim::patterns::{PolicyName, agents, domains, domains_with};
use maize_coherence_sim::{Op, Settings, Sim, Tally};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Case {
    nodes: usize,
    pages: u32,
    accesses: usize,
    discards: bool,
    evictions: bool,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    (2usize..=8, 1u32..=64, 1usize..=60, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        |(nodes, pages, accesses, discards, evictions, seed)| Case {
            nodes,
            pages,
            accesses,
            discards,
            evictions,
            seed,
        },
    )
}

fn programs(case: &Case) -> (Vec<Vec<Op>>, Vec<u64>) {
    let mut rng = fastrand::Rng::with_seed(case.seed);
    let mut increments = vec![0; case.pages as usize];
    let programs = (0..case.nodes)
        .map(|_| {
            (0..case.accesses)
                .map(|_| {
                    let page = rng.u32(0..case.pages);
                    match rng.u32(0..100) {
                        0..40 => Op::Read(page),
                        40..80 => {
                            increments[page as usize] += 1;
                            Op::Increment(page)
                        }
                        80..90 => Op::Compute(rng.u64(1..50_000)),
                        90..97 if case.evictions => Op::Evict(page),
                        97.. if case.discards => Op::Discard(page),
                        _ => Op::Read(page),
                    }
                })
                .collect()
        })
        .collect();
    (programs, increments)
}

fn holds<M: Machine>(machines: Vec<M>, home: Home, case: &Case) -> Result<Tally, TestCaseError> {
    holds_on(machines, Settings { home, seed: case.seed, ..Settings::default() }, case)
}

fn holds_on<M: Machine>(
    machines: Vec<M>,
    settings: Settings,
    case: &Case,
) -> Result<Tally, TestCaseError> {
    let (programs, increments) = programs(case);
    let mut sim = Sim::new(machines, settings);
    for (node, program) in programs.into_iter().enumerate() {
        sim.spawn(node as u16, program);
    }
    sim.run(5_000_000).map_err(TestCaseError::fail)?;
    if !case.discards {
        for (page, &expected) in increments.iter().enumerate() {
            prop_assert_eq!(sim.value(page as u32), expected, "page {}", page);
        }
    }
    Ok(sim.tally)
}

/// The layer that kernels have, with a window that pages move into sooner or later.
fn layer<P: Policy<1>>(case: &Case, agent: Agent<P>) -> Adaptive<P> {
    let hot_misses = 1 + (case.seed % 6) as u8;
    let tuning = Tuning { window_frames: 8, hot_misses, ..Tuning::default() };
    let mut layer = Adaptive::new(agent, tuning);
    layer.set_length(ObjectId(1), case.pages, 0);
    layer
}

fn adaptive<P: Policy<1>>(case: &Case, home: Home) -> Vec<Adaptive<P>> {
    agents::<P, 1>(case.nodes, home).into_iter().map(|agent| layer(case, agent)).collect()
}

/// All layers, as kernels have them, on domains of so many instances.
fn stacked<P: Policy<1>>(case: &Case, siblings: usize) -> Result<(), TestCaseError> {
    let home = Home::At(NodeId(0));
    let nodes = case.nodes.div_ceil(siblings);
    let settings =
        Settings { home, seed: case.seed, siblings: siblings as u16, ..Settings::default() };
    let machines = domains_with::<P, _, 1>(nodes, siblings, home, 4, |agent| layer(case, agent));
    holds_on(machines, settings, case)?;
    Ok(())
}

/// The case's instances in domains of so many.
fn layered<P: Policy<1>>(case: &Case, siblings: usize, ahead: u8) -> Result<(), TestCaseError> {
    let home = Home::At(NodeId(0));
    let nodes = case.nodes.div_ceil(siblings);
    let seed = case.seed;
    let settings = Settings { home, seed, siblings: siblings as u16, ..Settings::default() };
    holds_on(domains::<P, 1>(nodes, siblings, home, ahead), settings, case)?;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn voting_equals_the_oracle(case in cases()) {
        let home = PolicyName::Voting.home(case.nodes);
        holds(agents::<Voting<1>, 1>(case.nodes, home), home, &case)?;
    }

    #[test]
    fn directory_equals_the_oracle(case in cases()) {
        let home = PolicyName::Directory.home(case.nodes);
        holds(agents::<Directory<1>, 1>(case.nodes, home), home, &case)?;
    }

    #[test]
    fn hashed_directory_equals_the_oracle(case in cases()) {
        let home = PolicyName::DirectoryHashed.home(case.nodes);
        holds(agents::<Directory<1>, 1>(case.nodes, home), home, &case)?;
    }

    #[test]
    fn adaptive_directory_equals_the_oracle(case in cases()) {
        let home = Home::At(NodeId(0));
        holds(adaptive::<Directory<1>>(&case, home), home, &case)?;
    }

    #[test]
    fn adaptive_voting_equals_the_oracle(case in cases()) {
        let home = Home::At(NodeId(0));
        holds(adaptive::<Voting<1>>(&case, home), home, &case)?;
    }

    #[test]
    fn siblings_of_one_node_equal_the_oracle(
        case in cases(),
        ahead in prop::sample::select(vec![0u8, 1, 4, 8]),
    ) {
        layered::<Directory<1>>(&case, case.nodes, ahead)?;
    }

    #[test]
    fn siblings_over_a_directory_equal_the_oracle(case in cases(), siblings in 2usize..=4) {
        layered::<Directory<1>>(&case, siblings, 4)?;
    }

    #[test]
    fn siblings_over_voting_equal_the_oracle(case in cases(), siblings in 2usize..=4) {
        layered::<Voting<1>>(&case, siblings, 1)?;
    }

    #[test]
    fn all_layers_over_a_directory_equal_the_oracle(case in cases(), siblings in 1usize..=4) {
        stacked::<Directory<1>>(&case, siblings)?;
    }

    #[test]
    fn all_layers_over_voting_equal_the_oracle(case in cases(), siblings in 1usize..=4) {
        stacked::<Voting<1>>(&case, siblings)?;
    }

    #[test]
    fn a_siblings_death_stops_nobody_else(case in cases(), at_ns in 1_000u64..200_000) {
        let home = Home::At(NodeId(0));
        let settings = Settings { home, seed: case.seed, siblings: 3, ..Settings::default() };
        let (programs, _) = programs(&Case { nodes: 6, discards: false, ..case.clone() });
        let mut sim = Sim::new(domains::<Directory<1>, 1>(2, 3, home, 4), settings);
        for (instance, program) in programs.into_iter().enumerate() {
            sim.spawn(instance as u16, program);
        }
        sim.run_until(at_ns).map_err(TestCaseError::fail)?;
        sim.crash(4, 50_000);
        sim.run(5_000_000).map_err(TestCaseError::fail)?;
        prop_assert_eq!(sim.tally.failed, 0, "only its own accesses end with it");
    }

    #[test]
    fn a_seed_replays_exactly(case in cases()) {
        let home = PolicyName::Directory.home(case.nodes);
        let run = || holds(agents::<Directory<1>, 1>(case.nodes, home), home, &case);
        prop_assert_eq!(run()?, run()?);
    }
}
