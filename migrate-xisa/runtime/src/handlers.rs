//! Calls the program's signal handlers: see [`crate::signals`].
//!
//! Soundness: a thread's area lies below its records and is its own; what is in it is changed while the
//! kernel holds signals back, or by the runtime's handler, which runs to its end first. The actions are
//! the process's, and whoever holds their lock is not interrupted. A handler's caller is a function of
//! the program, and its delivery lies on the thread's data stack.

use core::sync::atomic::{AtomicU32, Ordering};

use maize_abi::migration::ASK;
use maize_abi::signal::{sa, si_code};
use maize_xisa_metadata::record::{HEADER_BYTES, SIGNAL_BYTES, SIGNAL_SITE};

use crate::arch::{self, Registers, native_syscall};
use crate::carried::is_carried;
use crate::fatal;
use crate::image::THREAD;
use crate::masks::{SET_BYTES, change_mask, set_mask, settle};
use crate::signals::{
    AREA_BYTES, Action, Actions, Area, DISABLED, Delivery, INFO_WORDS, ON_STACK, Waiting,
    all_but_faults, bit, handler_mask, handler_top, is_fault, is_handler, is_on, kernel_flags,
    may_wait, restarts,
};
use crate::syscall::{GETPID, GETTID, RT_SIGACTION, RT_SIGQUEUEINFO, RT_TGSIGQUEUEINFO};
use crate::thread::{self, block};
use crate::unwind::{self, go_on};

const EINVAL: i64 = -22;
const EPERM: i64 = -1;
const ENOMEM: i64 = -12;
/// Fewest bytes of an alternate stack.
const MIN_STACK: u64 = 2048;

const _: () = assert!(size_of::<Actions>() as u64 + AREA_BYTES <= RESERVED);

/// Bytes below the first thread's records: the process's actions, and the thread's area at the end.
pub(crate) const RESERVED: u64 = 4096;

/// What a record between a handler's frames and the frame that it interrupted holds.
#[derive(Clone, Copy)]
#[repr(C)]
struct Interrupted {
    /// Top of the data stack before the handler.
    top: u64,
    /// The handler's [`Delivery`], whose mask comes back.
    delivery: u64,
    /// [`Area::restart`] after it.
    restart: u64,
    zero: u64,
}

const _: () = assert!(SIGNAL_BYTES as usize == HEADER_BYTES as usize + size_of::<Interrupted>());

/// The running thread's area.
pub(crate) fn area() -> &'static mut Area {
    // SAFETY: it lies below the thread's records, zeroed at first, and no caller keeps the reference
    // across another call of this.
    unsafe { &mut *((block().record_base - AREA_BYTES) as *mut Area) }
}

/// Does something with the process's actions, undisturbed.
fn with_actions<R>(f: impl FnOnce(&mut [Action; 64]) -> R) -> R {
    let mask = set_mask(u64::MAX);
    let actions = THREAD as *mut Actions;
    // SAFETY: they lie in the first thread's memory, zeroed at first; nobody changes the lock but by its
    // operations.
    let lock: &AtomicU32 = unsafe { &(*actions).lock };
    while lock.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        core::hint::spin_loop();
    }
    // SAFETY: the lock is held.
    let result = f(unsafe { &mut (*actions).actions });
    lock.store(0, Ordering::Release);
    set_mask(mask);
    result
}

fn action_of(number: u64) -> Action {
    let index = (number as usize).wrapping_sub(1);
    with_actions(|actions| actions.get(index).copied().unwrap_or_default())
}

/// Gives the kernel an action, of which a handler becomes the runtime's.
fn tell_kernel(number: u64, action: &Action, old: u64) -> i64 {
    let own = is_handler(action.handler);
    let native = if own {
        let (entry, back) = arch::signal_entry();
        [entry, kernel_flags(action.flags), back, u64::MAX]
    } else {
        [action.handler, action.flags & !sa::SA_RESTORER, 0, action.mask]
    };
    let arguments = [number, &raw const native as u64, old, SET_BYTES, 0, 0];
    native_syscall(u64::from(RT_SIGACTION), arguments)
}

