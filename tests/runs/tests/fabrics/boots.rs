//! Every kind of fabric boots, and a program runs on it.

use std::collections::BTreeSet;
use std::time::Duration;

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
fn a_run_that_takes_too_long_says_what_its_threads_wait_for() {
    let mut consoles = String::new();
    // A busy host may need the longer times for the boot.
    for limit in [6, 40, 200] {
        let mut config = script(Isa::X86_64, "taskset -c 1 sleep 1000; exit");
        config.topology = "x86_64+x86_64".parse().unwrap();
        config = config.timeout(Duration::from_secs(limit)).patient();
        let outcome = run(config, &Workspace::find().unwrap()).unwrap();
        assert_eq!(outcome.ending, Ending::TimedOut);
        consoles = outcome.consoles.concat();
        let waits = |name: &str, what: &str| {
            let mut lines = consoles.lines();
            lines.any(|line| line.contains(name) && line.contains("waits") && line.contains(what))
        };
        let other = "0 processes, 0 threads here";
        if waits("(sh)", "Child") && waits("(sleep)", "deadline") && consoles.contains(other) {
            return;
        }
    }
    panic!("{consoles}");
}

#[test]
#[ignore = "boots machines"]
fn a_profile_names_what_both_kernels_executed() {
    let mut config = script(Isa::X86_64, "ls -R /proc/self | wc -l");
    config.topology = "x86_64+aarch64".parse().unwrap();
    config.profile = true;
    let outcome = run(config, &Workspace::find().unwrap()).unwrap();
    assert_eq!(outcome.ending, Ending::Exited(0), "{}", outcome.consoles.concat());
    let table = outcome.profile.unwrap().unwrap();
    let mut rows = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    assert_eq!(rows.next().unwrap(), ["machine", "blocks", "instructions", "function"]);
    let mut stepped = BTreeSet::new();
    for row in rows {
        let [machine, blocks, instructions, function] = row[..] else { panic!("{row:?}") };
        let [blocks, instructions] = [blocks, instructions].map(|n| n.parse::<u64>().unwrap());
        assert!(0 < blocks && blocks <= instructions, "{row:?}");
        if function.contains("kernel::Kernel") && function.ends_with("::step") {
            assert!(blocks > 10, "{row:?}");
            stepped.insert(machine.to_owned());
        }
    }
    assert_eq!(stepped, ["0/x86_64", "1/aarch64"].map(str::to_owned).into(), "{table}");
}

#[test]
#[ignore = "boots machines"]
fn every_instance_tells_its_counters() {
    for (isa, topology, times) in [
        (Isa::X86_64, "x86_64*2", 3),
        (Isa::X86_64, "x86_64*4", 1),
        (Isa::Aarch64, "aarch64*2", 1),
        (Isa::X86_64, "x86_64*2+aarch64*2", 1),
    ] {
        (0..times).for_each(|_| tell_their_counters(isa, topology));
    }
}

fn tell_their_counters(isa: Isa, topology: &str) {
    let mut config = script(isa, "taskset -c 1 true");
    config.topology = topology.parse().unwrap();
    config.stats = true;
    let instances = config.topology.instances().len();
    let outcome = run(config, &Workspace::find().unwrap()).unwrap();
    let consoles = outcome.consoles.concat();
    assert_eq!(outcome.ending, Ending::Exited(0), "{consoles}");
    let of: Vec<_> = outcome.stats.instances().map(|(_, stats)| &stats.counters).collect();
    assert_eq!(of.len(), instances, "{topology}: {of:?}\n{consoles}");
    for (number, counters) in of.iter().enumerate() {
        let names: BTreeSet<_> = counters.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), counters.len(), "{topology}, {number}: {counters:?}");
        let count = |name: &str| -> u64 {
            counters.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
        };
        // Of the links, of the window, of the kernel.
        let other = if number == 0 { 1 } else { 0 };
        for name in [&format!("link.{other}.sent.normal"), "fabric.sessions", "idles"] {
            assert!(count(name) > 0, "{topology}, {number}: no {name}: {counters:?}\n{consoles}");
        }
    }
}
