//! Makes instructions.
//!
//! Soundness: operands are handles of a living module; their types are what the caller asked for,
//! and `Module::verify` looks at them again.

use llvm_sys::core::*;
use llvm_sys::prelude::*;

use crate::value::Predicate;
use crate::{Block, Module, Opcode, Type, Value, c};

/// Makes instructions at one place.
pub struct Builder<'m> {
    raw: LLVMBuilderRef,
    module: &'m Module,
}

impl Drop for Builder<'_> {
    fn drop(&mut self) {
        // SAFETY: made in `new`, disposed of once.
        unsafe { LLVMDisposeBuilder(self.raw) }
    }
}

impl<'m> Builder<'m> {
    fn new(module: &'m Module) -> Self {
        // SAFETY: the context is never freed.
        Self { raw: unsafe { LLVMCreateBuilderInContext(module.context()) }, module }
    }

    /// Before an instruction.
    #[must_use]
    pub fn before(module: &'m Module, instruction: Value<'m>) -> Self {
        let builder = Self::new(module);
        // SAFETY: see the module. What is made has no place in the source of its own.
        unsafe {
            LLVMPositionBuilderBefore(builder.raw, instruction.0);
            LLVMSetCurrentDebugLocation2(builder.raw, std::ptr::null_mut());
        }
        builder
    }

    /// At the end of a block.
    #[must_use]
    pub fn at_end(module: &'m Module, block: Block<'m>) -> Self {
        let builder = Self::new(module);
        // SAFETY: see the module.
        unsafe { LLVMPositionBuilderAtEnd(builder.raw, block.0) };
        builder
    }

    /// After an instruction that does not end its block.
    #[must_use]
    pub fn after(module: &'m Module, instruction: Value<'m>) -> Self {
        match (instruction.next(), instruction.block()) {
            (Some(next), _) => Self::before(module, next),
            (None, Some(block)) => Self::at_end(module, block),
            (None, None) => Self::new(module),
        }
    }

    /// Makes instructions at another block's end from now on.
    pub fn move_to_end(&self, block: Block<'m>) {
        // SAFETY: see the module.
        unsafe { LLVMPositionBuilderAtEnd(self.raw, block.0) }
    }

