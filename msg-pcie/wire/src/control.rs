//! Control bodies: `postcard` values in a word-aligned buffer.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::MAX_PAGE_BODY_BYTES;

const BUFFER_WORDS: usize = MAX_PAGE_BODY_BYTES / 8;

/// An encoded control body. It fits in front of a page, so that every control message may have one.
#[derive(Clone, Copy)]
pub struct ControlBody {
    words: [u64; BUFFER_WORDS],
    bytes: usize,
}

impl ControlBody {
    /// Encodes a value.
    ///
    /// # Errors
    /// [`ControlError::TooLong`] if it needs more than [`MAX_PAGE_BODY_BYTES`] bytes,
    /// [`ControlError::Encoding`] if the value refuses to be serialised.
    pub fn encode<T: Serialize>(value: &T) -> Result<ControlBody, ControlError> {
        let mut words = [0; BUFFER_WORDS];
        let buffer: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        let bytes = match postcard::to_slice(value, buffer) {
            Ok(written) => written.len(),
            Err(postcard::Error::SerializeBufferFull) => return Err(ControlError::TooLong),
            Err(_) => return Err(ControlError::Encoding),
        };
        Ok(ControlBody { words, bytes })
    }

    /// The encoded bytes, word-aligned.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice::<u64, u8>(&self.words).get(..self.bytes).unwrap_or_default()
    }
}

/// Decodes a control body that came from a peer. The whole body must be the value.
///
/// # Errors
/// [`ControlError::Malformed`] if the bytes are not such a value, [`ControlError::Trailing`] if
/// bytes are left over.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ControlError> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, _)) => Err(ControlError::Trailing),
        Err(_) => Err(ControlError::Malformed),
    }
}

/// Why a control body could not be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The value needs more bytes than a control body has.
    TooLong,
    /// The value cannot be serialised.
    Encoding,
    /// The bytes are not a value of this type. The peer's fault.
    Malformed,
    /// Bytes follow the value. The peer's fault.
    Trailing,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ControlError::TooLong => "control body too long",
            ControlError::Encoding => "control body cannot be encoded",
            ControlError::Malformed => "control body is malformed",
            ControlError::Trailing => "control body is followed by other bytes",
        })
    }
}

impl core::error::Error for ControlError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{string::String, vec::Vec};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Fetch { object: u64, index: u64, generation: u32 },
        Wake { address: u64, count: u32 },
        Name(String),
    }

    #[test]
    fn values_return() {
        for value in [
            Sample::Fetch { object: u64::MAX, index: 7, generation: 1 },
            Sample::Wake { address: 0x7fff_0000, count: 1 },
            Sample::Name("init".into()),
        ] {
            let body = ControlBody::encode(&value).unwrap();
            assert_eq!(decode::<Sample>(body.bytes()), Ok(value));
        }
    }

    #[test]
    fn faults_are_named() {
        let long = Sample::Name(core::iter::repeat_n('x', 300).collect());
        assert!(matches!(ControlBody::encode(&long), Err(ControlError::TooLong)));
        assert_eq!(decode::<Sample>(&[9]), Err(ControlError::Malformed));
        let mut bytes =
            ControlBody::encode(&Sample::Wake { address: 1, count: 1 }).unwrap().bytes().to_vec();
        bytes.push(0);
        assert_eq!(decode::<Sample>(&bytes), Err(ControlError::Trailing));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes: Vec<u8>) {
            if let Ok(value) = decode::<Sample>(&bytes) {
                let again = ControlBody::encode(&value);
                prop_assert!(again.is_ok() || bytes.len() > MAX_PAGE_BODY_BYTES);
            }
        }
    }
}
