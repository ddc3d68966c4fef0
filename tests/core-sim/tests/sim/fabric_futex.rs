//! Futexes that are lent to the instance whose threads use them, and called back.

use maize_abi::isa::x86_64::X86_64;
use maize_abi::{Isa, Sysno};
use maize_arch_host::{Place, Reg, Script, ScriptRegs};
use maize_core::{Coherence, FabricSettings, Placement};
use maize_core_sim::fabric::{ENOUGH, Fabric, impatient_links, run, window};
use maize_core_sim::scripts::{
    FUTEX_PRIVATE, FUTEX_WAIT, FUTEX_WAKE, SA_RESTART, SA_SIGINFO, borrow_futexes, bump, count,
    counting_handler, end_thread, expect_core, fork, go, handle, ping_pong, set, sleep, spin_until,
    start_thread, wait_on, wait_until, wake,
};
use maize_core_sim::{on_both, root_with, seeds};
use maize_simnet::NetConfig;

const FUTEX_CMP_REQUEUE: u64 = 4;
const SIGUSR1: u64 = 10;
const EINTR: u64 = (-4_i64) as u64;

fn page(s: &mut Script) -> u64 {
    s.data(&[0; 4096])
}

/// At `thread`, threads that wait for ever on a word that is lent to core 1, and before that count themselves.
/// One has it lent before any waits: those would be woken for that.
fn wait_on_core_1(s: &mut Script, thread: Place, word: u64, ready: u64) {
    let (turn, lent) = (ready + 64, ready + 128);
    let later = s.place();
    s.here(thread);
    go(s, 1);
    s.imm(Reg::S(0), turn).imm(Reg::S(2), 1).fetch_add32(Reg::S(2), Reg::S(0), Reg::S(2));
    s.imm(Reg::S(3), 0).if_not_equal(Reg::S(2), Reg::S(3), later);
    borrow_futexes(s, word);
    set(s, lent, 1);
    s.here(later);
    spin_until(s, lent, 1);
    count(s, ready);
    wait_on(s, word);
    s.exit(9);
}

/// Runs a script with a few seeds, each of which is to lend futexes and to call some back, or none.
fn expect_output<I: Isa>(instances: u16, s: &Script, expected: &str, recalls: bool)
where
    I::Regs: ScriptRegs,
{
    for seed in 1..8 {
        let (outcome, fabric) = run::<I>(instances, s, &FabricSettings::default(), seed);
        assert_eq!((outcome.stdout.as_str(), outcome.status), (expected, 0), "seed {seed}");
        assert_eq!(fabric.counter("fabric.malformed"), 0, "seed {seed}");
        assert!(fabric.counter("fabric.futexes_lent") > 0, "seed {seed}: {:#?}", fabric.counters());
        assert_eq!(fabric.counter("fabric.futexes_recalled") > 0, recalls, "seed {seed}");
    }
}

/// Two threads on core 1 hand each other a word `rounds` times; all messages of the program.
fn hand_over<I: Isa>(rounds: u64) -> u64
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let words = (page(&mut s), page(&mut s));
    ping_pong(&mut s, words, (1, 1), rounds);
    let (outcome, fabric) = run::<I>(2, &s, &FabricSettings::default(), 3);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("pong\n", 0));
    let counters = fabric.counters();
    let sent = counters.iter().filter(|(name, _)| name.starts_with("fabric.sent."));
    sent.map(|(_, count)| count).sum()
}

fn no_messages<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let (few, many) = (hand_over::<I>(20), hand_over::<I>(80));
    assert!(many - few <= 4, "{few} messages of 20 rounds, {many} of 80");
}

on_both!(threads_of_one_instance_wake_each_other_without_messages, no_messages);

/// A thread waits on core 1; the first thread at home wakes it, and the word is as it was.
fn called_back<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let (word, ready) = (page(&mut s), page(&mut s));
    let thread = s.place();
    start_thread(&mut s, 0, thread);
    for round in 1..=3 {
        spin_until(&mut s, ready, round);
        s.spin(5000);
        let (again, woken) = (s.mark(), s.place());
        wake(&mut s, word, 1);
        s.imm(Reg::S(5), 1).if_equal(Reg::Ret, Reg::S(5), woken);
        s.spin(1000).jump(again);
        s.here(woken);
    }
    wait_until(&mut s, ready, 4);
    s.print("woken\n").exit(0);
    s.here(thread);
    go(&mut s, 1);
    for round in 1..=3 {
        (0..4).for_each(|_| borrow_futexes(&mut s, word));
        set(&mut s, ready, round);
        wait_on(&mut s, word);
        s.expect(Reg::Ret, 0, 4);
        expect_core(&mut s, 1, 5);
    }
    bump(&mut s, ready);
    end_thread(&mut s);
    expect_output::<I>(2, &s, "woken\n", true);
}

