//! Functions that every recursion passes, and the calls by which it comes back to them.
//!
//! Without recursion a chain of calls ends, so a poll in one function per cycle of the call graph is
//! enough: of those that a walk in depth meets again while they are under way. It has to be passed
//! before any call from which the function can be reached again. A call through a pointer may call
//! every function whose address is taken.

use std::collections::{HashMap, HashSet};

use maize_llvm::Value;

use super::reach::address_is_taken;

/// Who calls whom.
struct Calls<'m> {
    callees: HashMap<Value<'m>, Vec<Value<'m>>>,
    /// What a call through a pointer may call.
    taken: Vec<Value<'m>>,
}

impl<'m> Calls<'m> {
    fn of(defined: &[Value<'m>]) -> Self {
        let taken: Vec<_> = defined.iter().copied().filter(|f| address_is_taken(*f)).collect();
        let bodies: HashSet<_> = defined.iter().copied().collect();
        let mut calls = Self { callees: HashMap::new(), taken };
        for function in defined {
            let mut seen = HashSet::new();
            let made = function.instructions().into_iter().filter(|i| i.is_call());
            let called = made.flat_map(|call| calls.called(call));
            // In the order of the program, so that one program is always walked in the same way.
            let called = called.filter(|f| bodies.contains(f) && seen.insert(*f)).collect();
            calls.callees.insert(*function, called);
        }
        calls
    }

    fn called(&self, call: Value<'m>) -> Vec<Value<'m>> {
        match call.callee() {
            Some(callee) if callee.is_function() => vec![callee],
            Some(callee) if callee.is_inline_asm() => Vec::new(),
            _ => self.taken.clone(),
        }
    }

    /// Functions from which one can be reached, itself included.
    fn callers(&self, function: Value<'m>) -> HashSet<Value<'m>> {
        let mut callers: HashMap<Value<'m>, Vec<Value<'m>>> = HashMap::new();
        for (caller, callees) in &self.callees {
            for callee in callees {
                callers.entry(*callee).or_default().push(*caller);
            }
        }
        let (mut found, mut next) = (HashSet::new(), vec![function]);
        while let Some(function) = next.pop() {
            if found.insert(function) {
                next.extend(callers.get(&function).into_iter().flatten());
            }
        }
        found
    }
}

/// One function of every cycle of calls, with its calls from which it can be reached again.
pub(crate) fn cycles<'m>(defined: &[Value<'m>]) -> HashMap<Value<'m>, Vec<Value<'m>>> {
    let calls = Calls::of(defined);
    let mut cycles = HashMap::new();
    for function in walk(defined, &calls.callees) {
        let callers = calls.callers(function);
        let back = |call: &Value<'m>| {
            call.is_call() && calls.called(*call).iter().any(|callee| callers.contains(callee))
        };
        cycles.insert(function, function.instructions().into_iter().filter(back).collect());
    }
    cycles
}

/// Nodes that a walk in depth meets again while they are under way.
fn walk<N: Copy + Eq + std::hash::Hash + Ord>(
    nodes: &[N],
    edges: &HashMap<N, Vec<N>>,
) -> HashSet<N> {
    let (mut met_again, mut under_way, mut done) = (HashSet::new(), HashSet::new(), HashSet::new());
    for start in nodes {
        let mut path = vec![(*start, false)];
        while let Some((node, left)) = path.pop() {
            if left {
                under_way.remove(&node);
                done.insert(node);
                continue;
            }
            if done.contains(&node) || !under_way.insert(node) {
                continue;
            }
            path.push((node, true));
            for next in edges.get(&node).into_iter().flatten() {
                if under_way.contains(next) {
                    met_again.insert(*next);
                } else if !done.contains(next) {
                    path.push((*next, false));
                }
            }
        }
    }
    met_again
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(edges: &[(u8, &[u8])]) -> Vec<u8> {
        let nodes: Vec<_> = edges.iter().map(|(node, _)| *node).collect();
        let edges = edges.iter().map(|(node, to)| (*node, to.to_vec())).collect();
        let mut found: Vec<_> = walk(&nodes, &edges).into_iter().collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_chain_needs_none() {
        assert_eq!(entries(&[(0, &[1, 2]), (1, &[2]), (2, &[3]), (3, &[])]), []);
    }

    #[test]
    fn every_cycle_has_one() {
        assert_eq!(entries(&[(0, &[0])]), [0]);
        assert_eq!(entries(&[(0, &[1]), (1, &[2]), (2, &[1])]), [1]);
        // Whatever the graph: without what was found no cycle is left.
        let mut random = 1_u32;
        for _ in 0..200 {
            let mut next = |below: u32| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 16) % below
            };
            let graph: HashMap<u32, Vec<u32>> =
                (0..8).map(|node| (node, (0..next(4)).map(|_| next(8)).collect())).collect();
            let found = walk(&(0..8).collect::<Vec<_>>(), &graph);
            let rest: HashMap<u32, Vec<u32>> = graph
                .into_iter()
                .filter(|(node, _)| !found.contains(node))
                .map(|(n, to)| (n, to.into_iter().filter(|t| !found.contains(t)).collect()))
                .collect();
            let nodes: Vec<_> = rest.keys().copied().collect();
            assert_eq!(walk(&nodes, &rest), HashSet::new());
        }
    }
}
