//! Finding out how fast the time-stamp counter and the local APIC's timer run.
//!
//! A PC tells neither. Both are watched beside a counter of known rate, the HPET or the
//! power-management timer, from early in the boot to its end: set-up work is the waiting, and only
//! what is missing to [`SHORTEST`] is spent spinning.
#![allow(unsafe_code, reason = "time-stamp counter and device registers")]

use core::arch::x86_64::_rdtsc;
use core::ptr::NonNull;

use maize_hal::Nanos;

use crate::clock::{Clock, rate};
use crate::local_apic::LocalApic;
use crate::ports;

/// The shortest time to watch. A reading is good to a fraction of a microsecond, so the rates are
/// good to about 1 in 10,000.
pub const SHORTEST: Nanos = Nanos::from_millis(5);

/// Femtoseconds in a count of the power-management timer (3.579545 MHz).
const PM_PERIOD: u64 = 279_365_114;

/// The counter's value now.
#[must_use]
pub fn counter() -> u64 {
    // SAFETY: every processor with long mode has it, and reading it has no effect.
    unsafe { _rdtsc() }
}

/// A counter of known rate.
#[derive(Debug)]
pub enum Reference {
    /// The HPET's registers, mapped.
    Hpet {
        /// Their address.
        registers: NonNull<u8>,
        /// Femtoseconds in a count.
        period: u64,
    },
    /// The power-management timer.
    PmTimer {
        /// Its port.
        port: u16,
        /// Bits it counts with.
        bits: u32,
    },
}

/// HPET registers.
const CAPABILITIES_HIGH: usize = 4;
const CONFIGURATION: usize = 0x10;
const MAIN_COUNTER: usize = 0xf0;

impl Reference {
    /// The HPET, counting. `None` if its period makes no sense.
    ///
    /// # Safety
    /// `registers` is the mapping, for good, of a HPET's 1 KiB.
    #[must_use]
    pub unsafe fn hpet(registers: NonNull<u8>) -> Option<Reference> {
        const LONGEST_PERIOD: u64 = 0x05f5_e100;
        // SAFETY: the register lies in the mapping.
        let period =
            u64::from(unsafe { registers.add(CAPABILITIES_HIGH).cast::<u32>().read_volatile() });
        if period == 0 || period > LONGEST_PERIOD {
            return None;
        }
        // SAFETY: as above. Enabling the counter raises no interrupt: no comparator is enabled.
        unsafe {
            let configuration = registers.add(CONFIGURATION).cast::<u32>();
            configuration.write_volatile(configuration.read_volatile() | 1);
        }
        Some(Reference::Hpet { registers, period })
    }

    fn read(&self) -> u32 {
        match *self {
            // SAFETY: `hpet`'s caller vouched for the mapping.
            Reference::Hpet { registers, .. } => unsafe {
                registers.add(MAIN_COUNTER).cast::<u32>().read_volatile()
            },
            // SAFETY: reading the timer changes nothing.
            Reference::PmTimer { port, .. } => unsafe { ports::read_u32(port) },
        }
    }

    /// Femtoseconds from reading `a` to reading `b`, less than one turn of the counter apart.
    fn between(&self, a: u32, b: u32) -> u128 {
        let (period, bits) = match *self {
            Reference::Hpet { period, .. } => (period, 32),
            Reference::PmTimer { bits, .. } => (PM_PERIOD, bits),
        };
        let counts = b.wrapping_sub(a) & (u32::MAX >> (32 - bits.clamp(1, 32)));
        u128::from(counts) * u128::from(period)
    }
}

/// All counters at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    tsc: u64,
    reference: u32,
    timer: u32,
}

fn sample(reference: &Reference, apic: &LocalApic) -> Sample {
    // The reading that took the shortest time is the one that was not interrupted by the host.
    let mut best = (u64::MAX, Sample { tsc: 0, reference: 0, timer: 0 });
    for _ in 0..5 {
        let before = counter();
        let timer = apic.timer_left();
        let value = reference.read();
        let took = counter().wrapping_sub(before);
        if took < best.0 {
            best = (took, Sample { tsc: before + took / 2, reference: value, timer });
        }
    }
    best.1
}

/// A watch over the counters.
#[derive(Debug)]
pub struct Calibration {
    reference: Reference,
    start: Sample,
}

/// What a calibration found.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// The clock, zero at the count it was asked for.
    pub clock: Clock,
    /// Ticks per second of the local APIC's timer.
    pub timer: u64,
}

impl Calibration {
    /// Begins. The local APIC's timer is in use until [`Self::finish`].
    pub fn begin(reference: Reference, apic: &mut LocalApic) -> Calibration {
        apic.set_timer(u32::MAX);
        let start = sample(&reference, apic);
        Calibration { reference, start }
    }

    /// Ends, not before [`SHORTEST`] has passed. The clock is zero at count `origin`. `None` if the
    /// counters make no sense together.
    #[must_use]
    pub fn finish(self, origin: u64, apic: &mut LocalApic) -> Option<Rates> {
        let Calibration { reference, start } = self;
        let shortest = u128::from(SHORTEST.0) * 1_000_000;
        // A reference that stands still must not hold the boot up: some hundred milliseconds.
        for _ in 0..1_000_000 {
            if reference.between(start.reference, reference.read()) >= shortest {
                break;
            }
        }
        let end = sample(&reference, apic);
        apic.set_timer(0);
        let time = reference.between(start.reference, end.reference);
        let tsc = rate(end.tsc.checked_sub(start.tsc)?, time)?;
        let timer = rate(start.timer.checked_sub(end.timer)?.into(), time)?;
        Some(Rates { clock: Clock::new(origin, tsc), timer })
    }
}
