//! Forks: chains of shadows stay short, and nothing is lost or shown to the wrong side.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod machine;

use std::collections::VecDeque;

use maize_mm::{MapRequest, Placement, Progress, Sharing};

use machine::{FORMATS, Machine, PAGE, RW};

const AT: u64 = 0x20_0000;

#[test]
fn ten_thousand_forks_leave_no_trace() {
    let mut m = Machine::new(FORMATS[0], 256, 8);
    let s = m.space();
    m.map_at(s, AT, 8, RW);
    let mut frames = 0;
    for n in 0..10_000 {
        m.store(s, AT + n % 8 * PAGE, n).unwrap();
        let child = m.fork(s);
        m.store(child, AT + (n + 1) % 8 * PAGE, !n).unwrap();
        m.store(s, AT + (n + 2) % 8 * PAGE, n).unwrap();
        m.exit(child);
        if n == 100 {
            frames = m.used();
        } else if n > 100 {
            assert_eq!(m.used(), frames);
            assert!(m.memory.usage().objects <= 2);
        }
    }
}

#[test]
fn a_grandchild_for_each_generation_leaves_no_trace() {
    // Each process forks and exits, as daemons do: the chain grows at the other end.
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let mut s = m.space();
        m.map_at(s, AT, 4, RW);
        for n in 0..2000 {
            m.store(s, AT + n % 4 * PAGE, n).unwrap();
            let child = m.fork(s);
            m.exit(s);
            s = child;
            assert_eq!(m.load(s, AT + n % 4 * PAGE), Ok(n));
        }
        assert!(m.used() < 20, "{} frames", m.used());
        assert!(m.memory.usage().objects <= 3);
    }
}

#[test]
fn many_children_that_live_do_not_make_the_chain_deep() {
    for format in FORMATS {
        let mut m = Machine::new(format, 8192, 8);
        let s = m.space();
        m.map_at(s, AT, 4, RW);
        let mut children = VecDeque::new();
        for n in 0..600 {
            m.store(s, AT + n % 4 * PAGE, n).unwrap();
            children.push_back((n, m.fork(s)));
            m.settle();
            if children.len() > 200 {
                let (_, oldest) = children.pop_front().unwrap();
                m.exit(oldest);
            }
        }
        assert!(m.memory.deepest_chain() <= 20, "{} deep", m.memory.deepest_chain());
        for (n, child) in children {
            for page in 0..4 {
                // The last store at or before the fork.
                let value = n - (n + 4 - page) % 4;
                assert_eq!(m.load(child, AT + page * PAGE), Ok(value));
                m.store(child, AT + page * PAGE, 1).unwrap();
            }
            m.exit(child);
        }
        m.exit(s);
        assert_eq!((m.used(), m.memory.usage().objects), (0, 0));
    }
}

#[test]
fn three_generations_see_what_was_theirs() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let s = m.space();
        m.map_at(s, AT, 2, RW);
        m.store(s, AT, 1).unwrap();
        m.store(s, AT + PAGE, 1).unwrap();
        let child = m.fork(s);
        m.store(child, AT + PAGE, 2).unwrap();
        // The child drops and maps anew what it inherited, then forks: its child must see zero
        // although the oldest object still has the page.
        m.unmap(child, AT, PAGE).unwrap();
        m.map_at(child, AT, 1, RW);
        let grandchild = m.fork(child);
        m.store(child, AT + PAGE, 3).unwrap();
        m.exit(child);
        assert_eq!([m.load(grandchild, AT), m.load(grandchild, AT + PAGE)], [Ok(0), Ok(2)]);
        assert_eq!([m.load(s, AT), m.load(s, AT + PAGE)], [Ok(1), Ok(1)]);
        m.exit(s);
        assert_eq!([m.load(grandchild, AT), m.load(grandchild, AT + PAGE)], [Ok(0), Ok(2)]);
    }
}

#[test]
fn a_page_is_not_copied_for_the_last_who_has_it() {
    let mut m = Machine::new(FORMATS[0], 256, 8);
    let s = m.space();
    m.map_at(s, AT, 16, RW);
    for n in 0..16 {
        m.store(s, AT + n * PAGE, n).unwrap();
    }
    let used = m.used();
    let child = m.fork(s);
    m.exit(child);
    for n in 0..16 {
        m.store(s, AT + n * PAGE, n + 1).unwrap();
    }
    assert_eq!(m.used(), used);
}

#[test]
fn shared_memory_stays_shared() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let s = m.space();
        let mut shared = MapRequest::anonymous(Placement::Fixed(AT), 2 * PAGE, RW);
        shared.sharing = Sharing::Shared;
        m.map(s, &shared).unwrap();
        let child = m.fork(s);
        m.store(child, AT, 5).unwrap();
        assert_eq!(m.load(s, AT), Ok(5));
        m.exit(s);
        assert_eq!(m.load(child, AT), Ok(5));
        m.exit(child);
        assert_eq!((m.used(), m.memory.usage().objects), (0, 0));
    }
}

#[test]
fn a_fork_may_take_many_steps_while_the_parent_runs() {
    for format in FORMATS {
        let mut m = Machine::new(format, 4096, 8);
        let s = m.space();
        m.map_at(s, AT, 1500, RW);
        for n in 0..1500 {
            m.store(s, AT + n * PAGE, n).unwrap();
        }
        let child = m.memory.fork_space(&mut m.hw, s).unwrap();
        let mut steps = 0;
        while m.memory.advance(&mut m.hw, s, &mut maize_mm::Budget::new(64)) == Progress::More {
            assert_eq!(m.hw.violation(), None);
            // Stores of other threads during the fork may or may not reach the child, but each
            // page is all old or all new, and after the fork the two are apart.
            let page = steps * 37 % 1500;
            m.store(s, AT + page * PAGE, 9_000).unwrap();
            m.store(s, AT + page * PAGE + 8, 9_000).unwrap();
            steps += 1;
        }
        // The granule of a step is one last-level table.
        assert!(steps >= 3, "{steps} steps");
        for n in 0..1500 {
            let found = [m.load(child, AT + n * PAGE), m.load(child, AT + n * PAGE + 8)];
            let (old, new) = ([Ok(n), Ok(0)], [Ok(9_000), Ok(9_000)]);
            assert!(found == old || found == new, "page {n}: {found:?}");
            m.store(s, AT + n * PAGE, 1).unwrap();
            assert_eq!(m.load(child, AT + n * PAGE), found[0]);
        }
    }
}
