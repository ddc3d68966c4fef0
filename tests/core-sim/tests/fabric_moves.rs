//! Threads that move between instances: what they take along, and what it costs.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{DATA, Reg, Script, ScriptRegs};
use maize_core::FabricSettings;
use maize_core_sim::fabric::run;
use maize_core_sim::on_both;

/// Moves the calling thread to `core`.
fn go(s: &mut Script, core: u32) {
    let mask = s.data(&(1_u64 << core).to_le_bytes());
    s.syscall_with(Sysno::SchedSetaffinity, &[0, 8, mask]).expect(Reg::Ret, 0, 90);
}

/// Exits with `status` unless the thread is on `core`.
fn expect_core(s: &mut Script, core: u32, status: u8) {
    let word = s.data(&[0xff; 4]);
    s.syscall_with(Sysno::Getcpu, &[word, 0, 0]).expect(Reg::Ret, 0, 91);
    s.imm(Reg::S(4), word).load32(Reg::S(4), Reg::S(4), 0);
    s.expect(Reg::S(4), u64::from(core), status);
}

fn goes_and_comes_back<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    s.imm(Reg::S(0), 123).imm(Reg::S(1), 77).set_fpu(Reg::S(1)).imm(Reg::S(1), 0x5000);
    s.set_tls(Reg::S(1));
    go(&mut s, 1);
    expect_core(&mut s, 1, 1);
    s.expect(Reg::S(0), 123, 2);
    s.get_fpu(Reg::S(2)).expect(Reg::S(2), 77, 3);
    s.get_tls(Reg::S(2)).expect(Reg::S(2), 0x5000, 4);
    s.print("there\n");
    go(&mut s, 0);
    expect_core(&mut s, 0, 5);
    s.get_fpu(Reg::S(2)).expect(Reg::S(2), 77, 6);
    s.print("back\n").exit(0);
    let (outcome, fabric) = run::<I>(2, &s, &FabricSettings::default(), 1);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("there\nback\n", 0));
    assert_eq!(fabric.counter("fabric.moves"), 2);
}

on_both!(a_thread_goes_and_comes_back, goes_and_comes_back);

#[allow(dead_code, reason = "used by later tests")]
const STACK: u64 = DATA + 0x8_0000;
