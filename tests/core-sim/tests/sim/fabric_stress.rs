//! Everything at once, with random moves: the sum must be right, whatever the seed.
//!
//! `FABRIC_SEEDS=n` runs that many seeds of each instead of the few that a test run has time for;
//! `FABRIC_SEED=n` runs one. A seed that fails is printed and does the same again.

use maize_abi::isa::aarch64::Aarch64;
use maize_abi::isa::x86_64::X86_64;
use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core::{Coherence, FabricSettings, Placement};
use maize_core_sim::fabric::{run, window};
use maize_core_sim::scripts::{
    SA_RESTART, SA_SIGINFO, adder, bump, counting_handler, end_thread, fork, handle, start_thread,
    wait_until,
};
use maize_core_sim::seeds;

/// Where threads map memory of their own, 1 MiB apart.
const HERE: u64 = 0x1_0000_0000;

/// `threads` threads that each add one to two numbers `rounds` times, one atomically, the other
/// under a lock of their own making, and map, protect and unmap memory in between.
fn adders(threads: u64, rounds: u64) -> Script {
    let mut s = Script::new();
    // The counters share a page, the lock has another.
    let atomic = s.data(&[0; 8]);
    let locked = s.data(&[0; 8]);
    let done = s.data(&[0; 8]);
    let lock = s.data(&[0; 4096]);
    let body = s.place();
    for n in 0..threads {
        // A thread finds its own memory by this.
        s.imm(Reg::S(1), HERE + n * 0x10_0000);
        start_thread(&mut s, n, body);
    }
    wait_until(&mut s, done, threads);
    for (address, status) in [(atomic, 1), (locked, 2)] {
        s.imm(Reg::S(0), address).load32(Reg::S(1), Reg::S(0), 0);
        s.expect(Reg::S(1), threads * rounds, status);
    }
    s.print("right\n").exit(0);

    s.here(body).imm(Reg::S(0), rounds);
    let again = s.mark();
    s.imm(Reg::S(2), atomic).imm(Reg::S(3), 1).fetch_add32(Reg::S(3), Reg::S(2), Reg::S(3));
    let (take, taken) = (s.mark(), s.place());
    s.imm(Reg::S(2), lock).imm(Reg::S(3), 0).imm(Reg::S(4), 1);
    s.compare_swap32(Reg::S(3), Reg::S(2), Reg::S(4)).imm(Reg::S(4), 0);
    s.if_equal(Reg::S(3), Reg::S(4), taken);
    s.syscall_with(Sysno::SchedYield, &[]).jump(take);
    s.here(taken).imm(Reg::S(3), locked).load32(Reg::S(4), Reg::S(3), 0);
    s.add_imm(Reg::S(4), Reg::S(4), 1).store32(Reg::S(3), 0, Reg::S(4));
    s.imm(Reg::S(3), 0).store32(Reg::S(2), 0, Reg::S(3));
    // Memory of its own: fresh, written, read-only, gone.
    s.mov(Reg::A(0), Reg::S(1)).imm(Reg::A(1), 0x2000).imm(Reg::A(2), 3).imm(Reg::A(3), 0x32);
    s.imm(Reg::A(4), u64::MAX).imm(Reg::A(5), 0).syscall(Sysno::Mmap);
    s.load64(Reg::S(3), Reg::S(1), 0x1008).expect(Reg::S(3), 0, 3);
    s.store64(Reg::S(1), 0x1008, Reg::S(0));
    s.mov(Reg::A(0), Reg::S(1)).imm(Reg::A(1), 0x2000).imm(Reg::A(2), 1).syscall(Sysno::Mprotect);
    s.expect(Reg::Ret, 0, 4).load64(Reg::S(3), Reg::S(1), 0x1008);
    let same = s.place();
    s.if_equal(Reg::S(3), Reg::S(0), same).exit(5);
    s.here(same);
    s.mov(Reg::A(0), Reg::S(1)).imm(Reg::A(1), 0x2000).syscall(Sysno::Munmap);
    s.expect(Reg::Ret, 0, 6);
    s.add_imm(Reg::S(0), Reg::S(0), -1).imm(Reg::S(3), 0);
    s.if_not_equal(Reg::S(0), Reg::S(3), again);
    bump(&mut s, done);
    end_thread(&mut s);
    s
}

