//! Signals, run by scripts on both instruction sets.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{Place, Reg, Script, ScriptRegs};
use maize_core_sim::{ENOUGH, Sim, on_both, root_with, run};
use maize_hal::Report;

const SIGUSR1: u64 = 10;
const SIGSEGV: u64 = 11;
const SIGALRM: u64 = 14;
const SA_SIGINFO: u64 = 4;
const SA_RESTART: u64 = 0x1000_0000;

/// Installs `handler` for `signal` with `flags`.
fn handle(s: &mut Script, signal: u64, handler: Place, flags: u64) {
    let mut action = [0; 32];
    action[8..16].copy_from_slice(&flags.to_le_bytes());
    let action = s.data(&action);
    s.address(Reg::S(0), handler).imm(Reg::S(1), action).store64(Reg::S(1), 0, Reg::S(0));
    s.syscall_with(Sysno::RtSigaction, &[signal, action, 0, 8]).expect(Reg::Ret, 0, 100);
}

fn handler_runs_and_returns<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let handler = s.place();
    handle(&mut s, SIGUSR1, handler, SA_SIGINFO);
    s.imm(Reg::S(2), 77);
    s.syscall_with(Sysno::Getpid, &[]).mov(Reg::A(0), Reg::Ret);
    s.imm(Reg::A(1), SIGUSR1).syscall(Sysno::Kill).expect(Reg::Ret, 0, 1);
    // Registers are as they were before the handler, which changed them.
    s.expect(Reg::S(2), 77, 2).print("after\n").exit(0);
    s.here(handler).expect(Reg::A(0), SIGUSR1, 3);
    s.print("handler\n").imm(Reg::S(2), 1).ret();
    let outcome = run::<I>(&s, 1);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("handler\nafter\n", 0));
}

on_both!(a_handler_runs_and_returns, handler_runs_and_returns);

fn fault_address_reaches_the_handler<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const BAD: u64 = 0x1234_5678;
    let mut s = Script::new();
    let handler = s.place();
    handle(&mut s, SIGSEGV, handler, SA_SIGINFO);
    s.imm(Reg::S(0), BAD).store8(Reg::S(0), 0, Reg::S(0)).exit(1);
    // siginfo: si_code at 8, si_addr at 16.
    s.here(handler).mov(Reg::S(3), Reg::A(1));
    s.load32(Reg::S(4), Reg::S(3), 8).expect(Reg::S(4), 1, 2);
    s.load64(Reg::S(4), Reg::S(3), 16).expect(Reg::S(4), BAD, 3).exit(0);
    assert_eq!(run::<I>(&s, 1).status, 0);
}

on_both!(a_handler_sees_the_fault, fault_address_reaches_the_handler);

/// What the host is told of a script that a signal ends.
fn told_of<I: Isa>(script: &Script, signal: u32) -> Vec<String>
where
    I::Regs: ScriptRegs,
{
    let mut sim = Sim::<I>::new(&root_with::<I>(script), 1);
    assert_eq!(sim.run(ENOUGH).map(|outcome| outcome.status & 0x7f), Ok(signal));
    let fault = |report| match report {
        Report::Fault { text } => Some(text),
        _ => None,
    };
    sim.host.reports().into_iter().filter_map(fault).collect()
}

fn only_faults_are_told<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const SIGQUIT: u32 = 3;
    let mut s = Script::new();
    s.syscall_with(Sysno::Getpid, &[]).mov(Reg::A(0), Reg::Ret);
    s.imm(Reg::A(1), SIGQUIT.into()).syscall(Sysno::Kill).exit(1);
    assert_eq!(told_of::<I>(&s, SIGQUIT), Vec::<String>::new());
    let mut s = Script::new();
    s.imm(Reg::S(0), 0x1234_5678).store8(Reg::S(0), 0, Reg::S(0)).exit(1);
    let told = told_of::<I>(&s, SIGSEGV as u32);
    assert!(told.len() == 1 && told[0].contains("at address 0x12345678"), "{told:?}");
}

on_both!(the_host_is_told_of_faults_only, only_faults_are_told);

/// An alarm in 10 ms.
fn alarm_soon(s: &mut Script) {
    let mut timer = [0; 32];
    timer[24..].copy_from_slice(&10_000_u64.to_le_bytes());
    let timer = s.data(&timer);
    s.syscall_with(Sysno::Setitimer, &[0, timer, 0]).expect(Reg::Ret, 0, 101);
}

fn interrupted_read<I: Isa>(flags: u64) -> String
where
    I::Regs: ScriptRegs,
{
    const EINTR: u64 = (-4_i64) as u64;
    let mut s = Script::new();
    let handler = s.place();
    let ends = s.data(&[0; 8]);
    handle(&mut s, SIGALRM, handler, flags);
    s.syscall_with(Sysno::Pipe2, &[ends, 0]).expect(Reg::Ret, 0, 1);
    alarm_soon(&mut s);
    let byte = s.data(&[0; 1]);
    s.imm(Reg::S(0), ends).load32(Reg::A(0), Reg::S(0), 0);
    s.imm(Reg::A(1), byte).imm(Reg::A(2), 1).syscall(Sysno::Read);
    let interrupted = s.place();
    s.mov(Reg::S(2), Reg::Ret).imm(Reg::S(3), EINTR).if_equal(Reg::S(2), Reg::S(3), interrupted);
    s.expect(Reg::S(2), 1, 4).print("read\n").exit(0);
    s.here(interrupted).print("interrupted\n").exit(0);
    // The handler writes the byte that the read waits for.
    s.here(handler).imm(Reg::S(0), ends).load32(Reg::A(0), Reg::S(0), 4);
    s.imm(Reg::A(1), byte).imm(Reg::A(2), 1).syscall(Sysno::Write).ret();
    run::<I>(&s, 1).stdout
}

fn restarts_by_flag<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    assert_eq!(interrupted_read::<I>(SA_SIGINFO), "interrupted\n");
    assert_eq!(interrupted_read::<I>(SA_SIGINFO | SA_RESTART), "read\n");
}

on_both!(a_read_is_restarted_if_the_handler_says_so, restarts_by_flag);

fn default_action_kills<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    alarm_soon(&mut s);
    s.syscall_with(Sysno::RtSigsuspend, &[maize_arch_host::DATA + 0x1_0000, 8]).exit(0);
    assert_eq!(run::<I>(&s, 1).status, SIGALRM as u32);
}

on_both!(an_unhandled_alarm_kills, default_action_kills);
