//! Thread-local variables: the thread pointer and a constant, on every instruction set.
//!
//! The instruction sets lay thread-local storage out on opposite sides of the thread pointer. Here
//! every variable gets an offset above the thread block, and the initial image is one constant.

use maize_llvm::{Builder, Machine, Module, Opcode, Value};
use maize_xisa_metadata::ThreadLocals;
use maize_xisa_metadata::address::{TLS_TEMPLATE, thread_block};

use crate::CompileError;

/// Most alignment that a thread-local variable may ask for: the thread block's own.
const MOST_ALIGNMENT: u64 = 64;

/// The address at a distance from the thread pointer.
pub(crate) fn thread_field<'m>(
    module: &'m Module,
    builder: &Builder<'m>,
    offset: u64,
) -> Value<'m> {
    let pointer = builder.intrinsic("llvm.thread.pointer", &[module.pointer_type()], &[]);
    builder.offset(pointer, offset as i64)
}

/// Lays the thread-local variables of a whole program out and defines their initial image, its size
/// and its alignment for the C library.
///
/// # Errors
/// [`CompileError::Undefined`] for a variable without definition, and [`CompileError::Content`] for
/// one that cannot be addressed so.
pub fn lower(module: &Module, machine: &Machine) -> Result<ThreadLocals, CompileError> {
    let variables: Vec<_> =
        module.variables().into_iter().filter(|v| v.is_thread_local()).collect();
    let missing: Vec<_> =
        variables.iter().filter(|v| v.is_declaration()).map(|v| v.name()).collect();
    if !missing.is_empty() {
        return Err(CompileError::Undefined(missing));
    }
    let start = u64::from(thread_block::BYTES);
    let mut end = start;
    let mut most = 16;
    let mut image = Vec::new();
    for variable in variables {
        let kind = variable.value_type();
        let alignment = variable.alignment().max(machine.alignment(kind));
        if alignment > MOST_ALIGNMENT {
            return Err(bad(variable, "asks for too large an alignment"));
        }
        most = most.max(alignment);
        let offset = end.next_multiple_of(alignment);
        if offset > end {
            image.push(module.zero(module.int_type(8).array(offset - end)));
        }
        image.extend(variable.initializer());
        end = offset + machine.size(kind);
        address_by_offset(module, variable, offset)?;
    }
    let locals = ThreadLocals { bytes: end - start, alignment: most };
    for (name, value) in [
        (TLS_TEMPLATE, module.packed_struct(&image)),
        ("__maize_tls_size", module.i64(locals.bytes as i64)),
        ("__maize_tls_alignment", module.i64(locals.alignment as i64)),
    ] {
        define(module, name, value, locals.alignment);
    }
    Ok(locals)
}

fn bad(variable: Value<'_>, what: &str) -> CompileError {
    let name = variable.name();
    CompileError::Content { path: name.into(), what: format!("this thread-local variable {what}") }
}

/// Defines a constant, which the C library may have declared.
fn define<'m>(module: &'m Module, name: &str, value: Value<'m>, alignment: u64) {
    let declared = module.variable(name);
    let defined = module.add_constant("", value);
    if let Some(declared) = declared {
        declared.replace_with(defined);
        declared.set_name("");
    }
    defined.set_name(name);
    // The C library lays the variables out by where the image lies.
    defined.set_alignment(alignment);
    defined.set_local();
}

fn address_by_offset<'m>(
    module: &'m Module,
    variable: Value<'m>,
    offset: u64,
) -> Result<(), CompileError> {
    variable.expand_constant_users();
    for user in variable.users() {
        if !user.is_instruction() || user.is(Opcode::LLVMPHI) {
            return Err(bad(variable, "is used in a constant"));
        }
        let builder = Builder::before(module, user);
        let address = thread_field(module, &builder, offset);
        if user.is_intrinsic_call()
            && user.callee().is_some_and(|c| c.name().starts_with("llvm.threadlocal.address"))
        {
            user.replace_with(address);
            user.remove();
        } else {
            user.replace_operand(variable, address);
        }
    }
    Ok(())
}
