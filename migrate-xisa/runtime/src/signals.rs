//! Signals of a program: what a thread keeps of one that has arrived, until its handler can run.
//!
//! A handler is a function of the program, so it must only run where its thread could move. The
//! kernel is therefore given one handler for all signals, the runtime's, which only keeps what has
//! arrived and lets the kernel hold all others back. The program's handler is called at the thread's
//! next migration point, or before the system call that the signal met returns. Its frames are like
//! any others: if the thread moves meanwhile they become records, with one of [`SIGNAL_SITE`] between
//! them and the frame that was interrupted, which says what the return of a handler restores.
//!
//! A fault is different: the instruction that caused it cannot be passed. Its handler runs at once, on
//! top of the kernel's frame, and the thread does not move until the handler has returned or jumped.
//!
//! [`SIGNAL_SITE`]: maize_xisa_metadata::record::SIGNAL_SITE

use core::sync::atomic::AtomicU32;

use maize_abi::signal::{Signal, sa};

use crate::syscall;

/// What the program asks for when a signal comes: as `rt_sigaction` of `asm-generic` takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Action {
    /// The handler, or 0 or 1 for the default and for nothing.
    pub handler: u64,
    /// `SA_…`.
    pub flags: u64,
    /// The C library's function that calls the handler with a [`Delivery`].
    pub caller: u64,
    /// Signals that are blocked while the handler runs.
    pub mask: u64,
}

/// Whether a handler is to be called.
#[must_use]
pub fn is_handler(handler: u64) -> bool {
    handler > 1
}

/// The actions of a process, in memory that is the same on every instruction set.
#[derive(Debug)]
#[repr(C)]
pub struct Actions {
    /// Held with all signals blocked.
    pub lock: AtomicU32,
    /// By number, from 1 on.
    pub actions: [Action; 64],
}

/// Bytes of a `siginfo_t`, in words.
pub const INFO_WORDS: usize = 16;

/// A signal that has arrived.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Waiting {
    /// Its number.
    pub number: u64,
    /// What was asked for when it came.
    pub action: Action,
    /// The thread's mask, which comes back after the handler.
    pub mask: u64,
    /// Its `siginfo_t`.
    pub info: [u64; INFO_WORDS],
}

/// What a thread keeps of its signals, below its records.
#[derive(Debug)]
#[repr(C)]
pub struct Area {
    /// Whether [`Self::signal`] waits. The kernel's mask is full then.
    pub waits: AtomicU32,
    /// Whether the thread's polls were told of it.
    pub armed: u32,
    /// Handlers of faults that are under way, on top of a frame of the kernel's.
    pub faults: u32,
    /// Whether all handlers that ran since the last system call began want it restarted.
    pub restart: u32,
    /// The signal that waits.
    pub signal: Waiting,
    /// The program's alternate stack: address, flags, bytes.
    pub stack: [u64; 3],
}

/// Bytes that are kept for an [`Area`].
pub const AREA_BYTES: u64 = 512;
const _: () = assert!(size_of::<Area>() as u64 <= AREA_BYTES);

/// What a handler's caller is given, on the data stack. The context has the form of the neutral target;
/// its registers are zero, since no instruction set's would mean anything on another.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct Delivery {
    /// The signal's number.
    pub number: u64,
    /// The handler.
    pub handler: u64,
    /// `SA_…`.
    pub flags: u64,
    /// Nothing.
    pub zero: u64,
    /// The `siginfo_t`.
    pub info: [u64; INFO_WORDS],
    /// `uc_flags` and `uc_link`.
    pub context: [u64; 2],
    /// `uc_stack`.
    pub stack: [u64; 3],
    /// `uc_sigmask`: the mask that comes back when the handler returns.
    pub mask: [u64; 16],
    /// Up to `uc_mcontext`, and that.
    pub registers: [u64; 99],
}

const _: () = assert!(size_of::<Delivery>() == 160 + 960);

/// A set of one signal.
#[must_use]
pub fn bit(number: u64) -> u64 {
    1_u64.checked_shl((number as u32).wrapping_sub(1)).unwrap_or(0)
}

/// Signals of faults, which must not be blocked while an instruction may cause one.
pub const FAULTS: [Signal; 5] =
    [Signal::SIGILL, Signal::SIGTRAP, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGSEGV];

/// All signals but those of [`FAULTS`].
#[must_use]
pub fn all_but_faults() -> u64 {
    FAULTS.iter().fold(u64::MAX, |mask, signal| mask & !bit(u64::from(signal.number())))
}

/// Whether a signal says that the instruction at the program counter cannot go on. Others may have
/// the same number, but somebody has sent them.
#[must_use]
pub fn is_fault(number: u64, code: i32) -> bool {
    code > 0 && FAULTS.iter().any(|signal| u64::from(signal.number()) == number)
}

