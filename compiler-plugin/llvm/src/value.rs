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
use llvm_sys::{LLVMTailCallKind, LLVMUnnamedAddr};

use crate::{Type, c, message};

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

/// A value of a module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value<'m>(pub(crate) LLVMValueRef, PhantomData<&'m ()>);

/// A block of a function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Block<'m>(pub(crate) LLVMBasicBlockRef, PhantomData<&'m ()>);

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

/// Calls and other instructions.
impl<'m> Value<'m> {
    /// Whether it is a call, an intrinsic's included, or an invoke.
    #[must_use]
    pub fn is_call(self) -> bool {
        matches!(self.opcode(), Some(Opcode::LLVMCall | Opcode::LLVMInvoke))
    }

    /// What a call calls.
    #[must_use]
    pub fn callee(self) -> Option<Value<'m>> {
        // SAFETY: asked of calls only.
        self.is_call().then(|| unsafe { LLVMGetCalledValue(self.0) }).and_then(Value::some)
    }

    /// The function that a call names.
    #[must_use]
    pub fn called_function(self) -> Option<Value<'m>> {
        self.callee().filter(|callee| callee.is_function())
    }

    /// Type of what a call calls.
    #[must_use]
    pub fn called_type(self) -> Type<'m> {
        // SAFETY: asked of calls only.
        Type::new(unsafe { LLVMGetCalledFunctionType(self.0) })
    }

    /// Calls another function of the same type.
    pub fn set_callee(self, function: Value<'m>) {
        if let Some(index) = self.operands().len().checked_sub(1)
            && self.is(Opcode::LLVMCall)
        {
            self.set_operand(index as u32, function);
        } else if let Some(index) = self.operands().iter().position(|o| Some(*o) == self.callee()) {
            self.set_operand(index as u32, function);
        }
    }

    /// Arguments of a call.
    #[must_use]
    pub fn call_arguments(self) -> Vec<Value<'m>> {
        // SAFETY: asked of calls only; arguments are the first operands.
        let count = unsafe { LLVMGetNumArgOperands(self.0) };
        (0..count).filter_map(|index| self.operand(index)).collect()
    }

    /// Whether a call carries operand bundles.
    #[must_use]
    pub fn has_bundles(self) -> bool {
        // SAFETY: asked of calls only.
        unsafe { LLVMGetNumOperandBundles(self.0) != 0 }
    }

    /// Whether a call must become a jump.
    #[must_use]
    pub fn is_must_tail(self) -> bool {
        // SAFETY: asked of a call only, not of an invoke.
        self.is(Opcode::LLVMCall)
            && unsafe { LLVMGetTailCallKind(self.0) } == LLVMTailCallKind::LLVMTailCallKindMustTail
    }

    /// Says that a call must become a jump.
    pub fn set_must_tail(self) {
        // SAFETY: asked of a call only.
        unsafe { LLVMSetTailCallKind(self.0, LLVMTailCallKind::LLVMTailCallKindMustTail) }
    }

    /// Text of inline assembly.
    #[must_use]
    pub fn asm_text(self) -> String {
        let mut length = 0;
        // SAFETY: asked of inline assembly only; the text has the length that LLVM says.
        unsafe {
            let text = LLVMGetInlineAsmAsmString(self.0, &mut length);
            String::from_utf8_lossy(std::slice::from_raw_parts(text.cast(), length)).into_owned()
        }
    }

    /// Type of what an `alloca` makes room for.
    #[must_use]
    pub fn allocated_type(self) -> Type<'m> {
        // SAFETY: asked of an alloca only.
        Type::new(unsafe { LLVMGetAllocatedType(self.0) })
    }

    /// Incoming values of a phi with their blocks.
    #[must_use]
    pub fn incoming(self) -> Vec<(Value<'m>, Block<'m>)> {
        // SAFETY: asked of a phi only; indices stay below the count.
        unsafe {
            (0..LLVMCountIncoming(self.0))
                .map(|i| {
                    let value = Value::new(LLVMGetIncomingValue(self.0, i));
                    (value, Block::new(LLVMGetIncomingBlock(self.0, i)))
                })
                .collect()
        }
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: see the module; the string is LLVM's to give away.
        f.write_str(message(unsafe { LLVMPrintValueToString(self.0) }).trim())
    }
}

impl<'m> Block<'m> {
    pub(crate) fn new(raw: LLVMBasicBlockRef) -> Self {
        Self(raw, PhantomData)
    }

    fn some(raw: LLVMBasicBlockRef) -> Option<Self> {
        (!raw.is_null()).then(|| Self::new(raw))
    }

    /// The block as an operand.
    #[must_use]
    pub fn as_value(self) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBasicBlockAsValue(self.0) })
    }

    /// The block that an operand is.
    #[must_use]
    pub fn from_value(value: Value<'m>) -> Option<Self> {
        // SAFETY: the cast is done for blocks only.
        unsafe {
            (LLVMValueIsBasicBlock(value.0) != 0).then(|| Self::new(LLVMValueAsBasicBlock(value.0)))
        }
    }

    /// Its instructions.
    #[must_use]
    pub fn instructions(self) -> Vec<Value<'m>> {
        let mut found = Vec::new();
        // SAFETY: see the module; the list is walked to its end without a change.
        unsafe {
            let mut next = LLVMGetFirstInstruction(self.0);
            while !next.is_null() {
                found.push(Value::new(next));
                next = LLVMGetNextInstruction(next);
            }
        }
        found
    }

    /// What ends it.
    #[must_use]
    pub fn terminator(self) -> Option<Value<'m>> {
        // SAFETY: see the module.
        Value::some(unsafe { LLVMGetBasicBlockTerminator(self.0) })
    }

    /// Removes what ends it. This is the one thing that is freed: a detached jump would still count
    /// as one that leads to its target.
    pub fn drop_terminator(self) {
        if let Some(terminator) = self.terminator() {
            // SAFETY: it is in this block; a jump is no operand of anything.
            unsafe { LLVMInstructionEraseFromParent(terminator.0) }
        }
    }

    /// Its function.
    #[must_use]
    pub fn function(self) -> Value<'m> {
        // SAFETY: a block is made in a function and stays there.
        Value::new(unsafe { LLVMGetBasicBlockParent(self.0) })
    }

    /// Blocks that may run next, each once.
    #[must_use]
    pub fn successors(self) -> Vec<Block<'m>> {
        let Some(terminator) = self.terminator() else { return Vec::new() };
        // SAFETY: indices stay below the count.
        let mut blocks: Vec<_> = unsafe {
            (0..LLVMGetNumSuccessors(terminator.0))
                .map(|index| Block::new(LLVMGetSuccessor(terminator.0, index)))
                .collect()
        };
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    }

    /// Its phis.
    #[must_use]
    pub fn phis(self) -> Vec<Value<'m>> {
        self.instructions().into_iter().take_while(|i| i.is(Opcode::LLVMPHI)).collect()
    }

    /// The first instruction that is no phi and no landing pad.
    #[must_use]
    pub fn first_insertion(self) -> Option<Value<'m>> {
        self.instructions()
            .into_iter()
            .find(|i| !i.is(Opcode::LLVMPHI) && !i.is(Opcode::LLVMLandingPad))
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
