//! Modules, and the constants and types of their context.
//!
//! Soundness: contexts and modules are never freed; a pipeline of LLVM's, and linking, take the
//! module mutably, when no handle is alive.

use std::path::Path;

use llvm_sys::analysis::{LLVMVerifierFailureAction, LLVMVerifyModule};
use llvm_sys::bit_reader::LLVMParseBitcodeInContext2;
use llvm_sys::bit_writer::LLVMWriteBitcodeToMemoryBuffer;
use llvm_sys::core::*;
use llvm_sys::error::{LLVMDisposeErrorMessage, LLVMGetErrorMessage};
use llvm_sys::ir_reader::LLVMParseIRInContext2;
use llvm_sys::prelude::*;
use llvm_sys::transforms::pass_builder::*;

use crate::{Linkage, Machine, Type, Value, c, message};

/// What LLVM refused, in its own words.
#[derive(Debug, thiserror::Error)]
pub enum LlvmError {
    /// Bytes that are no module.
    #[error("{name}: not LLVM bitcode of release 22")]
    Bitcode {
        /// Where they are from.
        name: String,
    },
    /// Text that is no module.
    #[error("{0}")]
    Text(String),
    /// A module that breaks LLVM's rules: a bug of ours.
    #[error("the module is broken: {0}")]
    Broken(String),
    /// Two modules that do not fit.
    #[error("{name} cannot be linked: {reason}")]
    Link {
        /// The second.
        name: String,
        /// What LLVM's linker said.
        reason: String,
    },
    /// A pipeline that LLVM does not know.
    #[error("passes `{passes}`: {reason}")]
    Passes {
        /// The pipeline.
        passes: String,
        /// Why.
        reason: String,
    },
    /// No such target, or it could not write its file.
    #[error("{0}")]
    Target(String),
}

/// A module. Modules of one [`Module::sibling`] chain share a context and can be linked.
pub struct Module {
    raw: LLVMModuleRef,
    diagnostics: *mut Vec<String>,
}

extern "C" fn on_diagnostic(info: LLVMDiagnosticInfoRef, context: *mut std::ffi::c_void) {
    use llvm_sys::LLVMDiagnosticSeverity::LLVMDSError;
    // SAFETY: the context is the leaked vector of the module's context, used by one thread; the
    // message is ours to dispose of.
    unsafe {
        if LLVMGetDiagInfoSeverity(info) == LLVMDSError {
            (*context.cast::<Vec<String>>()).push(message(LLVMGetDiagInfoDescription(info)));
        }
    }
}

impl Module {
    /// An empty module in a context of its own.
    #[must_use]
    pub fn empty(name: &str) -> Self {
        let diagnostics = Box::into_raw(Box::new(Vec::new()));
        // SAFETY: the context is new and never freed, and so is the vector that it is given.
        unsafe {
            let context = LLVMContextCreate();
            LLVMContextSetDiagnosticHandler(context, Some(on_diagnostic), diagnostics.cast());
            Self { raw: LLVMModuleCreateWithNameInContext(c(name).as_ptr(), context), diagnostics }
        }
    }

