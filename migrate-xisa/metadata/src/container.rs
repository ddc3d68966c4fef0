//! What surrounds a sealed value: magic, version, kind, length and checksum.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `MAIZEXIS` |
//! | 8 | 2 | version, now [`VERSION`] |
//! | 10 | 2 | kind: 1 program, 2 thread state |
//! | 12 | 4 | CRC-32 (ISO-HDLC) of everything else: bytes 0 to 12 and from 16 to the end |
//! | 16 | 8 | bytes of the payload |
//! | 24 | | payload, one `postcard` value |
//!
//! Numbers are little-endian. Nothing follows the payload.

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// First bytes of everything sealed.
pub const MAGIC: [u8; 8] = *b"MAIZEXIS";
/// The version that this crate reads and writes.
pub const VERSION: u16 = 1;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 24;
/// Most bytes of a payload (64 MiB). A section that claims more is refused before it is looked at.
pub const MAX_PAYLOAD_BYTES: u64 = 64 << 20;

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// What a container holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A [`crate::Program`].
    Program = 1,
    /// A [`crate::ThreadState`].
    ThreadState = 2,
}

/// Why bytes are not a sealed value of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say what was found")]
pub enum ContainerError {
    /// Fewer bytes than the header, or than the header says.
    Cut { need: u64, have: u64 },
    /// Other first bytes.
    Magic,
    /// Written by another version.
    Version { found: u16 },
    /// A value of another kind.
    Kind { found: u16 },
    /// The header says more than [`MAX_PAYLOAD_BYTES`].
    Large { bytes: u64 },
    /// Bytes after the payload.
    Trailing { bytes: u64 },
    /// The checksum is that of other bytes.
    Checksum,
    /// The checksum holds, but the payload is not a value of this kind.
    Payload,
}

impl core::fmt::Display for ContainerError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Cut { need, have } => write!(f, "cut short: {have} of {need} bytes"),
            Self::Magic => f.write_str("not transformation metadata: the magic is wrong"),
            Self::Version { found } => {
                write!(f, "written in version {found}; this program reads version {VERSION}")
            }
            Self::Kind { found } => {
                write!(f, "holds a value of kind {found}, not the one expected")
            }
            Self::Large { bytes } => {
                write!(f, "claims {bytes} bytes; at most {MAX_PAYLOAD_BYTES} are read")
            }
            Self::Trailing { bytes } => write!(f, "{bytes} bytes follow the payload"),
            Self::Checksum => f.write_str("the checksum is wrong"),
            Self::Payload => f.write_str("the payload does not decode"),
        }
    }
}

impl core::error::Error for ContainerError {}

fn checksum(head: &[u8], rest: &[&[u8]]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(head);
    for part in rest {
        digest.update(part);
    }
    digest.finalize()
}

/// Seals a value.
pub fn seal<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    // A type of this crate has no map or sequence of unknown length, the only things postcard
    // refuses; an empty payload would be caught by the first reader.
    let payload = postcard::to_allocvec(value).unwrap_or_default();
    seal_payload(kind, &payload)
}

/// Seals a payload that was encoded elsewhere.
#[must_use]
pub fn seal_payload(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let header = header(kind, payload);
    let mut sealed = Vec::with_capacity(HEADER_BYTES + payload.len());
    sealed.extend_from_slice(&header);
    sealed.extend_from_slice(payload);
    sealed
}

/// The header of a payload: what a writer without an allocator puts in front of it.
#[must_use]
pub fn header(kind: Kind, payload: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let length = (payload.len() as u64).to_le_bytes();
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header[10..12].copy_from_slice(&(kind as u16).to_le_bytes());
    header[16..].copy_from_slice(&length);
    let crc = checksum(&header[..12], &[&length, payload]);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ContainerError> {
    bytes
        .get(at..at + N)
        .and_then(|field| field.try_into().ok())
        .ok_or(ContainerError::Cut { need: HEADER_BYTES as u64, have: bytes.len() as u64 })
}

/// Opens what [`seal`] wrote.
///
/// # Errors
/// [`ContainerError`] says which property of the format does not hold.
pub fn open<T: DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Result<T, ContainerError> {
    let payload = payload(kind, bytes)?;
    match postcard::take_from_bytes::<T>(payload) {
        Ok((value, [])) => Ok(value),
        _ => Err(ContainerError::Payload),
    }
}

/// The payload of a container, once everything around it has been checked.
///
/// # Errors
/// [`ContainerError`], any but [`ContainerError::Payload`].
pub fn payload(kind: Kind, bytes: &[u8]) -> Result<&[u8], ContainerError> {
    let magic: [u8; 8] = field(bytes, 0)?;
    if magic != MAGIC {
        return Err(ContainerError::Magic);
    }
    let found = u16::from_le_bytes(field(bytes, 8)?);
    if found != VERSION {
        return Err(ContainerError::Version { found });
    }
    let length_field: [u8; 8] = field(bytes, 16)?;
    let length = u64::from_le_bytes(length_field);
    if length > MAX_PAYLOAD_BYTES {
        return Err(ContainerError::Large { bytes: length });
    }
    let rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let have = rest.len() as u64;
    if have < length {
        let header = HEADER_BYTES as u64;
        return Err(ContainerError::Cut { need: header + length, have: header + have });
    }
    if have > length {
        return Err(ContainerError::Trailing { bytes: have - length });
    }
    let crc = u32::from_le_bytes(field(bytes, 12)?);
    if crc != checksum(bytes.get(..12).unwrap_or_default(), &[&length_field, rest]) {
        return Err(ContainerError::Checksum);
    }
    let found = u16::from_le_bytes(field(bytes, 10)?);
    if found == kind as u16 { Ok(rest) } else { Err(ContainerError::Kind { found }) }
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_way_to_be_wrong_has_its_name() {
        let good = seal(Kind::Program, &7_u64);
        let open = |bytes: &[u8]| open::<u64>(Kind::Program, bytes);
        assert_eq!(open(&good), Ok(7));
        assert_eq!(open(&[]), Err(ContainerError::Cut { need: 24, have: 0 }));
        assert_eq!(open(&good[..24]), Err(ContainerError::Cut { need: 25, have: 24 }));
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        assert_eq!(open(&with(0, b'm')), Err(ContainerError::Magic));
        assert_eq!(open(&with(8, 2)), Err(ContainerError::Version { found: 2 }));
        assert_eq!(open(&with(10, 2)), Err(ContainerError::Checksum));
        assert_eq!(open(&with(24, 8)), Err(ContainerError::Checksum));
        assert!(matches!(open(&with(23, 1)), Err(ContainerError::Large { .. })));
        assert_eq!(open(&[&good[..], &[0]].concat()), Err(ContainerError::Trailing { bytes: 1 }));
        let other = seal(Kind::ThreadState, &7_u64);
        assert_eq!(open(&other), Err(ContainerError::Kind { found: 2 }));
        let string = seal(Kind::Program, &String::from("long"));
        assert_eq!(open(&string), Err(ContainerError::Payload));
        let long = seal(Kind::Program, &vec![7_u64]);
        assert_eq!(open(&long), Err(ContainerError::Payload));
    }

    proptest! {
        #[test]
        fn a_changed_bit_never_opens(value: [u64; 4], bit in 0_usize..(24 + 4) * 8) {
            let mut bytes = seal(Kind::Program, &value);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(open::<[u64; 4]>(Kind::Program, &bytes).is_err());
        }
    }
}
