//! Which functions may be on the stack when a thread moves.

use std::collections::{HashMap, HashSet};

use maize_llvm::Value;

use super::Runtime;

/// The functions from which a migration point can be reached.
pub struct Reach<'m> {
    functions: HashSet<Value<'m>>,
    indirect: bool,
}

/// Whether a function can be called through a pointer.
pub(crate) fn address_is_taken(function: Value<'_>) -> bool {
    function.users().into_iter().any(|user| {
        !user.is_call()
            || user.callee() != Some(function)
            || user.call_arguments().contains(&function)
    })
}

impl<'m> Reach<'m> {
    /// Follows calls backwards from the runtime's migration points.
    pub(crate) fn of(runtime: &Runtime<'m>, defined: &[Value<'m>]) -> Self {
        let mut callers: HashMap<Value<'m>, Vec<Value<'m>>> = HashMap::new();
        let mut callers_of_pointers = Vec::new();
        for function in defined {
            for call in function.instructions().into_iter().filter(|i| i.is_call()) {
                match call.callee() {
                    Some(callee) if callee.is_function() => {
                        callers.entry(callee).or_default().push(*function);
                    }
                    Some(callee) if callee.is_inline_asm() => {}
                    _ => callers_of_pointers.push(*function),
                }
            }
        }
        let taken: HashSet<_> =
            defined.iter().copied().filter(|function| address_is_taken(*function)).collect();
        let mut reach = Self { functions: HashSet::new(), indirect: false };
        let mut next = runtime.points().to_vec();
        while let Some(function) = next.pop() {
            if !reach.functions.insert(function) {
                continue;
            }
            next.extend(callers.get(&function).into_iter().flatten());
            if taken.contains(&function) && !reach.indirect {
                reach.indirect = true;
                next.append(&mut callers_of_pointers);
            }
        }
        reach
    }

    /// Whether a thread may move while this function is on its stack.
    #[must_use]
    pub fn may_migrate(&self, function: Value<'m>) -> bool {
        self.functions.contains(&function)
    }

    /// Whether a thread may move while this call is under way.
    #[must_use]
    pub fn call_may_migrate(&self, call: Value<'m>) -> bool {
        match call.callee() {
            Some(callee) if callee.is_inline_asm() => false,
            Some(callee) if callee.is_function() => self.may_migrate(callee),
            Some(_) => self.indirect,
            None => false,
        }
    }
}
