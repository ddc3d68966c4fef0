//! Files on one kernel, run by scripts on both instruction sets.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core_sim::scripts::start_thread;
use maize_core_sim::{on_both, run};

const AT_FDCWD: u64 = -100_i64 as u64;
const IN_CREATE: u64 = 0x100;

/// One thread waits for an event of a directory in which another makes something, and nothing else is
/// going on: what is forgotten is waited for for ever.
fn an_event_ends_a_wait<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let root = s.data(b"/\0");
    let name = s.data(b"/new\0");
    let event = s.data(&[0; 32]);
    let maker = s.place();
    s.syscall_with(Sysno::InotifyInit1, &[0]).mov(Reg::S(4), Reg::Ret);
    s.mov(Reg::A(0), Reg::S(4)).imm(Reg::A(1), root).imm(Reg::A(2), IN_CREATE);
    s.syscall(Sysno::InotifyAddWatch).expect(Reg::Ret, 1, 1);
    start_thread(&mut s, 1, maker);
    s.mov(Reg::A(0), Reg::S(4)).imm(Reg::A(1), event).imm(Reg::A(2), 32);
    s.syscall(Sysno::Read).expect(Reg::Ret, 32, 2).print("told\n").exit(0);
    s.here(maker).spin(5000);
    s.syscall_with(Sysno::Mkdirat, &[AT_FDCWD, name, 0o755]).expect(Reg::Ret, 0, 3);
    s.syscall_with(Sysno::Exit, &[0]);
    assert_eq!(run::<I>(&s, 1).stdout, "told\n");
}

on_both!(who_waits_for_an_event_is_told, an_event_ends_a_wait);
