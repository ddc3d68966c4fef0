//! What each operation does and refuses, on both page-table formats.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod machine;

use maize_abi::Errno;
use maize_abi::pte::Access;
use maize_mm::{
    Advice, AreaFlags, Backing, FaultError, Limits, MapError, MapRequest, OldRange, PageStore,
    Placement, Relocation, Sharing, SpaceId,
};
use proptest::prelude::*;

use machine::{FORMATS, LAYOUT, Machine, PAGE, RW, image_byte};

const AT: u64 = 0x20_0000;

fn both(test: impl Fn(Machine)) {
    for format in FORMATS {
        test(Machine::new(format, 4096, 8));
    }
}

/// The areas of a space as `(start page, pages)` relative to `AT`.
fn areas(m: &Machine, space: SpaceId) -> Vec<(u64, u64)> {
    m.memory
        .areas(space)
        .unwrap()
        .map(|a| ((a.start - AT) / PAGE, (a.end - a.start) / PAGE))
        .collect()
}

fn anonymous(placement: Placement, pages: u64) -> MapRequest {
    MapRequest::anonymous(placement, pages * PAGE, RW)
}

#[test]
fn neighbours_that_mean_the_same_are_one_area() {
    both(|mut m| {
        let s = m.space();
        m.map_at(s, AT, 2, RW);
        m.map_at(s, AT + 4 * PAGE, 2, RW);
        assert_eq!(areas(&m, s), [(0, 2), (4, 2)]);
        m.map_at(s, AT + 2 * PAGE, 2, RW);
        assert_eq!(areas(&m, s), [(0, 6)]);
        m.protect(s, (AT + PAGE, 2 * PAGE), Access::READ).unwrap();
        assert_eq!(areas(&m, s), [(0, 1), (1, 2), (3, 3)]);
        m.protect(s, (AT + PAGE, 2 * PAGE), RW).unwrap();
        assert_eq!(areas(&m, s), [(0, 6)]);
        m.unmap(s, AT + PAGE, PAGE).unwrap();
        assert_eq!(areas(&m, s), [(0, 1), (2, 4)]);
    });
}

#[test]
fn mappings_are_placed_top_down_and_fill_gaps() {
    both(|mut m| {
        let s = m.space();
        let first = m.map(s, &anonymous(Placement::Anywhere(0), 4)).unwrap();
        assert_eq!(first, LAYOUT.mmap_top - 4 * PAGE);
        let second = m.map(s, &anonymous(Placement::Anywhere(0), 4)).unwrap();
        assert_eq!(second, first - 4 * PAGE);
        m.unmap(s, first, 2 * PAGE).unwrap();
        // Too large for the gap, then just right, then one that has to go below again.
        let third = m.map(s, &anonymous(Placement::Anywhere(0), 3)).unwrap();
        assert_eq!(third, second - 3 * PAGE);
        assert_eq!(m.map(s, &anonymous(Placement::Anywhere(0), 2)).unwrap(), first);
        let fifth = m.map(s, &anonymous(Placement::Anywhere(0), 1)).unwrap();
        assert_eq!(fifth, third - PAGE);
        // A hint that is free is taken, one that is not is ignored.
        assert_eq!(m.map(s, &anonymous(Placement::Anywhere(AT + 5), 1)), Ok(AT));
        assert_eq!(m.map(s, &anonymous(Placement::Anywhere(AT), 1)), Ok(fifth - PAGE));
    });
}

