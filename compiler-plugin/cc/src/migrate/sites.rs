//! Sites: calls that may be on the stack when a thread moves, and what is alive across each.

use std::collections::HashSet;

use maize_llvm::{Block, Machine, Opcode, Place, Type, TypeKind, Value};
use maize_xisa_metadata::record::{ALIGNMENT, HEADER_BYTES};
use maize_xisa_metadata::{Callee, Function, LiveValue, Location, MAX_RECORD_BYTES, ValueType};

use super::liveness::{Liveness, is_tracked, without};
use super::reach::Reach;
use super::{Split, UNSOUND};
use crate::CompileError;

/// A site of a function that is being split.
pub(crate) struct Found<'m> {
    /// Its number in the program.
    pub(crate) number: u32,
    /// The call.
    pub(crate) call: Value<'m>,
    /// What runs after the call.
    pub(crate) rest: Block<'m>,
    /// Values of the record, with their offsets.
    pub(crate) saved: Vec<(Value<'m>, u32)>,
    /// Live values that are computed again, each after those that it needs.
    pub(crate) recomputed: Vec<Value<'m>>,
    /// Bytes of the record.
    pub(crate) bytes: u32,
}

/// Finds the sites of a function, splits its blocks after them and adds them to the metadata.
///
/// A call after which a function only returns its result is no site: nothing is left to save. But a
/// frame with an anchor must be found again, so each of its records begins with that.
///
/// # Errors
/// [`CompileError::Content`] for a live value that no record can hold.
pub(crate) fn find<'m>(
    machine: &Machine,
    reach: &Reach<'m>,
    function: Value<'m>,
    anchor: Option<Value<'m>>,
    split: &mut Split,
) -> Result<Vec<Found<'m>>, CompileError> {
    let mut calls = Vec::new();
    for call in function.instructions() {
        if call.is_call() && reach.call_may_migrate(call) && !call.is_must_tail() {
            call.remove_attributes(Place::Function, &UNSOUND);
            if anchor.is_some() || !only_returns(call) {
                calls.push(call);
            }
        }
    }
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let mut rests = Vec::new();
    for call in &calls {
        let next = call.next().ok_or_else(|| {
            CompileError::Internal(format!("{}: a call ends its block", function.name()))
        })?;
        rests.push(next.split_before());
    }
    let liveness = Liveness::of(function);
    let index = u32::try_from(split.functions.len()).unwrap_or(u32::MAX);
    split.functions.push(Function { name: function.name(), file: function.file() });
    let mut found = Vec::new();
    for (call, rest) in calls.into_iter().zip(rests) {
        let live = without(liveness.at(rest), call);
        let (mut saved, mut recomputed) = divide(&live);
        if let Some(anchor) = anchor {
            saved.retain(|value| *value != anchor);
            recomputed.retain(|value| *value != anchor);
            saved.insert(0, anchor);
        }
        let (saved, values, bytes) = lay_out(machine, saved).map_err(|what| {
            CompileError::Content { path: function.name().into(), what: what.to_owned() }
        })?;
        let callee = call.called_function().map_or(Callee::Indirect, |f| Callee::Direct(f.name()));
        split.sites.push(maize_xisa_metadata::Site {
            function: index,
            callee,
            location: call.location().map(|(line, column)| Location { line, column }),
            result: parts(machine, call.kind(), 0)
                .ok_or_else(|| unsaveable(function, call))?
                .into_iter()
                .map(|(_, kind)| kind)
                .collect(),
            record_bytes: bytes,
            values,
            recomputed: u32::try_from(recomputed.len()).unwrap_or(u32::MAX),
        });
        let number = u32::try_from(split.sites.len()).unwrap_or(u32::MAX);
        found.push(Found { number, call, rest, saved, recomputed, bytes });
    }
    Ok(found)
}

fn unsaveable(function: Value<'_>, value: Value<'_>) -> CompileError {
    let what = format!("a value of type {} is alive across a call", value.kind());
    CompileError::Content { path: function.name().into(), what }
}

/// Whether a call is followed only by the return of its result.
fn only_returns(call: Value<'_>) -> bool {
    let Some(next) = call.next().filter(|next| next.is(Opcode::LLVMRet)) else { return false };
    next.operand(0).is_none_or(|value| value == call)
}

/// Whether an instruction costs next to nothing, so that it is computed again and not saved.
fn is_cheap(value: Value<'_>) -> bool {
    let divides = matches!(
        value.opcode(),
        Some(Opcode::LLVMUDiv | Opcode::LLVMSDiv | Opcode::LLVMURem | Opcode::LLVMSRem)
    );
    let on_integers = |value: Value<'_>| {
        let kind = value.kind();
        let scalar = if kind.kind() == TypeKind::Vector { kind.element() } else { kind };
        matches!(scalar.kind(), TypeKind::Integer(_) | TypeKind::Pointer)
    };
    let comparison = value.is(Opcode::LLVMICmp) || value.is(Opcode::LLVMFCmp);
    let arithmetic = value.is_binary() && !divides && on_integers(value);
    let conversion =
        value.is_cast() && on_integers(value) && value.operand(0).is_some_and(on_integers);
    value.is(Opcode::LLVMGetElementPtr) || comparison || arithmetic || conversion
}

