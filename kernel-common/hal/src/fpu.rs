//! Saved FPU and SIMD state.

use alloc::boxed::Box;
use alloc::vec;

/// A buffer for one thread's FPU/SIMD state in the processor's own format, 64-byte aligned as
/// XSAVE wants it.
#[derive(Debug)]
pub struct FpuState {
    // Over-allocated by one cache line; the state starts at the first aligned byte.
    buffer: Box<[u8]>,
    start: usize,
    len: usize,
}

const ALIGN: usize = 64;

impl FpuState {
    /// A zeroed state of `len` bytes.
    #[must_use]
    pub fn zeroed(len: usize) -> FpuState {
        let buffer = vec![0; len + ALIGN].into_boxed_slice();
        let start = buffer.as_ptr().align_offset(ALIGN);
        FpuState { buffer, start, len }
    }

    /// The state's bytes; the first is 64-byte aligned.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.start + self.len]
    }

    /// The state's bytes; the first is 64-byte aligned.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

impl Clone for FpuState {
    fn clone(&self) -> FpuState {
        let mut copy = FpuState::zeroed(self.len);
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }
}
