//! Timers, and signals that are read from files, in virtual time.

use maize_abi::{Errno, Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core::FabricSettings;
use maize_core_sim::scripts::{
    SA_SIGINFO, counting_handler, fork, go, handle, sleep, start_thread,
};
use maize_core_sim::{ENOUGH, Sim, fabric, on_both, root_with, run};
use maize_hal::Nanos;

const CLOCK_MONOTONIC: u64 = 1;

/// Interval and value of a `struct itimerspec`, each less than a second.
fn spec(interval: Nanos, value: Nanos) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[8..16].copy_from_slice(&interval.0.to_le_bytes());
    bytes[24..].copy_from_slice(&value.0.to_le_bytes());
    bytes
}

fn a_read_waits_for_expiries<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let periodic = s.data(&spec(Nanos::from_millis(30), Nanos::from_millis(20)));
    let sleep = s.data(&[[0; 8], 70_000_000_u64.to_le_bytes()].concat());
    let count = s.data(&[0; 8]);
    // The first free descriptor is 3.
    s.syscall_with(Sysno::TimerfdCreate, &[CLOCK_MONOTONIC, 0]).expect(Reg::Ret, 3, 2);
    s.syscall_with(Sysno::TimerfdSettime, &[3, 0, periodic, 0]).expect(Reg::Ret, 0, 3);
    s.syscall_with(Sysno::Read, &[3, count, 8]).expect(Reg::Ret, 8, 4);
    s.imm(Reg::S(1), count).load64(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), 1, 5);
    // At 50 and 80 ms nobody reads.
    s.syscall_with(Sysno::Nanosleep, &[sleep, 0]).expect(Reg::Ret, 0, 6);
    s.syscall_with(Sysno::Read, &[3, count, 8]).expect(Reg::Ret, 8, 7);
    s.imm(Reg::S(1), count).load64(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), 2, 8);
    // Closed while it runs: nothing is left that would expire.
    s.syscall_with(Sysno::Close, &[3]).expect(Reg::Ret, 0, 9);
    s.syscall_with(Sysno::Nanosleep, &[sleep, 0]).expect(Reg::Ret, 0, 10);
    s.exit(0);
    let outcome = run::<I>(&s, 1);
    assert_eq!(outcome.status, 0);
    assert!(outcome.ended >= Nanos::from_millis(160) && outcome.ended < Nanos::from_millis(200));
}

on_both!(a_timer_is_read_as_often_as_it_expires, a_read_waits_for_expiries);

const SIGUSR1: u64 = 10;
const SIGVTALRM: u64 = 26;
const SIGRT: u64 = 40;

const ITIMER_VIRTUAL: u64 = 1;

/// Makes `core` the home of the caller's process.
fn move_home(s: &mut Script, core: u64) {
    s.syscall_with(Sysno::Prctl, &[0x4d5a_0001, 0, core, 0, 0]).expect(Reg::Ret, 0, 80);
}

/// Blocks a signal; the address of the set with only that one.
fn block(s: &mut Script, signal: u64) -> u64 {
    let set = s.data(&(1_u64 << (signal - 1)).to_le_bytes());
    s.syscall_with(Sysno::RtSigprocmask, &[0, set, 0, 8]).expect(Reg::Ret, 0, 81);
    set
}

/// Exits with `status` unless the words at `at` are these.
fn expect_words(s: &mut Script, at: u64, words: &[(i64, u64)], status: u8) {
    s.imm(Reg::S(1), at);
    for (offset, word) in words {
        s.load32(Reg::S(2), Reg::S(1), *offset).expect(Reg::S(2), *word, status);
    }
}

/// A periodic timer, whose signal nobody takes for a while, on any of its homes.
fn overruns(s: &mut Script, homes: &[u64]) {
    let set = block(s, SIGRT);
    let event = [77_u64.to_le_bytes(), SIGRT.to_le_bytes(), [0; 8]].concat();
    let (event, id, info) = (s.data(&event), s.data(&[0xff; 8]), s.data(&[0; 128]));
    let periodic = s.data(&spec(Nanos::from_millis(10), Nanos::from_millis(10)));
    let sleep = s.data(&[[0; 8], 155_000_000_u64.to_le_bytes()].concat());
    s.syscall_with(Sysno::TimerCreate, &[CLOCK_MONOTONIC, event, id]).expect(Reg::Ret, 0, 2);
    expect_words(s, id, &[(0, 0)], 3);
    s.syscall_with(Sysno::TimerSettime, &[0, 0, periodic, 0]).expect(Reg::Ret, 0, 4);
    for home in homes {
        move_home(s, *home);
    }
    s.syscall_with(Sysno::Nanosleep, &[sleep, 0]).expect(Reg::Ret, 0, 5);
    s.syscall_with(Sysno::RtSigtimedwait, &[set, info, 0, 8]).expect(Reg::Ret, SIGRT, 6);
    // The code that says that it is a timer's, which timer, and the value.
    expect_words(s, info, &[(8, u64::from((-2_i32) as u32)), (16, 0), (24, 77)], 7);
    let enough = s.place();
    s.load32(Reg::S(2), Reg::S(1), 20).imm(Reg::S(3), 13).if_less(Reg::S(3), Reg::S(2), enough);
    s.exit(8).here(enough);
    s.mov(Reg::S(4), Reg::S(2)).syscall_with(Sysno::TimerGetoverrun, &[0]);
    let same = s.place();
    s.if_equal(Reg::Ret, Reg::S(4), same).exit(9).here(same);
    // It goes on until it is deleted.
    s.syscall_with(Sysno::RtSigtimedwait, &[set, info, 0, 8]).expect(Reg::Ret, SIGRT, 10);
    s.syscall_with(Sysno::TimerDelete, &[0]).expect(Reg::Ret, 0, 11);
    s.syscall_with(Sysno::TimerDelete, &[0]).expect(Reg::Ret, Errno::EINVAL.to_register(), 12);
    s.exit(0);
}

