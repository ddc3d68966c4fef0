//! Every kind of fabric boots, and a program runs on it.

use maize_hostlink::boot::Isa;
use maize_launcher::run::{Ending, run};
use maize_launcher::workspace::Workspace;
use maize_runs::script;

use crate::harness::Fabric;

fn boots(topology: &str) {
    let mut fabric = Fabric::serve(topology);
    fabric.wait_for_links();
    let outcome = fabric.end();
    assert_eq!(outcome.ending, Ending::Dismissed, "{:?}", outcome.consoles);
    assert!(outcome.reports.is_empty(), "{:?}", outcome.reports);
}

#[test]
#[ignore = "boots machines"]
fn pairs_of_machines_boot() {
    for topology in ["x86_64+aarch64", "x86_64+x86_64", "aarch64+aarch64"] {
        boots(topology);
    }
}

#[test]
#[ignore = "boots machines"]
fn pairs_in_one_machine_boot() {
    for topology in ["x86_64*2", "aarch64*2"] {
        boots(topology);
    }
}

#[test]
#[ignore = "boots machines"]
fn two_machines_of_two_instances_boot() {
    boots("x86_64*2+aarch64*2");
}

#[test]
#[ignore = "boots machines"]
fn a_program_runs_as_if_it_were_alone() {
    let mut config = script(Isa::X86_64, "echo out; echo err >&2; uname -m; exit 3");
    config.topology = "x86_64+aarch64".parse().unwrap();
    config.stats = true;
    let outcome = run(config, &Workspace::find().unwrap()).unwrap();
    assert_eq!(outcome.ending, Ending::Exited(3 << 8), "{}", outcome.consoles.concat());
    assert_eq!(outcome.stdout, b"out\nx86_64\n");
    assert_eq!(outcome.stderr, b"err\n");
    let sessions = |(_, stats): (u16, &maize_hostlink::control::Stats)| {
        stats.counters.iter().any(|(name, count)| name == "fabric.sessions" && *count > 0)
    };
    assert_eq!(outcome.stats.instances().filter(|of| sessions(*of)).count(), 2);
}

#[test]
#[ignore = "boots machines"]
fn an_instance_without_a_window_between_machines_tells_its_counters() {
    let mut config = script(Isa::X86_64, "taskset -c 1 true");
    config.topology = "x86_64*2".parse().unwrap();
    config.stats = true;
    let outcome = run(config, &Workspace::find().unwrap()).unwrap();
    assert_eq!(outcome.ending, Ending::Exited(0), "{}", outcome.consoles.concat());
    let count = |instance: u16, name: &str| -> u64 {
        let of = outcome.stats.instances().find(|(number, _)| *number == instance);
        let counters = of.map_or(&[][..], |(_, stats)| &stats.counters);
        counters.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
    };
    // Whether a sibling's answer comes before its end is not certain on a busy host.
    assert!(count(0, "fabric.sessions") > 0);
    assert!(count(0, "fabric.doorbells-heard") > 0);
    assert!(count(0, "link.1.sent.normal") > 0);
}
