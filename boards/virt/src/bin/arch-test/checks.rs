//! The checks.
#![allow(unsafe_code, reason = "entered from assembly")]

use log::{LevelFilter, info};
use maize_abi::isa::UserRegs;
use maize_abi::isa::aarch64::Regs;
use maize_abi::pte::Access;
use maize_abi::signal::Signal;
use maize_arch_aarch64::entry::BootInfo;
use maize_arch_aarch64::layout::DIRECT_BASE;
use maize_arch_aarch64::{Machine, Parts, boot_clock, frame_pointer};
use maize_hal::{Arch, Exception, Frame, Interrupts, Nanos, PageFault, PhysMemory, Tlb, Trap};
use maize_platform::{End, console, end, memory};
use maize_virt::{bring_up, hooks};

use crate::programs;
use crate::user_space::{Supply, UserSpace};

const CODE: u64 = 0x1_0000;
const DATA: u64 = 0x2_0000;
/// A page that nothing maps.
const HOLE: u64 = 0x7000_0000_0000;

/// Entered from `boot.s`.
#[unsafe(no_mangle)]
#[expect(clippy::expect_used, reason = "a check that cannot start has failed")]
extern "C" fn maize_main(device_tree: u64, image: u64, entered_at: u64, level: u64) -> ! {
    let boot = BootInfo { device_tree, image, entered_at, level };
    hooks::install(&boot);
    console::log_to_console(LevelFilter::Info);
    // SAFETY: the boot code's own values, once.
    let board = unsafe { bring_up(boot) }.expect("bring-up");
    if board.description.bootargs == "panic" {
        fault_in_the_kernel();
    }
    // SAFETY: bring-up has mapped what it calls free, and nothing else uses it.
    let free = unsafe { memory::divide(&board.free, DIRECT_BASE) }.expect("memory");
    let clock = boot_clock(&boot).expect("clock");
    let parts = Parts {
        boot,
        gic: board.gic,
        timer_interrupt: board.description.timer.number,
        clock,
        boot_time: Nanos(0),
        seed: [1; 32],
    };
    // SAFETY: the frames in `free` are in the direct map; this is the only `Machine`.
    let mut machine = unsafe { Machine::new(parts) }.expect("machine");
    let largest = free.iter().copied().max_by_key(maize_hal::FrameRange::len).expect("frames");
    let mut checks = Checks::new(&mut machine, Supply(largest));
    info!("entered at EL{level}, image at {image:#x}");
    checks.run();
    info!("all checks hold");
    end(End::Done)
}

/// Reads where nothing is mapped, a few calls deep.
#[inline(never)]
fn fault_in_the_kernel() {
    let nowhere = core::hint::black_box(0xffff_0000_0000_0000_u64) as *const u64;
    // SAFETY: none: the point is the fault.
    let value = unsafe { nowhere.read_volatile() };
    info!("read {value} at frame {:#x}", frame_pointer());
}

struct Checks<'a> {
    machine: &'a mut Machine,
    supply: Supply,
    space: UserSpace,
    code: Frame,
    data: Frame,
}

