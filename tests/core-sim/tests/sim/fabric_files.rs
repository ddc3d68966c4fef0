//! Files that are mapped shared on several instances, and read, written and cut beside that.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core_sim::fabric::run;
use maize_core_sim::on_both;
use maize_core_sim::scripts::{fork, go};

use crate::fabric_memory::policies;

const PAGE: u64 = 4096;
const READ_WRITE: u64 = 3;
const SHARED_FIXED: u64 = 0x11;
const PRIVATE_FIXED: u64 = 0x12;
const READ_WRITE_CREATE: u64 = 0o102;
const AT_FDCWD: u64 = (-100_i64) as u64;
/// Where the file is mapped shared, and privately.
const HERE: u64 = 0x1_0000_0000;
const COPY: u64 = 0x2_0000_0000;
/// The file's descriptor: the first that is free.
const FILE: u64 = 3;

/// A script that has a file of four pages mapped, at twice its length.
fn mapper() -> Script {
    let mut s = Script::new();
    let path = s.data(b"/tmp/file\0");
    s.syscall_with(Sysno::Openat, &[AT_FDCWD, path, READ_WRITE_CREATE, 0o600]);
    s.expect(Reg::Ret, FILE, 80);
    set_len(&mut s, 4 * PAGE);
    s.syscall_with(Sysno::Mmap, &[HERE, 8 * PAGE, READ_WRITE, SHARED_FIXED, FILE, 0]);
    s.expect(Reg::Ret, HERE, 81);
    s
}

fn set_len(s: &mut Script, len: u64) {
    s.syscall_with(Sysno::Ftruncate, &[FILE, len]).expect(Reg::Ret, 0, 82);
}

fn store(s: &mut Script, at: u64, value: u64) {
    s.imm(Reg::S(0), at).imm(Reg::S(1), value).store64(Reg::S(0), 0, Reg::S(1));
}

fn expect(s: &mut Script, at: u64, value: u64, status: u8) {
    s.imm(Reg::S(0), at).load64(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), value, status);
}

/// Runs a script on three instances, however they are arranged: its thread has to stay where it goes.
fn check<I: Isa>(mut s: Script)
where
    I::Regs: ScriptRegs,
{
    s.print("one file\n").exit(0);
    for (seed, settings) in (1..).zip(policies()) {
        let (outcome, fabric) = run::<I>(3, &s, &settings, seed);
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("one file\n", 0), "{settings:?}");
        assert_eq!(fabric.counter("fabric.called_home"), 0, "{settings:?}");
    }
}

fn reads_and_writes<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = mapper();
    let buffer = s.data(&[0; 8]);
    store(&mut s, HERE, 11);
    go(&mut s, 1);
    expect(&mut s, HERE, 11, 1);
    store(&mut s, HERE, 12);
    s.syscall_with(Sysno::Pread64, &[FILE, buffer, 8, 0]).expect(Reg::Ret, 8, 2);
    expect(&mut s, buffer, 12, 3);
    store(&mut s, HERE + PAGE, 13);
    store(&mut s, buffer, 14);
    s.syscall_with(Sysno::Pwrite64, &[FILE, buffer, 8, PAGE + 8]).expect(Reg::Ret, 8, 4);
    go(&mut s, 2);
    expect(&mut s, HERE, 12, 5);
    expect(&mut s, HERE + PAGE, 13, 6);
    expect(&mut s, HERE + PAGE + 8, 14, 7);
    // A longer file shows in the same mapping.
    set_len(&mut s, 8 * PAGE);
    store(&mut s, HERE + 6 * PAGE, 15);
    go(&mut s, 1);
    expect(&mut s, HERE + 6 * PAGE, 15, 8);
    check::<I>(s);
}

on_both!(reads_and_writes_agree_with_mappings_anywhere, reads_and_writes);

fn is_cut<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = mapper();
    go(&mut s, 1);
    for page in 0..4 {
        store(&mut s, HERE + page * PAGE, 21);
        store(&mut s, HERE + page * PAGE + 8, 22);
    }
    go(&mut s, 2);
    expect(&mut s, HERE + 3 * PAGE, 21, 1);
    set_len(&mut s, PAGE + 8);
    set_len(&mut s, 4 * PAGE);
    for core in [2, 1, 0] {
        go(&mut s, core);
        expect(&mut s, HERE + PAGE, 21, 2);
        expect(&mut s, HERE + PAGE + 8, 0, 3);
        expect(&mut s, HERE + 3 * PAGE, 0, 4);
    }
    store(&mut s, HERE + 3 * PAGE, 23);
    go(&mut s, 1);
    expect(&mut s, HERE + 3 * PAGE, 23, 5);
    check::<I>(s);
}

on_both!(what_is_cut_off_is_gone_everywhere, is_cut);

fn is_copied<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = mapper();
    let status = s.data(&[0; 8]);
    let child = s.place();
    s.syscall_with(Sysno::Mmap, &[COPY, 4 * PAGE, READ_WRITE, PRIVATE_FIXED, FILE, 0]);
    s.expect(Reg::Ret, COPY, 83);
    go(&mut s, 1);
    store(&mut s, HERE, 31);
    store(&mut s, HERE + PAGE, 32);
    go(&mut s, 2);
    // A private copy of what another instance has written.
    store(&mut s, COPY + 8, 33);
    expect(&mut s, COPY, 31, 1);
    expect(&mut s, HERE + 8, 0, 2);
    fork(&mut s, child);
    s.syscall_with(Sysno::Wait4, &[u64::MAX, status, 0, 0]);
    expect(&mut s, status, 0, 3);
    expect(&mut s, HERE + 2 * PAGE, 34, 4);
    expect(&mut s, COPY + 8, 33, 5);
    let done = s.place();
    s.jump(done);
    s.here(child);
    go(&mut s, 1);
    expect(&mut s, HERE + PAGE, 32, 6);
    expect(&mut s, COPY + 8, 33, 7);
    store(&mut s, COPY + 8, 35);
    store(&mut s, HERE + 2 * PAGE, 34);
    s.exit(0);
    s.here(done);
    check::<I>(s);
}

on_both!(copies_and_children_see_what_was_written_elsewhere, is_copied);
