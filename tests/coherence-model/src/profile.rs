//! The fabrics that are checked, as a table.

use std::time::Instant;

use anyhow::{Result, bail};
use maize_coherence::Agent;
use maize_coherence::directory::Directory;
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
}

/// A list of checks.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    checks: Vec<(&'static str, Which, How, Setup)>,
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
            profile.add(
                "3 x 1, a crash",
                which,
                How::Progress,
                Setup { crashes: vec![1], ..three(&[1, 1, 1]) },
            );
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
        profile.add("3 x 1, 2+2+2", Which::Directory, How::Symmetric, Setup::new(3, 1, 2));
        profile.add("4 x 1, an access each", Which::Directory, How::Symmetric, Setup::new(4, 1, 1));
        profile
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
        profile
    }

    fn add(&mut self, name: &'static str, which: Which, how: How, setup: Setup) {
        self.checks.push((name, which, how, setup));
    }

    /// Runs every check and every litmus test, and prints what it found.
    ///
    /// # Errors
    ///
    /// The first counter-example.
    pub fn run(&self) -> Result<()> {
        let start = Instant::now();
        for (name, which, how, setup) in &self.checks {
            match which {
                Which::Voting => one::<Agent<Voting<1>>>(name, *how, setup)?,
                Which::Directory => one::<Agent<Directory<1>>>(name, *how, setup)?,
            }
        }
        litmus::<Agent<Voting<1>>>()?;
        litmus::<Agent<Directory<1>>>()?;
        println!("all within {:.1} s", start.elapsed().as_secs_f64());
        Ok(())
    }
}

fn one<P: Subject>(name: &str, how: How, setup: &Setup) -> Result<()> {
    let fabric = Fabric::<P>::new(setup.clone());
    let outcome = match how {
        How::Symmetric => check_symmetric(fabric.clone()),
        How::Depth(depth) => check(fabric.clone(), Some(depth)),
        How::All | How::Progress => check(fabric.clone(), None),
    };
    println!("{:>9}  {name:<32}{outcome}", P::NAME);
    if let Some(counter_example) = outcome.counter_example {
        bail!("{}, {name}: {counter_example}", P::NAME);
    }
    if how == How::Progress {
        let found = progress(&fabric);
        println!("{:>9}  {:<32}{found}", "", "  every access ends");
        if found.stuck > 0 || found.cyclic > 0 {
            bail!("{}, {name}: {found}", P::NAME);
        }
    }
    Ok(())
}

/// The litmus shapes and what a sequentially consistent memory never shows.
fn litmus<P: Subject>() -> Result<()> {
    use Op::{Read, Write};
    let store_buffering: &[&[Op]] = &[&[Write(0), Read(1)], &[Write(1), Read(0)]];
    shape::<P>("SB", store_buffering, |seen| old_at(seen, 0, 0) && old_at(seen, 1, 0))?;
    let message_passing: &[&[Op]] = &[&[Write(0), Write(1)], &[Read(1), Read(0)]];
    shape::<P>("MP", message_passing, |seen| !old_at(seen, 1, 0) && old_at(seen, 1, 1))?;
    let warm: &[&[Op]] = &[&[Write(0), Write(1)], &[Read(0), Read(1), Read(0)]];
    shape::<P>("MP, warm", warm, |seen| !old_at(seen, 1, 1) && old_at(seen, 1, 2))?;
    let independent: &[&[Op]] =
        &[&[Write(0)], &[Write(1)], &[Read(0), Read(1)], &[Read(1), Read(0)]];
    if P::SYMMETRIC {
        shape::<P>("IRIW", independent, |seen| {
            !old_at(seen, 2, 0) && old_at(seen, 2, 1) && !old_at(seen, 3, 0) && old_at(seen, 3, 1)
        })?;
    }
    Ok(())
}

fn old_at(seen: &[Vec<u8>], thread: usize, load: usize) -> bool {
    seen[thread].get(load) == Some(&0)
}

fn shape<P: Subject>(name: &str, threads: &[&[Op]], forbidden: crate::Forbidden) -> Result<()> {
    let setup = Setup { clock_readings: 1, ..Setup::litmus(2, threads) };
    let outcome = check(Fabric::<P>::litmus(setup, forbidden), None);
    println!("{:>9}  {name:<32}{outcome}", P::NAME);
    match outcome.counter_example {
        Some(counter_example) => bail!("{}, {name}: {counter_example}", P::NAME),
        None => Ok(()),
    }
}
