//! Locals in memory, on a stack that has the same addresses on every instruction set.
//!
//! Whatever is still an `alloca` after optimisation may have its address in any other place, so it
//! must not be on the native stack of a function that a thread may leave in its middle. The data
//! stack's top is a field of the thread block. It is lowered at entry and restored at each return.

use std::collections::HashMap;

use maize_llvm::{Builder, Machine, Module, Opcode, Value};
use maize_xisa_metadata::address::thread_block::DATA_STACK;

use crate::CompileError;
use crate::neutral::tls::thread_field;

const STACK_ALIGNMENT: u64 = 16;

/// A function's frame on the data stack.
#[derive(Debug, Default)]
pub(crate) struct Frame<'m> {
    /// Locals that were moved there.
    pub(crate) moved: usize,
    /// Its lowest address, if the function lowers the top.
    pub(crate) base: Option<Value<'m>>,
    /// The frame's first instruction after the top was lowered.
    pub(crate) lowered: Option<Value<'m>>,
}

/// Whether a function needs a frame for its locals only, or anyway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// For its locals.
    Locals,
    /// Anyway: what jumps back to it tells it by the frame.
    Always,
}

/// Moves a function's locals to the data stack.
///
/// # Errors
/// [`CompileError::Content`] for a frame whose size cannot be.
pub(crate) fn move_locals<'m>(
    module: &'m Module,
    machine: &Machine,
    function: Value<'m>,
    wanted: Wanted,
) -> Result<Frame<'m>, CompileError> {
    let Some(entry) = function.blocks().into_iter().next() else { return Ok(Frame::default()) };
    let (mut fixed, mut dynamic, mut stack_calls) = (Vec::new(), Vec::new(), Vec::new());
    for instruction in function.instructions() {
        if instruction.is(Opcode::LLVMAlloca) {
            let count = instruction.operand(0).and_then(Value::integer);
            match count {
                Some(count) if instruction.block() == Some(entry) => {
                    fixed.push((instruction, count));
                }
                _ => dynamic.push(instruction),
            }
        } else if is_intrinsic(instruction, "llvm.stack") {
            stack_calls.push(instruction);
        }
    }
    if fixed.is_empty() && dynamic.is_empty() && wanted == Wanted::Locals {
        return Ok(Frame::default());
    }
    for instruction in function.instructions() {
        if is_intrinsic(instruction, "llvm.lifetime.") {
            instruction.remove();
        }
    }
    let moved = fixed.len() + dynamic.len();
    let returns: Vec<_> =
        function.instructions().into_iter().filter(|i| i.is(Opcode::LLVMRet)).collect();
    let (layout, bytes, alignment) = lay_out(machine, &fixed).ok_or_else(|| {
        let what = "the locals of this function are too large".to_owned();
        CompileError::Content { path: function.name().into(), what }
    })?;

    let Some(first) = entry.instructions().first().copied() else { return Ok(Frame::default()) };
    let builder = Builder::before(module, first);
    let old = builder.load(module.pointer_type(), top(module, &builder), "data.old");
    let mut base = builder.offset(old, -bytes);
    if alignment > STACK_ALIGNMENT {
        base = align_down(module, &builder, base, alignment);
    }
    let lowered = builder.store(base, top(module, &builder));
    for ((local, _), offset) in fixed.iter().zip(layout) {
        let builder = Builder::before(module, *local);
        let name = local.name();
        let address = builder.offset(base, offset);
        if offset != 0 {
            address.set_name(&name);
        }
        local.replace_with(address);
        local.remove();
        if address != base {
            sink(module, address);
        }
    }
    for local in dynamic {
        let builder = Builder::before(module, local);
        let address = push(module, machine, &builder, local);
        local.replace_with(address);
        local.remove();
    }
    for call in stack_calls {
        let builder = Builder::before(module, call);
        match call.operand(0).filter(|_| is_intrinsic(call, "llvm.stackrestore")) {
            Some(saved) => drop(builder.store(saved, top(module, &builder))),
            None => {
                let now = builder.load(module.pointer_type(), top(module, &builder), "");
                call.replace_with(now);
            }
        }
        call.remove();
    }
    for ret in returns {
        let at = musttail_before(ret).unwrap_or(ret);
        let builder = Builder::before(module, at);
        builder.store(old, top(module, &builder));
    }
    Ok(Frame { moved, base: Some(base), lowered: Some(lowered) })
}

/// Has each use of an address in the frame compute it anew. Only the frame's own is then alive at sites, not
/// one for each local, and machines add such a distance for nothing.
fn sink<'m>(module: &'m Module, address: Value<'m>) {
    for further in users(address).into_iter().filter(|user| is_at_a_distance(*user)) {
        sink(module, further);
        further.remove();
    }
    for user in users(address) {
        if !user.is(Opcode::LLVMPHI) {
            let copy = Builder::before(module, user).insert(address.duplicate());
            user.replace_operand(address, copy);
            continue;
        }
        // A block that leads to a phi more than once has one value for all its edges.
        let mut copies = HashMap::new();
        for (index, (incoming, from)) in (0..).zip(user.incoming()) {
            let Some(end) = from.terminator().filter(|_| incoming == address) else { continue };
            let copy = *copies
                .entry(from)
                .or_insert_with(|| Builder::before(module, end).insert(address.duplicate()));
            user.set_operand(index, copy);
        }
    }
}

