//! One address per function on every instruction set.
//!
//! A function whose address is taken gets a slot: one jump, in a section that begins at the same
//! address in each ELF. Its address is the function's; direct calls go past it.

use maize_llvm::{Builder, Linkage, Module, Place, Value};
use maize_xisa_metadata::address::{FUNCTION_SLOT_BYTES, SLOT_SECTION, SLOT_SUFFIX};

use super::reach::address_is_taken;

/// Gives every function of the program whose address is taken its slot.
pub(crate) fn add(module: &Module) {
    let functions: Vec<_> = module
        .functions()
        .into_iter()
        .filter(|f| !f.is_intrinsic() && !is_of_runtime(*f) && address_is_taken(*f))
        .collect();
    for function in functions {
        add_slot(module, function);
    }
}

/// Functions of the runtime belong to one instruction set; no program holds their address.
fn is_of_runtime(function: Value<'_>) -> bool {
    function.name() == "__maize_personality"
        || function.section().is_some_and(|s| s == super::resume::SECTION)
}

fn add_slot<'m>(module: &'m Module, function: Value<'m>) {
    let direct: Vec<_> = function
        .users()
        .into_iter()
        .filter(|user| user.is_call() && user.callee() == Some(function))
        .collect();
    let slot = module.add_function("", function.value_type());
    function.replace_with(slot);
    for call in direct {
        call.set_callee(function);
    }
    slot.set_name(&format!("{}{SLOT_SUFFIX}", function.name()));
    slot.set_linkage(Linkage::LLVMExternalLinkage);
    slot.set_section(SLOT_SECTION);
    slot.set_alignment(FUNCTION_SLOT_BYTES);
    slot.set_local();
    slot.add_attribute(Place::Function, "nounwind", 0);
    slot.copy_convention(function);

    let builder = Builder::at_end(module, slot.append_block("entry"));
    let arguments = slot.arguments();
    let jump = builder.call(function, &arguments);
    jump.set_must_tail();
    // A machine that can do what a library's function of this name does shall not do it here.
    jump.add_attribute(Place::Function, "nobuiltin", 0);
    jump.copy_convention(function);
    let places = (0..arguments.len() as u32).map(Place::Parameter);
    for place in [Place::Return].into_iter().chain(places) {
        slot.add_attributes(place, &function.attributes(place));
        jump.add_attributes(place, &function.attributes(place));
    }
    let returns = function.value_type().returned().kind() != maize_llvm::TypeKind::Void;
    builder.ret(returns.then_some(jump));
}
