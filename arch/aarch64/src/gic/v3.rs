//! GICv3 (Arm IHI 0069): distributor, this processor's redistributor, and the system registers of
//! its interface. Messages need an interrupt translation service beside it.
//!
//! Not `arm-gic` 0.10: its set-up reconfigures every interrupt of the distributor and wakes all
//! redistributors, which several instances of one machine share or own one each.
#![allow(unsafe_code, reason = "device and system registers")]

use core::arch::asm;
use core::ptr::NonNull;

use super::its::{Tables, Target};
use super::{Acknowledged, GicError};

/// Offsets in the distributor, and in a redistributor's second frame for private interrupts.
const CTLR: usize = 0x0;
const TYPER: usize = 0x4;
const IGROUPR: usize = 0x80;
const ISENABLER: usize = 0x100;
const ICENABLER: usize = 0x180;
const ICPENDR: usize = 0x280;
const IPRIORITYR: usize = 0x400;

/// `GICD_CTLR`: affinity routing, and group 1 let through.
const ROUTE_BY_AFFINITY: u32 = 1 << 4;
const ENABLE_GROUP_1: u32 = 1 << 1;
/// `GICD_CTLR`: a write has not taken effect everywhere.
const WRITE_PENDING: u32 = 1 << 31;

/// Offsets in a redistributor's first frame.
const REDISTRIBUTOR_TYPER: usize = 0x8;
const WAKER: usize = 0x14;
const PROPBASER: usize = 0x70;
const PENDBASER: usize = 0x78;

const FRAME: u64 = 0x1_0000;

/// `GICR_WAKER`.
const PROCESSOR_SLEEP: u32 = 1 << 1;
const CHILDREN_ASLEEP: u32 = 1 << 2;

/// The priority of every interrupt: one, since no handler is ever interrupted.
const PRIORITY: u32 = 0xa0a0_a0a0;

/// Looks at a bit that hardware is to change.
const PATIENCE: usize = 1_000_000;

/// Numbers from here to 1023 are no interrupts.
const SPECIAL: core::ops::Range<u32> = 1020..1024;

/// Where registers are.
#[derive(Clone, Copy, Debug)]
struct Registers(NonNull<u8>);

impl Registers {
    fn read(self, offset: usize) -> u32 {
        // SAFETY: `GicV3::new`'s caller vouched for the mapping; offsets are registers in it.
        unsafe { self.0.add(offset).cast::<u32>().read_volatile() }
    }

    fn read_long(self, offset: usize) -> u64 {
        u64::from(self.read(offset)) | u64::from(self.read(offset + 4)) << 32
    }

    fn write(self, offset: usize, value: u32) {
        // SAFETY: as above; what is written changes which interrupts this processor gets.
        unsafe { self.0.add(offset).cast::<u32>().write_volatile(value) }
    }

    fn write_long(self, offset: usize, value: u64) {
        // SAFETY: as above.
        unsafe { self.0.add(offset).cast::<u64>().write_volatile(value) }
    }

    fn wait(self, offset: usize, bit: u32) -> Result<(), GicError> {
        let clear = |_: &usize| self.read(offset) & bit == 0;
        (0..PATIENCE).find(clear).map(|_| ()).ok_or(GicError::NotReady)
    }
}

/// A GICv3 as one processor sees it.
#[derive(Debug)]
pub struct GicV3 {
    /// This processor's redistributor, from its first frame on.
    redistributor: Registers,
}

impl GicV3 {
    /// Takes the controller over for this processor. The distributor is set up only if it is off:
    /// otherwise a sibling uses it already. `regions` are the redistributors' registers: address
    /// and bytes.
    ///
    /// # Safety
    /// These are a GICv3's registers, mapped as device memory for good, and only drivers of this
    /// kind use them.
    ///
    /// # Errors
    /// [`GicError::NoRedistributor`], [`GicError::NotReady`].
    pub unsafe fn new(
        distributor: NonNull<u8>,
        regions: &[(NonNull<u8>, u64)],
    ) -> Result<GicV3, GicError> {
        let distributor = Registers(distributor);
        if distributor.read(CTLR) & ENABLE_GROUP_1 == 0 {
            set_up_shared(distributor)?;
        }
        let affinity = crate::cpu::affinity();
        let own = regions.iter().find_map(|region| find(*region, affinity));
        let redistributor = own.ok_or(GicError::NoRedistributor(affinity))?;
        let gic = GicV3 { redistributor };
        gic.set_up_private()?;
        enable_interface();
        Ok(gic)
    }

    /// The frame of software-generated and private interrupts.
    fn private(&self) -> Registers {
        // SAFETY: a redistributor has this frame after its first (`find`).
        Registers(unsafe { self.redistributor.0.add(FRAME as usize) })
    }

    fn set_up_private(&self) -> Result<(), GicError> {
        let waker = self.redistributor.read(WAKER);
        self.redistributor.write(WAKER, waker & !PROCESSOR_SLEEP);
        self.redistributor.wait(WAKER, CHILDREN_ASLEEP)?;
        let private = self.private();
        private.write(IGROUPR, u32::MAX);
        private.write(ICENABLER, 0xffff_0000);
        private.write(ICPENDR, u32::MAX);
        for four in 0..8 {
            private.write(IPRIORITYR + 4 * four, PRIORITY);
        }
        private.write(ISENABLER, 0x0000_ffff);
        self.redistributor.wait(CTLR, 1 << 3)
    }

