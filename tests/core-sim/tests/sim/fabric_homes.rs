//! Processes whose home is another instance than the one that the program was started on.

use maize_abi::isa::x86_64::X86_64;
use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core::{Coherence, FabricSettings, Placement};
use maize_core_sim::fabric::{ENOUGH, Fabric, links, run, window};
use maize_core_sim::scripts::{
    FUTEX_PRIVATE, FUTEX_WAIT, SA_RESTART, SA_SIGINFO, SIGCHLD, adder, bump, counting_handler,
    end_thread, fork, handle, start_thread, wait_until,
};
use maize_core_sim::{on_both, root_with, seeds};
use maize_simnet::NetConfig;

const SET_HOME: u64 = 0x4d5a_0001;
const GET_HOME: u64 = 0x4d5a_0002;
const SIGKILL: u64 = 9;
const SIGUSR1: u64 = 10;
const SIGALRM: u64 = 14;

fn settings() -> FabricSettings {
    FabricSettings { window: Some(window(4)), ..FabricSettings::default() }
}

/// Makes `core` the home of the caller's process.
fn move_home(s: &mut Script, core: u64) {
    s.syscall_with(Sysno::Prctl, &[SET_HOME, 0, core, 0, 0]).expect(Reg::Ret, 0, 80);
    s.syscall_with(Sysno::Prctl, &[GET_HOME, 0, 0, 0, 0]).expect(Reg::Ret, core, 81);
}

fn expect_output<I: Isa>(instances: u16, s: &Script, expected: &str) -> Fabric<I>
where
    I::Regs: ScriptRegs,
{
    let mut last = None;
    for seed in 1..4 {
        let (outcome, fabric) = run::<I>(instances, s, &settings(), seed);
        assert_eq!((outcome.stdout.as_str(), outcome.status), (expected, 0), "seed {seed}");
        last = Some(fabric);
    }
    last.unwrap_or_else(|| unreachable!("there are seeds"))
}

/// What a process takes along: registers, memory of every kind, its ids, its descriptors.
fn takes_all_along<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const HERE: u64 = 0x1_0000_0000;
    let mut s = Script::new();
    let word = s.data(&7_u64.to_le_bytes());
    let ids = s.data(&[0; 32]);
    s.imm(Reg::S(0), HERE);
    s.syscall_with(Sysno::Mmap, &[HERE, 0x4000, 3, 0x32, u64::MAX, 0]).expect(Reg::Ret, HERE, 1);
    s.imm(Reg::S(1), 0x1234).store64(Reg::S(0), 8, Reg::S(1)).store64(Reg::S(0), 0x2008, Reg::S(1));
    s.syscall_with(Sysno::Mprotect, &[HERE + 0x2000, 0x1000, 1]).expect(Reg::Ret, 0, 2);
    s.syscall_with(Sysno::Brk, &[0]).mov(Reg::S(2), Reg::Ret);
    s.add_imm(Reg::A(0), Reg::S(2), 0x3000).syscall(Sysno::Brk).store64(
        Reg::S(2),
        0x100,
        Reg::S(1),
    );
    s.imm(Reg::S(3), ids);
    for (call, at) in [(Sysno::Getpid, 0), (Sysno::Gettid, 8), (Sysno::Getppid, 16)] {
        s.syscall_with(call, &[]).store64(Reg::S(3), at, Reg::Ret);
    }
    s.set_fpu(Reg::S(1)).set_tls(Reg::S(1));
    for core in [1, 2, 1, 0, 2] {
        move_home(&mut s, core);
        s.get_fpu(Reg::S(4)).expect(Reg::S(4), 0x1234, 3);
        s.get_tls(Reg::S(4)).expect(Reg::S(4), 0x1234, 4);
        s.imm(Reg::S(0), HERE).load64(Reg::S(4), Reg::S(0), 8).expect(Reg::S(4), 0x1234, 5);
        s.load64(Reg::S(4), Reg::S(0), 0x2008).expect(Reg::S(4), 0x1234, 6);
        s.load64(Reg::S(4), Reg::S(0), 0x1008).expect(Reg::S(4), 0, 7);
        s.load64(Reg::S(4), Reg::S(2), 0x100).expect(Reg::S(4), 0x1234, 8);
        s.imm(Reg::S(0), word).load64(Reg::S(4), Reg::S(0), 0).expect(Reg::S(4), 7, 9);
        s.imm(Reg::S(3), ids);
        for (call, at) in [(Sysno::Getpid, 0), (Sysno::Gettid, 8), (Sysno::Getppid, 16)] {
            s.load64(Reg::S(4), Reg::S(3), at).syscall_with(call, &[]);
            let same = s.place();
            s.if_equal(Reg::S(4), Reg::Ret, same).exit(10).here(same);
        }
        s.syscall_with(Sysno::Getpgid, &[0]).load64(Reg::S(4), Reg::S(3), 0);
        let same = s.place();
        s.if_equal(Reg::S(4), Reg::Ret, same).exit(11).here(same);
        s.print("there\n");
        // New memory, there.
        s.syscall_with(Sysno::Mmap, &[0, 0x1000, 3, 0x22, u64::MAX, 0]);
        s.store64(Reg::Ret, 0, Reg::S(1)).mov(Reg::A(0), Reg::Ret).imm(Reg::A(1), 0x1000);
        s.syscall(Sysno::Munmap).expect(Reg::Ret, 0, 12);
    }
    s.exit(0);
    let fabric = expect_output::<I>(3, &s, "there\nthere\nthere\nthere\nthere\n");
    assert_eq!(fabric.counter("fabric.processes_sent"), 5);
    assert_eq!(fabric.counter("fabric.processes_received"), 5);
}

