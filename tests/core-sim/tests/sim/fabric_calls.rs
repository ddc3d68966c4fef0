//! System calls and signals of threads that are not at home.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core::{FabricSettings, Placement};
use maize_core_sim::fabric::run;
use maize_core_sim::on_both;
use maize_core_sim::scripts::{
    FUTEX_WAIT, FUTEX_WAKE, SA_SIGINFO, SIGCHLD, bump, end_thread, expect_core, fork, go, handle,
    ping_pong, start_thread, wait_until,
};

const SIGKILL: u64 = 9;
const SIGUSR1: u64 = 10;
const SIGALRM: u64 = 14;
const SIGCONT: u64 = 18;
const SIGSTOP: u64 = 19;
const EINTR: u64 = (-4_i64) as u64;

fn expect_output<I: Isa>(instances: u16, s: &Script, expected: &str)
where
    I::Regs: ScriptRegs,
{
    for seed in 1..4 {
        let (outcome, _) = run::<I>(instances, s, &FabricSettings::default(), seed);
        assert_eq!((outcome.stdout.as_str(), outcome.status), (expected, 0), "seed {seed}");
    }
}

fn futexes<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let words = (s.data(&[0; 8]), s.data(&[0; 8]));
    ping_pong(&mut s, words, (2, 1), 10);
    expect_output::<I>(3, &s, "pong\n");
}

on_both!(threads_on_two_instances_wake_each_other, futexes);

/// A thread on core 1 asks for barriers, while another computes on core 2 and never calls the kernel.
fn barriers<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const GLOBAL: u64 = 1;
    const PRIVATE_EXPEDITED: u64 = 8;
    const REGISTER_PRIVATE_EXPEDITED: u64 = 16;
    const EPERM: u64 = (-1_i64) as u64;
    const TIMES: u64 = 10;
    let mut s = Script::new();
    let (there, body) = (s.data(&[0; 8]), s.place());
    start_thread(&mut s, 0, body);
    wait_until(&mut s, there, 1);
    go(&mut s, 1);
    let membarrier = |s: &mut Script, command: u64, result: u64| {
        s.syscall_with(Sysno::Membarrier, &[command, 0]).expect(Reg::Ret, result, 2);
    };
    membarrier(&mut s, PRIVATE_EXPEDITED, EPERM);
    membarrier(&mut s, REGISTER_PRIVATE_EXPEDITED, 0);
    for _ in 0..TIMES {
        membarrier(&mut s, PRIVATE_EXPEDITED, 0);
        membarrier(&mut s, GLOBAL, 0);
    }
    s.print("behind them\n").exit(0);
    s.here(body);
    go(&mut s, 2);
    bump(&mut s, there);
    let spin = s.mark();
    s.spin(100).jump(spin);
    for seed in 1..4 {
        let (outcome, fabric) = run::<I>(4, &s, &FabricSettings::default(), seed);
        assert_eq!((outcome.stdout.as_str(), outcome.status), ("behind them\n", 0), "seed {seed}");
        // The process is on core 2 besides, anybody may be on cores 2 and 3.
        assert_eq!(fabric.counter("fabric.sent.Forget"), TIMES + 2 * TIMES, "seed {seed}");
    }
}

on_both!(barriers_are_asked_for_wherever_threads_are, barriers);

/// Two processes on two instances and a word that they share.
fn shared_futex<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const HERE: u64 = 0x1_0000_0000;
    let mut s = Script::new();
    let child = s.place();
    s.syscall_with(Sysno::Mmap, &[HERE, 4096, 3, 0x31, u64::MAX, 0]).expect(Reg::Ret, HERE, 1);
    fork(&mut s, child);
    go(&mut s, 1);
    let turn = |s: &mut Script, mine: u64, next: u64| {
        let (again, done) = (s.mark(), s.place());
        s.imm(Reg::S(0), HERE).load32(Reg::S(1), Reg::S(0), 0).imm(Reg::S(2), mine);
        s.if_equal(Reg::S(1), Reg::S(2), done);
        s.imm(Reg::A(0), HERE).imm(Reg::A(1), FUTEX_WAIT).mov(Reg::A(2), Reg::S(1));
        s.imm(Reg::A(3), 0).syscall(Sysno::Futex).jump(again);
        s.here(done).imm(Reg::S(1), next).store32(Reg::S(0), 0, Reg::S(1));
        s.syscall_with(Sysno::Futex, &[HERE, FUTEX_WAKE, 10, 0, 0, 0]);
    };
    for round in 0..5 {
        turn(&mut s, 2 * round, 2 * round + 1);
    }
    s.syscall_with(Sysno::Wait4, &[u64::MAX, 0, 0, 0]).print("shared\n").exit(0);
    s.here(child);
    go(&mut s, 2);
    for round in 0..5 {
        turn(&mut s, 2 * round + 1, 2 * round + 2);
    }
    s.exit(0);
    expect_output::<I>(3, &s, "shared\n");
}

