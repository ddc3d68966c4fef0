//! The processor and its interrupts, as the core's `Arch`.
#![allow(unsafe_code, reason = "the direct map, system registers and the way into user mode")]

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use maize_abi::PAGE_SIZE;
use maize_abi::isa::x86_64::{RFLAGS_FIXED, RFLAGS_USER, Regs, X86_64};
use maize_abi::pte::ENTRIES;
use maize_abi::signal::{Signal, si_code};
use maize_hal::{Arch, Exception, FpuState, Frame, Interrupts, Nanos, PhysMemory, Tlb, Trap};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr2, Cr3, Cr3Flags};
use x86_64::registers::debug::Dr6;
use x86_64::registers::model_specific::{FsBase, GsBase};
use x86_64::registers::segmentation::{FS, GS, Segment64};
use x86_64::structures::paging::PhysFrame;
use x86_64::{PhysAddr, VirtAddr};

use crate::clock::{Clock, ticks};
use crate::cpu::{self, Features};
use crate::exception::{ExceptionInfo, decode, reserved_bit};
use crate::fpu::Fpu;
use crate::layout::{USER_END, is_canonical};
use crate::local_apic::{
    DOORBELL_VECTOR, LocalApic, MESSAGE_ADDRESS, SPURIOUS_VECTOR, TIMER_VECTOR,
};
use crate::paging::{direct, kernel_root};
use crate::timebase::{Rates, counter};
use crate::trap::{self, SYSCALL, enter_user};
use crate::{copy, segments};

/// Vectors. Messages of devices have those from `FIRST_MESSAGE` on.
const FIRST_MESSAGE: u8 = 0x40;
const MESSAGES: usize = 64;

/// An interrupt that a device raises by writing to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageInterrupt {
    /// Physical address to write to.
    pub address: u64,
    /// The word to write.
    pub data: u32,
}

/// What a board has found out for an [`X86`].
#[derive(Debug)]
pub struct Parts {
    /// The local APIC.
    pub local_apic: LocalApic,
    /// The clock and the timer's rate.
    pub rates: Rates,
    /// Time since the epoch at the clock's zero.
    pub boot_time: Nanos,
    /// The messages given out so far.
    pub messages: Messages,
    /// Seed of the random numbers given to programs; the processor's own are mixed in.
    pub seed: [u8; 32],
}

/// The interrupts that devices raise by messages to one processor, and what they mean.
#[derive(Debug)]
pub struct Messages {
    processor: u32,
    meanings: [Interrupts; MESSAGES],
    given: usize,
}

impl Messages {
    /// Messages to the processor of `apic`; none is given out yet.
    #[must_use]
    pub const fn new(apic: &LocalApic) -> Messages {
        Messages { processor: apic.id(), meanings: [Interrupts::empty(); MESSAGES], given: 0 }
    }

    /// Gives out a message that means `meaning`; `None` once all are given out.
    pub fn allocate(&mut self, meaning: Interrupts) -> Option<MessageInterrupt> {
        // A message names 8 bits of the id; more cores than that need interrupt remapping.
        let id = u8::try_from(self.processor).ok()?;
        *self.meanings.get_mut(self.given)? = meaning;
        let vector = u32::from(FIRST_MESSAGE) + u32::try_from(self.given).ok()?;
        self.given += 1;
        Some(MessageInterrupt { address: MESSAGE_ADDRESS | u64::from(id) << 12, data: vector })
    }

    fn meaning(&self, vector: u8) -> Interrupts {
        let meaning = self.meanings.get(usize::from(vector.wrapping_sub(FIRST_MESSAGE)));
        meaning.copied().unwrap_or(Interrupts::empty())
    }
}

/// One x86_64 processor.
pub struct X86 {
    apic: LocalApic,
    clock: Clock,
    timer_rate: u64,
    boot_time: Nanos,
    random: ChaCha20Rng,
    features: Features,
    fpu: Fpu,
    messages: Messages,
    /// What has come and was not told yet.
    pending: Interrupts,
    deadline: Nanos,
    /// The root table in `cr3`.
    current: u64,
    kernel_root: u64,
}

impl core::fmt::Debug for X86 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("X86").field("features", &self.features).finish_non_exhaustive()
    }
}

