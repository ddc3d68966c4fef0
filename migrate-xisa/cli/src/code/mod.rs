//! Machine code, as far as its calls, its jumps and its stores into records go.

mod aarch64;
mod x86_64;

use maize_xisa_metadata::Isa;

/// A register by number; the stack and frame pointers are apart.
pub type Register = u8;

/// Where an instruction reads or writes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The register that holds the address.
    pub base: Base,
    /// A register that is added.
    pub index: Option<Register>,
    /// Bytes from there.
    pub offset: i64,
    /// Bytes that are read or written.
    pub bytes: u32,
}

/// A register that an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// A general register.
    Register(Register),
    /// The native stack's pointer or the frame's.
    Stack(Register),
    /// Something else: a constant address.
    Other,
}

/// What one instruction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Calls; `None` if through a register or memory.
    Call(Option<u64>),
    /// Jumps; `None` if through a register or memory.
    Jump(Option<u64>),
    /// Jumps or goes on.
    Branch,
    /// Returns.
    Return,
    /// Never goes on.
    Trap,
    /// Sets a register to a number.
    Set(Register, u64),
    /// Keeps some bits of a register and sets 16 others: the bits, and where they are.
    SetPart(Register, u64, u64),
    /// Sets a register to another plus a number.
    Add(Register, Register, i64),
    /// Sets a register to the lower half of another.
    Lower(Register, Register),
    /// Reads a general register from memory.
    Load(Register, Memory),
    /// Writes memory: the general register that is written, if it is one.
    Store(Option<Register>, Memory),
    /// Changes the stack pointer, restores registers that a callee keeps, or does nothing: what ends
    /// a function.
    Teardown,
    /// Something else, which may change these registers.
    Other(Vec<Register>),
}

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Where it is.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// What it does; an instruction that does two things to memory has two.
    pub effects: Vec<Effect>,
    /// Whether it only moves data between registers, or between registers and the native stack.
    pub moves_only: bool,
}

/// Decodes code that begins at an address.
#[must_use]
pub fn decode(isa: Isa, address: u64, bytes: &[u8]) -> Vec<Instruction> {
    match isa {
        Isa::X86_64 => x86_64::decode(address, bytes),
        Isa::Aarch64 => aarch64::decode(address, bytes),
    }
}

/// Registers of the first two arguments, and of a result.
#[must_use]
pub fn argument_registers(isa: Isa) -> (Register, Register, Register) {
    match isa {
        Isa::X86_64 => (x86_64::RDI, x86_64::RSI, x86_64::RAX),
        Isa::Aarch64 => (0, 1, 0),
    }
}

/// Whether a call leaves a register as it was.
#[must_use]
pub fn is_kept(isa: Isa, register: Register) -> bool {
    match isa {
        Isa::X86_64 => x86_64::is_kept(register),
        Isa::Aarch64 => (19..=29).contains(&register),
    }
}