on_both!(processes_on_two_instances_wake_each_other, shared_futex);

fn pipes_and_files<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const O_RDWR_CREAT: u64 = 0o102;
    const AT_FDCWD: u64 = (-100_i64) as u64;
    let mut s = Script::new();
    let ends = s.data(&[0; 8]);
    let buffer = s.data(&[0; 16]);
    let name = s.data(b"/tmp/file\0");
    let thread = s.place();
    s.syscall_with(Sysno::Pipe2, &[ends, 0]).expect(Reg::Ret, 0, 1);
    start_thread(&mut s, 0, thread);
    // The reader sleeps on core 2 until the writer on core 1 has written.
    go(&mut s, 2);
    s.imm(Reg::S(0), ends).load32(Reg::A(0), Reg::S(0), 0);
    s.imm(Reg::A(1), buffer).imm(Reg::A(2), 16).syscall(Sysno::Read).expect(Reg::Ret, 5, 2);
    s.syscall_with(Sysno::Write, &[1, buffer, 5]);
    // A file written here is read there, by the same descriptor.
    s.syscall_with(Sysno::Openat, &[AT_FDCWD, name, O_RDWR_CREAT, 0o600]).mov(Reg::S(0), Reg::Ret);
    s.mov(Reg::A(0), Reg::S(0)).imm(Reg::A(1), buffer).imm(Reg::A(2), 5);
    s.syscall(Sysno::Write).expect(Reg::Ret, 5, 3);
    go(&mut s, 1);
    let copy = s.data(&[0; 16]);
    s.mov(Reg::A(0), Reg::S(0)).imm(Reg::A(1), copy).imm(Reg::A(2), 16).imm(Reg::A(3), 0);
    s.syscall(Sysno::Pread64).expect(Reg::Ret, 5, 4);
    s.syscall_with(Sysno::Write, &[1, copy, 5]).exit(0);
    s.here(thread);
    go(&mut s, 1);
    let text = s.data(b"pipe\n");
    s.imm(Reg::S(0), ends).load32(Reg::A(0), Reg::S(0), 4);
    s.imm(Reg::A(1), text).imm(Reg::A(2), 5).syscall(Sysno::Write).expect(Reg::Ret, 5, 5);
    end_thread(&mut s);
    expect_output::<I>(3, &s, "pipe\npipe\n");
}

on_both!(files_and_pipes_work_from_anywhere, pipes_and_files);