on_both!(a_process_takes_all_along, takes_all_along);

/// Nothing is left where a process was.
fn nothing_stays<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let word = s.data(&[0; 0x8000]);
    for core in [1, 2, 0] {
        move_home(&mut s, core);
        s.imm(Reg::S(0), word).imm(Reg::S(1), 1);
        for page in 0..8 {
            s.store64(Reg::S(0), page * 0x1000, Reg::S(1));
        }
    }
    s.print("back\n").exit(0);
    let mut fabric = Fabric::<I>::new(3, &s, &settings(), 1);
    let before: Vec<_> = fabric.nodes.iter().map(|node| node.kernel.census()).collect();
    let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}"));
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("back\n", 0));
    for (node, before) in fabric.nodes.iter_mut().zip(before).skip(1) {
        for _ in 0..1000 {
            let _ = node.kernel.step();
        }
        let after = node.kernel.census();
        assert_eq!((after.processes, after.threads, after.replicas), (0, 0, 0), "{after:?}");
        assert_eq!(after.arriving, 0, "{after:?}");
        // The page that signal handlers return through is the instance's own.
        assert!(after.free_pages + 1 >= before.free_pages, "{before:?} {after:?}");
    }
}

on_both!(nothing_is_left_behind, nothing_stays);

/// Threads that sleep in a futex, a pipe, a sleep when the process moves.
fn sleepers<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let ends = s.data(&[0; 8]);
    let buffer = s.data(&[0; 16]);
    let word = s.data(&[0; 8]);
    let done = s.data(&[0; 8]);
    let ready = s.data(&[0; 8]);
    let time = s.data(&[0_u64.to_le_bytes(), 2_000_000_u64.to_le_bytes()].concat());
    let short = s.data(&[0_u64.to_le_bytes(), 100_000_u64.to_le_bytes()].concat());
    let (futex, pipe, sleep) = (s.place(), s.place(), s.place());
    s.syscall_with(Sysno::Pipe2, &[ends, 0]).expect(Reg::Ret, 0, 1);
    for (n, body) in [(0, futex), (1, pipe), (2, sleep)] {
        start_thread(&mut s, n, body);
    }
    wait_until(&mut s, ready, 3);
    for core in [1, 2, 0, 1] {
        s.syscall_with(Sysno::Nanosleep, &[short, 0]).expect(Reg::Ret, 0, 2);
        move_home(&mut s, core);
    }
    s.imm(Reg::S(0), word).imm(Reg::S(1), 1).store32(Reg::S(0), 0, Reg::S(1));
    s.syscall_with(Sysno::Futex, &[word, 1 | FUTEX_PRIVATE, 10, 0, 0, 0]);
    let text = s.data(b"pipe\n");
    s.imm(Reg::S(0), ends).load32(Reg::A(0), Reg::S(0), 4);
    s.imm(Reg::A(1), text).imm(Reg::A(2), 5).syscall(Sysno::Write).expect(Reg::Ret, 5, 3);
    wait_until(&mut s, done, 3);
    s.syscall_with(Sysno::Write, &[1, buffer, 5]).exit(0);

    s.here(futex);
    bump(&mut s, ready);
    let (again, woken) = (s.mark(), s.place());
    s.syscall_with(Sysno::Futex, &[word, FUTEX_WAIT | FUTEX_PRIVATE, 0, 0, 0, 0]);
    s.imm(Reg::S(0), word).load32(Reg::S(1), Reg::S(0), 0).imm(Reg::S(2), 1);
    s.if_equal(Reg::S(1), Reg::S(2), woken).jump(again);
    s.here(woken);
    bump(&mut s, done);
    end_thread(&mut s);

    s.here(pipe);
    bump(&mut s, ready);
    s.imm(Reg::S(0), ends).load32(Reg::A(0), Reg::S(0), 0);
    s.imm(Reg::A(1), buffer).imm(Reg::A(2), 16).syscall(Sysno::Read).expect(Reg::Ret, 5, 4);
    bump(&mut s, done);
    end_thread(&mut s);

    s.here(sleep);
    bump(&mut s, ready);
    s.syscall_with(Sysno::Nanosleep, &[time, 0]).expect(Reg::Ret, 0, 5);
    bump(&mut s, done);
    end_thread(&mut s);
    expect_output::<I>(3, &s, "pipe\n");
}

