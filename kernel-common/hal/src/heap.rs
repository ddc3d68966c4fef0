//! The kernel's heap, as far as the core has a say in it.

use crate::FrameRange;

/// The heap that the core's own objects live in, where the core gives it its memory.
pub trait KernelHeap {
    /// Bytes that can still be allocated, not all of them in one piece.
    fn available(&self) -> usize;

    /// Adds consecutive frames, for good. Nothing else uses them.
    fn grow(&mut self, frames: FrameRange);
}
