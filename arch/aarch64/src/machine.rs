//! The processor and its interrupts, as the core's `Arch`.
#![allow(unsafe_code, reason = "the direct map, system registers and the way into user mode")]

use alloc::string::String;
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use aarch64_cpu::asm::{barrier, wfi};
use aarch64_cpu::registers::{
    CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, ESR_EL1, FAR_EL1, Readable, TTBR0_EL1,
    Writeable,
};
use maize_abi::isa::aarch64::{Aarch64, PSTATE_USER, Regs};
use maize_abi::pte::ENTRIES;
use maize_abi::{Isa, PAGE_SIZE};
use maize_hal::{Arch, FpuState, Frame, Interrupts, Nanos, PhysMemory, Tlb, Trap};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::asid::Asids;
use crate::clock::{BadFrequency, Clock};
use crate::entry::BootInfo;
use crate::features::{FPSR_MASK, IdRegisters};
use crate::gic::its::{EVENTS, FIRST_LPI, INSTANCES};
use crate::gic::{Gic, GicError, Message};
use crate::space::{direct, empty_root};
use crate::syndrome::{Cause, decode};
use crate::{copy, cpu, fpu};

/// What a board has found out for a [`Machine`].
#[derive(Debug)]
pub struct Parts {
    /// What the entry code passed.
    pub boot: BootInfo,
    /// The interrupt controller.
    pub gic: Gic,
    /// Number of the virtual timer's interrupt.
    pub timer_interrupt: u32,
    /// The clock that counts from the kernel's entry, from [`boot_clock`].
    pub clock: Clock,
    /// Time since the epoch at the kernel's entry.
    pub boot_time: Nanos,
    /// Seed of the random numbers given to programs; the processor's own are mixed in.
    pub seed: [u8; 32],
}

/// The clock that counts from the kernel's entry.
///
/// # Errors
/// [`BadFrequency`] if the firmware has set none.
pub fn boot_clock(boot: &BootInfo) -> Result<Clock, BadFrequency> {
    Clock::new(boot.entered_at, CNTFRQ_EL0.get())
}

/// The counter's value now.
#[must_use]
pub fn counter() -> u64 {
    // The counter may be read early, before instructions in front.
    barrier::isb(barrier::SY);
    CNTVCT_EL0.get()
}

/// What interrupt numbers mean. Those from 1020 up to the first of messages do not exist.
struct Routes {
    lines: [Interrupts; 1020],
    messages: [Interrupts; (EVENTS * INSTANCES) as usize],
}

impl Routes {
    fn at(&mut self, number: u32) -> Option<&mut Interrupts> {
        match number.checked_sub(FIRST_LPI) {
            Some(message) => self.messages.get_mut(message as usize),
            None => self.lines.get_mut(number as usize),
        }
    }
}

/// One aarch64 processor with its share of the interrupt controller.
pub struct Machine {
    gic: Gic,
    routes: Routes,
    timer_interrupt: u32,
    clock: Clock,
    boot_time: Nanos,
    random: ChaCha20Rng,
    id: IdRegisters,
    caches: cpu::Caches,
    asids: Asids,
    /// The space in `TTBR0_EL1`, `None` if that is the empty one.
    current: Option<Frame>,
    /// The empty space's `TTBR0_EL1`.
    empty: u64,
    /// Whether a table entry was written that the walker may not see yet.
    entries_pending: bool,
}

impl core::fmt::Debug for Machine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Machine").field("gic", &self.gic).finish_non_exhaustive()
    }
}

unsafe extern "C" {
    /// Runs user code until an exception; returns which of EL0's four vectors it was.
    fn enter_user(regs: &mut Regs) -> u64;
}

