//! Constructors and destructors: lists of code addresses, made into functions.
//!
//! The C library calls `__maize_constructors` before `main` and `__maize_destructors` at its end,
//! so that they are calls of the program like any other.

use maize_llvm::{Builder, Module, Value};

/// Makes the two functions, and takes the lists away.
pub(crate) fn lower(module: &Module) {
    define(module, "llvm.global_ctors", "__maize_constructors", Order::Ascending);
    define(module, "llvm.global_dtors", "__maize_destructors", Order::Descending);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

fn define(module: &Module, list: &str, name: &str, order: Order) {
    let mut entries = entries(module, list);
    entries.sort_by_key(|(priority, _)| *priority);
    if order == Order::Descending {
        entries.reverse();
    }
    let kind = module.void_type().function(&[]);
    let function = module.declare(name, kind);
    if !function.is_declaration() {
        return;
    }
    let builder = Builder::at_end(module, function.append_block("entry"));
    for (_, each) in entries {
        builder.call_typed(kind, each, &[]);
    }
    builder.ret(None);
    function.set_local();
    function.add_attribute(maize_llvm::Place::Function, "uwtable", 1);
}

fn entries<'m>(module: &'m Module, list: &str) -> Vec<(i64, Value<'m>)> {
    let Some(variable) = module.variable(list) else { return Vec::new() };
    let entries = variable.initializer().map(Value::operands).unwrap_or_default();
    variable.delete_list();
    entries
        .into_iter()
        .filter_map(|entry| {
            let fields = entry.operands();
            let function = fields.get(1).filter(|value| value.is_function())?;
            Some((fields.first()?.integer()?, *function))
        })
        .collect()
}
