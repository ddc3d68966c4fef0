//! Names of memory objects.

/// A memory object: what a virtual memory area maps a range of, and whose pages are kept coherent.
///
/// Names are unique in the fabric and never reused: the serial number counts up for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Counts up at the instance that created the object. Objects of one instance are looked up most, so
    /// this tells two of them apart at the first comparison.
    pub serial: u64,
    /// The instance that created the object and orders its changes until its home is moved.
    pub home: u16,
}