on_both!(threads_that_sleep_go_along, sleepers);

/// A parent and children that are on different instances: signals, exits, waits.
fn families<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let handled = s.data(&[0; 8]);
    let status = s.data(&[0; 8]);
    let ready = s.data(&[0; 8]);
    let (child, victim, handler) = (s.place(), s.place(), s.place());
    handle(&mut s, (SIGCHLD, SA_SIGINFO), handler, 82);
    fork(&mut s, child);
    s.mov(Reg::S(0), Reg::Ret);
    // The parent waits elsewhere for a child that ends somewhere else.
    move_home(&mut s, 1);
    let reap = |s: &mut Script, expected: u64, code: u8| {
        let (again, done) = (s.mark(), s.place());
        s.mov(Reg::A(0), Reg::S(0)).imm(Reg::A(1), status).imm(Reg::A(2), 0).imm(Reg::A(3), 0);
        s.syscall(Sysno::Wait4).if_equal(Reg::Ret, Reg::S(0), done);
        // SIGCHLD came first.
        s.expect(Reg::Ret, (-4_i64) as u64, code).jump(again);
        s.here(done).imm(Reg::S(1), status).load32(Reg::S(2), Reg::S(1), 0);
        s.expect(Reg::S(2), expected, code);
    };
    reap(&mut s, 5 << 8, 1);
    // One that is killed from where it is not.
    fork(&mut s, victim);
    s.mov(Reg::S(0), Reg::Ret);
    move_home(&mut s, 1);
    s.imm(Reg::A(0), SET_HOME).mov(Reg::A(1), Reg::S(0)).imm(Reg::A(2), 2).syscall(Sysno::Prctl);
    s.expect(Reg::Ret, 0, 3);
    let kill = |s: &mut Script, signal: u64| {
        s.mov(Reg::A(0), Reg::S(0)).imm(Reg::A(1), signal).syscall(Sysno::Kill);
        s.expect(Reg::Ret, 0, 4);
    };
    kill(&mut s, 0);
    kill(&mut s, SIGKILL);
    reap(&mut s, SIGKILL, 5);
    s.syscall_with(Sysno::Wait4, &[u64::MAX, 0, 0, 0]).expect(Reg::Ret, (-10_i64) as u64, 6);
    s.mov(Reg::A(0), Reg::S(0)).imm(Reg::A(1), 0).syscall(Sysno::Kill);
    s.expect(Reg::Ret, (-3_i64) as u64, 7);
    s.imm(Reg::S(0), handled).load32(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), 2, 8);
    s.print("family\n").exit(0);

    s.here(child);
    move_home(&mut s, 2);
    s.syscall_with(Sysno::Getppid, &[]).mov(Reg::S(1), Reg::Ret);
    s.imm(Reg::S(2), ready).store64(Reg::S(2), 0, Reg::S(1)).exit(5);
    s.here(victim);
    let forever = s.mark();
    s.spin(10).syscall_with(Sysno::SchedYield, &[]).jump(forever);
    counting_handler(&mut s, handler, handled);
    expect_output::<I>(3, &s, "family\n");
}

