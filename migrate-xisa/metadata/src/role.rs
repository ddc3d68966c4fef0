//! Registers by what they are for.
//!
//! At a migration point no value lives in a register: records hold them all. What is left are the
//! roles below, which each instruction set gives to another register.

use crate::Isa;

/// What a register is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The next instruction. Between instruction sets: the innermost record's site.
    ProgramCounter,
    /// The native stack, which no instruction set shares.
    NativeStack,
    /// The thread block and the thread-local variables.
    ThreadPointer,
    /// Where a function returns to; on x86_64 the top of the native stack.
    ReturnAddress,
    /// First argument of a call, and of entering a resume clone: its record.
    Argument0,
    /// Second argument: where a resume clone finds and leaves a result.
    Argument1,
    /// The first result of a call.
    Result,
    /// A system call's number.
    SystemCall,
    /// Floating-point control.
    FloatControl,
    /// Floating-point exceptions that have happened.
    FloatStatus,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 10] = [
        Self::ProgramCounter,
        Self::NativeStack,
        Self::ThreadPointer,
        Self::ReturnAddress,
        Self::Argument0,
        Self::Argument1,
        Self::Result,
        Self::SystemCall,
        Self::FloatControl,
        Self::FloatStatus,
    ];

    /// The register that has this role.
    #[must_use]
    pub const fn register(self, isa: Isa) -> &'static str {
        match (isa, self) {
            (Isa::X86_64, Self::ProgramCounter) => "rip",
            (Isa::X86_64, Self::NativeStack) => "rsp",
            (Isa::X86_64, Self::ThreadPointer) => "fs_base",
            (Isa::X86_64, Self::ReturnAddress) => "[rsp]",
            (Isa::X86_64, Self::Argument0) => "rdi",
            (Isa::X86_64, Self::Argument1) => "rsi",
            (Isa::X86_64, Self::Result | Self::SystemCall) => "rax",
            (Isa::X86_64, Self::FloatControl | Self::FloatStatus) => "mxcsr",
            (Isa::Aarch64, Self::ProgramCounter) => "pc",
            (Isa::Aarch64, Self::NativeStack) => "sp",
            (Isa::Aarch64, Self::ThreadPointer) => "tpidr_el0",
            (Isa::Aarch64, Self::ReturnAddress) => "x30",
            (Isa::Aarch64, Self::Argument0 | Self::Result) => "x0",
            (Isa::Aarch64, Self::Argument1) => "x1",
            (Isa::Aarch64, Self::SystemCall) => "x8",
            (Isa::Aarch64, Self::FloatControl) => "fpcr",
            (Isa::Aarch64, Self::FloatStatus) => "fpsr",
        }
    }
}
