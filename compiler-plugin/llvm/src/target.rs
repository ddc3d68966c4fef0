//! Targets: what a pipeline optimises for, and what writes machine code.
//!
//! Soundness: a machine is never freed.

use std::path::Path;
use std::sync::Once;

use llvm_sys::support::LLVMParseCommandLineOptions;
use llvm_sys::target::*;
use llvm_sys::target_machine::*;

use crate::{LlvmError, Module, Type, c, message};

/// How much work goes into machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimisation {
    /// As little as possible.
    None,
    /// Little.
    Less,
    /// The usual.
    Usual,
    /// As much as possible.
    Most,
}

/// A target.
pub struct Machine {
    raw: LLVMTargetMachineRef,
    layout: LLVMTargetDataRef,
}

static INITIALISED: Once = Once::new();

fn initialise() {
    // SAFETY: run once; the options are static strings, and LLVM copies what it keeps.
    INITIALISED.call_once(|| unsafe {
        LLVM_InitializeAllTargetInfos();
        LLVM_InitializeAllTargets();
        LLVM_InitializeAllTargetMCs();
        LLVM_InitializeAllAsmPrinters();
        let options = [
            c"maize-cc",
            // Merging of globals would give them other addresses than on the other instruction set.
            c"-aarch64-enable-global-merge=false",
            // Unrolled loops over two strings got an addition for every access.
            c"-lsr-preferred-addressing-mode=postindexed",
        ];
        let raw = options.map(|option| option.as_ptr());
        LLVMParseCommandLineOptions(raw.len() as i32, raw.as_ptr(), std::ptr::null());
    });
}

impl Machine {
    /// The target of a triple, for a static program of the small code model.
    ///
    /// # Errors
    /// [`LlvmError::Target`] if LLVM was built without it.
    pub fn new(triple: &str, optimisation: Optimisation) -> Result<Self, LlvmError> {
        initialise();
        let (mut target, mut reason) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: strings are copied; LLVM says whether there is a target.
        unsafe {
            if LLVMGetTargetFromTriple(c(triple).as_ptr(), &mut target, &mut reason) != 0 {
                return Err(LlvmError::Target(message(reason)));
            }
            let level = match optimisation {
                Optimisation::None => LLVMCodeGenOptLevel::LLVMCodeGenLevelNone,
                Optimisation::Less => LLVMCodeGenOptLevel::LLVMCodeGenLevelLess,
                Optimisation::Usual => LLVMCodeGenOptLevel::LLVMCodeGenLevelDefault,
                Optimisation::Most => LLVMCodeGenOptLevel::LLVMCodeGenLevelAggressive,
            };
            let raw = LLVMCreateTargetMachine(
                target,
                c(triple).as_ptr(),
                c"".as_ptr(),
                c"".as_ptr(),
                level,
                LLVMRelocMode::LLVMRelocStatic,
                LLVMCodeModel::LLVMCodeModelSmall,
            );
            Ok(Self { raw, layout: LLVMCreateTargetDataLayout(raw) })
        }
    }

    pub(crate) fn raw(&self) -> LLVMTargetMachineRef {
        self.raw
    }

    /// Its data layout, as text.
    #[must_use]
    pub fn layout(&self) -> String {
        // SAFETY: the string is LLVM's to give away.
        message(unsafe { LLVMCopyStringRepOfTargetData(self.layout) })
    }

    /// Bytes from one value of a type to the next in an array.
    #[must_use]
    pub fn size(&self, kind: Type<'_>) -> u64 {
        // SAFETY: asked of sized types only.
        unsafe { LLVMABISizeOfType(self.layout, kind.0) }
    }

    /// Alignment in bytes of a type.
    #[must_use]
    pub fn alignment(&self, kind: Type<'_>) -> u64 {
        // SAFETY: asked of sized types only.
        u64::from(unsafe { LLVMABIAlignmentOfType(self.layout, kind.0) })
    }

    /// Offset in bytes of a struct's field.
    #[must_use]
    pub fn field_offset(&self, kind: Type<'_>, index: u32) -> u64 {
        // SAFETY: asked of structs only.
        unsafe { LLVMOffsetOfElement(self.layout, kind.0, index) }
    }

    /// Writes an object file.
    ///
    /// # Errors
    /// [`LlvmError::Target`] with LLVM's words.
    pub fn write_object(&self, module: &mut Module, path: &Path) -> Result<(), LlvmError> {
        let mut reason = std::ptr::null_mut();
        let file = c(&path.to_string_lossy());
        let kind = LLVMCodeGenFileType::LLVMObjectFile;
        // SAFETY: no handle is alive; the message is LLVM's to give away.
        let failed = unsafe {
            LLVMTargetMachineEmitToFile(self.raw, module.raw(), file.as_ptr(), kind, &mut reason)
        };
        if failed == 0 { Ok(()) } else { Err(LlvmError::Target(message(reason))) }
    }
}
