//! Everybody talks to everybody, under any delays: nothing is lost, doubled, reordered or changed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

mod traffic;

use maize_hal::Nanos;
use maize_link::{FabricConfig, LinkConfig, News, OutboxConfig};
use maize_simnet::{NetConfig, Sim};
use maize_wire::{Class, InstanceId, checksum::Coverage};
use proptest::prelude::*;
use traffic::Book;

/// Every instance sends `count` messages of each class to every other one. Returns what happened
/// and when it was over.
fn exchange(
    instances: u16,
    count: u32,
    net: NetConfig,
    config: FabricConfig,
) -> (Book, Nanos, u64) {
    let mut sim = Sim::new(usize::from(instances), net, config);
    let mut book = Book::default();
    let all = || (0..instances).map(InstanceId);
    let routes = || all().flat_map(|from| all().map(move |to| (from, to))).filter(|(a, b)| a != b);
    let expected = u64::from(instances) * u64::from(instances - 1) * u64::from(count) * 3;
    let limit = Nanos::from_millis(200_000);
    let mut progress = true;
    while book.total < expected {
        assert!(sim.now() < limit, "{} of {expected} messages by {:?}", book.total, sim.now());
        let until = sim.now() + Nanos(if progress { 20_000 } else { 1_000_000 });
        progress = false;
        sim.run_until(until, &mut |me, fabric, now, event| {
            book.event(me, fabric, now, event);
        });
        for (from, to) in routes() {
            for class in Class::ALL {
                let left = count - book.sent((from, to, class)).min(count);
                for _ in 0..left.min(20) {
                    let now = sim.now();
                    let sender = (from, sim.fabric(from).unwrap());
                    match book.send(sender, now, to, class) {
                        Ok(true) => progress = true,
                        Ok(false) | Err(maize_link::SendError::NotUp) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    }
    for (from, to) in routes() {
        for class in Class::ALL {
            assert_eq!(book.received((from, to, class)), count);
        }
    }
    assert!(book.news.iter().all(|(.., news)| *news == News::Up), "{:?}", book.news);
    let now = sim.now();
    (book, now, sim.doorbells())
}

fn config(coverage: Coverage, messages: usize, poll_for: u64) -> FabricConfig {
    let outbox = OutboxConfig { messages, ..OutboxConfig::default() };
    let link = LinkConfig { coverage, outbox, ..LinkConfig::default() };
    FabricConfig { link, poll_for: Nanos(poll_for), ..FabricConfig::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_messages_arrive_in_order(
        seed: u64,
        instances in 2u16..=5,
        max_delay in prop_oneof![Just(200u64), Just(5_000), Just(2_000_000)],
        bits in 8u32..=11,
        messages in 1usize..=64,
        poll_for in prop_oneof![Just(0), Just(20_000)],
        coverage in prop_oneof![Just(Coverage::Off), Just(Coverage::Control), Just(Coverage::All)],
    ) {
        let net = NetConfig {
            seed, min_delay: Nanos(100), max_delay: Nanos(max_delay), ring_slots: 1 << bits,
        };
        exchange(instances, 12, net, config(coverage, messages, poll_for));
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let run = |seed| {
        let (book, now, doorbells) =
            exchange(4, 30, NetConfig::new(seed), config(Coverage::Control, 16, 0));
        (book.news, now, doorbells)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn sixteen_instances_all_pairs() {
    let (book, ..) = exchange(16, 4, NetConfig::new(1), config(Coverage::Control, 16, 0));
    assert_eq!(book.total, 16 * 15 * 4 * 3);
}
