//! GICv2 (Arm IHI 0048B): distributor and processor interface.
//!
//! Not `arm-gic` 0.10: its GICv2 driver cannot set which processor a shared interrupt goes to, and
//! its set-up reconfigures every interrupt of the distributor, which several instances of one
//! machine share. Registers are reached by `safe-mmio`, as there.

use safe_mmio::fields::{ReadPure, ReadPureWrite, ReadWrite, WriteOnly};
use safe_mmio::{UniqueMmioPointer, field, field_shared};

use super::{Acknowledged, Bells};

/// The distributor's registers.
#[repr(C, align(4))]
#[allow(missing_docs, reason = "the names are the architecture's, without GICD_")]
pub struct DistributorRegisters {
    pub ctlr: ReadPureWrite<u32>,
    pub typer: ReadPure<u32>,
    pub iidr: ReadPure<u32>,
    _reserved: [u32; 29],
    pub igroupr: [ReadPureWrite<u32>; 32],
    pub isenabler: [ReadPureWrite<u32>; 32],
    pub icenabler: [ReadPureWrite<u32>; 32],
    pub ispendr: [ReadPureWrite<u32>; 32],
    pub icpendr: [ReadPureWrite<u32>; 32],
    pub isactiver: [ReadPureWrite<u32>; 32],
    pub icactiver: [ReadPureWrite<u32>; 32],
    pub ipriorityr: [ReadPureWrite<u8>; 1024],
    pub itargetsr: [ReadPureWrite<u8>; 1024],
    pub icfgr: [ReadPureWrite<u32>; 64],
    _reserved2: [u32; 128],
    pub sgir: WriteOnly<u32>,
}

/// The processor interface's registers.
#[repr(C, align(4))]
#[allow(missing_docs, reason = "the names are the architecture's, without GICC_")]
pub struct CpuInterfaceRegisters {
    pub ctlr: ReadPureWrite<u32>,
    pub pmr: ReadPureWrite<u32>,
    pub bpr: ReadPureWrite<u32>,
    // Reading acknowledges.
    pub iar: ReadWrite<u32>,
    pub eoir: WriteOnly<u32>,
}

const _: () = assert!(core::mem::offset_of!(DistributorRegisters, isenabler) == 0x100);
const _: () = assert!(core::mem::offset_of!(DistributorRegisters, ipriorityr) == 0x400);
const _: () = assert!(core::mem::offset_of!(DistributorRegisters, itargetsr) == 0x800);
const _: () = assert!(core::mem::offset_of!(DistributorRegisters, icfgr) == 0xc00);
const _: () = assert!(core::mem::offset_of!(DistributorRegisters, sgir) == 0xf00);
const _: () = assert!(core::mem::offset_of!(CpuInterfaceRegisters, eoir) == 0x10);

/// The priority of every interrupt: one, since no handler is ever interrupted.
const PRIORITY: u8 = 0xa0;

/// Numbers from here on are no interrupts: 1023 says that none is pending.
const SPECIAL: u32 = 1020;

/// A GICv2 as one processor sees it.
#[derive(Debug)]
pub struct GicV2<'a> {
    distributor: UniqueMmioPointer<'a, DistributorRegisters>,
    cpu: UniqueMmioPointer<'a, CpuInterfaceRegisters>,
    /// This processor's bit in the target registers.
    target: u8,
}