impl Machine {
    /// The processor that this runs on.
    ///
    /// # Safety
    /// RAM whose frames will be passed to [`PhysMemory`] and [`Tlb`] is in the direct map, and
    /// nothing else of the kernel uses it. There is one `Machine` per processor.
    ///
    /// # Errors
    /// [`GicError`] if the timer's interrupt is none.
    pub unsafe fn new(mut parts: Parts) -> Result<Machine, GicError> {
        let id = cpu::id_registers();
        if id.has_random() {
            for word in parts.seed.as_chunks_mut::<8>().0 {
                let random = cpu::random().unwrap_or_default().to_le_bytes();
                for (byte, random) in word.iter_mut().zip(random) {
                    *byte ^= random;
                }
            }
        }
        CNTV_CTL_EL0.set(0);
        parts.gic.enable_private(parts.timer_interrupt)?;
        let none = Interrupts::empty();
        let mut routes =
            Routes { lines: [none; 1020], messages: [none; (EVENTS * INSTANCES) as usize] };
        // Software-generated interrupts come from siblings.
        routes.lines[..16].fill(Interrupts::DOORBELL);
        Ok(Machine {
            gic: parts.gic,
            routes,
            timer_interrupt: parts.timer_interrupt,
            clock: parts.clock,
            boot_time: parts.boot_time,
            random: ChaCha20Rng::from_seed(parts.seed),
            id,
            caches: cpu::caches(),
            asids: Asids::new(),
            current: None,
            empty: empty_root(parts.boot.image),
            entries_pending: false,
        })
    }

    /// Takes a message whose interrupt shows as `meaning`.
    ///
    /// # Errors
    /// [`GicError`] if there is none left.
    pub fn allocate_msi(&mut self, meaning: Interrupts) -> Result<Message, GicError> {
        let message = self.gic.allocate_msi()?;
        if let Some(route) = self.routes.at(message.interrupt) {
            *route = meaning;
        }
        Ok(message)
    }

    fn take_interrupts(&mut self) -> Interrupts {
        /// Interrupts taken before the core gets its turn; a storm must not keep it.
        const MOST: usize = 32;
        let mut seen = Interrupts::empty();
        for _ in 0..MOST {
            if !cpu::interrupt_pending() {
                break;
            }
            let Some(interrupt) = self.gic.acknowledge() else { break };
            // What a device wrote before its message is read after the acknowledgement.
            barrier::dsb(barrier::SY);
            let number = interrupt.number();
            if number == self.timer_interrupt {
                // Level-triggered: masked at the timer until a new deadline is set, or it would
                // be pending again at once.
                CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET + CNTV_CTL_EL0::IMASK::SET);
                barrier::isb(barrier::SY);
                seen |= Interrupts::TIMER;
            } else if let Some(route) = self.routes.at(number) {
                seen |= *route;
            }
            self.gic.end(interrupt);
        }
        seen
    }

    /// Puts `root` into `TTBR0_EL1`.
    fn enter_space(&mut self, root: Frame) {
        if self.current == Some(root) {
            return;
        }
        let assigned = self.asids.assign(root);
        if assigned.flush_all {
            // Nothing may be cached under a taken-back identifier while it is not in use.
            self.leave_space();
            cpu::flush_all();
        }
        // Base and identifier change in one write: no walk mixes them.
        TTBR0_EL1.set(u64::from(assigned.asid) << 48 | root.address());
        barrier::isb(barrier::SY);
        self.current = Some(root);
    }

    /// Puts the empty space into `TTBR0_EL1`, so that nothing is walked through the last one.
    fn leave_space(&mut self) {
        TTBR0_EL1.set(self.empty);
        barrier::isb(barrier::SY);
        self.current = None;
    }

    fn frame(frame: Frame, offset: usize, len: usize) -> *mut u8 {
        assert!(
            offset <= PAGE_SIZE && len <= PAGE_SIZE - offset,
            "{len} bytes at {offset} of a frame"
        );
        direct(frame.address()).wrapping_add(offset)
    }

    fn entry(table: Frame, index: usize) -> *mut u64 {
        assert!(index < ENTRIES, "table entry {index}");
        direct(table.address()).cast::<u64>().wrapping_add(index)
    }
}

