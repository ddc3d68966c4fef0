//! The end of an instance that found itself broken.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::console::line_at_once as line;
use crate::siblings::ConsoleTurn;
use crate::{End, end, hooks};

static PANICKING: AtomicBool = AtomicBool::new(false);

/// A fault that the processor took while it ran kernel code.
#[derive(Debug)]
pub struct KernelFault<'a> {
    /// What happened.
    pub what: fmt::Arguments<'a>,
    /// Registers by name at that moment.
    pub registers: &'a [(&'a str, u64)],
    /// Program counter.
    pub pc: usize,
    /// Frame pointer.
    pub frame: usize,
}

/// Reports a fault of the kernel and ends the instance as failed.
pub fn fault(fault: &KernelFault<'_>) -> ! {
    if !PANICKING.swap(true, Ordering::Relaxed) {
        let _turn = ConsoleTurn::take();
        line(format_args!("kernel panic: {}", fault.what));
        for four in fault.registers.chunks(4) {
            line(format_args!("{}", Registers(four)));
        }
        line(format_args!("  #0 {:#018x}", fault.pc));
        print_backtrace(1, fault.frame);
    }
    end(End::Failed)
}

/// Some registers, as one line of a report.
struct Registers<'a>(&'a [(&'a str, u64)]);

impl fmt::Display for Registers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| write!(f, "  {name:>8} {value:016x}"))
    }
}

/// Prints the return addresses above the frame record at `frame` for the launcher to symbolise: one
/// line `  #N 0x…` each, counted from `first`.
fn print_backtrace(first: usize, frame: usize) {
    let Some(hooks) = hooks() else { return };
    let mut number = first;
    crate::backtrace::walk(frame, &(hooks.stack)(), |address| {
        line(format_args!("  #{number} {address:#018x}"));
        number += 1;
    });
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    // A panic while panicking tells nothing new and could go on for ever.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        let _turn = ConsoleTurn::take();
        line(format_args!("kernel panic: {}", info.message()));
        if let Some(at) = info.location() {
            line(format_args!("  at {at}"));
        }
        if let Some(hooks) = hooks() {
            print_backtrace(0, (hooks.frame_pointer)());
        }
    }
    end(End::Failed)
}
