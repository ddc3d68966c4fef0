//! What can go wrong, by name.

use maize_abi::Errno;

use crate::ObjectId;
use maize_abi::pte::Access;

/// No frame is free for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// Why an operation on a space was refused. What a variant means to a program is its
/// [`MapError::errno`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// There is no such space.
    NoSpace,
    /// There is no such object.
    NoObject,
    /// An address or an offset is not a multiple of the page size.
    Misaligned,
    /// The range has no bytes.
    Empty,
    /// The range wraps around or leaves user space.
    BadRange,
    /// A new range does not fit into user space, or no gap is large enough.
    NoRoom,
    /// The file offset wraps around.
    OffsetOverflow,
    /// Below the lowest address that may be mapped.
    TooLow,
    /// `MAP_FIXED_NOREPLACE` on a range that is in use.
    Occupied,
    /// Part of the range is not mapped.
    NotMapped,
    /// `mremap` of a range that is not within one area.
    NotOneArea,
    /// The mapping's file does not allow the access.
    Forbidden,
    /// Arguments that contradict each other.
    BadArguments,
    /// More areas than a space may have.
    TooManyAreas,
    /// A resource limit of the process.
    Limit,
    /// More memory than the machine has.
    OutOfMemory,
}

impl MapError {
    /// Linux's error number.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            MapError::NoSpace => Errno::ESRCH,
            MapError::NoObject => Errno::EBADF,
            MapError::Misaligned
            | MapError::Empty
            | MapError::BadRange
            | MapError::BadArguments => Errno::EINVAL,
            MapError::NoRoom
            | MapError::NotMapped
            | MapError::TooManyAreas
            | MapError::Limit
            | MapError::OutOfMemory => Errno::ENOMEM,
            MapError::OffsetOverflow => Errno::EOVERFLOW,
            MapError::TooLow => Errno::EPERM,
            MapError::Occupied => Errno::EEXIST,
            MapError::NotOneArea => Errno::EFAULT,
            MapError::Forbidden => Errno::EACCES,
        }
    }
}

impl From<MapError> for Errno {
    fn from(error: MapError) -> Errno {
        error.errno()
    }
}

impl From<OutOfMemory> for MapError {
    fn from(_: OutOfMemory) -> MapError {
        MapError::OutOfMemory
    }
}

/// Why an access cannot be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// Nothing is mapped there (`SIGSEGV`, `SEGV_MAPERR`).
    NoMapping,
    /// The area does not allow it (`SIGSEGV`, `SEGV_ACCERR`).
    Denied,
    /// Behind the end of the file (`SIGBUS`, `BUS_ADRERR`).
    PastEnd,
    /// No frame is free.
    OutOfMemory,
}

impl From<OutOfMemory> for FaultError {
    fn from(_: OutOfMemory) -> FaultError {
        FaultError::OutOfMemory
    }
}

/// How a fault went that is not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOutcome {
    /// The page is mapped: repeat the access.
    Done,
    /// The page is on another instance: get it, then repeat the access.
    NeedPage(NeedPage),
}

/// A page that another instance has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedPage {
    /// The object.
    pub object: ObjectId,
    /// The page's index.
    pub index: u64,
    /// What is to be done with it.
    pub access: Access,
}
