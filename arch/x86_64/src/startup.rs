//! Starting and stopping other processors: INIT, SIPI, and what they run first.
//!
//! Each processor has a page below 1 MiB. A processor that was reset runs what is there, and says
//! so by the ticket that it was given: once the ticket of a stop is seen, whatever the processor
//! ran before has ended. Nothing here waits; [`Processor::poll`] takes the next step when its time
//! has come.
#![allow(unsafe_code, reason = "code and data for another processor")]

use core::arch::global_asm;
use core::ptr::NonNull;

use maize_hal::Nanos;

use crate::local_apic::Commands;

global_asm!(include_str!("startup.s"), options(att_syntax));

unsafe extern "C" {
    static startup_begin: u8;
    static startup_gdt_base: u8;
    static startup_protected_at: u8;
    static startup_entry: u8;
    static startup_block: u8;
    static startup_ticket: u8;
    static startup_arrived: u8;
    static startup_protected: u8;
    static startup_gdt: u8;
    static startup_end: u8;
}

/// Bytes of a processor's page.
pub const PAGE: u64 = 4096;

/// From INIT to the first SIPI, as the MultiProcessor Specification wants it.
const AFTER_INIT: Nanos = Nanos::from_millis(10);

/// From one SIPI to the next, if the first was not heard. A processor that runs ignores it.
const AFTER_STARTUP: Nanos = Nanos::from_millis(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing is under way.
    Idle,
    /// Reset, and to be told then to start with these words.
    Reset { due: Nanos, entry: u32, block: u32 },
    /// Told to start, and to be told again then.
    Startup { due: Nanos },
}

/// Another processor and its page.
#[derive(Debug)]
pub struct Processor {
    id: u32,
    number: u8,
    page: NonNull<u8>,
    ticket: u32,
    step: Step,
}

fn offset(symbol: *const u8) -> usize {
    symbol as usize - (&raw const startup_begin) as usize
}

impl Processor {
    /// The processor whose local APIC has the id `id`, and its page, which has this number.
    ///
    /// # Safety
    /// `page` is the mapping, uncached, writable and for good, of the RAM at physical address
    /// `number` * 4096, below 1 MiB, which is nobody else's.
    #[must_use]
    pub unsafe fn new(id: u32, number: u8, page: NonNull<u8>) -> Processor {
        let len = offset(&raw const startup_end);
        // SAFETY: the code is shorter than a page and lies in the image; the page is the caller's.
        unsafe { crate::copy::copy(page.as_ptr(), &raw const startup_begin, len) }
        let mut processor = Processor { id, number, page, ticket: 0, step: Step::Idle };
        let base = u32::from(number) << 12;
        processor.write(&raw const startup_gdt_base, base + offset(&raw const startup_gdt) as u32);
        let protected = base + offset(&raw const startup_protected) as u32;
        processor.write(&raw const startup_protected_at, protected);
        processor
    }

    fn word(&self, symbol: *const u8) -> *mut u32 {
        self.page.as_ptr().wrapping_add(offset(symbol)).cast()
    }

    fn write(&mut self, symbol: *const u8, value: u32) {
        // SAFETY: the symbol's offset lies in the page (`new`). The word may not be aligned.
        unsafe { self.word(symbol).write_unaligned(value) }
    }

    fn arrived(&self) -> u32 {
        // SAFETY: as above; aligned by the assembly, and written by the other processor.
        unsafe { self.word(&raw const startup_arrived).read_volatile() }
    }

    /// Resets the processor; it then comes to rest on its page.
    pub fn begin_stop(&mut self, commands: Commands, now: Nanos) {
        self.begin((0, 0), commands, now);
    }

    /// Resets the processor; it then enters the image at physical address `entry` with `block` in
    /// `ebx`, both below 4 GiB.
    pub fn begin_start(&mut self, entry: u32, block: u32, commands: Commands, now: Nanos) {
        self.begin((entry, block), commands, now);
    }

    fn begin(&mut self, (entry, block): (u32, u32), commands: Commands, now: Nanos) {
        commands.send_init(self.id);
        self.step = Step::Reset { due: now + AFTER_INIT, entry, block };
    }

    /// Does what is due. `true` once the processor runs what it was told to last, and nothing from
    /// before.
    pub fn poll(&mut self, commands: Commands, now: Nanos) -> bool {
        match self.step {
            Step::Idle => {}
            Step::Reset { due, entry, block } if now >= due => {
                // Only now: before, it might have been about to read its page.
                self.ticket = self.ticket.wrapping_add(1);
                let ticket = self.ticket;
                self.write(&raw const startup_entry, entry);
                self.write(&raw const startup_block, block);
                self.write(&raw const startup_ticket, ticket);
                commands.send_startup(self.id, self.number);
                self.step = Step::Startup { due: now + AFTER_STARTUP };
            }
            Step::Startup { .. } if self.arrived() == self.ticket => self.step = Step::Idle,
            Step::Startup { due } if now >= due => {
                commands.send_startup(self.id, self.number);
                self.step = Step::Startup { due: now + AFTER_STARTUP };
            }
            Step::Reset { .. } | Step::Startup { .. } => {}
        }
        self.step == Step::Idle
    }
}
