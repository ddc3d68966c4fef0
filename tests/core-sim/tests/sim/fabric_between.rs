//! Threads that move between kernels of different instruction sets.

use maize_abi::{IsaKind, Sysno};
use maize_arch_host::{Place, Reg, Script};
use maize_core::{Coherence, FabricSettings, Placement, WindowFrames};
use maize_core_sim::fabric::{ENOUGH, Mixed, impatient_links, links, window};
use maize_core_sim::scripts::{
    BLOCK, SA_SIGINFO, THREAD, arrivals, bump, cross, end_thread, go, migration_point, move_thread,
    wait_until,
};
use maize_core_sim::{Outcome, root_with, root_with_pair};
use maize_hal::Nanos;
use maize_simnet::NetConfig;

const PAIR: [IsaKind; 2] = [IsaKind::X86_64, IsaKind::Aarch64];
const OTHER_PAIR: [IsaKind; 2] = [IsaKind::Aarch64, IsaKind::X86_64];
const SETTLS: u64 = 0x8_0000;
const EINVAL: u64 = 22_u64.wrapping_neg();

/// Runs a script for both instruction sets.
fn run(
    isas: &[IsaKind],
    script: &Script,
    settings: &FabricSettings,
    seed: u64,
) -> (Outcome, Mixed) {
    let root = root_with_pair(script, isas[0]);
    let mut fabric = Mixed::of(isas, &root, settings, NetConfig::new(seed), links());
    match fabric.run(ENOUGH) {
        Ok(outcome) => (outcome, fabric),
        Err(stuck) => unreachable!("{stuck:?}, seed {seed}: {:#?}", fabric.counters()),
    }
}

/// A script whose first thread has a block.
fn script() -> (Script, Place) {
    let (mut s, resume) = Script::for_several();
    let block = s.data(&[0; BLOCK]);
    s.imm(Reg::S(0), block).set_tls(Reg::S(0));
    (s, resume)
}

#[test]
fn a_thread_takes_its_records_and_its_memory_along() {
    let (mut s, resume) = script();
    let word = s.data(&5_u64.to_le_bytes());
    s.imm(Reg::S(0), 123);
    for (core, value) in [(1, 6), (0, 7), (1, 8), (1, 9), (0, 10)] {
        cross(&mut s, core);
        s.expect(Reg::S(0), 123, 1);
        s.imm(Reg::S(1), word).load64(Reg::S(2), Reg::S(1), 0).add_imm(Reg::S(2), Reg::S(2), 1);
        s.store64(Reg::S(1), 0, Reg::S(2));
        s.expect(Reg::S(2), value, 2);
        s.print("x");
    }
    s.exit(0);
    arrivals(&mut s, resume);
    for isas in [PAIR, OTHER_PAIR] {
        for coherence in [Coherence::Directory, Coherence::Voting] {
            let settings = FabricSettings { coherence, ..FabricSettings::default() };
            let (outcome, fabric) = run(&isas, &s, &settings, 1);
            assert_eq!((outcome.stdout.as_str(), outcome.status), ("xxxxx", 0), "{isas:?}");
            assert_eq!(fabric.counter("fabric.crossings"), 4);
        }
    }
}

#[test]
fn a_file_is_mapped_on_both_instruction_sets() {
    const HERE: u64 = 0x1_0000_0000;
    const AT_FDCWD: u64 = (-100_i64) as u64;
    const FILE: u64 = 3;
    let (mut s, resume) = script();
    let path = s.data(b"/tmp/file\0");
    let buffer = s.data(&[0; 8]);
    s.syscall_with(Sysno::Openat, &[AT_FDCWD, path, 0o102, 0o600]).expect(Reg::Ret, FILE, 1);
    s.syscall_with(Sysno::Ftruncate, &[FILE, 4096]).expect(Reg::Ret, 0, 2);
    s.syscall_with(Sysno::Mmap, &[HERE, 4096, 3, 0x11, FILE, 0]).expect(Reg::Ret, HERE, 3);
    for (core, value) in [(1, 1), (0, 2), (1, 3)] {
        cross(&mut s, core);
        s.imm(Reg::S(1), HERE).load64(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), value - 1, 4);
        s.imm(Reg::S(2), value).store64(Reg::S(1), 0, Reg::S(2));
        s.syscall_with(Sysno::Pread64, &[FILE, buffer, 8, 0]).expect(Reg::Ret, 8, 5);
        s.imm(Reg::S(1), buffer).load64(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), value, 6);
    }
    s.print("one file").exit(0);
    arrivals(&mut s, resume);
    for isas in [PAIR, OTHER_PAIR] {
        let (outcome, fabric) = run(&isas, &s, &FabricSettings::default(), 1);
        assert_eq!((outcome.stdout.as_str(), outcome.status), ("one file", 0), "{isas:?}");
        assert_eq!(fabric.counter("fabric.crossings"), 3);
    }
}

