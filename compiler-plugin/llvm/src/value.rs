//! Values: constants, globals, functions, arguments and instructions; and blocks.
//!
//! Soundness: a handle borrows its module, and what is removed is never freed (see the crate), so a
//! handle always points to a value. Questions that LLVM answers only for some kinds of values are
//! asked of those only.

use std::marker::PhantomData;

pub use llvm_sys::LLVMIntPredicate as Predicate;
pub use llvm_sys::LLVMLinkage as Linkage;
pub use llvm_sys::LLVMOpcode as Opcode;
use llvm_sys::core::*;
use llvm_sys::debuginfo::*;
use llvm_sys::prelude::*;

use crate::{Block, Type, message};

/// A value of a module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value<'m>(pub(crate) LLVMValueRef, PhantomData<&'m ()>);

/// `is_*` questions that LLVM answers by a cast.
macro_rules! is {
    ($($(#[$doc:meta])* $name:ident $cast:ident;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(self) -> bool {
            // SAFETY: see the module.
            unsafe { !$cast(self.0).is_null() }
        }
    )*};
}

impl<'m> Value<'m> {
    pub(crate) fn new(raw: LLVMValueRef) -> Self {
        Self(raw, PhantomData)
    }

    pub(crate) fn some(raw: LLVMValueRef) -> Option<Self> {
        (!raw.is_null()).then(|| Self::new(raw))
    }

    pub(crate) fn context(self) -> LLVMContextRef {
        // SAFETY: see the module.
        unsafe { LLVMGetValueContext(self.0) }
    }

    is! {
        /// Whether it is a function.
        is_function LLVMIsAFunction;
        /// Whether it is an instruction.
        is_instruction LLVMIsAInstruction;
        /// Whether it is a function's argument.
        is_argument LLVMIsAArgument;
        /// Whether it is a global variable.
        is_variable LLVMIsAGlobalVariable;
        /// Whether it is an alias of a global.
        is_alias LLVMIsAGlobalAlias;
        /// Whether it is inline assembly.
        is_inline_asm LLVMIsAInlineAsm;
        /// Whether it is a number that is known.
        is_constant_integer LLVMIsAConstantInt;
        /// Whether it calls an intrinsic.
        is_intrinsic_call LLVMIsAIntrinsicInst;
        /// Whether it is a cast.
        is_cast LLVMIsACastInst;
        /// Whether it computes from two operands.
        is_binary LLVMIsABinaryOperator;
        /// Whether it is the address of a block.
        is_block_address LLVMIsABlockAddress;
        /// Whether it ends a block.
        is_terminator LLVMIsATerminatorInst;
    }