impl X86 {
    /// The processor that this runs on.
    ///
    /// # Safety
    /// [`set_up_processor`] and [`crate::paging::init`] came before. Frames that will be passed to
    /// [`PhysMemory`] and [`Tlb`] are RAM in the direct map that nothing else of the kernel uses.
    /// Called once per processor.
    #[must_use]
    pub unsafe fn new(mut parts: Parts) -> X86 {
        let features = Features::detect();
        let fpu = Fpu::turn_on(&features);
        if features.rdrand {
            for word in parts.seed.as_chunks_mut::<8>().0 {
                let random = cpu::rdrand().unwrap_or_default().to_le_bytes();
                for (byte, random) in word.iter_mut().zip(random) {
                    *byte ^= random;
                }
            }
        }
        let kernel_root = kernel_root();
        X86 {
            apic: parts.local_apic,
            clock: parts.rates.clock,
            timer_rate: parts.rates.timer,
            boot_time: parts.boot_time,
            random: ChaCha20Rng::from_seed(parts.seed),
            features,
            fpu,
            messages: parts.messages,
            pending: Interrupts::empty(),
            deadline: Nanos::NEVER,
            current: kernel_root,
            kernel_root,
        }
    }

    /// The messages devices may be given.
    pub fn messages(&mut self) -> &mut Messages {
        &mut self.messages
    }

    /// Acknowledges `vector` and notes what it means.
    fn take(&mut self, vector: u8) {
        if vector == SPURIOUS_VECTOR {
            return;
        }
        self.apic.end_of_interrupt();
        if vector == TIMER_VECTOR {
            if self.now() >= self.deadline {
                self.deadline = Nanos::NEVER;
                self.pending |= Interrupts::TIMER;
            } else {
                // Of an earlier deadline, or of one farther away than the timer reaches.
                self.program_timer();
            }
        } else if vector == DOORBELL_VECTOR {
            self.pending |= Interrupts::DOORBELL;
        } else {
            self.pending |= self.messages.meaning(vector);
        }
    }

    fn take_noted(&mut self) {
        for (word, bits) in (0_u8..).zip(trap::take_noted()) {
            let mut left = bits;
            while left != 0 {
                // The index is below 64 and the word below 4, so a vector is below 256.
                self.take(word * 64 + left.trailing_zeros() as u8);
                left &= left - 1;
            }
        }
    }

    /// Notes everything that is pending at the local APIC.
    fn poll(&mut self) {
        // One interrupt of each priority can come through a window; the others wait for its
        // acknowledgement. A storm must not keep the core from its turn.
        const MOST: usize = 32;
        for _ in 0..MOST {
            trap::open_window();
            if !trap::any_noted() {
                break;
            }
            self.take_noted();
        }
    }

    fn program_timer(&mut self) {
        let ticks = match self.deadline {
            Nanos::NEVER => 0,
            at => ticks(at.since(self.now()), self.timer_rate, u32::MAX),
        };
        self.apic.set_timer(ticks);
    }

    fn enter_space(&mut self, root: u64) {
        if self.current != root {
            let frame = PhysFrame::containing_address(PhysAddr::new_truncate(root));
            // SAFETY: `root` is the kernel's own or one that `init_root` gave the kernel's half.
            unsafe { Cr3::write(frame, Cr3Flags::empty()) };
            self.current = root;
        }
    }

    fn load_segment_bases(&self, regs: &Regs) {
        let (fs, gs) = (VirtAddr::new_truncate(regs.fs_base), VirtAddr::new_truncate(regs.gs_base));
        if self.features.fsgsbase {
            // SAFETY: the instruction is on; the kernel uses neither segment.
            unsafe {
                FS::write_base(fs);
                GS::write_base(gs);
            }
        } else {
            FsBase::write(fs);
            GsBase::write(gs);
        }
    }

    fn save_segment_bases(&self, regs: &mut Regs) {
        // Without the instructions programs cannot change them.
        if self.features.fsgsbase {
            regs.fs_base = FS::read_base().as_u64();
            regs.gs_base = GS::read_base().as_u64();
        }
    }