#[test]
fn who_is_not_asked_any_more_stays() {
    let (mut s, resume) = script();
    go(&mut s, 1);
    go(&mut s, 0);
    migration_point(&mut s);
    // As if it had been asked: the call comes back.
    s.get_tls(Reg::A(0)).imm(Reg::A(1), 0).imm(Reg::Nr, maize_abi::migration::LEAVE).raw_syscall();
    s.expect(Reg::Ret, 0, 1);
    s.exit(0);
    arrivals(&mut s, resume);
    let (outcome, fabric) = run(&PAIR, &s, &FabricSettings::default(), 1);
    assert_eq!(outcome.status, 0);
    assert_eq!(fabric.counter("fabric.crossings"), 0);
}

/// Has a handler that counts in the word at the address that is returned, and the kernels' way back.
fn count_signals(s: &mut Script, signal: u64) -> u64 {
    const SA_RESTORER: u64 = 0x0400_0000;
    let (handler, back, after) = (s.place(), s.place(), s.place());
    let seen = s.data(&[0; 8]);
    let action = s.data(&[0; 32]);
    s.imm(Reg::S(1), action).address(Reg::S(0), handler).store64(Reg::S(1), 0, Reg::S(0));
    s.imm(Reg::S(0), SA_SIGINFO | SA_RESTORER).store64(Reg::S(1), 8, Reg::S(0));
    s.address(Reg::S(0), back).store64(Reg::S(1), 16, Reg::S(0));
    s.syscall_with(Sysno::RtSigaction, &[signal, action, 0, 8]).expect(Reg::Ret, 0, 70);
    s.jump(after);
    s.here(handler).expect(Reg::A(0), signal, 71);
    s.imm(Reg::S(1), seen).imm(Reg::S(2), 1).fetch_add32(Reg::S(2), Reg::S(1), Reg::S(2)).ret();
    s.here(back).syscall(Sysno::RtSigreturn);
    s.here(after);
    seen
}

#[test]
fn signals_meet_threads_wherever_they_are() {
    const SIGUSR1: u64 = 10;
    let (mut s, resume) = script();
    let seen = count_signals(&mut s, SIGUSR1);
    let (ended, gone) = (s.data(&[0; 4]), s.data(&[0; 4]));
    let block = s.data(&[0; BLOCK]);
    let stack = s.data(&[0; 4096]) + 4096;
    let body = s.place();
    s.syscall_with(Sysno::Getpid, &[]).mov(Reg::S(0), Reg::Ret);
    s.syscall_with(Sysno::Clone, &[THREAD | SETTLS, stack, 0, block, block]);
    s.imm(Reg::S(5), 0).if_equal(Reg::Ret, Reg::S(5), body);
    // The first thread goes to and fro, however often it is met.
    s.imm(Reg::S(0), 123).imm(Reg::S(3), 40);
    let again = s.mark();
    cross(&mut s, 1);
    cross(&mut s, 0);
    s.expect(Reg::S(0), 123, 72);
    s.add_imm(Reg::S(3), Reg::S(3), -1).imm(Reg::S(2), 0).if_not_equal(Reg::S(3), Reg::S(2), again);
    bump(&mut s, ended);
    wait_until(&mut s, gone, 1);
    // More than a few of them have come.
    s.imm(Reg::S(0), seen).load64(Reg::S(0), Reg::S(0), 0).imm(Reg::S(1), 10);
    let enough = s.place();
    s.if_less(Reg::S(1), Reg::S(0), enough).exit(73);
    s.here(enough).exit(0);
    s.here(body);
    // At any time: sleeps are of no length that a crossing takes.
    let mut pause = [0; 16];
    pause[8..].copy_from_slice(&130_000_u64.to_le_bytes());
    let pause = s.data(&pause);
    let more = s.mark();
    s.syscall_with(Sysno::Nanosleep, &[pause, 0]);
    s.mov(Reg::A(0), Reg::S(0)).mov(Reg::A(1), Reg::S(0)).imm(Reg::A(2), SIGUSR1);
    s.syscall(Sysno::Tgkill).expect(Reg::Ret, 0, 74);
    s.imm(Reg::S(1), ended).load32(Reg::S(1), Reg::S(1), 0);
    s.imm(Reg::S(2), 0).if_equal(Reg::S(1), Reg::S(2), more);
    bump(&mut s, gone);
    end_thread(&mut s);
    arrivals(&mut s, resume);
    for isas in [PAIR, OTHER_PAIR] {
        for seed in 1..4 {
            let (outcome, fabric) = run(&isas, &s, &FabricSettings::default(), seed);
            assert_eq!(outcome.status, 0, "{isas:?}, seed {seed}");
            assert_eq!(fabric.counter("fabric.crossings"), 80, "{isas:?}, seed {seed}");
        }
    }
}