/// Users of a value, each once.
fn users(value: Value<'_>) -> Vec<Value<'_>> {
    let mut users = value.users();
    users.sort_unstable();
    users.dedup();
    users
}

/// Whether an address is so many bytes from another.
fn is_at_a_distance(value: Value<'_>) -> bool {
    value.is(Opcode::LLVMGetElementPtr)
        && value.operands().iter().skip(1).all(|index| index.integer().is_some())
}

fn is_intrinsic(instruction: Value<'_>, start: &str) -> bool {
    instruction.is_intrinsic_call()
        && instruction.callee().is_some_and(|callee| callee.name().starts_with(start))
}

fn top<'m>(module: &'m Module, builder: &Builder<'m>) -> Value<'m> {
    thread_field(module, builder, u64::from(DATA_STACK))
}

/// Offsets of the locals above the new top, all their bytes, and their alignment.
fn lay_out(machine: &Machine, locals: &[(Value<'_>, i64)]) -> Option<(Vec<i64>, i64, u64)> {
    let (mut end, mut most) = (0_u64, STACK_ALIGNMENT);
    let mut offsets = Vec::new();
    for (local, count) in locals {
        let alignment = local.alignment().max(1);
        most = most.max(alignment);
        end = end.checked_next_multiple_of(alignment)?;
        offsets.push(i64::try_from(end).ok()?);
        let size = machine.size(local.allocated_type());
        end = end.checked_add(size.checked_mul(u64::try_from(*count).ok()?)?)?;
    }
    let bytes = i64::try_from(end.checked_next_multiple_of(most)?).ok()?;
    Some((offsets, bytes, most))
}

fn align_down<'m>(
    module: &'m Module,
    builder: &Builder<'m>,
    pointer: Value<'m>,
    alignment: u64,
) -> Value<'m> {
    let types = [module.pointer_type(), module.int_type(64)];
    let mask = module.i64((alignment as i64).wrapping_neg());
    builder.intrinsic("llvm.ptrmask", &types, &[pointer, mask])
}

/// Makes room for a local whose size is known only when it is reached.
fn push<'m>(
    module: &'m Module,
    machine: &Machine,
    builder: &Builder<'m>,
    local: Value<'m>,
) -> Value<'m> {
    let wide = module.int_type(64);
    let now = builder.load(module.pointer_type(), top(module, builder), "");
    let count = local.operand(0).unwrap_or_else(|| module.i64(1));
    let count = builder.resize(count, wide, maize_llvm::Signed::No);
    let size = module.i64(machine.size(local.allocated_type()) as i64);
    let bytes = builder.binary(Opcode::LLVMMul, count, size);
    let bytes = builder.binary(Opcode::LLVMAdd, bytes, module.i64(STACK_ALIGNMENT as i64 - 1));
    let bytes = builder.binary(Opcode::LLVMAnd, bytes, module.i64(-(STACK_ALIGNMENT as i64)));
    let down = builder.binary(Opcode::LLVMSub, module.i64(0), bytes);
    let mut address = builder.index(now, down);
    if local.alignment() > STACK_ALIGNMENT {
        address = align_down(module, builder, address, local.alignment());
    }
    builder.store(address, top(module, builder));
    address
}

/// The call that must become a jump and that a return only follows.
fn musttail_before(ret: Value<'_>) -> Option<Value<'_>> {
    let instructions = ret.block()?.instructions();
    instructions.into_iter().rev().skip(1).take(2).find(|i| i.is_must_tail())
}

#[cfg(test)]
mod tests {
    use maize_llvm::Optimisation;

    use super::*;
    use crate::migrate::liveness::Liveness;
    use crate::neutral::TRIPLE;

    #[test]
    fn of_a_frame_only_its_address_is_alive_between_uses() {
        let text = r"
            declare void @g(ptr)
            define void @f(i64 %n) {
            entry:
              %a = alloca i64
              %b = alloca [4 x i64]
              %c = alloca i64
              call void @g(ptr %a)
              br label %loop
            loop:
              %i = phi i64 [ 0, %entry ], [ %next, %loop ]
              %third = getelementptr [4 x i64], ptr %b, i64 0, i64 2
              store i64 %i, ptr %third
              %any = getelementptr i64, ptr %b, i64 %i
              store ptr %c, ptr %any
              call void @g(ptr %c)
              %next = add i64 %i, 1
              %done = icmp eq i64 %next, %n
              br i1 %done, label %exit, label %loop
            exit:
              %which = phi ptr [ %third, %loop ]
              store ptr %third, ptr %which
              call void @g(ptr %b)
              ret void
            }
        ";
        let module = Module::parse(text).unwrap();
        let machine = Machine::new(TRIPLE, Optimisation::Usual).unwrap();
        let function = module.function("f").unwrap();
        let frame = move_locals(&module, &machine, function, Wanted::Locals).unwrap();
        assert_eq!(frame.moved, 3);
        module.verify().unwrap();
        let liveness = Liveness::of(function);
        let blocks = function.blocks();
        let live = |index: usize| {
            let live = liveness.at(blocks[index]).into_iter().filter(|v| Some(*v) != frame.base);
            live.map(Value::name).collect::<Vec<_>>()
        };
        assert_eq!(live(1), ["n", "data.old"]);
        assert_eq!(live(2), ["data.old"]);
        assert_eq!(liveness.at(blocks[1]).len(), 3);
    }
}
