//! What is asked of the machine below: PSCI calls, and semihosting's exit.
#![allow(unsafe_code, reason = "calls out of the kernel")]

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use smccc::psci::{self, LowestAffinityLevel};
use smccc::{Hvc, Smc};

/// How firmware is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduit {
    /// `hvc #0`.
    Hvc,
    /// `smc #0`.
    Smc,
}

/// The conduit found at boot, for the way out of a panic: 0 none, 1 hvc, 2 smc.
static CONDUIT: AtomicU8 = AtomicU8::new(0);

/// Set while the semihosting call is tried, so that a machine without it is not a second panic.
static EXITING: AtomicBool = AtomicBool::new(false);

/// Remembers how firmware is called.
pub fn set_conduit(conduit: Conduit) {
    CONDUIT.store(conduit as u8 + 1, Ordering::Relaxed);
}

fn conduit() -> Option<Conduit> {
    match CONDUIT.load(Ordering::Relaxed) {
        1 => Some(Conduit::Hvc),
        2 => Some(Conduit::Smc),
        _ => None,
    }
}

/// Starts the processor with affinity `mpidr`, which is off, at physical address `entry`, with
/// `context` in x0.
///
/// # Errors
/// PSCI's; [`psci::error::Error::NotSupported`] without firmware.
pub fn cpu_on(mpidr: u64, entry: u64, context: u64) -> Result<(), psci::error::Error> {
    match conduit() {
        Some(Conduit::Hvc) => psci::cpu_on::<Hvc>(mpidr, entry, context),
        Some(Conduit::Smc) => psci::cpu_on::<Smc>(mpidr, entry, context),
        None => Err(psci::error::Error::NotSupported),
    }
}

/// Whether the processor with affinity `mpidr` is off: neither on nor on its way. Without firmware
/// nobody can tell, and it is taken to be on.
#[must_use]
pub fn is_off(mpidr: u64) -> bool {
    const LEVEL: LowestAffinityLevel = LowestAffinityLevel::All;
    let state = match conduit() {
        Some(Conduit::Hvc) => psci::affinity_info::<Hvc>(mpidr, LEVEL),
        Some(Conduit::Smc) => psci::affinity_info::<Smc>(mpidr, LEVEL),
        None => return false,
    };
    state == Ok(psci::AffinityState::Off)
}

/// This processor's affinity.
#[must_use]
pub fn affinity() -> u64 {
    crate::cpu::affinity()
}

/// Turns this processor off until it is started again. Without firmware that does it, it halts with
/// its interrupts masked.
pub fn rest() -> ! {
    let _ = match conduit() {
        Some(Conduit::Hvc) => psci::cpu_off::<Hvc>(),
        Some(Conduit::Smc) => psci::cpu_off::<Smc>(),
        None => Ok(()),
    };
    loop {
        aarch64_cpu::asm::wfi();
    }
}

/// Ends the machine: with exactly `status` under semihosting, else by PSCI, else by stopping.
pub fn exit(status: u8) -> ! {
    EXITING.store(true, Ordering::Relaxed);
    // Reason "application exit", and the status.
    let block = [0x20026_u64, status.into()];
    // SAFETY: SYS_EXIT_EXTENDED reads the two words. Without semihosting this is an undefined
    // instruction, and its exception goes on to `power_off`.
    unsafe {
        asm!("hlt #0xf000", inout("w0") 0x20_u32 => _, in("x1") block.as_ptr(), options(nostack));
    }
    power_off()
}

/// Whether the kernel was leaving when the exception came.
pub(crate) fn is_exiting() -> bool {
    EXITING.load(Ordering::Relaxed)
}

/// Turns the machine off.
pub fn power_off() -> ! {
    let _ = match conduit() {
        Some(Conduit::Hvc) => psci::system_off::<Hvc>(),
        Some(Conduit::Smc) => psci::system_off::<Smc>(),
        None => Ok(()),
    };
    loop {
        aarch64_cpu::asm::wfi();
    }
}
