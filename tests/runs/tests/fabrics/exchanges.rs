//! All pairs of an undisturbed fabric exchange numbered messages.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use maize_hostlink::boot::Isa;
use maize_launcher::run::{Ending, run};
use maize_launcher::workspace::Workspace;
use maize_msg_exercise::ExchangeRequest;
use maize_runs::script;

use crate::harness::{Fabric, assert_flawless};
use crate::timeline::Timeline;

/// Messages that each instance sends to each other one.
const FULL: u64 = 10_000;
/// The same with sixteen instances, which take minutes for all of them on two cores of a host: all of
/// them only in a long run.
const FEWER: u64 = 200;

/// Longest time for an exchange on a busy host.
const LIMIT: Duration = Duration::from_secs(500);

/// By how much half of the messages may seem to arrive before they were sent, in microseconds: the
/// error of the clocks beside each other. (An event has the time of the instance's last look at its
/// clock, so single ones may be off by as much as the host lets a core wait.)
const CLOCKS: f64 = 1_000.0;

const fn request(messages: u64) -> ExchangeRequest {
    ExchangeRequest {
        messages,
        send_for_ns: LIMIT.as_nanos() as u64,
        grace_ns: 10_000_000_000,
        seed: 0x5eed,
        stay: false,
    }
}

fn all_pairs_exchange(topology: &str, messages: u64) {
    let started = Instant::now();
    let mut fabric = Fabric::exchange(topology, request(messages));
    let instances = fabric.instances();
    let outcomes = fabric.exchanged(instances.clone(), LIMIT);
    assert_flawless(&outcomes);
    assert_eq!(outcomes.len(), instances.len());
    for (instance, pairs) in &outcomes {
        assert_eq!(pairs.len(), instances.len() - 1);
        for pair in pairs {
            let received: u64 = pair.received.iter().sum();
            assert!(pair.complete, "instance {instance}: {pair:?}");
            assert_eq!((pair.sessions, received), (1, messages), "instance {instance}: {pair:?}");
        }
    }
    let pairs = instances.len() * (instances.len() - 1);
    let took = started.elapsed().as_secs_f64();
    println!("{topology}: {messages} messages each way of {pairs} directions in {took:.1} s");
    let outcome = fabric.end();
    assert!(outcome.reports.is_empty(), "{:?}", outcome.reports);
}

#[test]
#[ignore = "takes minutes"]
fn sixteen_instances_of_one_machine_at_length() {
    all_pairs_exchange("x86_64*16", FULL);
}

#[test]
#[ignore = "boots machines"]
fn sixteen_instances_of_one_machine() {
    all_pairs_exchange("x86_64*16", FEWER);
}

#[test]
#[ignore = "boots machines"]
fn four_machines_of_both_kinds() {
    all_pairs_exchange("x86_64+aarch64+x86_64+aarch64", FULL);
}

#[test]
#[ignore = "boots machines"]
fn a_trace_joins_both_ends_of_each_message_on_one_clock() {
    let mut fabric = Fabric::traced_exchange("x86_64+aarch64", request(2_000));
    let instances = fabric.instances();
    assert_flawless(&fabric.exchanged(instances, LIMIT));
    let outcome = fabric.end();
    let timeline = Timeline::read(outcome.timeline.as_deref().unwrap());
    let (sent, received) = (timeline.ends("s"), timeline.ends("f"));
    assert!(sent.len() > 2_000, "{} arrows", sent.len());
    let mut took: Vec<f64> = received.iter().map(|(id, at)| at - sent[id]).collect();
    took.sort_by(f64::total_cmp);
    let (least, median) = (took[0], took[took.len() / 2]);
    println!("messages took {median:.0} µs (median), {least:.0} µs (least)");
    assert!(median > -CLOCKS, "the median message came {} µs before it was sent", -median);
}

#[test]
#[ignore = "boots machines"]
fn a_trace_shows_where_threads_are_and_what_for() {
    let mut config = script(Isa::X86_64, "taskset -c 1 ls /bin; taskset -c 1 true");
    config.topology = "x86_64+x86_64".parse().unwrap();
    config.trace = true;
    let outcome = run(config, &Workspace::find().unwrap()).unwrap();
    assert_eq!(outcome.ending, Ending::Exited(0), "{}", outcome.consoles.concat());
    let timeline = Timeline::read(outcome.timeline.as_deref().unwrap());
    for kind in [
        "RunBegin",
        "RunEnd",
        "SyscallBegin",
        "SyscallEnd",
        "FaultBegin",
        "FaultEnd",
        "MigrateOut",
        "MigrateIn",
        "IdleBegin",
        "Send",
        "Receive",
    ] {
        assert!(timeline.count(kind) > 0, "{kind}");
    }
    // The tracks of threads show both instances.
    let ran: BTreeSet<_> = timeline.of_phase("X").map(|event| event["name"].to_string()).collect();
    assert_eq!(ran.len(), 2, "{ran:?}");
}
