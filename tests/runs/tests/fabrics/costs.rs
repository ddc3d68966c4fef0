//! What operations of threads away from home cost on machines, in messages, bytes and pages: the figures
//! of `bench migrate` whose counts do not depend on time.

use std::time::Duration;

use maize_hostlink::boot::Isa;
use maize_launcher::bench::migrate::{Figure, build};
use maize_launcher::run::{Ending, RunConfig, run};
use maize_launcher::topology::Topology;
use maize_launcher::workspace::Workspace;

const LIMIT: Duration = Duration::from_secs(400);

/// Figure, messages, most bytes of their bodies, pages.
const COSTS: [(&str, f64, f64, f64); 14] = [
    ("there and back", 2.0, 700.0, 0.0),
    ("there and back, stack unused", 2.0, 700.0, 0.0),
    ("system call", 2.0, 600.0, 0.0),
    ("system call at home", 0.0, 0.0, 0.0),
    ("clock_gettime", 0.0, 0.0, 0.0),
    ("read fault", 2.0, 50.0, 1.0),
    ("write fault", 2.0, 50.0, 1.0),
    ("write upgrade", 2.0, 50.0, 0.0),
    ("futex wake, no waiter", 0.0, 0.0, 0.0),
    ("futex wake, shared word", 2.0, 600.0, 0.0),
    ("futex ping-pong, both there", 0.0, 0.0, 0.0),
    ("mmap 64 KiB", 2.0, 640.0, 0.0),
    ("munmap 64 KiB", 4.0, 700.0, 0.0),
    ("mprotect 64 KiB", 4.0, 700.0, 0.0),
];

/// How far a count may be off: the interrupts of timers and of the host also end stays.
const TOLERANCE: f64 = 0.2;

/// Bytes of those stays, and of news about how busy an instance is, per operation.
const STRAY_BYTES: f64 = 10.0;

/// More messages, and pages, of a move there and back until the stack's page is in memory that both machines
/// see. How soon that is depends on how closely the moves follow each other.
const BEFORE_THE_WINDOW: (f64, f64) = (3.0, 2.0);

/// Runs in one of which each figure must be right. What the host does meanwhile adds to a count, or to that which is
/// taken off it; not to the same one each time.
const RUNS: usize = 6;

fn figures(program: &str, workspace: &Workspace) -> Vec<Figure> {
    let topology: Topology = "x86_64+x86_64".parse().unwrap();
    let config = RunConfig::new(topology, program).arguments(["100"]);
    let outcome = run(config.timeout(LIMIT).patient(), workspace).unwrap();
    let output = String::from_utf8_lossy(&outcome.stdout).into_owned();
    assert_eq!(outcome.ending, Ending::Exited(0), "{output}{}", outcome.consoles.concat());
    output.lines().filter_map(Figure::parse).collect()
}

/// What is wrong with the figure of a cost.
fn difference(cost: &(&str, f64, f64, f64), figures: &[Figure]) -> Option<String> {
    let (name, messages, most_bytes, pages) = *cost;
    let figure = figures.iter().find(|figure| figure.name == name).unwrap();
    let [Some(sent), Some(bytes), Some(with_page)] = figure.counts else {
        panic!("{name}: not counted");
    };
    let moves = name.starts_with("there and back");
    let (late, late_pages) = if moves { BEFORE_THE_WINDOW } else { (0.0, 0.0) };
    let close = |count: f64, wanted: f64, late: f64| {
        (wanted - TOLERANCE..=wanted + late + TOLERANCE).contains(&count)
    };
    let right = close(sent, messages, late)
        && close(with_page, pages, late_pages)
        && bytes <= most_bytes + STRAY_BYTES;
    (!right).then(|| format!("{name}: {sent} messages, {bytes} bytes, {with_page} pages"))
}

#[test]
#[ignore = "boots machines"]
fn operations_cost_what_they_cost() {
    let workspace = Workspace::find().unwrap();
    let program = build(Isa::X86_64, &workspace).unwrap();
    let mut left = COSTS.to_vec();
    for turn in 1..=RUNS {
        let figures = figures(program.to_str().unwrap(), &workspace);
        left.retain(|cost| match difference(cost, &figures) {
            Some(wrong) => {
                println!("run {turn}: {wrong}");
                true
            }
            None => false,
        });
        if left.is_empty() {
            return;
        }
    }
    panic!("never as they should be: {left:?}");
}