on_both!(who_waits_elsewhere_is_woken_from_home, called_back);

/// Two threads wait on core 1, and are moved to another word, of which one wake frees both.
fn requeued<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let (first, second, ready) = (page(&mut s), page(&mut s), page(&mut s));
    let thread = s.place();
    start_thread(&mut s, 0, thread);
    start_thread(&mut s, 1, thread);
    spin_until(&mut s, ready, 2);
    s.spin(9000);
    let requeue = FUTEX_CMP_REQUEUE | FUTEX_PRIVATE;
    s.syscall_with(Sysno::Futex, &[first, requeue, 0, 10, second, 0]).expect(Reg::Ret, 2, 2);
    wake(&mut s, second, 10);
    s.expect(Reg::Ret, 2, 3);
    spin_until(&mut s, ready, 4);
    s.print("requeued\n").exit(0);
    s.here(thread);
    go(&mut s, 1);
    borrow_futexes(&mut s, first);
    borrow_futexes(&mut s, second);
    count(&mut s, ready);
    wait_on(&mut s, first);
    s.expect(Reg::Ret, 0, 4);
    count(&mut s, ready);
    end_thread(&mut s);
    expect_output::<I>(2, &s, "requeued\n", true);
}

on_both!(who_waits_elsewhere_is_requeued_from_home, requeued);

/// A thread that waits on core 1 gets a signal, is moved, and is woken on core 2 at last.
fn interrupted<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let (word, ready, handled, tid) = (page(&mut s), page(&mut s), page(&mut s), page(&mut s));
    let (handler, thread) = (s.place(), s.place());
    handle(&mut s, (SIGUSR1, SA_SIGINFO), handler, 20);
    start_thread(&mut s, 0, thread);
    s.imm(Reg::S(1), tid).store64(Reg::S(1), 0, Reg::Ret).mov(Reg::S(2), Reg::Ret);
    spin_until(&mut s, ready, 1);
    s.spin(9000);
    s.mov(Reg::A(0), Reg::S(2)).imm(Reg::A(1), SIGUSR1).syscall(Sysno::Tkill);
    spin_until(&mut s, ready, 2);
    s.spin(9000);
    let mask = s.data(&4_u64.to_le_bytes());
    s.mov(Reg::A(0), Reg::S(2)).imm(Reg::A(1), 8).imm(Reg::A(2), mask);
    s.syscall(Sysno::SchedSetaffinity).expect(Reg::Ret, 0, 3);
    set(&mut s, word, 1);
    wake(&mut s, word, 1);
    spin_until(&mut s, ready, 3);
    s.imm(Reg::S(0), handled).load32(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), 1, 6);
    s.print("moved\n").exit(0);

    s.here(thread);
    go(&mut s, 1);
    borrow_futexes(&mut s, word);
    set(&mut s, ready, 1);
    wait_on(&mut s, word);
    s.expect(Reg::Ret, EINTR, 4);
    expect_core(&mut s, 1, 5);
    borrow_futexes(&mut s, word);
    borrow_futexes(&mut s, word);
    set(&mut s, ready, 2);
    let (again, done) = (s.mark(), s.place());
    s.imm(Reg::S(0), word).load32(Reg::S(1), Reg::S(0), 0).imm(Reg::S(3), 1);
    s.if_equal(Reg::S(1), Reg::S(3), done);
    wait_on(&mut s, word);
    s.jump(again);
    s.here(done);
    expect_core(&mut s, 2, 7);
    set(&mut s, ready, 3);
    end_thread(&mut s);
    counting_handler(&mut s, handler, handled);
    expect_output::<I>(3, &s, "moved\n", true);
}

on_both!(signals_and_moves_reach_who_waits_elsewhere, interrupted);