    fn exception(&mut self, vector: u8, error: u64, regs: &Regs) -> Trap {
        let mut info = ExceptionInfo { vector, error, rip: regs.rip, ..ExceptionInfo::default() };
        match vector {
            1 => {
                info.dr6 = Dr6::read_raw();
                clear_debug_status();
            }
            14 => {
                assert!(!reserved_bit(error), "reserved bit in a page table, at {:#x}", regs.rip);
                info.cr2 = Cr2::read_raw();
            }
            16 | 19 => (info.x87, info.sse) = self.fpu.raised(),
            _ => {}
        }
        decode(&info)
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

/// Turns on what protects the kernel and what programs may use, and loads the descriptor tables:
/// from here on a fault of the kernel is reported and not a reset.
///
/// # Safety
/// Called once per processor, first of all, with interrupts off.
pub unsafe fn set_up_processor() {
    Features::detect().turn_on();
    // SAFETY: interrupts are off, and user code has not run.
    unsafe { segments::load() }
}

/// Whether `sysret` takes a program where `regs` say: only `rcx` and `r11` stand in its way, and a
/// program that just made a system call expects nothing else in them. On some processors `sysret`
/// faults in ring 0 where the address is not a user's; and it cannot set RF or single-step as
/// `iret` does.
const fn by_sysret(regs: &Regs) -> bool {
    const TRAP_OR_RESUME: u64 = 0x1_0100;
    regs.rcx == regs.rip
        && regs.r11 == regs.rflags
        && regs.rip < USER_END
        && regs.rflags & TRAP_OR_RESUME == 0
}

/// Clears what the last debug exception left, as the processor never does.
fn clear_debug_status() {
    const CLEAR: u64 = 0xffff_0ff0;
    // SAFETY: writes a status register; no breakpoint is set.
    unsafe { core::arch::asm!("mov dr6, {}", in(reg) CLEAR, options(nomem, nostack)) };
}

// Every pointer below comes from `frame` or `entry`: it lies with the accessed length in one frame
// of the direct map, by the contract of `PhysMemory` (the core passes frames of the machine's
// memory) and of `X86::new` (those are mapped and hold nothing of the kernel's own).
impl PhysMemory for X86 {
    fn read(&self, frame: Frame, offset: usize, out: &mut [u8]) {
        let from = X86::frame(frame, offset, out.len());
        // SAFETY: `from` as above; `out` is the kernel's own memory.
        unsafe { copy::copy(out.as_mut_ptr(), from, out.len()) }
    }

    fn write(&mut self, frame: Frame, offset: usize, bytes: &[u8]) {
        let to = X86::frame(frame, offset, bytes.len());
        // SAFETY: `to` as above; `bytes` is the kernel's own memory.
        unsafe { copy::copy(to, bytes.as_ptr(), bytes.len()) }
    }

    fn zero(&mut self, frame: Frame, offset: usize, len: usize) {
        let to = X86::frame(frame, offset, len);
        // SAFETY: `to` as above.
        unsafe { copy::zero(to, len) }
    }

    fn copy_frame(&mut self, to: Frame, from: Frame) {
        if to == from {
            return;
        }
        let (to, from) = (X86::frame(to, 0, PAGE_SIZE), X86::frame(from, 0, PAGE_SIZE));
        // SAFETY: both as above, and different frames do not overlap.
        unsafe { copy::copy(to, from, PAGE_SIZE) }
    }

    fn read_entry(&self, table: Frame, index: usize) -> u64 {
        // SAFETY: as above, and aligned; the processor may set bits in it at the same time.
        unsafe { AtomicU64::from_ptr(X86::entry(table, index)) }.load(Ordering::Acquire)
    }

    fn write_entry(&mut self, table: Frame, index: usize, entry: u64) {
        // SAFETY: as above. Stores are seen in order by the table walker.
        unsafe { AtomicU64::from_ptr(X86::entry(table, index)) }.store(entry, Ordering::Release);
    }

    fn compare_exchange_u32(&mut self, frame: Frame, offset: usize, old: u32, new: u32) -> u32 {
        let word = X86::frame(frame, offset, 4).cast::<u32>();
        assert!(word.is_aligned(), "atomic word at {offset}");
        // SAFETY: as above, and aligned.
        let word = unsafe { AtomicU32::from_ptr(word) };
        match word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(found) | Err(found) => found,
        }
    }

    fn sync_instructions(&mut self, _: Frame) {}
}

impl Tlb for X86 {
    fn init_root(&mut self, root: Frame) {
        let kernel = Frame::containing(self.kernel_root);
        for index in ENTRIES / 2..ENTRIES {
            let entry = self.read_entry(kernel, index);
            self.write_entry(root, index, entry);
        }
    }