    /// Its type.
    #[must_use]
    pub fn kind(self) -> Type<'m> {
        // SAFETY: see the module.
        Type::new(unsafe { LLVMTypeOf(self.0) })
    }

    /// Its name, empty for many.
    #[must_use]
    pub fn name(self) -> String {
        let mut length = 0;
        // SAFETY: see the module; the name has the length that LLVM says.
        unsafe {
            let text = LLVMGetValueName2(self.0, &mut length);
            String::from_utf8_lossy(std::slice::from_raw_parts(text.cast(), length)).into_owned()
        }
    }

    /// Names it; LLVM adds a number to a name that is taken.
    pub fn set_name(self, name: &str) {
        // SAFETY: see the module; the name is copied.
        unsafe { LLVMSetValueName2(self.0, name.as_ptr().cast(), name.len()) }
    }

    /// A number that is known, sign-extended.
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        // SAFETY: asked of an integer constant only.
        self.is_constant_integer().then(|| unsafe { LLVMConstIntGetSExtValue(self.0) })
    }

    /// The constant pointer whose address is this constant number.
    #[must_use]
    pub fn as_pointer(self, kind: Type<'m>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMConstIntToPtr(self.0, kind.0) })
    }

    /// Whether it is all zero bits.
    #[must_use]
    pub fn is_null(self) -> bool {
        // SAFETY: see the module.
        unsafe { LLVMIsNull(self.0) != 0 }
    }

    /// The instruction's operation.
    #[must_use]
    pub fn opcode(self) -> Option<Opcode> {
        // SAFETY: asked of an instruction only.
        self.is_instruction().then(|| unsafe { LLVMGetInstructionOpcode(self.0) })
    }

    /// Whether it is an instruction of this operation.
    #[must_use]
    pub fn is(self, opcode: Opcode) -> bool {
        self.opcode() == Some(opcode)
    }

    /// Operands of an instruction or a constant.
    #[must_use]
    pub fn operands(self) -> Vec<Value<'m>> {
        // SAFETY: indices stay below the count.
        unsafe {
            let count = LLVMGetNumOperands(self.0).max(0) as u32;
            (0..count).filter_map(|index| Value::some(LLVMGetOperand(self.0, index))).collect()
        }
    }

    /// One operand.
    #[must_use]
    pub fn operand(self, index: u32) -> Option<Value<'m>> {
        // SAFETY: the index is below the count.
        unsafe {
            let count = LLVMGetNumOperands(self.0).max(0) as u32;
            (index < count).then(|| LLVMGetOperand(self.0, index)).and_then(Value::some)
        }
    }

    /// Sets an operand of an instruction.
    pub fn set_operand(self, index: u32, value: Value<'m>) {
        // SAFETY: an index that is out of range is skipped.
        unsafe {
            if index < LLVMGetNumOperands(self.0).max(0) as u32 {
                LLVMSetOperand(self.0, index, value.0);
            }
        }
    }

    /// Replaces every operand of this instruction that is `old`.
    pub fn replace_operand(self, old: Value<'m>, new: Value<'m>) {
        // SAFETY: indices stay below the count.
        unsafe {
            for index in 0..LLVMGetNumOperands(self.0).max(0) as u32 {
                if LLVMGetOperand(self.0, index) == old.0 {
                    LLVMSetOperand(self.0, index, new.0);
                }
            }
        }
    }

    /// Who uses it, once per use.
    #[must_use]
    pub fn users(self) -> Vec<Value<'m>> {
        let mut users = Vec::new();
        // SAFETY: see the module; the list is walked to its end without a change.
        unsafe {
            let mut next = LLVMGetFirstUse(self.0);
            while !next.is_null() {
                users.push(Value::new(LLVMGetUser(next)));
                next = LLVMGetNextUse(next);
            }
        }
        users
    }

    /// Whether nobody uses it.
    #[must_use]
    pub fn is_unused(self) -> bool {
        // SAFETY: see the module.
        unsafe { LLVMGetFirstUse(self.0).is_null() }
    }

    /// Puts another value in its place everywhere.
    pub fn replace_with(self, other: Value<'m>) {
        // SAFETY: see the module.
        unsafe { LLVMReplaceAllUsesWith(self.0, other.0) }
    }

    /// Takes an instruction that ends no block out of it. It is not freed, and uses nothing any
    /// more.
    pub fn remove(self) {
        if self.is_terminator() || self.block().is_none() {
            return;
        }
        // SAFETY: see the module; it has no block among its operands, as it ends none.
        unsafe {
            if LLVMTypeOf(self.0) != LLVMVoidTypeInContext(self.context()) {
                LLVMReplaceAllUsesWith(self.0, LLVMGetPoison(LLVMTypeOf(self.0)));
            }
            LLVMInstructionRemoveFromParent(self.0);
            LLVMDropAllReferencesOf(self);
        }
    }

    /// Its block.
    #[must_use]
    pub fn block(self) -> Option<Block<'m>> {
        // SAFETY: asked of an instruction only; null says that it is in none.
        self.is_instruction()
            .then(|| unsafe { LLVMGetInstructionParent(self.0) })
            .and_then(Block::some)
    }

    /// The next instruction of its block.
    #[must_use]
    pub fn next(self) -> Option<Value<'m>> {
        // SAFETY: see the module.
        Value::some(unsafe { LLVMGetNextInstruction(self.0) })
    }

    /// A copy of an instruction, in no block yet.
    #[must_use]
    pub fn duplicate(self) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMInstructionClone(self.0) })
    }

    /// Takes the place in the source from another instruction.
    pub fn copy_location(self, other: Value<'m>) {
        // SAFETY: see the module; null means none.
        unsafe { LLVMInstructionSetDebugLoc(self.0, LLVMInstructionGetDebugLoc(other.0)) }
    }

    /// Takes its place in the source away.
    pub fn clear_location(self) {
        // SAFETY: see the module.
        unsafe { LLVMInstructionSetDebugLoc(self.0, std::ptr::null_mut()) }
    }

    /// Line and column in the source of an instruction.
    #[must_use]
    pub fn location(self) -> Option<(u32, u32)> {
        if !self.is_instruction() {
            return None;
        }
        // SAFETY: asked of an instruction only.
        let (line, column) =
            unsafe { (LLVMGetDebugLocLine(self.0), LLVMGetDebugLocColumn(self.0)) };
        (line != 0).then_some((line, column))
    }

    /// Source file of an instruction, function or variable with debug information.
    #[must_use]
    pub fn file(self) -> Option<String> {
        let mut length = 0;
        // SAFETY: see the module; the name has the length that LLVM says.
        unsafe {
            if self.is_instruction() && LLVMInstructionGetDebugLoc(self.0).is_null() {
                return None;
            }
            let text = LLVMGetDebugLocFilename(self.0, &mut length);
            if text.is_null() || length == 0 {
                return None;
            }
            let bytes = std::slice::from_raw_parts(text.cast(), length as usize);
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    }

    /// Alignment in bytes of a variable, function, or access to memory; zero if none is given.
    #[must_use]
    pub fn alignment(self) -> u64 {
        // SAFETY: LLVM looks at the kinds that have one.
        u64::from(unsafe { LLVMGetAlignment(self.0) })
    }

    /// Sets the alignment in bytes.
    pub fn set_alignment(self, bytes: u64) {
        // SAFETY: see the module.
        unsafe { LLVMSetAlignment(self.0, bytes as u32) }
    }

    /// Makes an access to memory volatile.
    pub fn set_volatile(self) {
        // SAFETY: see the module.
        unsafe { LLVMSetVolatile(self.0, 1) }
    }
}

/// Sets every operand that is not a block to poison.
#[allow(non_snake_case, reason = "what LLVM calls dropAllReferences, which its C interface lacks")]
unsafe fn LLVMDropAllReferencesOf(value: Value<'_>) {
    // SAFETY: indices stay below the count; blocks are told by their kind.
    unsafe {
        for index in 0..LLVMGetNumOperands(value.0).max(0) as u32 {
            let operand = LLVMGetOperand(value.0, index);
            if !operand.is_null() && LLVMValueIsBasicBlock(operand) == 0 {
                LLVMSetOperand(value.0, index, LLVMGetPoison(LLVMTypeOf(operand)));
            }
        }
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: see the module; the string is LLVM's to give away.
        f.write_str(message(unsafe { LLVMPrintValueToString(self.0) }).trim())
    }
}