    /// Reads bitcode into a module of this one's context.
    ///
    /// # Errors
    /// [`LlvmError::Bitcode`] if it is none.
    pub fn sibling(&self, bitcode: &[u8], name: &str) -> Result<Self, LlvmError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: the buffer copies the bytes; LLVM says whether it has made a module.
        let failed = unsafe {
            let buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(
                bitcode.as_ptr().cast(),
                bitcode.len(),
                c(name).as_ptr(),
            );
            let failed = LLVMParseBitcodeInContext2(self.context(), buffer, &mut raw);
            LLVMDisposeMemoryBuffer(buffer);
            failed
        };
        self.take_diagnostics();
        if failed != 0 || raw.is_null() {
            return Err(LlvmError::Bitcode { name: name.to_owned() });
        }
        Ok(Self { raw, diagnostics: self.diagnostics })
    }

    /// Reads bitcode into a context of its own.
    ///
    /// # Errors
    /// [`LlvmError::Bitcode`] if it is none.
    pub fn read(bitcode: &[u8], name: &str) -> Result<Self, LlvmError> {
        Self::empty(name).sibling(bitcode, name)
    }

    /// Reads LLVM's assembly.
    ///
    /// # Errors
    /// [`LlvmError::Text`] with LLVM's words.
    pub fn parse(text: &str) -> Result<Self, LlvmError> {
        let empty = Self::empty("text");
        let (mut raw, mut reason) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the buffer copies the text and is disposed of once.
        let failed = unsafe {
            let buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(
                text.as_ptr().cast(),
                text.len(),
                c("text").as_ptr(),
            );
            let failed = LLVMParseIRInContext2(empty.context(), buffer, &mut raw, &mut reason);
            LLVMDisposeMemoryBuffer(buffer);
            failed
        };
        if failed != 0 {
            return Err(LlvmError::Text(message(reason)));
        }
        Ok(Self { raw, diagnostics: empty.diagnostics })
    }

    fn take_diagnostics(&self) -> Vec<String> {
        // SAFETY: the vector was leaked with the context; one thread uses both.
        unsafe { std::mem::take(&mut *self.diagnostics) }
    }

    pub(crate) fn raw(&self) -> LLVMModuleRef {
        self.raw
    }

    pub(crate) fn context(&self) -> LLVMContextRef {
        // SAFETY: see the module.
        unsafe { LLVMGetModuleContext(self.raw) }
    }

    /// As bitcode.
    #[must_use]
    pub fn bitcode(&self) -> Vec<u8> {
        // SAFETY: the buffer is read for its own length and disposed of once.
        unsafe {
            let buffer = LLVMWriteBitcodeToMemoryBuffer(self.raw);
            let start = LLVMGetBufferStart(buffer).cast::<u8>();
            let bytes = std::slice::from_raw_parts(start, LLVMGetBufferSize(buffer)).to_vec();
            LLVMDisposeMemoryBuffer(buffer);
            bytes
        }
    }

    /// As LLVM's assembly.
    #[must_use]
    pub fn text(&self) -> String {
        // SAFETY: the string is LLVM's to give away.
        message(unsafe { LLVMPrintModuleToString(self.raw) })
    }

    /// Writes LLVM's assembly to a file, for a look at what a pass has done.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_text(&self, path: &Path) -> std::io::Result<()> {
        std::fs::write(path, self.text())
    }

    /// Merges others into it, in their order.
    ///
    /// # Errors
    /// [`LlvmError::Link`] with the name of the first that does not fit, and what LLVM's linker said.
    pub fn link(&mut self, others: Vec<(Self, &str)>) -> Result<(), LlvmError> {
        let (mut raw, names): (Vec<_>, Vec<_>) =
            others.into_iter().map(|(module, name)| (module.raw, name)).unzip();
        // SAFETY: the other modules are consumed, by LLVM too.
        let taken = unsafe { crate::shim::link_modules(self.raw, &mut raw) };
        let said = self.take_diagnostics();
        match names.get(taken) {
            None => Ok(()),
            Some(name) => {
                Err(LlvmError::Link { name: (*name).to_owned(), reason: said.join("; ") })
            }
        }
    }

    /// Takes the debug information away.
    pub fn strip_debug(&mut self) {
        // SAFETY: no handle is alive, as the module is borrowed mutably.
        unsafe { llvm_sys::debuginfo::LLVMStripModuleDebugInfo(self.raw) };
    }

    /// Looks whether it keeps LLVM's rules.
    ///
    /// # Errors
    /// [`LlvmError::Broken`] with LLVM's words.
    pub fn verify(&self) -> Result<(), LlvmError> {
        let mut reason = std::ptr::null_mut();
        let action = LLVMVerifierFailureAction::LLVMReturnStatusAction;
        // SAFETY: the message is LLVM's to give away.
        let failed = unsafe { LLVMVerifyModule(self.raw, action, &mut reason) } != 0;
        let reason = message(reason);
        if failed { Err(LlvmError::Broken(reason)) } else { Ok(()) }
    }

    /// Runs a pipeline of LLVM's, written as `opt -passes` takes it.
    ///
    /// # Errors
    /// [`LlvmError::Passes`] if it is none.
    pub fn run_passes(&mut self, passes: &str, machine: &Machine) -> Result<(), LlvmError> {
        // SAFETY: no handle is alive, as the module is borrowed mutably; options and message are
        // disposed of once.
        unsafe {
            let options = LLVMCreatePassBuilderOptions();
            LLVMPassBuilderOptionsSetMergeFunctions(options, 0);
            let error = LLVMRunPasses(self.raw, c(passes).as_ptr(), machine.raw(), options);
            LLVMDisposePassBuilderOptions(options);
            if error.is_null() {
                return Ok(());
            }
            let text = LLVMGetErrorMessage(error);
            let reason = std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned();
            LLVMDisposeErrorMessage(text);
            Err(LlvmError::Passes { passes: passes.to_owned(), reason })
        }
    }

    /// Sets the target and its data layout.
    pub fn set_target(&self, triple: &str, layout: &str) {
        // SAFETY: both strings are copied.
        unsafe {
            LLVMSetTarget(self.raw, c(triple).as_ptr());
            LLVMSetDataLayout(self.raw, c(layout).as_ptr());
        }
    }

    /// Assembly outside of functions.
    #[must_use]
    pub fn module_asm(&self) -> String {
        let mut length = 0;
        // SAFETY: the text has the length that LLVM says.
        unsafe {
            let text = LLVMGetModuleInlineAsm(self.raw, &mut length);
            String::from_utf8_lossy(std::slice::from_raw_parts(text.cast(), length)).into_owned()
        }
    }

    /// Name of the source file.
    #[must_use]
    pub fn source_file(&self) -> String {
        let mut length = 0;
        // SAFETY: the name has the length that LLVM says.
        unsafe {
            let text = LLVMGetSourceFileName(self.raw, &mut length);
            String::from_utf8_lossy(std::slice::from_raw_parts(text.cast(), length)).into_owned()
        }
    }

    /// Its functions, declared ones included.
    #[must_use]
    pub fn functions(&self) -> Vec<Value<'_>> {
        // SAFETY: the list is walked to its end without a change.
        unsafe { walk(LLVMGetFirstFunction(self.raw), LLVMGetNextFunction) }
    }

    /// Its variables, declared ones included.
    #[must_use]
    pub fn variables(&self) -> Vec<Value<'_>> {
        // SAFETY: the list is walked to its end without a change.
        unsafe { walk(LLVMGetFirstGlobal(self.raw), LLVMGetNextGlobal) }
    }

    /// Its aliases.
    #[must_use]
    pub fn aliases(&self) -> Vec<Value<'_>> {
        // SAFETY: the list is walked to its end without a change.
        unsafe { walk(LLVMGetFirstGlobalAlias(self.raw), LLVMGetNextGlobalAlias) }
    }

    /// Whether it has functions that choose others at start.
    #[must_use]
    pub fn first_ifunc(&self) -> Option<Value<'_>> {
        // SAFETY: null says no.
        Value::some(unsafe { LLVMGetFirstGlobalIFunc(self.raw) })
    }

    /// A function by name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Value<'_>> {
        // SAFETY: null says no.
        Value::some(unsafe { LLVMGetNamedFunction(self.raw, c(name).as_ptr()) })
    }

    /// A variable by name.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<Value<'_>> {
        // SAFETY: null says no.
        Value::some(unsafe { LLVMGetNamedGlobal(self.raw, c(name).as_ptr()) })
    }

    /// A function of this name, declared if need be.
    pub fn declare<'m>(&'m self, name: &str, kind: Type<'m>) -> Value<'m> {
        self.function(name).unwrap_or_else(|| self.add_function(name, kind))
    }

    /// A new function.
    pub fn add_function<'m>(&'m self, name: &str, kind: Type<'m>) -> Value<'m> {
        // SAFETY: the name is copied.
        Value::new(unsafe { LLVMAddFunction(self.raw, c(name).as_ptr(), kind.0) })
    }

    /// A new variable, declared only.
    pub fn add_variable<'m>(&'m self, name: &str, kind: Type<'m>) -> Value<'m> {
        // SAFETY: the name is copied.
        Value::new(unsafe { LLVMAddGlobal(self.raw, kind.0, c(name).as_ptr()) })
    }

    /// A new constant variable.
    pub fn add_constant<'m>(&'m self, name: &str, value: Value<'m>) -> Value<'m> {
        let variable = self.add_variable(name, value.kind());
        variable.set_initializer(value);
        variable.set_constant();
        variable.set_linkage(Linkage::LLVMExternalLinkage);
        variable
    }

    /// An intrinsic, declared, overloaded on some types.
    pub fn intrinsic<'m>(&'m self, name: &str, types: &[Type<'m>]) -> Value<'m> {
        let mut raw: Vec<_> = types.iter().map(|kind| kind.0).collect();
        // SAFETY: the name is read for its length only; LLVM copies the types.
        Value::new(unsafe {
            let id = LLVMLookupIntrinsicID(name.as_ptr().cast(), name.len());
            LLVMGetIntrinsicDeclaration(self.raw, id, raw.as_mut_ptr(), raw.len())
        })
    }

    /// The integer type of so many bits.
    #[must_use]
    pub fn int_type(&self, bits: u32) -> Type<'_> {
        // SAFETY: see the module.
        Type::new(unsafe { LLVMIntTypeInContext(self.context(), bits) })
    }

    /// The type of pointers.
    #[must_use]
    pub fn pointer_type(&self) -> Type<'_> {
        // SAFETY: see the module.
        Type::new(unsafe { LLVMPointerTypeInContext(self.context(), 0) })
    }

    /// The type of nothing.
    #[must_use]
    pub fn void_type(&self) -> Type<'_> {
        // SAFETY: see the module.
        Type::new(unsafe { LLVMVoidTypeInContext(self.context()) })
    }

    /// A struct of these.
    pub fn struct_type<'m>(&'m self, fields: &[Type<'m>]) -> Type<'m> {
        let mut raw: Vec<_> = fields.iter().map(|field| field.0).collect();
        // SAFETY: LLVM copies the fields.
        Type::new(unsafe {
            LLVMStructTypeInContext(self.context(), raw.as_mut_ptr(), raw.len() as u32, 0)
        })
    }

    /// A packed struct's value.
    pub fn packed_struct<'m>(&'m self, fields: &[Value<'m>]) -> Value<'m> {
        let mut raw: Vec<_> = fields.iter().map(|field| field.0).collect();
        // SAFETY: LLVM copies the fields.
        Value::new(unsafe {
            LLVMConstStructInContext(self.context(), raw.as_mut_ptr(), raw.len() as u32, 1)
        })
    }

    /// An array's value.
    pub fn array<'m>(&'m self, kind: Type<'m>, elements: &[Value<'m>]) -> Value<'m> {
        let mut raw: Vec<_> = elements.iter().map(|element| element.0).collect();
        // SAFETY: LLVM copies the elements.
        Value::new(unsafe { LLVMConstArray2(kind.0, raw.as_mut_ptr(), raw.len() as u64) })
    }

    /// A 64-bit number.
    #[must_use]
    pub fn i64(&self, value: i64) -> Value<'_> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMConstInt(self.int_type(64).0, value as u64, 1) })
    }

    /// An 8-bit number.
    #[must_use]
    pub fn i8(&self, value: u8) -> Value<'_> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMConstInt(self.int_type(8).0, u64::from(value), 0) })
    }

    /// A 32-bit number.
    #[must_use]
    pub fn i32(&self, value: u32) -> Value<'_> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMConstInt(self.int_type(32).0, u64::from(value), 0) })
    }

    /// All zero bits of a type.
    pub fn zero<'m>(&'m self, kind: Type<'m>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMConstNull(kind.0) })
    }

    /// Poison of a type.
    pub fn poison<'m>(&'m self, kind: Type<'m>) -> Value<'m> {
        // SAFETY: see the module.
        Value::new(unsafe { LLVMGetPoison(kind.0) })
    }

    /// Says that a branch's first way is hardly ever taken.
    pub fn mark_unlikely(&self, branch: Value<'_>) {
        // SAFETY: kind and strings are read for their lengths; nodes live with the context.
        unsafe {
            let context = self.context();
            let text = |s: &str| LLVMMDStringInContext2(context, s.as_ptr().cast(), s.len());
            let number = |n: u32| LLVMValueAsMetadata(self.i32(n).0);
            let mut parts = [text("branch_weights"), number(1), number(1 << 20)];
            let node = LLVMMDNodeInContext2(context, parts.as_mut_ptr(), parts.len());
            let kind = LLVMGetMDKindIDInContext(context, c("prof").as_ptr(), 4);
            LLVMSetMetadata(branch.0, kind, LLVMMetadataAsValue(context, node));
        }
    }
}

unsafe fn walk<'m>(
    first: LLVMValueRef,
    next: unsafe extern "C" fn(LLVMValueRef) -> LLVMValueRef,
) -> Vec<Value<'m>> {
    let mut found = Vec::new();
    let mut at = first;
    while !at.is_null() {
        found.push(Value::new(at));
        // SAFETY: the caller pairs the list with its own step.
        at = unsafe { next(at) };
    }
    found
}
