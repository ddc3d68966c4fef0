//! Instances that die while a process is on them.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core::{Coherence, FabricSettings};
use maize_core_sim::fabric::{ENOUGH, Fabric, impatient_links, window};
use maize_core_sim::scripts::{bump, end_thread, fork, go, start_thread, wait_on, wait_until};
use maize_core_sim::{on_both, root_with, seeds};
use maize_hal::{Nanos, Report};
use maize_simnet::NetConfig;

const SIGKILL: u64 = 9;

/// A parent at home whose child is on core 1; the parent tells what became of it.
fn parent_and_child(child: impl FnOnce(&mut Script)) -> Script {
    let mut s = Script::new();
    let status = s.data(&[0; 8]);
    let body = s.place();
    fork(&mut s, body);
    s.syscall_with(Sysno::Wait4, &[u64::MAX, status, 0, 0]);
    s.imm(Reg::S(1), status).load32(Reg::S(1), Reg::S(1), 0).expect(Reg::S(1), SIGKILL, 3);
    s.print("it was killed\n").exit(0);
    s.here(body);
    go(&mut s, 1);
    child(&mut s);
    s
}

/// Three instances, 2 ms after the start.
fn start<I: Isa>(script: &Script, settings: &FabricSettings) -> Fabric<I>
where
    I::Regs: ScriptRegs,
{
    let root = root_with::<I>(script);
    let mut fabric = Fabric::with_root(3, &root, settings, NetConfig::new(7), impatient_links());
    run_for(&mut fabric, Nanos::from_millis(2));
    fabric
}

fn run_for<I: Isa>(fabric: &mut Fabric<I>, time: Nanos)
where
    I::Regs: ScriptRegs,
{
    let until = fabric.now() + time;
    while fabric.now() < until {
        assert!(fabric.turn());
    }
}

/// Kills instance `number` after the start, and goes on to the end.
fn run_with_death<I: Isa>(script: &Script, number: usize, coherence: Coherence) -> Fabric<I>
where
    I::Regs: ScriptRegs,
{
    let window = Some(window(3));
    let settings = FabricSettings { coherence, window, ..FabricSettings::default() };
    let mut fabric = start::<I>(script, &settings);
    fabric.kill(number);
    let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}"));
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("it was killed\n", 0), "{coherence:?}");
    fabric
}

fn thread_is_lost<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    for coherence in [Coherence::Directory, Coherence::Voting] {
        let script = parent_and_child(|s| {
            let spin = s.mark();
            s.spin(100).jump(spin);
        });
        let fabric = run_with_death::<I>(&script, 1, coherence);
        let said = fabric.nodes[0].host.reports().into_iter().any(|report| match report {
            Report::Fault { text } => text.contains("was on instance 1, which is gone"),
            _ => false,
        });
        assert!(said, "nobody was told");
    }
}

on_both!(a_process_ends_with_the_instance_that_had_its_thread, thread_is_lost);

/// Threads on both other instances hold each other's pages; one of the instances dies.
fn pages_are_lost<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let script = parent_and_child(|s| {
        let word = s.data(&[0; 4096]);
        let ready = s.data(&[0; 8]);
        let thread = s.place();
        start_thread(s, 0, thread);
        s.imm(Reg::S(0), word).imm(Reg::S(1), 1);
        let again = s.mark();
        s.fetch_add32(Reg::S(2), Reg::S(0), Reg::S(1)).jump(again);
        s.here(thread);
        go(s, 2);
        bump(s, ready);
        wait_until(s, ready, 1);
        s.imm(Reg::S(0), word).imm(Reg::S(1), 1);
        let again = s.mark();
        s.fetch_add32(Reg::S(2), Reg::S(0), Reg::S(1)).jump(again);
    });
    for number in [1, 2] {
        let fabric = run_with_death::<I>(&script, number, Coherence::Directory);
        // The other instance has nothing of the process left.
        let other = &fabric.nodes[3 - number];
        assert!(other.kernel.tasks() <= 1, "{} tasks", other.kernel.tasks());
    }
}

on_both!(a_process_on_three_instances_ends_with_one_of_them, pages_are_lost);

