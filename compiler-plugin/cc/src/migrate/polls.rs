//! Where a thread looks whether it is asked to move.
//!
//! A poll loads the request word and calls the runtime if it is not zero, with a convention that
//! keeps every register. With [`Polls::Calls`] there is one at the entry of every function that
//! calls another, so that recursion and loops with calls are polled. With [`Polls::Loops`] there is
//! one at the entry of a function of every recursion ([`super::recursion`]), and one at the end of
//! each round of a loop, unless a call that polls is made in every round, or the loop is innermost,
//! calls nothing, and the number of its rounds is fixed when it is entered. Small loops that call
//! nothing are unrolled first ([`mark_small_loops`]), so that a poll comes once in several rounds.
//! So the longest time without a poll is that of code without a loop, of one run of such a counted
//! innermost loop, or of a call that the kernel serves.

use std::collections::HashSet;

use maize_llvm::{Builder, CallConvention, Loop, Module, Place, Predicate, Value};
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
    let calls = |function: &Value<'m>| function.instructions().into_iter().any(calls_code);
    let mut polled: HashSet<_> = match polls {
        Polls::Loops => super::recursion::entries(defined),
        _ => defined.iter().copied().filter(calls).collect(),
    };
    polled.retain(|function| !silent.contains(function));
    let mut placed = 0;
    for function in defined.iter().copied().filter(|function| !silent.contains(function)) {
        let mut places = Vec::new();
        if polls == Polls::Loops {
            for each in function.loops() {
                if wants_poll(&each, &polled) {
                    places.extend(each.latches.iter().filter_map(|block| block.terminator()));
                }
            }
        }
        if polled.contains(&function)
            && let Some(entry) = function.blocks().first()
            && let Some(first) = first_after_allocas(entry.instructions())
        {
            places.push(first);
        }
        placed += places.len();
        for place in places {
            insert(module, runtime, place);
        }
    }
    placed
}

/// LLVM's passes that unroll what [`mark_small_loops`] has marked.
pub(crate) const UNROLL: &str = "function(loop-unroll,simplifycfg)";

/// Most instructions of a loop that is unrolled.
const SMALL: usize = 24;
/// Instructions between polls that unrolling aims at.
const APART: usize = 64;
/// Most rounds between polls.
const MOST_ROUNDS: usize = 8;

/// Marks small innermost loops that will have a poll to be unrolled.
pub(crate) fn mark_small_loops(module: &Module) {
    let none = HashSet::new();
    let silent = silent(module);
    for function in module.functions().into_iter().filter(|f| !silent.contains(f)) {
        for each in function.loops() {
            let size: usize = each.blocks.iter().map(|block| block.instructions().len()).sum();
            let calls = |b: &maize_llvm::Block<'_>| b.instructions().into_iter().any(calls_code);
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

fn first_after_allocas(instructions: Vec<Value<'_>>) -> Option<Value<'_>> {
    instructions.into_iter().find(|i| !i.is(maize_llvm::Opcode::LLVMAlloca))
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

fn wants_poll<'m>(each: &Loop<'m>, polled: &HashSet<Value<'m>>) -> bool {
    let mut any_call = false;
    for block in &each.blocks {
        // Both run in every round.
        let always = *block == each.header || each.latches == [*block];
        for call in block.instructions().into_iter().filter(|i| calls_code(*i)) {
            any_call = true;
            if always && call.called_function().is_some_and(|f| polled.contains(&f)) {
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