/// A thread on core 1 waits for a while on a word that is lent to it, and one at home has it add to another.
fn served_at_home<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const FUTEX_WAKE_OP: u64 = 5;
    const FUTEX_WAIT_BITSET: u64 = 9;
    const ETIMEDOUT: u64 = (-110_i64) as u64;
    let mut s = Script::new();
    let (word, other, ready) = (page(&mut s), page(&mut s), page(&mut s));
    let soon = s.data(&[0_u64.to_le_bytes(), 400_000_u64.to_le_bytes()].concat());
    let thread = s.place();
    start_thread(&mut s, 0, thread);
    spin_until(&mut s, ready, 1);
    s.spin(9000);
    // FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0): wakes on both words, and the second becomes 1.
    let wakes = [word, FUTEX_WAKE_OP | FUTEX_PRIVATE, 1, 1, other, 1 << 28 | 1 << 12];
    s.syscall_with(Sysno::Futex, &wakes).expect(Reg::Ret, 1, 2);
    spin_until(&mut s, ready, 2);
    s.imm(Reg::S(0), other).load32(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), 1, 3);
    s.print("served\n").exit(0);
    s.here(thread);
    go(&mut s, 1);
    borrow_futexes(&mut s, word);
    s.syscall_with(Sysno::Futex, &[word, FUTEX_WAIT | FUTEX_PRIVATE, 0, soon]);
    s.expect(Reg::Ret, ETIMEDOUT, 4);
    (0..3).for_each(|_| borrow_futexes(&mut s, word));
    set(&mut s, ready, 1);
    s.syscall_with(Sysno::Futex, &[word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE, 0, 0, 0, u64::MAX]);
    s.expect(Reg::Ret, 0, 5);
    set(&mut s, ready, 2);
    end_thread(&mut s);
    expect_output::<I>(2, &s, "served\n", true);
}

on_both!(what_only_the_home_serves_calls_futexes_back, served_at_home);

/// Threads wait on core 1 when the process is stopped, and goes on: they are where they were.
#[test]
fn a_stop_leaves_futexes_where_they_are() {
    const SIGSTOP: u64 = 19;
    const SIGCONT: u64 = 18;
    let mut s = Script::new();
    let (word, ready) = (page(&mut s), page(&mut s));
    let (thread, child) = (s.place(), s.place());
    (0..3).for_each(|n| start_thread(&mut s, n, thread));
    spin_until(&mut s, ready, 3);
    s.spin(9000);
    fork(&mut s, child);
    s.syscall_with(Sysno::Wait4, &[u64::MAX, 0, 0, 0]).spin(9000).print("on\n").exit(0);
    s.here(child);
    s.syscall_with(Sysno::Getppid, &[]).mov(Reg::S(2), Reg::Ret);
    for signal in [SIGSTOP, SIGCONT] {
        s.mov(Reg::A(0), Reg::S(2)).imm(Reg::A(1), signal).syscall(Sysno::Kill);
        s.expect(Reg::Ret, 0, 3);
        sleep(&mut s, 900_000);
    }
    s.exit(0);
    wait_on_core_1(&mut s, thread, word, ready);
    expect_output::<X86_64>(2, &s, "on\n", false);
}

/// Threads wait on core 1 when the process ends.
#[test]
fn a_process_ends_though_threads_wait_elsewhere() {
    let mut s = Script::new();
    let (word, ready) = (page(&mut s), page(&mut s));
    let thread = s.place();
    (0..3).for_each(|n| start_thread(&mut s, n, thread));
    spin_until(&mut s, ready, 3);
    s.spin(9000).print("over\n").exit(0);
    wait_on_core_1(&mut s, thread, word, ready);
    // Nobody else uses the word.
    expect_output::<X86_64>(2, &s, "over\n", false);
}

/// The instance that was lent a word of a process dies; its parent uses the word after that.
#[test]
fn what_a_dead_instance_was_lent_is_the_homes() {
    let mut s = Script::new();
    let (word, ready) = (page(&mut s), page(&mut s));
    let thread = s.place();
    // The thread that borrows comes home again before the instance dies.
    start_thread(&mut s, 0, thread);
    spin_until(&mut s, ready, 1);
    let (again, over) = (s.mark(), s.place());
    s.spin(5000);
    s.imm(Reg::S(4), 200).imm(Reg::S(5), 1).add_imm(Reg::S(2), Reg::S(2), 1);
    s.if_less(Reg::S(4), Reg::S(2), over).jump(again);
    s.here(over);
    wake(&mut s, word, 1);
    s.expect(Reg::Ret, 0, 2).print("home\n").exit(0);
    s.here(thread);
    go(&mut s, 1);
    borrow_futexes(&mut s, word);
    go(&mut s, 0);
    set(&mut s, ready, 1);
    end_thread(&mut s);
    let root = root_with::<X86_64>(&s);
    let settings = FabricSettings::default();
    let mut fabric: Fabric<X86_64> =
        Fabric::with_root(3, &root, &settings, NetConfig::new(7), impatient_links());
    let lent = |fabric: &Fabric<X86_64>| fabric.counter("fabric.futexes_lent") > 0;
    while !lent(&fabric) || fabric.nodes[0].kernel.counter("fabric.moves") < 2 {
        assert!(fabric.turn());
    }
    fabric.kill(1);
    let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}"));
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("home\n", 0));
}