/// The flags that the kernel gets of those that the program asked for: what concerns handlers is done
/// here.
#[must_use]
pub fn kernel_flags(flags: u64) -> u64 {
    let kept = sa::SA_NOCLDSTOP | sa::SA_NOCLDWAIT | sa::SA_RESETHAND;
    flags & kept | sa::SA_SIGINFO | sa::SA_RESTORER
}

/// The mask while a handler runs.
#[must_use]
pub fn handler_mask(signal: &Waiting) -> u64 {
    let own = if signal.action.flags & sa::SA_NODEFER == 0 { bit(signal.number) } else { 0 };
    signal.mask | signal.action.mask | own
}

/// `SS_ONSTACK` and `SS_DISABLE`.
pub const ON_STACK: u64 = 1;
/// As Linux has it.
pub const DISABLED: u64 = 2;

/// Whether the data stack's top is on an alternate stack.
#[must_use]
pub fn is_on(stack: [u64; 3], top: u64) -> bool {
    let [start, flags, bytes] = stack;
    flags & DISABLED == 0 && top > start && top - start <= bytes
}

/// Where a handler's part of the data stack begins.
#[must_use]
pub fn handler_top(stack: [u64; 3], top: u64, flags: u64) -> u64 {
    let [start, _, bytes] = stack;
    let other = flags & sa::SA_ONSTACK != 0 && bytes != 0 && stack[1] & DISABLED == 0;
    if other && !is_on(stack, top) { start.wrapping_add(bytes) } else { top }
}

/// Whether a system call may wait for long, so that a signal that has arrived must keep it from
/// beginning.
#[must_use]
pub fn may_wait(number: u64) -> bool {
    u16::try_from(number).is_ok_and(|number| syscall::WAITING.contains(&number))
}

/// The result of a call that has not begun, since a handler is to run before it.
pub const NOT_BEGUN: i64 = -512;

/// Whether a call that a signal met begins again after the handlers. `limit` is its fourth argument,
/// which is a futex's time-out: Linux restarts no call that has waited for part of a time.
#[must_use]
pub fn restarts(number: u64, result: i64, limit: u64, asked_for: bool) -> bool {
    const EINTR: i64 = -4;
    let never = u16::try_from(number).is_ok_and(|number| {
        syscall::NEVER_RESTARTED.contains(&number) || number == syscall::FUTEX && limit != 0
    });
    result == NOT_BEGUN || result == EINTR && asked_for && !never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_restart_as_linux_restarts_them() {
        let read = u64::from(syscall::READ);
        let sleep = u64::from(syscall::NANOSLEEP);
        let futex = u64::from(syscall::FUTEX);
        assert!(restarts(read, -4, 0, true) && !restarts(read, -4, 0, false));
        assert!(!restarts(read, 12, 0, true) && !restarts(read, -11, 0, true));
        assert!(!restarts(sleep, -4, 0, true) && restarts(sleep, NOT_BEGUN, 0, false));
        assert!(restarts(futex, -4, 0, true) && !restarts(futex, -4, 0x1000, true));
        assert!(may_wait(read) && may_wait(futex) && !may_wait(u64::from(syscall::MMAP)));
    }

    #[test]
    fn faults_are_told_from_what_is_sent() {
        let segv = u64::from(Signal::SIGSEGV.number());
        assert!(is_fault(segv, 1) && !is_fault(segv, 0) && !is_fault(segv, -6));
        assert!(is_fault(segv, 0x80) && !is_fault(u64::from(Signal::SIGUSR1.number()), 1));
        assert_eq!(all_but_faults().count_zeros(), 5);
    }

    #[test]
    fn a_handler_runs_on_its_own_stack_once() {
        let stack = [0x1000, 0, 0x800];
        assert_eq!(handler_top(stack, 0x9000, sa::SA_ONSTACK), 0x1800);
        assert_eq!(handler_top(stack, 0x1400, sa::SA_ONSTACK), 0x1400);
        assert_eq!(handler_top(stack, 0x9000, 0), 0x9000);
        assert_eq!(handler_top([0x1000, DISABLED, 0x800], 0x9000, sa::SA_ONSTACK), 0x9000);
        assert_eq!(handler_top([0; 3], 0x9000, sa::SA_ONSTACK), 0x9000);
        assert!(is_on(stack, 0x1800) && !is_on(stack, 0x1000) && !is_on(stack, 0x1801));
    }

    #[test]
    fn masks_have_a_bit_for_each_signal() {
        let mut signal = Waiting { number: 10, mask: 1, ..Waiting::default() };
        signal.action.mask = 4;
        assert_eq!(handler_mask(&signal), 1 | 4 | 1 << 9);
        signal.action.flags = sa::SA_NODEFER;
        assert_eq!(handler_mask(&signal), 5);
        assert_eq!((bit(1), bit(64), bit(0), bit(65)), (1, 1 << 63, 0, 0));
    }
}
