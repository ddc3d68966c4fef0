//! Finds what belongs to one instruction set, or what no frame record can describe.

use maize_llvm::{Module, Opcode, Place, TypeKind, Value};

use crate::Refusal;

/// Intrinsics that name an instruction set or a native frame.
const INTRINSICS: [(&str, &str); 8] = [
    ("llvm.x86.", "an intrinsic of x86"),
    ("llvm.aarch64.", "an intrinsic of AArch64"),
    ("llvm.riscv.", "an intrinsic of RISC-V"),
    ("llvm.frameaddress", "the address of a native frame"),
    ("llvm.returnaddress", "a return address"),
    ("llvm.addressofreturnaddress", "the place of a return address"),
    ("llvm.eh.", "exception handling"),
    ("llvm.coro.", "a coroutine"),
];

/// Everything in a module that is refused, by file and line.
#[must_use]
pub fn refusals(module: &Module) -> Vec<Refusal> {
    let mut found = Vec::new();
    let whole = |what: &str| Refusal {
        file: module.source_file(),
        line: None,
        function: None,
        what: what.to_owned(),
    };
    if !module.module_asm().trim().is_empty() {
        found.push(whole("assembly outside of a function"));
    }
    if module.first_ifunc().is_some() {
        found.push(whole("a function that is chosen at start (ifunc)"));
    }
    for function in module.functions() {
        for instruction in function.instructions() {
            if let Some(what) = refused(instruction) {
                found.push(Refusal {
                    file: instruction.file().unwrap_or_else(|| module.source_file()),
                    line: instruction.location().map(|(line, _)| line),
                    function: Some(function.name()),
                    what,
                });
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn refused(instruction: Value<'_>) -> Option<String> {
    if let Some(what) = refused_type(instruction.kind().kind()) {
        return Some(what.to_owned());
    }
    match instruction.opcode()? {
        Opcode::LLVMCallBr => Some("an `asm goto`".to_owned()),
        Opcode::LLVMVAArg => Some("an argument list of another target".to_owned()),
        Opcode::LLVMInvoke | Opcode::LLVMResume | Opcode::LLVMLandingPad => {
            Some("exception handling".to_owned())
        }
        Opcode::LLVMCall => refused_call(instruction),
        Opcode::LLVMAtomicCmpXchg | Opcode::LLVMAtomicRMW => instruction
            .operands()
            .iter()
            .any(|operand| operand.kind().kind() == TypeKind::Integer(128))
            .then(|| "an atomic operation on 128 bits".to_owned()),
        _ => None,
    }
}

fn refused_type(kind: TypeKind) -> Option<&'static str> {
    match kind {
        TypeKind::X87 => Some("an x87 `long double`"),
        TypeKind::Other => Some("a type of one instruction set, or of 16-bit floating point,"),
        _ => None,
    }
}

fn refused_call(call: Value<'_>) -> Option<String> {
    let callee = call.callee()?;
    if callee.is_inline_asm() {
        let text = callee.asm_text();
        let text = text.trim();
        // Empty assembly is a barrier for the compiler, which any target can have.
        return (!text.is_empty()).then(|| {
            let first = text.lines().next().unwrap_or_default();
            format!("inline assembly (`{first}`)")
        });
    }
    let name = callee.name();
    if let Some((_, what)) = INTRINSICS.iter().find(|(start, _)| name.starts_with(start)) {
        return Some(format!("{what} (`{name}`)"));
    }
    let twice = call.has_attribute(Place::Function, "returns_twice")
        || callee.is_function() && callee.has_attribute(Place::Function, "returns_twice");
    if twice && !super::jumps::is_set_jump(&name) {
        return Some(format!("a function that returns twice (`{name}`)"));
    }
    if call.has_bundles() && !callee.is_intrinsic() {
        return Some("a call with operand bundles".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_in(body: &str) -> Vec<String> {
        let module = Module::parse(body).unwrap();
        refusals(&module).into_iter().map(|refusal| refusal.to_string()).collect()
    }

    #[test]
    fn what_belongs_to_one_instruction_set_is_named_with_its_line() {
        let text = r#"
            source_filename = "a.c"
            define void @f() !dbg !4 {
              call void asm sideeffect "cpuid", ""(), !dbg !6
              call void asm sideeffect "", "~{memory}"(), !dbg !6
              ret void
            }
            !llvm.dbg.cu = !{!0}
            !llvm.module.flags = !{!3}
            !0 = distinct !DICompileUnit(language: DW_LANG_C11, file: !1, emissionKind: FullDebug)
            !1 = !DIFile(filename: "a.c", directory: "/")
            !3 = !{i32 2, !"Debug Info Version", i32 3}
            !4 = distinct !DISubprogram(name: "f", file: !1, line: 1, unit: !0, spFlags: DISPFlagDefinition, type: !5)
            !5 = !DISubroutineType(types: !7)
            !6 = !DILocation(line: 12, scope: !4)
            !7 = !{null}
        "#;
        assert_eq!(
            refused_in(text),
            [
                "a.c:12: error: in `f`: inline assembly (`cpuid`) cannot move between instruction sets"
            ]
        );
    }

    #[test]
    fn every_refusal_has_its_words() {
        for (body, word) in [
            ("%x = load x86_fp80, ptr %p\nret void", "x87"),
            ("%x = load half, ptr %p\nret void", "16-bit"),
            ("%x = call ptr @llvm.returnaddress(i32 0)\nret void", "return address"),
            ("%x = call i32 @again() returns_twice\nret void", "`again`"),
            ("%x = atomicrmw add ptr %p, i128 1 seq_cst\nret void", "128 bits"),
        ] {
            let text = format!(
                "declare i32 @again()\ndeclare ptr @llvm.returnaddress(i32)\n\
                 define void @f(ptr %p) {{\n{body}\n}}"
            );
            let found = refused_in(&text);
            assert!(found.len() == 1 && found[0].contains(word), "{body}: {found:?}");
        }
    }
}
