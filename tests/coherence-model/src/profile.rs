//! The fabrics that are checked, as a table.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};
use maize_coherence::Agent;
use maize_coherence::directory::Directory;
use maize_coherence::shared::Shared;
use maize_coherence::voting::Voting;

use crate::{Fabric, Op, Program, Setup, Subject, check, check_symmetric, progress};

/// How a fabric is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Every state.
    All,
    /// Every state, and a proof that every access ends.
    Progress,
    /// Every state but for renamings of the nodes that are not the home.
    Symmetric,
    /// Every state up to a depth.
    Depth(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Voting,
    Directory,
    /// `shared` over a directory.
    Shared,
    /// `shared` over voting.
    SharedVoting,
}

/// One fabric under check.
#[derive(Clone, Debug)]
struct Check {
    name: &'static str,
    which: Which,
    how: How,
    setup: Setup,
    forbidden: Option<crate::Forbidden>,
}

/// A list of checks.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    checks: Vec<Check>,
}

impl Profile {
    /// What CI runs; within three minutes on two cores.
    #[must_use]
    pub fn ci() -> Self {
        let mut profile = Self::default();
        for which in [Which::Voting, Which::Directory] {
            let clocks = |readings| Setup { clock_readings: readings, ..Setup::new(2, 2, 2) };
            profile.add("2 x 2, two accesses", which, How::Progress, clocks(3));
            let three = |accesses: &[u8]| Setup {
                program: Program::Any(accesses.to_vec()),
                clock_readings: 1,
                ..Setup::new(3, 1, 0)
            };
            profile.add("3 x 1, an access each", which, How::Progress, Setup::new(3, 1, 1));
            profile.add("3 x 1, 2+1+1 accesses", which, How::All, three(&[2, 1, 1]));
            // With voting all nodes play one part, and each death costs many states.
            let crashes = if which == Which::Voting { vec![1] } else { vec![0, 1, 2] };
            let crash = Setup { crashes, ..three(&[1, 1, 1]) };
            profile.add("3 x 1, a crash", which, How::Progress, crash);
            let back = |accesses| Setup { crashes: vec![1], returns: true, ..three(accesses) };
            profile.add("3 x 1, a return, 0+1+1", which, How::Progress, back(&[0, 1, 1]));
            profile.add("3 x 1, a return, 1+0+1", which, How::Progress, back(&[1, 0, 1]));
            profile.add("3 x 2, bounded depth", which, How::Depth(10), Setup::new(3, 2, 1));
            profile.add(
                "2 x 1, eviction, discard, crash",
                which,
                How::Progress,
                Setup { evictions: 1, discards: 1, crashes: vec![0, 1], ..Setup::new(2, 1, 1) },
            );
            profile.add(
                "2 x 1, window",
                which,
                How::Progress,
                Setup { promotions: 1, crashes: vec![1], ..Setup::new(2, 1, 2) },
            );
            profile.add(
                "2 x 1, holds that end early",
                which,
                How::All,
                Setup { short_holds: true, ..Setup::new(2, 1, 2) },
            );
        }
        let twice = Program::Any(vec![0, 2, 1]);
        let back = Setup { crashes: vec![1], returns: true, program: twice, ..Setup::new(3, 1, 0) };
        profile.add("3 x 1, a return, 0+2+1", Which::Directory, How::Progress, back);
        profile.add_gifts();
        profile.add("3 x 1, 2+2+2", Which::Directory, How::Symmetric, Setup::new(3, 1, 2));
        profile.add("4 x 1, an access each", Which::Directory, How::Symmetric, Setup::new(4, 1, 1));
        profile.add_siblings();
        profile.add_all_litmus();
        profile
    }

    /// Pages that are given to nodes that have not asked for them. What comes unasked may be held for
    /// nobody, so holds end early, and pages may go to and fro before they are used.
    fn add_gifts(&mut self) {
        let given = |gifts, setup| Setup { gifts, short_holds: true, ..setup };
        self.add("2 x 1, gifts", Which::Directory, How::All, given(2, Setup::new(2, 1, 2)));
        let more = Setup { evictions: 1, discards: 1, ..Setup::new(2, 1, 1) };
        self.add("2 x 1, gift, eviction, discard", Which::Directory, How::All, given(1, more));
        let crash = Setup { crashes: vec![1], ..Setup::new(3, 1, 1) };
        self.add("3 x 1, gift, crash", Which::Directory, How::All, given(1, crash));
        let siblings = Setup::domains(2, 2, 1, &[1, 0, 1, 1]);
        self.add("2 x 2 siblings, gift", Which::Shared, How::All, given(1, siblings));
    }

    /// The same, larger.
    fn add_more_gifts(&mut self) {
        let given = |gifts, setup| Setup { gifts, short_holds: true, ..setup };
        let crash = Setup { crashes: vec![0, 1, 2], ..Setup::new(3, 1, 1) };
        self.add("3 x 1, gift, a crash", Which::Directory, How::All, given(1, crash));
        self.add("3 x 1, gifts", Which::Directory, How::All, given(2, Setup::new(3, 1, 1)));
        let siblings = Setup::domains(2, 2, 1, &[1; 4]);
        self.add("2 x 2 siblings, gifts", Which::Shared, How::All, given(2, siblings));
    }