on_both!(parents_and_children_are_anywhere, families);

/// Alarms, and signals that a process sends to itself, elsewhere.
fn signals<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let handled = s.data(&[0; 8]);
    let handler = s.place();
    let mut timer = [0; 32];
    timer[24..].copy_from_slice(&1_000_u64.to_le_bytes());
    let timer = s.data(&timer);
    handle(&mut s, (SIGUSR1, SA_SIGINFO), handler, 82);
    handle(&mut s, (SIGALRM, SA_SIGINFO), handler, 82);
    s.syscall_with(Sysno::Setitimer, &[0, timer, 0]).expect(Reg::Ret, 0, 1);
    move_home(&mut s, 2);
    let none = s.data(&[0; 8]);
    s.syscall_with(Sysno::RtSigsuspend, &[none, 8]).expect(Reg::Ret, (-4_i64) as u64, 2);
    s.syscall_with(Sysno::Getpid, &[]).mov(Reg::S(0), Reg::Ret);
    s.mov(Reg::A(0), Reg::S(0)).imm(Reg::A(1), SIGUSR1).syscall(Sysno::Kill);
    s.imm(Reg::S(1), handled).load32(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), 2, 3);
    // To its group, which the registry knows.
    s.syscall_with(Sysno::Kill, &[0, SIGUSR1]).expect(Reg::Ret, 0, 4);
    s.imm(Reg::S(1), handled).load32(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), 3, 5);
    s.print("signals\n").exit(0);
    counting_handler(&mut s, handler, handled);
    expect_output::<I>(3, &s, "signals\n");
}

on_both!(signals_reach_a_process_elsewhere, signals);

