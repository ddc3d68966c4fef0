//! Changes of areas while pages and areas are on their way.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{Reg, Script, ScriptRegs};
use maize_core::{Coherence, FabricSettings};
use maize_core_sim::fabric::run;
use maize_core_sim::scripts::{bump, end_thread, go, start_thread, wait_until};
use maize_core_sim::{on_both, seeds};

const PAGE: u64 = 4096;
const READ_WRITE: u64 = 3;
const PRIVATE: u64 = 0x22;
const SHARED: u64 = 0x21;
const FIXED: u64 = 0x10;
/// Where tests map memory.
const HERE: u64 = 0x1_0000_0000;

fn settings(coherence: Coherence, prefetch: u8) -> FabricSettings {
    FabricSettings { coherence, prefetch, ..FabricSettings::default() }
}

const POLICIES: [Coherence; 2] = [Coherence::Directory, Coherence::Voting];

fn map(s: &mut Script, at: u64, len: u64, flags: u64) {
    s.syscall_with(Sysno::Mmap, &[at, len, READ_WRITE, flags, u64::MAX, 0]);
    s.expect(Reg::Ret, at, 80);
}

fn store(s: &mut Script, at: u64, value: u64) {
    s.imm(Reg::S(0), at).imm(Reg::S(1), value).store64(Reg::S(0), 0, Reg::S(1));
}

fn load(s: &mut Script, at: u64) {
    s.imm(Reg::S(0), at).load64(Reg::S(1), Reg::S(0), 0);
}

fn expect(s: &mut Script, at: u64, value: u64, status: u8) {
    load(s, at);
    s.expect(Reg::S(1), value, status);
}

/// A run of misses at the home leads to pages that nobody else has ever had.
fn reads_on<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let first = s.data(&[7; 10 * PAGE as usize]).next_multiple_of(PAGE);
    go(&mut s, 1);
    for page in 0..3 {
        store(&mut s, first + page * PAGE, page);
    }
    go(&mut s, 0);
    for page in 0..3 {
        expect(&mut s, first + page * PAGE, page, 1);
    }
    for page in 3..9 {
        expect(&mut s, first + page * PAGE, 0x0707_0707_0707_0707, 2);
    }
    s.print("its own\n").exit(0);
    for coherence in POLICIES {
        let (outcome, _) = run::<I>(2, &s, &settings(coherence, 8), 1);
        assert_eq!((outcome.stdout.as_str(), outcome.status), ("its own\n", 0), "{coherence:?}");
    }
}

on_both!(a_home_keeps_pages_that_nobody_asked_for, reads_on);

/// An instance learns of an area while its home takes a part of it away.
fn learns_late<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const ROUNDS: u64 = 20;
    let mut s = Script::new();
    let [ready, touched, mapped] = [(); 3].map(|()| s.data(&[0; PAGE as usize]));
    let thread = s.place();
    start_thread(&mut s, 0, thread);
    for round in 1..=ROUNDS {
        let at = HERE + round * 0x10_000;
        map(&mut s, at, 2 * PAGE, PRIVATE | FIXED);
        bump(&mut s, ready);
        s.spin(round as usize * 8);
        s.syscall_with(Sysno::Munmap, &[at + PAGE, PAGE]).expect(Reg::Ret, 0, 1);
        map(&mut s, at + PAGE, PAGE, SHARED);
        store(&mut s, at + PAGE, round);
        wait_until(&mut s, touched, round);
        bump(&mut s, mapped);
    }
    wait_until(&mut s, touched, ROUNDS + 1);
    s.print("as it is\n").exit(0);
    s.here(thread);
    go(&mut s, 1);
    for round in 1..=ROUNDS {
        let at = HERE + round * 0x10_000;
        wait_until(&mut s, ready, round);
        load(&mut s, at);
        bump(&mut s, touched);
        wait_until(&mut s, mapped, round);
        expect(&mut s, at + PAGE, round, 2);
    }
    bump(&mut s, touched);
    end_thread(&mut s);
    for coherence in POLICIES {
        for seed in 1..=3 {
            let (outcome, _) = run::<I>(2, &s, &settings(coherence, 0), seed);
            let told = (outcome.stdout.as_str(), outcome.status);
            assert_eq!(told, ("as it is\n", 0), "{coherence:?}, seed {seed}");
        }
    }
}

