//! Threads of the C library.
//!
//! What the C library calls a thread's stack becomes its data stack. Native stacks and the records
//! are memory of the runtime, which the thread gives back as the last thing it does.
//!
//! Soundness: a thread's memory is its own from before it begins until it ends; its first word is on
//! its native stack.

use core::sync::atomic::{AtomicBool, Ordering};

use maize_xisa_metadata::Isa;

use crate::arch;
use crate::carried::{is_carried, leave};
use crate::drive::{Begin, drive};
use crate::image::map_anywhere;
use crate::records::ThreadBlock;
use crate::signals::AREA_BYTES;
use crate::syscall::{MUNMAP, RT_SIGPROCMASK};
use crate::thread::block;
use crate::top::TOP_BYTES;

/// Bytes of a native stack of a thread: it has one for each instruction set, so that none is sent
/// from one to another.
const STACK_BYTES: u64 = 256 << 10;
/// Bytes between a thread's records and its native stacks.
const STACK_GAP: u64 = 4096;
/// Bytes of a thread's records, and of what it keeps of its signals below them.
const RECORD_BYTES: u64 = 1 << 20;
/// Bytes of the runtime's memory for a thread: records, then native stacks.
const NATIVE_BYTES: u64 = RECORD_BYTES + STACK_GAP + 2 * STACK_BYTES;

/// From the end of a thread's records to the top of the native stack that it has for an instruction
/// set.
pub(crate) const fn stack_top(isa: Isa) -> u64 {
    let number = match isa {
        Isa::X86_64 => 1,
        Isa::Aarch64 => 2,
    };
    STACK_GAP + number * STACK_BYTES
}

/// `CLONE_SETTLS`: without it the caller wants a process, not a thread.
const SET_POINTER: u64 = 0x8_0000;
const ENOSYS: i64 = -38;
const ENOMEM: i64 = -12;

/// As [`stack_top`], for this instruction set.
pub(crate) const STACK_TOP: u64 = stack_top(arch::ISA);

static MADE: AtomicBool = AtomicBool::new(false);

/// Whether the program has ever made a thread.
pub(crate) fn threads_were_made() -> bool {
    MADE.load(Ordering::Relaxed)
}

/// What a thread begins with.
#[repr(C, align(16))]
struct Start {
    function: u64,
    argument: u64,
}

/// Makes a thread that calls `function(argument)`.
#[unsafe(no_mangle)]
extern "C" fn __maize_clone(
    function: u64,
    argument: u64,
    data_stack: u64,
    flags: u64,
    parent: u64,
    pointer: u64,
    child: u64,
) -> i64 {
    if flags & SET_POINTER == 0 {
        return ENOSYS;
    }
    let Some(memory) = map_anywhere(NATIVE_BYTES) else { return ENOMEM };
    let (records, limit) = (memory + AREA_BYTES, memory + RECORD_BYTES);
    let start = limit + STACK_TOP - TOP_BYTES - size_of::<Start>() as u64;
    let first = ThreadBlock {
        this: pointer,
        data_stack: data_stack & !15,
        record_head: 0,
        record_top: records,
        saving: 0,
        record_limit: limit,
        record_base: records,
        native: memory,
    };
    // SAFETY: both places are memory of the thread, which has not begun.
    unsafe {
        (start as *mut Start).write(Start { function, argument });
        (pointer as *mut ThreadBlock).write(first);
    }
    if !is_carried() {
        MADE.store(true, Ordering::Relaxed);
    }
    // SAFETY: the stack is new; the rest is what the C library would give the kernel.
    let made = unsafe { arch::maize_clone(flags, start, parent, child, pointer, start) };
    if made < 0 {
        let whole = [memory, NATIVE_BYTES, 0, 0, 0, 0];
        arch::native_syscall(u64::from(MUNMAP), whole);
    }
    made
}

#[unsafe(no_mangle)]
extern "C" fn maize_thread(start: &Start) -> ! {
    drive(Begin::Call(start.function, start.argument), &mut leave);
    exit(0, 0)
}

/// Ends the running thread, after some memory has been unmapped that it may be in itself.
pub(crate) fn exit(memory: u64, bytes: u64) -> ! {
    let native = block().native;
    // From here on there is no room for a signal's frame, nor for what is kept of it.
    let all = u64::MAX;
    let arguments = [0, &raw const all as u64, 0, size_of_val(&all) as u64, 0, 0];
    arch::native_syscall(u64::from(RT_SIGPROCMASK), arguments);
    crate::handlers::forsake();
    if native == 0 {
        // The first thread: the kernel's own stack, which stays.
        // SAFETY: nothing is unmapped that was not asked for.
        unsafe { arch::maize_exit_thread(memory, bytes, 0, 0) }
    }
    // SAFETY: nothing of the thread runs after this.
    unsafe { arch::maize_exit_thread(memory, bytes, native, NATIVE_BYTES) }
}

/// Ends the running thread and unmaps its data stack.
#[unsafe(no_mangle)]
extern "C" fn __maize_exit_thread(memory: u64, bytes: u64) -> ! {
    exit(memory, bytes)
}
