//! Landing pads that save a frame, and what polls jump to.
//!
//! A poll's site is not in its function: what is alive there are the arguments of a function of its
//! own, which the poll jumps to. That one calls the runtime, has the pad, and goes on in the resume
//! clone if the thread is not to move. So nothing has to survive a call for a poll's sake, and a
//! function that calls nothing else needs no frame.

use std::collections::HashMap;

use maize_llvm::{Block, Builder, CallConvention, Linkage, Module, Opcode, Place, TypeKind, Value};
use maize_xisa_metadata::address::OUTLINED_POLL_SUFFIX;
use maize_xisa_metadata::record;

use super::Runtime;
use super::resume::{self, MOST_RESULT_ALIGNMENT, RESULT_BYTES};
use super::sites::Found;
use crate::CompileError;

/// Where the site of a poll is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollForm {
    /// In a function of its own, which is jumped to: calls in front of a return become jumps.
    Outlined,
    /// In its function, for code that is not optimised.
    InPlace,
}

/// Converts every site of a function that has a resume clone.
///
/// # Errors
/// As [`convert`].
pub(crate) fn convert_function<'m>(
    module: &'m Module,
    runtime: &Runtime<'m>,
    function: Value<'m>,
    clone: Value<'m>,
    (sites, polls): (&[Found<'m>], PollForm),
) -> Result<(), CompileError> {
    // The result of a site's call may be alive across another: it is then the new call's.
    let mut new = HashMap::new();
    for site in sites {
        let now = |value| new.get(&value).copied().unwrap_or(value);
        if polls == PollForm::Outlined && site.call.callee() == Some(runtime.poll) {
            let arguments: Vec<_> = site.saved.iter().map(|(value, _)| now(*value)).collect();
            let poll = outlined_poll(module, runtime, function, clone, site);
            jump_to(module, poll, function, site, &arguments)?;
            continue;
        }
        let converted = convert(module, runtime, function, site, site.call, site.rest, &|value| {
            Saved::Value(now(value))
        })?;
        new.insert(site.call, converted);
    }
    Ok(())
}

/// Makes the function that a poll jumps to: of the values that are alive there, to the result of the
/// poll's function.
fn outlined_poll<'m>(
    module: &'m Module,
    runtime: &Runtime<'m>,
    function: Value<'m>,
    clone: Value<'m>,
    site: &Found<'m>,
) -> Value<'m> {
    let kinds: Vec<_> = site.saved.iter().map(|(value, _)| value.kind()).collect();
    let result = function.value_type().returned();
    let name = format!("{}.{}{OUTLINED_POLL_SUFFIX}", function.name(), site.number);
    let poll = module.add_function(&name, result.function(&kinds));
    poll.copy_convention(function);
    poll.add_attributes(Place::Return, &function.attributes(Place::Return));
    poll.set_linkage(Linkage::LLVMInternalLinkage);
    poll.set_local();
    poll.set_section(resume::SECTION);
    for (attribute, value) in [("cold", 0), ("noinline", 0), ("uwtable", 1)] {
        poll.add_attribute(Place::Function, attribute, value);
    }
    let values: HashMap<_, _> =
        site.saved.iter().map(|(value, _)| *value).zip(poll.arguments()).collect();
    let entry = poll.append_block("entry");
    let stay = poll.append_block("stay");
    let pad = pad(module, runtime, poll, site, &|value| {
        Saved::Value(values.get(&value).copied().unwrap_or(value))
    });
    let builder = Builder::at_end(module, entry);
    let word = module.int_type(8 * record::ALIGNMENT);
    let room = |bytes: u64| builder.alloca(word.array(bytes / u64::from(record::ALIGNMENT)), "");
    let (saved, returned) = (room(u64::from(site.bytes)), room(RESULT_BYTES));
    let call = builder.invoke(runtime.poll.value_type(), runtime.poll, &[], stay, pad);
    call.set_convention(CallConvention::PreserveAll);
    builder.move_to_end(stay);
    builder.store(module.i32(site.number), builder.offset(saved, record::SITE as i64));
    for (value, offset) in &site.saved {
        if let Some(argument) = values.get(value) {
            let store = builder.store(*argument, builder.offset(saved, i64::from(*offset)));
            store.set_alignment(store.alignment().clamp(1, u64::from(record::ALIGNMENT)));
        }
    }
    builder.call(clone, &[saved, returned]);
    if result.kind() == TypeKind::Void {
        builder.ret(None);
    } else {
        let load = builder.load(result, returned, "");
        load.set_alignment(load.alignment().clamp(1, MOST_RESULT_ALIGNMENT));
        builder.ret(Some(load));
    }
    poll
}

