//! Where a thread looks whether it is asked to move.
//!
//! A poll loads the request word and, if it is not zero, jumps to a function of its own, which calls
//! the runtime ([`super::save`]). With [`Polls::Calls`] there is one at the entry of every function
//! that calls another, so that recursion and loops with calls are polled. With [`Polls::Loops`] there
//! is one in a function of every recursion ([`super::recursion`]), before any call by which it comes
//! back, and one at the end of each round of a loop, unless that one, or a call that polls at its
//! entry, is in every round, or the loop is innermost, the number of its rounds is fixed when it is entered,
//! and it calls nothing but functions that are *brief*: they come to a poll, or back, by straight code. A
//! recursion that comes back from within such a loop only is polled in front of it. Small loops that
//! call nothing are unrolled first ([`mark_small_loops`]), so that a poll comes once in several rounds.
//!
//! So the longest time without a poll is that of code without a loop, of one run of such a counted
//! innermost loop, or of a call that the kernel serves.

use std::collections::{HashMap, HashSet};

use maize_llvm::{Block, Builder, CallConvention, Loop, Module, Opcode, Place, Predicate, Value};
use maize_xisa_metadata::Polls;

use super::Runtime;

/// Functions that machine code may call where no call is in the program: no frame of theirs can be
/// left, so they and what they call have no poll.
const LIBRARY: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"];

/// Places polls in functions and says how many.
pub(crate) fn place<'m>(
    module: &'m Module,
    runtime: &Runtime<'m>,
    defined: &[Value<'m>],
    polls: Polls,
) -> usize {
    if polls == Polls::None {
        return 0;
    }
    let silent = silent(module);
    let loud: Vec<_> = defined.iter().copied().filter(|f| !silent.contains(f)).collect();
    let mut places: HashMap<Value<'m>, Vec<Value<'m>>> = HashMap::new();
    if polls == Polls::Loops {
        let polled = Polled::of(defined, &silent);
        for (function, at) in &polled.recursions {
            places.entry(*function).or_default().extend(at.instruction());
        }
        for function in &loud {
            for each in function.loops() {
                if wants_poll(&each, &polled) {
                    let ends = each.latches.iter().filter_map(|block| block.terminator());
                    places.entry(*function).or_default().extend(ends);
                }
            }
        }
    } else {
        for function in loud.iter().filter(|f| f.instructions().into_iter().any(calls_code)) {
            let entry = function.blocks().first().copied();
            places.entry(*function).or_default().extend(entry.and_then(first_in));
        }
    }
    // In the order of the program, so that one program is always made into the same.
    let places = loud.iter().filter_map(|function| places.get(function));
    places.flatten().map(|place| insert(module, runtime, *place)).count()
}

/// Where a recursion is polled.
#[derive(Clone, Copy)]
enum At<'m> {
    /// In front of the block's instructions.
    Start(Block<'m>),
    /// In front of a loop that all calls by which the recursion comes back are in: at the end of the block
    /// that only leads there.
    End(Block<'m>),
}

impl<'m> At<'m> {
    fn block(self) -> Block<'m> {
        match self {
            Self::Start(block) | Self::End(block) => block,
        }
    }

    fn instruction(self) -> Option<Value<'m>> {
        match self {
            Self::Start(block) => first_in(block),
            Self::End(block) => block.terminator(),
        }
    }
}

/// Where recursion is polled, and what that says of functions.
#[derive(Default)]
struct Polled<'m> {
    recursions: HashMap<Value<'m>, At<'m>>,
    /// Functions with a poll that is passed whenever they are called.
    functions: HashSet<Value<'m>>,
    /// Blocks with a poll.
    blocks: HashSet<Block<'m>>,
    /// Functions that come to a poll, or back, by straight code.
    brief: HashSet<Value<'m>>,
}

