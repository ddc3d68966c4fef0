//! Where a thread looks whether it is asked to move.
//!
//! A poll loads the request word and, if it is not zero, jumps to a function of its own, which calls
//! the runtime ([`super::save`]). With [`Polls::Calls`] there is one at the entry of every function
//! that calls another, so that recursion and loops with calls are polled. With [`Polls::Loops`] there
//! is one in a function of every recursion ([`super::recursion`]), before any call by which it comes
//! back, and one at the end of each round of a loop, unless that one, or a call that polls at its
//! entry, is in every round, or the loop is innermost, calls nothing, and the number of its rounds is fixed
//! when it is entered. Small loops that call nothing are unrolled first ([`mark_small_loops`]), so that
//! a poll comes once in several rounds.
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
        let mut polled = Polled::default();
        let cycles = super::recursion::cycles(defined);
        for (function, calls) in cycles.into_iter().filter(|(f, _)| !silent.contains(f)) {
            let blocks: Vec<_> = calls.iter().filter_map(|call| call.block()).collect();
            let Some(block) = Block::common_dominator(&blocks) else { continue };
            places.entry(function).or_default().extend(first_in(block));
            polled.blocks.insert(block);
            if function.blocks().first() == Some(&block) {
                polled.functions.insert(function);
            }
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

/// Where recursion is polled.
#[derive(Default)]
struct Polled<'m> {
    /// Functions with a poll that is passed whenever they are called.
    functions: HashSet<Value<'m>>,
    /// Blocks with a poll.
    blocks: HashSet<Block<'m>>,
}

/// LLVM's passes that unroll what [`mark_small_loops`] has marked.
pub(crate) const UNROLL: &str = "function(loop-unroll,simplifycfg)";

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
    let mut any_call = false;
    for block in &each.blocks {
        // Both run in every round.
        let always = *block == each.header || each.latches == [*block];
        if always && polled.blocks.contains(block) {
            return false;
        }
        for call in block.instructions().into_iter().filter(|i| calls_code(*i)) {
            any_call = true;
            if always && call.called_function().is_some_and(|f| polled.functions.contains(&f)) {
                return false;
            }
        }
    }
    !(each.innermost && !any_call && each.counted)
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
