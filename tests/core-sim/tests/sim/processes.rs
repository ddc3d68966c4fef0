//! Processes and threads, run by scripts on both instruction sets.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{DATA, Reg, Script, ScriptRegs};
use maize_core_sim::{on_both, run};

const CLONE_THREAD_FLAGS: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x20_0000;
const SIGCHLD: u64 = 17;

fn exit_status(code: u32) -> u32 {
    code << 8
}

fn prints_and_exits<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    s.print("hello\n").exit(7);
    let outcome = run::<I>(&s, 1);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("hello\n", exit_status(7)));
}

on_both!(a_program_prints_and_exits, prints_and_exits);

/// `fork()` by `clone`, which both sets have.
fn fork(s: &mut Script) {
    s.syscall_with(Sysno::Clone, &[SIGCHLD, 0, 0, 0, 0]);
}

fn fork_copies_memory<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let word = s.data(&7_u64.to_le_bytes());
    let status = s.data(&[0; 8]);
    let child = s.place();
    fork(&mut s);
    s.imm(Reg::S(0), 0);
    s.if_equal(Reg::Ret, Reg::S(0), child);
    // The parent waits for the child and must still see its own value.
    s.syscall_with(Sysno::Wait4, &[u64::MAX, status, 0, 0]);
    s.imm(Reg::S(1), status).load32(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), 0x2a00, 2);
    s.imm(Reg::S(1), word).load64(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), 7, 3);
    s.exit(0);
    s.here(child);
    s.imm(Reg::S(1), word).imm(Reg::S(2), 9).store64(Reg::S(1), 0, Reg::S(2));
    s.load64(Reg::S(3), Reg::S(1), 0).expect(Reg::S(3), 9, 4);
    s.exit(0x2a);
    assert_eq!(run::<I>(&s, 1).status, 0);
}

on_both!(fork_gives_the_child_its_own_memory, fork_copies_memory);

fn threads_and_futex<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const FUTEX_WAIT_PRIVATE: u64 = 128;
    const FUTEX_WAKE_PRIVATE: u64 = 129;
    let mut s = Script::new();
    let flag = s.data(&[0; 8]);
    let thread = s.place();
    let stack = DATA + 0x8_0000;
    s.syscall_with(Sysno::Clone, &[CLONE_THREAD_FLAGS & !0x20_0000, stack, 0, 0, 0]);
    s.imm(Reg::S(0), 0).if_equal(Reg::Ret, Reg::S(0), thread);
    // Wait until the other thread has set the flag.
    let again = s.mark();
    let done = s.place();
    s.imm(Reg::S(1), flag).load32(Reg::S(2), Reg::S(1), 0);
    s.imm(Reg::S(3), 1).if_equal(Reg::S(2), Reg::S(3), done);
    s.syscall_with(Sysno::Futex, &[flag, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0]);
    s.jump(again);
    s.here(done).print("woken\n").exit(0);
    s.here(thread).spin(500);
    s.imm(Reg::S(1), flag).imm(Reg::S(2), 1).store32(Reg::S(1), 0, Reg::S(2));
    s.syscall_with(Sysno::Futex, &[flag, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0]);
    s.syscall_with(Sysno::Exit, &[0]);
    assert_eq!(run::<I>(&s, 1).stdout, "woken\n");
}

on_both!(a_thread_wakes_another_by_futex, threads_and_futex);

fn fpu_survives_preemption<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let thread = s.place();
    let check = s.place();
    s.syscall_with(Sysno::Clone, &[CLONE_THREAD_FLAGS & !0x20_0000, DATA + 0x8_0000, 0, 0, 0]);
    s.imm(Reg::S(0), 0).if_equal(Reg::Ret, Reg::S(0), thread);
    s.imm(Reg::S(1), 111);
    s.jump(check);
    s.here(thread).imm(Reg::S(1), 222);
    // Each thread keeps its own number in the FPU over many time slices.
    s.here(check).set_fpu(Reg::S(1)).imm(Reg::S(2), 3000);
    let again = s.mark();
    let same = s.place();
    s.spin(100).get_fpu(Reg::S(3)).if_equal(Reg::S(3), Reg::S(1), same).exit(9);
    s.here(same).add_imm(Reg::S(2), Reg::S(2), -1).imm(Reg::S(3), 0);
    s.if_not_equal(Reg::S(2), Reg::S(3), again);
    let main = s.place();
    s.imm(Reg::S(3), 111).if_equal(Reg::S(1), Reg::S(3), main);
    s.syscall_with(Sysno::Exit, &[0]);
    // The main thread gives the other one time to end.
    s.here(main).imm(Reg::S(2), 3000);
    let wait = s.mark();
    s.spin(100).add_imm(Reg::S(2), Reg::S(2), -1).imm(Reg::S(3), 0);
    s.if_not_equal(Reg::S(2), Reg::S(3), wait).exit(0);
    assert_eq!(run::<I>(&s, 1).status, 0);
}

on_both!(each_thread_has_its_own_fpu, fpu_survives_preemption);

fn sleep_takes_its_time<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let mut span = [0; 16];
    span[0] = 3;
    let span = s.data(&span);
    s.syscall_with(Sysno::Nanosleep, &[span, 0]).expect(Reg::Ret, 0, 1).exit(0);
    let outcome = run::<I>(&s, 1);
    assert_eq!(outcome.status, 0);
    let seconds = outcome.ended.0 as f64 / 1e9;
    assert!((3.0..3.01).contains(&seconds), "{seconds}");
}

on_both!(a_sleep_ends_at_its_deadline, sleep_takes_its_time);

fn dies_of_faults<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let wild_load: fn(&mut Script) = |s| {
        s.imm(Reg::S(0), 0x10).load64(Reg::S(1), Reg::S(0), 0);
    };
    let store_to_text: fn(&mut Script) = |s| {
        s.imm(Reg::S(0), maize_arch_host::CODE).store64(Reg::S(0), 0, Reg::S(0));
    };
    let run_data: fn(&mut Script) = |s| {
        s.imm(Reg::S(0), DATA).call_reg(Reg::S(0));
    };
    let trap: fn(&mut Script) = |s| {
        s.break_point();
    };
    let cases = [(wild_load, 11), (store_to_text, 11), (run_data, 11), (trap, 5)];
    for (body, signal) in cases {
        let mut s = Script::new();
        body(&mut s);
        s.exit(0);
        assert_eq!(run::<I>(&s, 1).status, signal);
    }
}

on_both!(a_fault_ends_the_program_by_its_signal, dies_of_faults);
