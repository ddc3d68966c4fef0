//! Software-generated interrupts: how instances of one machine ring each other.
#![allow(unsafe_code, reason = "device and system registers")]

use core::ptr::NonNull;

/// The interrupt by which siblings ring.
const DOORBELL: u32 = 0;

/// Rings other processors. Copies ring through the same controller; the kernel runs one thing at a
/// time, and each ring is one store.
#[derive(Clone, Copy, Debug)]
pub enum Bells {
    /// Version 2: the distributor's `GICD_SGIR`.
    V2(NonNull<u32>),
    /// Version 3: `ICC_SGI1R_EL1`.
    V3,
}

impl Bells {
    /// Interrupts the processor with this affinity (`MPIDR_EL1`'s fields). What was stored before is
    /// visible to it when it takes the interrupt.
    pub fn ring(&self, affinity: u64) {
        #[cfg(target_os = "none")]
        aarch64_cpu::asm::barrier::dsb(aarch64_cpu::asm::barrier::SY);
        match self {
            // SAFETY: `GicV2::bells` has made the pointer from the distributor's mapping, which is
            // for good; the store only raises an interrupt that every instance has a route for.
            Bells::V2(register) => unsafe { register.write_volatile(v2_word(affinity)) },
            #[cfg(target_os = "none")]
            Bells::V3 => super::v3::generate(v3_word(affinity)),
            #[cfg(not(target_os = "none"))]
            Bells::V3 => {}
        }
    }
}

/// `GICD_SGIR` for a processor: interface numbers are the lowest affinity field where there are at
/// most eight.
const fn v2_word(affinity: u64) -> u32 {
    const TARGETS: u32 = 16;
    1 << (TARGETS + (affinity & 7) as u32) | DOORBELL
}

/// `ICC_SGI1R_EL1` for a processor (IHI 0069, 12.2.15): a list of 16 processors of one cluster, which
/// of its lists, the cluster's affinity, the interrupt.
#[cfg_attr(not(any(test, target_os = "none")), expect(dead_code, reason = "no such register"))]
const fn v3_word(affinity: u64) -> u64 {
    let aff0 = affinity & 0xff;
    let aff1 = affinity >> 8 & 0xff;
    let aff2 = affinity >> 16 & 0xff;
    let aff3 = affinity >> 32 & 0xff;
    let (list, bit) = (aff0 >> 4, aff0 & 0xf);
    aff3 << 48 | list << 44 | aff2 << 32 | (DOORBELL as u64) << 24 | aff1 << 16 | 1 << bit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_names_one_processor() {
        assert_eq!(v2_word(0), 0x1_0000);
        assert_eq!(v2_word(7), 0x80_0000);
        assert_eq!(v3_word(0), 1);
        assert_eq!(v3_word(0x0f), 1 << 15);
        assert_eq!(v3_word(0x10), 1 << 44 | 1);
        assert_eq!(v3_word(0x04_0003_0201), 4 << 48 | 3 << 32 | 2 << 16 | 2);
    }
}