#[test]
fn mmap_refuses_as_linux_does() {
    both(|mut m| {
        let s = m.space();
        let errno = |m: &mut Machine, r: &MapRequest| m.map(s, r).map_err(MapError::errno);
        let fixed = |at: u64, len: u64| MapRequest::anonymous(Placement::Fixed(at), len, RW);
        assert_eq!(errno(&mut m, &fixed(AT, 0)), Err(Errno::EINVAL));
        assert_eq!(errno(&mut m, &fixed(AT + 1, 1)), Err(Errno::EINVAL));
        assert_eq!(errno(&mut m, &fixed(AT, u64::MAX)), Err(Errno::ENOMEM));
        assert_eq!(errno(&mut m, &fixed(AT, LAYOUT.end - AT + 1)), Err(Errno::ENOMEM));
        assert_eq!(errno(&mut m, &fixed(LAYOUT.end, PAGE)), Err(Errno::ENOMEM));
        assert_eq!(errno(&mut m, &fixed(0, PAGE)), Err(Errno::EPERM));
        let huge = MapRequest::anonymous(Placement::Anywhere(0), LAYOUT.end, RW);
        assert_eq!(errno(&mut m, &huge), Err(Errno::ENOMEM));
        m.map_at(s, AT, 1, RW);
        let again = anonymous(Placement::FixedFree(AT), 1);
        assert_eq!(errno(&mut m, &again), Err(Errno::EEXIST));
        let object = m.memory.store(&mut m.hw).create(PAGE).unwrap();
        let mut file = MapRequest {
            sharing: Sharing::Shared,
            backing: Backing::Object { object, offset: 1 },
            ..anonymous(Placement::Anywhere(0), 1)
        };
        assert_eq!(errno(&mut m, &file), Err(Errno::EINVAL));
        file.backing = Backing::Object { object, offset: !(PAGE - 1) };
        assert_eq!(errno(&mut m, &file), Err(Errno::EOVERFLOW));
        m.memory.store(&mut m.hw).release(object);
        file.backing = Backing::Object { object, offset: 0 };
        assert_eq!(errno(&mut m, &file), Err(Errno::EBADF));
        assert_eq!(areas(&m, s), [(0, 1)]);
    });
}

#[test]
fn more_than_the_machine_has_needs_noreserve() {
    both(|mut m| {
        let s = m.space();
        let mut big = anonymous(Placement::Anywhere(0), 5000);
        assert_eq!(m.map(s, &big), Err(MapError::OutOfMemory));
        big.flags = AreaFlags::NO_RESERVE;
        assert!(m.map(s, &big).is_ok());
        let reserved = MapRequest::anonymous(Placement::Anywhere(0), 1 << 40, Access::empty());
        assert!(m.map(s, &reserved).is_ok());
    });
}

#[test]
fn limits_of_the_process_are_observed() {
    both(|mut m| {
        let s = m.space();
        let limits = Limits { address_space: 8 * PAGE, data: 3 * PAGE, stack: 4 * PAGE };
        m.memory.set_limits(s, limits).unwrap();
        m.memory.set_heap_start(s, AT).unwrap();
        assert_eq!(m.memory.brk(&mut m.hw, s, AT + 3 * PAGE), Ok(AT + 3 * PAGE));
        assert_eq!(m.memory.brk(&mut m.hw, s, AT + 3 * PAGE + 1), Ok(AT + 3 * PAGE));
        assert_eq!(m.map(s, &anonymous(Placement::Anywhere(0), 6)), Err(MapError::Limit));
        assert!(m.map(s, &anonymous(Placement::Anywhere(0), 5)).is_ok());
        // What is replaced does not count twice.
        assert!(m.map(s, &anonymous(Placement::Fixed(AT), 3)).is_ok());
        assert_eq!(
            m.memory.remap(
                &mut m.hw,
                s,
                (AT, PAGE),
                2 * PAGE,
                Relocation::MayMove,
                OldRange::Unmapped
            ),
            Err(MapError::Limit)
        );
    });
}

#[test]
fn a_stack_grows_to_its_limit_and_not_into_others() {
    both(|mut m| {
        let s = m.space();
        m.memory.set_limits(s, Limits { stack: 1000 * PAGE, ..Limits::default() }).unwrap();
        let top = AT + 1200 * PAGE;
        let mut stack = anonymous(Placement::Fixed(top - PAGE), 1);
        stack.flags = AreaFlags::GROWS_DOWN | AreaFlags::STACK;
        m.map(s, &stack).unwrap();
        assert_eq!(m.store(s, top - 900 * PAGE, 7), Ok(()));
        assert_eq!(areas(&m, s), [(300, 900)]);
        assert_eq!(m.load(s, top - 900 * PAGE), Ok(7));
        assert_eq!(m.load(s, top - 400 * PAGE), Ok(0));
        assert_eq!(m.store(s, top - 1001 * PAGE, 7), Err(FaultError::NoMapping));
        // 256 pages stay free between a stack and what is below.
        m.map_at(s, AT, 1, RW);
        assert_eq!(m.store(s, AT + 256 * PAGE, 7), Err(FaultError::NoMapping));
        assert_eq!(m.store(s, AT + 257 * PAGE, 7), Ok(()));
        // Nor is anything placed there.
        let hinted = m.map(s, &anonymous(Placement::Anywhere(AT + 200 * PAGE), 1)).unwrap();
        assert_ne!(hinted, AT + 200 * PAGE);
    });
}

