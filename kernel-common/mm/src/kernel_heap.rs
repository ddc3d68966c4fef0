//! Frames for the kernel's own heap.
//!
//! An allocation cannot ask for frames: it may come from inside the frame allocator. So the heap is
//! kept ahead of what is asked of it: between two pieces of work [`Memory::tend_heap`] adds frames
//! until there are [`AHEAD`] bytes to spare, more than one piece of work allocates. When frames have
//! run out too, [`Memory::heap_is_low`] says so, and what would allocate for a program is refused
//! while there is still [`SPARE`] left to end programs with. Frames that the heap has stay with it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use maize_abi::PAGE_SIZE;
use maize_hal::KernelHeap;

use crate::{Memory, OutOfMemory};

/// Bytes that the heap has to spare while there are frames.
pub(crate) const AHEAD: usize = 2 << 20;

/// Below so many bytes to spare nothing is allocated for a program.
pub(crate) const SPARE: usize = 1 << 20;

/// Frames added at once, 1 MiB; fewer where memory is in pieces.
const CHUNKS: [u64; 2] = [256, 64];

impl Memory {
    /// Has the heap grow by frames from now on. Without one it is the machine's own matter.
    pub fn set_heap(&mut self, heap: Box<dyn KernelHeap>) {
        self.heap = Some(heap);
        self.tend_heap();
    }

    /// Lets the heap grow while it has less than [`AHEAD`] bytes to spare. To be called between
    /// pieces of work that each allocate less than that.
    pub fn tend_heap(&mut self) {
        let Some(heap) = &mut self.heap else { return };
        while heap.available() < AHEAD {
            let Some(frames) = CHUNKS.into_iter().find_map(|n| self.frames.allocate_block(n))
            else {
                return;
            };
            heap.grow(frames);
        }
    }

    /// Whether the heap has less than [`SPARE`] bytes, and frames have run out.
    #[must_use]
    pub fn heap_is_low(&self) -> bool {
        self.heap.as_ref().is_some_and(|heap| heap.available() < SPARE)
    }

    /// Makes room in `list` for `more` items that a program has asked for.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub fn heap_room<T>(&mut self, list: &mut Vec<T>, more: usize) -> Result<(), OutOfMemory> {
        if list.capacity() - list.len() >= more {
            return Ok(());
        }
        // As a list grows by itself: to twice its length, so that growing it costs little.
        let wanted = more.max(list.len());
        let bytes = (list.len() + wanted).saturating_mul(size_of::<T>());
        self.heap_piece(bytes)?;
        list.try_reserve_exact(wanted).map_err(|_| OutOfMemory)
    }

    /// Sees to it that the heap has `bytes` in one piece, for what a program has asked for and that
    /// one step allocates.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn heap_piece(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        self.tend_heap();
        let fits = || Vec::<u8>::new().try_reserve_exact(bytes).is_ok();
        if fits() {
            return Ok(());
        }
        let frames = bytes.div_ceil(PAGE_SIZE) as u64 + 1;
        let grown = self.frames.allocate_block(frames.next_multiple_of(64)).ok_or(OutOfMemory)?;
        if let Some(heap) = &mut self.heap {
            heap.grow(grown);
        }
        if fits() { Ok(()) } else { Err(OutOfMemory) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::rc::Rc;
    use core::cell::Cell;

    use maize_abi::Isa;
    use maize_abi::isa::x86_64::X86_64;
    use maize_hal::{Frame, FrameRange};

    use super::*;
    use crate::{Frames, ImageSource};

    struct NoImage;

    impl ImageSource for NoImage {
        fn len(&self) -> u64 {
            0
        }

        fn read(&self, _: u64, _: &mut [u8]) {}
    }

    /// A heap of which the test says how much is left.
    #[derive(Clone, Default)]
    struct Counted(Rc<Cell<usize>>);

    impl KernelHeap for Counted {
        fn available(&self) -> usize {
            self.0.get()
        }

        fn grow(&mut self, frames: FrameRange) {
            self.0.set(self.0.get() + frames.len() as usize * PAGE_SIZE);
        }
    }

    fn memory(frames: u64) -> (Memory, Counted) {
        let range = FrameRange { start: Frame(100), end: Frame(100 + frames) };
        let frames = Frames::new(&[range], &[], 64);
        let mut memory = Memory::new(0, X86_64::PTE, frames, Box::new(NoImage));
        let heap = Counted::default();
        memory.set_heap(Box::new(heap.clone()));
        (memory, heap)
    }

    #[test]
    fn the_heap_is_kept_ahead_while_there_are_frames() {
        let (mut memory, heap) = memory(2048);
        assert_eq!(heap.available(), AHEAD);
        assert_eq!(memory.usage().free, 2048 - 512);
        heap.0.set(AHEAD - 1);
        memory.tend_heap();
        assert_eq!(memory.usage().free, 2048 - 768);
        memory.tend_heap();
        assert_eq!(memory.usage().free, 2048 - 768);
    }

    #[test]
    fn it_is_low_only_when_frames_have_run_out() {
        let (mut memory, heap) = memory(2048);
        let mut taken = 0;
        while !memory.heap_is_low() {
            assert!(taken < 100);
            taken += 1;
            heap.0.set(heap.available().saturating_sub(SPARE / 2));
            memory.tend_heap();
        }
        assert!(memory.usage().free < 64 + 64, "{}", memory.usage().free);
    }

    #[test]
    fn frames_in_pieces_are_used_too() {
        let (mut memory, heap) = memory(4096);
        // Every 100th frame stays with someone.
        let taken: Vec<Frame> = core::iter::from_fn(|| memory.frames().allocate()).collect();
        for frame in taken.iter().filter(|frame| frame.0 % 100 != 0) {
            memory.frames().release(*frame);
        }
        heap.0.set(0);
        memory.tend_heap();
        assert!(heap.available() >= 64 * PAGE_SIZE);
    }

    #[test]
    fn long_lists_get_frames_or_are_refused() {
        let (mut memory, _heap) = memory(2048);
        let mut list = Vec::<u64>::new();
        assert_eq!(memory.heap_room(&mut list, 100), Ok(()));
        assert!(list.capacity() >= 100);
        assert_eq!(memory.heap_room(&mut list, usize::MAX / 16), Err(OutOfMemory));
        assert!(list.is_empty());
    }
}