/// `rt_sigaction` of the program.
pub(crate) fn action(arguments: [u64; 6]) -> i64 {
    let [number, wanted, old, ..] = arguments;
    let index = (number as usize).wrapping_sub(1);
    let mut before = [0_u64; 4];
    let place = &raw mut before as u64;
    let (result, was) = with_actions(|actions| {
        let Some(own) = actions.get_mut(index) else { return (EINVAL, Action::default()) };
        let was = *own;
        let result = if wanted == 0 {
            native_syscall(u64::from(RT_SIGACTION), [number, 0, place, SET_BYTES, 0, 0])
        } else {
            // SAFETY: the program gives a structure, as it would the kernel.
            let new = unsafe { (wanted as *const Action).read_unaligned() };
            let result = tell_kernel(number, &new, place);
            if result == 0 {
                *own = new;
            }
            result
        };
        (result, was)
    });
    if result == 0 && old != 0 {
        let [handler, flags, _, mask] = before;
        let entry = arch::signal_entry().0;
        let native = Action { handler, flags, caller: 0, mask };
        // SAFETY: the program gives room for a structure, as it would the kernel.
        unsafe {
            (old as *mut Action).write_unaligned(if handler == entry { was } else { native });
        }
    }
    result
}

/// Gives the signal that waits back to the kernel.
pub(crate) fn put_back() {
    let signal = take();
    queue(&signal.info);
}

/// Gives a signal that waits back to the kernel, before its thread ends: another thread may take it.
/// All signals are held.
pub(crate) fn forsake() {
    if area().waits.load(Ordering::Relaxed) != 0 {
        put_back();
    }
}

/// The number and the code of a `siginfo_t`.
fn number_and_code(info: &[u64; INFO_WORDS]) -> (u64, i32) {
    (info[0] & 0xffff_ffff, info[1] as u32 as i32)
}

/// Makes a signal pending: for the running thread if it was sent to that, else for the process, of which
/// any thread may take it.
fn queue(info: &[u64; INFO_WORDS]) {
    let (number, code) = number_and_code(info);
    let [process, thread] =
        [GETPID, GETTID].map(|call| native_syscall(u64::from(call), [0; 6]) as u64);
    let info = info.as_ptr() as u64;
    if code == si_code::SI_TKILL {
        let arguments = [process, thread, number, info, 0, 0];
        native_syscall(u64::from(RT_TGSIGQUEUEINFO), arguments);
    } else {
        native_syscall(u64::from(RT_SIGQUEUEINFO), [process, number, info, 0, 0, 0]);
    }
}

/// `sigaltstack` of the program: its stack becomes a handler's data stack.
pub(crate) fn alternate_stack(arguments: [u64; 6]) -> i64 {
    let [wanted, old, ..] = arguments;
    let before = area().stack;
    let none = before[2] == 0;
    let on = !none && is_on(before, block().data_stack);
    if wanted != 0 {
        // SAFETY: the program gives a structure, as it would the kernel.
        let [start, flags, bytes] = unsafe { (wanted as *const [u64; 3]).read_unaligned() };
        let flags = flags & 0xffff_ffff;
        if on {
            return EPERM;
        }
        if flags & !(DISABLED | ON_STACK) != 0 {
            return EINVAL;
        }
        if flags & DISABLED == 0 && bytes < MIN_STACK {
            return ENOMEM;
        }
        area().stack = if flags & DISABLED != 0 { [0, DISABLED, 0] } else { [start, 0, bytes] };
    }
    if old != 0 {
        let flags = if none { DISABLED } else { u64::from(on) };
        // SAFETY: the program gives room for a structure, as it would the kernel.
        unsafe { (old as *mut [u64; 3]).write_unaligned([before[0], flags, before[2]]) };
    }
    0
}

/// A system call that may wait is not begun while a signal waits for its handler.
pub(crate) fn system_call(number: u64, arguments: [u64; 6]) -> i64 {
    area().restart = 1;
    if may_wait(number) {
        arch::waiting_syscall(number, arguments, &area().waits)
    } else {
        native_syscall(number, arguments)
    }
}

