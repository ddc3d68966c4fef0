//! The processor: entry, registers of frames, system calls.
//!
//! This is code of one instruction set by nature: it is the program's half of a context switch.

use core::sync::atomic::AtomicU32;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

const ENOSYS: i64 = -38;

/// The two registers that every frame has, by the instruction set's numbers.
macro_rules! of_frames {
    ($($registers:ty),*) => {$(
        impl $registers {
            pub(crate) fn pc(&self) -> u64 {
                self.general[PC]
            }

            pub(crate) fn set_pc(&mut self, pc: u64) {
                self.general[PC] = pc;
            }

            pub(crate) fn sp(&self) -> u64 {
                self.general[SP]
            }

            pub(crate) fn set_sp(&mut self, sp: u64) {
                self.general[SP] = sp;
            }
        }
    )*};
}

of_frames!(Registers, Kept);

/// How a function that was entered came back.
#[repr(C)]
pub(crate) struct Outcome {
    /// 0: it returned; 1: its frames have been saved.
    pub(crate) status: u64,
    /// What it returned, if that is an integer.
    pub(crate) value: u64,
}

unsafe extern "C" {
    /// Calls `function(first, second)`. Returns when it does, or when unwinding ends here.
    pub(crate) fn maize_enter(function: u64, first: u64, second: u64) -> Outcome;
    /// Where a call of `maize_enter` returns to: no frame of a program lies beyond.
    pub(crate) static maize_entered: u8;
    /// Where unwinding goes on at that place.
    pub(crate) static maize_unwound: u8;
    /// Makes a thread that begins in `maize_thread` with this start: flags, native stack, where the
    /// kernel writes the parent's and the child's word, thread pointer.
    pub(crate) fn maize_clone(
        flags: u64,
        stack: u64,
        parent: u64,
        child: u64,
        pointer: u64,
        start: u64,
    ) -> i64;
    /// Unmaps some memory and the thread's own stack, and ends the thread.
    pub(crate) fn maize_exit_thread(memory: u64, bytes: u64, stack: u64, stack_bytes: u64) -> !;
    /// Makes the registers those of a frame. Does not return.
    pub(crate) fn maize_install(registers: *const Registers) -> !;
    /// The same with those that a callee keeps: a frame has no others across a call.
    pub(crate) fn maize_install_kept(registers: *const Kept) -> !;
}

unsafe extern "C" {
    #[link_name = "maize_signal.slot"]
    static SIGNAL_SLOT: u8;
    #[link_name = "maize_return.slot"]
    static RETURN_SLOT: u8;
    static maize_window: u8;
    static maize_window_end: u8;
    static maize_interrupted: u8;
    /// A system call by this instruction set's number, unless a word is not zero.
    fn maize_waiting_call(number: u64, arguments: *const [u64; 6], waits: *const AtomicU32) -> i64;
}

/// The handler that the kernel is given, and where it returns to: the same addresses on every
/// instruction set.
pub(crate) fn signal_entry() -> (u64, u64) {
    (&raw const SIGNAL_SLOT as u64, &raw const RETURN_SLOT as u64)
}

/// Where a call that may wait has looked whether a signal waits, but has not begun; its end; and where it
/// goes on if one has come.
pub(crate) fn waiting_window() -> [u64; 3] {
    [&raw const maize_window, &raw const maize_window_end, &raw const maize_interrupted]
        .map(|place| place as u64)
}

/// A system call of the program that may wait: not begun if a signal waits for its handler.
pub(crate) fn waiting_syscall(number: u64, arguments: [u64; 6], waits: &AtomicU32) -> i64 {
    // SAFETY: the call takes what the program gave it; the word is the thread's.
    number_of(number)
        .map_or(ENOSYS, |n| unsafe { maize_waiting_call(n, &raw const arguments, waits) })
}

/// Writes bytes to a file, until all are written or it fails.
pub(crate) fn write(file: i32, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let number = u64::from(const { crate::syscall::WRITE });
        let (pointer, length) = (bytes.as_ptr() as u64, bytes.len() as u64);
        let written = native_syscall(number, [file as u64, pointer, length, 0, 0, 0]);
        let Some(rest) = usize::try_from(written).ok().filter(|n| *n > 0) else { return false };
        bytes = bytes.get(rest..).unwrap_or_default();
    }
    true
}

/// Ends every thread.
pub(crate) fn exit(status: i32) -> ! {
    loop {
        native_syscall(
            u64::from(const { crate::syscall::EXIT_GROUP }),
            [status as u64, 0, 0, 0, 0, 0],
        );
    }
}
