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

#[test]
fn what_was_dropped_stays_dropped_when_objects_merge() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let s = m.space();
        m.map_at(s, AT, 4, RW);
        let store_all = |m: &mut Machine, value| {
            (0..4).for_each(|n| m.store(s, AT + n * PAGE, value).unwrap());
        };
        store_all(&mut m, 1);
        let eldest = m.fork(s);
        store_all(&mut m, 2);
        let second = m.fork(s);
        m.unmap(s, AT, PAGE).unwrap();
        m.map_at(s, AT, 1, RW);
        // What `s` and the second child shared goes to `s`; the eldest's is still below it.
        m.exit(second);
        assert_eq!([m.load(s, AT), m.load(s, AT + PAGE)], [Ok(0), Ok(2)]);
        assert_eq!(m.load(eldest, AT), Ok(1));
    }
}

/// A family of processes in random order, with background work done a little at a time, so that
/// chains are long and half merged.
#[test]
fn a_large_family_keeps_its_pages_apart() {
    const PAGES: u64 = 6;
    for format in FORMATS {
        let mut m = Machine::new(format, 8192, 8);
        let first = m.space();
        m.map_at(first, AT, PAGES, RW);
        let mut family = vec![(first, [0; PAGES as usize])];
        let mut random = 88_172_645_463_325_252_u64;
        let mut next = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let mut deepest = 0;
        for n in 0..3000 {
            let who = next(family.len() as u64) as usize;
            let (count, eldest) = (family.len(), family[0]);
            let (space, pages) = &mut family[who];
            match next(16) {
                // Mostly the eldest forks, so that its chain grows.
                0..=3 if count < 60 => {
                    let (space, pages) = if next(4) == 0 { (*space, *pages) } else { eldest };
                    let child = m.fork(space);
                    family.push((child, pages));
                }
                4 if who > 0 => m.memory.destroy_space(family.swap_remove(who).0),
                5..=6 => {
                    let budget = &mut maize_mm::Budget::new(next(12) as u32 + 1);
                    let _ = m.memory.run_background(&mut m.hw, budget);
                    deepest = deepest.max(m.memory.deepest_chain());
                }
                7..=9 => {
                    let page = next(PAGES);
                    assert_eq!(m.load(*space, AT + page * PAGE), Ok(pages[page as usize]));
                }
                _ => {
                    let page = next(PAGES);
                    m.store(*space, AT + page * PAGE, n + 1).unwrap();
                    pages[page as usize] = n + 1;
                }
            }
            assert_eq!(m.hw.violation(), None);
        }
        assert!(deepest > 16, "chains were only {deepest} deep");
        for (space, pages) in family {
            for (n, value) in pages.into_iter().enumerate() {
                assert_eq!(m.load(space, AT + n as u64 * PAGE), Ok(value));
            }
            m.exit(space);
        }
        assert_eq!((m.used(), m.memory.usage().objects), (0, 0));
    }
}

/// Between any two steps of the work that keeps a long chain short, every process may write.
#[test]
fn writing_is_right_at_every_point_of_flattening() {
    for steps in 0..120 {
        let mut m = Machine::new(FORMATS[0], 512, 8);
        let s = m.space();
        m.map_at(s, AT, 4, RW);
        let mut pages = [0; 4];
        let children: Vec<_> = (1..=20)
            .map(|n| {
                m.store(s, AT + n % 4 * PAGE, n).unwrap();
                pages[(n % 4) as usize] = n;
                (m.fork(s), pages)
            })
            .collect();
        for _ in 0..steps {
            let _ = m.memory.run_background(&mut m.hw, &mut maize_mm::Budget::new(1));
        }
        let read = |m: &mut Machine, space| [0, 1, 2, 3].map(|n| m.load(space, AT + n * PAGE));
        for (n, &(child, pages)) in (100..).zip(&children) {
            assert_eq!(read(&mut m, child), pages.map(Ok), "after {steps} steps");
            (0..4).for_each(|page| m.store(child, AT + page * PAGE, n).unwrap());
        }
        assert_eq!(read(&mut m, s), pages.map(Ok), "after {steps} steps");
        for (n, &(child, _)) in (100..).zip(&children) {
            assert_eq!(read(&mut m, child), [Ok(n); 4], "after {steps} steps");
        }
        assert_eq!(m.hw.violation(), None);
    }
}

/// What the area at an address takes: pages that several spaces have, and this one's own.
fn taken(m: &Machine, s: maize_mm::SpaceId) -> [u64; 4] {
    let area = m.memory.area(s, AT).unwrap();
    let usage = m.memory.area_usage(area);
    assert_eq!((usage.shared_clean, usage.private_clean), (0, 0));
    [usage.shared_dirty, usage.private_dirty, usage.anonymous, usage.proportional]
        .map(|bytes| bytes / (PAGE / 2))
}

#[test]
fn what_a_fork_shares_is_told() {
    let mut m = Machine::new(FORMATS[0], 256, 8);
    let s = m.space();
    m.map_at(s, AT, 4, RW);
    assert_eq!(taken(&m, s), [0; 4]);
    m.store(s, AT, 1).unwrap();
    m.store(s, AT + PAGE, 2).unwrap();
    // In halves of pages.
    assert_eq!(taken(&m, s), [0, 4, 4, 4]);
    let child = m.fork(s);
    assert_eq!((taken(&m, s), taken(&m, child)), ([4, 0, 4, 2], [4, 0, 4, 2]));
    m.store(child, AT + 2 * PAGE, 3).unwrap();
    assert_eq!((taken(&m, s), taken(&m, child)), ([4, 0, 4, 2], [4, 2, 6, 4]));
    m.exit(child);
    m.store(s, AT, 4).unwrap();
    assert_eq!(taken(&m, s), [0, 4, 4, 4]);
}