    /// Puts an instruction that is in no block here.
    pub fn insert(&self, instruction: Value<'m>) -> Value<'m> {
        // SAFETY: see the module.
        unsafe { LLVMInsertIntoBuilder(self.raw, instruction.0) };
        instruction
    }

    /// The address of a byte at a distance.
    pub fn offset(&self, pointer: Value<'m>, bytes: i64) -> Value<'m> {
        if bytes == 0 { pointer } else { self.index(pointer, self.module.i64(bytes)) }
    }

    /// The address of a byte at a distance that is a value.
    pub fn index(&self, pointer: Value<'m>, bytes: Value<'m>) -> Value<'m> {
        let byte = self.module.int_type(8);
        let mut indices = [bytes.0];
        // SAFETY: see the module.
        Value::new(unsafe {
            LLVMBuildInBoundsGEP2(
                self.raw,
                byte.0,
                pointer.0,
                indices.as_mut_ptr(),
                1,
                c("").as_ptr(),
            )
        })
    }

    /// Reads memory.
    pub fn load(&self, kind: Type<'m>, pointer: Value<'m>, name: &str) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildLoad2(self.raw, kind.0, pointer.0, c(name).as_ptr()) })
    }

    /// Writes memory.
    pub fn store(&self, value: Value<'m>, pointer: Value<'m>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildStore(self.raw, value.0, pointer.0) })
    }

    /// Makes room on the native stack.
    pub fn alloca(&self, kind: Type<'m>, name: &str) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildAlloca(self.raw, kind.0, c(name).as_ptr()) })
    }

    /// Calls a function of this type.
    pub fn call_typed(
        &self,
        kind: Type<'m>,
        callee: Value<'m>,
        arguments: &[Value<'m>],
    ) -> Value<'m> {
        let mut raw: Vec<_> = arguments.iter().map(|argument| argument.0).collect();
        let count = raw.len() as u32;
        // SAFETY: see the module.
        Value::new(unsafe {
            LLVMBuildCall2(self.raw, kind.0, callee.0, raw.as_mut_ptr(), count, c("").as_ptr())
        })
    }

    /// Calls a function.
    pub fn call(&self, function: Value<'m>, arguments: &[Value<'m>]) -> Value<'m> {
        self.call_typed(function.value_type(), function, arguments)
    }

    /// Calls, and goes on in one of two blocks.
    pub fn invoke(
        &self,
        kind: Type<'m>,
        callee: Value<'m>,
        arguments: &[Value<'m>],
        normal: Block<'m>,
        unwind: Block<'m>,
    ) -> Value<'m> {
        let mut raw: Vec<_> = arguments.iter().map(|argument| argument.0).collect();
        let count = raw.len() as u32;
        // SAFETY: see the module.
        Value::new(unsafe {
            LLVMBuildInvoke2(
                self.raw,
                kind.0,
                callee.0,
                raw.as_mut_ptr(),
                count,
                normal.0,
                unwind.0,
                c("").as_ptr(),
            )
        })
    }

    /// Calls an intrinsic by name, overloaded on some types.
    pub fn intrinsic(&self, name: &str, types: &[Type<'m>], arguments: &[Value<'m>]) -> Value<'m> {
        self.call(self.module.intrinsic(name, types), arguments)
    }

    /// A landing pad that catches nothing and cleans up.
    pub fn cleanup_pad(&self, kind: Type<'m>) -> Value<'m> {
        // SAFETY: see the module; a personality is given to the function, not here.
        unsafe {
            let pad =
                LLVMBuildLandingPad(self.raw, kind.0, std::ptr::null_mut(), 0, c("").as_ptr());
            LLVMSetCleanup(pad, 1);
            Value::new(pad)
        }
    }

    /// Goes to a block.
    pub fn branch(&self, block: Block<'m>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildBr(self.raw, block.0) })
    }

    /// Goes to one of two blocks.
    pub fn branch_if(&self, condition: Value<'m>, then: Block<'m>, or: Block<'m>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildCondBr(self.raw, condition.0, then.0, or.0) })
    }

    /// Goes to the block of a number.
    pub fn switch(&self, value: Value<'m>, other: Block<'m>, cases: &[(Value<'m>, Block<'m>)]) {
        // SAFETY: see the module.
        unsafe {
            let switch = LLVMBuildSwitch(self.raw, value.0, other.0, cases.len() as u32);
            for (number, block) in cases {
                LLVMAddCase(switch, number.0, block.0);
            }
        }
    }

    /// Returns.
    pub fn ret(&self, value: Option<Value<'m>>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe {
            match value {
                Some(value) => LLVMBuildRet(self.raw, value.0),
                None => LLVMBuildRetVoid(self.raw),
            }
        })
    }

    /// Says that this is never reached.
    pub fn unreachable(&self) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildUnreachable(self.raw) })
    }

    /// Compares integers or pointers.
    pub fn compare(&self, how: Predicate, left: Value<'m>, right: Value<'m>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildICmp(self.raw, how, left.0, right.0, c("").as_ptr()) })
    }

    /// Computes from two operands.
    pub fn binary(&self, opcode: Opcode, left: Value<'m>, right: Value<'m>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildBinOp(self.raw, opcode, left.0, right.0, c("").as_ptr()) })
    }

    /// Converts between integers.
    pub fn resize(&self, value: Value<'m>, kind: Type<'m>, signed: Signed) -> Value<'m> {
        let signed = i32::from(signed == Signed::Yes);
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildIntCast2(self.raw, value.0, kind.0, signed, c("").as_ptr()) })
    }

    /// The address that a pointer holds.
    pub fn integer_of_pointer(&self, pointer: Value<'m>, kind: Type<'m>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildPtrToInt(self.raw, pointer.0, kind.0, c("").as_ptr()) })
    }

    /// A value that is anything, but always the same.
    pub fn frozen_poison(&self, kind: Type<'m>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildFreeze(self.raw, LLVMGetPoison(kind.0), c("").as_ptr()) })
    }

    /// A part of an aggregate.
    pub fn extract(&self, aggregate: Value<'m>, index: u32) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMBuildExtractValue(self.raw, aggregate.0, index, c("").as_ptr()) })
    }

    /// An aggregate with one part replaced.
    pub fn replace_part(&self, aggregate: Value<'m>, part: Value<'m>, index: u32) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe {
            LLVMBuildInsertValue(self.raw, aggregate.0, part.0, index, c("").as_ptr())
        })
    }
}

/// Whether an integer is extended by its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// By its sign.
    Yes,
    /// By zeros.
    No,
}