/// Messages and pages of a program whose thread goes there and back so many times.
fn traffic(times: u64, window: Option<WindowFrames>) -> [u64; 2] {
    let (mut s, resume) = script();
    s.imm(Reg::S(3), times + 1);
    let again = s.mark();
    for core in [1, 0] {
        go(&mut s, core);
        migration_point(&mut s);
    }
    s.add_imm(Reg::S(3), Reg::S(3), -1).imm(Reg::S(2), 0).if_not_equal(Reg::S(3), Reg::S(2), again);
    s.exit(0);
    arrivals(&mut s, resume);
    let settings = FabricSettings { window, ..FabricSettings::default() };
    let (outcome, fabric) = run(&PAIR, &s, &settings, 1);
    assert_eq!(outcome.status, 0);
    let counters = fabric.counters();
    ["fabric.sent.", "fabric.pages_sent"].map(|prefix| {
        counters.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, n)| n).sum()
    })
}

#[test]
fn a_crossing_takes_its_pages_along() {
    let [few, many] = [traffic(2, None), traffic(12, None)];
    let [messages, pages] = [0, 1].map(|n| many[n] - few[n]);
    assert_eq!((messages, pages), (140, 60));
}

#[test]
fn pages_of_a_thread_that_goes_to_and_fro_move_to_the_window() {
    let [few, many] = [20, 30].map(|times| traffic(times, Some(const { window(2) })));
    let [messages, pages] = [0, 1].map(|n| many[n] - few[n]);
    // Of the first call of each round, and of the call that leaves.
    assert_eq!((messages, pages), (40, 0));
}

/// Threads that add under no lock but by atomic operations, with migration points in their loops.
fn adders(threads: u64, rounds: u64) -> Script {
    let (mut s, resume) = script();
    let (sum, ended) = (s.data(&[0; 4]), s.data(&[0; 4]));
    let body = s.place();
    for n in 0..threads {
        let block = s.data(&[0; BLOCK]);
        let stack = s.data(&[0; 4096]) + 4096;
        s.syscall_with(Sysno::Clone, &[THREAD, stack, 0, 0, 0]);
        s.imm(Reg::S(0), block).imm(Reg::S(3), n);
        s.imm(Reg::S(5), 0).if_equal(Reg::Ret, Reg::S(5), body);
    }
    wait_until(&mut s, ended, threads);
    s.imm(Reg::S(0), sum).load32(Reg::S(0), Reg::S(0), 0).expect(Reg::S(0), threads * rounds, 1);
    s.exit(0);
    s.here(body);
    s.set_tls(Reg::S(0)).imm(Reg::S(0), rounds);
    let again = s.mark();
    migration_point(&mut s);
    s.imm(Reg::S(1), sum).imm(Reg::S(2), 1).fetch_add32(Reg::S(2), Reg::S(1), Reg::S(2));
    s.syscall(Sysno::SchedYield);
    s.add_imm(Reg::S(0), Reg::S(0), -1).imm(Reg::S(2), 0).if_not_equal(Reg::S(0), Reg::S(2), again);
    bump(&mut s, ended);
    end_thread(&mut s);
    arrivals(&mut s, resume);
    s
}

#[test]
fn threads_add_up_on_both_whoever_moves_when() {
    let script = adders(4, 30);
    for seed in 1_u64..6 {
        for (isas, migrate_every) in [(PAIR, 1), (OTHER_PAIR, 3), (PAIR, 0)] {
            let placement = Placement::Spread;
            let window = seed.is_multiple_of(2).then_some(const { window(2) });
            let usual = FabricSettings::default();
            let settings = FabricSettings { placement, migrate_every, window, ..usual };
            let (outcome, fabric) = run(&isas, &script, &settings, seed);
            assert_eq!(outcome.status, 0, "seed {seed}");
            assert!(fabric.counter("fabric.crossings") >= 2, "seed {seed}");
        }
    }
}

#[test]
fn three_instances_of_two_instruction_sets() {
    let isas = [IsaKind::X86_64, IsaKind::Aarch64, IsaKind::X86_64];
    let settings = FabricSettings { migrate_every: 2, ..FabricSettings::default() };
    let (outcome, fabric) = run(&isas, &adders(3, 30), &settings, 3);
    assert_eq!(outcome.status, 0);
    assert!(fabric.counter("fabric.moves") > fabric.counter("fabric.crossings"));
}

