//! What an exception from user mode means, from `ESR_EL1` and `FAR_EL1`.
//!
//! Register layouts: Arm Architecture Reference Manual (DDI 0487), D24.2.40 "ESR_EL1".

use maize_abi::pte::Access;
use maize_abi::signal::Signal;
use maize_hal::{Exception, PageFault, Trap};

/// What to do about a synchronous exception from EL0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Tell the core.
    Trap(Trap),
    /// Two TLB entries matched one address: flush and run on.
    TlbConflict,
    /// A wait for an event or interrupt, which is a hint: step over it.
    Wait,
}

// `si_code` values.
const ILL_ILLOPC: i32 = 1;
const ILL_ILLOPN: i32 = 2;
const FPE_FLTDIV: i32 = 3;
const FPE_FLTOVF: i32 = 4;
const FPE_FLTUND: i32 = 5;
const FPE_FLTRES: i32 = 6;
const FPE_FLTINV: i32 = 7;
const FPE_FLTUNK: i32 = 14;
const BUS_ADRALN: i32 = 1;
const BUS_OBJERR: i32 = 3;
const TRAP_BRKPT: i32 = 1;
const TRAP_TRACE: i32 = 2;
const TRAP_HWBKPT: i32 = 4;

/// Decodes the syndrome `esr` of a synchronous exception from EL0; `far` is the fault address
/// register, `pc` the exception's return address.
#[must_use]
pub const fn decode(esr: u64, far: u64, pc: u64) -> Cause {
    match esr >> 26 & 0x3f {
        0x01 => Cause::Wait,
        0x15 => Cause::Trap(Trap::Syscall),
        0x20 => abort(esr, far, Access::EXECUTE),
        0x24 => abort(esr, far, data_access(esr)),
        0x22 | 0x26 => exception(Signal::SIGBUS, BUS_ADRALN, pc),
        0x2c => exception(Signal::SIGFPE, floating_point(esr), pc),
        0x30 => exception(Signal::SIGTRAP, TRAP_HWBKPT, pc),
        0x32 => exception(Signal::SIGTRAP, TRAP_TRACE, pc),
        0x34 => exception(Signal::SIGTRAP, TRAP_HWBKPT, untagged(far)),
        0x3c => exception(Signal::SIGTRAP, TRAP_BRKPT, pc),
        // Pointer authentication failed (FPAC), a branch target was none (BTI).
        0x1c | 0x0d => exception(Signal::SIGILL, ILL_ILLOPN, pc),
        // Unknown, illegal execution state, a trapped system register or extension: nothing that
        // user mode may have.
        _ => exception(Signal::SIGILL, ILL_ILLOPC, pc),
    }
}

const fn exception(signal: Signal, code: i32, address: u64) -> Cause {
    Cause::Trap(Trap::Exception(Exception { signal, code, address }))
}

/// What a data abort tried. A cache-maintenance instruction is reported as a write (`WnR`) but only
/// asks for the right to read.
const fn data_access(esr: u64) -> Access {
    const WRITE_NOT_READ: u64 = 1 << 6;
    const CACHE_MAINTENANCE: u64 = 1 << 8;
    if esr & WRITE_NOT_READ != 0 && esr & CACHE_MAINTENANCE == 0 {
        Access::WRITE
    } else {
        Access::READ
    }
}

/// An instruction or data abort, by its fault status code.
const fn abort(esr: u64, far: u64, access: Access) -> Cause {
    const FAR_NOT_VALID: u64 = 1 << 10;
    let address = if esr & FAR_NOT_VALID != 0 { 0 } else { untagged(far) };
    match esr & 0x3f {
        // Address size, translation, access flag, permission; translation at level -1.
        0x00..=0x0f | 0x29 | 0x2b => Cause::Trap(Trap::PageFault(PageFault { address, access })),
        0x21 => exception(Signal::SIGBUS, BUS_ADRALN, address),
        0x30 => Cause::TlbConflict,
        // External aborts and memory errors: nothing lies there, or it is broken.
        _ => exception(Signal::SIGBUS, BUS_OBJERR, address),
    }
}

/// A data address without its tag: the processor ignores the top byte of user addresses (TBI0).
const fn untagged(address: u64) -> u64 {
    ((address << 8) as i64 >> 8) as u64
}

