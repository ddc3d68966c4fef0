//! The fabric as a stateright model, and the exhaustive run.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::world::{Step, World};
use crate::{Setup, Subject};

/// A set of litmus results that no sequentially consistent memory shows.
pub type Forbidden = fn(&[Vec<u8>]) -> bool;

/// Every run of a fabric.
#[derive(Clone, Debug)]
pub struct Fabric<P> {
    /// What the fabric may do.
    pub setup: Setup,
    /// For litmus programs: the forbidden result.
    pub forbidden: Option<Forbidden>,
    policy: std::marker::PhantomData<fn() -> P>,
}

impl<P: Subject> Fabric<P> {
    /// A fabric without a forbidden result.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self { setup, forbidden: None, policy: std::marker::PhantomData }
    }

    /// A litmus test.
    #[must_use]
    pub fn litmus(setup: Setup, forbidden: Forbidden) -> Self {
        Self { forbidden: Some(forbidden), ..Self::new(setup) }
    }

    /// Whether a state keeps every invariant, and is no forbidden end of a litmus test.
    #[must_use]
    pub fn is_right(&self, world: &World<P>) -> bool {
        world.violation.is_none() && !self.is_forbidden(world)
    }

    fn is_forbidden(&self, world: &World<P>) -> bool {
        self.forbidden
            .is_some_and(|forbidden| world.has_ended(&self.setup) && forbidden(&world.seen))
    }
}

impl<P: Subject> Model for Fabric<P> {
    type State = World<P>;
    type Action = Step;

    fn init_states(&self) -> Vec<World<P>> {
        vec![World::new(&self.setup)]
    }

    fn actions(&self, world: &World<P>, steps: &mut Vec<Step>) {
        if world.violation.is_none() {
            world.steps(&self.setup, steps);
        }
    }

    fn next_state(&self, world: &World<P>, step: Step) -> Option<World<P>> {
        world.after(&self.setup, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("coherent", |_, world: &World<P>| world.violation.is_none()),
            Property::always("sequentially consistent", |model: &Self, world: &World<P>| {
                !model.is_forbidden(world)
            }),
        ]
    }
}

/// What an exhaustive run found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Different states.
    pub states: usize,
    /// States generated, the repeated ones included.
    pub generated: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// What is wrong, and the steps that lead there.
    pub counter_example: Option<String>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>10} states {:>11} generated  depth {:>3}  {:>6.1} s  {}",
            self.states,
            self.generated,
            self.depth,
            self.took.as_secs_f64(),
            if self.counter_example.is_none() { "ok" } else { "VIOLATED" }
        )
    }
}

/// Visits every state, or every state up to a depth, on so many threads.
pub fn check<P: Subject>(fabric: Fabric<P>, depth: Option<usize>, threads: usize) -> Outcome {
    let mut builder = fabric.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(depth) = depth {
        builder = builder.target_max_depth(depth);
    }
    let start = Instant::now();
    outcome(&builder.spawn_bfs().join(), start)
}

/// Visits every state but for renamings of the nodes that are not the home.
pub fn check_symmetric<P: Subject>(fabric: Fabric<P>) -> Outcome {
    let alike = fabric.setup.siblings == 1 || fabric.setup.nodes == 1;
    assert!(P::SYMMETRIC && alike && fabric.setup.crashes.is_empty(), "the nodes are not alike");
    let start = Instant::now();
    let checker = fabric
        .checker()
        .symmetry_fn(representative)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join();
    outcome(&checker, start)
}

/// Of all renamings that leave node 0, the home, alone: the one with the least hash.
fn representative<P: Subject>(world: &World<P>) -> World<P> {
    let mut best = (hash(world), None);
    let mut order: Vec<u8> = (0..world.instances() as u8).collect();
    permute(&mut order, 1, &mut |order| {
        let renamed = world.renamed(order);
        let hash = hash(&renamed);
        if hash < best.0 {
            best = (hash, Some(renamed));
        }
    });
    best.1.unwrap_or_else(|| world.clone())
}

fn permute(order: &mut [u8], from: usize, f: &mut impl FnMut(&[u8])) {
    if from + 1 >= order.len() {
        return f(order);
    }
    for i in from..order.len() {
        order.swap(from, i);
        permute(order, from + 1, f);
        order.swap(from, i);
    }
}

pub(crate) fn hash<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn outcome<P: Subject>(checker: &impl Checker<Fabric<P>>, start: Instant) -> Outcome {
    let counter_example = checker.discoveries().into_iter().next().map(|(property, path)| {
        let mut text = String::new();
        let what = path.last_state().violation.unwrap_or(property);
        let _ = writeln!(text, "{what}:");
        for step in path.into_actions() {
            let _ = writeln!(text, "  {step:?}");
        }
        text
    });
    Outcome {
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        took: start.elapsed(),
        counter_example,
    }
}