/// `threads` threads that add to numbers under fair locks, one of which all use and one that threads of
/// the same parity use, `rounds` times, while they are moved, and get signals.
fn lockers(threads: u64, rounds: u64) -> Script {
    let mut s = Script::new();
    let locks = [page(&mut s), page(&mut s), page(&mut s)];
    let (done, handled) = (page(&mut s), page(&mut s));
    let (handler, body) = (s.place(), s.place());
    handle(&mut s, (SIGUSR1, SA_SIGINFO | SA_RESTART), handler, 20);
    for n in 0..threads {
        s.imm(Reg::S(1), locks[n as usize % 2]);
        start_thread(&mut s, n, body);
    }
    for _ in 0..rounds {
        s.syscall_with(Sysno::Getpid, &[]).mov(Reg::A(0), Reg::Ret).imm(Reg::A(1), SIGUSR1);
        s.syscall(Sysno::Kill).expect(Reg::Ret, 0, 22).spin(300);
    }
    wait_until(&mut s, done, threads);
    let half = threads / 2 * rounds;
    for (lock, sum) in locks.into_iter().zip([half, half, threads * rounds]) {
        s.imm(Reg::S(0), lock).load32(Reg::S(1), Reg::S(0), 8).expect(Reg::S(1), sum, 2);
    }
    s.print("right\n").exit(0);

    // A lock: the next ticket at 4, whose turn it is at 0, and what it guards at 8.
    s.here(body).imm(Reg::S(0), rounds);
    let again = s.mark();
    for own in [true, false] {
        let lock = |s: &mut Script, reg: Reg| {
            if own {
                s.mov(reg, Reg::S(1));
            } else {
                s.imm(reg, locks[2]);
            }
        };
        lock(&mut s, Reg::S(2));
        s.add_imm(Reg::S(2), Reg::S(2), 4).imm(Reg::S(3), 1);
        s.fetch_add32(Reg::S(3), Reg::S(2), Reg::S(3));
        lock(&mut s, Reg::S(2));
        let (look, mine) = (s.mark(), s.place());
        s.load32(Reg::S(4), Reg::S(2), 0).if_equal(Reg::S(4), Reg::S(3), mine);
        s.mov(Reg::A(0), Reg::S(2)).imm(Reg::A(1), FUTEX_WAIT | FUTEX_PRIVATE);
        s.mov(Reg::A(2), Reg::S(4)).imm(Reg::A(3), 0).syscall(Sysno::Futex).jump(look);
        s.here(mine);
        s.load32(Reg::S(4), Reg::S(2), 8).add_imm(Reg::S(4), Reg::S(4), 1).spin(20);
        s.store32(Reg::S(2), 8, Reg::S(4));
        s.imm(Reg::S(4), 1).fetch_add32(Reg::S(4), Reg::S(2), Reg::S(4));
        s.mov(Reg::A(0), Reg::S(2)).imm(Reg::A(1), FUTEX_WAKE | FUTEX_PRIVATE);
        s.imm(Reg::A(2), 1000).syscall(Sysno::Futex);
    }
    s.add_imm(Reg::S(0), Reg::S(0), -1).imm(Reg::S(3), 0);
    s.if_not_equal(Reg::S(0), Reg::S(3), again);
    bump(&mut s, done);
    end_thread(&mut s);
    counting_handler(&mut s, handler, handled);
    s
}

#[test]
fn locks_are_kept_by_threads_that_move_and_get_signals() {
    let script = lockers(6, 10);
    let (mut lent, mut recalled, mut served) = (0, 0, 0);
    for seed in seeds(40) {
        let instances = 2 + (seed % 3) as u16;
        let machines: &[u16] = [&[][..], &[0; 4], &[0, 1, 0, 1]][seed as usize / 3 % 3];
        let windowed = instances == 2 && seed % 2 == 0;
        let settings = FabricSettings {
            coherence: if seed / 2 % 2 == 0 { Coherence::Directory } else { Coherence::Voting },
            placement: Placement::Spread,
            migrate_every: [0, 23, 5][seed as usize / 7 % 3],
            machines: machines.to_vec(),
            window: windowed.then_some(const { window(4) }),
            ..FabricSettings::default()
        };
        let (outcome, fabric) = run::<X86_64>(instances, &script, &settings, seed);
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("right\n", 0), "seed {seed}, {:#?}", fabric.counters());
        assert_eq!(fabric.counter("fabric.malformed"), 0, "seed {seed}");
        lent += fabric.counter("fabric.futexes_lent");
        recalled += fabric.counter("fabric.futexes_recalled");
        served += fabric.counter("fabric.futexes_served");
    }
    // Of one seed alone nobody may have called often enough.
    assert!(lent > 0 && recalled > 0 && served > lent, "{lent}, {recalled}, {served}");
}
