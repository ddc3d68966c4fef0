//! What the runtime keeps for itself of a thread, for each instruction set.
//!
//! It lies at the top of the native stack that the thread has for the instruction set, so nothing of
//! it is ever sent: where a pad goes on, and, for who measures moves, when the last one began and was
//! over here, in ticks of the processor's counter.
//!
//! Soundness: the top of a native stack is memory of the running thread that no frame reaches.

use core::mem::MaybeUninit;

use crate::arch::{self, Registers};
use crate::clone::STACK_TOP;
use crate::thread::block;

/// Bytes at the top of a native stack that no frame reaches.
pub(crate) const TOP_BYTES: u64 = 1024;

/// What lies there.
#[repr(C)]
pub(crate) struct Top {
    begun: u64,
    saved: u64,
    arrived: u64,
    /// Registers of the caller of the frame whose pad runs.
    pub(crate) caller: MaybeUninit<Registers>,
}

const _: () = assert!(size_of::<Top>() as u64 <= TOP_BYTES && align_of::<Top>() <= 16);

/// The running thread's.
pub(crate) fn of_thread() -> &'static mut Top {
    let top = block().record_limit + STACK_TOP;
    // SAFETY: memory of this thread, aligned as a page is; no caller keeps the reference.
    unsafe { &mut *((top - TOP_BYTES) as *mut Top) }
}

/// A point was reached at which the thread is to move.
pub(crate) fn begun() {
    of_thread().begun = arch::counter();
}

/// All frames are records.
pub(crate) fn saved() {
    of_thread().saved = arch::counter();
}

/// The thread goes on.
pub(crate) fn arrived() {
    of_thread().arrived = arch::counter();
}

/// The processor's counter.
#[unsafe(no_mangle)]
extern "C" fn __maize_ticks() -> u64 {
    arch::counter()
}

/// Ticks that saving took when the thread last left this instruction set.
#[unsafe(no_mangle)]
extern "C" fn __maize_saving_ticks() -> u64 {
    let Top { begun, saved, .. } = of_thread();
    saved.wrapping_sub(*begun)
}

/// Ticks since the thread came to this instruction set.
#[unsafe(no_mangle)]
extern "C" fn __maize_ticks_here() -> u64 {
    arch::counter().wrapping_sub(of_thread().arrived)
}
