//! Threads of one program on several instances: what it prints is what it prints on Linux.

use maize_hostlink::boot::{Isa, Placement, Sharing};
use maize_launcher::topology::Topology;
use maize_launcher::workspace::Workspace;
use maize_programs_runner::{Case, Libc, compare, host, machine};
use maize_runs::dynamic::DynamicProgram;

/// Runs programs of `tests/programs`, with both C libraries.
fn as_on_linux(names: &[&str], topology: &str, placement: Placement) {
    let case = |name: &&str| Libc::ALL.map(|libc| Case::Program { libc, name: (*name).to_owned() });
    let cases: Vec<Case> = names.iter().flat_map(case).collect();
    compare_cases(&cases, topology, Sharing { placement, ..Sharing::default() });
}

fn compare_cases(cases: &[Case], topology: &str, sharing: Sharing) {
    let workspace = Workspace::find().unwrap();
    let topology: Topology = topology.parse().unwrap();
    let isa = topology.machines()[0].isa;
    let linux = host::run(cases, &workspace).unwrap();
    let maize = machine::run_on(cases, isa, &topology, &sharing, &workspace).unwrap();
    for case in cases.iter().map(Case::to_string) {
        assert_eq!(compare::failure(&linux[&case]), None, "{case}");
        if let Some(text) = compare::difference(&linux[&case], &maize[&case]) {
            panic!("{case} on {topology}: {text}");
        }
    }
}

/// Programs that visit every CPU themselves, and do there what a process does.
const VISITORS: [&str; 6] =
    ["migrate", "migrate_calls", "migrate_stress", "popcorn", "shared_files", "sockets_threads"];

#[test]
#[ignore = "boots machines"]
fn programs_visit_both_x86_64_machines() {
    as_on_linux(&VISITORS, "x86_64+x86_64", Placement::Local);
}

#[test]
#[ignore = "boots machines"]
fn programs_visit_both_instances_of_a_machine() {
    as_on_linux(&VISITORS, "x86_64*2", Placement::Local);
}

#[test]
#[ignore = "boots machines"]
fn programs_visit_both_aarch64_machines() {
    as_on_linux(&VISITORS, "aarch64+aarch64", Placement::Local);
}

#[test]
#[ignore = "boots machines"]
fn new_threads_spread_over_machines() {
    as_on_linux(&["threads_mutex"], "x86_64+x86_64", Placement::Spread);
}

#[test]
#[ignore = "boots machines"]
fn new_threads_spread_over_a_machine() {
    as_on_linux(&["threads_mutex"], "x86_64*2", Placement::Spread);
}

#[test]
#[ignore = "boots machines"]
fn libraries_are_shared_by_threads_on_two_machines() {
    let built = DynamicProgram::build(Isa::X86_64).unwrap();
    let mut config = built.run(Topology::two_machines(Isa::X86_64, Isa::X86_64));
    config.sharing =
        Sharing { placement: Placement::Spread, migrate_every: 5, ..Sharing::default() };
    let outcome = maize_runs::outcome(config).unwrap();
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), DynamicProgram::OUTPUT, "{outcome:?}");
}

#[test]
#[ignore = "boots machines"]
fn foreign_programs_do_what_they_do_on_linux() {
    let foreign = |name: &str| Case::Foreign { name: name.to_owned() };
    let sharing = Sharing { placement: Placement::Spread, migrate_every: 7, ..Sharing::default() };
    compare_cases(&["bash", "lua", "zsh"].map(foreign), "x86_64*2", sharing);
}