#[test]
fn sixteen_instances_have_a_thread_each() {
    for seed in seeds(1) {
        let window = Some(window(16));
        let settings = FabricSettings { window, ..settings(16, Coherence::Directory, 0) };
        let (outcome, fabric) = run::<X86_64>(16, &adders(16, 2), &settings, seed);
        assert_eq!((outcome.stdout.as_str(), outcome.status), ("right\n", 0), "seed {seed}");
        assert!(fabric.nodes[1..].iter().all(|node| node.kernel.counter("fabric.stays") > 0));
    }
}

/// `rounds` children that are forked, write to memory that is theirs and to memory that is shared,
/// and are waited for, while `threads` threads add, and everybody gets signals.
fn noise(threads: u64, rounds: u64) -> Script {
    const SHARED: u64 = 0x2_0000_0000;
    const SIGUSR1: u64 = 10;
    let mut s = Script::new();
    let counter = s.data(&[0; 8]);
    let own = s.data(&[0; 8]);
    let handled = s.data(&[0; 8]);
    let done = s.data(&[0; 8]);
    let status = s.data(&[0; 8]);
    let (handler, body, child) = (s.place(), s.place(), s.place());
    handle(&mut s, (SIGUSR1, SA_SIGINFO | SA_RESTART), handler, 20);
    s.syscall_with(Sysno::Mmap, &[SHARED, 4096, 3, 0x31, u64::MAX, 0]).expect(Reg::Ret, SHARED, 21);
    for n in 0..threads {
        start_thread(&mut s, n, body);
    }
    s.imm(Reg::S(0), rounds);
    let again = s.mark();
    s.imm(Reg::S(1), own).store64(Reg::S(1), 0, Reg::S(0));
    fork(&mut s, child);
    s.mov(Reg::S(2), Reg::Ret);
    // One signal for the process, one for the child, which inherits the handler.
    s.syscall_with(Sysno::Getpid, &[]).mov(Reg::A(0), Reg::Ret).imm(Reg::A(1), SIGUSR1);
    s.syscall(Sysno::Kill).expect(Reg::Ret, 0, 22);
    s.mov(Reg::A(0), Reg::S(2)).imm(Reg::A(1), SIGUSR1).syscall(Sysno::Kill);
    s.expect(Reg::Ret, 0, 23);
    s.mov(Reg::A(0), Reg::S(2)).imm(Reg::A(1), status).imm(Reg::A(2), 0).imm(Reg::A(3), 0);
    s.syscall(Sysno::Wait4).imm(Reg::S(1), status).load32(Reg::S(3), Reg::S(1), 0);
    s.expect(Reg::S(3), 0, 24);
    s.imm(Reg::S(1), own).load64(Reg::S(3), Reg::S(1), 0);
    let same = s.place();
    s.if_equal(Reg::S(3), Reg::S(0), same).exit(25);
    s.here(same).add_imm(Reg::S(0), Reg::S(0), -1).imm(Reg::S(3), 0);
    s.if_not_equal(Reg::S(0), Reg::S(3), again);
    wait_until(&mut s, done, threads);
    s.imm(Reg::S(0), counter).load32(Reg::S(1), Reg::S(0), 0);
    s.expect(Reg::S(1), threads * rounds * 4, 26);
    s.imm(Reg::S(0), SHARED).load32(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), rounds, 27);
    s.imm(Reg::S(0), handled).load32(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), rounds, 28);
    s.print("right\n").exit(0);

    // The child sees what the parent wrote last, changes it for itself, and adds to what is shared.
    s.here(child).imm(Reg::S(1), own).load64(Reg::S(3), Reg::S(1), 0);
    let seen = s.place();
    s.if_equal(Reg::S(3), Reg::S(0), seen).exit(30);
    s.here(seen).imm(Reg::S(2), 0x5555).store64(Reg::S(1), 0, Reg::S(2));
    s.imm(Reg::S(2), SHARED).imm(Reg::S(3), 1).fetch_add32(Reg::S(3), Reg::S(2), Reg::S(3));
    s.syscall_with(Sysno::SchedYield, &[]);
    s.load64(Reg::S(2), Reg::S(1), 0).expect(Reg::S(2), 0x5555, 31).exit(0);

    adder(&mut s, body, rounds * 4, (counter, done));

    counting_handler(&mut s, handler, handled);
    s
}

