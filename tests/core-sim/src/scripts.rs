//! Pieces of scripts that tests of several kernels share.

use maize_abi::Sysno;
use maize_abi::migration::{LEAVE, REQUEST_PAGE, REQUESTED};
use maize_arch_host::{DATA, Place, Reg, Script};

/// `clone` flags of a thread without its own thread pointer.
pub const THREAD: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000;

/// `FUTEX_WAIT`, `FUTEX_WAKE` and `FUTEX_PRIVATE_FLAG`.
pub const FUTEX_WAIT: u64 = 0;
/// As above.
pub const FUTEX_WAKE: u64 = 1;
/// As above.
pub const FUTEX_PRIVATE: u64 = 128;

/// The top of the stack of thread `n`, each of two pages.
#[must_use]
pub fn stack(n: u64) -> u64 {
    DATA + 0x4_0000 + (n + 1) * 0x2000
}

/// Moves the calling thread to `core`.
pub fn go(s: &mut Script, core: u32) {
    move_thread(s, 0, core);
}

/// Lets the calling thread, wherever it is, be on all of `cores` cores.
pub fn roam(s: &mut Script, cores: u32) {
    let mask = s.data(&((1_u64 << cores) - 1).to_le_bytes());
    s.syscall_with(Sysno::SchedSetaffinity, &[0, 8, mask]).expect(Reg::Ret, 0, 92);
}

/// Moves thread `tid` to `core`.
pub fn move_thread(s: &mut Script, tid: u64, core: u32) {
    let mask = s.data(&(1_u64 << core).to_le_bytes());
    s.syscall_with(Sysno::SchedSetaffinity, &[tid, 8, mask]).expect(Reg::Ret, 0, 90);
}

/// Exits with `status` unless the thread is on `core`.
pub fn expect_core(s: &mut Script, core: u32, status: u8) {
    let word = s.data(&[0xff; 4]);
    s.syscall_with(Sysno::Getcpu, &[word, 0, 0]).expect(Reg::Ret, 0, 91);
    s.imm(Reg::S(4), word).load32(Reg::S(4), Reg::S(4), 0);
    s.expect(Reg::S(4), u64::from(core), status);
}

/// Starts thread `n` at `body`.
pub fn start_thread(s: &mut Script, n: u64, body: Place) {
    s.syscall_with(Sysno::Clone, &[THREAD, stack(n), 0, 0, 0]);
    s.imm(Reg::S(5), 0).if_equal(Reg::Ret, Reg::S(5), body);
}

/// Waits for the word at `address` to be `value` without a futex. Uses `S(4)`, `S(5)`.
pub fn spin_until(s: &mut Script, address: u64, value: u64) {
    let (again, done) = (s.mark(), s.place());
    s.spin(50).syscall_with(Sysno::SchedYield, &[]);
    s.imm(Reg::S(4), address).load32(Reg::S(4), Reg::S(4), 0).imm(Reg::S(5), value);
    s.if_equal(Reg::S(4), Reg::S(5), done).jump(again);
    s.here(done);
}

/// Makes the word at `address` `value`. Uses `S(4)`, `S(5)`.
pub fn set(s: &mut Script, address: u64, value: u64) {
    s.imm(Reg::S(4), address).imm(Reg::S(5), value).store32(Reg::S(4), 0, Reg::S(5));
}

/// Calls about the futexes of a word's page until they are lent to where the caller is.
pub fn borrow_futexes(s: &mut Script, word: u64) {
    for _ in 0..6 {
        wake(s, word, 1);
    }
}

/// Waits by futex while the word at `address` is zero.
pub fn wait_on(s: &mut Script, address: u64) {
    s.syscall_with(Sysno::Futex, &[address, FUTEX_WAIT | FUTEX_PRIVATE, 0, 0]);
}

/// Waits by futex until the word at `address`, which grows, is `value` or more. Uses `S(4)`, `S(5)`.
pub fn wait_until(s: &mut Script, address: u64, value: u64) {
    let again = s.mark();
    let done = s.place();
    s.imm(Reg::S(5), address).load32(Reg::S(4), Reg::S(5), 0);
    s.imm(Reg::S(5), value - 1).if_less(Reg::S(5), Reg::S(4), done);
    s.imm(Reg::A(0), address).imm(Reg::A(1), FUTEX_WAIT | FUTEX_PRIVATE).mov(Reg::A(2), Reg::S(4));
    s.imm(Reg::A(3), 0).syscall(Sysno::Futex);
    s.jump(again);
    s.here(done);
}

/// Adds one to the word at `address`, atomically. Uses `S(4)`, `S(5)`.
pub fn count(s: &mut Script, address: u64) {
    s.imm(Reg::S(5), address).imm(Reg::S(4), 1).fetch_add32(Reg::S(4), Reg::S(5), Reg::S(4));
}

/// Wakes up to `most` threads that wait for the word at `address`.
pub fn wake(s: &mut Script, address: u64, most: u64) {
    s.syscall_with(Sysno::Futex, &[address, FUTEX_WAKE | FUTEX_PRIVATE, most, 0, 0, 0]);
}

/// Adds one to the word at `address`, atomically, and wakes who waits for it. Uses `S(4)`, `S(5)`.
pub fn bump(s: &mut Script, address: u64) {
    count(s, address);
    wake(s, address, 1000);
}