#[test]
fn a_thread_made_elsewhere_starts_there() {
    let (mut s, resume) = script();
    let ended = s.data(&[0; 4]);
    let block = s.data(&[0; BLOCK]);
    let stack = s.data(&[0; 4096]) + 4096;
    let body = s.place();
    cross(&mut s, 1);
    // Both orders of the arguments: each of the last two is right on one instruction set.
    s.syscall_with(Sysno::Clone, &[THREAD | SETTLS, stack, 0, block, block]);
    s.imm(Reg::S(5), 0).if_equal(Reg::Ret, Reg::S(5), body);
    wait_until(&mut s, ended, 1);
    s.exit(0);
    s.here(body);
    maize_core_sim::scripts::expect_core(&mut s, 1, 3);
    cross(&mut s, 0);
    bump(&mut s, ended);
    end_thread(&mut s);
    arrivals(&mut s, resume);
    for isas in [PAIR, OTHER_PAIR] {
        let (outcome, fabric) = run(&isas, &s, &FabricSettings::default(), 1);
        assert_eq!(outcome.status, 0, "{isas:?}");
        assert_eq!(fabric.counter("fabric.crossings"), 2);
    }
}

#[test]
fn a_thread_that_another_sends_goes_when_it_wakes() {
    let (mut s, resume) = script();
    let (word, ready, ended) = (s.data(&[0; 4]), s.data(&[0; 4]), s.data(&[0; 4]));
    let block = s.data(&[0; BLOCK]);
    let stack = s.data(&[0; 4096]) + 4096;
    let body = s.place();
    s.syscall_with(Sysno::Gettid, &[]);
    s.syscall_with(Sysno::Clone, &[THREAD | SETTLS, stack, 0, block, block]);
    s.mov(Reg::S(1), Reg::Ret).imm(Reg::S(5), 0).if_equal(Reg::Ret, Reg::S(5), body);
    wait_until(&mut s, ready, 1);
    let mask = s.data(&2_u64.to_le_bytes());
    s.mov(Reg::A(0), Reg::S(1)).imm(Reg::A(1), 8).imm(Reg::A(2), mask);
    s.syscall(Sysno::SchedSetaffinity).expect(Reg::Ret, 0, 1);
    bump(&mut s, word);
    wait_until(&mut s, ended, 1);
    s.exit(0);
    s.here(body);
    bump(&mut s, ready);
    wait_until(&mut s, word, 1);
    migration_point(&mut s);
    maize_core_sim::scripts::expect_core(&mut s, 1, 2);
    bump(&mut s, ended);
    end_thread(&mut s);
    arrivals(&mut s, resume);
    let (outcome, _) = run(&PAIR, &s, &FabricSettings::default(), 1);
    assert_eq!(outcome.status, 0);
}

#[test]
fn a_script_of_one_instruction_set_is_refused_the_other_s_cores() {
    let mut s = Script::new();
    let mask = s.data(&2_u64.to_le_bytes());
    s.syscall_with(Sysno::SchedSetaffinity, &[0, 8, mask]).expect(Reg::Ret, EINVAL, 1);
    s.imm(Reg::Nr, maize_abi::migration::LEAVE).raw_syscall();
    s.expect(Reg::Ret, 38_u64.wrapping_neg(), 2);
    move_thread(&mut s, 0, 0);
    s.exit(0);
    let root = root_with::<maize_abi::isa::x86_64::X86_64>(&s);
    let settings = FabricSettings { migrate_every: 1, ..FabricSettings::default() };
    let mut fabric = Mixed::of(&PAIR, &root, &settings, NetConfig::new(1), links());
    let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}"));
    assert_eq!(outcome.status, 0);
    assert_eq!(fabric.counter("fabric.moves"), 0);
}

#[test]
fn a_thread_is_lost_with_the_only_instance_that_can_run_it() {
    let (mut s, resume) = script();
    cross(&mut s, 1);
    let forever = s.mark();
    s.jump(forever);
    arrivals(&mut s, resume);
    let root = root_with_pair(&s, IsaKind::X86_64);
    let settings = FabricSettings::default();
    let mut fabric = Mixed::of(&PAIR, &root, &settings, NetConfig::new(7), impatient_links());
    let until = fabric.now() + Nanos::from_millis(3);
    while fabric.now() < until {
        assert!(fabric.turn());
    }
    assert_eq!(fabric.counter("fabric.crossings"), 1);
    fabric.kill(1);
    let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}"));
    assert_eq!(outcome.status, 9);
}
