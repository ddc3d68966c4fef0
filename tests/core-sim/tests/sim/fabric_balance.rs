//! Threads that are moved from crowded instances to idle ones.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core::{FabricSettings, Placement};
use maize_core_sim::fabric::run;
use maize_core_sim::on_both;
use maize_core_sim::scripts::{
    borrow_futexes, bump, end_thread, go, roam, set, sleep, spin_until, start_thread, wait_on,
    wait_until,
};
use maize_hal::Nanos;

/// `threads` threads that compute for 8 ms; at the end `core 0` … say how many were where.
fn crowd(threads: u64, cores: u64) -> Script {
    let mut s = Script::new();
    let stop = s.data(&[0; 4096]);
    let there = s.data(&vec![0; 8 * cores as usize]);
    let done = s.data(&[0; 8]);
    let words = s.data(&[0; 8 * 64]);
    let body = s.place();
    for n in 0..threads {
        s.imm(Reg::S(1), words + 8 * n);
        start_thread(&mut s, n, body);
    }
    sleep(&mut s, 8_000_000);
    set(&mut s, stop, 1);
    wait_until(&mut s, done, threads);
    // Each of the cores has its share.
    for core in 0..cores {
        s.imm(Reg::S(0), there + 8 * core).load32(Reg::S(2), Reg::S(0), 0);
        s.expect(Reg::S(2), threads / cores, 10 + core as u8);
    }
    s.print("spread\n").exit(0);

    s.here(body);
    compute(&mut s, stop, there, done, cores);
    s
}

/// What a thread does that computes until the word `stop` is set: then it counts itself to those on its core
/// and to those that are `done`. `S(1)` is a word of its own.
fn compute(s: &mut Script, stop: u64, there: u64, done: u64, cores: u64) {
    s.imm(Reg::S(0), stop);
    let again = s.mark();
    // The others need not wait for the end of a time slice.
    s.spin(20).syscall_with(Sysno::SchedYield, &[]);
    s.load32(Reg::S(2), Reg::S(0), 0).imm(Reg::S(3), 0);
    s.if_equal(Reg::S(2), Reg::S(3), again);
    s.mov(Reg::A(0), Reg::S(1)).imm(Reg::A(1), 0).imm(Reg::A(2), 0).syscall(Sysno::Getcpu);
    s.load32(Reg::S(2), Reg::S(1), 0);
    let counted = s.place();
    for core in 0..cores {
        let other = s.place();
        s.imm(Reg::S(3), core).if_not_equal(Reg::S(2), Reg::S(3), other);
        s.imm(Reg::S(4), there + 8 * core).imm(Reg::S(5), 1);
        s.fetch_add32(Reg::S(5), Reg::S(4), Reg::S(5)).jump(counted);
        s.here(other);
    }
    s.here(counted);
    bump(s, done);
    end_thread(s);
}

fn settings(balance_every: Nanos) -> FabricSettings {
    FabricSettings { balance_every, ..FabricSettings::default() }
}

const PERIOD: Nanos = Nanos(500_000);

fn spreads<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let (outcome, fabric) = run::<I>(4, &crowd(8, 4), &settings(PERIOD), 1);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("spread\n", 0));
    // Six threads have to go, each once: nothing goes back and forth.
    assert_eq!(fabric.counter("fabric.balanced"), 6);
}

on_both!(a_crowd_on_one_of_four_instances_is_spread, spreads);

#[test]
fn what_is_even_stays() {
    type X86 = maize_abi::isa::x86_64::X86_64;
    let placement = Placement::Spread;
    let settings = FabricSettings { placement, ..settings(PERIOD) };
    let (outcome, fabric) = run::<X86>(4, &crowd(8, 4), &settings, 5);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("spread\n", 0));
    assert_eq!(fabric.counter("fabric.balanced"), 0);
}

#[test]
fn nothing_is_balanced_unless_asked_for() {
    type X86 = maize_abi::isa::x86_64::X86_64;
    let (outcome, fabric) = run::<X86>(2, &crowd(4, 1), &settings(Nanos(0)), 1);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("spread\n", 0));
    assert_eq!(fabric.counter("fabric.sent.Load"), 0);
    assert_eq!(fabric.counter("fabric.moves"), 0);
}

/// Three threads compute on core 1, where six others sleep on a futex that is lent to it.
fn crowd_among_sleepers() -> Script {
    const SLEEPERS: u64 = 6;
    let mut s = Script::new();
    let mut page = || s.data(&[0; 4096]);
    let (word, lent, ready, stop, there, done) = (page(), page(), page(), page(), page(), page());
    let words = page();
    let (sleeper, computer) = (s.place(), s.place());
    for n in 0..SLEEPERS {
        start_thread(&mut s, n, sleeper);
    }
    wait_until(&mut s, ready, SLEEPERS);
    for n in 0..3 {
        s.imm(Reg::S(1), words + 8 * n);
        start_thread(&mut s, SLEEPERS + n, computer);
    }
    sleep(&mut s, 8_000_000);
    set(&mut s, stop, 1);
    wait_until(&mut s, done, 3);
    for core in 0..2 {
        s.imm(Reg::S(0), there + 8 * core).load32(Reg::S(2), Reg::S(0), 0);
        s.expect(Reg::S(2), 1 + core, 10 + core as u8);
    }
    s.print("spread\n").exit(0);

    s.here(sleeper);
    go(&mut s, 1);
    let wait = s.place();
    s.imm(Reg::S(0), lent).imm(Reg::S(2), 1).fetch_add32(Reg::S(2), Reg::S(0), Reg::S(2));
    s.imm(Reg::S(3), 0).if_not_equal(Reg::S(2), Reg::S(3), wait);
    borrow_futexes(&mut s, word);
    s.here(wait);
    spin_until(&mut s, lent, SLEEPERS);
    roam(&mut s, 2);
    bump(&mut s, ready);
    let asleep = s.mark();
    wait_on(&mut s, word);
    s.jump(asleep);

    s.here(computer);
    go(&mut s, 1);
    roam(&mut s, 2);
    compute(&mut s, stop, there, done, 2);
    s
}

/// To move one that sleeps would make nobody's load smaller.
#[test]
fn who_sleeps_where_its_futex_is_lent_stays() {
    type X86 = maize_abi::isa::x86_64::X86_64;
    for seed in 1..5 {
        let (outcome, fabric) = run::<X86>(2, &crowd_among_sleepers(), &settings(PERIOD), seed);
        assert_eq!((outcome.stdout.as_str(), outcome.status), ("spread\n", 0), "seed {seed}");
        assert!(fabric.counter("fabric.futexes_lent") > 0, "seed {seed}");
        assert_eq!(fabric.counter("fabric.balanced"), 1, "seed {seed}");
    }
}
