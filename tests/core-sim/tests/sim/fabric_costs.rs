//! What each operation of a thread away from home costs, in messages, bytes of their bodies and pages: so
//! that it does not creep up.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core::FabricSettings;
use maize_core_sim::fabric::run;
use maize_core_sim::on_both;
use maize_core_sim::scripts::{FUTEX_PRIVATE, FUTEX_WAIT, FUTEX_WAKE, go};

/// Where areas are mapped, and how many pages each has.
const HERE: u64 = 0x1_0000_0000;
const PAGES: u64 = FEW + MORE + 1;
const PAGE: u64 = 4096;

/// Operations of the two runs whose difference is taken: what is not of the operations drops out.
const FEW: u64 = 5;
const MORE: u64 = 100;

const READ: u64 = 1;
const READ_WRITE: u64 = 3;
const PRIVATE: u64 = 0x22;
const PRIVATE_EXPEDITED: u64 = 8;
const REGISTER_PRIVATE_EXPEDITED: u64 = 16;
const EAGAIN: u64 = (-11_i64) as u64;

/// The page that an operation has its turn at.
const AT: Reg = Reg::S(2);
/// Operations left to do.
const LEFT: Reg = Reg::S(3);

/// Messages, bytes and pages of one operation; the bytes are the most it may have.
type Cost = (u64, u64, u64);

/// Does an operation `times` times, `AT` a page further each time.
fn repeat(s: &mut Script, times: u64, operation: impl FnOnce(&mut Script)) {
    s.imm(AT, HERE).imm(LEFT, times);
    let again = s.mark();
    s.add_imm(AT, AT, PAGE as i64);
    operation(s);
    s.add_imm(LEFT, LEFT, -1).imm(Reg::S(1), 0).if_not_equal(LEFT, Reg::S(1), again);
}

fn map(s: &mut Script) {
    let args = [HERE, PAGES * PAGE, READ_WRITE, PRIVATE | 0x10, u64::MAX, 0];
    s.syscall_with(Sysno::Mmap, &args).expect(Reg::Ret, HERE, 80);
}

fn load(s: &mut Script) {
    s.load64(Reg::S(0), AT, 0);
}

fn store(s: &mut Script) {
    s.imm(Reg::S(0), 7).store64(AT, 0, Reg::S(0));
}

/// All messages, bytes and pages of a program that prepares at home and then works on core 1.
fn traffic<I: Isa>(
    times: u64,
    prepare: fn(&mut Script, u64),
    operation: fn(&mut Script, u64),
) -> [u64; 3]
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let word = s.data(&[0; 16]);
    map(&mut s);
    prepare(&mut s, word);
    go(&mut s, 1);
    // The areas and what else any operation touches.
    s.imm(Reg::S(0), HERE).store64(Reg::S(0), 0, Reg::S(0));
    s.imm(Reg::S(0), word).load64(Reg::S(1), Reg::S(0), 0);
    repeat(&mut s, times, |s| operation(s, word));
    s.exit(0);
    let (outcome, fabric) = run::<I>(2, &s, &FabricSettings::default(), 1);
    assert_eq!(outcome.status, 0);
    let counters = fabric.counters();
    ["fabric.sent.", "fabric.bytes.", "fabric.pages_sent"].map(|prefix| {
        counters.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, n)| n).sum()
    })
}

fn assert_cost<I: Isa>(
    what: &str,
    cost: Cost,
    prepare: fn(&mut Script, u64),
    operation: fn(&mut Script, u64),
) where
    I::Regs: ScriptRegs,
{
    let few = traffic::<I>(FEW, prepare, operation);
    let many = traffic::<I>(FEW + MORE, prepare, operation);
    let [messages, bytes, pages] = [0, 1, 2].map(|n| many[n] - few[n]);
    let (wanted, most_bytes, wanted_pages) = cost;
    // A page more or less is touched by what is around the operations, and times are longer at their end.
    assert_eq!((messages / MORE, pages / MORE), (wanted, wanted_pages), "{what}");
    assert!(messages % MORE <= 4 && pages % MORE <= 2, "{what}: {messages}, {pages}");
    assert!(bytes < (most_bytes + 1) * MORE, "{what}: {} bytes", bytes / MORE);
}

fn nothing(_: &mut Script, _: u64) {}

fn register(s: &mut Script, _: u64) {
    s.syscall_with(Sysno::Membarrier, &[REGISTER_PRIVATE_EXPEDITED, 0]).expect(Reg::Ret, 0, 87);
}

fn written(s: &mut Script, _: u64) {
    repeat(s, PAGES - 1, store);
}

fn calls<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    assert_cost::<I>("system call", (2, 300, 0), nothing, |s, _| {
        s.syscall_with(Sysno::Getppid, &[]);
    });
    assert_cost::<I>("getpid", (0, 0, 0), nothing, |s, _| {
        s.syscall_with(Sysno::Getpid, &[]);
    });
    // The page that the time is written to stays here.
    assert_cost::<I>("clock_gettime", (0, 0, 0), nothing, |s, word| {
        s.syscall_with(Sysno::ClockGettime, &[1, word]).expect(Reg::Ret, 0, 81);
    });
    // The other instance has interrupted its own code to ask, and the answer is the call's.
    assert_cost::<I>("membarrier", (2, 300, 0), register, |s, _| {
        s.syscall_with(Sysno::Membarrier, &[PRIVATE_EXPEDITED, 0]).expect(Reg::Ret, 0, 86);
    });
    // Nobody else uses the futex: it is lent.
    assert_cost::<I>("futex wake", (0, 2, 0), nothing, |s, word| {
        s.syscall_with(Sysno::Futex, &[word, FUTEX_WAKE | FUTEX_PRIVATE, 1]);
        s.expect(Reg::Ret, 0, 82);
    });
    assert_cost::<I>("futex wait", (0, 2, 0), nothing, |s, word| {
        s.syscall_with(Sysno::Futex, &[word, FUTEX_WAIT | FUTEX_PRIVATE, 1, 0]);
        s.expect(Reg::Ret, EAGAIN, 83);
    });
}

on_both!(calls_cost_what_they_cost, calls);

fn faults<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    assert_cost::<I>("read fault", (2, 50, 1), written, |s, _| load(s));
    assert_cost::<I>("write fault", (2, 50, 1), written, |s, _| store(s));
    assert_cost::<I>("read fault and upgrade", (4, 100, 1), written, |s, _| {
        load(s);
        store(s);
    });
    // Nobody has written the page: it is not sent.
    assert_cost::<I>("first touch", (2, 50, 0), nothing, |s, _| store(s));
}

on_both!(faults_cost_what_they_cost, faults);

fn areas<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    assert_cost::<I>("mmap", (2, 340, 0), nothing, |s, _| {
        let args = [0, PAGE, READ_WRITE, PRIVATE, u64::MAX, 0];
        s.syscall_with(Sysno::Mmap, &args);
    });
    assert_cost::<I>("munmap", (4, 420, 0), nothing, |s, _| {
        s.mov(Reg::A(0), AT).imm(Reg::A(1), PAGE).syscall(Sysno::Munmap);
        s.expect(Reg::Ret, 0, 84);
    });
    assert_cost::<I>("mprotect", (4, 420, 0), nothing, |s, _| {
        s.mov(Reg::A(0), AT).imm(Reg::A(1), PAGE).imm(Reg::A(2), READ).syscall(Sysno::Mprotect);
        s.expect(Reg::Ret, 0, 85);
    });
}

on_both!(areas_cost_what_they_cost, areas);