/// A thread of a process that lives elsewhere, where the thread was made, is sent signals by a process
/// that lives somewhere else again.
fn thread_signals<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const ESRCH: u64 = (-3_i64) as u64;
    let mut s = Script::new();
    let ends = s.data(&[0; 8]);
    let told = s.data(&[0; 8]);
    let status = s.data(&[0; 8]);
    let handled = s.data(&[0; 8]);
    let none = s.data(&[0; 8]);
    let (child, body, handler) = (s.place(), s.place(), s.place());
    handle(&mut s, (SIGUSR1, SA_SIGINFO), handler, 82);
    s.syscall_with(Sysno::Pipe2, &[ends, 0]).expect(Reg::Ret, 0, 1);
    fork(&mut s, child);
    s.mov(Reg::S(0), Reg::Ret);
    s.imm(Reg::S(1), ends).load32(Reg::A(0), Reg::S(1), 0);
    s.imm(Reg::A(1), told).imm(Reg::A(2), 8).syscall(Sysno::Read).expect(Reg::Ret, 8, 2);
    move_home(&mut s, 1);
    // The thread is there, others are not: by process and thread, and by thread alone.
    s.imm(Reg::S(1), told).load64(Reg::S(2), Reg::S(1), 0).imm(Reg::S(3), 999_999);
    let tgkill = |s: &mut Script, (process, thread): (Reg, Reg), signal, expected| {
        s.mov(Reg::A(0), process).mov(Reg::A(1), thread).imm(Reg::A(2), signal);
        s.syscall(Sysno::Tgkill).expect(Reg::Ret, expected, 3);
    };
    let tkill = |s: &mut Script, thread: Reg, signal, expected| {
        s.mov(Reg::A(0), thread).imm(Reg::A(1), signal);
        s.syscall(Sysno::Tkill).expect(Reg::Ret, expected, 4);
    };
    tgkill(&mut s, (Reg::S(0), Reg::S(2)), 0, 0);
    tgkill(&mut s, (Reg::S(0), Reg::S(3)), 0, ESRCH);
    tgkill(&mut s, (Reg::S(3), Reg::S(2)), 0, ESRCH);
    tkill(&mut s, Reg::S(2), 0, 0);
    tkill(&mut s, Reg::S(3), 0, ESRCH);
    tgkill(&mut s, (Reg::S(0), Reg::S(2)), SIGUSR1, 0);
    s.imm(Reg::S(1), ends).load32(Reg::A(0), Reg::S(1), 0);
    s.imm(Reg::A(1), handled).imm(Reg::A(2), 8).syscall(Sysno::Read).expect(Reg::Ret, 8, 5);
    tkill(&mut s, Reg::S(2), SIGUSR1, 0);
    let (again, done) = (s.mark(), s.place());
    s.mov(Reg::A(0), Reg::S(0)).imm(Reg::A(1), status).imm(Reg::A(2), 0).imm(Reg::A(3), 0);
    s.syscall(Sysno::Wait4).if_equal(Reg::Ret, Reg::S(0), done).jump(again);
    s.here(done).imm(Reg::S(1), status).load32(Reg::S(2), Reg::S(1), 0);
    s.expect(Reg::S(2), 7 << 8, 6);
    // Nothing is left to be sent to.
    s.imm(Reg::S(1), told).load64(Reg::S(2), Reg::S(1), 0);
    tkill(&mut s, Reg::S(2), 0, ESRCH);
    s.print("threads\n").exit(0);

    s.here(child);
    move_home(&mut s, 2);
    start_thread(&mut s, 0, body);
    let forever = s.mark();
    s.syscall_with(Sysno::Futex, &[none, FUTEX_WAIT | FUTEX_PRIVATE, 0, 0, 0, 0]).jump(forever);
    s.here(body);
    s.syscall_with(Sysno::Gettid, &[]).imm(Reg::S(1), told).store64(Reg::S(1), 0, Reg::Ret);
    for times in 1..3 {
        s.imm(Reg::S(1), ends).load32(Reg::A(0), Reg::S(1), 4);
        s.imm(Reg::A(1), told).imm(Reg::A(2), 8).syscall(Sysno::Write).expect(Reg::Ret, 8, 7);
        wait_until(&mut s, handled, times);
    }
    s.exit(7);
    counting_handler(&mut s, handler, handled);
    expect_output::<I>(3, &s, "threads\n");
}

on_both!(a_thread_elsewhere_gets_signals, thread_signals);

/// A message is received into memory that the registry, which has the queue, has never heard of.
fn messages<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const IPC_NOWAIT: u64 = 0o4000;
    const EFAULT: u64 = (-14_i64) as u64;
    let mut s = Script::new();
    let message = s.data(&[7_u64.to_le_bytes(), *b"message\n"].concat());
    move_home(&mut s, 1);
    s.syscall_with(Sysno::Msgget, &[0, 0o1600]).mov(Reg::S(1), Reg::Ret);
    s.mov(Reg::A(0), Reg::S(1)).imm(Reg::A(1), message).imm(Reg::A(2), 8).imm(Reg::A(3), 0);
    s.syscall(Sysno::Msgsnd).expect(Reg::Ret, 0, 1);
    s.syscall_with(Sysno::Mmap, &[0, 0x1000, 3, 0x22, u64::MAX, 0]).mov(Reg::S(0), Reg::Ret);
    let receive = |s: &mut Script, expected: u64| {
        s.mov(Reg::A(0), Reg::S(1)).imm(Reg::A(2), 64).imm(Reg::A(3), 0).imm(Reg::A(4), IPC_NOWAIT);
        s.syscall(Sysno::Msgrcv).expect(Reg::Ret, expected, 2);
    };
    s.imm(Reg::A(1), 0x1000);
    receive(&mut s, EFAULT);
    s.mov(Reg::A(1), Reg::S(0));
    receive(&mut s, 8);
    s.imm(Reg::A(0), 1).add_imm(Reg::A(1), Reg::S(0), 8).imm(Reg::A(2), 8).syscall(Sysno::Write);
    s.exit(0);
    expect_output::<I>(2, &s, "message\n");
}

