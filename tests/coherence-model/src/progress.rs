//! Every access that begins ends.
//!
//! stateright's `eventually` looks at single paths and may miss cycles, so this is a graph search
//! of its own: from every reachable state, the fabric's own steps alone (deliveries, retries; no
//! new access) can lead to a state in which no access is under way. In a finite graph that means
//! that every fair run gets there. If the graph of those steps has no cycle at all, every run gets
//! there, fair or not, in a bounded number of steps.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use stateright::Model;

use crate::fabric::hash;
use crate::{Fabric, Subject, World};

/// What the search found.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Different states.
    pub states: usize,
    /// Steps between them that are the fabric's own.
    pub steps: usize,
    /// States from which some access never ends.
    pub stuck: usize,
    /// States on a cycle, or from which only cycles lead on.
    pub cyclic: usize,
    /// States that break an invariant, or end a litmus test as it must not end.
    pub violations: usize,
    /// How long it took.
    pub took: Duration,
}

impl Progress {
    /// Whether every state is as it must be, and every access ends in a bounded number of steps.
    #[must_use]
    pub fn is_proof(&self) -> bool {
        self.stuck == 0 && self.cyclic == 0 && self.violations == 0
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:>10} states {:>11} own steps  violations {}  stuck {}  on cycles {}  {:>6.1} s",
            self.states,
            self.steps,
            self.violations,
            self.stuck,
            self.cyclic,
            self.took.as_secs_f64()
        )
    }
}

/// Walks all states of a fabric.
pub fn progress<P: Subject>(fabric: &Fabric<P>) -> Progress {
    let start = Instant::now();
    let mut index: HashMap<u64, u32> = HashMap::new();
    let mut quiet: Vec<u32> = vec![];
    let mut edges: Vec<(u32, u32)> = vec![];
    let mut level: Vec<(u32, World<P>)> = vec![];
    for world in fabric.init_states() {
        let id = index.len() as u32;
        index.insert(hash(&world), id);
        level.push((id, world));
    }
    let mut steps = vec![];
    let mut violations = 0;
    while !level.is_empty() {
        let mut next_level = vec![];
        for (id, world) in level {
            violations += usize::from(!fabric.is_right(&world));
            if world.is_quiet() {
                quiet.push(id);
            }
            steps.clear();
            fabric.actions(&world, &mut steps);
            for &step in &steps {
                let Some(next) = fabric.next_state(&world, step) else { continue };
                let fresh = index.len() as u32;
                let next_id = *index.entry(hash(&next)).or_insert(fresh);
                if next_id == fresh {
                    next_level.push((next_id, next));
                }
                if !World::<P>::is_free(step) {
                    edges.push((id, next_id));
                }
            }
        }
        level = next_level;
    }
    let states = index.len();
    drop(index);
    let reached = backwards(states, &edges, &quiet);
    Progress {
        states,
        steps: edges.len(),
        stuck: states - reached,
        cyclic: unsorted(states, &mut edges),
        violations,
        took: start.elapsed(),
    }
}

/// How many states have a way to one of `goals`.
fn backwards(states: usize, edges: &[(u32, u32)], goals: &[u32]) -> usize {
    let mut first = vec![0u32; states + 1];
    for &(_, to) in edges {
        first[to as usize + 1] += 1;
    }
    for i in 0..states {
        first[i + 1] += first[i];
    }
    let mut fill = first.clone();
    let mut sources = vec![0u32; edges.len()];
    for &(from, to) in edges {
        sources[fill[to as usize] as usize] = from;
        fill[to as usize] += 1;
    }
    let mut seen = vec![false; states];
    let mut todo: Vec<u32> = goals.to_vec();
    for &goal in goals {
        seen[goal as usize] = true;
    }
    let mut count = todo.len();
    while let Some(state) = todo.pop() {
        let range = first[state as usize] as usize..first[state as usize + 1] as usize;
        for &source in &sources[range] {
            if !std::mem::replace(&mut seen[source as usize], true) {
                count += 1;
                todo.push(source);
            }
        }
    }
    count
}

/// How many states no topological order can place.
fn unsorted(states: usize, edges: &mut [(u32, u32)]) -> usize {
    edges.sort_unstable();
    let mut incoming = vec![0u32; states];
    for &(_, to) in edges.iter() {
        incoming[to as usize] += 1;
    }
    let mut todo: Vec<u32> =
        (0..states as u32).filter(|&state| incoming[state as usize] == 0).collect();
    let mut sorted = 0;
    while let Some(state) = todo.pop() {
        sorted += 1;
        let from = edges.partition_point(|edge| edge.0 < state);
        for &(source, to) in &edges[from..] {
            if source != state {
                break;
            }
            incoming[to as usize] -= 1;
            if incoming[to as usize] == 0 {
                todo.push(to);
            }
        }
    }
    states - sorted
}
