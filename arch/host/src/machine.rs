//! The emulated machine as `hal` sees it.

use std::cell::RefCell;
use std::rc::Rc;

use maize_abi::signal::{Signal, si_code};
use maize_abi::{Isa, Sysno, UserRegs};
use maize_hal::{
    Arch, Exception, FpuState, Frame, FrameRange, Interrupts, Nanos, PageFault, PhysMemory, Tlb,
    Trap,
};

use crate::EmulatedMemory;
use crate::regs::{Link, Reg, ScriptRegs};
use crate::script::{INSTRUCTION_LEN, Instruction, Op};

/// Virtual time one instruction takes.
pub const INSTRUCTION_TIME: Nanos = Nanos(100);

/// What is outside a machine and moves with it: its clock and what has been raised.
#[derive(Debug, Default)]
struct Outside {
    now: Nanos,
    deadline: Option<Nanos>,
    raised: Option<Interrupts>,
    /// User code stops there, for a simulator to run other machines up to the same time.
    horizon: Option<Nanos>,
    /// How far the clock moves on whenever the kernel has looked at it.
    pause: Nanos,
}

/// A view of a machine's outside, for a simulator that moves its clock.
#[derive(Clone, Debug, Default)]
pub struct Wires(Rc<RefCell<Outside>>);

impl Wires {
    /// Moves the clock forward to `now`; it never goes back.
    pub fn advance_to(&self, now: Nanos) {
        let mut outside = self.0.borrow_mut();
        outside.now = outside.now.max(now);
    }

    /// The clock.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.0.borrow().now
    }

    /// From now on the machine's host stops it for this long whenever its kernel has looked at the clock.
    pub fn pause_at_each_look(&self, pause: Nanos) {
        self.0.borrow_mut().pause = pause;
    }

    fn look(&self) -> Nanos {
        let mut outside = self.0.borrow_mut();
        let now = outside.now;
        outside.now = now + outside.pause;
        now
    }

    /// Raises interrupts.
    pub fn raise(&self, interrupts: Interrupts) {
        let mut outside = self.0.borrow_mut();
        let raised = outside.raised.unwrap_or(Interrupts::empty());
        outside.raised = Some(raised | interrupts);
    }

    /// Has user code stop, as by an interrupt without a cause, once the clock is at `horizon`. Until
    /// it is moved, no user code runs beyond it.
    pub fn stop_at(&self, horizon: Nanos) {
        self.0.borrow_mut().horizon = Some(horizon);
    }

    fn is_at_horizon(&self) -> bool {
        let outside = self.0.borrow();
        outside.horizon.is_some_and(|horizon| horizon <= outside.now)
    }

    fn take(&self) -> Interrupts {
        let mut outside = self.0.borrow_mut();
        let mut taken = outside.raised.take().unwrap_or(Interrupts::empty());
        if outside.deadline.is_some_and(|deadline| deadline <= outside.now) {
            outside.deadline = None;
            taken |= Interrupts::TIMER;
        }
        taken
    }

    fn is_pending(&self) -> bool {
        let outside = self.0.borrow();
        outside.raised.is_some() || outside.deadline.is_some_and(|deadline| deadline <= outside.now)
    }
}

/// An emulated machine with instruction set `I`.
///
/// Everything it does follows from its programs, its seed and what its [`Wires`] do to it.
#[derive(Debug)]
pub struct HostArch<I: Isa> {
    memory: EmulatedMemory,
    wires: Wires,
    fpu: u64,
    random: u64,
    isa: core::marker::PhantomData<I>,
}

/// Bytes of the emulated FPU's state.
const FPU_LEN: usize = 8;

impl<I: Isa> HostArch<I> {
    /// A machine with `frames` of memory whose random numbers come from `seed`.
    #[must_use]
    pub fn new(frames: FrameRange, seed: u64) -> HostArch<I> {
        HostArch::of_core(EmulatedMemory::new(I::PTE, frames), seed)
    }

    /// A machine's core that sees this memory.
    #[must_use]
    pub fn of_core(memory: EmulatedMemory, seed: u64) -> HostArch<I> {
        HostArch {
            memory,
            wires: Wires::default(),
            fpu: 0,
            random: seed | 1,
            isa: core::marker::PhantomData,
        }
    }

    /// The machine's outside.
    #[must_use]
    pub fn wires(&self) -> Wires {
        self.wires.clone()
    }

    /// The machine's memory.
    pub fn memory(&mut self) -> &mut EmulatedMemory {
        &mut self.memory
    }
}

/// Why an instruction did not complete.
enum Stop {
    Fault(PageFault),
    Trap(Trap),
}

impl From<PageFault> for Stop {
    fn from(fault: PageFault) -> Stop {
        Stop::Fault(fault)
    }
}

