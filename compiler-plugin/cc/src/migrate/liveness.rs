//! Which values are alive at the start of each block.

use std::collections::{HashMap, HashSet};

use maize_llvm::{Block, Opcode, TypeKind, Value};

/// Values that are alive at the start of blocks.
pub(crate) struct Liveness<'m> {
    values: Vec<Value<'m>>,
    live_in: HashMap<Block<'m>, Vec<u64>>,
}

/// Whether a value is computed at run time and can be saved.
pub(crate) fn is_tracked(value: Value<'_>) -> bool {
    value.is_argument() || value.is_instruction() && !matches!(value.kind().kind(), TypeKind::Void)
}

fn insert(set: &mut [u64], index: usize) {
    if let Some(word) = set.get_mut(index / 64) {
        *word |= 1 << (index % 64);
    }
}

struct Uses {
    /// Read before any definition in the block.
    read: Vec<u64>,
    /// Defined in the block.
    defined: Vec<u64>,
    /// Taken by phis of successors along this block's edges.
    passed: Vec<u64>,
}

impl<'m> Liveness<'m> {
    /// Finds them by going backwards until nothing changes.
    pub(crate) fn of(function: Value<'m>) -> Self {
        let blocks = function.blocks();
        let instructions: HashMap<_, _> =
            blocks.iter().map(|block| (*block, block.instructions())).collect();
        let mut values = function.arguments();
        for block in &blocks {
            values.extend(
                instructions.get(block).into_iter().flatten().copied().filter(|v| is_tracked(*v)),
            );
        }
        let index: HashMap<_, _> = values.iter().copied().zip(0..).collect();
        let words = values.len().div_ceil(64);
        let mut uses: HashMap<Block<'m>, Uses> = HashMap::new();
        for block in &blocks {
            let mut of_block =
                Uses { read: vec![0; words], defined: vec![0; words], passed: vec![0; words] };
            for instruction in instructions.get(block).into_iter().flatten() {
                if !instruction.is(Opcode::LLVMPHI) {
                    for operand in instruction.operands() {
                        if let Some(at) = index.get(&operand)
                            && !contains(&of_block.defined, *at)
                        {
                            insert(&mut of_block.read, *at);
                        }
                    }
                }
                if let Some(at) = index.get(instruction) {
                    insert(&mut of_block.defined, *at);
                }
            }
            uses.insert(*block, of_block);
        }
        for block in &blocks {
            for phi in instructions.get(block).into_iter().flatten() {
                if !phi.is(Opcode::LLVMPHI) {
                    break;
                }
                for (value, from) in phi.incoming() {
                    if let (Some(at), Some(from)) = (index.get(&value), uses.get_mut(&from)) {
                        insert(&mut from.passed, *at);
                    }
                }
            }
        }
        Self { live_in: solve(&blocks, &uses, words), values }
    }

    /// Values alive at the start of a block, in the order of the function.
    pub(crate) fn at(&self, block: Block<'m>) -> Vec<Value<'m>> {
        let Some(set) = self.live_in.get(&block) else { return Vec::new() };
        (0..).zip(&self.values).filter(|(at, _)| contains(set, *at)).map(|(_, v)| *v).collect()
    }
}

fn contains(set: &[u64], index: usize) -> bool {
    set.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
}

fn solve<'m>(
    blocks: &[Block<'m>],
    uses: &HashMap<Block<'m>, Uses>,
    words: usize,
) -> HashMap<Block<'m>, Vec<u64>> {
    let successors: HashMap<_, _> =
        blocks.iter().map(|block| (*block, block.successors())).collect();
    let mut predecessors: HashMap<Block<'m>, Vec<Block<'m>>> = HashMap::new();
    for (block, next) in &successors {
        for successor in next {
            predecessors.entry(*successor).or_default().push(*block);
        }
    }
    let mut live_in: HashMap<Block<'m>, Vec<u64>> = HashMap::new();
    let mut work: Vec<_> = blocks.to_vec();
    let mut waiting: HashSet<_> = blocks.iter().copied().collect();
    while let Some(block) = work.pop() {
        waiting.remove(&block);
        let Some(of_block) = uses.get(&block) else { continue };
        let mut live = of_block.passed.clone();
        for successor in successors.get(&block).into_iter().flatten() {
            for (word, more) in live.iter_mut().zip(live_in.get(successor).into_iter().flatten()) {
                *word |= more;
            }
        }
        for ((word, defined), read) in live.iter_mut().zip(&of_block.defined).zip(&of_block.read) {
            *word = *word & !defined | read;
        }
        let known = live_in.entry(block).or_insert_with(|| vec![0; words]);
        if *known != live {
            *known = live;
            let again = predecessors.get(&block).into_iter().flatten();
            work.extend(again.filter(|block| waiting.insert(**block)));
        }
    }
    live_in
}

/// Removes a value from a list of live ones.
pub(crate) fn without<'m>(mut live: Vec<Value<'m>>, value: Value<'m>) -> Vec<Value<'m>> {
    live.retain(|each| *each != value);
    live
}

#[cfg(test)]
mod tests {
    use maize_llvm::Module;

    use super::*;

    #[test]
    fn what_a_loop_carries_is_alive_in_it() {
        let text = r"
            define i64 @f(i64 %n, i64 %unused, i64 %late) {
            entry:
              br label %loop
            loop:
              %i = phi i64 [ 0, %entry ], [ %next, %body ]
              %done = icmp eq i64 %i, %n
              br i1 %done, label %exit, label %body
            body:
              %next = add i64 %i, 1
              br label %loop
            exit:
              %r = add i64 %i, %late
              ret i64 %r
            }
        ";
        let module = Module::parse(text).unwrap();
        let function = module.function("f").unwrap();
        let liveness = Liveness::of(function);
        let names = |index: usize| {
            let live = liveness.at(function.blocks()[index]);
            live.iter().map(|value| value.name()).collect::<Vec<_>>()
        };
        assert_eq!(names(0), ["n", "late"]);
        assert_eq!(names(1), ["n", "late"]);
        assert_eq!(names(2), ["n", "late", "i"]);
        assert_eq!(names(3), ["late", "i"]);
    }
}
