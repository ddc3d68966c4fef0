//! The inequalities and bounds that the benchmark shows.

use maize_coherence::directory::Directory;
use maize_coherence::{Home, NodeId};
use maize_coherence_sim::adaptive::{Window, ping_pong};
use maize_coherence_sim::figure7::{Case, ITERATIONS, Size, run_case};
use maize_coherence_sim::patterns::{Pattern, PolicyName, domains, run, run_ahead, run_pattern};
use maize_coherence_sim::{Op, Settings, Sim, Tally};

fn voting(case: Case, size: Size, iterations: u32) -> Tally {
    match run_case(PolicyName::Voting, case, size, iterations, 1) {
        Ok(tally) => tally,
        Err(error) => unreachable!("{error}"),
    }
}

#[test]
fn readers_send_nothing_after_the_first_iteration() {
    for size in Size::ALL {
        let once = voting(Case::ReadRead, size, 1).messages;
        assert_eq!(voting(Case::ReadRead, size, 90).messages, once);
    }
}

#[test]
fn a_reader_and_a_writer_fetch_once_per_round_and_invalidate_once_per_miss() {
    for size in [Size::Page, Size::Pages64] {
        let pages = if size == Size::Page { 1 } else { 64 };
        for iterations in ITERATIONS {
            let tally = voting(Case::ReadWrite, size, iterations);
            assert!(tally.of("Fetch") <= pages * u64::from(iterations + 2), "{tally:?}");
            assert!(tally.of("Invalid") <= tally.write_misses, "{tally:?}");
        }
    }
}

#[test]
fn two_writers_invalidate_more_than_a_reader_and_a_writer() {
    for size in Size::ALL {
        for iterations in [10, 30, 60, 90] {
            let both = voting(Case::WriteWrite, size, iterations).of("Invalid");
            let one = voting(Case::ReadWrite, size, iterations).of("Invalid");
            assert!(both > one, "{size:?} x {iterations}: {both} against {one}");
        }
    }
}

#[test]
fn less_than_a_page_costs_what_a_page_costs() {
    for case in Case::ALL {
        for iterations in ITERATIONS {
            let part = voting(case, Size::PartOfAPage, iterations);
            let page = voting(case, Size::Page, iterations);
            assert_eq!(part.messages, page.messages, "{case:?} x {iterations}");
        }
    }
}

#[test]
fn with_two_nodes_a_directory_miss_is_two_messages() {
    for case in Case::ALL {
        for iterations in ITERATIONS {
            let tally =
                run_case(PolicyName::Directory, case, Size::Pages64, iterations, 1).unwrap();
            let local = 64 * u64::from(case != Case::ReadRead || iterations > 0);
            // The first touch of a page by its home needs nobody.
            assert_eq!(tally.total(), 2 * (tally.misses() - local), "{case:?} x {iterations}");
        }
    }
}

#[test]
fn directory_messages_stay_within_the_bounds_at_every_size() {
    for nodes in [2usize, 4, 16, 64, 256, 1024] {
        // n readers of a page, then one writer that is neither its home nor a sharer.
        let readers = (nodes - 1).min(200);
        let mut programs = vec![vec![Op::Barrier]; nodes];
        programs[0] = vec![Op::Write(0), Op::Barrier, Op::Barrier];
        for program in programs.iter_mut().take(readers).skip(1) {
            *program = vec![Op::Barrier, Op::Read(0), Op::Barrier];
        }
        for program in programs.iter_mut().skip(readers) {
            *program = vec![Op::Barrier, Op::Barrier];
        }
        let warm = run(PolicyName::Directory, nodes, 1, &programs).unwrap();
        assert!(warm.total() <= 3 * warm.read_misses, "{nodes} nodes: {warm:?}");
        programs[nodes - 1].push(Op::Write(0));
        let tally = run(PolicyName::Directory, nodes, 1, &programs).unwrap();
        let copies = readers as u64;
        assert!(tally.total() - warm.total() <= 3 + 2 * copies, "{nodes} nodes: {tally:?}");
    }
}

