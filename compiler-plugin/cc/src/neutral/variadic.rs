//! Variadic calls: the arguments after the named ones go into a buffer of the caller's.
//!
//! The neutral target's `va_list` is a pointer to consecutive slots of 8 bytes, in which what is
//! aligned to 16 bytes begins at such an address. So a call stores its variable arguments that way
//! and passes the buffer's address as one more argument, and `va_start` is that argument.

use maize_llvm::{Builder, Machine, Module, Opcode, Place, Signed, Type, TypeKind, Value};

use crate::CompileError;

const SLOT_BYTES: u64 = 8;
const BUFFER_ALIGNMENT: u64 = 16;

/// Lowers every variadic call, definition and declaration of a module.
///
/// # Errors
/// [`CompileError::Internal`] for a call that the neutral front end does not make.
pub fn lower(module: &Module, machine: &Machine) -> Result<(), CompileError> {
    let variadic: Vec<_> = module
        .functions()
        .into_iter()
        .filter(|f| f.value_type().is_variadic() && !f.is_intrinsic())
        .collect();
    for function in module.functions() {
        for call in function.instructions() {
            let is_intrinsic = call.called_function().is_some_and(Value::is_intrinsic);
            if call.is(Opcode::LLVMCall) && call.called_type().is_variadic() && !is_intrinsic {
                lower_call(module, machine, function, call)?;
            }
        }
    }
    for function in variadic {
        lower_function(module, function);
    }
    lower_copies(module);
    Ok(())
}

fn with_buffer<'m>(module: &'m Module, kind: Type<'m>) -> Type<'m> {
    let mut parameters = kind.parameters();
    parameters.push(module.pointer_type());
    kind.returned().function(&parameters)
}

fn lower_call<'m>(
    module: &'m Module,
    machine: &Machine,
    function: Value<'m>,
    call: Value<'m>,
) -> Result<(), CompileError> {
    let kind = call.called_type();
    let named = kind.parameters().len();
    let (Some(callee), Some(entry)) = (call.callee(), function.blocks().into_iter().next()) else {
        return Err(CompileError::Internal("a call of nothing".to_owned()));
    };
    let builder = Builder::before(module, call);
    let arguments = call.call_arguments();
    let mut slots = Vec::new();
    let mut end = 0_u64;
    for (number, argument) in (0..).zip(&arguments).skip(named) {
        if call.has_attribute(Place::Parameter(number), "byval") {
            return Err(CompileError::Internal("a variadic argument by value".to_owned()));
        }
        let value = match argument.kind().kind() {
            TypeKind::Integer(bits) if bits < 64 => {
                builder.resize(*argument, module.int_type(64), Signed::Yes)
            }
            _ => *argument,
        };
        let alignment = machine.alignment(value.kind()).clamp(SLOT_BYTES, BUFFER_ALIGNMENT);
        let offset = end.next_multiple_of(alignment);
        slots.push((value, offset));
        end = offset + machine.size(value.kind()).next_multiple_of(SLOT_BYTES);
    }
    let buffer = match entry.first_insertion() {
        Some(first) if end > 0 => {
            let at_entry = Builder::before(module, first);
            let slots = module.int_type(64).array(end / SLOT_BYTES);
            let buffer = at_entry.alloca(slots, "variadic");
            buffer.set_alignment(BUFFER_ALIGNMENT);
            buffer
        }
        _ => module.zero(module.pointer_type()),
    };
    for (value, offset) in slots {
        let store = builder.store(value, builder.offset(buffer, offset as i64));
        store.set_alignment(SLOT_BYTES);
    }
    let mut passed: Vec<_> = arguments.into_iter().take(named).collect();
    passed.push(buffer);
    let lowered = builder.call_typed(with_buffer(module, kind), callee, &passed);
    lowered.copy_convention(call);
    lowered.copy_location(call);
    let places = (0..named as u32).map(Place::Parameter);
    for place in [Place::Function, Place::Return].into_iter().chain(places) {
        lowered.add_attributes(place, &call.attributes(place));
    }
    // What the callee reads has moved from registers to memory.
    lowered.remove_attributes(Place::Function, &["memory"]);
    call.replace_with(lowered);
    call.remove();
    Ok(())
}

fn lower_function<'m>(module: &'m Module, function: Value<'m>) {
    let lowered = module.add_function("", with_buffer(module, function.value_type()));
    lowered.set_linkage(function.linkage());
    function.move_body(lowered);
    function.replace_with(lowered);
    function.set_linkage(maize_llvm::Linkage::LLVMExternalLinkage);
    lowered.remove_attributes(Place::Function, &["memory"]);
    let Some(buffer) = lowered.arguments().pop() else { return };
    for start in intrinsic_calls(lowered, "llvm.va_start") {
        if let Some(list) = start.operand(0) {
            Builder::before(module, start).store(buffer, list);
        }
        start.remove();
    }
}

fn lower_copies(module: &Module) {
    for function in module.functions() {
        for end in intrinsic_calls(function, "llvm.va_end") {
            end.remove();
        }
        for copy in intrinsic_calls(function, "llvm.va_copy") {
            if let (Some(to), Some(from)) = (copy.operand(0), copy.operand(1)) {
                let builder = Builder::before(module, copy);
                builder.store(builder.load(module.pointer_type(), from, ""), to);
            }
            copy.remove();
        }
    }
}

fn intrinsic_calls<'m>(function: Value<'m>, name: &str) -> Vec<Value<'m>> {
    let calls = function.instructions().into_iter();
    calls
        .filter(|call| {
            call.is_intrinsic_call() && call.callee().is_some_and(|c| c.name().starts_with(name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use maize_llvm::Optimisation;

    use super::*;

    #[test]
    fn arguments_lie_in_slots_and_the_list_is_their_address() {
        let text = r"
            declare i32 @sum(i32, ...)
            define i32 @call(double %d, fp128 %q) {
              %r = call i32 (i32, ...) @sum(i32 3, i32 7, double %d, fp128 %q)
              ret i32 %r
            }
            define ptr @list(i32 %n, ...) {
              %l = alloca ptr
              call void @llvm.va_start(ptr %l)
              %v = load ptr, ptr %l
              call void @llvm.va_end(ptr %l)
              ret ptr %v
            }
            declare void @llvm.va_start(ptr)
            declare void @llvm.va_end(ptr)
        ";
        let module = Module::parse(text).unwrap();
        let machine = Machine::new(super::super::TRIPLE, Optimisation::None).unwrap();
        module.set_target(super::super::TRIPLE, &machine.layout());
        lower(&module, &machine).unwrap();
        module.verify().unwrap();
        let text = module.text();
        assert!(text.contains("%variadic = alloca [4 x i64], align 16"), "{text}");
        assert!(text.contains("getelementptr inbounds i8, ptr %variadic, i64 16"), "{text}");
        assert!(text.contains("call i32 @sum(i32 3, ptr %variadic)"), "{text}");
        assert!(text.contains("define ptr @list(i32 %n, ptr %0)"), "{text}");
        assert!(!text.contains("call void @llvm.va_"), "{text}");
    }
}
