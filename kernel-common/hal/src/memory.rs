//! Physical memory and the translation caches above it.

use maize_abi::{PAGE_SHIFT, PAGE_SIZE};

/// One 4 KiB frame of physical memory, by number (physical address / 4096).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame(pub u64);

impl Frame {
    /// The frame that holds physical `address`.
    #[must_use]
    pub const fn containing(address: u64) -> Frame {
        Frame(address >> PAGE_SHIFT)
    }

    /// Physical address of the first byte.
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0 << PAGE_SHIFT
    }
}

/// Consecutive frames `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRange {
    /// The first frame.
    pub start: Frame,
    /// The frame after the last.
    pub end: Frame,
}

impl FrameRange {
    /// How many frames.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Access to frames that the core owns: through a direct map on a machine, through a vector on the
/// host.
///
/// # Contract
/// The core passes only frames that it got from the machine's memory map. Offsets and lengths stay
/// inside one frame; an implementation may panic where they do not, since only the core's own
/// arithmetic can be at fault. User code, a device or a sibling instance may write the same frame
/// at the same time: implementations copy through volatile or atomic accesses, never through
/// references.
pub trait PhysMemory {
    /// Copies out of `frame` from byte `offset` on.
    fn read(&self, frame: Frame, offset: usize, out: &mut [u8]);

    /// Copies into `frame` from byte `offset` on.
    fn write(&mut self, frame: Frame, offset: usize, bytes: &[u8]);

    /// Fills `len` bytes of `frame` from byte `offset` on with zero.
    fn zero(&mut self, frame: Frame, offset: usize, len: usize);

    /// Copies one whole frame.
    fn copy_frame(&mut self, to: Frame, from: Frame);

    /// Fills a whole frame with zero.
    fn zero_frame(&mut self, frame: Frame) {
        self.zero(frame, 0, PAGE_SIZE);
    }

    /// Reads the 8-byte table entry `index` (0 to 511) in one access.
    fn read_entry(&self, table: Frame, index: usize) -> u64;

    /// Writes the 8-byte table entry `index` (0 to 511) in one access, ordered after all earlier
    /// writes, so that a table walker never sees an entry before what it points to.
    fn write_entry(&mut self, table: Frame, index: usize, entry: u64);

    /// Replaces the aligned 4-byte word at `offset` with `new` if it is `old`, atomically with
    /// respect to user code on every core; returns the value found.
    fn compare_exchange_u32(&mut self, frame: Frame, offset: usize, old: u32, new: u32) -> u32;

    /// Makes the frame's bytes visible to instruction fetch (DC CVAU, IC IVAU and barriers; nothing
    /// on x86_64). Called before a page becomes executable.
    fn sync_instructions(&mut self, frame: Frame);
}

/// Translation caches.
///
/// A space is named by the frame of its root table.
pub trait Tlb {
    /// Prepares `root`, a zeroed frame, to be a space's root table (x86_64 puts the kernel's half
    /// there).
    fn init_root(&mut self, root: Frame);

    /// Forgets what was cached for the page at `va`. Needed after an entry that was present is
    /// changed; an entry that was not present may be filled in without.
    fn flush_page(&mut self, root: Frame, va: u64);

    /// Forgets everything cached for a space. Needed before its tables' frames are reused.
    fn flush_space(&mut self, root: Frame);
}
