//! Instances as threads over separate mappings of one memfd.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by it")]

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use maize_hal::Nanos;
use maize_link::{Cause, Event, FabricConfig, News, Outgoing, SendError};
use maize_msg_fabric::{
    Clock, Doorbells, HostFabric, Next, create_window, dying_after, enter, run,
};
use maize_wire::{Class, InstanceId, Kind, PAGE_WORDS, checksum::Coverage};

const KIND: Kind = Kind(99);

/// Silence after which a peer is given up where nobody is to die.
const PATIENCE: Nanos = Nanos::from_millis(60_000);

/// What the message with this number says.
fn contents(from: u16, to: u16, number: u64) -> [u64; 3] {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [u64::from(from) << 16 | u64::from(to), number, mixed]
}

/// One instance that sends `count` messages to every other one and expects as many. Every 16th
/// comes with a page.
struct Talker {
    me: u16,
    count: u64,
    peers: Vec<u16>,
    sent: Vec<u64>,
    received: Vec<u64>,
}

impl Talker {
    fn new(me: u16, instances: u16, count: u64) -> Talker {
        let peers: Vec<u16> = (0..instances).filter(|peer| *peer != me).collect();
        let none = vec![0; peers.len()];
        Talker { me, count, peers, sent: none.clone(), received: none }
    }

    fn take(&mut self, fabric: &mut HostFabric<'_>, now: Nanos, event: (InstanceId, Event)) {
        let (InstanceId(from), Event::Message(message)) = event else { return };
        let index = self.peers.iter().position(|peer| *peer == from).unwrap();
        let number = self.received[index];
        let expected = contents(from, self.me, number);
        let body: Vec<u8> = expected.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(fabric.body(), body, "message {number} from {from} to {}", self.me);
        assert_eq!(message.has_page, number.is_multiple_of(16));
        if message.has_page {
            let mut page = [0; PAGE_WORDS];
            assert!(fabric.copy_page(now, &mut page));
            assert!(page.iter().all(|word| *word == expected[2]));
        }
        self.received[index] += 1;
    }

