//! What the runtime keeps for itself of a thread, for each instruction set.
//!
//! It lies at the top of the native stack that the thread has for the instruction set, so nothing of
//! it is ever sent: where a pad goes on, what is known of calls, and, for who measures moves, when the
//! last one began and was over here, in ticks of the processor's counter.
//!
//! Soundness: the top of a native stack is memory of the running thread that no frame reaches.

use core::mem::MaybeUninit;

use crate::arch::{self, Kept};
use crate::clone::STACK_TOP;
use crate::known::Calls;
use crate::thread::block;

/// Bytes at the top of a native stack that no frame reaches.
pub(crate) const TOP_BYTES: u64 = 4096;

/// What lies there.
#[repr(C)]
struct Top {
    begun: u64,
    saved: u64,
    arrived: u64,
    /// Registers of the caller of the frame whose pad runs.
    caller: MaybeUninit<Kept>,
    /// What is known of calls: zeros at first, as new memory is.
    calls: Calls,
}

const _: () = assert!(size_of::<Top>() as u64 <= TOP_BYTES && align_of::<Top>() <= 16);

/// The running thread's.
fn of_thread() -> *mut Top {
    (block().record_limit + STACK_TOP - TOP_BYTES) as *mut Top
}

/// Where the running thread's pad goes on.
pub(crate) fn caller() -> &'static mut MaybeUninit<Kept> {
    // SAFETY: memory of this thread, aligned as a page is; one reference to it is in use at a time.
    unsafe { &mut (*of_thread()).caller }
}

/// What the running thread knows of calls.
pub(crate) fn calls() -> &'static mut Calls {
    // SAFETY: as above, and zeros are a value.
    unsafe { &mut (*of_thread()).calls }
}

/// Sets one of the times.
fn set(time: impl Fn(*mut Top) -> *mut u64) {
    // SAFETY: as above.
    unsafe { time(of_thread()).write(arch::counter()) }
}

/// A point was reached at which the thread is to move.
pub(crate) fn begun() {
    // SAFETY: only the address is taken.
    set(|top| unsafe { &raw mut (*top).begun });
}

/// All frames are records.
pub(crate) fn saved() {
    // SAFETY: only the address is taken.
    set(|top| unsafe { &raw mut (*top).saved });
}

/// The thread goes on.
pub(crate) fn arrived() {
    // SAFETY: only the address is taken.
    set(|top| unsafe { &raw mut (*top).arrived });
}

/// The processor's counter.
#[unsafe(no_mangle)]
extern "C" fn __maize_ticks() -> u64 {
    arch::counter()
}

/// Ticks that saving took when the thread last left this instruction set.
#[unsafe(no_mangle)]
extern "C" fn __maize_saving_ticks() -> u64 {
    // SAFETY: memory of this thread.
    let (begun, saved) = unsafe { ((*of_thread()).begun, (*of_thread()).saved) };
    saved.wrapping_sub(begun)
}

/// Ticks since the thread came to this instruction set.
#[unsafe(no_mangle)]
extern "C" fn __maize_ticks_here() -> u64 {
    // SAFETY: memory of this thread.
    arch::counter().wrapping_sub(unsafe { (*of_thread()).arrived })
}