#[test]
fn munmap_and_mprotect_refuse_as_linux_does() {
    both(|mut m| {
        let s = m.space();
        m.map_at(s, AT, 2, RW);
        assert_eq!(m.unmap(s, AT + 1, PAGE), Err(MapError::Misaligned));
        assert_eq!(m.unmap(s, AT, 0), Err(MapError::Empty));
        for (start, len) in [(AT, u64::MAX), (LAYOUT.end, PAGE), (!(PAGE - 1), PAGE)] {
            assert_eq!(m.unmap(s, start, len).map_err(MapError::errno), Err(Errno::EINVAL));
            assert_eq!(m.protect(s, (start, len), RW).map_err(MapError::errno), Err(Errno::ENOMEM));
        }
        assert_eq!(m.unmap(s, AT + 100 * PAGE, PAGE), Ok(()));
        assert_eq!(m.protect(s, (AT, 0), RW), Ok(()));
        assert_eq!(m.protect(s, (AT + 3, PAGE), RW), Err(MapError::Misaligned));
        // Up to the hole it is done.
        assert_eq!(m.protect(s, (AT, 3 * PAGE), Access::READ), Err(MapError::NotMapped));
        assert_eq!(m.store(s, AT + PAGE, 1), Err(FaultError::Denied));
        assert_eq!(m.protect(s, (AT, 2 * PAGE), Access::empty()), Ok(()));
        assert_eq!(m.load(s, AT), Err(FaultError::Denied));
        // Whoever may store or fetch may load.
        assert_eq!(m.protect(s, (AT, PAGE), Access::WRITE), Ok(()));
        assert_eq!(m.load(s, AT), Ok(0));
        assert_eq!(m.fetch(s, AT), Err(FaultError::Denied));
    });
}

#[test]
fn code_written_and_then_made_executable_is_fetched_as_written() {
    both(|mut m| {
        let s = m.space();
        m.map_at(s, AT, 1, RW);
        m.store(s, AT, 0x1234_5678).unwrap();
        m.protect(s, (AT, PAGE), Access::READ | Access::EXECUTE).unwrap();
        assert_eq!(m.fetch(s, AT), Ok(0x1234_5678));
        // A private copy of a file's page too.
        let mut file = anonymous(Placement::Fixed(AT), 1);
        let object = m.memory.store(&mut m.hw).create_from_image(0, PAGE).unwrap();
        file.backing = Backing::Object { object, offset: 0 };
        file.access = Access::all();
        m.map(s, &file).unwrap();
        let expected = u32::from_le_bytes([0, 1, 2, 3].map(image_byte));
        assert_eq!(m.fetch(s, AT), Ok(expected));
        m.store(s, AT + 8, 9).unwrap();
        assert_eq!(m.fetch(s, AT), Ok(expected));
    });
}

fn remap(
    m: &mut Machine,
    s: SpaceId,
    old: (u64, u64),
    new: u64,
    to: Relocation,
) -> Result<u64, MapError> {
    let result = m.memory.remap(&mut m.hw, s, old, new, to, OldRange::Unmapped);
    m.finish(s);
    result
}

