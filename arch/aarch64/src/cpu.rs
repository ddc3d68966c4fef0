//! Single instructions: identification, caches, translation caches, random numbers.
#![allow(unsafe_code, reason = "system instructions")]

use core::arch::asm;

use aarch64_cpu::asm::barrier;

use crate::features::IdRegisters;

macro_rules! read {
    ($register:literal) => {{
        let value: u64;
        // SAFETY: reading this register has no effect.
        unsafe {
            asm!(concat!("mrs {}, ", $register), out(reg) value, options(nomem, nostack));
        }
        value
    }};
}

/// The identification registers. Those that this processor's architecture version lacks read as
/// zero.
pub(crate) fn id_registers() -> IdRegisters {
    IdRegisters {
        midr: read!("midr_el1"),
        isar0: read!("id_aa64isar0_el1"),
        isar1: read!("id_aa64isar1_el1"),
        isar2: read!("S3_0_C0_C6_2"),
        pfr0: read!("id_aa64pfr0_el1"),
        pfr1: read!("id_aa64pfr1_el1"),
        mmfr0: read!("id_aa64mmfr0_el1"),
        mmfr1: read!("id_aa64mmfr1_el1"),
        mmfr2: read!("S3_0_C0_C7_2"),
    }
}

/// This processor's affinity, as PSCI and interrupt controllers name it.
pub(crate) fn affinity() -> u64 {
    const AFFINITY: u64 = 0xff_00ff_ffff;
    read!("mpidr_el1") & AFFINITY
}

/// A random number from the processor, which must have RNDR; `None` if it has none in time.
pub(crate) fn random() -> Option<u64> {
    const TRIES: usize = 16;
    (0..TRIES).find_map(|_| {
        let (value, valid): (u64, u64);
        // SAFETY: RNDR has no effect but on the flags, which are declared changed.
        unsafe {
            asm!("mrs {}, S3_3_C2_C4_0", "cset {}, ne", out(reg) value, out(reg) valid,
                options(nomem, nostack));
        }
        (valid != 0).then_some(value)
    })
}

/// Whether an interrupt is pending for this processor, masked or not.
pub(crate) fn interrupt_pending() -> bool {
    const IRQ_OR_FIQ: u64 = 3 << 6;
    read!("isr_el1") & IRQ_OR_FIQ != 0
}

/// What `CTR_EL0` and `DCZID_EL0` say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caches {
    data_line: usize,
    instruction_line: usize,
    /// Instruction fetch sees cleaned data without being invalidated (DIC).
    no_invalidate: bool,
    /// Instruction fetch sees data without its being cleaned (IDC).
    no_clean: bool,
    /// One physical address may be cached under several virtual ones (VIPT).
    aliasing: bool,
    /// Bytes that DC ZVA clears, if it may be used and divides a page.
    pub(crate) zero_block: Option<usize>,
}

pub(crate) fn caches() -> Caches {
    let ctr = read!("ctr_el0");
    let zero = read!("dczid_el0");
    let zero_block = 4_usize << (zero & 0xf);
    const PROHIBITED: u64 = 1 << 4;
    const PIPT: u64 = 3;
    Caches {
        data_line: 4 << (ctr >> 16 & 0xf),
        instruction_line: 4 << (ctr & 0xf),
        no_clean: ctr >> 28 & 1 != 0,
        no_invalidate: ctr >> 29 & 1 != 0,
        aliasing: ctr >> 14 & 3 != PIPT,
        zero_block: (zero & PROHIBITED == 0 && zero_block <= 4096).then_some(zero_block),
    }
}

impl Caches {
    /// Cleans the mapped memory from `start` on to the point of coherency.
    pub(crate) fn clean(&self, start: *mut u8, len: usize) {
        let first = start as usize & !(self.data_line - 1);
        for at in (first..start as usize + len).step_by(self.data_line) {
            // SAFETY: the line is mapped; cleaning changes no data.
            unsafe { asm!("dc cvac, {}", in(reg) at, options(nostack)) }
        }
        barrier::dsb(barrier::SY);
    }

    /// Makes the 4 KiB at `page` of the direct map visible to instruction fetch at any address
    /// (DDI 0487, B2.4.4): clean to the point of unification, wait, invalidate, wait, and drop
    /// what was fetched. The maintenance reaches the inner-shareable domain by itself.
    pub(crate) fn sync_instructions(&self, page: *mut u8) {
        const LEN: usize = 4096;
        if !self.no_clean {
            for at in (0..LEN).step_by(self.data_line) {
                // SAFETY: the line is mapped; cleaning changes no data.
                unsafe { asm!("dc cvau, {}", in(reg) page.wrapping_add(at), options(nostack)) }
            }
        }
        barrier::dsb(barrier::ISH);
        if self.aliasing {
            // Lines cached under the user's address are not found by the direct map's.
            // SAFETY: only empties a cache.
            unsafe { asm!("ic ialluis", options(nostack)) }
        } else if !self.no_invalidate {
            for at in (0..LEN).step_by(self.instruction_line) {
                // SAFETY: the line is mapped; only empties a cache.
                unsafe { asm!("ic ivau, {}", in(reg) page.wrapping_add(at), options(nostack)) }
            }
        }
        barrier::dsb(barrier::ISH);
        barrier::isb(barrier::SY);
    }
}

// Translation caches. Only this processor's are flushed, by the forms without "is": an instance
// runs on one core, and its address spaces and identifiers are no one else's. Entries written
// before are visible to the walker first; the flush is complete, and instructions after it are
// translated anew, before the function returns.

/// Flushes one page of the space with identifier `asid`, and the walks that led to it.
pub(crate) fn flush_page(asid: u16, va: u64) {
    let operand = u64::from(asid) << 48 | (va >> 12 & 0xfff_ffff_ffff);
    barrier::dsb(barrier::ISHST);
    // SAFETY: only empties a cache.
    unsafe { asm!("tlbi vae1, {}", in(reg) operand, options(nostack)) }
    barrier::dsb(barrier::NSH);
    barrier::isb(barrier::SY);
}

/// Flushes the space with identifier `asid`.
pub(crate) fn flush_asid(asid: u16) {
    barrier::dsb(barrier::ISHST);
    // SAFETY: only empties a cache.
    unsafe { asm!("tlbi aside1, {}", in(reg) u64::from(asid) << 48, options(nostack)) }
    barrier::dsb(barrier::NSH);
    barrier::isb(barrier::SY);
}

/// Flushes everything.
pub(crate) fn flush_all() {
    barrier::dsb(barrier::ISHST);
    // SAFETY: only empties a cache.
    unsafe { asm!("tlbi vmalle1", options(nostack)) }
    barrier::dsb(barrier::NSH);
    barrier::isb(barrier::SY);
}
