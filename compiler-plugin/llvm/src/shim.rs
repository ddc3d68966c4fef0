//! The functions of `shim.cpp`.
//!
//! Soundness: as in the crate; each vector has as many places as the shim is told.

use std::ffi::{CString, c_char, c_void};

use llvm_sys::prelude::*;

use crate::{Block, Module, Value, c};

/// A loop of a function, as LLVM sees it.
#[derive(Clone, Debug)]
pub struct Loop<'m> {
    /// Where it is entered.
    pub header: Block<'m>,
    /// Whether no loop is in it.
    pub innermost: bool,
    /// Whether the number of its rounds is known before it is entered, if only as an expression.
    pub counted: bool,
    /// Most rounds but one, if that is a known number.
    pub most: Option<u64>,
    /// Its blocks, those of inner loops included.
    pub blocks: Vec<Block<'m>>,
    /// Blocks from which it goes back to its header.
    pub latches: Vec<Block<'m>>,
}

impl<'m> Loop<'m> {
    /// The block that leads nowhere but to the loop, if it is the only one that does.
    #[must_use]
    pub fn preheader(&self) -> Option<Block<'m>> {
        let function = self.header.function();
        let leads = |block: &Block<'m>| block.successors().contains(&self.header);
        let blocks = function.blocks();
        let mut before = blocks.iter().filter(|b| !self.blocks.contains(b) && leads(b));
        let only = before.next().filter(|block| block.successors().len() == 1)?;
        before.next().is_none().then_some(*only)
    }

    /// Asks LLVM's unroller to make so many rounds one.
    pub fn mark_unrolled(&self, rounds: u32) {
        // SAFETY: the header is a block of a living module; the loop is looked up again.
        unsafe { maize_mark_unrolled(self.header.0, rounds) }
    }
}

type Visitor = extern "C" fn(
    *mut c_void,
    LLVMBasicBlockRef,
    bool,
    bool,
    u64,
    *const LLVMBasicBlockRef,
    usize,
    *const LLVMBasicBlockRef,
    usize,
);

unsafe extern "C" {
    fn maize_split_block(before: LLVMValueRef) -> LLVMBasicBlockRef;
    fn maize_clone_body(
        source: LLVMValueRef,
        target: LLVMValueRef,
        arguments: *mut LLVMValueRef,
        asked: *mut LLVMValueRef,
        count: usize,
    );
    fn maize_move_body(source: LLVMValueRef, target: LLVMValueRef);
    fn maize_link_modules(
        target: LLVMModuleRef,
        sources: *mut LLVMModuleRef,
        count: usize,
    ) -> usize;
    fn maize_set_dso_local(global: LLVMValueRef);
    fn maize_set_comdat_none(global: LLVMValueRef);
    fn maize_keep_module_flags(module: LLVMModuleRef, names: *const *const c_char, count: usize);
    fn maize_expand_constant_users(global: LLVMValueRef);
    fn maize_common_dominator(blocks: *const LLVMBasicBlockRef, count: usize) -> LLVMBasicBlockRef;
    fn maize_mark_unrolled(header: LLVMBasicBlockRef, rounds: u32);
    fn maize_visit_loops(function: LLVMValueRef, visit: Visitor, context: *mut c_void);
}

/// Links modules of one context into another of it, and says how many were taken.
///
/// # Safety
/// The sources are modules that nobody uses any more.
pub(crate) unsafe fn link_modules(target: LLVMModuleRef, sources: &mut [LLVMModuleRef]) -> usize {
    // SAFETY: the caller's promise.
    unsafe { maize_link_modules(target, sources.as_mut_ptr(), sources.len()) }
}

