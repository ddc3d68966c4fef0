//! Programs without signal handlers.
//!
//! The C library calls the handlers of signals that have come before a system call returns, so every
//! call of the system may be one that a thread leaves in its middle. A program that never installs a
//! handler shall not pay for that.

use maize_llvm::Module;
use maize_xisa_metadata::address::SIGNALLED_FUNCTION;

/// The C library's functions that call handlers: only what installs one refers to them.
const CALLERS: [&str; 2] = ["__restore", "__restore_rt"];

/// Makes a whole program that installs no handler never look for one.
pub(super) fn leave_out(module: &Module) {
    let installs = CALLERS
        .iter()
        .any(|name| module.function(name).is_some_and(|f| !f.is_declaration() && !f.is_unused()));
    let Some(signalled) = module.function(SIGNALLED_FUNCTION).filter(|_| !installs) else { return };
    for call in signalled.users() {
        if call.is_call() && call.callee() == Some(signalled) {
            call.replace_with(module.i32(0));
            call.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(user: &str) -> bool {
        let text = format!(
            "declare i32 @__maize_signalled()
             define i32 @call() {{
               %r = call i32 @__maize_signalled()
               ret i32 %r
             }}
             define void @__restore_rt(ptr %p) {{ ret void }}
             {user}"
        );
        let module = Module::parse(&text).unwrap();
        leave_out(&module);
        module.verify().unwrap();
        module.text().contains("call i32 @__maize_signalled")
    }

    #[test]
    fn only_what_installs_handlers_looks_for_signals() {
        assert!(!left(""));
        assert!(left("@action = global ptr @__restore_rt"));
    }
}
