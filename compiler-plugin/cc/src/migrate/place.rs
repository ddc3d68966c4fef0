//! Data at the same addresses on every instruction set.
//!
//! Each variable goes to one of three sections that begin at the same address in each ELF, in the
//! module's order. What the code generators add for themselves (constants, jump tables) stays in
//! sections of their own, which lie elsewhere.

use maize_llvm::{Linkage, Machine, Module};
use maize_xisa_metadata::address::SHARED_SECTIONS;

/// Where zeroed data goes in an object: only names that begin so take no room in the file. The
/// linker's script gives it its name.
pub const ZEROED: &str = ".bss.maize";

/// Gives every variable of the program its section.
pub(crate) fn data(module: &Module, machine: &Machine) {
    let [constants, data, _] = SHARED_SECTIONS;
    for variable in module.variables() {
        let name = variable.name();
        let own = variable.section().is_some_and(|section| section.starts_with(".rodata.resume"));
        if variable.is_declaration() || name.starts_with("llvm.") || own {
            continue;
        }
        let alignment = variable.alignment().max(machine.alignment(variable.value_type()));
        variable.set_alignment(alignment);
        let zero = variable.initializer().is_some_and(maize_llvm::Value::is_null);
        variable.set_section(match (variable.is_constant(), zero) {
            (true, _) => constants,
            (false, false) => data,
            (false, true) => ZEROED,
        });
        variable.clear_comdat();
        variable.set_address_significant();
        if variable.linkage() == Linkage::LLVMCommonLinkage {
            variable.set_linkage(Linkage::LLVMExternalLinkage);
        }
    }
}
