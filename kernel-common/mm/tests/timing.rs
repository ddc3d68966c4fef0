//! How long one step of a long operation takes on the host: figures to look at, nothing that a
//! check depends on. `cargo test --release -p maize-mm --test timing -- --ignored --nocapture`
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod machine;

use std::time::{Duration, Instant};

use maize_abi::pte::Access;
use maize_mm::{Budget, MapRequest, OldRange, Placement, Progress, Relocation};

use machine::{FORMATS, Machine, PAGE, RW};

const AT: u64 = 0x20_0000;
const PAGES: u64 = 40_000;

/// What each step took: the least of several runs, since other work on the host disturbs some.
#[derive(Default)]
struct Figures(Vec<(&'static str, Vec<Duration>)>);

impl Figures {
    fn add(&mut self, what: &'static str, steps: Vec<Duration>) {
        match self.0.iter_mut().find(|(name, _)| *name == what) {
            Some((_, least)) => {
                least.iter_mut().zip(steps).for_each(|(least, step)| *least = step.min(*least));
            }
            None => self.0.push((what, steps)),
        }
    }

    /// Runs `step` until it is done.
    fn steps(&mut self, what: &'static str, mut step: impl FnMut(&mut Budget) -> Progress) {
        let mut steps = Vec::new();
        loop {
            let before = Instant::now();
            let progress = step(&mut Budget::step());
            steps.push(before.elapsed());
            if progress.is_done() {
                break;
            }
        }
        self.add(what, steps);
    }

    /// Times `work`, which does something `count` times.
    fn each<T>(&mut self, what: &'static str, count: u32, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(what, vec![start.elapsed() / count]);
        result
    }
}

#[test]
#[ignore = "prints figures"]
fn steps_are_short() {
    let mut figures = Figures::default();
    for _ in 0..7 {
        run(&mut figures);
    }
    println!("{:44} {:>6} {:>9} {:>9}", "", "steps", "longest", "all");
    for (what, steps) in figures.0 {
        let longest = steps.iter().max().copied().unwrap_or_default();
        let all: Duration = steps.iter().sum();
        println!("{what:44} {:6} {longest:9.1?} {all:9.1?}", steps.len());
    }
}

fn run(figures: &mut Figures) {
    let mut m = Machine::new(FORMATS[0], 2 * PAGES + 4096, 8);
    let s = m.space();
    m.map_at(s, AT, PAGES, RW);
    figures.each("first touch", PAGES as u32, || {
        for n in 0..PAGES {
            m.memory.fault(&mut m.hw, s, AT + n * PAGE, Access::WRITE).unwrap();
        }
    });
    m.memory.protect(&mut m.hw, s, AT, PAGES * PAGE, Access::READ).unwrap();
    figures.steps("mprotect", |b| m.memory.advance(&mut m.hw, s, b));
    m.memory.protect(&mut m.hw, s, AT, PAGES * PAGE, RW).unwrap();
    figures.each("write fault on an own page", PAGES as u32, || {
        for n in 0..PAGES {
            m.memory.fault(&mut m.hw, s, AT + n * PAGE, Access::WRITE).unwrap();
        }
    });
    let child =
        figures.each("fork, the call itself", 1, || m.memory.fork_space(&mut m.hw, s).unwrap());
    figures.steps("fork", |b| m.memory.advance(&mut m.hw, s, b));
    figures.each("copy on write", PAGES as u32 / 2, || {
        for n in (0..PAGES).step_by(2) {
            m.memory.fault(&mut m.hw, s, AT + n * PAGE, Access::WRITE).unwrap();
        }
    });
    m.memory.destroy_space(child);
    figures.steps("exit of the child, and its object merged", |b| {
        m.memory.run_background(&mut m.hw, b)
    });
    let half = (AT, PAGES / 2 * PAGE);
    let to = AT + (PAGES + 10) * PAGE;
    figures.each("mremap, the call itself", 1, || {
        let to = Relocation::MoveTo(to);
        m.memory.remap(&mut m.hw, s, half, half.1, to, OldRange::Unmapped).unwrap()
    });
    figures.steps("mremap of a part", |b| m.memory.advance(&mut m.hw, s, b));
    m.memory.unmap(&mut m.hw, s, AT, 3 * PAGES * PAGE).unwrap();
    figures.steps("munmap", |b| m.memory.advance(&mut m.hw, s, b));
    figures.steps("frames freed", |b| m.memory.run_background(&mut m.hw, b));

    for n in 0..60_000 {
        let mut r = MapRequest::anonymous(Placement::Fixed(AT + 2 * n * PAGE), PAGE, Access::READ);
        r.may = Access::all();
        m.memory.map(&mut m.hw, s, &r).unwrap();
    }
    let any = MapRequest::anonymous(Placement::Anywhere(0), PAGE, RW);
    figures.each("mmap and munmap beside 60,000 areas", 1000, || {
        for _ in 0..1000 {
            let at = m.memory.map(&mut m.hw, s, &any).unwrap();
            m.memory.unmap(&mut m.hw, s, at, PAGE).unwrap();
        }
    });
    figures.steps("the rest of it", |b| m.memory.advance(&mut m.hw, s, b));
    let child = m.memory.fork_space(&mut m.hw, s).unwrap();
    figures.steps("fork of 60,000 areas", |b| m.memory.advance(&mut m.hw, s, b));
    m.memory.destroy_space(child);
    figures.steps("exit of 60,000 areas", |b| m.memory.run_background(&mut m.hw, b));
}
