//! What the shared code needs from this board.

use maize_arch_aarch64::fault::{self, KernelException};
use maize_arch_aarch64::{FAILED, entry, firmware, frame_pointer};
use maize_platform::{End, Hooks, KernelFault};

use crate::{console, mapping};

/// Makes panics, kernel faults, the log and drivers reach this board.
pub fn install() {
    maize_platform::install(Hooks {
        console: console::write,
        map_device: mapping::device,
        map_memory: mapping::memory,
        stack: entry::stacks,
        frame_pointer,
        end,
    });
    fault::set_reporter(report);
}

fn end(how: End) -> ! {
    firmware::exit(match how {
        End::Done => 0,
        End::Failed => FAILED,
    })
}

fn report(what: &str, exception: &KernelException) -> ! {
    maize_platform::fault(&KernelFault {
        what: format_args!("{what} in the kernel at address {:#x}", exception.address),
        registers: &exception.registers(),
        pc: exception.pc as usize,
        frame: exception.frame() as usize,
    })
}