impl<'a> Checks<'a> {
    fn new(machine: &'a mut Machine, mut supply: Supply) -> Checks<'a> {
        let space = UserSpace::new(machine, &mut supply);
        let (code, data) = (supply.take(machine), supply.take(machine));
        space.map(machine, &mut supply, CODE, code, Access::READ | Access::EXECUTE);
        space.map(machine, &mut supply, DATA, data, Access::READ | Access::WRITE);
        let initial = machine.fpu_initial();
        machine.load_fpu(&initial);
        Checks { machine, supply, space, code, data }
    }

    fn load(&mut self, program: &[u8]) {
        self.machine.write(self.code, 0, program);
        self.machine.sync_instructions(self.code);
    }

    /// Runs a program with these first arguments until a trap.
    fn start(&mut self, program: &[u8], args: [u64; 2]) -> (Regs, Trap) {
        self.load(program);
        let mut regs = Regs::start(CODE, DATA + 4096);
        regs.x[..2].copy_from_slice(&args);
        let trap = self.machine.run_user(&mut regs, self.space.root);
        (regs, trap)
    }

    fn run(&mut self) {
        self.calls();
        self.faults();
        self.exceptions();
        self.allowed();
        self.translation();
        self.spaces();
        self.instructions();
        self.floating_point();
        self.timer();
        self.wait();
        self.frames();
        self.random();
    }

    fn calls(&mut self) {
        let (mut regs, trap) = self.start(programs::call::code(), [0; 2]);
        assert_eq!(trap, Trap::Syscall);
        assert_eq!((regs.syscall_number(), regs.syscall_args()), (93, [1, 2, 3, 4, 5, 6]));
        regs.x[30] = 0x1234;
        regs.x[18] = 0x5678;
        regs.tpidr = 77;
        let before = regs;
        assert_eq!(self.machine.run_user(&mut regs, self.space.root), Trap::Syscall);
        let mut after = before;
        after.x[0] = 2;
        after.pc = CODE + 10 * 4;
        assert_eq!(regs, after, "only what the program changed has changed");
        info!("ok system calls");
    }

    fn faults(&mut self) {
        let fault = |address, access| Trap::PageFault(PageFault { address, access });
        let kernel = 0xffff_0000_4000_0000;
        for address in [HOLE, 0, DATA - 8, kernel, 0xffff_ffff_8000_0000] {
            let (_, trap) = self.start(programs::load::code(), [address, 0]);
            assert_eq!(trap, fault(address, Access::READ));
            let (_, trap) = self.start(programs::store::code(), [address, 0]);
            assert_eq!(trap, fault(address, Access::WRITE));
            let (_, trap) = self.start(programs::jump::code(), [address, 0]);
            assert_eq!(trap, fault(address, Access::EXECUTE));
        }
        let (_, trap) = self.start(programs::store::code(), [CODE, 0]);
        assert_eq!(trap, fault(CODE, Access::WRITE), "code is not writable");
        let (_, trap) = self.start(programs::jump::code(), [DATA, 0]);
        assert_eq!(trap, fault(DATA, Access::EXECUTE), "data is not executable");
        let tagged = DATA | 0xab << 56;
        let (_, trap) = self.start(programs::load::code(), [tagged, 0]);
        assert_eq!(trap, Trap::Syscall, "tags of data pointers are ignored");
        info!("ok page faults");
    }

    fn exceptions(&mut self) {
        let signal = |signal, code, address| Trap::Exception(Exception { signal, code, address });
        for (program, signal) in [
            (programs::undefined::code(), signal(Signal::SIGILL, 1, CODE)),
            (programs::privileged::code(), signal(Signal::SIGILL, 1, CODE)),
            (programs::identify::code(), signal(Signal::SIGILL, 1, CODE)),
            (programs::breakpoint::code(), signal(Signal::SIGTRAP, 1, CODE)),
        ] {
            assert_eq!(self.start(program, [0; 2]).1, signal);
        }
        // A misaligned stack pointer cannot be tried: TCG does not look.
        let (_, trap) = self.start(programs::jump::code(), [CODE + 2, 0]);
        assert_eq!(trap, signal(Signal::SIGBUS, 1, CODE + 2));
        info!("ok exceptions");
    }

    fn allowed(&mut self) {
        self.machine.write(self.data, 0, &[0xff; 64]);
        let (regs, trap) = self.start(programs::allowed::code(), [DATA, 0]);
        assert_eq!(trap, Trap::Syscall);
        assert!(regs.x[2] > 0 && regs.x[3] >= 1_000_000);
        let mut line = [0xff];
        self.machine.read(self.data, 0, &mut line);
        assert_eq!(line, [0], "a zeroed line is seen through the direct map");
        info!("ok caches and counter");
    }

    fn translation(&mut self) {
        let load = programs::load::code();
        let other = self.supply.take(self.machine);
        self.machine.write(self.data, 0, &1_u64.to_le_bytes());
        self.machine.write(other, 0, &2_u64.to_le_bytes());
        assert_eq!(self.start(load, [DATA, 0]).0.x[1], 1);
        self.map_data(other, Access::READ);
        assert_eq!(self.start(load, [DATA, 0]).0.x[1], 2, "another frame");
        let (_, trap) = self.start(programs::store::code(), [DATA, 9]);
        let access = Access::WRITE;
        assert_eq!(trap, Trap::PageFault(PageFault { address: DATA, access }));
        self.map_data(other, Access::READ | Access::WRITE);
        let (_, trap) = self.start(programs::store::code(), [DATA, 9]);
        assert_eq!(trap, Trap::Syscall);
        let mut word = [0; 8];
        self.machine.read(other, 0, &mut word);
        assert_eq!(u64::from_le_bytes(word), 9);
        self.map_data(self.data, Access::READ | Access::WRITE);
        info!("ok changed mappings");
    }

    fn map_data(&mut self, frame: Frame, access: Access) {
        self.space.map(self.machine, &mut self.supply, DATA, frame, access);
        self.machine.flush_page(self.space.root, DATA);
    }

    /// More spaces than there are identifiers, each with its own data at one address.
    fn spaces(&mut self) {
        const SPACES: u64 = 600;
        let mut all = [Frame(0); SPACES as usize];
        self.load(programs::load::code());
        for (n, root) in all.iter_mut().enumerate() {
            let space = UserSpace::new(self.machine, &mut self.supply);
            let data = self.supply.take(self.machine);
            self.machine.write(data, 0, &(n as u64 + 1000).to_le_bytes());
            let code = Access::READ | Access::EXECUTE;
            space.map(self.machine, &mut self.supply, CODE, self.code, code);
            space.map(self.machine, &mut self.supply, DATA, data, Access::READ);
            *root = space.root;
        }
        for round in 0..2 {
            for (n, root) in all.iter().enumerate() {
                let mut regs = Regs::start(CODE, DATA);
                regs.x[0] = DATA;
                assert_eq!(self.machine.run_user(&mut regs, *root), Trap::Syscall);
                assert_eq!(regs.x[1], n as u64 + 1000, "round {round}");
            }
        }
        let before = self.machine.now();
        for _ in 0..1000 {
            for root in &all[..2] {
                let mut regs = Regs::start(CODE + 4, DATA);
                assert_eq!(self.machine.run_user(&mut regs, *root), Trap::Syscall);
            }
        }
        let switching = self.machine.now().since(before).0 / 2000;
        let before = self.machine.now();
        for _ in 0..2000 {
            let mut regs = Regs::start(CODE + 4, DATA);
            assert_eq!(self.machine.run_user(&mut regs, all[0]), Trap::Syscall);
        }
        let staying = self.machine.now().since(before).0 / 2000;
        self.machine.flush_space(all[0]);
        info!("ok {SPACES} spaces; a call takes {staying} ns, {switching} ns with a switch");
    }

    fn instructions(&mut self) {
        assert_eq!(self.start(programs::patched::code(), [0; 2]).0.x[0], 1);
        // mov x0, #2
        self.machine.write(self.code, 0, &0xd280_0040_u32.to_le_bytes());
        self.machine.sync_instructions(self.code);
        let mut regs = Regs::start(CODE, DATA);
        self.machine.run_user(&mut regs, self.space.root);
        assert_eq!(regs.x[0], 2);
        info!("ok changed instructions");
    }

    fn floating_point(&mut self) {
        let collect = programs::collect::code();
        let mut states = [7_u64, 0xdead_beef_1234_5673].map(|value| {
            let (_, trap) = self.start(programs::fill::code(), [value, 0]);
            assert_eq!(trap, Trap::Syscall);
            let mut state = self.machine.fpu_initial();
            self.machine.save_fpu(&mut state);
            (value, state)
        });
        states.reverse();
        for (value, state) in &states {
            self.machine.load_fpu(state);
            let (regs, _) = self.start(collect, [0; 2]);
            assert_eq!(regs.x[..6], [*value; 6]);
            assert_eq!(regs.x[6..8], [value & 0x1f, 0xc0_0000]);
        }
        let hostile = self.machine.sanitize_fpu(&[0xff; 700]);
        self.machine.load_fpu(&hostile);
        let (regs, _) = self.start(collect, [0; 2]);
        assert_eq!(regs.x[0], u64::MAX);
        let initial = self.machine.sanitize_fpu(&[]);
        assert_eq!(initial.bytes(), self.machine.fpu_initial().bytes());
        self.machine.load_fpu(&initial);
        info!("ok floating-point state");
    }

    fn timer(&mut self) {
        let soon = self.machine.now() + Nanos(30_000_000);
        self.machine.set_timer(soon);
        let (regs, trap) = self.start(programs::spin::code(), [0; 2]);
        assert_eq!(trap, Trap::Interrupt(Interrupts::TIMER));
        assert!(self.machine.now() >= soon && regs.x[0] > 0);
        // The timer is level-triggered: it must be quiet now, and come again when asked to.
        assert_eq!(self.machine.poll_interrupts(), Interrupts::empty());
        self.machine.set_timer(Nanos(0));
        assert_eq!(self.machine.wait_for_interrupt(), Interrupts::TIMER);
        self.machine.set_timer(self.machine.now() + Nanos(1_000_000));
        self.machine.set_timer(Nanos::NEVER);
        let until = self.machine.now() + Nanos(2_000_000);
        while self.machine.now() < until {
            assert_eq!(self.machine.poll_interrupts(), Interrupts::empty());
        }
        info!("ok timer");
    }

    fn wait(&mut self) {
        let mut late = 0;
        for _ in 0..20 {
            let deadline = self.machine.now() + Nanos(2_000_000);
            self.machine.set_timer(deadline);
            assert_eq!(self.machine.wait_for_interrupt(), Interrupts::TIMER);
            let woken = self.machine.now();
            assert!(woken >= deadline, "woken early");
            late = late.max(woken.since(deadline).0);
        }
        info!("ok waits; woken at most {late} ns late");
    }

    fn frames(&mut self) {
        let (a, b) = (self.supply.take(self.machine), self.supply.take(self.machine));
        let mut pattern = [0_u8; 4096];
        for (i, byte) in pattern.iter_mut().enumerate() {
            *byte = (i * 7 + i / 256) as u8;
        }
        for (offset, len) in
            [(0, 4096), (1, 7), (3, 64), (5, 127), (4095, 1), (8, 0), (100, 1001), (6, 14)]
        {
            self.machine.zero_frame(a);
            self.machine.write(a, offset, &pattern[..len]);
            self.machine.copy_frame(b, a);
            let mut out = [0xee; 4096];
            self.machine.read(b, 0, &mut out);
            assert_eq!(out[offset..offset + len], pattern[..len]);
            assert!(out[..offset].iter().chain(&out[offset + len..]).all(|b| *b == 0));
            self.machine.write(b, 0, &[1; 4096]);
            self.machine.zero(b, offset, len);
            self.machine.read(b, 0, &mut out);
            assert!(out[offset..offset + len].iter().all(|b| *b == 0));
            assert!(out[..offset].iter().chain(&out[offset + len..]).all(|b| *b == 1));
        }
        self.machine.zero_frame(a);
        assert_eq!(self.machine.compare_exchange_u32(a, 8, 0, 5), 0);
        assert_eq!(self.machine.compare_exchange_u32(a, 8, 0, 6), 5);
        info!("ok frames");
    }

    fn random(&mut self) {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        self.machine.entropy(&mut one);
        self.machine.entropy(&mut two);
        assert_ne!(one, two);
        let [first, second] = self.machine.hwcap();
        assert_eq!(first & 3, 3, "floating point and SIMD");
        info!("ok random numbers; capabilities {first:#x} {second:#x}");
        for (name, value) in self.machine.describe_cpu() {
            info!("{name}: {value}");
        }
    }
}
