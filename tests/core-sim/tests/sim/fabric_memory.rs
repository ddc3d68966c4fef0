//! The address space of a process on several instances: pages and areas.

use maize_abi::{Isa, Sysno};
use maize_arch_host::{DATA, Reg, Script, ScriptRegs};
use maize_core::{Coherence, FabricSettings};
use maize_core_sim::fabric::{run, window};
use maize_core_sim::on_both;
use maize_core_sim::scripts::{bump, end_thread, fork, go, start_thread, wait_until};

const SIGSEGV: u32 = 11;
const READ_WRITE: u64 = 3;
const PRIVATE: u64 = 0x22;
const SHARED: u64 = 0x21;
const FIXED: u64 = 0x10;
/// Where tests map memory.
const HERE: u64 = 0x1_0000_0000;

/// Both policies, between machines of their own, in one machine, and two machines that take turns.
pub(crate) fn policies() -> Vec<FabricSettings> {
    let machines: [&[u16]; 3] = [&[], &[0; 16], &[0, 1, 0, 1]];
    let policies = [Coherence::Directory, Coherence::Voting];
    let settings = |(coherence, machines): (_, &[u16])| FabricSettings {
        coherence,
        machines: machines.to_vec(),
        prefetch: 4,
        ..FabricSettings::default()
    };
    let all = policies.into_iter().flat_map(|policy| machines.map(|machines| (policy, machines)));
    all.map(settings).collect()
}

fn check<I: Isa>(instances: u16, s: &Script, expected: &str)
where
    I::Regs: ScriptRegs,
{
    for (seed, settings) in (1..).zip(policies()) {
        let window = (!settings.machines.starts_with(&[0, 0])).then(|| window(instances));
        let settings = FabricSettings { window, ..settings };
        let (outcome, _) = run::<I>(instances, s, &settings, seed);
        assert_eq!((outcome.stdout.as_str(), outcome.status), (expected, 0), "{settings:?}");
    }
}

fn map(s: &mut Script, at: u64, len: u64, flags: u64) {
    s.syscall_with(Sysno::Mmap, &[at, len, READ_WRITE, flags | FIXED, u64::MAX, 0]);
    s.expect(Reg::Ret, at, 80);
}

fn store(s: &mut Script, at: u64, value: u64) {
    s.imm(Reg::S(0), at).imm(Reg::S(1), value).store64(Reg::S(0), 0, Reg::S(1));
}

fn expect(s: &mut Script, at: u64, value: u64, status: u8) {
    s.imm(Reg::S(0), at).load64(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), value, status);
}

/// A thread on each of two instances that adds one to a word in turn with the other.
fn ping_pong(rounds: u64) -> Script {
    let mut s = Script::new();
    let ball = s.data(&[0; 8]);
    let done = s.data(&[0; 8]);
    let thread = s.place();
    start_thread(&mut s, 0, thread);
    for side in 0..2_u64 {
        if side == 1 {
            s.here(thread);
            go(&mut s, 1);
        }
        // Each side adds one to the ball whenever its lowest bit is the side's.
        s.imm(Reg::S(0), ball).imm(Reg::S(1), 2 * rounds + side);
        let again = s.mark();
        let wait = s.mark();
        s.load32(Reg::S(2), Reg::S(0), 0).and(Reg::S(3), Reg::S(2), 1).imm(Reg::S(4), side);
        s.if_not_equal(Reg::S(3), Reg::S(4), wait);
        s.add_imm(Reg::S(2), Reg::S(2), 1).store32(Reg::S(0), 0, Reg::S(2));
        s.if_less(Reg::S(2), Reg::S(1), again);
        if side == 0 {
            wait_until(&mut s, done, 1);
            s.print("played\n").exit(0);
        }
    }
    bump(&mut s, done);
    end_thread(&mut s);
    s
}

fn plays_ping_pong<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    check::<I>(2, &ping_pong(20), "played\n");
}

on_both!(two_instances_play_ping_pong, plays_ping_pong);