on_both!(messages_reach_memory_elsewhere, messages);

/// What is in common with others stays.
fn shared_memory_stays<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    s.syscall_with(Sysno::Mmap, &[0, 0x1000, 3, 0x21, u64::MAX, 0]);
    s.syscall_with(Sysno::Prctl, &[SET_HOME, 0, 1]).expect(Reg::Ret, (-16_i64) as u64, 1);
    s.syscall_with(Sysno::Prctl, &[SET_HOME, 0, 7]).expect(Reg::Ret, (-22_i64) as u64, 2);
    s.syscall_with(Sysno::Prctl, &[SET_HOME, 999_999, 1]).expect(Reg::Ret, (-3_i64) as u64, 3);
    s.print("refused\n").exit(0);
    let fabric = expect_output::<I>(2, &s, "refused\n");
    assert_eq!(fabric.counter("fabric.processes_sent"), 0);
}

on_both!(a_process_with_shared_memory_stays, shared_memory_stays);

/// A process that has `rounds` children, which tell it something through a pipe and get a signal, while
/// threads of it add to a number and wait for each other.
fn household(threads: u64, rounds: u64) -> Script {
    let mut s = Script::new();
    let ends = s.data(&[0; 8]);
    let number = s.data(&[0; 8]);
    let told = s.data(&[0; 8]);
    let status = s.data(&[0; 8]);
    let handled = s.data(&[0; 8]);
    let done = s.data(&[0; 8]);
    let counter = s.data(&[0; 4096]);
    let (handler, body, child) = (s.place(), s.place(), s.place());
    handle(&mut s, (SIGUSR1, SA_SIGINFO | SA_RESTART), handler, 1);
    s.syscall_with(Sysno::Pipe2, &[ends, 0]).expect(Reg::Ret, 0, 2);
    for n in 0..threads {
        start_thread(&mut s, n, body);
    }
    s.imm(Reg::S(0), rounds);
    let again = s.mark();
    s.imm(Reg::S(1), number).store64(Reg::S(1), 0, Reg::S(0));
    fork(&mut s, child);
    s.mov(Reg::S(2), Reg::Ret);
    // A signal for the process itself.
    s.syscall_with(Sysno::Getpid, &[]).mov(Reg::A(0), Reg::Ret).imm(Reg::A(1), SIGUSR1);
    s.syscall(Sysno::Kill).expect(Reg::Ret, 0, 3);
    // And one for the child, which has a handler too.
    s.mov(Reg::A(0), Reg::S(2)).imm(Reg::A(1), SIGUSR1).syscall(Sysno::Kill);
    s.expect(Reg::Ret, 0, 4);
    s.imm(Reg::S(1), ends).load32(Reg::A(0), Reg::S(1), 0);
    s.imm(Reg::A(1), told).imm(Reg::A(2), 8).syscall(Sysno::Read).expect(Reg::Ret, 8, 5);
    s.imm(Reg::S(1), told).load64(Reg::S(3), Reg::S(1), 0);
    let same = s.place();
    s.if_equal(Reg::S(3), Reg::S(0), same).exit(6).here(same);
    s.mov(Reg::A(0), Reg::S(2)).imm(Reg::A(1), status).imm(Reg::A(2), 0).imm(Reg::A(3), 0);
    s.syscall(Sysno::Wait4);
    let reaped = s.place();
    s.if_equal(Reg::Ret, Reg::S(2), reaped).exit(7).here(reaped);
    s.imm(Reg::S(1), status).load32(Reg::S(3), Reg::S(1), 0).expect(Reg::S(3), 0, 8);
    s.add_imm(Reg::S(0), Reg::S(0), -1).imm(Reg::S(3), 0);
    s.if_not_equal(Reg::S(0), Reg::S(3), again);
    wait_until(&mut s, done, threads);
    s.imm(Reg::S(0), counter).load32(Reg::S(1), Reg::S(0), 0);
    s.expect(Reg::S(1), threads * rounds * 4, 9);
    s.imm(Reg::S(0), handled).load32(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), rounds, 10);
    s.print("right\n").exit(0);

    // The child has what the parent wrote, and says so. It writes to its copy only.
    s.here(child).imm(Reg::S(1), number).load64(Reg::S(3), Reg::S(1), 0);
    s.imm(Reg::S(2), told).store64(Reg::S(2), 0, Reg::S(3)).syscall_with(Sysno::SchedYield, &[]);
    s.imm(Reg::S(3), 0x5555).store64(Reg::S(1), 0, Reg::S(3));
    s.imm(Reg::S(1), ends).load32(Reg::A(0), Reg::S(1), 4);
    s.imm(Reg::A(1), told).imm(Reg::A(2), 8).syscall(Sysno::Write).expect(Reg::Ret, 8, 11);
    s.syscall_with(Sysno::Getppid, &[]).exit(0);

    adder(&mut s, body, rounds * 4, (counter, done));

    counting_handler(&mut s, handler, handled);
    s
}