#[test]
fn forks_and_signals_do_not_disturb() {
    let script = noise(2, 4);
    for seed in seeds(20) {
        let (instances, coherence) = fabric_of(seed);
        let settings = settings(instances, coherence, 4 + seed as u32 % 4);
        let (outcome, fabric) = run::<X86_64>(instances, &script, &settings, seed);
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("right\n", 0), "seed {seed}, {:#?}", fabric.counters());
    }
}

/// How many instances the fabric of a seed has, and which policy.
pub(crate) fn fabric_of(seed: u64) -> (u16, Coherence) {
    // Not with the same bit of the seed as the window.
    let coherence =
        if (seed / 4).is_multiple_of(2) { Coherence::Voting } else { Coherence::Directory };
    (2 + (seed % 3) as u16, coherence)
}

pub(crate) fn settings(instances: u16, coherence: Coherence, migrate_every: u32) -> FabricSettings {
    let machines = [&[][..], &[0; 16], &[0, 0, 1, 1], &[0, 1, 0, 1]][migrate_every as usize % 4];
    // Machines have one only if there are two of them; voting needs that.
    let windowed = coherence == Coherence::Directory || !machines.is_empty() || instances == 2;
    FabricSettings {
        coherence,
        placement: Placement::Spread,
        migrate_every,
        machines: machines.to_vec(),
        prefetch: [0, 1, 4, 8][migrate_every as usize / 2 % 4],
        window: (windowed && migrate_every.is_multiple_of(2)).then_some(const { window(4) }),
        ..FabricSettings::default()
    }
}

fn adds_up<I: Isa>(coherence: Coherence, few: u64)
where
    I::Regs: ScriptRegs,
{
    let script = adders(4, 6);
    for seed in seeds(few) {
        let instances = 2 + (seed % 3) as u16;
        let (outcome, fabric) = run::<I>(
            instances,
            &script,
            &settings(instances, coherence, 3 + seed as u32 % 5),
            seed,
        );
        let counters = fabric.counters();
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("right\n", 0), "seed {seed}, {counters:#?}");
        assert!(fabric.counter("fabric.moves") > 10, "seed {seed} moves nothing");
        assert_eq!(fabric.counter("fabric.malformed"), 0, "seed {seed}");
    }
}

#[test]
fn sums_are_right_with_the_directory() {
    adds_up::<X86_64>(Coherence::Directory, 80);
}

#[test]
fn sums_are_right_with_the_directory_on_aarch64() {
    adds_up::<Aarch64>(Coherence::Directory, 20);
}

#[test]
fn sums_are_right_with_voting() {
    adds_up::<X86_64>(Coherence::Voting, 60);
}

