//! Timers that are files, in virtual time.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core_sim::{on_both, run};
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
