//! What the shared code needs from this board.

use maize_arch_aarch64::entry::{self, BootInfo, SIBLING};
use maize_arch_aarch64::fault::{self, KernelException};
use maize_arch_aarch64::{FAILED, firmware, frame_pointer};
use maize_platform::{End, Hooks, KernelFault, siblings};

use crate::{console, mapping};

/// Makes panics, kernel faults, the log and drivers reach this board. Its first instance ends the
/// machine when it ends; a sibling turns its processor off.
pub fn install(boot: &BootInfo) {
    maize_platform::install(Hooks {
        console: console::write,
        map_device: mapping::device,
        map_memory: mapping::memory,
        stack: entry::stacks,
        frame_pointer,
        end: if boot.device_tree & SIBLING == 0 { end } else { rest },
    });
    fault::set_reporter(report);
}

fn end(how: End) -> ! {
    firmware::exit(match how {
        End::Done => 0,
        End::Failed => FAILED,
    })
}

/// Ends a sibling: its processor is off until it is started again.
fn rest(_: End) -> ! {
    siblings::leave();
    firmware::rest()
}

fn report(what: &str, exception: &KernelException) -> ! {
    maize_platform::fault(&KernelFault {
        what: format_args!("{what} in the kernel at address {:#x}", exception.address),
        registers: &exception.registers(),
        pc: exception.pc as usize,
        frame: exception.frame() as usize,
    })
}
