//! The transition table of a policy, as the exhaustive runs saw it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use maize_coherence::WireSize;
use stateright::Model;

use crate::fabric::hash;
use crate::world::Step;
use crate::{Fabric, Setup, Subject, World};

/// For each state and event, the states that follow.
pub type Table = BTreeMap<(&'static str, &'static str), BTreeSet<&'static str>>;

/// Every transition of a node that the fabrics reach.
#[must_use]
pub fn transitions<P: Subject>(setups: &[Setup]) -> Table {
    let mut table = Table::new();
    for setup in setups {
        let fabric = Fabric::<P>::new(setup.clone());
        let mut seen = HashSet::new();
        let mut todo = fabric.init_states();
        let mut steps = vec![];
        while let Some(world) = todo.pop() {
            if !seen.insert(hash(&world)) {
                continue;
            }
            steps.clear();
            fabric.actions(&world, &mut steps);
            for &step in &steps {
                let Some(next) = fabric.next_state(&world, step) else { continue };
                if let Some((node, page, event)) = event(&world, step) {
                    let from = world.state_name(node, page);
                    let to = next.state_name(node, page);
                    table.entry((from, event)).or_default().insert(to);
                }
                todo.push(next);
            }
        }
    }
    table
}

/// Whom a step is an event for.
fn event<P: Subject>(world: &World<P>, step: Step) -> Option<(u8, u8, &'static str)> {
    let fault = |op: crate::Op| match op {
        crate::Op::Read(_) => "read",
        crate::Op::Write(_) => "write",
    };
    match step {
        Step::Begin(node, op, _) => Some((node, op.page(), fault(op))),
        Step::Deliver(from, to, _) => {
            let packet = world.oldest(from, to)?;
            Some((to, packet.page.index as u8, packet.message.name()))
        }
        Step::Evict(node, page) => Some((node, page, "evict")),
        Step::WrittenBack(node, page) => Some((node, page, "written back")),
        Step::Apply(node, page) => Some((node, page, "discard")),
        Step::Give(_, page) => Some((0, page, "give")),
        Step::Expect(node, page) => Some((node, page, "expect")),
        Step::Promote(page) => Some((0, page, "promote")),
        Step::Retreat(page) => Some((0, page, "retreat")),
        Step::Idle(node, page) => Some((node, page, "idle")),
        Step::Learn(node) => Some((node, 0, world.news(node))),
        Step::Retry(..) | Step::Expire(..) | Step::Discard(_) | Step::Crash(_) | Step::Meet(_) => {
            None
        }
    }
}

/// The table as Markdown.
#[must_use]
pub fn markdown(table: &Table) -> String {
    let mut text = String::from("| state | event | next |\n|---|---|---|\n");
    for ((state, event), next) in table {
        let next: Vec<&str> = next.iter().copied().collect();
        let _ = writeln!(text, "| {state} | {event} | {} |", next.join(", "));
    }
    text
}