    fn talk(&mut self, fabric: &mut HostFabric<'_>, now: Nanos) -> Next {
        let mut more = false;
        for (index, to) in self.peers.iter().enumerate() {
            for _ in 0..16 {
                let number = self.sent[index];
                if number == self.count {
                    break;
                }
                let words = contents(self.me, *to, number);
                let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                let page = [words[2]; PAGE_WORDS];
                let message = Outgoing {
                    class: Class::Normal,
                    kind: KIND,
                    contents: &body,
                    page: number.is_multiple_of(16).then_some(&page),
                };
                match fabric.send(now, InstanceId(*to), message) {
                    Ok(_) => {
                        self.sent[index] += 1;
                        more = true;
                    }
                    Err(SendError::Full | SendError::NotUp) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        if more { Next::Again } else { Next::Wait }
    }

    fn is_done(&self) -> bool {
        self.sent.iter().chain(&self.received).all(|count| *count == self.count)
    }
}

fn all_pairs(instances: u16, count: u64, coverage: Coverage, poll_for: Nanos) -> u64 {
    let window = create_window(usize::from(instances), 16 << 20, coverage).unwrap();
    let (ready, done) = (Barrier::new(usize::from(instances) + 1), AtomicU64::new(0));
    let doorbells_rung = AtomicU64::new(0);
    let limit = Instant::now() + Duration::from_secs(300);
    thread::scope(|scope| {
        let (senders, threads): (Vec<_>, Vec<_>) = (0..instances)
            .map(|me| {
                let (give, take) = std::sync::mpsc::channel::<Doorbells>();
                let (window, ready, done, rung) =
                    (window.again().unwrap(), &ready, &done, &doorbells_rung);
                let thread = scope.spawn(move || {
                    ready.wait();
                    let mut doorbells = take.recv().unwrap();
                    let clock = Clock::start();
                    let config = FabricConfig { poll_for, ..dying_after(PATIENCE) };
                    let mut fabric = enter(&window, InstanceId(me), clock, config).unwrap();
                    let mut talker = Talker::new(me, instances, count);
                    let mut told = false;
                    run(&mut fabric, clock, &mut doorbells, |fabric, now, event| {
                        assert!(Instant::now() < limit, "{:?} {:?}", talker.sent, talker.received);
                        if let Some(event) = event {
                            assert!(!matches!(event.1, Event::News(News::Down(_))), "{event:?}");
                            talker.take(fabric, now, event);
                            return Next::Wait;
                        }
                        let next = talker.talk(fabric, now);
                        if talker.is_done() && !told {
                            told = true;
                            done.fetch_add(1, SeqCst);
                        }
                        // Nobody leaves before all have what they wait for.
                        if done.load(SeqCst) == u64::from(instances) { Next::Done } else { next }
                    });
                    let peers: Vec<InstanceId> = fabric.peers().collect();
                    let rings = |peer| fabric.stats(peer).unwrap().doorbells;
                    rung.fetch_add(peers.into_iter().map(rings).sum(), SeqCst);
                });
                (give, thread)
            })
            .unzip();
        let doorbells =
            Doorbells::new(threads.iter().map(|thread| thread.thread().clone()).collect());
        for give in senders {
            give.send(doorbells.clone()).unwrap();
        }
        ready.wait();
    });
    doorbells_rung.into_inner()
}

#[test]
fn two_instances_exchange() {
    for coverage in [Coverage::Off, Coverage::Control, Coverage::All] {
        for poll_for in [Nanos(0), Nanos(20_000)] {
            let doorbells = all_pairs(2, 5_000, coverage, poll_for);
            assert!(doorbells > 0);
        }
    }
}

#[test]
fn sixteen_instances_exchange_all_pairs() {
    // Sixteen threads on few cores: nobody polls, everybody must be woken.
    all_pairs(16, 200, Coverage::Control, Nanos(0));
}

/// A peer dies at any moment (its thread just ends), is declared dead, and its successor joins under the next
/// epoch.
#[test]
fn a_peer_dies_and_its_successor_joins() {
    let window = create_window(2, 8 << 20, Coverage::Control).unwrap();
    let config = dying_after(Nanos::from_millis(4_000));
    let (declared, over) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let mortal = scope.spawn(|| {
            let window = window.again().unwrap();
            for life in 0..2 {
                let clock = Clock::start();
                let mut fabric = enter(&window, InstanceId(1), clock, config).unwrap();
                assert_eq!(fabric.epoch().get(), life + 1);
                let mut talker = Talker::new(1, 2, 1_000_000);
                run(&mut fabric, clock, &mut |_| {}, |fabric, now, event| {
                    if let Some(event) = event {
                        talker.take(fabric, now, event);
                        return Next::Wait;
                    }
                    talker.talk(fabric, now);
                    // The first dies in the middle of it, without a word.
                    if life == 0 && talker.received[0] > 3_000 || over.load(SeqCst) {
                        Next::Done
                    } else {
                        Next::Again
                    }
                });
                drop(fabric);
                while life == 0 && !declared.load(SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let clock = Clock::start();
        let mut fabric = enter(&window, InstanceId(0), clock, config).unwrap();
        let mut talker = Talker::new(0, 2, 1_000_000);
        let mut news = Vec::new();
        run(&mut fabric, clock, &mut |_| {}, |fabric, now, event| {
            assert!(now < Nanos::from_millis(300_000), "{news:?}");
            if let Some((from, event)) = event {
                if let Event::News(what) = event {
                    news.push(what);
                    declared.fetch_or(matches!(what, News::Down(_)), SeqCst);
                    if what == News::Up {
                        talker = Talker::new(0, 2, 1_000_000);
                    }
                } else {
                    talker.take(fabric, now, (from, event));
                }
                return Next::Wait;
            }
            talker.talk(fabric, now);
            let back = news.iter().filter(|news| **news == News::Up).count() == 2;
            if back && talker.received[0] > 1_000 { Next::Done } else { Next::Again }
        });
        over.store(true, SeqCst);
        let order = [News::Up, News::Down(Cause::Silent), News::Stopped, News::Up];
        let told: Vec<News> = news
            .into_iter()
            .filter(|news| !matches!(news, News::Suspect | News::Recovered))
            .collect();
        assert_eq!(told, order);
        mortal.join().unwrap();
    });
}