fn a_timer_counts_what_nobody_took<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    overruns(&mut s, &[]);
    assert_eq!(run::<I>(&s, 1).status, 0);
    let mut s = Script::new();
    overruns(&mut s, &[1, 2, 0, 1]);
    let (outcome, _) = fabric::run::<I>(3, &s, &FabricSettings::default(), 1);
    assert_eq!(outcome.status, 0);
}

on_both!(expiries_are_counted_until_a_signal_is_taken, a_timer_counts_what_nobody_took);

/// 20 ms of user time, of which a sleep of 70 ms is no part: then the signal kills.
fn spins_until_it_is_killed(s: &mut Script) {
    let value = s.data(&[[0; 8], [0; 8], [0; 8], 20_000_u64.to_le_bytes()].concat());
    let sleep = s.data(&[[0; 8], 70_000_000_u64.to_le_bytes()].concat());
    s.syscall_with(Sysno::Setitimer, &[ITIMER_VIRTUAL, value, 0]).expect(Reg::Ret, 0, 2);
    s.syscall_with(Sysno::Nanosleep, &[sleep, 0]).expect(Reg::Ret, 0, 3);
    let again = s.mark();
    s.spin(1000).jump(again);
}

fn user_time_runs_out<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut alone = Script::new();
    spins_until_it_is_killed(&mut alone);
    let outcome = run::<I>(&alone, 1);
    assert_eq!(u64::from(outcome.status), SIGVTALRM);
    let spun = outcome.ended.since(Nanos::from_millis(70));
    assert!(spun >= Nanos::from_millis(20) && spun < Nanos::from_millis(30), "{spun:?}");
    // A thread that is elsewhere, and a process that is.
    let (mut thread, mut process) = (Script::new(), Script::new());
    go(&mut thread, 1);
    spins_until_it_is_killed(&mut thread);
    move_home(&mut process, 1);
    spins_until_it_is_killed(&mut process);
    for script in [thread, process] {
        let (outcome, _) = fabric::run::<I>(2, &script, &FabricSettings::default(), 1);
        assert_eq!(u64::from(outcome.status), SIGVTALRM);
        assert!(outcome.ended < Nanos::from_millis(150), "{:?}", outcome.ended);
    }
}

on_both!(user_time_is_counted_wherever_it_is_used, user_time_runs_out);

/// A thread that computes, alone or beside another one, and signals of a timer that expires all the time:
/// whatever the kernel does when it does, the timer is set for the next time when user code goes on.
fn computing_is_interrupted<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const SIGALRM: u64 = 14;
    const EXPIRIES: u64 = 300;
    for (alone, seed) in [true, false].into_iter().flat_map(|a| (1..9).map(move |seed| (a, seed))) {
        let mut s = Script::new();
        let (handler, computing) = (s.place(), s.place());
        let handled = s.data(&[0; 8]);
        let often = s.data(&[[0; 8], 70_u64.to_le_bytes(), [0; 8], 70_u64.to_le_bytes()].concat());
        handle(&mut s, (SIGALRM, SA_SIGINFO), handler, 20);
        if !alone {
            start_thread(&mut s, 0, computing);
        }
        s.syscall_with(Sysno::Setitimer, &[0, often, 0]).expect(Reg::Ret, 0, 2);
        s.imm(Reg::S(1), EXPIRIES);
        let again = s.mark();
        s.spin(7).imm(Reg::S(0), handled).load32(Reg::S(2), Reg::S(0), 0);
        s.if_less(Reg::S(2), Reg::S(1), again).exit(0);
        s.here(computing);
        let on = s.mark();
        s.spin(30).syscall_with(Sysno::Gettid, &[]).jump(on);
        counting_handler(&mut s, handler, handled);
        let mut sim = Sim::<I>::new(&root_with::<I>(&s), seed);
        // A kernel that forgot the timer would never be asked again.
        sim.wires.stop_at(Nanos::from_millis(100));
        let ended = sim.run(ENOUGH / 10).map(|outcome| (outcome.status, outcome.ended));
        let (status, ended) = ended.unwrap_or_else(|stuck| unreachable!("seed {seed}: {stuck:?}"));
        // They take turns, and both handle signals, but one at a time and at once.
        assert!(status == 0 && ended < Nanos::from_millis(60), "seed {seed}: {status}, {ended:?}");
    }
}

