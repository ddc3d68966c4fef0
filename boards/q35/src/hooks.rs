//! What the shared code needs from this board.

use maize_arch_x86_64::exception::name;
use maize_arch_x86_64::paging::map_device;
use maize_arch_x86_64::{FaultFrame, frame_pointer, on_kernel_fault, stack};
use maize_platform::{Hooks, KernelFault};

use crate::{console, power};

/// Makes panics, kernel faults, the log and drivers reach this board.
pub(crate) fn install() {
    maize_platform::install(Hooks {
        console: console::write,
        map_device: |physical, len| map_device(physical, len).ok(),
        stack,
        frame_pointer,
        end: power::end,
    });
    on_kernel_fault(report);
}

fn report(frame: &FaultFrame) -> ! {
    maize_platform::fault(&KernelFault {
        what: format_args!("{} in the kernel", name(frame.vector)),
        registers: &frame.registers(),
        pc: frame.rip as usize,
        frame: frame.rbp as usize,
    })
}
