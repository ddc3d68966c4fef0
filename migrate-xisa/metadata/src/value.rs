//! The types of values in a record.

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// The type of a scalar or a vector. An aggregate is saved as its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ValueType {
    /// An integer of so many bits, stored in whole bytes, little-endian; the rest is unspecified.
    Integer(u16),
    /// IEEE 754 binary32.
    Float,
    /// IEEE 754 binary64.
    Double,
    /// IEEE 754 binary128, C's `long double`.
    Quad,
    /// An address of the program's address space, the same on every instruction set.
    Pointer,
    /// So many integers of so many bits.
    Integers {
        /// Elements.
        lanes: u16,
        /// Of each element.
        bits: u16,
    },
    /// So many binary32.
    Floats(u16),
    /// So many binary64.
    Doubles(u16),
    /// So many addresses.
    Pointers(u16),
}

impl ValueType {
    /// Bytes that a value of this type takes in a record. Vectors are packed.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Integer(bits) => (bits as u32).div_ceil(8),
            Self::Float => 4,
            Self::Double | Self::Pointer => 8,
            Self::Quad => 16,
            Self::Integers { lanes, bits } => (lanes as u32 * bits as u32).div_ceil(8),
            Self::Floats(lanes) => lanes as u32 * 4,
            Self::Doubles(lanes) | Self::Pointers(lanes) => lanes as u32 * 8,
        }
    }
}

impl core::fmt::Display for ValueType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Integer(bits) => write!(f, "i{bits}"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Quad => f.write_str("quad"),
            Self::Pointer => f.write_str("ptr"),
            Self::Integers { lanes, bits } => write!(f, "<{lanes} x i{bits}>"),
            Self::Floats(lanes) => write!(f, "<{lanes} x float>"),
            Self::Doubles(lanes) => write!(f, "<{lanes} x double>"),
            Self::Pointers(lanes) => write!(f, "<{lanes} x ptr>"),
        }
    }
}

/// One value of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveValue {
    /// Bytes from the start of the record, its header included.
    pub offset: u32,
    /// Its type.
    pub kind: ValueType,
    /// The name that the compiler had for it; often that of a variable, and empty for many.
    pub name: String,
}

impl LiveValue {
    /// The bytes of a record that it takes.
    #[must_use]
    pub fn range(&self) -> core::ops::Range<u32> {
        self.offset..self.offset.saturating_add(self.kind.bytes())
    }
}
