//! Blocks of a function.
//!
//! Soundness: as for values; lists are walked to their end without a change.

use std::marker::PhantomData;

use llvm_sys::core::*;
use llvm_sys::prelude::*;

use crate::{Opcode, Value};

/// A block of a function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Block<'m>(pub(crate) LLVMBasicBlockRef, PhantomData<&'m ()>);

impl<'m> Block<'m> {
    pub(crate) fn new(raw: LLVMBasicBlockRef) -> Self {
        Self(raw, PhantomData)
    }

    pub(crate) fn some(raw: LLVMBasicBlockRef) -> Option<Self> {
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

    /// The constants that are its address.
    #[must_use]
    pub fn addresses(self) -> Vec<Value<'m>> {
        let users = self.as_value().users();
        users.into_iter().filter(|user| user.is_block_address()).collect()
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