/// Threads on all of `instances` that add to words of three pages, until the first thread has dropped
/// those pages `rounds` times.
fn droppers(instances: u64, rounds: u64) -> Script {
    const MADV_DONTNEED: u64 = 4;
    const LEN: u64 = 0x3000;
    let mut s = Script::new();
    let stop = s.data(&[0; 4096]);
    let done = s.data(&[0; 4096]);
    let body = s.place();
    s.syscall_with(Sysno::Mmap, &[HERE, LEN, 3, 0x32, u64::MAX, 0]).expect(Reg::Ret, HERE, 1);
    for n in 0..instances {
        start_thread(&mut s, n, body);
    }
    s.imm(Reg::S(0), rounds);
    let again = s.mark();
    s.imm(Reg::S(2), 1);
    for page in [0, 0x1000, 0x2000] {
        s.imm(Reg::S(1), HERE + page).fetch_add32(Reg::S(3), Reg::S(1), Reg::S(2));
    }
    s.syscall_with(Sysno::Madvise, &[HERE, LEN, MADV_DONTNEED]).expect(Reg::Ret, 0, 2);
    s.add_imm(Reg::S(0), Reg::S(0), -1).imm(Reg::S(3), 0);
    s.if_not_equal(Reg::S(0), Reg::S(3), again);
    s.imm(Reg::S(0), stop).imm(Reg::S(1), 1).store32(Reg::S(0), 0, Reg::S(1));
    wait_until(&mut s, done, instances);
    s.print("right\n").exit(0);

    s.here(body);
    let (add, end) = (s.mark(), s.place());
    s.imm(Reg::S(2), 1);
    for page in [0x2000, 0, 0x1000] {
        s.imm(Reg::S(1), HERE + page).fetch_add32(Reg::S(3), Reg::S(1), Reg::S(2));
        s.load32(Reg::S(3), Reg::S(1), 0);
    }
    s.imm(Reg::S(0), stop).load32(Reg::S(1), Reg::S(0), 0);
    s.if_equal(Reg::S(1), Reg::S(2), end).jump(add);
    s.here(end);
    bump(&mut s, done);
    end_thread(&mut s);
    s
}

/// A lead that had its sibling's mapping back in a life of the page that was over waited for ever.
#[test]
fn pages_that_all_use_are_dropped() {
    let script = droppers(4, 12);
    for seed in seeds(10) {
        for coherence in [Coherence::Directory, Coherence::Voting] {
            // Two machines of two instances, and no moves: each page has mappings to be taken back.
            let settings = FabricSettings { migrate_every: 0, ..settings(4, coherence, 2) };
            let (outcome, _) = run::<X86_64>(4, &script, &settings, seed);
            let told = (outcome.stdout.as_str(), outcome.status);
            assert_eq!(told, ("right\n", 0), "seed {seed}, {coherence:?}");
        }
    }
}

/// Store buffering, message passing: threads on two instances, words on two pages.
fn litmus(rounds: u64) -> Script {
    let mut s = Script::new();
    let x = s.data(&[0; 4096]);
    let y = s.data(&[0; 4096]);
    let results = [s.data(&[0; 4096]), s.data(&[0; 4096])];
    let arrived = s.data(&[0; 8]);
    let other = s.place();
    start_thread(&mut s, 0, other);
    for side in 0..2_u64 {
        if side == 1 {
            s.here(other);
        }
        let (mine, theirs) = if side == 0 { (x, y) } else { (y, x) };
        for round in 1..=rounds {
            // Both store their own word and read the other's: one of them must see the other.
            s.imm(Reg::S(0), mine).imm(Reg::S(1), round).imm(Reg::S(2), theirs);
            s.store32(Reg::S(0), 0, Reg::S(1)).load32(Reg::S(3), Reg::S(2), 0);
            s.imm(Reg::S(2), results[side as usize]).store32(Reg::S(2), 0, Reg::S(3));
            bump(&mut s, arrived);
            wait_until(&mut s, arrived, round * 4 - 2);
            if side == 0 {
                // What this one read, and what the other did: not both the round before.
                let fine = s.place();
                s.imm(Reg::S(0), round);
                for result in results {
                    s.imm(Reg::S(2), result).load32(Reg::S(3), Reg::S(2), 0);
                    s.if_equal(Reg::S(3), Reg::S(0), fine);
                }
                s.exit(1);
                s.here(fine);
            }
            bump(&mut s, arrived);
            wait_until(&mut s, arrived, round * 4);
        }
        if side == 0 {
            s.print("consistent\n").exit(0);
        }
    }
    end_thread(&mut s);
    s
}

#[test]
fn no_store_is_overlooked() {
    // Each round waits until both have come twice, so a number is waited for that only grows.
    let script = litmus(6);
    for seed in seeds(10) {
        for coherence in [Coherence::Directory, Coherence::Voting] {
            let (outcome, _) = run::<X86_64>(3, &script, &settings(3, coherence, 4), seed);
            let told = (outcome.stdout.as_str(), outcome.status);
            assert_eq!(told, ("consistent\n", 0), "seed {seed}, {coherence:?}");
        }
    }
}