/// Replaces a poll's call, and all that came after it, by a jump.
fn jump_to<'m>(
    module: &'m Module,
    poll: Value<'m>,
    function: Value<'m>,
    site: &Found<'m>,
    arguments: &[Value<'m>],
) -> Result<(), CompileError> {
    let Some(block) = site.call.block() else {
        return Err(CompileError::Internal("a poll's call is gone".to_owned()));
    };
    block.drop_terminator();
    let builder = Builder::at_end(module, block);
    let call = builder.call(poll, arguments);
    call.copy_convention(function);
    call.copy_location(site.call);
    call.add_attributes(Place::Return, &function.attributes(Place::Return));
    call.add_attribute(Place::Function, "cold", 0);
    call.set_tail();
    let void = poll.value_type().returned().kind() == TypeKind::Void;
    builder.ret((!void).then_some(call));
    site.call.remove();
    Ok(())
}

/// Where a pad finds a value.
pub(crate) enum Saved<'m> {
    /// It is this one.
    Value(Value<'m>),
    /// It is in this slot.
    Slot(Value<'m>),
}

/// Turns a call that ends its block into an invoke whose pad saves the frame. The new call.
///
/// # Errors
/// [`CompileError::Internal`] for a call that is not what it must be here.
pub(crate) fn convert<'m>(
    module: &'m Module,
    runtime: &Runtime<'m>,
    function: Value<'m>,
    site: &Found<'m>,
    call: Value<'m>,
    rest: Block<'m>,
    saved: &dyn Fn(Value<'m>) -> Saved<'m>,
) -> Result<Value<'m>, CompileError> {
    let (Some(callee), Some(block)) = (call.callee(), call.block()) else {
        return Err(CompileError::Internal("a site's call is gone".to_owned()));
    };
    if !call.next().is_some_and(|next| next.is(Opcode::LLVMBr)) {
        let text = format!("{}: a site's call does not end its block", function.name());
        return Err(CompileError::Internal(text));
    }
    let pad = pad(module, runtime, function, site, saved);
    block.drop_terminator();
    let arguments = call.call_arguments();
    let builder = Builder::at_end(module, block);
    let invoke = builder.invoke(call.called_type(), callee, &arguments, rest, pad);
    invoke.copy_convention(call);
    invoke.copy_location(call);
    let places = (0..arguments.len() as u32).map(Place::Parameter);
    for place in [Place::Function, Place::Return].into_iter().chain(places) {
        invoke.add_attributes(place, &call.attributes(place));
    }
    let name = call.name();
    call.replace_with(invoke);
    call.remove();
    if !name.is_empty() {
        invoke.set_name(&name);
    }
    Ok(invoke)
}

/// The pad: begins a record, stores the live values and goes on to the caller's frame.
fn pad<'m>(
    module: &'m Module,
    runtime: &Runtime<'m>,
    function: Value<'m>,
    site: &Found<'m>,
    saved: &dyn Fn(Value<'m>) -> Saved<'m>,
) -> Block<'m> {
    function.set_personality(runtime.personality);
    let pad = function.append_block(&format!("save.{}", site.number));
    let builder = Builder::at_end(module, pad);
    builder.cleanup_pad(module.struct_type(&[module.pointer_type(), module.int_type(32)]));
    let head = [module.i32(site.number), module.i32(site.bytes)];
    let record = builder.call(runtime.record, &head);
    for (value, offset) in &site.saved {
        let value = match saved(*value) {
            Saved::Value(value) => value,
            Saved::Slot(slot) => builder.load(value.kind(), slot, ""),
        };
        let store = builder.store(value, builder.offset(record, i64::from(*offset)));
        store.set_alignment(store.alignment().clamp(1, 16));
    }
    let next = builder.call(runtime.unwind_next, &[]);
    next.add_attribute(Place::Function, "noreturn", 0);
    builder.unreachable();
    pad
}