/// Whether a signal waits for its handler.
#[unsafe(no_mangle)]
extern "C" fn __maize_signalled() -> u32 {
    area().waits.load(Ordering::Relaxed)
}

/// Whether a system call that a signal met begins again, now that the handlers have run.
#[unsafe(no_mangle)]
extern "C" fn __maize_restarts(number: u64, result: i64, limit: u64) -> u32 {
    u32::from(restarts(number, result, limit, area().restart != 0))
}

/// Tells the thread's polls that a signal waits.
pub(crate) fn arm() {
    area().armed = 1;
    if is_carried() {
        arch::raw_syscall(ASK, [1, 0, 0, 0, 0, 0]);
    } else {
        thread::ask(true);
    }
}

/// Takes the signal that waits. A signal of a fault's number that somebody has sent can still arrive: only
/// when this is over it may take the place.
fn take() -> Waiting {
    let area = area();
    if core::mem::take(&mut area.armed) != 0 {
        if is_carried() {
            arch::raw_syscall(ASK, [0; 6]);
        } else {
            thread::ask(false);
        }
    }
    let signal = area.signal;
    area.waits.store(0, Ordering::Release);
    signal
}

/// The handler of all signals, as the kernel calls it.
#[unsafe(no_mangle)]
extern "C" fn maize_signal_arrived(number: u32, info: *const u64, context: *mut u8) {
    let number = u64::from(number);
    // SAFETY: the kernel gives a `siginfo_t` of 128 bytes.
    let info = unsafe { info.cast::<[u64; INFO_WORDS]>().read() };
    let (_, code) = number_and_code(&info);
    let action = action_of(number);
    // SAFETY: the kernel gives this instruction set's context.
    let mask = unsafe { arch::context_mask(context) };
    let signal = Waiting { number, action, mask: *mask, info };
    // SAFETY: as above.
    let pc = unsafe { arch::context_pc(context) };
    if is_fault(number, code) {
        if unwind::is_program(*pc) {
            *mask = fault(signal, context);
        } else {
            // The runtime's own, by an address that the program gave: nothing can be unwound there.
            tell_kernel(number, &Action::default(), 0);
        }
        return;
    }
    if area().waits.load(Ordering::Relaxed) != 0 {
        *mask |= bit(number);
        queue(&signal.info);
        return;
    }
    area().signal = signal;
    *mask = all_but_faults();
    let [start, end, instead] = arch::waiting_window();
    let calls = (start..=end).contains(pc);
    if (start..end).contains(pc) {
        *pc = instead;
    }
    area().waits.store(1, Ordering::Release);
    // After a call it is looked for.
    if !calls {
        arm();
    }
}

/// Calls the handler of a fault at once. The kernel's mask after it. It begins and ends with all signals
/// held; another signal may wait all the while, and then the kernel's mask was not the program's.
fn fault(mut signal: Waiting, context: *const u8) -> u64 {
    if area().waits.load(Ordering::Relaxed) != 0 {
        signal.mask = area().signal.mask;
    }
    area().faults += 1;
    set_mask(settle(handler_mask(&signal)));
    let run = call(&signal);
    area().faults -= 1;
    if run.returned {
        set_mask(u64::MAX);
        // SAFETY: the handler has returned, so its delivery is still there.
        return settle(unsafe { (*run.delivery).mask[0] });
    }
    // It has jumped: its frames are saved, the one that it met cannot be.
    // SAFETY: the kernel's context holds the registers of that frame.
    let registers = unsafe { arch::context_registers(context) };
    crate::jump::pass_over();
    unwind::go_on_from(&registers)
}

/// How a handler's call ended.
struct Run {
    /// Whether it returned; else its frames have been saved.
    returned: bool,
    /// What it was given.
    delivery: *mut Delivery,
    /// Top of the data stack before.
    top: u64,
}

