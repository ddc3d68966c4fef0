//! Types.
//!
//! Soundness: a type lives as long as its context, which is never freed; array lengths come from
//! LLVM itself.

use std::marker::PhantomData;

use llvm_sys::LLVMTypeKind;
use llvm_sys::core::*;
use llvm_sys::prelude::*;

use crate::message;

/// A type of a module's context.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Type<'m>(pub(crate) LLVMTypeRef, PhantomData<&'m ()>);

/// What kind of type it is, as far as anybody asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "LLVM's own names")]
pub enum TypeKind {
    Void,
    Integer(u32),
    Float,
    Double,
    Quad,
    X87,
    Pointer,
    Vector,
    Struct,
    Array,
    Function,
    Other,
}

impl<'m> Type<'m> {
    pub(crate) fn new(raw: LLVMTypeRef) -> Self {
        Self(raw, PhantomData)
    }

    /// Its kind.
    #[must_use]
    pub fn kind(self) -> TypeKind {
        use LLVMTypeKind as K;
        // SAFETY: see the module; the width is asked of an integer only.
        unsafe {
            match LLVMGetTypeKind(self.0) {
                K::LLVMVoidTypeKind => TypeKind::Void,
                K::LLVMIntegerTypeKind => TypeKind::Integer(LLVMGetIntTypeWidth(self.0)),
                K::LLVMFloatTypeKind => TypeKind::Float,
                K::LLVMDoubleTypeKind => TypeKind::Double,
                K::LLVMFP128TypeKind => TypeKind::Quad,
                K::LLVMX86_FP80TypeKind => TypeKind::X87,
                K::LLVMPointerTypeKind => TypeKind::Pointer,
                K::LLVMVectorTypeKind => TypeKind::Vector,
                K::LLVMStructTypeKind => TypeKind::Struct,
                K::LLVMArrayTypeKind => TypeKind::Array,
                K::LLVMFunctionTypeKind => TypeKind::Function,
                _ => TypeKind::Other,
            }
        }
    }

    /// Fields of a struct.
    #[must_use]
    pub fn fields(self) -> Vec<Type<'m>> {
        // SAFETY: see the module; the vector has as many places as there are fields.
        unsafe {
            let count = LLVMCountStructElementTypes(self.0) as usize;
            let mut fields = vec![std::ptr::null_mut(); count];
            LLVMGetStructElementTypes(self.0, fields.as_mut_ptr());
            fields.into_iter().map(Type::new).collect()
        }
    }

    /// Element of an array or a vector.
    #[must_use]
    pub fn element(self) -> Type<'m> {
        // SAFETY: see the module.
        Type::new(unsafe { LLVMGetElementType(self.0) })
    }

    /// Elements of an array or a fixed vector.
    #[must_use]
    pub fn length(self) -> u64 {
        // SAFETY: see the module; each question is asked of its own kind.
        unsafe {
            match self.kind() {
                TypeKind::Vector => u64::from(LLVMGetVectorSize(self.0)),
                TypeKind::Array => LLVMGetArrayLength2(self.0),
                _ => 0,
            }
        }
    }

    /// Parameters of a function type.
    #[must_use]
    pub fn parameters(self) -> Vec<Type<'m>> {
        // SAFETY: see the module; the vector has as many places as there are parameters.
        unsafe {
            let count = LLVMCountParamTypes(self.0) as usize;
            let mut parameters = vec![std::ptr::null_mut(); count];
            LLVMGetParamTypes(self.0, parameters.as_mut_ptr());
            parameters.into_iter().map(Type::new).collect()
        }
    }

    /// What a function type returns.
    #[must_use]
    pub fn returned(self) -> Type<'m> {
        // SAFETY: see the module.
        Type::new(unsafe { LLVMGetReturnType(self.0) })
    }

    /// Whether a function type takes any number of arguments.
    #[must_use]
    pub fn is_variadic(self) -> bool {
        // SAFETY: see the module.
        unsafe { LLVMIsFunctionVarArg(self.0) != 0 }
    }

    /// A function type that returns `self`.
    #[must_use]
    pub fn function(self, parameters: &[Type<'m>]) -> Type<'m> {
        let mut raw: Vec<_> = parameters.iter().map(|parameter| parameter.0).collect();
        // SAFETY: see the module; LLVM copies the parameters.
        Type::new(unsafe { LLVMFunctionType(self.0, raw.as_mut_ptr(), raw.len() as u32, 0) })
    }

    /// An array of this.
    #[must_use]
    pub fn array(self, length: u64) -> Type<'m> {
        // SAFETY: see the module.
        Type::new(unsafe { LLVMArrayType2(self.0, length) })
    }
}

impl std::fmt::Display for Type<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: see the module; the string is LLVM's to give away.
        f.write_str(&message(unsafe { LLVMPrintTypeToString(self.0) }))
    }
}
