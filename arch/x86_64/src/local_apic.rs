//! The local APIC, in either of its modes.
//!
//! The `x2apic` crate is not used: what it calls disabling the two pins is writing 0 to their
//! entries, which unmasks them with vector 0, the divide error's.
#![allow(unsafe_code, reason = "device registers")]

use core::ptr::NonNull;

use x86_64::registers::model_specific::Msr;

/// Registers by number: offset / 16 in memory, 0x800 + number as a machine register.
const ID: u32 = 0x02;
const TASK_PRIORITY: u32 = 0x08;
const END_OF_INTERRUPT: u32 = 0x0b;
const SPURIOUS: u32 = 0x0f;
const COMMAND: u32 = 0x30;
const COMMAND_HIGH: u32 = 0x31;
const TIMER: u32 = 0x32;
const LINT0: u32 = 0x35;
const LINT1: u32 = 0x36;
const ERROR: u32 = 0x37;
const TIMER_INITIAL: u32 = 0x38;
const TIMER_CURRENT: u32 = 0x39;
const TIMER_DIVIDE: u32 = 0x3e;

const MASKED: u32 = 1 << 16;
const NMI: u32 = 4 << 8;
const ENABLED: u32 = 1 << 8;
const DIVIDE_BY_16: u32 = 0b0011;
const BASE_MSR: u32 = 0x1b;
const X2_MODE: u64 = 1 << 10;

/// Where messages to local APICs go; the low byte of the id is in bits 12 to 19.
pub(crate) const MESSAGE_ADDRESS: u64 = 0xfee0_0000;

/// Raised by a sibling that rings.
pub(crate) const DOORBELL_VECTOR: u8 = 0xd0;
/// Raised by the timer.
pub(crate) const TIMER_VECTOR: u8 = 0xe0;
/// Raised by an interrupt that was withdrawn; not to be acknowledged.
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

/// How the registers are reached.
#[derive(Clone, Copy, Debug)]
enum Access {
    Memory(NonNull<u8>),
    Machine,
}

/// This processor's local APIC.
#[derive(Debug)]
pub struct LocalApic {
    access: Access,
    id: u32,
}

impl LocalApic {
    /// The local APIC, started, in the mode that firmware has left it in. `registers` are asked for where
    /// they are in memory.
    ///
    /// # Safety
    /// `registers` gives a mapping, as device memory and for good, of the page of the local APIC.
    /// There is one value per processor.
    #[must_use]
    pub unsafe fn new(registers: impl FnOnce() -> Option<NonNull<u8>>) -> Option<LocalApic> {
        // SAFETY: every processor with long mode has this register.
        let base = unsafe { Msr::new(BASE_MSR).read() };
        let access =
            if base & X2_MODE != 0 { Access::Machine } else { Access::Memory(registers()?) };
        let mut apic = LocalApic { access, id: 0 };
        apic.id = match access {
            Access::Memory(_) => apic.read(ID) >> 24,
            Access::Machine => apic.read(ID),
        };
        apic.start();
        Some(apic)
    }

    fn read(&self, register: u32) -> u32 {
        match self.access {
            // SAFETY: the register lies in the page that `new`'s caller mapped.
            Access::Memory(base) => unsafe {
                base.add(register as usize * 16).cast::<u32>().read_volatile()
            },
            // SAFETY: in this mode the register exists; reading has no effect on memory.
            Access::Machine => unsafe { Msr::new(0x800 + register).read() as u32 },
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        match self.access {
            // SAFETY: as in `read`; what is written only makes interrupts, whose vectors all have
            // handlers.
            Access::Memory(base) => unsafe {
                base.add(register as usize * 16).cast::<u32>().write_volatile(value);
            },
            // SAFETY: as above.
            Access::Machine => unsafe { Msr::new(0x800 + register).write(value.into()) },
        }
    }

    /// Everything is accepted, the pins deliver nothing but NMIs, the timer raises its vector once
    /// for each time it is set.
    fn start(&mut self) {
        self.write(TASK_PRIORITY, 0);
        self.write(LINT0, MASKED);
        self.write(LINT1, NMI);
        self.write(ERROR, MASKED);
        self.write(TIMER_DIVIDE, DIVIDE_BY_16);
        self.write(TIMER_INITIAL, 0);
        self.write(TIMER, TIMER_VECTOR.into());
        self.write(SPURIOUS, ENABLED | u32::from(SPURIOUS_VECTOR));
    }

    /// This processor's id.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn end_of_interrupt(&mut self) {
        self.write(END_OF_INTERRUPT, 0);
    }

    /// Raises the timer's vector after `ticks`; 0 stops it.
    pub(crate) fn set_timer(&mut self, ticks: u32) {
        self.write(TIMER_INITIAL, ticks);
    }

    /// Ticks until the timer's interrupt.
    pub(crate) fn timer_left(&self) -> u32 {
        self.read(TIMER_CURRENT)
    }

    /// A way to interrupt other processors, beside this value.
    #[must_use]
    pub const fn commands(&self) -> Commands {
        Commands(self.access)
    }
}

/// The command register of this processor's local APIC: interrupts to other processors.
///
/// It is apart from the other registers, and the kernel, which runs one thing at a time with
/// interrupts off, writes its two halves without anything between them.
#[derive(Clone, Copy, Debug)]
pub struct Commands(Access);

impl Commands {
    /// Makes the processor whose local APIC has the id `to` look into its window.
    pub fn ring(&self, to: u32) {
        self.send(to, DOORBELL_VECTOR.into());
    }

    /// Resets the processor `to`: it waits for [`Self::send_startup`].
    pub fn send_init(&self, to: u32) {
        const INIT_ASSERT: u32 = 0x4500;
        self.send(to, INIT_ASSERT);
    }

    /// Lets the reset processor `to` run from physical address `page` * 4096, in real mode.
    pub fn send_startup(&self, to: u32, page: u8) {
        const STARTUP: u32 = 0x4600;
        self.send(to, STARTUP | u32::from(page));
    }

    fn send(&self, to: u32, low: u32) {
        /// Set while the last command is on its way.
        const PENDING: u32 = 1 << 12;
        /// Looks at it before the next is sent all the same.
        const PATIENCE: usize = 10_000;
        match self.0 {
            Access::Memory(base) => {
                // SAFETY: the registers lie in the page that `LocalApic::new`'s caller mapped for
                // good; what they send has a handler, or resets another processor.
                unsafe {
                    let register = |number: u32| base.add(number as usize * 16).cast::<u32>();
                    let _ =
                        (0..PATIENCE).find(|_| register(COMMAND).read_volatile() & PENDING == 0);
                    register(COMMAND_HIGH).write_volatile(to << 24);
                    register(COMMAND).write_volatile(low);
                }
            }
            // SAFETY: one write sends the command; it acts on the other processor only. The fence
            // comes first, since this register, unlike others, does not wait for stores.
            Access::Machine => unsafe {
                core::arch::x86_64::_mm_mfence();
                Msr::new(0x800 + COMMAND).write(u64::from(to) << 32 | u64::from(low));
            },
        }
    }
}
