//! Landing pads that save a frame.

use std::collections::HashMap;

use maize_llvm::{Block, Builder, Module, Opcode, Place, Value};

use super::Runtime;
use super::sites::Found;
use crate::CompileError;

/// Converts every site of a function.
///
/// # Errors
/// As [`convert`].
pub(crate) fn convert_function<'m>(
    module: &'m Module,
    runtime: &Runtime<'m>,
    function: Value<'m>,
    sites: &[Found<'m>],
) -> Result<(), CompileError> {
    // The result of a site's call may be alive across another: it is then the new call's.
    let mut new = HashMap::new();
    for site in sites {
        let converted = convert(module, runtime, function, site, site.call, site.rest, &|value| {
            Saved::Value(new.get(&value).copied().unwrap_or(value))
        })?;
        new.insert(site.call, converted);
    }
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
