//! The root image.

/// The read-only bytes that the root file system's files come from.
pub trait ImageSource {
    /// Bytes in the image.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies out of the image from byte `at` on. The range is within the image.
    fn read(&self, at: u64, out: &mut [u8]);
}

/// An image that is there as a slice.
impl ImageSource for &'static [u8] {
    fn len(&self) -> u64 {
        (**self).len() as u64
    }

    fn read(&self, at: u64, out: &mut [u8]) {
        let part = usize::try_from(at).ok().and_then(|at| self.get(at..at.checked_add(out.len())?));
        if let Some(part) = part {
            out.copy_from_slice(part);
        }
    }
}

/// The bytes of an image in a vector.
impl ImageSource for alloc::vec::Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read(&self, at: u64, out: &mut [u8]) {
        let part = usize::try_from(at).ok().and_then(|at| self.get(at..at.checked_add(out.len())?));
        if let Some(part) = part {
            out.copy_from_slice(part);
        }
    }
}
