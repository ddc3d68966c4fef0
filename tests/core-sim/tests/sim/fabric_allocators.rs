//! Threads that map and unmap as allocators do: where the kernel chooses, next to and in place of what
//! others have just unmapped, and often what another thread has mapped.

use maize_abi::Sysno;
use maize_abi::isa::x86_64::X86_64;
use maize_arch_host::{Reg, Script};
use maize_core_sim::fabric::run;
use maize_core_sim::scripts::{bump, end_thread, start_thread, wait_until};
use maize_core_sim::seeds;

use crate::fabric_stress::{fabric_of, settings};

/// Pages that the threads' blocks have.
const SIZES: [u64; 4] = [1, 2, 3, 6];

/// Threads that each map a block `rounds` times, which has to be empty, and fill it. If the next thread has
/// taken what it was given last it is given this, too, or else the block is unmapped by who mapped it.
fn allocators(threads: u64, rounds: u64) -> Script {
    let mut s = Script::new();
    let given: Vec<u64> = (0..threads).map(|_| s.data(&[0; 4096])).collect();
    let done = s.data(&[0; 8]);
    let bodies: Vec<_> = (0..threads).map(|_| s.place()).collect();
    for (n, body) in (0..threads).zip(&bodies) {
        start_thread(&mut s, n, *body);
    }
    wait_until(&mut s, done, threads);
    s.print("right\n").exit(0);
    for (n, pages) in SIZES.into_iter().cycle().take(bodies.len()).enumerate() {
        let (to_me, to_next) = (given[n], given[(n + 1) % given.len()]);
        s.here(bodies[n]).imm(Reg::S(0), rounds);
        let again = s.mark();
        s.syscall_with(Sysno::Mmap, &[0, pages << 12, 3, 0x22, u64::MAX, 0]);
        s.mov(Reg::S(1), Reg::Ret);
        // All is looked at before anything is written: then others may have pages of the same object.
        for page in 0..pages as i64 {
            s.load64(Reg::S(3), Reg::S(1), page << 12).expect(Reg::S(3), 0, 3);
        }
        s.imm(Reg::S(2), pages << 12).store64(Reg::S(1), 8, Reg::S(2));
        for page in 0..pages as i64 {
            s.store64(Reg::S(1), page << 12, Reg::S(1));
        }
        s.mov(Reg::A(0), Reg::S(1))
            .imm(Reg::A(1), 0x1000)
            .imm(Reg::A(2), 1)
            .syscall(Sysno::Mprotect);
        s.expect(Reg::Ret, 0, 6);
        let (keep, take, next) = (s.place(), s.place(), s.place());
        s.imm(Reg::S(2), to_next).load64(Reg::S(3), Reg::S(2), 0).imm(Reg::S(4), 0);
        s.if_not_equal(Reg::S(3), Reg::S(4), keep);
        s.store64(Reg::S(2), 0, Reg::S(1)).jump(take);
        s.here(keep);
        unmap(&mut s);
        s.here(take).imm(Reg::S(2), to_me).load64(Reg::S(1), Reg::S(2), 0).imm(Reg::S(4), 0);
        s.if_equal(Reg::S(1), Reg::S(4), next).store64(Reg::S(2), 0, Reg::S(4));
        unmap(&mut s);
        s.here(next).add_imm(Reg::S(0), Reg::S(0), -1).imm(Reg::S(3), 0);
        s.if_not_equal(Reg::S(0), Reg::S(3), again);
        bump(&mut s, done);
        end_thread(&mut s);
    }
    s
}

/// Unmaps the block at `S(1)`, of which the first and the last page have to be as they were filled. Uses
/// `S(2)` to `S(4)`.
fn unmap(s: &mut Script) {
    s.load64(Reg::S(2), Reg::S(1), 8).add(Reg::S(4), Reg::S(1), Reg::S(2));
    for (at, offset) in [(Reg::S(1), 0), (Reg::S(4), -4096)] {
        let same = s.place();
        s.load64(Reg::S(3), at, offset).if_equal(Reg::S(3), Reg::S(1), same).exit(4);
        s.here(same);
    }
    // If there is a second page it goes first, and may be another's before the rest goes.
    let rest = s.place();
    s.imm(Reg::S(4), 0x1000).if_equal(Reg::S(2), Reg::S(4), rest);
    s.add(Reg::A(0), Reg::S(1), Reg::S(4)).imm(Reg::A(1), 0x1000).syscall(Sysno::Munmap);
    s.expect(Reg::Ret, 0, 7).imm(Reg::S(4), 0x2000).if_equal(Reg::S(2), Reg::S(4), rest);
    s.add(Reg::A(0), Reg::S(1), Reg::S(4))
        .sub(Reg::A(1), Reg::S(2), Reg::S(4))
        .syscall(Sysno::Munmap);
    s.expect(Reg::Ret, 0, 8);
    s.here(rest).mov(Reg::A(0), Reg::S(1)).imm(Reg::A(1), 0x1000).syscall(Sysno::Munmap);
    s.expect(Reg::Ret, 0, 9);
}

#[test]
fn new_memory_is_empty_wherever_it_was_before() {
    let script = allocators(4, 8);
    for seed in seeds(40) {
        let (instances, coherence) = fabric_of(seed);
        let settings = settings(instances, coherence, seed as u32 % 8);
        let (outcome, fabric) = run::<X86_64>(instances, &script, &settings, seed);
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("right\n", 0), "seed {seed}, {:#?}", fabric.counters());
    }
}
