//! Migration points: what a poll comes to when its word is set.
//!
//! Soundness: the thread block is the running thread's; `maize_capture` gives registers that it has
//! just stored on this stack.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::{self, Registers};
use crate::carried::{is_carried, is_requested};
use crate::fatal;
use crate::handlers::{deliver, must_stay};
use crate::records::ThreadBlock;
use crate::top;
use crate::unwind::{go_on, go_on_in_caller};

/// Points that are still to be passed before a thread moves, over all threads.
static POINTS: AtomicU64 = AtomicU64::new(0);
/// What that number is set to when a thread moves; zero: none moves.
static PERIOD: AtomicU64 = AtomicU64::new(0);

/// Asks for a move at every so many migration points from now; zero: for none.
pub(crate) fn arm(every: u64) {
    if is_carried() {
        return;
    }
    unsafe extern "C" {
        static __maize_request: core::sync::atomic::AtomicU32;
    }
    POINTS.store(every, Ordering::Relaxed);
    PERIOD.store(every, Ordering::Relaxed);
    // SAFETY: the word is the program's own, in a page of this instance.
    unsafe { __maize_request.fetch_add(u32::from(every != 0), Ordering::Relaxed) };
}

/// Has the polls of all threads look, until as often not: one of them has a signal.
pub(crate) fn ask(yes: bool) {
    unsafe extern "C" {
        static __maize_request: core::sync::atomic::AtomicU32;
    }
    // SAFETY: as above.
    let word = unsafe { &__maize_request };
    if yes {
        word.fetch_add(1, Ordering::Relaxed);
    } else {
        word.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The running thread's block.
pub(crate) fn block() -> &'static mut ThreadBlock {
    // SAFETY: the thread pointer is the block's address from `start` on, the block is the thread's
    // alone, and no caller keeps the reference across another call of this.
    unsafe { &mut *(arch::thread_pointer() as *mut ThreadBlock) }
}

#[unsafe(no_mangle)]
extern "C" fn maize_migration_point(registers: &mut Registers) {
    deliver(registers);
    if must_stay() {
        return;
    }
    if is_carried() {
        if is_requested() {
            top::begun();
            go_on(registers);
        }
        return;
    }
    let every = PERIOD.load(Ordering::Relaxed);
    if every == 0 {
        return;
    }
    let next = |left: u64| Some(if left <= 1 { every } else { left - 1 });
    let left = POINTS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    if left.is_ok_and(|left| left > 1) {
        return;
    }
    top::begun();
    go_on(registers)
}

#[unsafe(no_mangle)]
extern "C" fn maize_next_frame() -> ! {
    go_on_in_caller()
}

/// Begins a record: what a pad calls first.
#[unsafe(no_mangle)]
extern "C" fn __maize_record(site: u32, bytes: u32) -> u64 {
    // SAFETY: `start` gave the block its memory for records.
    match unsafe { block().begin_record(site, bytes) } {
        Ok(address) => address,
        Err(_) => fatal("a thread's frames do not fit into its records"),
    }
}

/// A system call of the program, by the neutral target's numbers.
#[unsafe(no_mangle)]
extern "C" fn __maize_syscall(number: u64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> i64 {
    crate::image::program_syscall(number, [a, b, c, d, e, f])
}

/// Makes another block the thread's: the C library lays out its own.
#[unsafe(no_mangle)]
extern "C" fn __maize_set_thread_block(pointer: u64) {
    let old = block();
    // SAFETY: the C library has made room for a block there.
    unsafe {
        (pointer as *mut ThreadBlock).write(ThreadBlock { this: pointer, ..*old });
    }
    arch::set_thread_pointer(pointer);
}

/// Name of the instruction set that runs now.
#[unsafe(no_mangle)]
extern "C" fn __maize_isa() -> u32 {
    u32::from(arch::ISA.elf_machine())
}