on_both!(who_computes_is_interrupted_in_time, computing_is_interrupted);

/// A process that computes and never calls the kernel, and one that sleeps, on a machine whose host stops it again
/// and again while the kernel runs: tasks that a step has no time for are not left for good.
fn sleepers_wake<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let child = s.place();
    fork(&mut s, child);
    s.mov(Reg::S(2), Reg::Ret);
    for _ in 0..3 {
        sleep(&mut s, 1_000_000);
    }
    s.mov(Reg::A(0), Reg::S(2)).imm(Reg::A(1), 9).syscall(Sysno::Kill).expect(Reg::Ret, 0, 2);
    s.syscall_with(Sysno::Wait4, &[u64::MAX, 0, 0, 0]).exit(0);
    s.here(child);
    let spin = s.mark();
    s.spin(100).jump(spin);
    for pause in [0, 100_000, 700_000, 1_100_000] {
        let mut sim = Sim::<I>::new(&root_with::<I>(&s), 1);
        sim.wires.pause_at_each_look(Nanos(pause));
        // A kernel that runs user code for ever would never be asked again.
        sim.wires.stop_at(Nanos(5 * Nanos::SECOND.0));
        let ended = sim.run(ENOUGH / 10).map(|outcome| outcome.status);
        assert!(matches!(ended, Ok(0)), "pauses of {pause} ns: {ended:?}");
    }
}

on_both!(who_sleeps_wakes_however_slow_the_host_is, sleepers_wake);

/// Signals from a file: one that is pending, and one that a timer sends while the read waits.
fn reads_signals(s: &mut Script) {
    const SIGALRM: u64 = 14;
    block(s, SIGUSR1);
    block(s, SIGALRM);
    let both = s.data(&(1_u64 << (SIGUSR1 - 1) | 1 << (SIGALRM - 1)).to_le_bytes());
    let info = s.data(&[0; 128]);
    let soon = s.data(&[[0; 8], [0; 8], [0; 8], 20_000_u64.to_le_bytes()].concat());
    s.syscall_with(Sysno::Signalfd4, &[u64::MAX, both, 8, 0]).expect(Reg::Ret, 3, 2);
    s.syscall_with(Sysno::Getpid, &[]).mov(Reg::S(4), Reg::Ret).mov(Reg::A(0), Reg::S(4));
    s.imm(Reg::A(1), SIGUSR1).syscall(Sysno::Kill).expect(Reg::Ret, 0, 3);
    s.syscall_with(Sysno::Read, &[3, info, 127]).expect(Reg::Ret, Errno::EINVAL.to_register(), 4);
    s.syscall_with(Sysno::Read, &[3, info, 128]).expect(Reg::Ret, 128, 5);
    expect_words(s, info, &[(0, SIGUSR1)], 6);
    s.syscall_with(Sysno::Setitimer, &[0, soon, 0]).expect(Reg::Ret, 0, 7);
    s.syscall_with(Sysno::Read, &[3, info, 128]).expect(Reg::Ret, 128, 8);
    expect_words(s, info, &[(0, SIGALRM)], 9);
}

fn signals_are_read<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut alone = Script::new();
    reads_signals(&mut alone);
    alone.exit(0);
    let outcome = run::<I>(&alone, 1);
    assert_eq!(outcome.status, 0);
    assert!(outcome.ended >= Nanos::from_millis(20));
    // A process that is elsewhere comes to where its files are, and stays there.
    let mut elsewhere = Script::new();
    move_home(&mut elsewhere, 1);
    reads_signals(&mut elsewhere);
    let refused = Errno::EBUSY.to_register();
    elsewhere.syscall_with(Sysno::Prctl, &[0x4d5a_0001, 0, 1, 0, 0]).expect(Reg::Ret, refused, 10);
    elsewhere.syscall_with(Sysno::Close, &[3]).expect(Reg::Ret, 0, 11);
    move_home(&mut elsewhere, 1);
    elsewhere.exit(0);
    let (outcome, fabric) = fabric::run::<I>(2, &elsewhere, &FabricSettings::default(), 1);
    assert_eq!(outcome.status, 0);
    assert_eq!(fabric.counter("fabric.processes_sent"), 3);
}

on_both!(signals_are_read_from_files_wherever_the_reader_was, signals_are_read);