impl<'a> GicV2<'a> {
    /// Takes the controller over for this processor. The distributor is set up only if it is off:
    /// otherwise a sibling uses it already.
    #[must_use]
    pub fn new(
        distributor: UniqueMmioPointer<'a, DistributorRegisters>,
        cpu: UniqueMmioPointer<'a, CpuInterfaceRegisters>,
    ) -> GicV2<'a> {
        let mut gic = GicV2 { distributor, cpu, target: 1 };
        if field_shared!(gic.distributor, ctlr).read() & 1 == 0 {
            gic.set_up_shared();
        }
        gic.set_up_private();
        gic
    }

    fn shared_count(&self) -> usize {
        let lines = field_shared!(self.distributor, typer).read() & 0x1f;
        (lines as usize + 1).min(32)
    }

    fn set_up_shared(&mut self) {
        for word in 1..self.shared_count() {
            if let Some(mut register) = field!(self.distributor, icenabler).get(word) {
                register.write(u32::MAX);
            }
            if let Some(mut register) = field!(self.distributor, icpendr).get(word) {
                register.write(u32::MAX);
            }
        }
        field!(self.distributor, ctlr).write(1);
    }

    fn set_up_private(&mut self) {
        // Its own interrupts' targets read as the processor's bit, or as zero if it is alone.
        if let Some(register) = field_shared!(self.distributor, itargetsr).get(0) {
            self.target = register.read().max(1);
        }
        // The first words and bytes of the distributor are banked by processor. Software-generated
        // interrupts (0 to 15) are always on where their enable bits are fixed; private ones off.
        if let Some(mut register) = field!(self.distributor, icenabler).get(0) {
            register.write(0xffff_0000);
        }
        if let Some(mut register) = field!(self.distributor, isenabler).get(0) {
            register.write(0x0000_ffff);
        }
        for number in 0..32 {
            if let Some(mut register) = field!(self.distributor, ipriorityr).get(number) {
                register.write(PRIORITY);
            }
        }
        field!(self.cpu, pmr).write(0xff);
        field!(self.cpu, bpr).write(0);
        field!(self.cpu, ctlr).write(1);
    }

    /// Lets interrupt `number` through.
    pub(crate) fn enable(&mut self, number: u32) {
        let (word, bit) = (number as usize / 32, number % 32);
        if let Some(mut register) = field!(self.distributor, isenabler).get(word) {
            register.write(1 << bit);
        }
    }

    /// Makes shared interrupt `number` edge-triggered and sends it to this processor.
    pub(crate) fn route_edge_here(&mut self, number: u32) {
        let index = number as usize;
        if let Some(mut register) = field!(self.distributor, icfgr).get(index / 16) {
            // Two bits for each interrupt; the upper says "edge".
            let edge = 2 << (2 * (number % 16));
            register.modify(|value| value | edge);
        }
        if let Some(mut register) = field!(self.distributor, ipriorityr).get(index) {
            register.write(PRIORITY);
        }
        if let Some(mut register) = field!(self.distributor, itargetsr).get(index) {
            register.write(self.target);
        }
    }

    pub(crate) fn bells(&mut self) -> Bells {
        let sgir = field!(self.distributor, sgir).ptr_nonnull();
        Bells::V2(sgir.cast())
    }

    pub(crate) fn acknowledge(&mut self) -> Option<Acknowledged> {
        let raw = field!(self.cpu, iar).read();
        // Above the number: which processor sent a software-generated interrupt.
        let number = raw & 0x3ff;
        (number < SPECIAL).then_some(Acknowledged { raw, number })
    }

    pub(crate) fn end(&mut self, interrupt: Acknowledged) {
        field!(self.cpu, eoir).write(interrupt.raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::vec;
    use core::ptr::NonNull;

    /// Zeroed registers that remember what was written, without the controller behind them.
    fn registers<T>() -> NonNull<T> {
        let words = vec![0_u64; size_of::<T>().div_ceil(8)].into_boxed_slice();
        NonNull::from(Box::leak(words)).cast()
    }

    #[test]
    #[allow(unsafe_code, reason = "registers in plain memory")]
    fn a_message_interrupt_is_routed_to_this_processor() {
        let (d, c) = (registers::<DistributorRegisters>(), registers::<CpuInterfaceRegisters>());
        // SAFETY: leaked zeroed memory of the right size and alignment, used here only.
        let mut gic = unsafe { GicV2::new(UniqueMmioPointer::new(d), UniqueMmioPointer::new(c)) };
        gic.route_edge_here(112);
        gic.enable(112);
        // SAFETY: as above; the driver's pointers are not used meanwhile.
        let (d, c) = unsafe { (d.as_ref(), c.as_ref()) };
        assert_eq!((d.ctlr.0, c.ctlr.0, c.pmr.0), (1, 1, 0xff));
        assert_eq!(d.itargetsr[112].0, 1, "a lone processor reads no target of its own");
        assert_eq!(d.ipriorityr[112].0, PRIORITY);
        assert_eq!(d.icfgr[7].0, 2);
        assert_eq!(d.isenabler[3].0, 1 << 16);
        assert_eq!(gic.target, 1);
    }
}
