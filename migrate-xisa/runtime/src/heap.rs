//! No heap: what the runtime keeps is on the stack or in the program's memory.
//!
//! Soundness: it never gives memory out.

use core::alloc::{GlobalAlloc, Layout};

struct None;

// SAFETY: null is what an allocator returns that has nothing left.
unsafe impl GlobalAlloc for None {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: None = None;