    /// Instances that share memory: alone in their node, and two nodes of them.
    fn add_siblings(&mut self) {
        let one = |siblings: usize, accesses: u8| Setup {
            evictions: 1,
            ..Setup::domains(1, siblings, 1, &vec![accesses; siblings])
        };
        let all = vec![0, 1, 2];
        self.add(
            "2 siblings, discard",
            Which::Shared,
            How::Progress,
            Setup { discards: 1, ..one(2, 1) },
        );
        self.add("2 siblings, two accesses", Which::Shared, How::Progress, one(2, 2));
        self.add(
            "3 siblings, a crash",
            Which::Shared,
            How::Progress,
            Setup { crashes: all, ..one(3, 1) },
        );
        self.add(
            "3 siblings, discard",
            Which::Shared,
            How::Symmetric,
            Setup { evictions: 0, discards: 1, ..one(3, 1) },
        );
        self.add(
            "2 siblings, window",
            Which::Shared,
            How::Progress,
            Setup { promotions: 1, ..one(2, 2) },
        );
        let neighbours = Setup { evictions: 1, ahead: 1, ..Setup::domains(1, 2, 2, &[2, 2]) };
        self.add("2 siblings x 2 pages", Which::Shared, How::Progress, neighbours);
        for which in [Which::Shared, Which::SharedVoting] {
            let two = |accesses: &[u8]| Setup::domains(2, 2, 1, accesses);
            self.add("2 x 2 siblings", which, How::Progress, two(&[1; 4]));
            let crash = Setup { crashes: vec![0, 1, 2, 3], ..two(&[1, 0, 1, 1]) };
            self.add("2 x 2 siblings, a crash", which, How::Progress, crash);
            let evicting = Setup { evictions: 1, ..two(&[1; 4]) };
            self.add("2 x 2 siblings, eviction", which, How::All, evicting);
        }
    }

    /// The same, larger.
    fn add_more_siblings(&mut self) {
        for which in [Which::Shared, Which::SharedVoting] {
            let two = |accesses: &[u8]| Setup::domains(2, 2, 1, accesses);
            self.add("2 x 2 siblings, 2+1+2+1", which, How::Progress, two(&[2, 1, 2, 1]));
            let crash = Setup { crashes: vec![0, 1, 2, 3], ..two(&[1; 4]) };
            self.add("2 x 2 siblings, a crash", which, How::Progress, crash);
            let window = Setup { promotions: 1, ..two(&[1; 4]) };
            self.add("2 x 2 siblings, window", which, How::Progress, window);
            let discard = Setup { discards: 1, ..two(&[1, 0, 1, 1]) };
            self.add("2 x 2 siblings, discard", which, How::All, discard);
        }
        let pages = Setup { ahead: 1, evictions: 1, ..Setup::domains(1, 3, 2, &[1, 2, 1]) };
        self.add("3 siblings x 2 pages", Which::Shared, How::All, pages);
        let discard = Setup { evictions: 1, discards: 1, ..Setup::domains(1, 3, 1, &[1; 3]) };
        self.add("3 siblings, discard", Which::Shared, How::Progress, discard);
    }

    /// What one waits for.
    #[must_use]
    pub fn long() -> Self {
        let mut profile = Self::ci();
        for which in [Which::Voting, Which::Directory] {
            let three = |accesses: &[u8]| Setup {
                program: Program::Any(accesses.to_vec()),
                clock_readings: 1,
                ..Setup::new(3, 1, 0)
            };
            profile.add("3 x 1, 2+2+1 accesses", which, How::Progress, three(&[2, 2, 1]));
            let clocks = Setup { clock_readings: 3, ..three(&[2, 1, 1]) };
            profile.add("3 x 1, 2+1+1, all clocks", which, How::All, clocks);
            profile.add("3 x 2, bounded depth", which, How::Depth(14), Setup::new(3, 2, 1));
            for node in 0..3 {
                let crash = Setup { crashes: vec![node], ..three(&[2, 1, 1]) };
                profile.add("3 x 1, 2+1+1, a crash", which, How::All, crash);
            }
            let back = Setup { crashes: vec![1], returns: true, ..three(&[1, 1, 1]) };
            profile.add("3 x 1, a return", which, How::All, back);
            profile.add(
                "3 x 1, eviction",
                which,
                How::All,
                Setup { evictions: 1, ..three(&[2, 1, 1]) },
            );
            profile.add(
                "3 x 1, window",
                which,
                How::All,
                Setup { promotions: 1, ..three(&[1, 1, 1]) },
            );
        }
        profile.add("4 x 1, 2+1+1+1", Which::Directory, How::Symmetric, {
            let program = Program::Any(vec![1, 2, 1, 1]);
            Setup { program, ..Setup::new(4, 1, 0) }
        });
        profile.add_more_siblings();
        profile.add_more_gifts();
        profile.add_litmus("IRIW", Which::Voting, Setup::litmus(2, &IRIW), iriw_is_forbidden);
        profile
    }

