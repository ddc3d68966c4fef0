//! Attributes of functions and calls.
//!
//! Soundness: as in the crate; a kind that LLVM does not know is skipped.

use llvm_sys::core::*;
use llvm_sys::prelude::*;
use llvm_sys::{LLVMAttributeFunctionIndex, LLVMAttributeIndex, LLVMAttributeReturnIndex};

use crate::value::Value;

/// Where an attribute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the function itself.
    Function,
    /// On what it returns.
    Return,
    /// On a parameter, from zero.
    Parameter(u32),
}

impl Place {
    fn index(self) -> LLVMAttributeIndex {
        match self {
            Self::Function => LLVMAttributeFunctionIndex,
            Self::Return => LLVMAttributeReturnIndex,
            Self::Parameter(number) => number + 1,
        }
    }
}

/// An attribute, with a value if it has one.
#[derive(Clone, Copy, Debug)]
pub struct Attribute(LLVMAttributeRef);

fn kind(name: &str) -> u32 {
    // SAFETY: the name is read for its length only.
    unsafe { LLVMGetEnumAttributeKindForName(name.as_ptr().cast(), name.len()) }
}

impl<'m> Value<'m> {
    /// Adds an attribute of LLVM's own to a function.
    pub fn add_attribute(self, place: Place, name: &str, value: u64) {
        // SAFETY: see the module; an attribute lives as long as its context.
        unsafe {
            let attribute = LLVMCreateEnumAttribute(self.context(), kind(name), value);
            if self.is_function() {
                LLVMAddAttributeAtIndex(self.0, place.index(), attribute);
            } else {
                LLVMAddCallSiteAttribute(self.0, place.index(), attribute);
            }
        }
    }

    /// Adds an attribute by a string.
    pub fn add_string_attribute(self, name: &str, value: &str) {
        // SAFETY: see the module; both strings are copied.
        unsafe {
            let attribute = LLVMCreateStringAttribute(
                self.context(),
                name.as_ptr().cast(),
                name.len() as u32,
                value.as_ptr().cast(),
                value.len() as u32,
            );
            LLVMAddAttributeAtIndex(self.0, LLVMAttributeFunctionIndex, attribute);
        }
    }

    /// Removes attributes of a function or a call.
    pub fn remove_attributes(self, place: Place, names: &[&str]) {
        for name in names.iter().map(|name| kind(name)).filter(|kind| *kind != 0) {
            // SAFETY: see the module.
            unsafe {
                if self.is_function() {
                    LLVMRemoveEnumAttributeAtIndex(self.0, place.index(), name);
                } else {
                    LLVMRemoveCallSiteEnumAttribute(self.0, place.index(), name);
                }
            }
        }
    }

    /// Removes attributes by string of a function.
    pub fn remove_string_attributes(self, names: &[&str]) {
        for name in names {
            let (text, length) = (name.as_ptr().cast(), name.len() as u32);
            // SAFETY: see the module; the name is read for its length only.
            unsafe {
                LLVMRemoveStringAttributeAtIndex(self.0, LLVMAttributeFunctionIndex, text, length);
            }
        }
    }

    /// Whether a function or a call has an attribute of LLVM's own.
    #[must_use]
    pub fn has_attribute(self, place: Place, name: &str) -> bool {
        // SAFETY: see the module; null says no.
        unsafe {
            let found = if self.is_function() {
                LLVMGetEnumAttributeAtIndex(self.0, place.index(), kind(name))
            } else {
                LLVMGetCallSiteEnumAttribute(self.0, place.index(), kind(name))
            };
            !found.is_null()
        }
    }

    /// Attributes of a function or a call.
    #[must_use]
    pub fn attributes(self, place: Place) -> Vec<Attribute> {
        let index = place.index();
        // SAFETY: see the module; the vector has as many places as there are attributes.
        unsafe {
            let function = self.is_function();
            let count = if function {
                LLVMGetAttributeCountAtIndex(self.0, index)
            } else {
                LLVMGetCallSiteAttributeCount(self.0, index)
            };
            let mut found = vec![std::ptr::null_mut(); count as usize];
            if function {
                LLVMGetAttributesAtIndex(self.0, index, found.as_mut_ptr());
            } else {
                LLVMGetCallSiteAttributes(self.0, index, found.as_mut_ptr());
            }
            found.into_iter().map(Attribute).collect()
        }
    }

    /// Adds attributes of another function or call.
    pub fn add_attributes(self, place: Place, attributes: &[Attribute]) {
        for attribute in attributes {
            // SAFETY: see the module.
            unsafe {
                if self.is_function() {
                    LLVMAddAttributeAtIndex(self.0, place.index(), attribute.0);
                } else {
                    LLVMAddCallSiteAttribute(self.0, place.index(), attribute.0);
                }
            }
        }
    }
}
