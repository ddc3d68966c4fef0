//! Calls, and a few other instructions with questions of their own.
//!
//! Soundness: as for values; each question is asked of its own kind.

use llvm_sys::LLVMTailCallKind;
use llvm_sys::core::*;

use crate::{Block, Opcode, Type, Value};

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

    /// Says that a call may become a jump: it is given no address of the caller's frame.
    pub fn set_tail(self) {
        // SAFETY: asked of a call only.
        unsafe { LLVMSetTailCallKind(self.0, LLVMTailCallKind::LLVMTailCallKindTail) }
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
