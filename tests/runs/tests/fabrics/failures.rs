//! Machines that stop, die and lie while all pairs exchange messages.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use maize_hostlink::KernelMessage;
use maize_launcher::live::{Event, Order};
use maize_link::LifeConfig;
use maize_msg_exercise::{ExchangeRequest, PairOutcome};
use maize_trace::{Counter, Counters};
use maize_window::{HostWindow, Layout, Window, WindowHeader};
use maize_wire::InstanceId;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{BOOT_LIMIT, DEAD_AFTER, Fabric, NEWS_LIMIT, assert_flawless};

/// Traffic between all pairs until the instances are asked to end, whoever comes and goes.
const TRAFFIC: ExchangeRequest = ExchangeRequest {
    messages: 0,
    send_for_ns: 1_500_000_000_000,
    grace_ns: 0,
    seed: 7,
    stay: true,
};

fn signal(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(process.cast_signed()).unwrap(), signal).unwrap();
}

fn is_down(event: &Event, of: u16) -> Option<(u16, u32, &str)> {
    match event {
        Event::Said {
            instance,
            message: KernelMessage::PeerDown { peer, epoch, cause, awaits_stop: true },
        } if *peer == of => Some((*instance, *epoch, cause)),
        _ => None,
    }
}

/// The milliseconds of silence that a cause speaks of; none of another cause.
fn silence(cause: &str) -> u64 {
    let words: Vec<&str> = cause.split(' ').collect();
    match words[..] {
        ["silent", .., number, "ms"] => number.parse().unwrap(),
        _ => 0,
    }
}

fn is_up(event: &Event, of: u16, in_epoch: u32) -> bool {
    matches!(event, Event::Said { message: KernelMessage::PeerUp { peer, epoch }, .. }
        if *peer == of && *epoch == in_epoch)
}

fn pair_with(pairs: &[PairOutcome], peer: u16) -> &PairOutcome {
    pairs.iter().find(|pair| pair.peer == peer).unwrap()
}

/// The fabric, its window, and all links up.
fn start(topology: &str) -> (Fabric, HostWindow) {
    let mut fabric = Fabric::mortal_exchange(topology, TRAFFIC);
    let window = fabric.window();
    fabric.wait_for_links();
    (fabric, window)
}

#[test]
#[ignore = "boots machines"]
fn a_machine_that_was_stopped_is_fenced_off_and_joins_again() {
    let (mut fabric, window) = start("x86_64+aarch64");
    fabric.wait_for_messages(&window, [0, 1]);
    let process = fabric.processes[&1];
    signal(process, Signal::STOP);
    fabric.wait("nobody minded the silence", NEWS_LIMIT, |event| is_down(event, 1).is_some());
    fabric.wait("the stop was not confirmed", NEWS_LIMIT, |event| {
        *event == Event::ToldStopped { instance: 0, peer: 1, epoch: 1 }
    });
    signal(process, Signal::CONT);
    fabric.wait("it did not return", NEWS_LIMIT, |event| is_up(event, 1, 2));
    fabric.wait_for_messages(&window, [0, 1]);
    let outcomes = fabric.finish([0, 1]);
    assert_flawless(&outcomes);
    for (one, other) in [(0, 1), (1, 0)] {
        assert_eq!(pair_with(&outcomes[&one], other).sessions, 2);
    }
    fabric.end();
}

#[test]
#[ignore = "boots machines"]
fn a_machine_that_died_is_given_up_and_may_return() {
    let (mut fabric, window) = start("x86_64+aarch64+x86_64");
    fabric.wait_for_messages(&window, [0, 1, 2]);
    signal(fabric.processes[&1], Signal::KILL);
    let mut declared = Vec::new();
    fabric.wait("not everybody gave it up", NEWS_LIMIT, |event| {
        if let Some((by, _, cause)) = is_down(event, 1) {
            declared.push((by, silence(cause)));
        }
        declared.len() == 2
    });
    // By how long those who gave it up have listened, of which one look adds no more than a step.
    let least = DEAD_AFTER.as_millis() as u64;
    let most = least + LifeConfig::default().longest_step.0 / 1_000_000;
    assert!(declared.iter().all(|(_, silence)| (least..=most).contains(silence)), "{declared:?}");
    fabric.wait_for_messages(&window, [0, 2]);
    fabric.order(Order::Restart(1));
    let mut back = 0;
    fabric.wait("it did not return", BOOT_LIMIT, |event| {
        back += u32::from(is_up(event, 1, 2));
        back == 2
    });
    fabric.wait_for_messages(&window, [0, 1, 2]);
    let outcomes = fabric.finish([0, 1, 2]);
    assert_flawless(&outcomes);
    for (one, other, sessions) in [(0, 2, 1), (2, 0, 1), (0, 1, 2), (2, 1, 2), (1, 0, 1)] {
        let pair = pair_with(&outcomes[&one], other);
        assert_eq!(pair.sessions, sessions, "{one} and {other}: {pair:?}");
    }
    let outcome = fabric.end();
    let says = |text: &str| outcome.reports.iter().any(|(_, said)| said.contains(text));
    assert!(says("machine 1/aarch64 ended (signal: 9") && says("lost: instance 1"));
    assert!(says("machine 1/aarch64: started again"), "{:?}", outcome.reports);
}

/// Deterministic numbers, so that a failure can be had again.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Writes garbage into the rings that only `of` writes, as it might itself.
fn scribble(window: &impl Window, layout: &Layout, of: InstanceId, numbers: &mut Numbers) {
    for peer in layout.peers(of) {
        let ring = window.part(layout.ring(of, peer).unwrap()).unwrap();
        for _ in 0..64 {
            let word = numbers.next() as usize % ring.words();
            ring.store(word, numbers.next());
        }
    }
}

#[test]
#[ignore = "boots machines"]
fn garbage_in_a_peers_section_harms_nobody() {
    const LIAR: u16 = 1;
    let (mut fabric, window) = start("x86_64+aarch64+x86_64");
    let header = WindowHeader::read(&window.window()).unwrap();
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut causes = BTreeMap::new();
    let end = Instant::now() + NEWS_LIMIT;
    while causes.len() < 2 {
        assert!(Instant::now() < end, "not everybody has found the garbage: {causes:?}");
        scribble(&window.window(), &header.layout, InstanceId(LIAR), &mut numbers);
        fabric.follow(Duration::from_millis(20), |event| {
            if let Some((by, _, cause)) = is_down(event, LIAR) {
                causes.entry(by).or_insert_with(|| cause.to_owned());
            }
        });
    }
    println!("found: {causes:?}");
    assert!(causes.values().all(|cause| cause.contains("corrupt")), "{causes:?}");
    // All of them go on, also the one whose memory it was, in a later epoch.
    fabric.wait_for_messages(&window, [0, 1, 2]);
    let outcomes = fabric.finish([0, 1, 2]);
    for (one, other) in [(0, 2), (2, 0)] {
        let pair = pair_with(&outcomes[&one], other);
        assert!(pair.fault.is_none() && pair.sessions == 1, "{one} and {other}: {pair:?}");
    }
    for one in [0, 2] {
        let span = header.layout.counters(InstanceId(one)).unwrap();
        let counters = Counters::new(window.window().part(span).unwrap()).unwrap();
        assert!(counters.count(Counter::Corruptions) > 0, "instance {one} has not counted it");
    }
    let consoles = fabric.end().consoles.concat();
    assert!(consoles.contains("corrupt") && !consoles.contains("panic"), "{consoles}");
}
