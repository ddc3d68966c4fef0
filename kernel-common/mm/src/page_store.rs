//! Files' bytes as memory objects.

use crate::{NeedPage, ObjectId};

/// Why an object could not be read or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// There is no such object.
    NoObject,
    /// No frame is free.
    OutOfMemory,
    /// Past what an object can hold.
    TooLarge,
    /// Another instance has a page, or may not have it while it is written. Nothing was done.
    Elsewhere(NeedPage),
}

/// The memory objects that hold files' bytes, as a file system sees them.
///
/// The same pages are what `mmap` maps, so `read`, `write` and a mapping agree at every moment.
pub trait PageStore {
    /// Makes an empty object of `len` zero bytes, with one reference.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    fn create(&mut self, len: u64) -> Result<ObjectId, StoreError>;

    /// Makes an object whose pages come from bytes `start..start + len` of the root image when they
    /// are first touched. Writing such an object changes its own pages only.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if the image is shorter.
    fn create_from_image(&mut self, start: u64, len: u64) -> Result<ObjectId, StoreError>;

    /// Bytes in the object.
    ///
    /// # Errors
    /// [`StoreError::NoObject`].
    fn len(&self, object: ObjectId) -> Result<u64, StoreError>;

    /// Pages of the object that occupy memory.
    ///
    /// # Errors
    /// [`StoreError::NoObject`].
    fn resident_pages(&self, object: ObjectId) -> Result<u64, StoreError>;

    /// Reads from byte `at` on and returns how many bytes were there.
    ///
    /// # Errors
    /// [`StoreError::NoObject`], [`StoreError::OutOfMemory`].
    fn read(&mut self, object: ObjectId, at: u64, out: &mut [u8]) -> Result<usize, StoreError>;

    /// Writes at byte `at`, growing the object where needed. Returns how many bytes were written:
    /// fewer than asked only if memory ran out after the first.
    ///
    /// # Errors
    /// [`StoreError::NoObject`], [`StoreError::OutOfMemory`], [`StoreError::TooLarge`].
    fn write(&mut self, object: ObjectId, at: u64, bytes: &[u8]) -> Result<usize, StoreError>;

    /// Sets the length. Pages beyond it are unmapped everywhere and freed; bytes beyond it in the
    /// last page read as zero if the object grows again.
    ///
    /// # Errors
    /// [`StoreError::NoObject`], [`StoreError::TooLarge`].
    fn truncate(&mut self, object: ObjectId, len: u64) -> Result<(), StoreError>;

    /// Adds a reference.
    ///
    /// # Errors
    /// [`StoreError::NoObject`].
    fn retain(&mut self, object: ObjectId) -> Result<(), StoreError>;

    /// Drops a reference; the last one frees the object once nothing maps it.
    fn release(&mut self, object: ObjectId);
}
