//! What the shared code needs from this board.

use log::LevelFilter;
use maize_arch_x86_64::exception::name;
use maize_arch_x86_64::paging::{map_device, map_memory};
use maize_arch_x86_64::{
    FaultFrame, frame_pointer, on_kernel_fault, ports, set_up_processor, stack,
};
use maize_platform::console::log_to_console;
use maize_platform::{End, Hooks, KernelFault, siblings};

use crate::{console, power};

/// Opens the console and makes the log, panics, faults of the kernel and drivers reach this board;
/// takes the processor and the old interrupt controllers from firmware.
///
/// # Safety
/// Called once, first of all, with interrupts off, in the machine's first instance.
#[allow(unsafe_code, reason = "takes the processor over")]
pub unsafe fn open() {
    console::open();
    // SAFETY: the caller's.
    unsafe { take_over(power::end) }
    ports::mask_legacy_interrupts();
}

/// As [`open`], in a sibling: the machine is the first instance's, and goes on when this one ends.
///
/// # Safety
/// As [`open`].
#[allow(unsafe_code, reason = "takes the processor over")]
pub(crate) unsafe fn open_sibling() {
    console::join();
    // SAFETY: the caller's.
    unsafe { take_over(rest) }
}

/// # Safety
/// As [`open`].
#[allow(unsafe_code, reason = "takes the processor over")]
unsafe fn take_over(end: fn(End) -> !) {
    maize_platform::install(Hooks {
        console: console::write,
        map_device: |physical, len| map_device(physical, len).ok(),
        map_memory: |physical, len| map_memory(physical, len).ok(),
        stack,
        frame_pointer,
        end,
    });
    on_kernel_fault(report);
    // SAFETY: the caller's.
    unsafe { set_up_processor() }
    log_to_console(LevelFilter::Info);
}

/// Ends a sibling: its core halts until it is reset.
fn rest(_: End) -> ! {
    siblings::leave();
    ports::stop()
}

fn report(frame: &FaultFrame) -> ! {
    maize_platform::fault(&KernelFault {
        what: format_args!("{} in the kernel", name(frame.vector)),
        registers: &frame.registers(),
        pc: frame.rip as usize,
        frame: frame.rbp as usize,
    })
}