/// Processes and their threads move at random while all that goes on.
#[test]
fn random_moves_do_not_disturb() {
    let script = household(2, 4);
    let mut moved = 0;
    for seed in seeds(8) {
        let coherence = if seed % 2 == 0 { Coherence::Voting } else { Coherence::Directory };
        let settings = FabricSettings {
            coherence,
            placement: Placement::Spread,
            migrate_every: [0, 5][seed as usize / 2 % 2],
            move_processes_every: 6 + seed as u32 % 5,
            window: (seed % 4 < 2).then_some(const { window(4) }),
            ..FabricSettings::default()
        };
        let instances = 2 + (seed % 3) as u16;
        let (outcome, fabric) = run::<X86_64>(instances, &script, &settings, seed);
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("right\n", 0), "seed {seed}, {:#?}", fabric.counters());
        moved += fabric.counter("fabric.processes_sent");
    }
    assert!(moved > 0);
}

/// Programs that are run go to one instance after the other, and back for what only the registry has.
#[test]
fn programs_are_spread() {
    const CHILDREN: u64 = 4;
    let mut s = Script::new();
    let path = s.data(b"/child\0");
    let argv = s.data(&[path.to_le_bytes(), [0; 8]].concat());
    let status = s.data(&[0; 8]);
    let child = s.place();
    for _ in 0..CHILDREN {
        fork(&mut s, child);
    }
    for _ in 0..CHILDREN {
        s.syscall_with(Sysno::Wait4, &[u64::MAX, status, 0, 0]);
        s.imm(Reg::S(1), status).load32(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), 0, 1);
    }
    s.print("all\n").exit(0);
    s.here(child).syscall_with(Sysno::Execve, &[path, argv, 0]).exit(9);

    let mut program = Script::new();
    let other = program.place();
    program.print("ran\n");
    fork(&mut program, other);
    program.mov(Reg::A(0), Reg::Ret).imm(Reg::A(1), 0).imm(Reg::A(2), 0).imm(Reg::A(3), 0);
    program.syscall(Sysno::Wait4).exit(0);
    program.here(other).exit(0);

    let mut root = root_with::<X86_64>(&s);
    root.file("child", 0o755, program.to_elf::<X86_64>());
    let settings = FabricSettings { homes: Placement::Spread, ..settings() };
    for seed in 1..4 {
        let net = NetConfig::new(seed);
        let mut fabric = Fabric::<X86_64>::with_root(4, &root, &settings, net, links());
        let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}"));
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("ran\nran\nran\nran\nall\n", 0), "seed {seed} {}", outcome.stderr);
        for node in &fabric.nodes[1..] {
            assert!(node.kernel.counter("fabric.processes_received") > 0);
        }
    }
}