on_both!(an_area_that_changes_on_its_way_is_asked_for_again, learns_late);

/// An instance touches pages of which it and their home know nothing yet, while they are dropped: its
/// request may be one for a life of a page that is over by the time that it is heard.
fn drops_what_is_asked_for<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const PLACES: u64 = 32;
    const APART: u64 = 0x10_000;
    const MADV_DONTNEED: u64 = 4;
    let mut s = Script::new();
    let [turn, touched] = [(); 2].map(|()| s.data(&[0; PAGE as usize]));
    let thread = s.place();
    map(&mut s, HERE, PLACES * APART, PRIVATE | FIXED);
    start_thread(&mut s, 0, thread);
    wait_until(&mut s, touched, 1);
    for place in 0..PLACES {
        bump(&mut s, turn);
        for _ in 0..place % 16 {
            s.syscall_with(Sysno::SchedYield, &[]);
        }
        let at = HERE + place * APART;
        s.syscall_with(Sysno::Madvise, &[at, APART, MADV_DONTNEED]).expect(Reg::Ret, 0, 1);
    }
    wait_until(&mut s, touched, 1 + PLACES);
    s.print("dropped\n").exit(0);

    s.here(thread);
    go(&mut s, 1);
    bump(&mut s, touched);
    for place in 0..PLACES {
        wait_until(&mut s, turn, 1 + place);
        for _ in 0..2 {
            store(&mut s, HERE + place * APART, 5);
        }
        bump(&mut s, touched);
    }
    end_thread(&mut s);
    for coherence in POLICIES {
        for seed in seeds(3) {
            let (outcome, fabric) = run::<I>(2, &s, &settings(coherence, 0), seed);
            let told = (outcome.stdout.as_str(), outcome.status);
            assert_eq!(told, ("dropped\n", 0), "{coherence:?}, seed {seed}");
            assert_eq!(fabric.counter("fabric.malformed"), 0, "{coherence:?}, seed {seed}");
        }
    }
}

on_both!(pages_are_dropped_that_are_being_asked_for, drops_what_is_asked_for);

/// An instance that maps for its sibling fetches ahead beyond the end of an area. Later there is another
/// area, of which nobody is told, and whoever touches its pages must get them.
fn asks_for_what_nobody_sees<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const PAGES: u64 = 6;
    const FAR: u64 = HERE + 0x10_0000;
    let behind = HERE + PAGES * PAGE;
    let mut s = Script::new();
    map(&mut s, HERE, PAGES * PAGE, PRIVATE);
    map(&mut s, FAR, PAGE, PRIVATE);
    // Nothing but this one tells the lead how far it may fetch ahead.
    go(&mut s, 1);
    load(&mut s, FAR);
    go(&mut s, 2);
    for page in 0..PAGES {
        load(&mut s, HERE + page * PAGE);
    }
    go(&mut s, 0);
    map(&mut s, behind, PAGES * PAGE, PRIVATE);
    for (page, first, then) in [(0, 2, 1), (1, 3, 2), (2, 0, 2), (3, 2, 0)] {
        let at = behind + page * PAGE;
        go(&mut s, first);
        store(&mut s, at, 40 + page);
        go(&mut s, then);
        expect(&mut s, at, 40 + page, 1);
        store(&mut s, at, 50 + page);
        go(&mut s, first);
        expect(&mut s, at, 50 + page, 2);
    }
    s.print("all there\n").exit(0);
    for coherence in POLICIES {
        let machines = vec![0, 1, 1, 2];
        let settings = FabricSettings { machines, ..settings(coherence, 8) };
        let (outcome, fabric) = run::<I>(4, &s, &settings, 1);
        let told = (outcome.stdout.as_str(), outcome.status);
        assert_eq!(told, ("all there\n", 0), "{coherence:?}");
        assert!(fabric.counter("fabric.unseen_pages") > 0, "{coherence:?}");
        assert_eq!(fabric.counter("fabric.malformed"), 0, "{coherence:?}");
    }
}

on_both!(a_page_that_nobody_sees_yet_can_be_asked_for, asks_for_what_nobody_sees);
