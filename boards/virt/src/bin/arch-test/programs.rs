//! User programs, in machine code.
#![allow(unsafe_code, reason = "assembly")]

use core::arch::global_asm;
use core::ptr::addr_of;

macro_rules! programs {
    ($($(#[$doc:meta])* $name:ident: $($line:literal)+;)+) => {
        $(
            global_asm!(
                ".section .rodata.programs, \"a\"",
                ".arch_extension simd",
                ".balign 4",
                concat!(".global program_", stringify!($name)),
                concat!("program_", stringify!($name), ":"),
                $($line,)+
                ".text",
            );
        )+
        unsafe extern "C" {
            $(
                #[link_name = concat!("program_", stringify!($name))]
                static $name: u8;
            )+
        }
        $(
            $(#[$doc])*
            pub(crate) mod $name {
                /// The program's code, up to a page of it.
                #[must_use]
                pub(crate) fn code() -> &'static [u8] {
                    super::bytes(core::ptr::addr_of!(super::$name))
                }
            }
        )+
    };
}

/// Programs are far shorter than this and lie in constants, which are longer.
const LEN: usize = 256;

fn bytes(start: *const u8) -> &'static [u8] {
    let _ = addr_of!(end_of_programs);
    // SAFETY: constants of the image; `end_of_programs` follows the last program by LEN bytes.
    unsafe { core::slice::from_raw_parts(start, LEN) }
}

programs! {
    /// Calls with all arguments, twice.
    call: "mov x8, #93" "mov x0, #1" "mov x1, #2" "mov x2, #3" "mov x3, #4" "mov x4, #5"
        "mov x5, #6" "svc #0" "add x0, x0, #1" "svc #0";
    /// Loads from x0.
    load: "ldr x1, [x0]" "svc #0";
    /// Stores x1 at x0.
    store: "str x1, [x0]" "svc #0";
    /// Jumps to x0.
    jump: "br x0";
    /// Counts in x0 until stopped.
    spin: "add x0, x0, #1" "b program_spin";
    /// Puts x0 into every vector register's first lane and into FPSR, then calls.
    fill: "dup v0.2d, x0" "mov v1.16b, v0.16b" "mov v15.16b, v0.16b" "mov v16.16b, v0.16b"
        "mov v30.16b, v0.16b" "mov v31.16b, v0.16b" "and x2, x0, #0x1f" "msr fpsr, x2"
        "mov x3, #0xc00000" "msr fpcr, x3" "svc #0";
    /// Collects what `fill` left: x0 to x5 and x6.
    collect: "umov x0, v0.d[1]" "umov x1, v1.d[0]" "umov x2, v15.d[1]" "umov x3, v16.d[0]"
        "umov x4, v30.d[0]" "umov x5, v31.d[1]" "mrs x6, fpsr" "mrs x7, fpcr" "svc #0";
    /// What user mode may do to caches, counters and flags.
    allowed: "mrs x1, ctr_el0" "dc cvau, x0" "dsb ish" "ic ivau, x0" "dsb ish" "isb"
        "dc zva, x0" "mrs x2, cntvct_el0" "mrs x3, cntfrq_el0" "mrs x4, tpidr_el0"
        "wfe" "yield" "wfi" "svc #0";
    /// Undefined.
    undefined: "udf #0";
    /// A breakpoint.
    breakpoint: "brk #7";
    /// A register of the kernel.
    privileged: "mrs x0, sctlr_el1";
    /// An identification register, which is not emulated.
    identify: "mrs x0, midr_el1";
    /// Reads its own first page's next instruction after the kernel changed it.
    patched: "mov x0, #1" "svc #0";
}

global_asm!(
    ".section .rodata.programs_end, \"a\"",
    ".global end_of_programs",
    "end_of_programs:",
    ".skip {len}",
    ".text",
    len = const LEN,
);

unsafe extern "C" {
    static end_of_programs: u8;
}