/// Two threads, on these cores, that hand each other two words in turn, and a process that says so when it
/// is over.
pub fn ping_pong(s: &mut Script, (ping, pong): (u64, u64), cores: (u32, u32), rounds: u64) {
    let thread = s.place();
    start_thread(s, 0, thread);
    go(s, cores.0);
    for round in 1..=rounds {
        bump(s, ping);
        wait_until(s, pong, round);
    }
    s.print("pong\n").exit(0);
    s.here(thread);
    go(s, cores.1);
    for round in 1..=rounds {
        wait_until(s, ping, round);
        bump(s, pong);
    }
    end_thread(s);
}

/// Sleeps for less than a second.
pub fn sleep(s: &mut Script, nanos: u64) {
    let span = s.data(&[0_u64.to_le_bytes(), nanos.to_le_bytes()].concat());
    s.syscall_with(Sysno::Nanosleep, &[span, 0]);
}

/// Bytes of a thread's block, to which its thread pointer points: what it saves when it leaves.
pub const BLOCK: usize = 64;

/// A migration point of a script for several instruction sets: leaves if the kernel asks. Uses `S(4)`,
/// `S(5)`; keeps the others and the stack pointer.
pub fn migration_point(s: &mut Script) {
    let (stays, goes_on) = (s.place(), s.place());
    s.imm(Reg::S(5), REQUEST_PAGE).load32(Reg::S(5), Reg::S(5), REQUESTED as i64);
    s.imm(Reg::S(4), 0).if_equal(Reg::S(5), Reg::S(4), stays);
    s.get_tls(Reg::S(5)).address(Reg::S(4), goes_on).store64(Reg::S(5), 0, Reg::S(4));
    for n in 0..4 {
        s.store64(Reg::S(5), 8 + 8 * i64::from(n), Reg::S(n));
    }
    s.store64(Reg::S(5), 40, Reg::Sp);
    s.mov(Reg::A(0), Reg::S(5)).imm(Reg::A(1), 0x1f80);
    // Its block is all that it has saved.
    s.mov(Reg::A(2), Reg::S(5)).mov(Reg::A(3), Reg::S(5)).mov(Reg::A(4), Reg::Sp);
    s.mov(Reg::A(5), Reg::Sp);
    s.imm(Reg::Nr, LEAVE).raw_syscall();
    s.here(goes_on);
    s.get_tls(Reg::S(5)).load64(Reg::Sp, Reg::S(5), 40);
    s.here(stays);
}

/// Where threads go on that come from another instruction set.
pub fn arrivals(s: &mut Script, resume: Place) {
    s.here(resume);
    s.get_tls(Reg::S(5)).load64(Reg::Sp, Reg::S(5), 40);
    for n in 0..4 {
        s.load64(Reg::S(n), Reg::S(5), 8 + 8 * i64::from(n));
    }
    s.load64(Reg::S(4), Reg::S(5), 0).call_reg(Reg::S(4));
}

/// Goes to a core of another instruction set.
pub fn cross(s: &mut Script, core: u32) {
    go(s, core);
    migration_point(s);
    expect_core(s, core, 92);
}

/// The signal of a child that has ended.
pub const SIGCHLD: u64 = 17;

/// `sigaction` flags: a handler that gets three arguments, as the emulated kernels want it.
pub const SA_SIGINFO: u64 = 4;
/// As above: calls that a signal interrupts begin again.
pub const SA_RESTART: u64 = 0x1000_0000;

/// Starts a process at `child`. Uses `S(5)`.
pub fn fork(s: &mut Script, child: Place) {
    s.syscall_with(Sysno::Clone, &[SIGCHLD, 0, 0, 0, 0]);
    s.imm(Reg::S(5), 0).if_equal(Reg::Ret, Reg::S(5), child);
}

/// Has `signal` handled at `handler`; exits with `status` if that is refused. Uses `S(0)`, `S(1)`.
pub fn handle(s: &mut Script, (signal, flags): (u64, u64), handler: Place, status: u8) {
    let mut action = [0; 32];
    action[8..16].copy_from_slice(&flags.to_le_bytes());
    let action = s.data(&action);
    s.address(Reg::S(0), handler).imm(Reg::S(1), action).store64(Reg::S(1), 0, Reg::S(0));
    s.syscall_with(Sysno::RtSigaction, &[signal, action, 0, 8]).expect(Reg::Ret, 0, status);
}

/// At `body`, a thread that adds one to the word at `counter` `times` times, atomically, adds one to
/// `done` and ends.
pub fn adder(s: &mut Script, body: Place, times: u64, (counter, done): (u64, u64)) {
    s.here(body).imm(Reg::S(0), times);
    let add = s.mark();
    s.imm(Reg::S(2), counter).imm(Reg::S(3), 1).fetch_add32(Reg::S(3), Reg::S(2), Reg::S(3));
    s.spin(20).syscall_with(Sysno::SchedYield, &[]);
    s.add_imm(Reg::S(0), Reg::S(0), -1).imm(Reg::S(3), 0);
    s.if_not_equal(Reg::S(0), Reg::S(3), add);
    bump(s, done);
    end_thread(s);
}

/// At `handler`, a signal's handler that counts in the word at `handled`.
pub fn counting_handler(s: &mut Script, handler: Place, handled: u64) {
    s.here(handler).imm(Reg::S(4), handled).imm(Reg::S(5), 1);
    s.fetch_add32(Reg::S(5), Reg::S(4), Reg::S(5)).ret();
}

/// Ends the calling thread.
pub fn end_thread(s: &mut Script) {
    s.syscall_with(Sysno::Exit, &[0]);
}