impl<'m> Polled<'m> {
    fn of(defined: &[Value<'m>], silent: &HashSet<Value<'m>>) -> Self {
        let mut polled = Self::default();
        let mut loops = HashMap::new();
        let cycles = super::recursion::cycles(defined);
        for (function, calls) in cycles.into_iter().filter(|(f, _)| !silent.contains(f)) {
            let blocks: Vec<_> = calls.iter().filter_map(|call| call.block()).collect();
            let Some(block) = Block::common_dominator(&blocks) else { continue };
            let around = function.loops().into_iter().rfind(|each| each.blocks.contains(&block));
            let before = around.filter(|each| each.innermost && each.counted).and_then(|each| {
                let before = each.preheader()?;
                loops.insert(function, (each, block));
                Some(before)
            });
            let at = before.map_or(At::Start(block), At::End);
            polled.recursions.insert(function, at);
        }
        // A poll stays in front of a loop only if nothing in the loop takes long without one; what is said
        // of a function's callees can only become less by each that goes back into its loop.
        loop {
            polled.brief = polled.find_brief(defined);
            let count = loops.len();
            loops.retain(|function, (each, block)| {
                let stays = polled.calls_are_brief(each);
                if !stays {
                    polled.recursions.insert(*function, At::Start(*block));
                }
                stays
            });
            if loops.len() == count {
                break;
            }
        }
        for (function, at) in &polled.recursions {
            polled.blocks.insert(at.block());
            if function.blocks().first() == Some(&at.block()) {
                polled.functions.insert(*function);
            }
        }
        polled
    }

    /// Calls without polls of their own never go round, as every recursion has one; so a callee is looked
    /// at before what calls it.
    fn find_brief(&self, defined: &[Value<'m>]) -> HashSet<Value<'m>> {
        let mut known = HashMap::new();
        for function in defined {
            self.is_brief(*function, &mut known);
        }
        known.into_iter().filter_map(|(function, brief)| brief.then_some(function)).collect()
    }

    fn is_brief(&self, function: Value<'m>, known: &mut HashMap<Value<'m>, bool>) -> bool {
        if let Some(brief) = known.get(&function) {
            return *brief;
        }
        known.insert(function, false);
        let Some(entry) = function.blocks().first().copied() else { return false };
        let poll = self.recursions.get(&function).map(|at| at.block());
        let (mut seen, mut next) = (HashSet::from([entry]), vec![entry]);
        while let Some(block) = next.pop() {
            for call in block.instructions().into_iter().filter(|i| calls_code(*i)) {
                if !call.called_function().is_some_and(|callee| self.is_brief(callee, known)) {
                    return false;
                }
            }
            if Some(block) != poll {
                next.extend(block.successors().into_iter().filter(|block| seen.insert(*block)));
            }
        }
        let loops = function.loops();
        let brief = !loops.iter().any(|each| {
            seen.contains(&each.header) && each.latches.iter().any(|latch| seen.contains(latch))
        });
        known.insert(function, brief);
        brief
    }

    fn calls_are_brief(&self, each: &Loop<'m>) -> bool {
        let mut calls = each.blocks.iter().flat_map(|block| block.instructions());
        calls
            .all(|i| !calls_code(i) || i.called_function().is_some_and(|f| self.brief.contains(&f)))
    }
}

/// LLVM's passes that unroll what [`mark_small_loops`] has marked.
pub(crate) const UNROLL: &str = "function(loop-unroll,simplifycfg,loop-simplify)";

/// Most instructions of a loop that is unrolled.
const SMALL: usize = 24;
/// Instructions between polls that unrolling aims at.
const APART: usize = 48;
/// Most rounds between polls.
const MOST_ROUNDS: usize = 4;

/// Marks small innermost loops that will have a poll to be unrolled.
pub(crate) fn mark_small_loops(module: &Module) {
    let none = Polled::default();
    let silent = silent(module);
    for function in module.functions().into_iter().filter(|f| !silent.contains(f)) {
        for each in function.loops() {
            let size: usize = each.blocks.iter().map(|block| block.instructions().len()).sum();
            let calls = |b: &Block<'_>| b.instructions().into_iter().any(calls_code);
            if each.innermost
                && size <= SMALL
                && wants_poll(&each, &none)
                && !each.blocks.iter().any(calls)
            {
                each.mark_unrolled((APART / size.max(1)).clamp(2, MOST_ROUNDS) as u32);
            }
        }
    }
}

/// Where a poll goes in a block that is not polled at its end.
fn first_in(block: Block<'_>) -> Option<Value<'_>> {
    let passed = [Opcode::LLVMAlloca, Opcode::LLVMPHI];
    block.instructions().into_iter().find(|i| !passed.into_iter().any(|opcode| i.is(opcode)))
}

/// Whether an instruction calls something that has a frame.
fn calls_code(instruction: Value<'_>) -> bool {
    instruction.is_call()
        && !instruction.is_intrinsic_call()
        && instruction.callee().is_some_and(|callee| !callee.is_inline_asm())
}

/// Functions that must not poll: those that machine code calls on its own, and their callees.
fn silent(module: &Module) -> HashSet<Value<'_>> {
    let mut silent = HashSet::new();
    let mut next: Vec<_> = LIBRARY
        .into_iter()
        .map(str::to_owned)
        .chain(crate::link::library::called_by_intrinsics(module))
        .filter_map(|name| module.function(&name))
        .collect();
    while let Some(function) = next.pop() {
        if silent.insert(function) {
            next.extend(function.instructions().iter().filter_map(|i| i.called_function()));
        }
    }
    silent
}

fn wants_poll<'m>(each: &Loop<'m>, polled: &Polled<'m>) -> bool {
    for block in &each.blocks {
        // Both run in every round.
        let always = *block == each.header || each.latches == [*block];
        let polls = |i: &Value<'m>| {
            calls_code(*i) && i.called_function().is_some_and(|f| polled.functions.contains(&f))
        };
        if always && (polled.blocks.contains(block) || block.instructions().iter().any(polls)) {
            return false;
        }
    }
    !(each.innermost && each.counted && polled.calls_are_brief(each))
}

fn insert<'m>(module: &'m Module, runtime: &Runtime<'m>, before: Value<'m>) {
    let Some(head) = before.block() else { return };
    let rest = before.split_before();
    let asked = head.function().append_block("poll");
    head.drop_terminator();
    let builder = Builder::at_end(module, head);
    let word = builder.load(module.int_type(32), runtime.request, "request");
    word.set_volatile();
    let is_asked = builder.compare(Predicate::LLVMIntNE, word, module.i32(0));
    module.mark_unlikely(builder.branch_if(is_asked, asked, rest));
    builder.move_to_end(asked);
    let call = builder.call(runtime.poll, &[]);
    call.set_convention(CallConvention::PreserveAll);
    call.add_attribute(Place::Function, "cold", 0);
    call.copy_location(before);
    builder.branch(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a function that calls itself in a counted loop, after a call of another: the block where its
    /// recursion is polled, and whether the loop is.
    fn recursion(other: &str) -> (String, bool) {
        let text = format!(
            "define i64 @tree(i64 %n) {{
            entry:
              %small = icmp slt i64 %n, 2
              br i1 %small, label %done, label %before
            before:
              br label %loop
            loop:
              %k = phi i64 [ %n, %before ], [ %less, %loop ]
              %sum = phi i64 [ 0, %before ], [ %more, %loop ]
              call void @other(ptr null)
              %one = add nsw i64 %k, -1
              %part = call i64 @tree(i64 %one)
              %more = add i64 %sum, %part
              %less = add nsw i64 %k, -2
              %again = icmp sgt i64 %k, 3
              br i1 %again, label %loop, label %done
            done:
              %result = phi i64 [ 0, %entry ], [ %more, %loop ]
              ret i64 %result
            }}
            {other}"
        );
        let module = Module::parse(&text).unwrap();
        let defined: Vec<_> =
            module.functions().into_iter().filter(|f| !f.is_declaration()).collect();
        let polled = Polled::of(&defined, &HashSet::new());
        let tree = module.function("tree").unwrap();
        let at = polled.recursions[&tree].block().as_value().name();
        (at, wants_poll(&tree.loops()[0], &polled))
    }

    #[test]
    fn recursion_in_a_counted_loop_is_polled_in_front_of_it() {
        let brief = "define void @other(ptr %p) {\n store i8 0, ptr %p\n ret void\n}";
        assert_eq!(recursion(brief), ("before".to_owned(), false));
    }

    #[test]
    fn recursion_is_polled_in_every_round_if_that_may_be_long() {
        let unknown = "declare void @other(ptr)";
        assert_eq!(recursion(unknown), ("loop".to_owned(), false));
        let long = "define void @other(ptr %p) {
            start:
              br label %loop
            loop:
              %at = phi ptr [ %p, %start ], [ %next, %loop ]
              %next = load ptr, ptr %at
              %end = icmp eq ptr %next, null
              br i1 %end, label %done, label %loop
            done:
              ret void
            }";
        assert_eq!(recursion(long), ("loop".to_owned(), false));
    }
}