/// The instance dies on which a process lives: its parent hears of it, and nothing else is lost.
#[test]
fn a_home_that_dies_ends_its_processes() {
    let mut s = Script::new();
    let status = s.data(&[0; 8]);
    let child = s.place();
    fork(&mut s, child);
    s.syscall_with(Sysno::Wait4, &[u64::MAX, status, 0, 0]);
    s.imm(Reg::S(1), status).load32(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), SIGKILL, 1);
    s.print("heard\n").exit(0);
    s.here(child);
    move_home(&mut s, 1);
    s.print("there\n");
    let forever = s.mark();
    s.spin(10).syscall_with(Sysno::SchedYield, &[]).jump(forever);
    let root = root_with::<X86_64>(&s);
    let links = maize_core_sim::fabric::impatient_links();
    let mut fabric = Fabric::<X86_64>::with_root(3, &root, &settings(), NetConfig::new(3), links);
    while !fabric.nodes[0].host.stdout().starts_with(b"there") {
        assert!(fabric.turn());
    }
    fabric.kill(1);
    let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}"));
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("there\nheard\n", 0));
}

/// The instance dies on which a process lives that holds a semaphore and waits for it, too: what the process
/// did is undone, once, and who waits at the registry has the semaphore.
#[test]
fn what_a_process_held_is_given_back_when_its_home_dies() {
    const SET_VALUE: u64 = 16;
    const VALUE: u64 = 12;
    const WAITING: u64 = 14;
    const UNDO: i16 = 0x1000;
    let mut s = Script::new();
    let status = s.data(&[0; 8]);
    let mut operation = |number: i16, change: i16, flags: i16| {
        s.data([number, change, flags].map(i16::to_le_bytes).as_flattened())
    };
    let hold = operation(0, -1, UNDO);
    let take = operation(0, -1, 0);
    let tell = operation(1, 1, 0);
    let hear = operation(1, -1, 0);
    let (child, other) = (s.place(), s.place());
    s.syscall_with(Sysno::Semget, &[0, 2, 0o1600]).expect(Reg::Ret, 0, 1);
    s.syscall_with(Sysno::Semctl, &[0, 0, SET_VALUE, 1]).expect(Reg::Ret, 0, 2);
    fork(&mut s, child);
    s.syscall_with(Sysno::Semop, &[0, hear, 1]).expect(Reg::Ret, 0, 3);
    s.syscall_with(Sysno::Semctl, &[0, 0, VALUE]).expect(Reg::Ret, 0, 4);
    s.syscall_with(Sysno::Semop, &[0, take, 1]).expect(Reg::Ret, 0, 5);
    s.syscall_with(Sysno::Wait4, &[u64::MAX, status, 0, 0]);
    s.imm(Reg::S(1), status).load32(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), SIGKILL, 6);
    s.syscall_with(Sysno::Semctl, &[0, 0, VALUE]).expect(Reg::Ret, 0, 7);
    s.syscall_with(Sysno::Semctl, &[0, 0, WAITING]).expect(Reg::Ret, 0, 8);
    s.print("given back\n").exit(0);
    s.here(child);
    move_home(&mut s, 1);
    s.syscall_with(Sysno::Semop, &[0, hold, 1]).expect(Reg::Ret, 0, 9);
    start_thread(&mut s, 1, other);
    let again = s.mark();
    s.syscall_with(Sysno::Semctl, &[0, 0, WAITING]).imm(Reg::S(1), 1);
    s.if_not_equal(Reg::Ret, Reg::S(1), again);
    s.syscall_with(Sysno::Semop, &[0, tell, 1]).expect(Reg::Ret, 0, 10);
    // The parent waits behind the other thread.
    let behind = s.mark();
    s.syscall_with(Sysno::Semctl, &[0, 0, WAITING]).imm(Reg::S(1), 2);
    s.if_not_equal(Reg::Ret, Reg::S(1), behind);
    s.print("held\n");
    let forever = s.mark();
    s.spin(10).syscall_with(Sysno::SchedYield, &[]).jump(forever);
    s.here(other).syscall_with(Sysno::Semop, &[0, take, 1]).jump(forever);
    let root = root_with::<X86_64>(&s);
    for seed in 1..4 {
        let links = maize_core_sim::fabric::impatient_links();
        let net = NetConfig::new(seed);
        let mut fabric = Fabric::<X86_64>::with_root(3, &root, &settings(), net, links);
        while !fabric.nodes[0].host.stdout().starts_with(b"held") {
            assert!(fabric.turn());
        }
        fabric.kill(1);
        let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}"));
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("held\ngiven back\n", 0), "seed {seed}");
    }
}