#[test]
fn hashed_homes_keep_the_read_bound() {
    for nodes in [4, 64, 1024] {
        let tally =
            run_pattern(PolicyName::DirectoryHashed, Pattern::ProducerConsumer, nodes, 2, 1)
                .unwrap();
        // One copy at most is invalidated per write.
        assert!(tally.total() <= 3 * tally.read_misses + 5 * tally.write_misses, "{tally:?}");
    }
}

#[test]
fn a_fabric_of_1024_runs_every_pattern() {
    for pattern in Pattern::ALL {
        let tally = run_pattern(PolicyName::Directory, pattern, 1024, 2, 1).unwrap();
        assert!(tally.accesses > 0);
    }
    let tally = run_pattern(PolicyName::Voting, Pattern::FalseSharing, 1024, 1, 1).unwrap();
    assert_eq!(tally.accesses, 32);
}

#[test]
fn a_page_in_the_window_costs_nothing_more_however_long_it_ping_pongs() {
    for (with, without) in [
        (Window::VotingWith, Window::VotingWithout),
        (Window::DirectoryWith, Window::DirectoryWithout),
    ] {
        let short = ping_pong(with, 100, 1).unwrap().total();
        assert_eq!(ping_pong(with, 2_000, 1).unwrap().total(), short, "{with:?}");
        let growth = ping_pong(without, 2_000, 1).unwrap().total()
            / ping_pong(without, 100, 1).unwrap().total();
        assert!(growth > 10, "{without:?} grows by {growth}");
    }
}

#[test]
fn a_mapping_is_one_query_and_one_response_and_brings_its_neighbours() {
    for ahead in [0u8, 1, 4, 8] {
        let tally = run_ahead(64, ahead, 1).unwrap();
        let queries = 64u64.div_ceil(1 + u64::from(ahead));
        assert_eq!((tally.of("Query"), tally.of("Mapping")), (queries, queries), "{ahead}");
        assert_eq!(tally.total(), 2 * queries, "nothing else is sent");
        assert_eq!(tally.pages, 0, "nothing is copied");
    }
}

#[test]
fn faults_of_a_sibling_on_one_page_are_joined() {
    let home = Home::At(NodeId(0));
    let settings = Settings { home, siblings: 2, ..Settings::default() };
    let mut sim = Sim::new(domains::<Directory<1>, 1>(1, 2, home, 0), settings);
    for _ in 0..5 {
        sim.spawn(1, [Op::Read(0)]);
    }
    sim.run(1_000).unwrap();
    assert_eq!((sim.tally.accesses, sim.tally.total()), (5, 2));
}

#[test]
fn a_downgrade_asks_each_sibling_that_maps_the_page_once() {
    // Two nodes of four: all of the second map the page writable, then the first node reads it.
    let home = Home::At(NodeId(0));
    let settings = Settings { home, siblings: 4, ..Settings::default() };
    let mut sim = Sim::new(domains::<Directory<1>, 1>(2, 4, home, 0), settings);
    for sibling in 4..8 {
        sim.spawn(sibling, [Op::Increment(0), Op::Barrier, Op::Barrier]);
    }
    sim.spawn(0, [Op::Barrier, Op::Read(0), Op::Barrier]);
    sim.run(10_000).unwrap();
    let tally = &sim.tally;
    assert_eq!((tally.of("Query"), tally.of("Mapping")), (3, 3));
    assert_eq!((tally.of("Revoke"), tally.of("Revoked")), (3, 3));
    // The second node's miss, GetM and Data, and the first node's, FwdGetS and Data.
    assert_eq!(tally.total() - 12, 4);
    assert_eq!(sim.value(0), 4);
}

#[test]
fn a_group_on_one_instance_sends_nothing() {
    for policy in PolicyName::ALL.into_iter().filter(|policy| policy.siblings(1).is_some()) {
        let program = (0..100).flat_map(|p| [Op::Read(p), Op::Increment(p)]).collect();
        assert_eq!(run(policy, 1, 1, &[program]).unwrap().total(), 0);
    }
}