#[test]
fn mremap_grows_in_place_moves_and_shrinks() {
    both(|mut m| {
        let s = m.space();
        m.map_at(s, AT, 4, RW);
        m.map_at(s, AT + 8 * PAGE, 1, RW);
        for n in 0..4 {
            m.store(s, AT + n * PAGE, 100 + n).unwrap();
        }
        let old = (AT, 4 * PAGE);
        assert_eq!(remap(&mut m, s, old, 8 * PAGE, Relocation::Stay), Ok(AT));
        assert_eq!(m.load(s, AT + 7 * PAGE), Ok(0));
        let old = (AT, 8 * PAGE);
        assert_eq!(remap(&mut m, s, old, 9 * PAGE, Relocation::Stay), Err(MapError::NoRoom));
        let to = remap(&mut m, s, old, 9 * PAGE, Relocation::MayMove).unwrap();
        assert_eq!(m.load(s, AT), Err(FaultError::NoMapping));
        for n in 0..4 {
            assert_eq!(m.load(s, to + n * PAGE), Ok(100 + n));
        }
        assert_eq!(remap(&mut m, s, (to, 9 * PAGE), 2 * PAGE, Relocation::Stay), Ok(to));
        assert_eq!(m.load(s, to + 2 * PAGE), Err(FaultError::NoMapping));
        let back = remap(&mut m, s, (to, 2 * PAGE), 3 * PAGE, Relocation::MoveTo(AT));
        assert_eq!(back, Ok(AT));
        assert_eq!([0, 1, 2].map(|n| m.load(s, AT + n * PAGE)), [Ok(100), Ok(101), Ok(0)]);
    });
}

#[test]
fn mremap_refuses_as_linux_does() {
    both(|mut m| {
        let s = m.space();
        m.map_at(s, AT, 2, RW);
        m.map_at(s, AT + 2 * PAGE, 2, Access::READ);
        let mut errno = |old: (u64, u64), new: u64, to: Relocation| {
            remap(&mut m, s, old, new, to).map_err(MapError::errno)
        };
        let may = Relocation::MayMove;
        assert_eq!(errno((AT + 1, PAGE), PAGE, may), Err(Errno::EINVAL));
        assert_eq!(errno((AT, PAGE), 0, may), Err(Errno::EINVAL));
        assert_eq!(errno((AT, PAGE), u64::MAX, may), Err(Errno::EINVAL));
        assert_eq!(errno((AT - PAGE, PAGE), 2 * PAGE, may), Err(Errno::EFAULT));
        assert_eq!(errno((AT, 4 * PAGE), 5 * PAGE, may), Err(Errno::EFAULT));
        assert_eq!(errno((AT, 0), PAGE, may), Err(Errno::EINVAL));
        assert_eq!(errno((AT, PAGE), PAGE, Relocation::MoveTo(AT)), Err(Errno::EINVAL));
        assert_eq!(errno((AT, PAGE), PAGE, Relocation::MoveTo(AT + 9)), Err(Errno::EINVAL));
        assert_eq!(errno((AT, PAGE), PAGE, Relocation::MoveTo(LAYOUT.end)), Err(Errno::EINVAL));
        assert_eq!(errno((AT, PAGE), LAYOUT.end, may), Err(Errno::ENOMEM));
    });
}

#[test]
fn mremap_of_nothing_maps_shared_memory_twice() {
    both(|mut m| {
        let s = m.space();
        let mut shared = anonymous(Placement::Fixed(AT), 2);
        shared.sharing = Sharing::Shared;
        m.map(s, &shared).unwrap();
        let twin = remap(&mut m, s, (AT, 0), 2 * PAGE, Relocation::MayMove).unwrap();
        m.store(s, AT + PAGE, 5).unwrap();
        assert_eq!(m.load(s, twin + PAGE), Ok(5));
        m.unmap(s, AT, 2 * PAGE).unwrap();
        assert_eq!(m.load(s, twin + PAGE), Ok(5));
    });
}

