//! The part of a program that saves its frames and enters them again.
//!
//! It is machine code of one instruction set and private to it: a program never holds a pointer
//! into it, and no frame of its is on the stack when a thread moves but those of [`drive`] at the
//! bottom. A poll that finds its word set comes to [`thread`]; [`unwind`] goes outwards from frame to
//! frame through the landing pads that `maize-cc` made, each of which stores a record ([`records`]);
//! at the bottom, [`drive`] hands the thread over and, wherever it goes on, enters the innermost
//! record's resume clone, then the next, each only when its callee has returned.
//!
//! Maize's kernels move threads between instruction sets (`carried`); without one, a program can be
//! tried in user mode: [`trial`] says how.
//!
//! On the host only what needs no processor of its own is built, for tests.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(target_os = "none")]
mod arch;
#[cfg(target_os = "none")]
mod carried;
pub mod cfi;
#[cfg(target_os = "none")]
mod clone;
#[cfg(target_os = "none")]
mod drive;
#[cfg(target_os = "none")]
mod handlers;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod image;
#[cfg(target_os = "none")]
mod jump;
pub mod known;
pub mod lsda;
#[cfg(target_os = "none")]
mod masks;
pub mod records;
pub mod signals;
#[cfg(target_os = "none")]
mod start;
pub mod syscall;
#[cfg(target_os = "none")]
mod thread;
#[cfg(target_os = "none")]
mod top;
pub mod trial;
#[cfg(target_os = "none")]
mod unwind;

/// Ends the program for a reason that only a bug can bring about.
#[cfg(target_os = "none")]
pub(crate) fn fatal(reason: &str) -> ! {
    arch::write(2, b"maize runtime: ");
    arch::write(2, reason.as_bytes());
    arch::write(2, b"\n");
    arch::exit(127)
}

/// What the compiler's own functions call when their frame was overwritten.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn __stack_chk_fail() -> ! {
    fatal("a native frame was overwritten")
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    fatal("a bug of the runtime")
}
