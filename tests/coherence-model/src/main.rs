//! Explores one fabric, replays a counter-example, or runs the long profile.

use std::io::BufRead;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use maize_coherence::directory::Directory;
use maize_coherence::shared::Shared;
use maize_coherence::voting::Voting;
use maize_coherence::{Agent, Mutation};
use maize_coherence_model::{Fabric, Op, Profile, Program, Setup, Step, Subject, check, progress};
use stateright::Model;

/// Model checking of the page coherency machines.
#[derive(Parser, Debug)]
struct Arguments {
    /// Run the long profile: everything that CI checks, and more of it.
    #[arg(long)]
    long: bool,
    /// Which policy.
    #[arg(long, value_enum, default_value = "directory")]
    policy: Policy,
    /// How many nodes.
    #[arg(long, default_value_t = 2)]
    nodes: usize,
    /// How many instances a node has, under `shared`.
    #[arg(long, default_value_t = 1)]
    siblings: usize,
    /// How many neighbouring mappings come along, under `shared`.
    #[arg(long, default_value_t = 0)]
    ahead: u8,
    /// How many pages.
    #[arg(long, default_value_t = 1)]
    pages: u8,
    /// Accesses per instance: one number, or one per instance.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    accesses: Vec<u8>,
    /// Fixed accesses instead, for each instance, as in `w0r1,r0`: it writes page 0 and reads page 1, a
    /// second one reads page 0.
    #[arg(long, value_delimiter = ',', value_parser = program)]
    program: Vec<Fixed>,
    /// Instances that may crash.
    #[arg(long, value_delimiter = ',')]
    crash: Vec<u8>,
    /// The one that has crashed starts again.
    #[arg(long)]
    returns: bool,
    /// How many evictions there may be.
    #[arg(long, default_value_t = 0)]
    evictions: u8,
    /// How many discards there may be.
    #[arg(long, default_value_t = 0)]
    discards: u8,
    /// How many promotions to the window there may be.
    #[arg(long, default_value_t = 0)]
    promotions: u8,
    /// Readings of the clock: 1, 2 or 3.
    #[arg(long, default_value_t = 2)]
    clock_readings: u8,
    /// Holds may end before their access has retired.
    #[arg(long)]
    short_holds: bool,
    /// A rule to take out, by its name in `Mutation`.
    #[arg(long, value_parser = rule)]
    without: Option<Mutation>,
    /// Go no deeper than this.
    #[arg(long)]
    depth: Option<usize>,
    /// Prove progress as well.
    #[arg(long)]
    progress: bool,
    /// Read steps from standard input, one a line, and print the states between them.
    #[arg(long)]
    replay: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    Voting,
    Directory,
    Shared,
    SharedVoting,
}

/// One instance's accesses.
#[derive(Clone, Debug)]
struct Fixed(Vec<Op>);

fn program(text: &str) -> Result<Fixed, String> {
    let ops: Option<Vec<Op>> = text
        .as_bytes()
        .chunks(2)
        .map(|op| match op {
            [b'r', page @ b'0'..=b'9'] => Some(Op::Read(page - b'0')),
            [b'w', page @ b'0'..=b'9'] => Some(Op::Write(page - b'0')),
            _ => None,
        })
        .collect();
    ops.map(Fixed).ok_or_else(|| format!("`{text}` is no program"))
}

fn rule(name: &str) -> Result<Mutation, String> {
    let found = Mutation::ALL.iter().find(|rule| format!("{rule:?}") == name);
    found.copied().ok_or_else(|| format!("there are: {:?}", Mutation::ALL))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.long {
        return Profile::long().run();
    }
    if !arguments.program.is_empty()
        && arguments.program.len() != arguments.nodes * arguments.siblings
    {
        bail!("{} programs", arguments.program.len());
    }
    let mut accesses = arguments.accesses.clone();
    if let [one] = accesses[..] {
        accesses = vec![one; arguments.nodes * arguments.siblings];
    }
    if accesses.len() != arguments.nodes * arguments.siblings {
        bail!(
            "{} x {} instances, but accesses for {}",
            arguments.nodes,
            arguments.siblings,
            accesses.len()
        );
    }
    let shared = matches!(arguments.policy, Policy::Shared | Policy::SharedVoting);
    if arguments.siblings > 1 && !shared {
        bail!("several instances of a node need a policy between them");
    }
    let setup = Setup {
        siblings: arguments.siblings,
        ahead: arguments.ahead,
        program: if arguments.program.is_empty() {
            Program::Any(accesses)
        } else {
            Program::Litmus(arguments.program.iter().map(|fixed| fixed.0.clone()).collect())
        },
        crashes: arguments.crash.clone(),
        returns: arguments.returns,
        evictions: arguments.evictions,
        discards: arguments.discards,
        promotions: arguments.promotions,
        clock_readings: arguments.clock_readings,
        short_holds: arguments.short_holds,
        mutation: arguments.without,
        ..Setup::new(arguments.nodes, arguments.pages, 0)
    };
    match arguments.policy {
        Policy::Voting => explore::<Agent<Voting<1>>>(&arguments, setup),
        Policy::Directory => explore::<Agent<Directory<1>>>(&arguments, setup),
        Policy::Shared => explore::<Shared<Agent<Directory<1>>>>(&arguments, setup),
        Policy::SharedVoting => explore::<Shared<Agent<Voting<1>>>>(&arguments, setup),
    }
}

fn explore<P: Subject>(arguments: &Arguments, setup: Setup) -> Result<()> {
    let fabric = Fabric::<P>::new(setup);
    if arguments.replay {
        return replay(&fabric);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let outcome = check(fabric.clone(), arguments.depth, cores);
    println!("{}: {outcome}", P::NAME);
    if let Some(counter_example) = outcome.counter_example {
        bail!("{counter_example}");
    }
    if arguments.progress {
        println!("{}: {}", P::NAME, progress(&fabric));
    }
    Ok(())
}

fn replay<P: Subject>(fabric: &Fabric<P>) -> Result<()> {
    let mut world = fabric.init_states().pop().context("a fabric has an initial state")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let Ok(step) = line.parse::<Step>() else { continue };
        println!("{step:?}");
        world = fabric.next_state(&world, step).context("the step changes nothing")?;
        print!("{}", world.describe());
    }
    Ok(())
}