/// Signals to a thread that spins, and to one that sleeps, on another instance.
fn signals<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let handler = s.place();
    let seen = s.data(&[0; 8]);
    let tid = s.data(&[0; 8]);
    let ready = s.data(&[0; 8]);
    let thread = s.place();
    handle(&mut s, (SIGUSR1, SA_SIGINFO), handler, 100);
    start_thread(&mut s, 0, thread);
    s.imm(Reg::S(1), tid).store64(Reg::S(1), 0, Reg::Ret);
    for round in 1..=2 {
        wait_until(&mut s, ready, round);
        s.spin(3000).imm(Reg::S(1), tid).load64(Reg::A(0), Reg::S(1), 0);
        s.imm(Reg::A(1), SIGUSR1).syscall(Sysno::Tkill).expect(Reg::Ret, 0, 1);
    }
    wait_until(&mut s, ready, 3);
    s.print("handled\n").exit(0);

    s.here(thread);
    go(&mut s, 1);
    s.imm(Reg::S(2), 0x77);
    bump(&mut s, ready);
    // Until the handler has run, without any system call.
    let spin = s.mark();
    s.imm(Reg::S(0), seen).load64(Reg::S(1), Reg::S(0), 0).imm(Reg::S(3), 1);
    s.if_not_equal(Reg::S(1), Reg::S(3), spin);
    s.expect(Reg::S(2), 0x77, 2);
    expect_core(&mut s, 1, 3);
    bump(&mut s, ready);
    let mut span = [0; 16];
    span[0] = 100;
    let span = s.data(&span);
    s.syscall_with(Sysno::Nanosleep, &[span, 0]).expect(Reg::Ret, EINTR, 4);
    s.imm(Reg::S(0), seen).load64(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), 2, 5);
    bump(&mut s, ready);
    end_thread(&mut s);

    s.here(handler).imm(Reg::S(2), 1);
    s.imm(Reg::S(0), seen).load64(Reg::S(1), Reg::S(0), 0).add_imm(Reg::S(1), Reg::S(1), 1);
    s.store64(Reg::S(0), 0, Reg::S(1)).ret();
    expect_output::<I>(2, &s, "handled\n");
}

on_both!(signals_reach_threads_anywhere, signals);

/// A child that spins on another instance is stopped, continued and killed.
fn job_control<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const WUNTRACED: u64 = 2;
    let mut s = Script::new();
    let child = s.place();
    let status = s.data(&[0; 8]);
    fork(&mut s, child);
    s.mov(Reg::S(0), Reg::Ret);
    let mut span = [0; 16];
    span[8..].copy_from_slice(&2_000_000_u64.to_le_bytes());
    let span = s.data(&span);
    s.syscall_with(Sysno::Nanosleep, &[span, 0]);
    let send = |s: &mut Script, signal: u64| {
        s.mov(Reg::A(0), Reg::S(0)).imm(Reg::A(1), signal).syscall(Sysno::Kill);
        s.expect(Reg::Ret, 0, 1);
    };
    let wait = |s: &mut Script, expected: u64, code: u8| {
        s.syscall_with(Sysno::Wait4, &[u64::MAX, status, WUNTRACED, 0]);
        s.imm(Reg::S(1), status).load32(Reg::S(1), Reg::S(1), 0).expect(Reg::S(1), expected, code);
    };
    send(&mut s, SIGSTOP);
    wait(&mut s, SIGSTOP << 8 | 0x7f, 2);
    send(&mut s, SIGCONT);
    s.syscall_with(Sysno::Nanosleep, &[span, 0]);
    send(&mut s, SIGKILL);
    wait(&mut s, SIGKILL, 3);
    s.print("killed\n").exit(0);
    s.here(child);
    go(&mut s, 1);
    let spin = s.mark();
    s.spin(10).jump(spin);
    expect_output::<I>(2, &s, "killed\n");
}

on_both!(a_process_elsewhere_is_stopped_and_killed, job_control);

fn alarms<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let handler = s.place();
    handle(&mut s, (SIGALRM, SA_SIGINFO), handler, 100);
    go(&mut s, 1);
    let mut timer = [0; 32];
    timer[24..].copy_from_slice(&5_000_u64.to_le_bytes());
    let timer = s.data(&timer);
    s.syscall_with(Sysno::Setitimer, &[0, timer, 0]).expect(Reg::Ret, 0, 1);
    let spin = s.mark();
    s.spin(10).jump(spin);
    s.here(handler);
    expect_core(&mut s, 1, 2);
    s.print("alarm\n").exit(0);
    expect_output::<I>(2, &s, "alarm\n");
}

on_both!(an_alarm_follows_the_thread, alarms);

/// Threads made on another instance, and `exit_group` while some spin there.
fn groups_end<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let ready = s.data(&[0; 8]);
    let thread = s.place();
    go(&mut s, 1);
    for n in 0..3 {
        start_thread(&mut s, n, thread);
    }
    wait_until(&mut s, ready, 3);
    go(&mut s, 2);
    s.print("end\n").exit(0);
    s.here(thread);
    bump(&mut s, ready);
    let spin = s.mark();
    s.spin(10).jump(spin);
    expect_output::<I>(3, &s, "end\n");
}

on_both!(exit_group_ends_threads_everywhere, groups_end);