#[test]
fn what_moved_away_under_a_fork_does_not_show_again() {
    both(|mut m| {
        let s = m.space();
        m.map_at(s, AT, 3, RW);
        for n in 0..3 {
            m.store(s, AT + n * PAGE, 10 + n).unwrap();
        }
        let child = m.fork(s);
        let to = AT + 0x100 * PAGE;
        let middle = (AT + PAGE, PAGE);
        assert_eq!(remap(&mut m, s, middle, PAGE, Relocation::MoveTo(to)), Ok(to));
        m.map_at(s, AT + PAGE, 1, RW);
        assert_eq!(m.load(s, AT + PAGE), Ok(0), "the moved page's old content");
        // Growing where it is must not show what the parent object has at the next index.
        assert_eq!(remap(&mut m, s, (to, PAGE), 2 * PAGE, Relocation::Stay), Ok(to));
        assert_eq!([m.load(s, to), m.load(s, to + PAGE)], [Ok(11), Ok(0)]);
        assert_eq!([0, 1, 2].map(|n| m.load(child, AT + n * PAGE)), [Ok(10), Ok(11), Ok(12)]);
    });
}

#[test]
fn pages_touched_while_a_range_moves_move_with_it() {
    both(|mut m| {
        let s = m.space();
        m.map_at(s, AT, 64, RW);
        let to = AT + 0x1000 * PAGE;
        let old = (AT, 64 * PAGE);
        m.budget = 1;
        let moved = m.memory.remap(
            &mut m.hw,
            s,
            old,
            64 * PAGE,
            Relocation::MoveTo(to),
            OldRange::Unmapped,
        );
        assert_eq!(moved, Ok(to));
        let mut steps = 0;
        loop {
            // Another thread of the program stores all the while.
            if m.store(s, AT + 5 * PAGE, 77).is_err() {
                break;
            }
            steps += 1;
            assert!(steps < 100, "the old place stays mapped");
            let _ = m.memory.advance(&mut m.hw, s, &mut maize_mm::Budget::new(1));
            assert_eq!(m.hw.violation(), None);
        }
        assert!(steps > 1);
        assert_eq!(m.load(s, to + 5 * PAGE), Ok(77));
        assert_eq!(m.load(s, AT + 5 * PAGE), Err(FaultError::NoMapping));
    });
}

#[test]
fn advice_is_checked() {
    both(|mut m| {
        let s = m.space();
        m.map_at(s, AT, 2, RW);
        let object = m.memory.store(&mut m.hw).create(PAGE).unwrap();
        let mut file = anonymous(Placement::Fixed(AT + 2 * PAGE), 1);
        file.backing = Backing::Object { object, offset: 0 };
        m.map(s, &file).unwrap();
        let mut advise = |start, len, advice| m.memory.advise(&mut m.hw, s, start, len, advice);
        assert_eq!(advise(AT + 1, PAGE, Advice::None), Err(MapError::Misaligned));
        assert_eq!(advise(AT, 0, Advice::DontNeed), Ok(()));
        assert_eq!(advise(AT, u64::MAX, Advice::DontNeed), Err(MapError::BadRange));
        assert_eq!(advise(AT, 4 * PAGE, Advice::None), Err(MapError::NotMapped));
        assert_eq!(advise(AT, 3 * PAGE, Advice::Free), Err(MapError::BadArguments));
        let wipe = Advice::Set(AreaFlags::WIPE_ON_FORK, AreaFlags::empty());
        assert_eq!(advise(AT, 3 * PAGE, wipe), Err(MapError::BadArguments));
        assert_eq!(advise(AT, 2 * PAGE, wipe), Ok(()));
        assert_eq!(advise(AT, 2 * PAGE, Advice::Populate(Access::WRITE)), Ok(()));
        m.finish(s);
        assert_eq!(m.memory.resident(s, AT, 3 * PAGE), Ok(vec![true, true, false]));
        assert_eq!(m.memory.space_usage(s).unwrap().resident, 2);
        assert_eq!(m.memory.resident(s, AT, 4 * PAGE), Err(MapError::NotMapped));
    });
}

