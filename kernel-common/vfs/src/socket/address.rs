//! Addresses of sockets: paths, names that are no paths, and addresses of hosts with a port.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use maize_abi::Errno;
use maize_abi::socket::{
    SOCKADDR_IN_LEN, SOCKADDR_IN6_LEAST, SOCKADDR_IN6_LEN, SOCKADDR_UN_LEN, UNIX_PATH_AT, af,
};

use crate::id::InodeId;

/// A family of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Those of the machine itself (`AF_UNIX`).
    Unix,
    /// Version 4 of the Internet's (`AF_INET`).
    Inet,
    /// Version 6 (`AF_INET6`), which reaches addresses of version 4, too.
    Inet6,
}

impl Family {
    /// The family of this number.
    ///
    /// # Errors
    /// `EAFNOSUPPORT`.
    pub fn from_number(number: u32) -> Result<Family, Errno> {
        match u16::try_from(number) {
            Ok(af::AF_UNIX) => Ok(Family::Unix),
            Ok(af::AF_INET) => Ok(Family::Inet),
            Ok(af::AF_INET6) => Ok(Family::Inet6),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// The number of this family.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Family::Unix => af::AF_UNIX,
            Family::Inet => af::AF_INET,
            Family::Inet6 => af::AF_INET6,
        }
    }

    /// An address as programs see it on a socket of this family: one of version 4 as a part of
    /// version 6 on a socket of that.
    pub(super) fn shows(self, address: SocketAddr) -> Address {
        Address::Internet(match (self, address.ip()) {
            (Family::Inet6, IpAddr::V4(ip)) => (ip.to_ipv6_mapped(), address.port()).into(),
            _ => address,
        })
    }
}

/// An address, as `struct sockaddr_un`, `sockaddr_in` or `sockaddr_in6` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A path in the file system.
    Path(Vec<u8>),
    /// A name of its own space (`abstract`): any bytes.
    Abstract(Vec<u8>),
    /// A host and a port.
    Internet(SocketAddr),
}

/// What a socket is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bound {
    Inode(InodeId),
    Abstract(Vec<u8>),
}

impl Address {
    /// The address in the bytes of a structure, for a socket of a family. One of version 4 that is
    /// given as a part of version 6 is one of version 4.
    ///
    /// # Errors
    /// `EINVAL` if there is none; `EINVAL` or, on the Internet's sockets, `EAFNOSUPPORT` if it is of
    /// another family.
    pub fn from_bytes(family: Family, bytes: &[u8]) -> Result<Address, Errno> {
        match family {
            Family::Unix => Address::unix_from_bytes(bytes),
            Family::Inet | Family::Inet6 => Address::internet_from_bytes(family, bytes),
        }
    }

    fn unix_from_bytes(bytes: &[u8]) -> Result<Address, Errno> {
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

    fn internet_from_bytes(family: Family, bytes: &[u8]) -> Result<Address, Errno> {
        let least = if family == Family::Inet { SOCKADDR_IN_LEN } else { SOCKADDR_IN6_LEAST };
        if bytes.len() < least {
            return Err(Errno::EINVAL);
        }
        if Self::family(bytes)? != family.number() {
            return Err(Errno::EAFNOSUPPORT);
        }
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        let ip = match family {
            Family::Inet6 => {
                let ip: [u8; 16] = *bytes[8..].first_chunk().ok_or(Errno::EINVAL)?;
                Ipv6Addr::from(ip).to_canonical()
            }
            _ => {
                let ip: [u8; 4] = *bytes[4..].first_chunk().ok_or(Errno::EINVAL)?;
                Ipv4Addr::from(ip).into()
            }
        };
        Ok(Address::Internet((ip, port).into()))
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
        let mut bytes = match address {
            Some(Address::Internet(SocketAddr::V4(_))) => af::AF_INET,
            Some(Address::Internet(SocketAddr::V6(_))) => af::AF_INET6,
            _ => af::AF_UNIX,
        }
        .to_le_bytes()
        .to_vec();
        match address {
            Some(Address::Path(path)) => {
                bytes.extend(path);
                bytes.push(0);
            }
            Some(Address::Abstract(name)) => {
                bytes.push(0);
                bytes.extend(name);
            }
            Some(Address::Internet(address)) => {
                bytes.extend(address.port().to_be_bytes());
                match address.ip() {
                    IpAddr::V4(ip) => {
                        bytes.extend(ip.octets());
                        bytes.resize(SOCKADDR_IN_LEN, 0);
                    }
                    IpAddr::V6(ip) => {
                        // No flow is told apart.
                        bytes.extend([0; 4]);
                        bytes.extend(ip.octets());
                        bytes.resize(SOCKADDR_IN6_LEN, 0);
                    }
                }
            }
            None => {}
        }
        bytes
    }
}