/// Divides live values into those to be saved and those to be computed from them, the latter in an
/// order in which each comes after what it needs.
fn divide<'m>(live: &[Value<'m>]) -> (Vec<Value<'m>>, Vec<Value<'m>>) {
    let alive: HashSet<_> = live.iter().copied().collect();
    let derived: HashSet<_> = live
        .iter()
        .copied()
        .filter(|value| is_cheap(*value))
        .filter(|value| value.operands().iter().all(|o| !is_tracked(*o) || alive.contains(o)))
        .collect();
    let saved = live.iter().copied().filter(|value| !derived.contains(value)).collect();
    let (mut ordered, mut done) = (Vec::new(), HashSet::new());
    for value in live.iter().filter(|value| derived.contains(value)) {
        visit(*value, &derived, &mut done, &mut ordered);
    }
    (saved, ordered)
}

fn visit<'m>(
    value: Value<'m>,
    derived: &HashSet<Value<'m>>,
    done: &mut HashSet<Value<'m>>,
    ordered: &mut Vec<Value<'m>>,
) {
    if !done.insert(value) {
        return;
    }
    for operand in value.operands().into_iter().filter(|operand| derived.contains(operand)) {
        visit(operand, derived, done, ordered);
    }
    ordered.push(value);
}

/// Alignment of a value in a record.
pub(crate) fn alignment(machine: &Machine, kind: Type<'_>) -> u64 {
    machine.alignment(kind).clamp(1, u64::from(ALIGNMENT))
}

type Layout<'m> = (Vec<(Value<'m>, u32)>, Vec<LiveValue>, u32);

fn lay_out<'m>(machine: &Machine, saved: Vec<Value<'m>>) -> Result<Layout<'m>, &'static str> {
    let too_large = "a frame has more live values than a record can hold";
    let mut end = u64::from(HEADER_BYTES);
    let (mut placed, mut values) = (Vec::new(), Vec::new());
    for value in saved {
        let kind = value.kind();
        let offset = end.next_multiple_of(alignment(machine, kind));
        end = offset + machine.size(kind);
        let offset = u32::try_from(offset).map_err(|_| too_large)?;
        let parts = parts(machine, kind, offset).ok_or("a value of a type that has no record")?;
        values.extend(parts.into_iter().map(|(offset, kind)| LiveValue {
            offset,
            kind,
            name: value.name(),
        }));
        placed.push((value, offset));
    }
    let bytes = u32::try_from(end.next_multiple_of(u64::from(ALIGNMENT))).map_err(|_| too_large)?;
    if bytes > MAX_RECORD_BYTES { Err(too_large) } else { Ok((placed, values, bytes)) }
}

/// The scalars and vectors that a value consists of, with their offsets. None if a part has no type
/// in a record.
fn parts(machine: &Machine, kind: Type<'_>, offset: u32) -> Option<Vec<(u32, ValueType)>> {
    let scalar = |kind: TypeKind| {
        Some(match kind {
            TypeKind::Integer(bits) => ValueType::Integer(u16::try_from(bits).ok()?),
            TypeKind::Float => ValueType::Float,
            TypeKind::Double => ValueType::Double,
            TypeKind::Quad => ValueType::Quad,
            TypeKind::Pointer => ValueType::Pointer,
            _ => return None,
        })
    };
    match kind.kind() {
        TypeKind::Void => Some(Vec::new()),
        TypeKind::Struct => {
            let mut all = Vec::new();
            for (index, field) in (0..).zip(kind.fields()) {
                let at = u32::try_from(machine.field_offset(kind, index)).ok()?;
                all.extend(parts(machine, field, offset.checked_add(at)?)?);
            }
            Some(all)
        }
        TypeKind::Array => {
            let size = u32::try_from(machine.size(kind.element())).ok()?;
            let mut all = Vec::new();
            for index in 0..u32::try_from(kind.length()).ok()? {
                let at = offset.checked_add(size.checked_mul(index)?)?;
                all.extend(parts(machine, kind.element(), at)?);
            }
            Some(all)
        }
        TypeKind::Vector => {
            let lanes = u16::try_from(kind.length()).ok()?;
            let vector = match scalar(kind.element().kind())? {
                ValueType::Integer(bits) => ValueType::Integers { lanes, bits },
                ValueType::Float => ValueType::Floats(lanes),
                ValueType::Double => ValueType::Doubles(lanes),
                ValueType::Pointer => ValueType::Pointers(lanes),
                _ => return None,
            };
            Some(vec![(offset, vector)])
        }
        other => Some(vec![(offset, scalar(other)?)]),
    }
}
