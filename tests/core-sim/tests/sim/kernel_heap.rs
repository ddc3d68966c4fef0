//! What programs get when the kernel has no memory left for itself.
#![allow(clippy::unwrap_used, reason = "a helper of tests")]

use std::cell::Cell;
use std::rc::Rc;

use maize_abi::{Errno, Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core_sim::{Sim, on_both, root_with};
use maize_hal::{FrameRange, KernelHeap};

/// A heap of which the test says what is left, whatever frames it is given.
#[derive(Clone)]
struct Fixed(Rc<Cell<usize>>);

impl KernelHeap for Fixed {
    fn available(&self) -> usize {
        self.0.get()
    }

    fn grow(&mut self, _: FrameRange) {}
}

const PLENTY: usize = 1 << 30;

fn run_until_printed<I: Isa>(sim: &mut Sim<I>, text: &str)
where
    I::Regs: ScriptRegs,
{
    for _ in 0..10_000 {
        if sim.host.stdout() == text.as_bytes() {
            return;
        }
        sim.kernel.step();
    }
    assert_eq!(String::from_utf8_lossy(&sim.host.stdout()), text);
}

fn refused_and_served<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let path = s.data(b"/program\0");
    let at_cwd = -100_i64 as u64;
    let refused = Errno::ENOMEM.to_register();
    s.print("1");
    s.syscall_with(Sysno::Openat, &[at_cwd, path, 0, 0]).expect(Reg::Ret, refused, 2);
    // What makes nothing is served.
    s.syscall_with(Sysno::SchedYield, &[]).expect(Reg::Ret, 0, 3);
    s.print("2");
    s.syscall_with(Sysno::Openat, &[at_cwd, path, 0, 0]).expect(Reg::Ret, 3, 4);
    s.exit(0);
    let left = Rc::new(Cell::new(PLENTY));
    let heap = Fixed(Rc::clone(&left));
    let mut sim = Sim::<I>::with_heap(&root_with::<I>(&s), 1, Some(Box::new(heap)));
    run_until_printed(&mut sim, "1");
    left.set(1000);
    run_until_printed(&mut sim, "12");
    left.set(PLENTY);
    let outcome = sim.run(10_000).unwrap();
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "12"));
}

on_both!(calls_that_make_something_are_refused_while_the_heap_is_low, refused_and_served);