/// The home dies: its guests end, and the instance goes on.
fn home_dies<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let script = parent_and_child(|s| {
        let spin = s.mark();
        s.spin(100).jump(spin);
    });
    let mut fabric = start::<I>(&script, &FabricSettings::default());
    assert!(fabric.nodes[1].kernel.tasks() > 1, "no guest");
    fabric.kill(0);
    run_for(&mut fabric, Nanos::from_millis(10));
    assert!(fabric.nodes[1].kernel.tasks() <= 1, "a guest outlives its home");
    assert_eq!(fabric.nodes[1].kernel.peers(), [2]);
}

on_both!(guests_end_with_their_home, home_dies);

/// A thread has been on the instance that dies, and has left pages there.
fn content_is_lost<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const SIGBUS: u32 = 7;
    let script = |lost: bool| {
        let mut s = Script::new();
        let word = s.data(&[7; 4096]);
        let mut span = [0; 16];
        span[8..].copy_from_slice(&20_000_000_u64.to_le_bytes());
        let span = s.data(&span);
        go(&mut s, 1);
        s.imm(Reg::S(0), word).imm(Reg::S(1), 1);
        if lost {
            s.store64(Reg::S(0), 0, Reg::S(1));
        } else {
            s.load64(Reg::S(1), Reg::S(0), 0);
        }
        go(&mut s, 0);
        s.syscall_with(Sysno::Nanosleep, &[span, 0]);
        s.load64(Reg::S(2), Reg::S(0), 0).exit(0);
        s
    };
    for (lost, status) in [(true, SIGBUS), (false, 0)] {
        let mut fabric = start::<I>(&script(lost), &FabricSettings::default());
        fabric.kill(1);
        let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}"));
        assert_eq!(outcome.status, status, "only copy there: {lost}");
    }
}

on_both!(a_page_that_only_the_dead_had_is_a_bus_error, content_is_lost);

/// How often both threads of the process that goes on add to each of its words.
const ROUNDS: u64 = 400;

/// A process with a thread on instances 0 and 2, who add to words of the same pages, and one that has a
/// thread on instance 1. When that is gone, and the first process has ended well, the parent goes to
/// instance 1 as soon as that can be done.
fn beside_a_return() -> Script {
    const PAGES: u64 = 4;
    let mut s = Script::new();
    let status = s.data(&[0; 8]);
    let moment = s.data(&[0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x42, 0x0f, 0, 0, 0, 0, 0]);
    let mask = s.data(&2_u64.to_le_bytes());
    let words = s.data(&[0; 4096 * PAGES as usize]);
    let done = s.data(&[0; 4096]);
    let (lost, beside, body) = (s.place(), s.place(), s.place());
    fork(&mut s, lost);
    s.mov(Reg::S(2), Reg::Ret);
    fork(&mut s, beside);
    s.mov(Reg::S(3), Reg::Ret);
    for (child, expected, wrong) in [(Reg::S(2), SIGKILL, 3), (Reg::S(3), 0, 4)] {
        s.mov(Reg::A(0), child).imm(Reg::A(1), status).imm(Reg::A(2), 0).imm(Reg::A(3), 0);
        s.syscall(Sysno::Wait4);
        s.imm(Reg::S(1), status).load32(Reg::S(1), Reg::S(1), 0).expect(Reg::S(1), expected, wrong);
    }
    let (again, went) = (s.mark(), s.place());
    s.syscall_with(Sysno::Nanosleep, &[moment, 0]);
    s.syscall_with(Sysno::SchedSetaffinity, &[0, 8, mask]);
    s.imm(Reg::S(1), 0).if_equal(Reg::Ret, Reg::S(1), went).jump(again);
    s.here(went).imm(Reg::S(0), words).imm(Reg::S(1), 7).store64(Reg::S(0), 0, Reg::S(1));
    s.load64(Reg::S(2), Reg::S(0), 0).expect(Reg::S(2), 7, 5);
    s.print("went there again\n").exit(0);

    s.here(lost);
    go(&mut s, 1);
    let spin = s.mark();
    s.spin(100).jump(spin);

    let add = |s: &mut Script| {
        s.imm(Reg::S(3), ROUNDS);
        let again = s.mark();
        for page in 0..PAGES {
            s.imm(Reg::S(0), words + 4096 * page).imm(Reg::S(1), 1);
            s.fetch_add32(Reg::S(2), Reg::S(0), Reg::S(1));
        }
        s.add_imm(Reg::S(3), Reg::S(3), -1).imm(Reg::S(1), 0);
        s.if_not_equal(Reg::S(3), Reg::S(1), again);
        bump(s, done);
    };
    s.here(beside);
    start_thread(&mut s, 0, body);
    add(&mut s);
    wait_until(&mut s, done, 2);
    for page in 0..PAGES {
        s.imm(Reg::S(0), words + 4096 * page).load32(Reg::S(1), Reg::S(0), 0);
        s.expect(Reg::S(1), 2 * ROUNDS, 6);
    }
    s.exit(0);
    s.here(body);
    go(&mut s, 2);
    add(&mut s);
    end_thread(&mut s);
    s
}

