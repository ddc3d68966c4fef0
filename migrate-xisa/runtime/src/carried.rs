//! Moves by a kernel: it asks by the request word, and carries a thread whose frames are records.
//!
//! Soundness: the request page is the program's own, and whoever maps it keeps its words readable.

use core::sync::atomic::{AtomicU32, Ordering};

use maize_abi::migration::{CARRIED, LEAVE, PRIVATE, PROGRAM_DATA, REQUEST_PAGE, REQUESTED};
use maize_xisa_metadata::fpu::Fpu;
use maize_xisa_metadata::{Isa, address};

use crate::arch;
use crate::clone::stack_top;
use crate::drive::{Begin, drive};
use crate::records::ThreadBlock;
use crate::thread::block;
use crate::top::{self, TOP_BYTES};

const _: () = assert!(
    address::REQUEST_PAGE == REQUEST_PAGE
        && address::PROGRAM_DATA == PROGRAM_DATA
        && address::UNWIND_INDEX == PRIVATE.start
);

/// Where a thread that leaves goes.
const OTHER: Isa = match arch::ISA {
    Isa::X86_64 => Isa::Aarch64,
    Isa::Aarch64 => Isa::X86_64,
};

fn word(offset: u64) -> u32 {
    // SAFETY: an aligned word of the request page.
    let word = unsafe { &*((REQUEST_PAGE + offset) as *const AtomicU32) };
    word.load(Ordering::Relaxed)
}

/// Whether a kernel carries threads between instruction sets. It cannot be told before the program
/// runs, and it stays so: nothing private to an instruction set may be written then.
pub(crate) fn is_carried() -> bool {
    word(CARRIED) != 0
}

/// Whether the kernel asks the running thread to move.
pub(crate) fn is_requested() -> bool {
    word(REQUESTED) != 0
}

/// Hands the running thread, whose frames are records, to the kernel. Returns if it is to stay.
pub(crate) fn leave() {
    top::saved();
    if is_carried() {
        let environment = u64::from(arch::fpu().to_mxcsr());
        let ThreadBlock { this, record_base, record_top, record_limit, data_stack, .. } = *block();
        let stack = record_limit + stack_top(OTHER) - TOP_BYTES;
        let arguments = [this, environment, record_base, record_top, data_stack, stack];
        arch::raw_syscall(LEAVE, arguments);
    }
    top::arrived();
}

/// A thread that has left another instruction set goes on here.
#[unsafe(no_mangle)]
extern "C" fn maize_arrive(environment: u64) -> ! {
    top::arrived();
    arch::set_fpu(Fpu::from_mxcsr(environment as u32));
    // As for the block: the page of the innermost record comes once, to be written.
    // SAFETY: above the records there is room, which holds nothing.
    unsafe { (block().record_top as *mut u64).write_volatile(0) };
    let status = drive(Begin::Records, &mut leave);
    if block().native == 0 {
        // The first thread: its return is the program's.
        arch::exit(status as i32)
    }
    crate::clone::exit(0, 0)
}