    /// Lets private interrupt `number` through.
    pub(crate) fn enable(&mut self, number: u32) {
        self.private().write(ISENABLER, 1 << (number % 32));
    }

    /// Lets the interrupts of messages come to this processor, as instance `instance` of the
    /// machine. A processor that was started again has them already.
    ///
    /// # Safety
    /// The tables are those of the machine's translation service, and stay.
    pub unsafe fn enable_lpis(&mut self, tables: Tables, instance: u32) {
        const ENABLE_LPIS: u32 = 1;
        let control = self.redistributor.read(CTLR);
        if control & ENABLE_LPIS == 0 {
            self.redistributor.write_long(PROPBASER, tables.settings_register());
            self.redistributor.write_long(PENDBASER, tables.pending_register(instance));
            self.redistributor.write(CTLR, control | ENABLE_LPIS);
        }
    }

    /// This processor as one that messages can go to; `physical` are the redistributors' regions.
    #[must_use]
    pub fn target(
        regions: &[(NonNull<u8>, u64)],
        physical: &[u64],
        affinity: u64,
    ) -> Option<Target> {
        regions.iter().zip(physical).find_map(|(region, start)| {
            let found = find(*region, affinity)?;
            let offset = found.0.addr().get() - region.0.addr().get();
            let number = found.read_long(REDISTRIBUTOR_TYPER) >> 8 & 0xffff;
            Some(Target { redistributor: start + offset as u64, number })
        })
    }

    pub(crate) fn acknowledge(&mut self) -> Option<Acknowledged> {
        let raw: u64;
        // SAFETY: ICC_IAR1_EL1: reading makes the interrupt active, which `end` ends.
        unsafe { asm!("mrs {}, S3_0_C12_C12_0", out(reg) raw, options(nostack)) };
        // 24 bits at most.
        let raw = raw as u32;
        (!SPECIAL.contains(&raw)).then_some(Acknowledged { raw, number: raw })
    }

    pub(crate) fn end(&mut self, interrupt: Acknowledged) {
        // SAFETY: ICC_EOIR1_EL1 of an interrupt that was acknowledged.
        unsafe {
            asm!("msr S3_0_C12_C12_1, {}", "isb", in(reg) u64::from(interrupt.raw), options(nostack));
        }
    }
}

/// The redistributor of the processor with this affinity, if it is in the region.
fn find((start, len): (NonNull<u8>, u64), affinity: u64) -> Option<Registers> {
    const LAST: u64 = 1 << 4;
    const VIRTUAL_LPIS: u64 = 1 << 1;
    let wanted = (affinity >> 32 & 0xff) << 24 | affinity & 0xff_ffff;
    let mut at = 0;
    while at + 2 * FRAME <= len {
        // SAFETY: inside the region that `GicV3::new`'s caller vouched for.
        let registers = Registers(unsafe { start.add(at as usize) });
        let typer = registers.read_long(REDISTRIBUTOR_TYPER);
        if typer >> 32 == wanted {
            return Some(registers);
        }
        if typer & LAST != 0 {
            return None;
        }
        at += if typer & VIRTUAL_LPIS == 0 { 2 * FRAME } else { 4 * FRAME };
    }
    None
}

fn set_up_shared(distributor: Registers) -> Result<(), GicError> {
    distributor.write(CTLR, 0);
    distributor.wait(CTLR, WRITE_PENDING)?;
    let words = (distributor.read(TYPER) as usize & 0x1f) + 1;
    for word in 1..words.min(31) {
        distributor.write(ICENABLER + 4 * word, u32::MAX);
        distributor.write(ICPENDR + 4 * word, u32::MAX);
        distributor.write(IGROUPR + 4 * word, u32::MAX);
        for four in 0..8 {
            distributor.write(IPRIORITYR + 32 * word + 4 * four, PRIORITY);
        }
    }
    distributor.write(CTLR, ROUTE_BY_AFFINITY | ENABLE_GROUP_1);
    distributor.wait(CTLR, WRITE_PENDING)
}

/// Turns this processor's interface on: system registers, all priorities, group 1.
fn enable_interface() {
    // SAFETY: with affinity routing these registers exist; EL2, if it was there, lets EL1 use them
    // (`boot.s`). Interrupts are masked.
    unsafe {
        asm!(
            "mrs {v}, S3_0_C12_C12_5",          // ICC_SRE_EL1
            "orr {v}, {v}, #1",
            "msr S3_0_C12_C12_5, {v}",
            "isb",
            "mov {v}, #0xff",
            "msr S3_0_C4_C6_0, {v}",            // ICC_PMR_EL1
            "msr S3_0_C12_C12_3, xzr",          // ICC_BPR1_EL1
            "msr S3_0_C12_C12_4, xzr",          // ICC_CTLR_EL1: ending drops priority and deactivates
            "mov {v}, #1",
            "msr S3_0_C12_C12_7, {v}",          // ICC_IGRPEN1_EL1
            "isb",
            v = out(reg) _,
            options(nostack),
        );
    }
}

/// Writes `ICC_SGI1R_EL1`.
pub(super) fn generate(word: u64) {
    // SAFETY: raises an interrupt at another processor.
    unsafe { asm!("msr S3_0_C12_C11_5, {}", "isb", in(reg) word, options(nostack)) };
}
