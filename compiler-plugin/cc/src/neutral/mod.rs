//! Makes a module of the front end's neutral target one that every instruction set can take.
//!
//! What belongs to one instruction set is refused by name ([`check`]); arguments of variadic calls
//! are put into a buffer of slots ([`variadic`]); `setjmp` and computed gotos get a form of their own
//! (`jumps`); and attributes that speak of the neutral target
//! are dropped. Thread-local variables are laid out when the program is linked ([`tls`]).

pub mod check;
mod jumps;
pub mod tls;
pub mod variadic;

use maize_llvm::{Machine, Module, Place};

use crate::CompileError;

/// The target whose data layout every module takes. Both instruction sets agree on the size and
/// alignment of every type that C can name.
pub const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Function attributes, by string, that speak of one target.
const TARGET_ATTRIBUTES: [&str; 7] = [
    "target-cpu",
    "target-features",
    "tune-cpu",
    "probe-stack",
    "stack-probe-size",
    "stack-protector-buffer-size",
    "frame-pointer",
];

/// Function attributes that cannot hold on every instruction set, the one that would keep the clean-up
/// after the migration passes away, and the one that lets a code generator move parts of pads into
/// functions of their own.
const DROPPED: [&str; 7] =
    ["ssp", "sspstrong", "sspreq", "nonlazybind", "naked", "optnone", "minsize"];

/// Makes a module neutral.
///
/// # Errors
/// [`CompileError::Refused`] with everything in it that cannot move.
pub fn neutralise(module: &Module, machine: &Machine) -> Result<(), CompileError> {
    jumps::make_vfork_fork(module);
    let refusals = check::refusals(module);
    if !refusals.is_empty() {
        return Err(CompileError::Refused(refusals));
    }
    module.set_target(TRIPLE, &machine.layout());
    jumps::lower_set_jumps(module);
    jumps::lower_computed_gotos(module);
    module.keep_flags(&["wchar_size", "Debug Info Version", "Dwarf Version"]);
    for function in module.functions() {
        function.remove_string_attributes(&TARGET_ATTRIBUTES);
        function.remove_attributes(Place::Function, &DROPPED);
        function.set_local();
        if !function.is_declaration() {
            // Synchronous unwind tables: exact at calls, which is where frames are left.
            function.add_attribute(Place::Function, "uwtable", 1);
        }
        for call in function.instructions().into_iter().filter(|i| i.is_call()) {
            call.remove_attributes(Place::Function, &DROPPED);
        }
    }
    for variable in module.variables() {
        variable.set_local();
    }
    variadic::lower(module, machine)
}

/// Makes bitcode of another front end neutral, such as rustc's for the same target. It may bring whole
/// libraries: what nothing in it refers to is left out, and not looked at.
///
/// # Errors
/// [`CompileError`], as for C.
pub fn from_bitcode(path: &std::path::Path) -> Result<Vec<u8>, CompileError> {
    let bytes = std::fs::read(path).map_err(CompileError::file(path))?;
    let mut module = Module::read(&bytes, &path.display().to_string())?;
    let machine = Machine::new(TRIPLE, maize_llvm::Optimisation::None)?;
    module.run_passes("globaldce", &machine)?;
    neutralise(&module, &machine)?;
    module.verify()?;
    Ok(module.bitcode())
}