// Every pointer below comes from `frame` or `entry`: it lies with the accessed length in one frame
// of the direct map, by the contract of `PhysMemory` (the core passes frames of the machine's
// memory) and of `Machine::new` (those are mapped and hold nothing of the kernel's own).
impl PhysMemory for Machine {
    fn read(&self, frame: Frame, offset: usize, out: &mut [u8]) {
        let from = Machine::frame(frame, offset, out.len());
        // SAFETY: `from` as above; `out` is not in the direct map's user frames.
        unsafe { copy::copy(out.as_mut_ptr(), from, out.len()) }
    }

    fn write(&mut self, frame: Frame, offset: usize, bytes: &[u8]) {
        let to = Machine::frame(frame, offset, bytes.len());
        // SAFETY: `to` as above.
        unsafe { copy::copy(to, bytes.as_ptr(), bytes.len()) }
    }

    fn zero(&mut self, frame: Frame, offset: usize, len: usize) {
        let to = Machine::frame(frame, offset, len);
        // SAFETY: `to` as above.
        unsafe { copy::clear(to, len) }
    }

    fn copy_frame(&mut self, to: Frame, from: Frame) {
        assert!(to != from, "a frame copied to itself");
        let (to, from) = (Machine::frame(to, 0, PAGE_SIZE), Machine::frame(from, 0, PAGE_SIZE));
        // SAFETY: both as above, and different frames do not overlap.
        unsafe { copy::copy(to, from, PAGE_SIZE) }
    }

    fn zero_frame(&mut self, frame: Frame) {
        let page = Machine::frame(frame, 0, PAGE_SIZE);
        match self.caches.zero_block {
            // SAFETY: `page` as above; the block size is the processor's.
            Some(block) => unsafe { copy::clear_page(page, block) },
            // SAFETY: `page` as above.
            None => unsafe { copy::clear(page, PAGE_SIZE) },
        }
    }

    fn read_entry(&self, table: Frame, index: usize) -> u64 {
        // SAFETY: aligned, and as above.
        unsafe { Machine::entry(table, index).read_volatile() }
    }

    fn write_entry(&mut self, table: Frame, index: usize, entry: u64) {
        let at = Machine::entry(table, index);
        // SAFETY: aligned, and as above.
        let old = unsafe { at.read_volatile() };
        let pte = Aarch64::PTE;
        let replaced =
            old & pte.present != 0 && entry & pte.present != 0 && (old ^ entry) & pte.address != 0;
        if replaced {
            // Break before make (DDI 0487, D8.16.1): a walker must never find a changed address
            // while the old one may be cached. The core does not say which page this is, so all go.
            // SAFETY: as above.
            unsafe { at.write_volatile(0) }
            cpu::flush_all();
        }
        // The walker must not see the entry before what it points to.
        barrier::dmb(barrier::ISHST);
        // SAFETY: as above.
        unsafe { at.write_volatile(entry) }
        self.entries_pending = true;
    }

    fn compare_exchange_u32(&mut self, frame: Frame, offset: usize, old: u32, new: u32) -> u32 {
        let at = Machine::frame(frame, offset, 4).cast::<u32>();
        assert!(at.is_aligned(), "atomic access at {offset} of a frame");
        // SAFETY: aligned, and as above; user code accesses the word with atomic instructions.
        let word = unsafe { AtomicU32::from_ptr(at) };
        match word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(found) | Err(found) => found,
        }
    }

    fn sync_instructions(&mut self, frame: Frame) {
        self.caches.sync_instructions(Machine::frame(frame, 0, PAGE_SIZE));
    }
}

impl Tlb for Machine {
    fn init_root(&mut self, _root: Frame) {}

    fn flush_page(&mut self, root: Frame, va: u64) {
        // Without an identifier it has not run since the last time all was flushed.
        if let Some(asid) = self.asids.get(root) {
            cpu::flush_page(asid, va);
        }
    }