/// `si_code` of a trapped floating-point exception; the flags are valid only with `TFV`.
const fn floating_point(esr: u64) -> i32 {
    const VALID: u64 = 1 << 23;
    if esr & VALID == 0 {
        return FPE_FLTUNK;
    }
    // In Linux's order where several are set.
    if esr & 1 != 0 {
        FPE_FLTINV
    } else if esr & 2 != 0 {
        FPE_FLTDIV
    } else if esr & 4 != 0 {
        FPE_FLTOVF
    } else if esr & 8 != 0 {
        FPE_FLTUND
    } else if esr & 16 != 0 {
        FPE_FLTRES
    } else {
        FPE_FLTUNK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PC: u64 = 0x40_1000;

    fn decoded(class: u64, iss: u64, far: u64) -> Trap {
        match decode(class << 26 | 1 << 25 | iss, far, PC) {
            Cause::Trap(trap) => trap,
            other => panic!("{other:?}"),
        }
    }

    fn fault(address: u64, access: Access) -> Trap {
        Trap::PageFault(PageFault { address, access })
    }

    fn signal(signal: Signal, code: i32, address: u64) -> Trap {
        Trap::Exception(Exception { signal, code, address })
    }

    #[test]
    fn faults_name_exactly_one_access() {
        const TRANSLATION_3: u64 = 7;
        const PERMISSION_3: u64 = 15;
        assert_eq!(decoded(0x20, TRANSLATION_3, 0x5000), fault(0x5000, Access::EXECUTE));
        assert_eq!(decoded(0x24, TRANSLATION_3, 0x5000), fault(0x5000, Access::READ));
        assert_eq!(decoded(0x24, PERMISSION_3 | 1 << 6, 0x5008), fault(0x5008, Access::WRITE));
        // `ic ivau` on a page that is not there.
        let maintenance = TRANSLATION_3 | 1 << 6 | 1 << 8;
        assert_eq!(decoded(0x24, maintenance, 0x5000), fault(0x5000, Access::READ));
    }

    #[test]
    fn tags_are_dropped() {
        assert_eq!(decoded(0x24, 7, 0xab00_1234_5678_9abc).page(), 0x0000_1234_5678_9abc);
        assert_eq!(decoded(0x24, 7, 0x00ff_ffff_ffff_f000).page(), 0xffff_ffff_ffff_f000);
    }

    trait Page {
        fn page(&self) -> u64;
    }

    impl Page for Trap {
        fn page(&self) -> u64 {
            match self {
                Trap::PageFault(fault) => fault.address,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn exceptions_become_linux_signals() {
        assert_eq!(decoded(0x15, 0, 0), Trap::Syscall);
        assert_eq!(decoded(0x00, 0, 0), signal(Signal::SIGILL, ILL_ILLOPC, PC));
        assert_eq!(decoded(0x18, 0, 0), signal(Signal::SIGILL, ILL_ILLOPC, PC));
        assert_eq!(decoded(0x3c, 1, 0), signal(Signal::SIGTRAP, TRAP_BRKPT, PC));
        assert_eq!(decoded(0x22, 0, 3), signal(Signal::SIGBUS, BUS_ADRALN, PC));
        assert_eq!(decoded(0x26, 0, 3), signal(Signal::SIGBUS, BUS_ADRALN, PC));
        assert_eq!(decoded(0x24, 0x21, 3), signal(Signal::SIGBUS, BUS_ADRALN, 3));
        assert_eq!(decoded(0x24, 0x10, 3), signal(Signal::SIGBUS, BUS_OBJERR, 3));
        assert_eq!(decoded(0x24, 0x10 | 1 << 10, 3), signal(Signal::SIGBUS, BUS_OBJERR, 0));
        assert_eq!(decoded(0x2c, 1 << 23 | 2, 0), signal(Signal::SIGFPE, FPE_FLTDIV, PC));
        assert_eq!(decoded(0x2c, 2, 0), signal(Signal::SIGFPE, FPE_FLTUNK, PC));
        assert_eq!(decode(0x24 << 26 | 0x30, 3, PC), Cause::TlbConflict);
        assert_eq!(decode(0x01 << 26, 0, PC), Cause::Wait);
    }
}
