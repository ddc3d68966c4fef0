//! The end of a kernel that took an exception of its own.
#![allow(unsafe_code, reason = "called from assembly")]

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::firmware;

/// Registers at an exception inside the kernel, as `kernel_exception` stores them.
#[repr(C)]
struct Dump {
    x: [u64; 31],
    sp: u64,
    pc: u64,
    pstate: u64,
    syndrome: u64,
    address: u64,
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, x) in self.x.iter().enumerate() {
            let end = if i % 4 == 3 { '\n' } else { ' ' };
            write!(f, "x{i:<2} {x:016x}{end}")?;
        }
        writeln!(f, "sp  {:016x}", self.sp)?;
        write!(f, "pc  {:016x} pstate {:08x}", self.pc, self.pstate)
    }
}

/// What was going on, by the vector's number.
fn kind(vector: u64, syndrome: u64) -> &'static str {
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

static FAULTED: AtomicBool = AtomicBool::new(false);

#[unsafe(no_mangle)]
extern "C" fn kernel_fault(dump: &Dump, vector: u64) -> ! {
    if firmware::is_exiting() {
        firmware::power_off();
    }
    // A fault while reporting one: the report is lost, the status is not.
    if FAULTED.swap(true, Ordering::Relaxed) {
        firmware::exit(crate::FAILED);
    }
    let (syndrome, address) = (dump.syndrome, dump.address);
    panic!(
        "{} in the kernel: syndrome {syndrome:#x}, address {address:#x}\n{dump}",
        kind(vector, syndrome)
    );
}
