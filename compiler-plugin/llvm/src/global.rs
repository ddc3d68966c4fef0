//! Functions, variables and aliases.
//!
//! Soundness: as for values; each question is asked of its own kind.

use llvm_sys::LLVMUnnamedAddr;
use llvm_sys::core::*;

use crate::{Block, Linkage, Type, Value, c};

/// How arguments are passed and registers kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallConvention {
    /// C's.
    C,
    /// C's, but the callee keeps nearly every register.
    PreserveAll,
}

impl CallConvention {
    fn number(self) -> u32 {
        match self {
            Self::C => 0,
            Self::PreserveAll => 15,
        }
    }
}

/// Functions.
impl<'m> Value<'m> {
    /// Its type as a function, or a variable's type.
    #[must_use]
    pub fn value_type(self) -> Type<'m> {
        // SAFETY: asked of globals only.
        Type::new(unsafe { LLVMGlobalGetValueType(self.0) })
    }

    /// Whether it is only declared here.
    #[must_use]
    pub fn is_declaration(self) -> bool {
        // SAFETY: asked of globals only.
        unsafe { LLVMIsDeclaration(self.0) != 0 }
    }

    /// Whether a function is an intrinsic.
    #[must_use]
    pub fn is_intrinsic(self) -> bool {
        // SAFETY: asked of a function only.
        self.is_function() && unsafe { LLVMGetIntrinsicID(self.0) != 0 }
    }

    /// Arguments of a function.
    #[must_use]
    pub fn arguments(self) -> Vec<Value<'m>> {
        // SAFETY: the vector has as many places as there are arguments.
        unsafe {
            let mut arguments = vec![std::ptr::null_mut(); LLVMCountParams(self.0) as usize];
            LLVMGetParams(self.0, arguments.as_mut_ptr());
            arguments.into_iter().map(Value::new).collect()
        }
    }

    /// Blocks of a function.
    #[must_use]
    pub fn blocks(self) -> Vec<Block<'m>> {
        // SAFETY: the vector has as many places as there are blocks.
        unsafe {
            let mut blocks = vec![std::ptr::null_mut(); LLVMCountBasicBlocks(self.0) as usize];
            LLVMGetBasicBlocks(self.0, blocks.as_mut_ptr());
            blocks.into_iter().map(Block::new).collect()
        }
    }

    /// Instructions of a function.
    #[must_use]
    pub fn instructions(self) -> Vec<Value<'m>> {
        self.blocks().into_iter().flat_map(Block::instructions).collect()
    }

    /// A new block at the end of a function.
    #[must_use]
    pub fn append_block(self, name: &str) -> Block<'m> {
        // SAFETY: asked of a function only; the name is copied.
        Block::new(unsafe {
            LLVMAppendBasicBlockInContext(self.context(), self.0, c(name).as_ptr())
        })
    }

    /// Gives a function its personality, unless it has one.
    pub fn set_personality(self, personality: Value<'m>) {
        // SAFETY: asked of a function only.
        unsafe {
            if LLVMHasPersonalityFn(self.0) == 0 {
                LLVMSetPersonalityFn(self.0, personality.0);
            }
        }
    }

    /// Sets how it is called: of a function, or of a call.
    pub fn set_convention(self, convention: CallConvention) {
        // SAFETY: each is asked of its own kind.
        unsafe {
            if self.is_function() {
                LLVMSetFunctionCallConv(self.0, convention.number());
            } else {
                LLVMSetInstructionCallConv(self.0, convention.number());
            }
        }
    }

    /// Calls as another does.
    pub fn copy_convention(self, other: Value<'m>) {
        // SAFETY: each is asked of its own kind.
        unsafe {
            let number = if other.is_function() {
                LLVMGetFunctionCallConv(other.0)
            } else {
                LLVMGetInstructionCallConv(other.0)
            };
            if self.is_function() {
                LLVMSetFunctionCallConv(self.0, number);
            } else {
                LLVMSetInstructionCallConv(self.0, number);
            }
        }
    }
}

/// Globals.
impl<'m> Value<'m> {
    /// Linkage of a global.
    #[must_use]
    pub fn linkage(self) -> Linkage {
        // SAFETY: asked of globals only.
        unsafe { LLVMGetLinkage(self.0) }
    }

    /// Sets the linkage of a global.
    pub fn set_linkage(self, linkage: Linkage) {
        // SAFETY: asked of globals only.
        unsafe { LLVMSetLinkage(self.0, linkage) }
    }

    /// Section of a global, if it asks for one.
    #[must_use]
    pub fn section(self) -> Option<String> {
        // SAFETY: asked of globals only; LLVM gives null or a string that ends in zero.
        unsafe {
            let text = LLVMGetSection(self.0);
            (!text.is_null() && *text != 0)
                .then(|| std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    }

    /// Puts a global into a section.
    pub fn set_section(self, section: &str) {
        // SAFETY: asked of globals only; the name is copied.
        unsafe { LLVMSetSection(self.0, c(section).as_ptr()) }
    }

    /// Says that nobody else may merge it: its address matters.
    pub fn set_address_significant(self) {
        // SAFETY: asked of globals only.
        unsafe { LLVMSetUnnamedAddress(self.0, LLVMUnnamedAddr::LLVMNoUnnamedAddr) }
    }

    /// Initial value of a variable.
    #[must_use]
    pub fn initializer(self) -> Option<Value<'m>> {
        // SAFETY: asked of a variable only.
        self.is_variable().then(|| unsafe { LLVMGetInitializer(self.0) }).and_then(Value::some)
    }

    /// Gives a variable its initial value.
    pub fn set_initializer(self, value: Value<'m>) {
        // SAFETY: asked of a variable only.
        unsafe { LLVMSetInitializer(self.0, value.0) }
    }

    /// Whether each thread has its own.
    #[must_use]
    pub fn is_thread_local(self) -> bool {
        // SAFETY: asked of a variable only.
        self.is_variable() && unsafe { LLVMIsThreadLocal(self.0) != 0 }
    }

    /// Whether a variable never changes.
    #[must_use]
    pub fn is_constant(self) -> bool {
        // SAFETY: asked of a variable only.
        self.is_variable() && unsafe { LLVMIsGlobalConstant(self.0) != 0 }
    }

    /// Says that a variable never changes.
    pub fn set_constant(self) {
        // SAFETY: asked of a variable only.
        unsafe { LLVMSetGlobalConstant(self.0, 1) }
    }

    /// What an alias stands for.
    #[must_use]
    pub fn aliasee(self) -> Option<Value<'m>> {
        // SAFETY: asked of an alias only.
        self.is_alias().then(|| unsafe { LLVMAliasGetAliasee(self.0) }).and_then(Value::some)
    }
}

/// Lists that LLVM itself reads.
impl Value<'_> {
    /// Empties a list such as `llvm.global_ctors`: the code generators no longer see it.
    pub fn delete_list(self) {
        // SAFETY: asked of a variable only; an empty declaration that nothing uses stays behind.
        unsafe {
            LLVMSetInitializer(self.0, std::ptr::null_mut());
            LLVMSetLinkage(self.0, Linkage::LLVMExternalLinkage);
            LLVMSetValueName2(self.0, c"".as_ptr(), 0);
        }
    }
}
