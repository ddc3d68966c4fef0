//! Threads that move between instances: what they take along, and what it costs.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core::FabricSettings;
use maize_core_sim::fabric::{Fabric, run};
use maize_core_sim::on_both;
use maize_core_sim::scripts::{
    bump, end_thread, expect_core, go, move_thread, start_thread, wait_until,
};

fn settings() -> FabricSettings {
    FabricSettings::default()
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
    let (outcome, fabric) = run::<I>(2, &s, &settings(), 1);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("there\nback\n", 0));
    assert_eq!(fabric.counter("fabric.moves"), 2);
}

on_both!(a_thread_goes_and_comes_back, goes_and_comes_back);

/// A script that goes to core 1 and back `times` times.
fn commuter(times: u64) -> Script {
    let mut s = Script::new();
    s.imm(Reg::S(0), times);
    let again = s.mark();
    go(&mut s, 1);
    go(&mut s, 0);
    s.add_imm(Reg::S(0), Reg::S(0), -1).imm(Reg::S(1), 0).if_not_equal(Reg::S(0), Reg::S(1), again);
    s.exit(0);
    s
}

/// All messages and their bytes of a fabric so far.
fn traffic<I: Isa>(fabric: &Fabric<I>) -> (u64, u64)
where
    I::Regs: ScriptRegs,
{
    let counters = fabric.counters();
    let sum = |prefix: &str| {
        counters.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, n)| n).sum()
    };
    (sum("fabric.sent."), sum("fabric.bytes."))
}

fn costs_two_messages_and_a_page<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let cost = |times| {
        let (outcome, fabric) = run::<I>(2, &commuter(times), &settings(), 1);
        assert_eq!(outcome.status, 0);
        traffic(&fabric)
    };
    let (few, few_bytes) = cost(5);
    let (many, many_bytes) = cost(105);
    // There and back: Run and Trapped. The page with the mask is read-only on both sides by then. The page
    // of the stack goes along without having been asked for; what brings it home is confirmed.
    assert_eq!(many - few, 100 * (2 + 3));
    let bytes = (many_bytes - few_bytes) / 100;
    assert!(bytes <= 1_024, "{bytes} bytes there and back");
}

on_both!(there_and_back_are_two_messages, costs_two_messages_and_a_page);

fn visits_all<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let word = s.data(&[0; 8]);
    s.imm(Reg::S(0), 0);
    for core in [3, 1, 2, 1, 0, 3, 3, 2] {
        go(&mut s, core);
        expect_core(&mut s, core, 10 + core as u8);
        // A number that grows in memory and in a register alike.
        s.add_imm(Reg::S(0), Reg::S(0), 1).imm(Reg::S(1), word).load64(Reg::S(2), Reg::S(1), 0);
        s.add_imm(Reg::S(2), Reg::S(2), 1).store64(Reg::S(1), 0, Reg::S(2));
    }
    s.imm(Reg::S(1), word).load64(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), 8, 2);
    s.expect(Reg::S(0), 8, 3);
    // The same process and thread everywhere.
    s.syscall_with(Sysno::Getpid, &[]).mov(Reg::S(2), Reg::Ret);
    go(&mut s, 0);
    s.syscall_with(Sysno::Gettid, &[]).mov(Reg::S(3), Reg::Ret);
    let same = s.place();
    s.if_equal(Reg::S(2), Reg::S(3), same).exit(4);
    s.here(same).print("everywhere\n").exit(0);
    let (outcome, _) = run::<I>(4, &s, &settings(), 3);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("everywhere\n", 0));
}

on_both!(a_thread_visits_many_instances, visits_all);

fn moves_others<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let tid = s.data(&[0; 8]);
    let state = s.data(&[0; 8]);
    let asleep = s.data(&[0; 8]);
    let thread = s.place();
    start_thread(&mut s, 0, thread);
    s.imm(Reg::S(1), tid).store64(Reg::S(1), 0, Reg::Ret);
    wait_until(&mut s, state, 1);
    // The other spins at home, and is taken away.
    let mask = s.data(&2_u64.to_le_bytes());
    let mask2 = s.data(&4_u64.to_le_bytes());
    let move_to = |s: &mut Script, mask: u64| {
        s.imm(Reg::S(1), tid).load64(Reg::A(0), Reg::S(1), 0);
        s.imm(Reg::A(1), 8).imm(Reg::A(2), mask).syscall(Sysno::SchedSetaffinity);
        s.expect(Reg::Ret, 0, 92);
    };
    move_to(&mut s, mask);
    s.imm(Reg::S(1), state).imm(Reg::S(2), 2);
    wait_until(&mut s, state, 2);
    // It waits on a futex on core 1, and is moved to core 2 while it sleeps.
    s.syscall_with(Sysno::SchedYield, &[]).spin(2000);
    move_to(&mut s, mask2);
    bump(&mut s, asleep);
    wait_until(&mut s, state, 3);
    s.print("moved\n").exit(0);

    s.here(thread);
    bump(&mut s, state);
    let word = s.data(&[0xff; 4]);
    let spin = s.mark();
    s.spin(50).syscall_with(Sysno::Getcpu, &[word, 0, 0]);
    s.imm(Reg::S(4), word).load32(Reg::S(4), Reg::S(4), 0).imm(Reg::S(5), 1);
    s.if_not_equal(Reg::S(4), Reg::S(5), spin);
    bump(&mut s, state);
    wait_until(&mut s, asleep, 1);
    expect_core(&mut s, 2, 7);
    bump(&mut s, state);
    end_thread(&mut s);
    let (outcome, _) = run::<I>(3, &s, &settings(), 5);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("moved\n", 0));
}

on_both!(another_thread_is_moved_while_it_runs_and_while_it_sleeps, moves_others);

fn masks<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const EINVAL: u64 = (-22_i64) as u64;
    const ESRCH: u64 = (-3_i64) as u64;
    let mut s = Script::new();
    let none = s.data(&0x10_u64.to_le_bytes());
    let both = s.data(&0x12_u64.to_le_bytes());
    let out = s.data(&[0; 8]);
    s.syscall_with(Sysno::SchedGetaffinity, &[0, 8, out]).expect(Reg::Ret, 8, 1);
    s.imm(Reg::S(0), out).load64(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), 0b11, 2);
    // No such core; one that is and one that is not; no such thread.
    s.syscall_with(Sysno::SchedSetaffinity, &[0, 8, none]).expect(Reg::Ret, EINVAL, 3);
    s.syscall_with(Sysno::SchedSetaffinity, &[4_000_000, 8, both]).expect(Reg::Ret, ESRCH, 4);
    s.syscall_with(Sysno::SchedSetaffinity, &[0, 8, both]).expect(Reg::Ret, 0, 5);
    expect_core(&mut s, 1, 6);
    s.syscall_with(Sysno::SchedGetaffinity, &[0, 8, out]).expect(Reg::Ret, 8, 7);
    s.imm(Reg::S(0), out).load64(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), 0b10, 8);
    s.exit(0);
    assert_eq!(run::<I>(2, &s, &settings(), 1).0.status, 0);
}

on_both!(masks_are_checked_and_kept, masks);

fn migrate_by_tid<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    // The first program is process 2.
    move_thread(&mut s, 2, 1);
    expect_core(&mut s, 1, 1);
    s.exit(0);
    assert_eq!(run::<I>(2, &s, &settings(), 1).0.status, 0);
}

on_both!(a_thread_is_named_by_its_id, migrate_by_tid);
