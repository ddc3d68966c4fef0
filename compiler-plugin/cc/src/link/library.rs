//! Functions of the C library that machine code calls where the program has no call.

use std::collections::BTreeSet;

use maize_llvm::{Linkage, Module};

/// What any code may need.
pub(crate) const ALWAYS: [&str; 4] = ["memcpy", "memmove", "memset", "memcmp"];

/// What LLVM makes of calls of others. It is not wrong to miss some, but then a program is optimised
/// once more with them.
const MADE_OF: [(&str, &[&str]); 7] = [
    ("memcmp", &["bcmp"]),
    ("printf", &["puts", "putchar"]),
    ("fprintf", &["fwrite", "fputc"]),
    ("fputs", &["fwrite", "fputc"]),
    ("strcpy", &["stpcpy", "strlen"]),
    ("strcat", &["strlen"]),
    ("strstr", &["strncmp", "strlen", "strchr"]),
];

/// Names of the functions that LLVM may call in place of those that a module calls.
pub(crate) fn made_by_optimisation(module: &Module) -> BTreeSet<String> {
    let called = |name: &str| module.function(name).is_some_and(|f| !f.is_unused());
    let made = MADE_OF.iter().filter(|(name, _)| called(name)).flat_map(|(_, made)| *made);
    made.map(|&name| name.to_owned()).collect()
}

/// Intrinsics that become calls of the function of the same name.
const MATH: [&str; 34] = [
    "sqrt",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "tanh",
    "pow",
    "exp",
    "exp2",
    "exp10",
    "log",
    "log2",
    "log10",
    "fma",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "nearbyint",
    "round",
    "roundeven",
    "lround",
    "llround",
    "lrint",
    "llrint",
    "ldexp",
    "frexp",
    "modf",
    "fmod",
];

/// Options for the linker: what a code generator calls functions of 128-bit floating point where `long double`
/// is another type.
pub(crate) fn aliases(module: &Module) -> Vec<String> {
    let defined = |name: &str| {
        let function = module.function(name).filter(|f| !f.is_declaration());
        function.is_some_and(|f| f.linkage() == Linkage::LLVMExternalLinkage)
    };
    let operations = MATH.into_iter().chain(["fmin", "fmax"]);
    let defined = operations.filter(|operation| defined(&format!("{operation}l")));
    defined.map(|operation| format!("--defsym={operation}f128={operation}l")).collect()
}

/// Names of the functions that the intrinsics and instructions of a module may become.
pub(crate) fn called_by_intrinsics(module: &Module) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ALWAYS.iter().map(|&name| name.to_owned()).collect();
    for function in module.functions().into_iter().filter(|f| f.is_intrinsic()) {
        let name = function.name();
        let mut words = name.split('.').skip(1);
        let Some(operation) = words.next() else { continue };
        let operation = match operation {
            "minnum" | "minimumnum" => "fmin",
            "maxnum" | "maximumnum" => "fmax",
            // Without a fused instruction this is a call.
            "fmuladd" => "fma",
            other if MATH.contains(&other) => other,
            _ => continue,
        };
        let suffix = if name.contains(".f128") {
            "l"
        } else if name.contains("f32") {
            "f"
        } else {
            ""
        };
        names.insert(format!("{operation}{suffix}"));
    }
    let remainders = module
        .functions()
        .into_iter()
        .flat_map(maize_llvm::Value::instructions)
        .any(|i| i.is(maize_llvm::Opcode::LLVMFRem));
    if remainders {
        names.extend(["fmod", "fmodf", "fmodl"].map(str::to_owned));
    }
    names
}