impl<I: Isa> HostArch<I>
where
    I::Regs: ScriptRegs,
{
    fn load(&mut self, root: Frame, va: u64, len: usize) -> Result<u64, Stop> {
        let mut bytes = [0; 8];
        self.memory.load(root, va, &mut bytes[..len])?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn store(&mut self, root: Frame, va: u64, value: u64, len: usize) -> Result<(), Stop> {
        Ok(self.memory.store(root, va, &value.to_le_bytes()[..len])?)
    }

    /// Executes one instruction. Registers change only if it completes.
    fn execute(&mut self, regs: &mut I::Regs, root: Frame) -> Result<(), Stop> {
        let mut bytes = [0; INSTRUCTION_LEN as usize];
        // A restarted system call is rewound by its real length, into the middle of ours.
        let rewound = regs.pc() % INSTRUCTION_LEN;
        let pc = regs.pc() - rewound;
        self.memory.fetch(root, pc, &mut bytes)?;
        let illegal = Stop::Trap(Trap::Exception(Exception {
            signal: Signal::SIGILL,
            code: si_code::ILL_ILLOPC,
            address: pc,
        }));
        if bytes.starts_with(I::SIGRETURN_CODE) {
            // The kernel's own page of real machine code, the only one a script ever runs.
            *regs.slot(Reg::Nr) = I::number_of(Sysno::RtSigreturn).unwrap_or(u64::MAX);
            regs.set_pc(pc + I::SIGRETURN_CODE.len() as u64);
            return Err(Stop::Trap(Trap::Syscall));
        }
        let Some(i) = Instruction::decode(&bytes) else { return Err(illegal) };
        if rewound != 0 && i.op != Op::Syscall {
            return Err(illegal);
        }
        let a = *regs.slot(i.a);
        let b = *regs.slot(i.b);
        let at = a.wrapping_add(i.imm);
        let mut next = pc + INSTRUCTION_LEN;
        let mut result = None;
        match i.op {
            Op::Nop => {}
            Op::Imm => result = Some(i.imm),
            Op::Move => result = Some(a),
            Op::Add => result = Some(a.wrapping_add(b)),
            Op::AddImm => result = Some(at),
            Op::Sub => result = Some(a.wrapping_sub(b)),
            Op::And => result = Some(a & i.imm),
            Op::Mul => result = Some(a.wrapping_mul(i.imm)),
            Op::Shift => result = Some(a.checked_shr(i.imm as u32).unwrap_or(0)),
            Op::Load8 => result = Some(self.load(root, at, 1)?),
            Op::Load32 => result = Some(self.load(root, at, 4)?),
            Op::Load64 => result = Some(self.load(root, at, 8)?),
            Op::Store8 => self.store(root, at, b, 1)?,
            Op::Store32 => self.store(root, at, b, 4)?,
            Op::Store64 => self.store(root, at, b, 8)?,
            Op::Equal if a == b => next = i.imm,
            Op::NotEqual if a != b => next = i.imm,
            Op::Less if (a as i64) < (b as i64) => next = i.imm,
            Op::Equal | Op::NotEqual | Op::Less => {}
            Op::Jump => next = i.imm,
            Op::Call | Op::CallReg => {
                let target = if i.op == Op::Call { i.imm } else { a };
                match regs.link() {
                    Link::Register(link) => *link = next,
                    Link::Stack => {
                        let sp = regs.sp().wrapping_sub(8);
                        self.store(root, sp, next, 8)?;
                        regs.set_sp(sp);
                    }
                }
                next = target;
            }
            Op::Return => match regs.link() {
                Link::Register(link) => next = *link,
                Link::Stack => {
                    let sp = regs.sp();
                    next = self.load(root, sp, 8)?;
                    regs.set_sp(sp.wrapping_add(8));
                }
            },
            Op::FetchAdd32 => {
                // The access is a write from the start: a page that may only be read faults so.
                let old = self.load(root, a, 4)?;
                self.store(root, a, old.wrapping_add(b), 4)?;
                result = Some(old);
            }
            Op::CompareSwap32 => {
                let old = self.load(root, a, 4)?;
                let expected = *regs.slot(i.d) as u32;
                let new = if old as u32 == expected { b } else { old };
                self.store(root, a, new, 4)?;
                result = Some(old);
            }
            Op::SetFpu => self.fpu = a,
            Op::GetFpu => result = Some(self.fpu),
            Op::SetTls => regs.set_tls(a),
            Op::GetTls => result = Some(regs.tls()),
            Op::Syscall => {
                regs.set_pc(next);
                return Err(Stop::Trap(Trap::Syscall));
            }
            Op::Break => {
                let code = si_code::TRAP_BRKPT;
                let exception = Exception { signal: Signal::SIGTRAP, code, address: pc };
                regs.set_pc(next);
                return Err(Stop::Trap(Trap::Exception(exception)));
            }
        }
        if let Some(value) = result {
            *regs.slot(i.d) = value;
        }
        regs.set_pc(next);
        Ok(())
    }
}

impl<I: Isa> PhysMemory for HostArch<I> {
    fn read(&self, frame: Frame, offset: usize, out: &mut [u8]) {
        self.memory.read(frame, offset, out);
    }

    fn write(&mut self, frame: Frame, offset: usize, bytes: &[u8]) {
        self.memory.write(frame, offset, bytes);
    }

    fn zero(&mut self, frame: Frame, offset: usize, len: usize) {
        self.memory.zero(frame, offset, len);
    }

    fn copy_frame(&mut self, to: Frame, from: Frame) {
        self.memory.copy_frame(to, from);
    }

    fn read_entry(&self, table: Frame, index: usize) -> u64 {
        self.memory.read_entry(table, index)
    }

    fn write_entry(&mut self, table: Frame, index: usize, entry: u64) {
        self.memory.write_entry(table, index, entry);
    }

    fn compare_exchange_u32(&mut self, frame: Frame, offset: usize, old: u32, new: u32) -> u32 {
        self.memory.compare_exchange_u32(frame, offset, old, new)
    }

    fn sync_instructions(&mut self, frame: Frame) {
        self.memory.sync_instructions(frame);
    }
}

impl<I: Isa> Tlb for HostArch<I> {
    fn init_root(&mut self, root: Frame) {
        self.memory.init_root(root);
    }

    fn flush_page(&mut self, root: Frame, va: u64) {
        self.memory.flush_page(root, va);
    }

    fn flush_space(&mut self, root: Frame) {
        self.memory.flush_space(root);
    }
}

impl<I: Isa> Arch for HostArch<I>
where
    I::Regs: ScriptRegs,
{
    type Isa = I;

    fn run_user(&mut self, regs: &mut I::Regs, root: Frame) -> Trap {
        loop {
            if self.wires.is_pending() {
                return Trap::Interrupt(self.wires.take());
            }
            if self.wires.is_at_horizon() {
                return Trap::Interrupt(Interrupts::empty());
            }
            self.wires.advance_to(self.wires.now() + INSTRUCTION_TIME);
            match self.execute(regs, root) {
                Ok(()) => {}
                Err(Stop::Trap(trap)) => return trap,
                Err(Stop::Fault(fault)) => return Trap::PageFault(fault),
            }
        }
    }

    fn fpu_len(&self) -> usize {
        FPU_LEN
    }

    fn fpu_initial(&self) -> FpuState {
        FpuState::zeroed(FPU_LEN)
    }

    fn save_fpu(&mut self, state: &mut FpuState) {
        state.bytes_mut().copy_from_slice(&self.fpu.to_le_bytes());
    }

    fn load_fpu(&mut self, state: &FpuState) {
        let mut word = [0; FPU_LEN];
        word.copy_from_slice(state.bytes());
        self.fpu = u64::from_le_bytes(word);
    }

    fn sanitize_fpu(&self, bytes: &[u8]) -> FpuState {
        let mut state = FpuState::zeroed(FPU_LEN);
        let len = bytes.len().min(FPU_LEN);
        state.bytes_mut()[..len].copy_from_slice(&bytes[..len]);
        state
    }

    fn now(&self) -> Nanos {
        self.wires.look()
    }

    fn boot_time(&self) -> Nanos {
        // 2020-01-01, so that runs repeat.
        Nanos(1_577_836_800 * Nanos::SECOND.0)
    }

    fn set_timer(&mut self, deadline: Nanos) {
        self.wires.0.borrow_mut().deadline = (deadline != Nanos::NEVER).then_some(deadline);
    }

    fn poll_interrupts(&mut self) -> Interrupts {
        self.wires.take()
    }

    /// Moves the clock to the deadline, since nothing else can happen on this machine; a simulator
    /// of several machines moves the clocks itself and does not call this.
    fn wait_for_interrupt(&mut self) -> Interrupts {
        let deadline = self.wires.0.borrow().deadline;
        if !self.wires.is_pending()
            && let Some(deadline) = deadline
        {
            self.wires.advance_to(deadline);
        }
        self.wires.take()
    }

    fn entropy(&mut self, out: &mut [u8]) {
        for byte in out {
            // xorshift64: repeatable, which is all a simulation wants of it.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            *byte = self.random as u8;
        }
    }

    fn hwcap(&self) -> [u64; 2] {
        [0, 0]
    }

    fn describe_cpu(&self) -> Vec<(&'static str, String)> {
        vec![("model name", format!("emulated {}", I::NAME))]
    }
}
