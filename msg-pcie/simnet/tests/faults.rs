//! Instances that die, freeze, come back; and whether everybody gets a turn.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

mod traffic;

use maize_hal::Nanos;
use maize_link::{Cause, Event, FabricConfig, Leave, Life, News, Outgoing, SendError};
use maize_simnet::{NetConfig, Sim};
use maize_wire::{Class, Epoch, InstanceId};
use proptest::prelude::*;
use traffic::{Book, KIND};

const CONFIG: fn() -> FabricConfig = FabricConfig::default;

/// Runs for that long; all who can talk to each other do, all the time.
fn run(sim: &mut Sim, book: &mut Book, instances: u16, span: Nanos) {
    let end = sim.now() + span;
    while sim.now() < end {
        let until = (sim.now() + Nanos::from_millis(10)).min(end);
        sim.run_until(until, &mut |me, fabric, now, event| {
            book.event(me, fabric, now, event);
        });
        talk(sim, book, instances);
    }
}

fn talk(sim: &mut Sim, book: &mut Book, instances: u16) {
    let all = || (0..instances).map(InstanceId);
    for (from, to) in all().flat_map(|from| all().map(move |to| (from, to))) {
        let now = sim.now();
        let Some(fabric) = sim.fabric(from) else { continue };
        let up = matches!(fabric.life(to), Some(Life::Up { .. } | Life::Suspect { .. }));
        for class in Class::ALL {
            match book.send((from, fabric), now, to, class) {
                Ok(_) => assert!(up),
                Err(SendError::NotUp) => {}
                Err(SendError::NoSuchPeer) => assert_eq!(from, to),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn ms(n: u64) -> Nanos {
    Nanos::from_millis(n)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dead_instance_is_noticed_and_may_return(seed: u64, instant in 0u64..30_000_000) {
        let mut sim = Sim::new(3, NetConfig::new(seed), CONFIG());
        let mut book = Book::default();
        run(&mut sim, &mut book, 3, ms(30) + Nanos(instant));
        sim.kill(InstanceId(1));
        let died = sim.now();
        let before = book.received((InstanceId(0), InstanceId(2), Class::Normal));
        run(&mut sim, &mut book, 3, ms(2_200));
        for survivor in [0, 2] {
            let suspect = book.news_of(survivor, 1, |news| *news == News::Suspect).unwrap();
            let dead =
                book.news_of(survivor, 1, |news| *news == News::Down(Cause::Silent)).unwrap();
            prop_assert!(suspect.since(died) >= ms(850) && suspect < dead);
            prop_assert!(dead.since(died) <= ms(2_000), "{:?}", dead.since(died));
            prop_assert!(book.news_of(survivor, 2 - survivor, |news| *news != News::Up).is_none());
        }
        // The others never stopped.
        let after = book.received((InstanceId(0), InstanceId(2), Class::Normal));
        prop_assert!(after > before + 150, "{before} {after}");
        // It starts again with the same number: the old incarnation is known to be over.
        prop_assert_eq!(sim.restart(InstanceId(1)), Epoch::new(2));
        run(&mut sim, &mut book, 3, ms(50));
        for survivor in [0, 2] {
            prop_assert!(book.news_of(survivor, 1, |news| *news == News::Stopped).is_some());
            let (there, back) = (InstanceId(survivor), InstanceId(1));
            prop_assert!(book.received((there, back, Class::Normal)) > 0);
            prop_assert!(book.received((back, there, Class::Urgent)) > 0);
        }
    }

    #[test]
    fn a_frozen_instance_is_fenced_off_and_returns_anew(seed: u64) {
        let mut sim = Sim::new(3, NetConfig::new(seed), CONFIG());
        let mut book = Book::default();
        run(&mut sim, &mut book, 3, ms(40));
        let zombie = InstanceId(2);
        sim.freeze(zombie);
        run(&mut sim, &mut book, 3, ms(5_000));
        prop_assert!(book.news_of(0, 2, |news| *news == News::Down(Cause::Silent)).is_some());
        // Confirmed by who controls it; only now may what it borrowed be reused.
        let now = sim.now();
        sim.fabric(InstanceId(0)).unwrap().confirm_stopped(now, zombie);
        run(&mut sim, &mut book, 3, ms(20));
        prop_assert!(book.news_of(0, 2, |news| *news == News::Stopped).is_some());
        prop_assert!(book.news_of(1, 2, |news| *news == News::Stopped).is_none());

        // It wakes, and finds that it was given up by both, before anything it says is heard.
        let received = |book: &Book, to| book.received((zombie, InstanceId(to), Class::Normal));
        let heard = (received(&book, 0), received(&book, 1));
        sim.thaw(zombie);
        run(&mut sim, &mut book, 3, ms(400));
        prop_assert_eq!(heard, (received(&book, 0), received(&book, 1)));
        for peer in [0, 1] {
            prop_assert!(
                book.news_of(2, peer, |news| *news == News::Fenced(Leave::Silent)).is_some()
            );
        }
        let now = sim.now();
        prop_assert_eq!(sim.fabric(zombie).unwrap().rejoin(now), Epoch::new(2));
        run(&mut sim, &mut book, 3, ms(40));
        for peer in [InstanceId(0), InstanceId(1)] {
            prop_assert!(book.received((zombie, peer, Class::Normal)) > 0);
            prop_assert!(book.received((peer, zombie, Class::Normal)) > 0);
        }
        prop_assert!(book.news_of(1, 2, |news| *news == News::Stopped).is_some());
    }
}

/// A frozen instance that has more to send than there is room for learns that it was given up from
/// what it sends next. In its next session its messages are numbered from zero all the same.
#[test]
fn numbers_start_anew_where_sending_ends_the_session() {
    let (peer, zombie) = (InstanceId(0), InstanceId(1));
    for class in [Class::Normal, Class::Bulk] {
        let mut sim = Sim::new(2, NetConfig::new(7), CONFIG());
        let mut book = Book::default();
        run(&mut sim, &mut book, 2, ms(40));
        sim.freeze(peer);
        let now = sim.now();
        let mut send = |sim: &mut Sim, class| {
            book.send((zombie, sim.fabric(zombie).unwrap()), now, peer, class).unwrap()
        };
        while send(&mut sim, Class::Urgent) {}
        sim.freeze(zombie);
        sim.thaw(peer);
        run(&mut sim, &mut book, 2, ms(5_000));
        let now = sim.now();
        sim.fabric(peer).unwrap().confirm_stopped(now, zombie);
        sim.thaw(zombie);
        // It waits behind the urgent ones, of which none can be sent.
        assert!(book.send((zombie, sim.fabric(zombie).unwrap()), now, peer, class).unwrap());
        run(&mut sim, &mut book, 2, ms(200));
        let now = sim.now();
        assert_eq!(sim.fabric(zombie).unwrap().rejoin(now), Epoch::new(2));
        run(&mut sim, &mut book, 2, ms(200));
        assert!(book.received((zombie, peer, class)) > 0, "{:?}", book.news);
        let corrupt = |news: &News| matches!(news, News::Down(Cause::Corrupt(_)));
        assert!(book.news_of(0, 1, corrupt).is_none(), "{:?}", book.news);
    }
}

/// Doorbells alone make everybody join: no heartbeat is waited for, whatever the delays.
#[test]
fn joining_takes_no_heartbeat() {
    for seed in 0..200 {
        let mut sim = Sim::new(3, NetConfig::new(seed), CONFIG());
        let mut up = 0;
        sim.run_until(ms(1), &mut |_, _, _, (_, event)| {
            up += u32::from(event == Event::News(News::Up));
        });
        assert_eq!(up, 6, "seed {seed}");
    }
}

#[test]
fn nobody_is_blamed_for_a_pause_of_all() {
    let mut sim = Sim::new(3, NetConfig::new(3), CONFIG());
    let mut book = Book::default();
    run(&mut sim, &mut book, 3, ms(500));
    for instance in 0..3 {
        sim.freeze(InstanceId(instance));
    }
    run(&mut sim, &mut book, 3, ms(60_000));
    for instance in 0..3 {
        sim.thaw(InstanceId(instance));
    }
    run(&mut sim, &mut book, 3, ms(500));
    assert!(book.news.iter().all(|(.., news)| *news == News::Up), "{:?}", book.news);
}

#[test]
fn a_slow_instance_recovers() {
    let mut sim = Sim::new(2, NetConfig::new(4), CONFIG());
    let mut book = Book::default();
    run(&mut sim, &mut book, 2, ms(500));
    sim.freeze(InstanceId(1));
    run(&mut sim, &mut book, 2, ms(1_400));
    sim.thaw(InstanceId(1));
    run(&mut sim, &mut book, 2, ms(300));
    assert!(book.news_of(0, 1, |news| *news == News::Suspect).is_some());
    assert!(book.news_of(0, 1, |news| *news == News::Recovered).is_some());
    assert!(book.news_of(0, 1, |news| matches!(news, News::Down(_))).is_none());
}

#[test]
fn a_debugger_suspends_the_time_limits() {
    let mut sim = Sim::new(2, NetConfig::new(5), CONFIG());
    let mut book = Book::default();
    run(&mut sim, &mut book, 2, ms(300));
    sim.fabric(InstanceId(0)).unwrap().suspend(true);
    sim.freeze(InstanceId(1));
    run(&mut sim, &mut book, 2, ms(30_000));
    assert!(book.news_of(0, 1, |news| *news != News::Up).is_none());
    sim.fabric(InstanceId(0)).unwrap().suspend(false);
    run(&mut sim, &mut book, 2, ms(2_100));
    assert!(book.news_of(0, 1, |news| *news == News::Down(Cause::Silent)).is_some());
}

#[test]
fn leaving_is_not_dying() {
    let mut sim = Sim::new(3, NetConfig::new(6), CONFIG());
    let mut book = Book::default();
    run(&mut sim, &mut book, 3, ms(50));
    let now = sim.now();
    sim.fabric(InstanceId(0)).unwrap().leave(now);
    run(&mut sim, &mut book, 3, ms(300));
    for peer in [1, 2] {
        let left = book.news_of(peer, 0, |news| *news == News::Down(Cause::Left)).unwrap();
        assert!(left.since(now) < ms(1), "told by the doorbell, not by a heartbeat");
    }
    let now = sim.now();
    sim.fabric(InstanceId(1)).unwrap().close(now, InstanceId(2));
    run(&mut sim, &mut book, 3, ms(300));
    assert!(book.news_of(2, 1, |news| *news == News::Down(Cause::Left)).is_some());
}

/// What was sent before leaving arrives, also where the heartbeat is due by which the leaving is
/// found out.
#[test]
fn who_leaves_is_heard_out() {
    const CLASSES: [Class; 2] = [Class::Urgent, Class::Normal];
    let mut sim = Sim::new(2, NetConfig { ring_slots: 2048, ..NetConfig::new(11) }, CONFIG());
    let mut book = Book::default();
    let until = |sim: &mut Sim, book: &mut Book, end| {
        sim.run_until(end, &mut |me, fabric, now, event| {
            book.event(me, fabric, now, event);
        });
    };
    until(&mut sim, &mut book, ms(50));
    let (from, to) = (InstanceId(0), InstanceId(1));
    // Nothing that was sent meanwhile is seen before a heartbeat of the receiver is due.
    let seen = sim.now() + ms(150);
    sim.hold(from, to, seen);
    sim.freeze(to);
    let now = sim.now();
    let fabric = sim.fabric(from).unwrap();
    for class in CLASSES {
        for _ in 0..4 {
            assert!(book.send((from, fabric), now, to, class).unwrap());
        }
    }
    assert!(fabric.is_flushed());
    fabric.leave(now);
    until(&mut sim, &mut book, seen + ms(1));
    sim.thaw(to);
    until(&mut sim, &mut book, seen + ms(400));
    assert!(book.news_of(1, 0, |news| *news == News::Down(Cause::Left)).is_some());
    for class in CLASSES {
        assert_eq!(book.received((from, to, class)), 4, "{class:?}");
    }
}

/// Latency of the slowest urgent message while the other class fills the link, and how many
/// messages of the other class got through.
fn urgent_against(class: Class) -> (Nanos, u64) {
    let mut sim = Sim::new(2, NetConfig { ring_slots: 2048, ..NetConfig::new(9) }, CONFIG());
    sim.run_until(ms(20), &mut |_, _, _, _| {});
    let (from, to) = (InstanceId(0), InstanceId(1));
    let page = Box::new([7; 512]);
    let (mut slowest, mut others) = (Nanos(0), 0);
    let mut sent_at = Nanos(0);
    for round in 0u64..200 {
        let now = sim.now();
        let fabric = sim.fabric(from).unwrap();
        let bulk = Outgoing { class, kind: KIND, contents: &[], page: Some(&page) };
        while fabric.send(now, to, bulk).is_ok() {}
        if round % 2 == 0 {
            sent_at = now;
            let contents = round.to_le_bytes();
            let wake =
                Outgoing { class: Class::Urgent, kind: KIND, contents: &contents, page: None };
            fabric.send(now, to, wake).unwrap();
        }
        sim.run_until(now + Nanos(30_000), &mut |me, _, now, (_, event)| {
            if let (InstanceId(1), Event::Message(message)) = (me, event) {
                if message.class == Class::Urgent {
                    slowest = slowest.max(now.since(sent_at));
                } else {
                    others += 1;
                }
            }
        });
    }
    (slowest, others)
}

#[test]
fn urgent_messages_are_not_starved() {
    for class in [Class::Normal, Class::Bulk] {
        let (slowest, others) = urgent_against(class);
        assert!(slowest <= Nanos(20_000), "{slowest:?} behind {class:?}");
        assert!(others > 1000, "{others} {class:?}");
    }
}

#[test]
fn bulk_is_not_starved_either() {
    let mut sim = Sim::new(2, NetConfig::new(9), CONFIG());
    sim.run_until(ms(20), &mut |_, _, _, _| {});
    let (from, to) = (InstanceId(0), InstanceId(1));
    let mut received = [0u64; Class::COUNT];
    for _ in 0..400 {
        let now = sim.now();
        let fabric = sim.fabric(from).unwrap();
        for class in Class::ALL {
            let message = Outgoing { class, kind: KIND, contents: &[1; 800], page: None };
            while fabric.send(now, to, message).is_ok() {}
        }
        sim.run_until(now + Nanos(10_000), &mut |me, _, _, (_, event)| {
            if let (InstanceId(1), Event::Message(message)) = (me, event) {
                received[message.class.index()] += 1;
            }
        });
    }
    assert!(received.iter().all(|count| *count > 200), "{received:?}");
    assert!(received[0] > 2 * received[1].max(received[2]), "{received:?}");
}
