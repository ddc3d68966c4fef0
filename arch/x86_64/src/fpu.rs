//! Saving and loading the FPU's and SIMD units' state. The kernel itself uses neither.
#![allow(unsafe_code, reason = "processor state")]

use core::arch::asm;

use maize_hal::FpuState;
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};

use crate::cpu::Features;
use crate::xstate::XState;

/// How this processor's state is saved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fpu {
    pub(crate) format: XState,
}

/// `mxcsr` bits that exist where FXSAVE names none.
const DEFAULT_MXCSR_MASK: u32 = 0xffbf;

impl Fpu {
    /// Turns on the components that programs may use. `Features::turn_on` came before.
    pub(crate) fn turn_on(features: &Features) -> Fpu {
        let mut format = XState { len: crate::xstate::LEGACY_LEN, components: None, mxcsr_mask: 0 };
        if let Some(supported) = features.xsave {
            let components = XState::choose(supported);
            // SAFETY: XSAVE is on, and `choose` gives only combinations that go together, of what
            // the processor has.
            unsafe { XCr0::write(XCr0Flags::from_bits_truncate(components)) };
            format.components = Some(components);
            // With the components chosen, the leaf says how long their state is.
            format.len = raw_cpuid::cpuid!(0xd, 0).ebx as usize;
        }
        let fpu = Fpu { format };
        let mut probe = FpuState::zeroed(format.len);
        fpu.save(&mut probe);
        let mut mask = [0; 4];
        mask.copy_from_slice(&probe.bytes()[28..32]);
        let mask = u32::from_le_bytes(mask);
        let mxcsr_mask = if mask == 0 { DEFAULT_MXCSR_MASK } else { mask };
        Fpu { format: XState { mxcsr_mask, ..format } }
    }

    /// Saves the state.
    pub(crate) fn save(&self, state: &mut FpuState) {
        assert!(state.bytes().len() >= self.format.len, "FPU state is of another machine");
        let to = state.bytes_mut().as_mut_ptr();
        let (low, high) = (u32::MAX, u32::MAX);
        // SAFETY: `to` is 64-byte aligned and holds `format.len` bytes, which is what the
        // instruction writes for the components that are on; its header, zeroed or from an earlier
        // save, is in standard form.
        unsafe {
            match self.format.components {
                None => asm!("fxsave64 [{}]", in(reg) to, options(nostack)),
                // Not XSAVEOPT: it skips what it believes to be in memory already, which is wrong
                // once the core has changed a state between loading and saving it.
                Some(_) => {
                    asm!("xsave64 [{}]", in(reg) to, in("eax") low, in("edx") high, options(nostack));
                }
            }
        }
    }

    /// Loads the state. What does not come from this machine's own save or sanitize faults.
    pub(crate) fn load(&self, state: &FpuState) {
        assert!(state.bytes().len() >= self.format.len, "FPU state is of another machine");
        let from = state.bytes().as_ptr();
        let (low, high) = (u32::MAX, u32::MAX);
        // SAFETY: as in `save`, of reading. The kernel keeps nothing in these registers.
        unsafe {
            match self.format.components {
                None => asm!("fxrstor64 [{}]", in(reg) from, options(nostack)),
                Some(_) => {
                    asm!("xrstor64 [{}]", in(reg) from, in("eax") low, in("edx") high, options(nostack));
                }
            }
        }
    }

    /// x87 and SSE exceptions that are raised and not masked.
    pub(crate) fn raised(&self) -> (u16, u16) {
        let (mut status, mut control, mut mxcsr) = (0_u16, 0_u16, 0_u32);
        // SAFETY: stores two words and a double word to locals; `fnstsw` and `fnstcw` do not wait
        // for exceptions.
        unsafe {
            asm!(
                "fnstsw [{s}]",
                "fnstcw [{c}]",
                "stmxcsr [{m}]",
                s = in(reg) &raw mut status,
                c = in(reg) &raw mut control,
                m = in(reg) &raw mut mxcsr,
                options(nostack),
            );
        }
        let sse = (mxcsr & !(mxcsr >> 7) & 0x3f) as u16;
        (status & !control & 0x3f, sse)
    }
}
