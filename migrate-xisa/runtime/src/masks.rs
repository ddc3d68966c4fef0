//! Masks of signals: the program's, and the kernel's, which holds all signals back while one waits.
//!
//! A signal may come at any instruction of this. The program's mask is therefore changed by one system call
//! that does not begin if a signal waits; if one does, none other can come, and the program's mask is what is
//! kept of that signal.
//!
//! Soundness: as for [`crate::handlers`].

use core::sync::atomic::Ordering;

use crate::arch::{self, native_syscall};
use crate::handlers::{area, arm, put_back};
use crate::signals::{NOT_BEGUN, all_but_faults, bit};
use crate::syscall::RT_SIGPROCMASK;

const EINVAL: i64 = -22;
/// Bytes of the kernel's `sigset_t`.
pub(crate) const SET_BYTES: u64 = 8;
const SET_MASK: u64 = 2;

/// Sets the kernel's mask and gives the one before.
pub(crate) fn set_mask(mask: u64) -> u64 {
    let mut old = 0_u64;
    let [new, before] = [&raw const mask as u64, &raw mut old as u64];
    native_syscall(u64::from(RT_SIGPROCMASK), [SET_MASK, new, before, SET_BYTES, 0, 0]);
    old
}

/// `rt_sigprocmask` of the program. While a signal waits, the kernel's mask is not the program's; one that
/// comes in the middle of this keeps the kernel from being asked.
pub(crate) fn of_program(arguments: [u64; 6]) -> i64 {
    let [how, wanted, old, bytes, ..] = arguments;
    let result = ask_for_mask(arguments);
    if result != NOT_BEGUN {
        return result;
    }
    if bytes != SET_BYTES {
        return EINVAL;
    }
    let before = area().signal.mask;
    if wanted != 0 {
        // SAFETY: the program gives a set, as it would the kernel.
        let set = unsafe { (wanted as *const u64).read_unaligned() };
        let mask = match how {
            0 => before | set,
            1 => before & !set,
            SET_MASK => set,
            _ => return EINVAL,
        };
        set_mask(settle(mask));
    }
    if old != 0 {
        // SAFETY: the program gives room for a set, as it would the kernel.
        unsafe { (old as *mut u64).write_unaligned(before) };
    }
    0
}

/// `rt_sigprocmask` of the kernel, unless a signal waits: [`NOT_BEGUN`].
fn ask_for_mask(arguments: [u64; 6]) -> i64 {
    arch::waiting_syscall(u64::from(RT_SIGPROCMASK), arguments, &area().waits)
}

/// The mask that the kernel must have when the program has this one, while no signal can arrive. One that
/// waits is given back to the kernel if the mask blocks it.
pub(crate) fn settle(mask: u64) -> u64 {
    if area().waits.load(Ordering::Relaxed) == 0 {
        return mask;
    }
    area().signal.mask = mask;
    if mask & bit(area().signal.number) == 0 {
        return all_but_faults();
    }
    put_back();
    mask
}

/// Makes a mask the program's, at any time.
pub(crate) fn change_mask(mask: u64) {
    let arguments = [SET_MASK, &raw const mask as u64, 0, SET_BYTES, 0, 0];
    if ask_for_mask(arguments) == NOT_BEGUN {
        set_mask(settle(mask));
    }
    // A signal that came with the kernel's answer was taken for one that is looked for.
    if area().waits.load(Ordering::Relaxed) != 0 && area().armed == 0 {
        arm();
    }
}