fn plays_in_the_window<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    for coherence in [Coherence::Directory, Coherence::Voting] {
        let settings = |window| FabricSettings { coherence, window, ..FabricSettings::default() };
        let counts = |rounds, settings| {
            let (outcome, fabric) = run::<I>(2, &ping_pong(rounds), &settings, 1);
            assert_eq!((outcome.stdout.as_str(), outcome.status), ("played\n", 0), "{settings:?}");
            ["sent.Page", "pages_promoted"].map(|name| fabric.counter(&format!("fabric.{name}")))
        };
        let many = 400;
        let [copied, none] = counts(many, settings(None));
        assert!(copied > 4 * many && none == 0, "each turn costs messages: {copied}");
        let [messages, promoted] = counts(many, settings(Some(window(2))));
        assert!(messages < many / 2 && promoted > 0, "{messages} messages, {promoted} pages");
    }
}

on_both!(pages_that_ping_pong_move_to_the_window, plays_in_the_window);

/// A script that goes to core 1 and writes to `pages` pages there.
fn toucher(pages: u64) -> Script {
    let mut s = Script::new();
    map(&mut s, HERE, 0x10_0000, PRIVATE);
    for page in 0..pages {
        store(&mut s, HERE + page * 4096, page);
    }
    go(&mut s, 1);
    for page in 0..pages {
        store(&mut s, HERE + page * 4096, page + 1);
    }
    s.exit(0);
    s
}

fn costs<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let counts = |pages| {
        let (outcome, fabric) = run::<I>(2, &toucher(pages), &FabricSettings::default(), 1);
        assert_eq!(outcome.status, 0);
        ["sent.Page", "bytes.Page", "pages_sent", "sent.AskArea"]
            .map(|name| fabric.counter(&format!("fabric.{name}")))
    };
    let (few, many) = (counts(4), counts(104));
    // The code is longer, too, but every instance has that.
    assert_eq!(many[0] - few[0], 200, "a request and the page, each");
    assert_eq!(many[2] - few[2], 100, "the page once");
    assert!((many[1] - few[1]) / 100 <= 40, "{} bytes besides", (many[1] - few[1]) / 100);
    assert_eq!(many[3], few[3], "the area once");
}

on_both!(a_page_miss_is_two_messages, costs);

fn shares_frames<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let counts = |pages, prefetch| {
        let settings = FabricSettings { machines: vec![0, 0], prefetch, ..Default::default() };
        let (outcome, fabric) = run::<I>(2, &toucher(pages), &settings, 1);
        assert_eq!(outcome.status, 0);
        ["sent.Page", "pages_sent", "pages_mapped"]
            .map(|name| fabric.counter(&format!("fabric.{name}")))
    };
    for (prefetch, at_once) in [(0, 1), (1, 2), (4, 5), (8, 9)] {
        let (few, many) = (counts(0, prefetch), counts(180, prefetch));
        assert_eq!(many[1], 0, "no page is copied");
        assert_eq!(many[2] - few[2], 180);
        // The script's own code is longer, too, but every instance has that.
        assert_eq!(
            many[0] - few[0],
            2 * 180 / at_once,
            "a query and its answer, prefetch {prefetch}"
        );
    }
}

on_both!(a_machine_shares_its_frames, shares_frames);

/// Threads on two instances store across the end of a page, each time to both pages at once: whoever gets
/// one keeps it until the other has come and the store is done.
fn stores_across<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const ROUNDS: u64 = 30;
    let mut s = Script::new();
    let done = s.data(&[0; 4096]);
    let thread = s.place();
    map(&mut s, HERE, 0x2000, PRIVATE);
    start_thread(&mut s, 0, thread);
    for side in 0..2_u64 {
        if side == 1 {
            s.here(thread);
            go(&mut s, 1);
        }
        s.imm(Reg::S(0), HERE + 0xffc).imm(Reg::S(1), 0).imm(Reg::S(2), ROUNDS);
        let again = s.mark();
        s.add_imm(Reg::S(1), Reg::S(1), 1).store64(Reg::S(0), 0, Reg::S(1));
        s.if_less(Reg::S(1), Reg::S(2), again);
        if side == 0 {
            wait_until(&mut s, done, 1);
            expect(&mut s, HERE + 0xffc, ROUNDS, 1);
            s.print("stored\n").exit(0);
        }
    }
    bump(&mut s, done);
    end_thread(&mut s);
    for coherence in [Coherence::Directory, Coherence::Voting] {
        for seed in 1..=4 {
            let settings = FabricSettings { coherence, ..FabricSettings::default() };
            let (outcome, fabric) = run::<I>(2, &s, &settings, seed);
            let told = (outcome.stdout.as_str(), outcome.status);
            assert_eq!(told, ("stored\n", 0), "{coherence:?}, seed {seed}");
            // Two pages for a store of each thread at the most, and a few of code, data and stacks.
            let pages = fabric.counter("fabric.pages_sent");
            assert!(pages <= 4 * ROUNDS + 30, "{coherence:?}, seed {seed}: {pages} pages");
        }
    }
}

