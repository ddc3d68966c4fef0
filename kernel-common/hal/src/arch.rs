//! The machine as the core sees it.

use alloc::vec::Vec;

use bitflags::bitflags;
use maize_abi::Isa;
use maize_abi::pte::Access;
use maize_abi::signal::Signal;

use crate::{FpuState, Frame, Nanos, PhysMemory, Tlb};

bitflags! {
    /// What has happened since it was last asked for. Each is only a hint that there may be work:
    /// the work itself is found in queues.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Interrupts: u8 {
        /// The deadline set by [`Arch::set_timer`] has passed.
        const TIMER = 1;
        /// The host link has input or has room again.
        const HOST = 2;
        /// A peer rang a doorbell, or sent an inter-processor interrupt.
        const DOORBELL = 4;
    }
}

/// A page fault of user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFault {
    /// The address accessed.
    pub address: u64,
    /// What was tried: exactly one of read, write and execute.
    pub access: Access,
}

/// An exception of user code that becomes a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The signal.
    pub signal: Signal,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: u64,
}

/// Why user code stopped running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A system-call instruction; the program counter is behind it.
    Syscall,
    /// An access that the page tables did not allow.
    PageFault(PageFault),
    /// Any other fault of the program.
    Exception(Exception),
    /// Something from outside.
    Interrupt(Interrupts),
}

/// A machine, real or emulated, with one core.
pub trait Arch: PhysMemory + Tlb + 'static {
    /// Its instruction set.
    type Isa: Isa;

    /// Runs user code with `regs` in the space of `root` until something stops it. The FPU holds
    /// what was loaded last.
    fn run_user(&mut self, regs: &mut <Self::Isa as Isa>::Regs, root: Frame) -> Trap;

    /// Bytes of this machine's FPU/SIMD state.
    fn fpu_len(&self) -> usize;

    /// The state a new program starts with.
    fn fpu_initial(&self) -> FpuState;

    /// Saves the FPU's content.
    fn save_fpu(&mut self, state: &mut FpuState);

    /// Loads the FPU.
    fn load_fpu(&mut self, state: &FpuState);

    /// Makes `bytes`, which a program wrote, safe to load: reserved bits and features the machine
    /// lacks are cleared. `bytes` may be shorter than the state: what is missing gets its initial
    /// value.
    fn sanitize_fpu(&self, bytes: &[u8]) -> FpuState;

    /// As [`Arch::sanitize_fpu`], of a whole state where it is.
    fn sanitize_whole_fpu(&self, state: &mut FpuState) {
        *state = self.sanitize_fpu(state.bytes());
    }

    /// The monotonic clock.
    fn now(&self) -> Nanos;

    /// Time since the epoch at [`Self::now`] zero.
    fn boot_time(&self) -> Nanos;

    /// Raises [`Interrupts::TIMER`] at `deadline`, at once if that has passed, never if it is
    /// [`Nanos::NEVER`]. Replaces the deadline before it.
    fn set_timer(&mut self, deadline: Nanos);

    /// What is pending now, without waiting.
    fn poll_interrupts(&mut self) -> Interrupts;

    /// Halts the core until something is pending and returns it. Returns at once if something
    /// already is: an interrupt that came before the halt must not be slept over.
    fn wait_for_interrupt(&mut self) -> Interrupts;

    /// Fills `out` with random bytes fit for a program's keys.
    fn entropy(&mut self, out: &mut [u8]);

    /// `AT_HWCAP` and `AT_HWCAP2`.
    fn hwcap(&self) -> [u64; 2];

    /// `/proc/cpuinfo`'s lines for one core, without the `processor` line.
    fn describe_cpu(&self) -> Vec<(&'static str, alloc::string::String)>;
}