extern "C" fn push_loop(
    context: *mut c_void,
    header: LLVMBasicBlockRef,
    innermost: bool,
    counted: bool,
    most: u64,
    blocks: *const LLVMBasicBlockRef,
    block_count: usize,
    latches: *const LLVMBasicBlockRef,
    latch_count: usize,
) {
    // SAFETY: the context is the vector of `loops`, which waits for the visit; both arrays have the
    // lengths that the shim says.
    unsafe {
        let copy = |from: *const LLVMBasicBlockRef, count| {
            if count == 0 { &[] } else { std::slice::from_raw_parts(from, count) }
                .iter()
                .map(|block| Block::new(*block))
                .collect()
        };
        (*context.cast::<Vec<Loop<'_>>>()).push(Loop {
            header: Block::new(header),
            innermost,
            counted,
            most: (most != 0).then_some(most),
            blocks: copy(blocks, block_count),
            latches: copy(latches, latch_count),
        });
    }
}

impl<'m> Block<'m> {
    /// The nearest block that runs before any of some of one function. `None` if none of them is ever
    /// reached.
    #[must_use]
    pub fn common_dominator(blocks: &[Block<'m>]) -> Option<Block<'m>> {
        let raw: Vec<_> = blocks.iter().map(|block| block.0).collect();
        // SAFETY: blocks of a living module, as many as the shim is told, and at least one.
        let found = (!raw.is_empty())
            .then(|| unsafe { maize_common_dominator(raw.as_ptr(), raw.len()) })?;
        (!found.is_null()).then(|| Block::new(found))
    }
}

impl<'m> Value<'m> {
    /// Splits a block before this instruction; the new block has the rest and the terminator.
    pub fn split_before(self) -> Block<'m> {
        // SAFETY: see the module.
        Block::new(unsafe { maize_split_block(self.0) })
    }

    /// Clones this function's body to the end of another. `arguments` stand for the parameters; the
    /// clones of `asked` are given back in their order.
    pub fn clone_body(
        self,
        target: Value<'m>,
        arguments: &[Value<'m>],
        asked: &[Value<'m>],
    ) -> Vec<Value<'m>> {
        let mut arguments: Vec<_> = arguments.iter().map(|argument| argument.0).collect();
        let mut asked: Vec<_> = asked.iter().map(|value| value.0).collect();
        // SAFETY: there is one argument for each parameter; see the module.
        unsafe {
            maize_clone_body(
                self.0,
                target.0,
                arguments.as_mut_ptr(),
                asked.as_mut_ptr(),
                asked.len(),
            );
        }
        asked.into_iter().map(Value::new).collect()
    }

    /// Moves this function's name, body, attributes and metadata to another.
    pub fn move_body(self, target: Value<'m>) {
        // SAFETY: see the module.
        unsafe { maize_move_body(self.0, target.0) }
    }

    /// Says that a global is defined in the program itself.
    pub fn set_local(self) {
        // SAFETY: asked of globals only.
        unsafe { maize_set_dso_local(self.0) }
    }

    /// Takes a global out of its group of alternatives.
    pub fn clear_comdat(self) {
        // SAFETY: asked of functions and variables only.
        unsafe { maize_set_comdat_none(self.0) }
    }

    /// Turns the constant expressions that use a variable into instructions.
    pub fn expand_constant_users(self) {
        // SAFETY: asked of a variable only.
        unsafe { maize_expand_constant_users(self.0) }
    }

    /// Loops of a function, outer ones first.
    #[must_use]
    pub fn loops(self) -> Vec<Loop<'m>> {
        let mut found: Vec<Loop<'m>> = Vec::new();
        // SAFETY: the visitor is given the vector that it expects, which lives until the end.
        unsafe { maize_visit_loops(self.0, push_loop, (&raw mut found).cast()) };
        found
    }
}

impl Module {
    /// Drops the module's flags but those with these names.
    pub fn keep_flags(&self, names: &[&str]) {
        let owned: Vec<CString> = names.iter().map(|name| c(name)).collect();
        let raw: Vec<_> = owned.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the names live until the shim returns.
        unsafe { maize_keep_module_flags(self.raw(), raw.as_ptr(), raw.len()) }
    }
}