/// An instance dies and is back within a moment, while two others hand each other pages: they hear of
/// both at different times. One that rebuilt an entry waited for the newcomer, which was not asked.
#[test]
fn what_goes_on_beside_a_return_ends() {
    use maize_abi::isa::x86_64::X86_64;

    let root = root_with::<X86_64>(&beside_a_return());
    for seed in seeds(40) {
        let settings = FabricSettings::default();
        let (net, mut rng) = (NetConfig::new(seed), fastrand::Rng::with_seed(seed));
        let mut fabric = Fabric::<X86_64>::with_root(3, &root, &settings, net, impatient_links());
        run_for(&mut fabric, Nanos(2_000_000 + rng.u64(..1_000_000)));
        fabric.kill(1);
        run_for(&mut fabric, Nanos(rng.u64(..100_000)));
        fabric.restart(1);
        let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}, {seed}"));
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("went there again\n", 0), "seed {seed}");
    }
}

/// Threads of a process on two of three siblings each add to a word of its own, whose page is in a frame of the
/// third, which has them for the home's objects. That one dies: the others use nothing of its memory once they
/// know (see `Fabric::check_frames`), and the process ends, as the pages are lost.
#[test]
fn nothing_of_a_dead_siblings_memory_is_used() {
    use maize_abi::isa::x86_64::X86_64;

    const LEAD: usize = 1;
    let mut s = Script::new();
    let words = s.data(&[0; 4096 * 4]);
    let child = s.place();
    fork(&mut s, child);
    s.syscall_with(Sysno::Wait4, &[u64::MAX, 0, 0, 0]);
    s.print("it was killed\n").exit(0);
    s.here(child);
    let bodies = [s.place(), s.place()];
    for (n, body) in (0..).zip(bodies) {
        start_thread(&mut s, n, body);
    }
    wait_on(&mut s, words);
    for (core, body) in (2..).zip(bodies) {
        s.here(body);
        go(&mut s, core);
        s.imm(Reg::S(0), words + 4096 * u64::from(core)).imm(Reg::S(1), 1);
        let again = s.mark();
        s.fetch_add32(Reg::S(2), Reg::S(0), Reg::S(1)).jump(again);
    }

    let root = root_with::<X86_64>(&s);
    for seed in seeds(6) {
        let machines = vec![0, LEAD as u16, LEAD as u16, LEAD as u16];
        let settings = FabricSettings { machines, ..FabricSettings::default() };
        // With seeds like these each run of user code is looked at.
        let (net, mut rng) = (NetConfig::new(8 * seed), fastrand::Rng::with_seed(seed));
        let mut fabric = Fabric::<X86_64>::with_root(4, &root, &settings, net, impatient_links());
        run_for(&mut fabric, Nanos(2_000_000 + rng.u64(..1_000_000)));
        fabric.kill(LEAD);
        let outcome = fabric.run(ENOUGH).unwrap_or_else(|stuck| unreachable!("{stuck:?}, {seed}"));
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("it was killed\n", 0), "seed {seed}");
    }
}
