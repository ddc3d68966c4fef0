//! Addresses of sockets: paths, and names that are no paths.

use alloc::vec::Vec;

use maize_abi::Errno;
use maize_abi::socket::{SOCKADDR_UN_LEN, UNIX_PATH_AT, af};

use crate::id::InodeId;

/// An address, as `struct sockaddr_un` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A path in the file system.
    Path(Vec<u8>),
    /// A name of its own space (`abstract`): any bytes.
    Abstract(Vec<u8>),
}

/// What a socket is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bound {
    Inode(InodeId),
    Abstract(Vec<u8>),
}

impl Address {
    /// The address in the bytes of a structure.
    ///
    /// # Errors
    /// `EINVAL` if there is none, or of another family.
    pub fn from_bytes(bytes: &[u8]) -> Result<Address, Errno> {
        if bytes.len() <= UNIX_PATH_AT || bytes.len() > SOCKADDR_UN_LEN {
            return Err(Errno::EINVAL);
        }
        if Self::family(bytes)? != af::AF_UNIX {
            return Err(Errno::EINVAL);
        }
        let path = &bytes[UNIX_PATH_AT..];
        Ok(match path.strip_prefix(b"\0") {
            Some(name) => Address::Abstract(name.to_vec()),
            None => Address::Path(path.split(|byte| *byte == 0).next().unwrap_or(path).to_vec()),
        })
    }

    /// The family that the bytes of a structure begin with.
    ///
    /// # Errors
    /// `EINVAL` if they are too few.
    pub fn family(bytes: &[u8]) -> Result<u16, Errno> {
        bytes.first_chunk().map(|family| u16::from_le_bytes(*family)).ok_or(Errno::EINVAL)
    }

    /// The bytes of the structure of an address, or of none.
    #[must_use]
    pub fn to_bytes(address: Option<&Address>) -> Vec<u8> {
        let mut bytes = af::AF_UNIX.to_le_bytes().to_vec();
        match address {
            Some(Address::Path(path)) => {
                bytes.extend(path);
                bytes.push(0);
            }
            Some(Address::Abstract(name)) => {
                bytes.push(0);
                bytes.extend(name);
            }
            None => {}
        }
        bytes
    }
}
