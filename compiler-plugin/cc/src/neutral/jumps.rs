//! `setjmp` and its relatives, and computed gotos, in a form that every instruction set can take.
//!
//! `setjmp(buffer)` becomes `__maize_set_jump(buffer, null, null)`; where the frame is, and where it
//! is saved, is put in when the program is split ([`crate::migrate::anchor`]). A computed goto
//! becomes a `switch`, and the address of a label the number of its case.

use maize_llvm::{Builder, Module, Opcode, Place};
use maize_xisa_metadata::address::SET_JUMP_FUNCTION;

/// Functions that return a second time, without a signal mask.
const PLAIN: [&str; 2] = ["setjmp", "_setjmp"];
/// The one that may keep the signal mask: its second argument says so.
const WITH_MASK: &str = "sigsetjmp";
/// The C library's part of it.
const KEEP_MASK: &str = "__maize_keep_mask";

/// Whether a function that returns twice is lowered here.
pub(super) fn is_set_jump(name: &str) -> bool {
    PLAIN.contains(&name) || name == WITH_MASK || name == SET_JUMP_FUNCTION
}

/// `vfork` is what C says that it may be, the same as `fork`: it returns once in either process, each of which
/// has its own memory.
pub(super) fn make_vfork_fork(module: &Module) {
    const TWICE: [&str; 1] = ["returns_twice"];
    let Some(function) = module.function("vfork") else { return };
    function.remove_attributes(Place::Function, &TWICE);
    for call in function.users().into_iter().filter(|user| user.is_call()) {
        call.remove_attributes(Place::Function, &TWICE);
    }
}

/// Lowers every call of `setjmp`, `_setjmp` and `sigsetjmp`.
pub(super) fn lower_set_jumps(module: &Module) {
    let pointer = module.pointer_type();
    let word = module.int_type(32);
    for name in PLAIN.into_iter().chain([WITH_MASK]) {
        let Some(function) = module.function(name).filter(|f| f.is_declaration()) else { continue };
        for call in function.users() {
            let arguments = call.call_arguments();
            let (true, Some(buffer)) = (call.callee() == Some(function), arguments.first()) else {
                continue;
            };
            let builder = Builder::before(module, call);
            if let (WITH_MASK, Some(wanted)) = (name, arguments.get(1)) {
                let kind = module.void_type().function(&[pointer, word]);
                builder.call(module.declare(KEEP_MASK, kind), &[*buffer, *wanted]);
            }
            let kind = word.function(&[pointer, pointer, pointer]);
            let set_jump = module.declare(SET_JUMP_FUNCTION, kind);
            set_jump.add_attribute(Place::Function, "returns_twice", 0);
            set_jump.set_local();
            let null = module.zero(pointer);
            let lowered = builder.call(set_jump, &[*buffer, null, null]);
            lowered.add_attribute(Place::Function, "returns_twice", 0);
            lowered.copy_location(call);
            call.replace_with(lowered);
            call.remove();
        }
    }
}

/// Lowers every computed goto.
pub(super) fn lower_computed_gotos(module: &Module) {
    for function in module.functions() {
        let jumps: Vec<_> =
            function.instructions().into_iter().filter(|i| i.is(Opcode::LLVMIndirectBr)).collect();
        let mut cases = Vec::new();
        for (number, block) in (1..).zip(function.blocks()) {
            let addresses = block.addresses();
            if addresses.is_empty() {
                continue;
            }
            // No label's number is zero: a null pointer goes nowhere.
            let number = module.i64(number);
            for address in addresses {
                address.replace_with(number.as_pointer(address.kind()));
            }
            cases.push((number, block));
        }
        for jump in jumps {
            let (Some(target), Some(block)) = (jump.operand(0), jump.block()) else { continue };
            let possible = block.successors();
            let nowhere = function.append_block("goto.nowhere");
            Builder::at_end(module, nowhere).unreachable();
            let before = Builder::before(module, jump);
            let number = before.integer_of_pointer(target, module.int_type(64));
            block.drop_terminator();
            let to: Vec<_> =
                cases.iter().copied().filter(|(_, block)| possible.contains(block)).collect();
            Builder::at_end(module, block).switch(number, nowhere, &to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_computed_goto_is_a_switch_over_its_labels() {
        let text = r"
            @table = constant [2 x ptr] [ptr blockaddress(@f, %a), ptr blockaddress(@f, %b)]
            define i32 @f(ptr %p) {
            entry:
              indirectbr ptr %p, [label %a, label %b]
            a:
              ret i32 1
            b:
              ret i32 2
            }
        ";
        let module = Module::parse(text).unwrap();
        lower_computed_gotos(&module);
        module.verify().unwrap();
        let text = module.text();
        assert!(!text.contains("blockaddress") && !text.contains("indirectbr"), "{text}");
        let table = "[ptr inttoptr (i64 2 to ptr), ptr inttoptr (i64 3 to ptr)]";
        assert!(text.contains(table) && text.contains("i64 3, label %b"), "{text}");
    }

    #[test]
    fn a_signal_mask_is_kept_before_the_jump_is_set() {
        let text = r"
            declare i32 @sigsetjmp(ptr, i32) returns_twice
            define i32 @f(ptr %p) {
              %r = call i32 @sigsetjmp(ptr %p, i32 1) returns_twice
              ret i32 %r
            }
        ";
        let module = Module::parse(text).unwrap();
        lower_set_jumps(&module);
        module.verify().unwrap();
        let text = module.text();
        let keep = text.find("@__maize_keep_mask(ptr %p, i32 1)").unwrap();
        let set = text.find("= call i32 @__maize_set_jump(ptr %p, ptr null, ptr null)").unwrap();
        assert!(keep < set, "{text}");
    }
}
