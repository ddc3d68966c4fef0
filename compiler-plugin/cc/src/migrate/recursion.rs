//! Functions whose entries every recursion passes.
//!
//! Without recursion a chain of calls ends, so a poll at the entry of one function per cycle of the
//! call graph is enough: of those that a walk in depth meets again while they are under way. A call
//! through a pointer may call every function whose address is taken.

use std::collections::{HashMap, HashSet};

use maize_llvm::Value;

use super::reach::address_is_taken;

/// One function of every cycle of calls.
pub(crate) fn entries<'m>(defined: &[Value<'m>]) -> HashSet<Value<'m>> {
    let bodies: HashSet<_> = defined.iter().copied().collect();
    let taken: Vec<_> = defined.iter().copied().filter(|f| address_is_taken(*f)).collect();
    let mut callees: HashMap<Value<'m>, Vec<Value<'m>>> = HashMap::new();
    for function in defined {
        let mut called = HashSet::new();
        for call in function.instructions().into_iter().filter(|i| i.is_call()) {
            match call.callee() {
                Some(callee) if callee.is_function() => called.extend(bodies.get(&callee)),
                Some(callee) if callee.is_inline_asm() => {}
                _ => called.extend(&taken),
            }
        }
        callees.insert(*function, called.into_iter().collect());
    }
    walk(defined, &callees)
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
