//! What an exception of user code means, as Linux tells it to a program.

use maize_abi::pte::Access;
use maize_abi::signal::{Signal, si_code};
use maize_hal::{Exception, PageFault, Trap};

/// `si_code` of a floating-point exception nobody can name, and of those that only x86 names.
const FPE_FLTUND: i32 = 5;
const FPE_FLTOVF: i32 = 4;
const FPE_FLTRES: i32 = 6;

/// What the processor said about an exception in user mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExceptionInfo {
    /// Vector, 0 to 31.
    pub vector: u8,
    /// Error code, 0 where the vector has none.
    pub error: u64,
    /// Program counter it is reported at.
    pub rip: u64,
    /// `cr2`, of a page fault.
    pub cr2: u64,
    /// `dr6`, of a debug exception.
    pub dr6: u64,
    /// x87 exceptions: those that are raised and not masked, bits as in the status word.
    pub x87: u16,
    /// SSE exceptions: those that are raised and not masked, bits as in `mxcsr`.
    pub sse: u16,
}

const fn exception(signal: Signal, code: i32, address: u64) -> Trap {
    Trap::Exception(Exception { signal, code, address })
}

/// Faults that Linux reports without a place: `SI_KERNEL`, address 0.
const fn from_kernel(signal: Signal) -> Trap {
    exception(signal, si_code::SI_KERNEL, 0)
}

/// The `si_code` of a floating-point exception with these unmasked bits raised, in Linux's order.
const fn float_code(raised: u16) -> i32 {
    const INVALID: u16 = 1;
    const DENORMAL: u16 = 2;
    const DIVIDE: u16 = 4;
    const OVERFLOW: u16 = 8;
    const UNDERFLOW: u16 = 0x10;
    const PRECISION: u16 = 0x20;
    if raised & INVALID != 0 {
        si_code::FPE_FLTINV
    } else if raised & DIVIDE != 0 {
        si_code::FPE_FLTDIV
    } else if raised & OVERFLOW != 0 {
        FPE_FLTOVF
    } else if raised & (DENORMAL | UNDERFLOW) != 0 {
        FPE_FLTUND
    } else if raised & PRECISION != 0 {
        FPE_FLTRES
    } else {
        0
    }
}

/// What the trap of exception `info` is.
///
/// A page fault whose entry had a reserved bit set means that the kernel's own tables are broken;
/// that is for the caller to look at ([`reserved_bit`]), here it is a page fault like any other.
#[must_use]
pub const fn decode(info: &ExceptionInfo) -> Trap {
    match info.vector {
        0 => exception(Signal::SIGFPE, si_code::FPE_INTDIV, info.rip),
        1 => {
            const SINGLE_STEP: u64 = 1 << 14;
            let step = info.dr6 & SINGLE_STEP != 0;
            let code = if step { si_code::TRAP_TRACE } else { si_code::TRAP_BRKPT };
            exception(Signal::SIGTRAP, code, info.rip)
        }
        3 => from_kernel(Signal::SIGTRAP),
        6 => exception(Signal::SIGILL, si_code::ILL_ILLOPN, info.rip),
        // The FPU is always on, so this is a feature that the kernel has not turned on.
        7 => exception(Signal::SIGILL, si_code::ILL_ILLOPN, info.rip),
        11 | 12 => from_kernel(Signal::SIGBUS),
        14 => Trap::PageFault(PageFault { address: info.cr2, access: access(info.error) }),
        16 => exception(Signal::SIGFPE, float_code(info.x87), info.rip),
        17 => exception(Signal::SIGBUS, si_code::BUS_ADRALN, 0),
        19 => exception(Signal::SIGFPE, float_code(info.sse), info.rip),
        // Overflow, bound, invalid TSS, general protection; the rest cannot come from user mode.
        _ => from_kernel(Signal::SIGSEGV),
    }
}

const fn access(error: u64) -> Access {
    const WRITE: u64 = 1 << 1;
    const FETCH: u64 = 1 << 4;
    if error & FETCH != 0 {
        Access::EXECUTE
    } else if error & WRITE != 0 {
        Access::WRITE
    } else {
        Access::READ
    }
}

/// Whether a page fault's error code tells of a reserved bit in a table entry.
#[must_use]
pub const fn reserved_bit(error: u64) -> bool {
    error & (1 << 3) != 0
}

/// The name of an exception.
#[must_use]
pub const fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection fault",
        14 => "page fault",
        16 => "x87 exception",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD exception",
        21 => "control protection exception",
        _ => "unknown exception",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap(info: ExceptionInfo) -> (u8, i32, u64) {
        match decode(&info) {
            Trap::Exception(e) => (e.signal.number(), e.code, e.address),
            other => panic!("{other:?}"),
        }
    }

    fn of(vector: u8) -> ExceptionInfo {
        ExceptionInfo { vector, rip: 0x1234, ..ExceptionInfo::default() }
    }

    /// Signal, code and address that Linux 6.1 gives a program on x86_64, as its sources say.
    /// `tests/programs/signals_faults.c` compares those that a program can raise with a Linux.
    #[test]
    fn signals_are_linux_s() {
        assert_eq!(trap(of(0)), (8, 1, 0x1234));
        assert_eq!(trap(ExceptionInfo { dr6: 1 << 14, ..of(1) }), (5, 2, 0x1234));
        assert_eq!(trap(of(1)), (5, 1, 0x1234));
        assert_eq!(trap(of(3)), (5, 0x80, 0));
        assert_eq!(trap(of(4)), (11, 0x80, 0));
        assert_eq!(trap(of(6)), (4, 2, 0x1234));
        assert_eq!(trap(of(12)), (7, 0x80, 0));
        assert_eq!(trap(ExceptionInfo { error: 0x402, ..of(13) }), (11, 0x80, 0));
        assert_eq!(trap(of(17)), (7, 1, 0));
        assert_eq!(trap(ExceptionInfo { x87: 4, ..of(16) }), (8, 3, 0x1234));
        assert_eq!(trap(ExceptionInfo { sse: 1, ..of(19) }), (8, 7, 0x1234));
        assert_eq!(trap(ExceptionInfo { sse: 0x20, ..of(19) }), (8, 6, 0x1234));
    }

    #[test]
    fn a_page_fault_tells_what_was_tried() {
        for (error, access) in [
            (0x4, Access::READ),
            (0x5, Access::READ),
            (0x6, Access::WRITE),
            (0x7, Access::WRITE),
            (0x14, Access::EXECUTE),
            (0x15, Access::EXECUTE),
        ] {
            let info = ExceptionInfo { error, cr2: 0x5000, ..of(14) };
            assert_eq!(decode(&info), Trap::PageFault(PageFault { address: 0x5000, access }));
        }
    }
}
