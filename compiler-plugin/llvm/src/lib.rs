//! The part of LLVM that the compiler uses, with handles that cannot outlive what they point to.
//!
//! A [`Module`] lives in a context that is never freed. Handles ([`Value`], [`Block`], [`Type`])
//! borrow their module, so none is alive while a pipeline of LLVM's own runs over it
//! ([`Module::run_passes`] takes `&mut self`). What a pass of ours removes is taken out of its
//! block and left alone, not freed ([`Value::remove`]): a handle that is still around points to an
//! instruction that nothing uses. That, and that LLVM hands out no null where this crate does not
//! look for one, is what makes the calls sound; operands of wrong types are a compiler bug that
//! [`Module::verify`] reports.

mod attribute;
mod block;
mod builder;
mod call;
mod global;
mod module;
mod shim;
mod target;
mod types;
mod value;

pub use attribute::{Attribute, Place};
pub use block::Block;
pub use builder::{Builder, Signed};
pub use global::CallConvention;
pub use module::{LlvmError, Module};
pub use shim::Loop;
pub use target::{Machine, Optimisation};
pub use types::{Type, TypeKind};
pub use value::{Linkage, Opcode, Predicate, Value};

use std::ffi::{CStr, CString, c_char};

/// A C string; an interior zero ends it, as it would end any name in an object file.
fn c(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// Copies a message of LLVM's and frees it.
fn message(text: *mut c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: LLVM gives a string that ends in zero and is ours to dispose of, which we do once.
    unsafe {
        let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
        llvm_sys::core::LLVMDisposeMessage(text);
        copy
    }
}