    fn flush_page(&mut self, root: Frame, va: u64) {
        // Loading another root has forgotten everything of the others.
        if self.current == root.address() {
            tlb::flush(VirtAddr::new_truncate(va));
        }
    }

    fn flush_space(&mut self, root: Frame) {
        // The processor may walk the root it has at any time; it must not have one that is gone.
        if self.current == root.address() {
            self.enter_space(self.kernel_root);
        }
    }
}

impl Arch for X86 {
    type Isa = X86_64;

    fn run_user(&mut self, regs: &mut Regs, root: Frame) -> Trap {
        if !self.pending.is_empty() {
            return Trap::Interrupt(core::mem::replace(&mut self.pending, Interrupts::empty()));
        }
        if !is_canonical(regs.rip) || !is_canonical(regs.fs_base) || !is_canonical(regs.gs_base) {
            // `iret` and `wrfsbase` would fault in ring 0. Linux's program gets the same.
            let code = si_code::SI_KERNEL;
            return Trap::Exception(Exception { signal: Signal::SIGSEGV, code, address: 0 });
        }
        regs.rflags = regs.rflags & RFLAGS_USER | RFLAGS_FIXED;
        self.enter_space(root.address());
        self.load_segment_bases(regs);
        // SAFETY: tables, segments and entry code are set up (`X86::new`), the root has the
        // kernel's half (`init_root`), `regs` is exclusive and outlives the call. The registers can
        // do what user mode can: the flags were just masked, the addresses checked.
        let stop = unsafe { enter_user(regs, by_sysret(regs).into()) };
        self.save_segment_bases(regs);
        match u8::try_from(stop.vector) {
            Err(_) => {
                debug_assert_eq!(stop.vector, SYSCALL);
                Trap::Syscall
            }
            Ok(vector) if vector >= 32 => {
                self.take(vector);
                Trap::Interrupt(core::mem::replace(&mut self.pending, Interrupts::empty()))
            }
            Ok(vector) => self.exception(vector, stop.error, regs),
        }
    }

    fn fpu_len(&self) -> usize {
        self.fpu.format.len
    }

    fn fpu_initial(&self) -> FpuState {
        self.fpu.format.initial()
    }

    fn save_fpu(&mut self, state: &mut FpuState) {
        self.fpu.save(state);
    }

    fn load_fpu(&mut self, state: &FpuState) {
        self.fpu.load(state);
    }

    fn sanitize_fpu(&self, bytes: &[u8]) -> FpuState {
        self.fpu.format.sanitize(bytes)
    }

    fn sanitize_whole_fpu(&self, state: &mut FpuState) {
        self.fpu.format.sanitize_whole(state);
    }

    fn now(&self) -> Nanos {
        self.clock.at(counter())
    }

    fn boot_time(&self) -> Nanos {
        self.boot_time
    }

    fn set_timer(&mut self, deadline: Nanos) {
        self.deadline = deadline;
        // A deadline before this one may have been reached meanwhile; it no longer counts.
        self.pending -= Interrupts::TIMER;
        self.program_timer();
    }

    fn poll_interrupts(&mut self) -> Interrupts {
        self.poll();
        core::mem::replace(&mut self.pending, Interrupts::empty())
    }

    fn wait_for_interrupt(&mut self) -> Interrupts {
        self.poll();
        while self.pending.is_empty() {
            trap::halt_in_window();
            self.take_noted();
        }
        core::mem::replace(&mut self.pending, Interrupts::empty())
    }

    fn entropy(&mut self, out: &mut [u8]) {
        self.random.fill_bytes(out);
    }

    fn hwcap(&self) -> [u64; 2] {
        const FSGSBASE: u64 = 1 << 1;
        let second = if self.features.fsgsbase { FSGSBASE } else { 0 };
        [self.features.hwcap.into(), second]
    }

    fn describe_cpu(&self) -> Vec<(&'static str, String)> {
        cpu::describe(self.clock.rate(), &self.fpu.format)
    }
}