    fn add(&mut self, name: &'static str, which: Which, how: How, setup: Setup) {
        self.checks.push(Check { name, which, how, setup, forbidden: None });
    }

    fn add_litmus(
        &mut self,
        name: &'static str,
        which: Which,
        setup: Setup,
        forbidden: crate::Forbidden,
    ) {
        let setup = Setup { clock_readings: 1, ..setup };
        let forbidden = Some(forbidden);
        self.checks.push(Check { name, which, how: How::All, setup, forbidden });
    }

    fn add_all_litmus(&mut self) {
        for which in [Which::Voting, Which::Directory] {
            for (name, threads, forbidden) in LITMUS {
                self.add_litmus(name, which, Setup::litmus(2, threads), forbidden);
            }
        }
        self.add_litmus("IRIW", Which::Directory, Setup::litmus(2, &IRIW), iriw_is_forbidden);
        for which in [Which::Shared, Which::SharedVoting] {
            let setup = Setup { nodes: 2, siblings: 2, ..Setup::litmus(2, &IRIW_OF_SIBLINGS) };
            self.add_litmus("IRIW, siblings", which, setup, iriw_of_siblings_is_forbidden);
        }
    }

    /// Runs every check and every litmus test, as many at a time as there are cores, and prints what
    /// each found.
    ///
    /// # Errors
    ///
    /// A counter-example.
    pub fn run(&self) -> Result<()> {
        let start = Instant::now();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some(check) = self.checks.get(next.fetch_add(1, Ordering::Relaxed)) {
                check.run()?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(_) => bail!("a check panicked"),
            })
        })?;
        println!("all within {:.1} s", start.elapsed().as_secs_f64());
        Ok(())
    }
}

impl Check {
    fn run(&self) -> Result<()> {
        match self.which {
            Which::Voting => self.run_on::<Agent<Voting<1>>>(),
            Which::Directory => self.run_on::<Agent<Directory<1>>>(),
            Which::Shared => self.run_on::<Shared<Agent<Directory<1>>>>(),
            Which::SharedVoting => self.run_on::<Shared<Agent<Voting<1>>>>(),
        }
    }

    fn run_on<P: Subject>(&self) -> Result<()> {
        let mut fabric = Fabric::<P>::new(self.setup.clone());
        fabric.forbidden = self.forbidden;
        let tell = |found: &dyn std::fmt::Display| {
            println!("{:>13}  {:<30}{found}", P::NAME, self.name);
        };
        if self.how == How::Progress {
            let found = progress(&fabric);
            tell(&found);
            if found.is_proof() {
                return Ok(());
            }
            if found.violations == 0 {
                bail!("{}, {}: {found}", P::NAME, self.name);
            }
            // Again, for the way there.
        }
        let outcome = match self.how {
            How::Symmetric => check_symmetric(fabric),
            How::Depth(depth) => check(fabric, Some(depth), 1),
            How::All | How::Progress => check(fabric, None, 1),
        };
        tell(&outcome);
        match outcome.counter_example {
            Some(counter_example) => bail!("{}, {}: {counter_example}", P::NAME, self.name),
            None => Ok(()),
        }
    }
}

/// The litmus shapes and what a sequentially consistent memory never shows.
const LITMUS: [(&str, &[&[Op]], crate::Forbidden); 3] = {
    use Op::{Read, Write};
    [
        ("SB", &[&[Write(0), Read(1)], &[Write(1), Read(0)]], |seen| {
            old_at(seen, 0, 0) && old_at(seen, 1, 0)
        }),
        ("MP", &[&[Write(0), Write(1)], &[Read(1), Read(0)]], |seen| {
            !old_at(seen, 1, 0) && old_at(seen, 1, 1)
        }),
        ("MP, warm", &[&[Write(0), Write(1)], &[Read(0), Read(1), Read(0)]], |seen| {
            !old_at(seen, 1, 1) && old_at(seen, 1, 2)
        }),
    ]
};

/// Two writers, and two readers that must not see the writes in different orders.
const IRIW: [&[Op]; 4] =
    [&[Op::Write(0)], &[Op::Write(1)], &[Op::Read(0), Op::Read(1)], &[Op::Read(1), Op::Read(0)]];

fn iriw_is_forbidden(seen: &[Vec<u8>]) -> bool {
    !old_at(seen, 2, 0) && old_at(seen, 2, 1) && !old_at(seen, 3, 0) && old_at(seen, 3, 1)
}

/// The same with a writer and a reader in each of two nodes: the readers are threads 1 and 3.
const IRIW_OF_SIBLINGS: [&[Op]; 4] =
    [&[Op::Write(0)], &[Op::Read(0), Op::Read(1)], &[Op::Write(1)], &[Op::Read(1), Op::Read(0)]];

fn iriw_of_siblings_is_forbidden(seen: &[Vec<u8>]) -> bool {
    !old_at(seen, 1, 0) && old_at(seen, 1, 1) && !old_at(seen, 3, 0) && old_at(seen, 3, 1)
}

fn old_at(seen: &[Vec<u8>], thread: usize, load: usize) -> bool {
    seen[thread].get(load) == Some(&0)
}