#[test]
fn a_space_has_at_most_so_many_areas() {
    let mut m = Machine::new(FORMATS[0], 64, 0);
    let s = m.space();
    let reserve = |at: u64, access: Access| {
        let mut r = MapRequest::anonymous(Placement::Fixed(at), PAGE, access);
        r.flags = AreaFlags::NO_RESERVE;
        r
    };
    for n in 0..65_530 {
        m.map(s, &reserve(AT + 2 * n * PAGE, Access::READ)).unwrap();
    }
    let next = AT + 2 * 65_530 * PAGE;
    assert_eq!(m.map(s, &reserve(next, Access::READ)), Err(MapError::TooManyAreas));
    m.unmap(s, AT, PAGE).unwrap();
    let mut wide = reserve(next, Access::empty());
    wide.len = 3 * PAGE;
    m.map(s, &wide).unwrap();
    assert_eq!(m.unmap(s, next + PAGE, PAGE), Err(MapError::TooManyAreas));
    assert_eq!(m.protect(s, (next, PAGE), RW), Err(MapError::TooManyAreas));
    assert_eq!(m.unmap(s, next, PAGE), Ok(()));
    // All at once, in steps.
    assert_eq!(m.unmap(s, AT, 3 * 65_530 * PAGE), Ok(()));
    assert_eq!(m.memory.areas(s).unwrap().count(), 0);
}

#[test]
fn a_fault_that_asks_for_nothing_leaves_nothing() {
    both(|mut m| {
        let s = m.space();
        m.map_at(s, AT, 1, Access::empty());
        let fault = m.memory.fault(&mut m.hw, s, AT, Access::empty());
        assert_eq!(fault, Err(FaultError::Denied));
        m.memory.destroy_space(s);
        m.settle();
        assert_eq!(m.used(), 0);
    });
}

fn hostile() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..64u32).prop_map(|bit| 1 << bit),
        (0..64u32).prop_map(|bit| (1u64 << bit).wrapping_neg()),
        (0..16u64).prop_map(|n| n * PAGE),
        (0..16u64).prop_map(|n| (n * PAGE).wrapping_neg()),
        (0..16u64).prop_map(|n| LAYOUT.end.wrapping_add(n * PAGE).wrapping_sub(8 * PAGE)),
        (0..8u64).prop_map(|n| AT + n * PAGE),
    ]
}

proptest! {
    #[test]
    fn hostile_arguments_are_refused_by_name(
        calls in prop::collection::vec((0..9u8, hostile(), hostile(), hostile(), hostile()), 1..60),
    ) {
        for format in FORMATS {
            let mut m = Machine::new(format, 512, 8);
            let s = m.space();
            m.memory.set_heap_start(s, AT + 4 * PAGE).unwrap();
            let object = m.memory.store(&mut m.hw).create(3 * PAGE).unwrap();
            for &(call, a, b, c, d) in &calls {
                let access = Access::from_bits_truncate(d as u8);
                match call {
                    0 => {
                        let mut r = MapRequest::anonymous(Placement::Fixed(a), b, access);
                        if c % 2 == 0 {
                            r.backing = Backing::Object { object, offset: c };
                            r.sharing = if d % 2 == 0 { Sharing::Shared } else { Sharing::Private };
                        }
                        // A space of any size takes no more memory than its areas.
                        let _ = m.memory.map(&mut m.hw, s, &r);
                    }
                    1 => { let _ = m.memory.unmap(&mut m.hw, s, a, b); }
                    2 => { let _ = m.memory.protect(&mut m.hw, s, a, b, access); }
                    3 => {
                        let to = if d % 2 == 0 { Relocation::MoveTo(d) } else { Relocation::MayMove };
                        let keep = if d % 3 == 0 { OldRange::Kept } else { OldRange::Unmapped };
                        let _ = m.memory.remap(&mut m.hw, s, (a, b), c, to, keep);
                    }
                    4 => { let _ = m.memory.brk(&mut m.hw, s, a); }
                    5 => { let _ = m.memory.advise(&mut m.hw, s, a, b, Advice::DontNeed); }
                    6 => { let _ = m.memory.check_mapped(s, a, b); }
                    7 => { let _ = m.memory.fault(&mut m.hw, s, a, access); }
                    _ => {
                        let mut store = m.memory.store(&mut m.hw);
                        let _ = store.truncate(object, a);
                        let _ = store.write(object, b, &[1; 9]);
                        let _ = store.read(object, c, &mut [0; 9]);
                    }
                }
                prop_assert_eq!(m.hw.violation(), None);
            }
            m.memory.destroy_space(s);
            m.memory.store(&mut m.hw).release(object);
            m.settle();
            prop_assert_eq!(m.used(), 0);
        }
    }
}