/// Calls a handler, whose frames must be able to leave.
fn call(signal: &Waiting) -> Run {
    let Waiting { number, action, mask, info } = *signal;
    let (top, stack) = (block().data_stack, area().stack);
    let start = handler_top(stack, top, action.flags);
    let delivery = ((start - size_of::<Delivery>() as u64) & !15) as *mut Delivery;
    let on = if stack[2] == 0 { DISABLED } else { u64::from(is_on(stack, top)) };
    let mut sets = [0; 16];
    sets[0] = mask;
    // SAFETY: the place is free memory of the thread's data stack, or of the program's other stack.
    unsafe {
        delivery.write(Delivery {
            number,
            handler: action.handler,
            flags: action.flags,
            zero: 0,
            info,
            context: [0; 2],
            stack: [stack[0], on, stack[2]],
            mask: sets,
            registers: [0; 99],
        });
    }
    block().data_stack = delivery as u64;
    // SAFETY: the C library has given a function that takes a delivery.
    let outcome = unsafe { arch::maize_enter(action.caller, delivery as u64, 0) };
    let returned = outcome.status == 0;
    if returned {
        block().data_stack = top;
    }
    Run { returned, delivery, top }
}

/// Calls the handlers of all signals that wait, at a migration point. If one of them leaves, so does
/// the thread.
pub(crate) fn deliver(registers: &mut Registers) {
    while area().waits.load(Ordering::Relaxed) != 0 {
        let signal = take();
        let restart = area().restart & u32::from(signal.action.flags & sa::SA_RESTART != 0);
        change_mask(handler_mask(&signal));
        let run = call(&signal);
        if !run.returned {
            let saved = Interrupted {
                top: run.top,
                delivery: run.delivery as u64,
                restart: u64::from(restart),
                zero: 0,
            };
            // SAFETY: the block has room for records, and the record has this size.
            match unsafe { block().begin_record(SIGNAL_SITE, SIGNAL_BYTES) } {
                // SAFETY: as above.
                Ok(at) => unsafe {
                    ((at + u64::from(HEADER_BYTES)) as *mut Interrupted).write(saved);
                },
                Err(_) => fatal("a thread's frames do not fit into its records"),
            }
            go_on(registers)
        }
        area().restart = restart;
        // SAFETY: the handler has returned, so its delivery is still there.
        change_mask(unsafe { (*run.delivery).mask[0] });
    }
}

/// A handler that had left has returned: the frame that it interrupted is next.
pub(crate) fn finished(record: u64) {
    // SAFETY: the record is one that `deliver` made, here or on another instruction set.
    let saved = unsafe { ((record + u64::from(HEADER_BYTES)) as *const Interrupted).read() };
    block().data_stack = saved.top;
    area().restart = saved.restart as u32;
    // SAFETY: the delivery is memory of the program, which the frame below has not used yet.
    change_mask(unsafe { (*(saved.delivery as *const Delivery)).mask[0] });
}

/// Whether the thread must stay: a frame of the kernel's is on its stack.
pub(crate) fn must_stay() -> bool {
    area().faults != 0
}

/// What is known of the thread's signals, for its saved state: its mask, and its other stack. From then on
/// all signals are held: one that came later would be in one half of what is saved.
pub(crate) fn state() -> maize_xisa_metadata::Signals {
    let now = set_mask(u64::MAX);
    let waits = area().waits.load(Ordering::Relaxed) != 0;
    let [start, _, bytes] = area().stack;
    maize_xisa_metadata::Signals {
        blocked: if waits { area().signal.mask } else { now },
        pending: if waits { bit(area().signal.number) } else { 0 },
        alternate_stack: (start, bytes),
    }
}

/// Makes the kernel know what it has to, in the process where a thread goes on.
pub(crate) fn resume(blocked: u64) {
    for number in 1..=64 {
        let action = action_of(number);
        if action != Action::default() {
            tell_kernel(number, &action, 0);
        }
    }
    if area().waits.load(Ordering::Relaxed) != 0 {
        set_mask(all_but_faults());
        arm();
    } else {
        change_mask(blocked);
    }
}