on_both!(a_page_is_kept_until_its_access_is_done, stores_across);

fn unmaps<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    map(&mut s, HERE, 0x4000, PRIVATE);
    store(&mut s, HERE, 5);
    go(&mut s, 1);
    expect(&mut s, HERE, 5, 1);
    store(&mut s, HERE + 0x1000, 6);
    // From there: the pages are gone on both, and come back as zeros.
    s.syscall_with(Sysno::Munmap, &[HERE, 0x4000]).expect(Reg::Ret, 0, 2);
    map(&mut s, HERE, 0x4000, PRIVATE);
    expect(&mut s, HERE, 0, 3);
    expect(&mut s, HERE + 0x1000, 0, 4);
    store(&mut s, HERE + 0x1000, 7);
    go(&mut s, 0);
    expect(&mut s, HERE, 0, 5);
    expect(&mut s, HERE + 0x1000, 7, 6);
    s.syscall_with(Sysno::Madvise, &[HERE, 0x4000, 4]).expect(Reg::Ret, 0, 7);
    expect(&mut s, HERE + 0x1000, 0, 8);
    store(&mut s, HERE + 0x1000, 9);
    go(&mut s, 1);
    expect(&mut s, HERE + 0x1000, 9, 9);
    s.syscall_with(Sysno::Madvise, &[HERE, 0x4000, 4]).expect(Reg::Ret, 0, 10);
    expect(&mut s, HERE + 0x1000, 0, 11);
    s.print("zeros\n").exit(0);
    check::<I>(2, &s, "zeros\n");
}

on_both!(what_is_unmapped_is_gone_everywhere, unmaps);

/// A thread on core 1 uses a page; then the main thread makes `call`; then the thread stores.
fn takes_away<I: Isa>(call: Sysno, args: &[u64])
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let state = s.data(&[0; 8]);
    let thread = s.place();
    map(&mut s, HERE, 0x2000, PRIVATE);
    start_thread(&mut s, 0, thread);
    wait_until(&mut s, state, 1);
    s.syscall_with(call, args).expect(Reg::Ret, 0, 3);
    bump(&mut s, state);
    wait_until(&mut s, state, 9);
    s.here(thread);
    go(&mut s, 1);
    store(&mut s, HERE, 1);
    bump(&mut s, state);
    wait_until(&mut s, state, 2);
    store(&mut s, HERE, 2);
    s.exit(0);
    for settings in policies() {
        let (outcome, _) = run::<I>(2, &s, &settings, 1);
        assert_eq!(outcome.status, SIGSEGV, "{settings:?}");
    }
}

fn takes_rights_away<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    takes_away::<I>(Sysno::Munmap, &[HERE, 0x1000]);
    takes_away::<I>(Sysno::Mprotect, &[HERE, 0x1000, 1]);
}

on_both!(rights_are_taken_away_before_the_call_returns, takes_rights_away);

fn ends_objects<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    for round in 0..3 {
        map(&mut s, HERE, 0x4000, SHARED);
        expect(&mut s, HERE, 0, 1);
        go(&mut s, 1);
        store(&mut s, HERE, 5 + round);
        go(&mut s, 0);
        expect(&mut s, HERE, 5 + round, 2);
        s.syscall_with(Sysno::Munmap, &[HERE, 0x4000]).expect(Reg::Ret, 0, 3);
    }
    s.print("ended\n").exit(0);
    for settings in policies() {
        let (outcome, fabric) = run::<I>(2, &s, &settings, 1);
        assert_eq!((outcome.stdout.as_str(), outcome.status), ("ended\n", 0), "{settings:?}");
        assert_eq!(fabric.counter("fabric.received.Gone"), 3, "{settings:?}");
    }
}

on_both!(members_hear_of_the_end_of_shared_memory, ends_objects);

