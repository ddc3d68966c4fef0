//! Machines that die while processes have threads on them.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use maize_hostlink::boot::{Coherence, Sharing};
use maize_launcher::live::{Live, Order};
use maize_launcher::run::{Ending, RunConfig};
use maize_launcher::sink::Destination;
use maize_launcher::workspace::Workspace;
use maize_runs::compile::compile;

use crate::harness::DEAD_AFTER;

/// Longest time for a run, on a busy host.
const LIMIT: Duration = Duration::from_secs(400);

/// `tests/runs/programs/lost.c` for x86_64, in a folder that lasts as long as this.
fn program(workspace: &Workspace) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("lost");
    let source = workspace.root().join("tests/runs/programs/lost.c");
    let options =
        ["-O2", "-static", "-pthread", "-Wall", "-Wextra", "-Werror", "-o"].map(OsStr::new);
    let files = [program.as_os_str(), source.as_os_str()];
    compile("musl-gcc", &[&options[..], &files].concat()).unwrap();
    (folder, program)
}

/// Kills the second of three machines when a process has threads on all of them; what the program says.
fn lose_the_second(coherence: Coherence, arguments: &[&str], order: Order) -> Vec<String> {
    let workspace = Workspace::find().unwrap();
    let (_folder, program) = program(&workspace);
    let (said, stdout) = std::io::pipe().unwrap();
    let config = RunConfig {
        stdout: Destination::Descriptor(stdout.into()),
        sharing: Sharing { coherence, ..Sharing::default() },
        dead_after: DEAD_AFTER,
        ..RunConfig::new("x86_64+x86_64+x86_64".parse().unwrap(), program.to_str().unwrap())
    };
    let config = config.arguments(arguments).timeout(LIMIT);
    let live = Live::start(config, &workspace).unwrap();
    let mut said = BufReader::new(said).lines().map(Result::unwrap);
    assert_eq!(said.next().as_deref(), Some("spread"));
    live.order(order);
    let outcome = live.outcome().unwrap();
    let said: Vec<String> = said.collect();
    let consoles = outcome.consoles.concat();
    assert_eq!(outcome.ending, Ending::Exited(0), "{said:?}\n{consoles}");
    let reports = &outcome.reports;
    let told = |what: &str| reports.iter().any(|(_, text)| text.contains(what));
    // The thread may have been in a call at home at that moment: then it is its stack that is lost.
    let report = match said.first().map(String::as_str) {
        Some("on the lost CPU: signal 9") => "was on instance 1, which is gone: the process ends",
        Some("on the lost CPU: signal 7") => "a page was on an instance which is gone",
        other => panic!("{other:?}\n{reports:?}\n{consoles}"),
    };
    assert!(told(report), "{reports:?}\n{consoles}");
    said
}

/// What becomes of those that were not there.
const OTHERS: [&str; 2] = ["beside it: status 0", "on another CPU: status 0"];

#[test]
#[ignore = "boots machines"]
fn a_group_ends_with_one_of_its_three_machines_and_nothing_else_does() {
    for coherence in [Coherence::Directory, Coherence::Voting] {
        let said = lose_the_second(coherence, &[], Order::Kill(1));
        assert_eq!(said[1..3], OTHERS, "{coherence:?}");
        assert_eq!(said[3..], ["there again: Invalid argument"], "{coherence:?}");
    }
}

#[test]
#[ignore = "boots machines"]
fn a_machine_that_returns_takes_threads_again() {
    let said = lose_the_second(Coherence::Directory, &["returns"], Order::Restart(1));
    assert_eq!(said[1..3], OTHERS);
    assert_eq!(said[3..], ["there again: went", "on the CPU that returned: status 0"]);
}