fn executes<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let path = s.data(b"/program\0");
    let more = s.data(b"again\0");
    let argv = s.data(&[0; 24]);
    let second = s.place();
    // With two arguments it is the second time.
    s.load64(Reg::S(0), Reg::Sp, 0).imm(Reg::S(1), 2).if_equal(Reg::S(0), Reg::S(1), second);
    go(&mut s, 1);
    s.imm(Reg::S(0), argv).imm(Reg::S(1), path).store64(Reg::S(0), 0, Reg::S(1));
    s.imm(Reg::S(1), more).store64(Reg::S(0), 8, Reg::S(1));
    s.syscall_with(Sysno::Execve, &[path, argv, 0]).exit(9);
    s.here(second);
    expect_core(&mut s, 1, 1);
    s.print("again\n").exit(0);
    expect_output::<I>(2, &s, "again\n");
}

on_both!(a_remote_thread_executes_a_program, executes);

/// `vfork` and `execve` on another instance: the parent sleeps in memory that both use.
fn spawns<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const VFORK: u64 = 0x4100 | SIGCHLD;
    let mut s = Script::new();
    let path = s.data(b"/program\0");
    let argv = s.data(&[0; 24]);
    let status = s.data(&[0; 8]);
    let (second, child) = (s.place(), s.place());
    s.load64(Reg::S(0), Reg::Sp, 0).imm(Reg::S(1), 2).if_equal(Reg::S(0), Reg::S(1), second);
    go(&mut s, 1);
    s.syscall_with(Sysno::Clone, &[VFORK, 0, 0, 0, 0]).mov(Reg::S(2), Reg::Ret);
    s.imm(Reg::S(1), 0).if_equal(Reg::S(2), Reg::S(1), child);
    s.syscall_with(Sysno::Wait4, &[u64::MAX, status, 0, 0]);
    s.imm(Reg::S(1), status).load32(Reg::S(1), Reg::S(1), 0).expect(Reg::S(1), 42 << 8, 2);
    expect_core(&mut s, 1, 3);
    s.print("spawned\n").exit(0);
    s.here(child).imm(Reg::S(0), argv).imm(Reg::S(1), path).store64(Reg::S(0), 0, Reg::S(1));
    s.store64(Reg::S(0), 8, Reg::S(1)).syscall_with(Sysno::Execve, &[path, argv, 0]).exit(9);
    s.here(second).exit(42);
    expect_output::<I>(2, &s, "spawned\n");
}

on_both!(a_remote_thread_spawns_a_program, spawns);

fn spreads<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let cores = s.data(&[0; 8]);
    let ready = s.data(&[0; 8]);
    let thread = s.place();
    for n in 0..4 {
        start_thread(&mut s, n, thread);
    }
    wait_until(&mut s, ready, 4);
    // One bit for each core that a thread was on.
    s.imm(Reg::S(0), cores).load32(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), 4 * 0x100, 1);
    s.print("spread\n").exit(0);
    s.here(thread);
    // Each thread gets a core of its own: it adds 0x100 once it sees a number of its own.
    s.add_imm(Reg::S(0), Reg::Sp, -64).syscall_with(Sysno::SchedYield, &[]);
    s.mov(Reg::A(0), Reg::S(0)).imm(Reg::A(1), 0).imm(Reg::A(2), 0).syscall(Sysno::Getcpu);
    s.load32(Reg::S(1), Reg::S(0), 0).imm(Reg::S(2), 4);
    let bad = s.place();
    s.if_less(Reg::S(2), Reg::S(1), bad);
    s.imm(Reg::S(3), cores).imm(Reg::S(2), 0x100).fetch_add32(Reg::S(2), Reg::S(3), Reg::S(2));
    bump(&mut s, ready);
    end_thread(&mut s);
    s.here(bad).exit(7);
    let settings = FabricSettings { placement: Placement::Spread, ..FabricSettings::default() };
    let (outcome, fabric) = run::<I>(4, &s, &settings, 1);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("spread\n", 0));
    for node in &fabric.nodes[1..] {
        assert!(node.kernel.counter("fabric.stays") > 0, "a core without a thread");
    }
}

on_both!(new_threads_are_spread, spreads);