fn moves_mapping<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    const THERE: u64 = 0x2_0000_0000;
    const MAY_MOVE_FIXED: u64 = 3;
    let mut s = Script::new();
    map(&mut s, HERE, 0x3000, PRIVATE);
    store(&mut s, HERE, 1);
    go(&mut s, 1);
    store(&mut s, HERE + 0x1000, 2);
    s.syscall_with(Sysno::Mremap, &[HERE, 0x3000, 0x4000, MAY_MOVE_FIXED, THERE]);
    s.expect(Reg::Ret, THERE, 1);
    expect(&mut s, THERE, 1, 2);
    expect(&mut s, THERE + 0x1000, 2, 3);
    store(&mut s, THERE + 0x3000, 4);
    go(&mut s, 0);
    expect(&mut s, THERE + 0x1000, 2, 4);
    expect(&mut s, THERE + 0x3000, 4, 5);
    map(&mut s, HERE, 0x3000, PRIVATE);
    expect(&mut s, HERE, 0, 6);
    go(&mut s, 1);
    expect(&mut s, HERE + 0x1000, 0, 7);
    s.print("moved\n").exit(0);
    check::<I>(2, &s, "moved\n");
}

on_both!(mremap_takes_remote_pages_along, moves_mapping);

fn heap<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let end = s.data(&[0; 8]);
    let keep = |s: &mut Script| {
        s.imm(Reg::S(1), end).store64(Reg::S(1), 0, Reg::S(0));
    };
    go(&mut s, 1);
    s.syscall_with(Sysno::Brk, &[0]).mov(Reg::S(0), Reg::Ret);
    keep(&mut s);
    s.add_imm(Reg::A(0), Reg::S(0), 0x3000).syscall(Sysno::Brk);
    s.imm(Reg::S(1), 8).store64(Reg::S(0), 0x2000, Reg::S(1));
    go(&mut s, 2);
    s.load64(Reg::S(1), Reg::S(0), 0x2000).expect(Reg::S(1), 8, 1);
    // The heap shrinks and grows: what was cut off is zero.
    s.add_imm(Reg::A(0), Reg::S(0), 0x1000).syscall(Sysno::Brk);
    s.add_imm(Reg::A(0), Reg::S(0), 0x3000).syscall(Sysno::Brk);
    s.load64(Reg::S(1), Reg::S(0), 0x2000).expect(Reg::S(1), 0, 2);
    s.print("heap\n").exit(0);
    check::<I>(3, &s, "heap\n");
}

on_both!(the_heap_is_one, heap);

fn grows_stack<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    go(&mut s, 1);
    s.add_imm(Reg::S(0), Reg::Sp, -0x10_0000).imm(Reg::S(1), 3).store64(Reg::S(0), 0, Reg::S(1));
    go(&mut s, 0);
    s.load64(Reg::S(2), Reg::S(0), 0).expect(Reg::S(2), 3, 1).print("deep\n").exit(0);
    check::<I>(2, &s, "deep\n");
}

on_both!(the_stack_grows_from_anywhere, grows_stack);

fn forks<I: Isa>()
where
    I::Regs: ScriptRegs,
{
    let mut s = Script::new();
    let status = s.data(&[0; 8]);
    let word = DATA + 0x2_0000;
    let child = s.place();
    map(&mut s, HERE, 0x1000, SHARED);
    store(&mut s, word, 1);
    go(&mut s, 1);
    store(&mut s, word, 2);
    store(&mut s, HERE, 10);
    fork(&mut s, child);
    store(&mut s, word, 3);
    s.syscall_with(Sysno::Wait4, &[u64::MAX, status, 0, 0]);
    s.imm(Reg::S(0), status).load32(Reg::S(1), Reg::S(0), 0).expect(Reg::S(1), 0, 1);
    // Private memory is each's own, shared memory is one.
    expect(&mut s, word, 3, 2);
    expect(&mut s, HERE, 11, 3);
    go(&mut s, 0);
    expect(&mut s, word, 3, 4);
    expect(&mut s, HERE, 11, 5);
    s.print("forked\n").exit(0);
    s.here(child);
    expect(&mut s, word, 2, 6);
    go(&mut s, 2);
    expect(&mut s, word, 2, 7);
    store(&mut s, word, 4);
    store(&mut s, HERE, 11);
    go(&mut s, 0);
    expect(&mut s, word, 4, 8);
    s.exit(0);
    check::<I>(3, &s, "forked\n");
}

on_both!(a_fork_of_a_remote_thread_copies_on_write, forks);