    fn flush_space(&mut self, root: Frame) {
        let Some(asid) = self.asids.get(root) else { return };
        if self.current == Some(root) {
            // Its tables may be reused next: nothing is walked through them from here on.
            self.leave_space();
        }
        cpu::flush_asid(asid);
    }
}

impl Arch for Machine {
    type Isa = Aarch64;

    fn run_user(&mut self, regs: &mut Regs, root: Frame) -> Trap {
        const SYNCHRONOUS: u64 = 0;
        const IRQ: u64 = 1;
        const FIQ: u64 = 2;
        loop {
            self.enter_space(root);
            if self.entries_pending {
                // Entries written are visible to the walker; returning to user mode synchronises
                // the context, so user code's accesses are translated after.
                barrier::dsb(barrier::ISHST);
                self.entries_pending = false;
            }
            regs.pstate &= PSTATE_USER;
            // SAFETY: `pstate` is EL0's with nothing masked, so every exception comes back here.
            // User code reaches only what the tables of `root` map for it.
            let vector = unsafe { enter_user(regs) };
            regs.pstate &= PSTATE_USER;
            match vector {
                SYNCHRONOUS => match decode(ESR_EL1.get(), FAR_EL1.get(), regs.pc) {
                    Cause::Trap(trap) => return trap,
                    Cause::TlbConflict => cpu::flush_all(),
                    Cause::Wait => regs.pc = regs.pc.wrapping_add(4),
                },
                IRQ | FIQ => {
                    let interrupts = self.take_interrupts();
                    if !interrupts.is_empty() {
                        return Trap::Interrupt(interrupts);
                    }
                }
                _ => system_error(ESR_EL1.get()),
            }
        }
    }

    fn fpu_len(&self) -> usize {
        fpu::LEN
    }

    fn fpu_initial(&self) -> FpuState {
        FpuState::zeroed(fpu::LEN)
    }

    fn save_fpu(&mut self, state: &mut FpuState) {
        fpu::save(state);
    }

    fn load_fpu(&mut self, state: &FpuState) {
        fpu::load(state);
    }

    fn sanitize_fpu(&self, bytes: &[u8]) -> FpuState {
        fpu::sanitized(bytes, FPSR_MASK, self.id.fpcr_mask())
    }

    fn now(&self) -> Nanos {
        self.clock.nanos(counter())
    }

    fn boot_time(&self) -> Nanos {
        self.boot_time
    }

    fn set_timer(&mut self, deadline: Nanos) {
        match self.clock.ticks(deadline) {
            Some(ticks) if deadline != Nanos::NEVER => {
                CNTV_CVAL_EL0.set(ticks);
                CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
            }
            _ => CNTV_CTL_EL0.set(0),
        }
        // The timer's line follows the registers only then.
        barrier::isb(barrier::SY);
    }

    fn poll_interrupts(&mut self) -> Interrupts {
        self.take_interrupts()
    }

    fn wait_for_interrupt(&mut self) -> Interrupts {
        loop {
            let seen = self.take_interrupts();
            if !seen.is_empty() {
                return seen;
            }
            // A pending interrupt ends the wait although it is masked, also one that came since
            // the look above: nothing is slept over. Writes of this core get out first.
            barrier::dsb(barrier::SY);
            wfi();
        }
    }

    fn entropy(&mut self, out: &mut [u8]) {
        self.random.fill_bytes(out);
    }

    fn hwcap(&self) -> [u64; 2] {
        self.id.hwcap()
    }

    fn describe_cpu(&self) -> Vec<(&'static str, String)> {
        self.id.describe(CNTFRQ_EL0.get())
    }
}

/// An asynchronous abort: some access failed, nobody can say whose.
#[expect(clippy::panic, reason = "memory cannot be trusted any more")]
fn system_error(syndrome: u64) -> ! {
    panic!("system error in user mode: syndrome {syndrome:#x}")
}

/// The frame pointer, from which a panic's backtrace starts.
#[must_use]
pub fn frame_pointer() -> usize {
    let fp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, x29", out(reg) fp, options(nomem, nostack, preserves_flags)) }
    fp
}
