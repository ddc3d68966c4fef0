//! The exchange on the simulated network, in virtual time: what it finds right, and that it finds
//! what is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use maize_hal::Nanos;
use maize_link::{Event, FabricConfig, LinkStats, Message, Outgoing, SendError};
use maize_msg_exercise::{Exchange, ExchangeRequest, Fault, Next, PairOutcome, Traffic};
use maize_simnet::{NetConfig, Sim, SimFabric};
use maize_wire::{InstanceId, PAGE_WORDS};

const STEP: Nanos = Nanos(100_000);

fn request(messages: u64) -> ExchangeRequest {
    let second = Nanos::SECOND.0;
    ExchangeRequest { messages, send_for_ns: 3 * second, grace_ns: second, seed: 5, stay: false }
}

fn ids(instances: u16) -> impl Iterator<Item = InstanceId> {
    (0..instances).map(InstanceId)
}

/// The part of an instance.
fn part(request: ExchangeRequest, me: InstanceId, instances: u16, now: Nanos) -> Exchange {
    Exchange::new(request, me, ids(instances).filter(|peer| *peer != me), now)
}

/// An instance's links from which some messages vanish.
struct Leaky<'a> {
    fabric: &'a mut SimFabric,
    left: &'a mut u32,
}

impl Traffic for Leaky<'_> {
    fn poll(&mut self, now: Nanos) -> Option<(InstanceId, Event)> {
        let (peer, event) = self.fabric.poll(now)?;
        if matches!(event, Event::Message(_)) {
            *self.left = self.left.wrapping_sub(1);
            if *self.left == 0 {
                return self.poll(now);
            }
        }
        Some((peer, event))
    }

    fn message(&self) -> Message {
        self.fabric.message()
    }

    fn body(&self) -> &[u8] {
        self.fabric.body()
    }

    fn copy_page(&mut self, now: Nanos, into: &mut [u64; PAGE_WORDS]) -> bool {
        self.fabric.copy_page(now, into)
    }

    fn send(
        &mut self,
        now: Nanos,
        to: InstanceId,
        message: Outgoing<'_>,
    ) -> Result<u32, SendError> {
        self.fabric.send(now, to, message)
    }

    fn stats(&self, peer: InstanceId) -> Option<LinkStats> {
        self.fabric.stats(peer)
    }
}

/// Runs all parts until they are done, or until that time. `None` stands for a dead instance.
fn run(sim: &mut Sim, parts: &mut [Option<Exchange>], until: Nanos) -> bool {
    while sim.now() < until {
        let mut done = true;
        for (me, part) in (0..).map(InstanceId).zip(parts.iter_mut()) {
            let now = sim.now();
            let (Some(part), Some(fabric)) = (part, sim.fabric(me)) else { continue };
            done &= part.step(fabric, now) == Next::Done;
        }
        if done {
            return true;
        }
        let next = sim.now() + STEP;
        let mut taken = Vec::new();
        sim.run_until(next, &mut |me, fabric, now, (peer, event)| {
            if let Some(Some(part)) = parts.get_mut(me.index()) {
                part.take(fabric, now, peer, event);
            }
            taken.push(me);
        });
    }
    false
}

fn sound(pairs: &[PairOutcome], messages: u64) -> bool {
    pairs.iter().all(|pair| {
        pair.fault.is_none()
            && pair.complete
            && pair.received_last.iter().sum::<u64>() == messages
            && pair.sent.iter().sum::<u64>() >= messages
    })
}

#[test]
fn all_pairs_exchange_everything() {
    let mut sim = Sim::new(5, NetConfig::new(11), FabricConfig::default());
    let mut parts: Vec<_> = ids(5).map(|me| Some(part(request(400), me, 5, Nanos(0)))).collect();
    assert!(run(&mut sim, &mut parts, Nanos(5 * Nanos::SECOND.0)));
    for part in parts.into_iter().flatten() {
        let outcome = part.outcome();
        assert!(outcome.len() == 4 && sound(&outcome, 400), "{outcome:?}");
    }
}

#[test]
fn who_dies_and_returns_exchanges_again() {
    let mut sim = Sim::new(3, NetConfig::new(12), FabricConfig::default());
    let for_ever = ExchangeRequest { send_for_ns: 8 * Nanos::SECOND.0, stay: true, ..request(300) };
    let mut parts: Vec<_> = ids(3).map(|me| Some(part(for_ever, me, 3, Nanos(0)))).collect();
    let second = |n: u64| Nanos(n * Nanos::SECOND.0);
    run(&mut sim, &mut parts, second(1));
    sim.kill(InstanceId(2));
    parts[2] = None;
    run(&mut sim, &mut parts, second(4));
    sim.restart(InstanceId(2)).unwrap();
    let rest = ExchangeRequest { send_for_ns: 4 * Nanos::SECOND.0, ..for_ever };
    parts[2] = Some(part(rest, InstanceId(2), 3, sim.now()));
    assert!(run(&mut sim, &mut parts, second(12)));
    for (me, part) in parts.into_iter().flatten().enumerate() {
        for pair in part.outcome() {
            let with_the_dead = pair.peer == 2 && me != 2;
            assert_eq!(pair.sessions, if with_the_dead { 2 } else { 1 });
            assert!(pair.complete && pair.fault.is_none(), "{me}: {pair:?}");
            assert!(pair.received.iter().sum::<u64>() > 100);
        }
    }
}

#[test]
fn what_is_wrong_is_found() {
    // One message vanishes.
    let mut sim = Sim::new(2, NetConfig::new(13), FabricConfig::default());
    let mut parts: Vec<_> = ids(2).map(|me| part(request(50), me, 2, Nanos(0))).collect();
    let mut left = 20;
    for _ in 0..400 {
        let now = sim.now();
        parts[0].step(sim.fabric(InstanceId(0)).unwrap(), now);
        let fabric = sim.fabric(InstanceId(1)).unwrap();
        parts[1].step(&mut Leaky { fabric, left: &mut left }, now);
        sim.run_until(now + STEP, &mut |me, fabric, now, (peer, event)| match me.0 {
            0 => parts[0].take(fabric, now, peer, event),
            _ => {
                // Taken with the others, so that which one vanishes is counted.
                if matches!(event, Event::Message(_)) {
                    left = left.wrapping_sub(1);
                }
                if left != 0 || !matches!(event, Event::Message(_)) {
                    parts[1].take(fabric, now, peer, event);
                }
            }
        });
    }
    let fault = parts[1].outcome().remove(0).fault;
    assert!(matches!(fault, Some(Fault::Order { .. } | Fault::Count { .. })), "{fault:?}");
    // The two do not agree on the content.
    let mut sim = Sim::new(2, NetConfig::new(14), FabricConfig::default());
    let other = ExchangeRequest { seed: 6, ..request(50) };
    let mut parts = vec![
        Some(part(request(50), InstanceId(0), 2, Nanos(0))),
        Some(part(other, InstanceId(1), 2, Nanos(0))),
    ];
    run(&mut sim, &mut parts, Nanos(5 * Nanos::SECOND.0));
    let fault = parts.remove(1).unwrap().outcome().remove(0).fault;
    assert!(matches!(fault, Some(Fault::Content { .. })), "{fault:?}");
}
