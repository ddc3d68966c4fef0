//! The end of a kernel that took an exception of its own.
#![allow(unsafe_code, reason = "called from assembly")]

use core::sync::atomic::{AtomicBool, Ordering};

use spin::Once;

use crate::firmware;

/// An exception taken inside the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KernelException {
    // As `kernel_exception` stores them.
    /// `x0` to `x30`.
    pub x: [u64; 31],
    /// Stack pointer.
    pub sp: u64,
    /// Program counter.
    pub pc: u64,
    /// Processor state.
    pub pstate: u64,
    /// `ESR_EL1`.
    pub syndrome: u64,
    /// `FAR_EL1`.
    pub address: u64,
}

impl KernelException {
    /// The frame pointer.
    #[must_use]
    pub const fn frame(&self) -> u64 {
        self.x[29]
    }

    /// The registers by name.
    #[must_use]
    pub fn registers(&self) -> [(&'static str, u64); 36] {
        const NAMES: [&str; 36] = [
            "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
            "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25",
            "x26", "x27", "x28", "x29", "x30", "sp", "pc", "pstate", "esr", "far",
        ];
        let rest = [self.sp, self.pc, self.pstate, self.syndrome, self.address];
        let mut values = self.x.iter().chain(&rest);
        NAMES.map(|name| (name, values.next().copied().unwrap_or_default()))
    }
}

/// What was going on, by the number of the vector and the syndrome's class.
const fn kind(vector: u64, syndrome: u64) -> &'static str {
    match (vector % 4, syndrome >> 26 & 0x3f) {
        (0, 0x00) => "undefined instruction",
        (0, 0x0e) => "illegal execution state",
        (0, 0x21) => "instruction abort",
        (0, 0x22) => "misaligned program counter",
        (0, 0x25) => "data abort",
        (0, 0x26) => "misaligned stack pointer",
        (0, 0x3c) => "breakpoint",
        (0, _) => "synchronous exception",
        (1, _) => "interrupt",
        (2, _) => "fast interrupt",
        (_, _) => "system error",
    }
}

/// Reports an exception, which it gets with a word for what it was, and ends the instance.
pub type Reporter = fn(&str, &KernelException) -> !;

static REPORTER: Once<Reporter> = Once::new();

static FAULTED: AtomicBool = AtomicBool::new(false);

/// Sets who reports exceptions taken inside the kernel. Only the first call counts.
pub fn set_reporter(reporter: Reporter) {
    REPORTER.call_once(|| reporter);
}

#[unsafe(no_mangle)]
extern "C" fn kernel_fault(exception: &KernelException, vector: u64) -> ! {
    if firmware::is_exiting() {
        // The machine has no semihosting: its exit call was the undefined instruction.
        firmware::power_off();
    }
    // A fault while reporting one: the report is lost, the status is not.
    if FAULTED.swap(true, Ordering::Relaxed) {
        firmware::exit(crate::FAILED);
    }
    match REPORTER.get() {
        Some(report) => report(kind(vector, exception.syndrome), exception),
        None => firmware::exit(crate::FAILED),
    }
}
