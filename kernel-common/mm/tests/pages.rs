//! Pages that are short, shared with other instances, or files': pressure, the page protocol's
//! door, and the file system's.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod machine;

use maize_abi::pte::Access;
use maize_hal::PhysMemory;
use maize_mm::{
    Backing, FaultError, FaultOutcome, MapError, MapRequest, NeedPage, ObjectId, PageStore,
    Placement, Resolved, Sharing, SpaceId, StoreError,
};

use machine::{FORMATS, Machine, PAGE, RW, image_byte};

const AT: u64 = 0x20_0000;

fn map_object(
    m: &mut Machine,
    s: SpaceId,
    at: u64,
    object: ObjectId,
    pages: u64,
    sharing: Sharing,
) {
    let request = MapRequest {
        backing: Backing::Object { object, offset: 0 },
        sharing,
        ..MapRequest::anonymous(Placement::Fixed(at), pages * PAGE, RW)
    };
    assert_eq!(m.map(s, &request), Ok(at));
}

fn image_word(at: u64) -> u64 {
    u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|n| image_byte(at + n)))
}

#[test]
fn a_program_that_uses_up_memory_is_told_and_the_kernel_has_its_reserve() {
    for format in FORMATS {
        let mut m = Machine::new(format, 64, 8);
        let s = m.space();
        m.map_at(s, AT, 60, RW);
        let stored = (0..60).take_while(|n| m.store(s, AT + n * PAGE, *n).is_ok()).count() as u64;
        assert!((48..56).contains(&stored), "{stored} pages");
        assert_eq!(m.store(s, AT + stored * PAGE, 1), Err(FaultError::OutOfMemory));
        assert_eq!(m.memory.usage().free, 8);
        assert_eq!(m.memory.fork_space(&mut m.hw, s), Err(MapError::OutOfMemory));
        for n in 0..stored {
            assert_eq!(m.load(s, AT + n * PAGE), Ok(n));
        }
        m.unmap(s, AT, PAGE).unwrap();
        assert_eq!(m.store(s, AT + stored * PAGE, 1), Ok(()), "freed pages are found again");
        m.exit(s);
        assert_eq!(m.used(), 0);
    }
}

#[test]
fn clean_pages_of_the_image_make_room() {
    for format in FORMATS {
        let mut m = Machine::new(format, 48, 4);
        let s = m.space();
        let object = m.memory.store(&mut m.hw).create_from_image(16, 15 * PAGE).unwrap();
        map_object(&mut m, s, AT, object, 15, Sharing::Shared);
        for n in 0..15 {
            assert_eq!(m.load(s, AT + n * PAGE), Ok(image_word(16 + n * PAGE)));
        }
        // One is written and has to stay.
        m.store(s, AT + 3 * PAGE, 33).unwrap();
        assert_eq!(m.memory.usage().reclaimable, 14);
        let heap = AT + 0x100 * PAGE;
        m.map_at(s, heap, 35, RW);
        for n in 0..35 {
            assert_eq!(m.store(s, heap + n * PAGE, n), Ok(()), "page {n}");
        }
        assert!(m.memory.usage().reclaimable < 14);
        for n in 0..15 {
            let expected = if n == 3 { 33 } else { image_word(16 + n * PAGE) };
            assert_eq!(m.load(s, AT + n * PAGE), Ok(expected));
        }
        for n in 0..35 {
            assert_eq!(m.load(s, heap + n * PAGE), Ok(n));
        }
    }
}

#[test]
fn a_file_read_written_and_mapped_is_one() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let (a, b) = (m.space(), m.space());
        let object = m.memory.store(&mut m.hw).create(3 * PAGE).unwrap();
        map_object(&mut m, a, AT, object, 4, Sharing::Shared);
        map_object(&mut m, b, AT + PAGE, object, 4, Sharing::Private);
        m.store(a, AT + PAGE, 7).unwrap();
        assert_eq!(m.load(b, AT + 2 * PAGE), Ok(7));
        let mut store = m.memory.store(&mut m.hw);
        assert_eq!(store.write(object, PAGE, &8u64.to_le_bytes()), Ok(8));
        assert_eq!([m.load(a, AT + PAGE), m.load(b, AT + 2 * PAGE)], [Ok(8), Ok(8)]);
        m.store(b, AT + 2 * PAGE, 9).unwrap();
        let mut word = [0; 8];
        assert_eq!(m.memory.store(&mut m.hw).read(object, PAGE, &mut word), Ok(8));
        assert_eq!(u64::from_le_bytes(word), 8);
        // The end of the file.
        assert_eq!(m.load(a, AT + 3 * PAGE), Err(FaultError::PastEnd));
        m.memory.store(&mut m.hw).truncate(object, PAGE).unwrap();
        assert_eq!(m.load(a, AT + PAGE), Err(FaultError::PastEnd));
        assert_eq!(m.load(b, AT + 2 * PAGE), Err(FaultError::PastEnd));
        m.memory.store(&mut m.hw).truncate(object, 4 * PAGE).unwrap();
        assert_eq!([m.load(a, AT + PAGE), m.load(b, AT + 2 * PAGE)], [Ok(0), Ok(0)]);
        // Unlinked and closed, it lives as long as it is mapped.
        m.memory.store(&mut m.hw).release(object);
        m.store(a, AT, 3).unwrap();
        assert_eq!(m.load(b, AT + PAGE), Ok(3));
        m.exit(a);
        m.exit(b);
        assert_eq!((m.used(), m.memory.usage().objects), (0, 0));
        assert_eq!(m.memory.store(&mut m.hw).len(object), Err(StoreError::NoObject));
    }
}

#[test]
fn the_image_s_files_end_where_they_end() {
    let mut m = Machine::new(FORMATS[1], 256, 8);
    let mut store = m.memory.store(&mut m.hw);
    assert_eq!(store.create_from_image(0x1_0000, 1), Err(StoreError::TooLarge));
    assert_eq!(store.create_from_image(u64::MAX, 2), Err(StoreError::TooLarge));
    let object = store.create_from_image(0, 100).unwrap();
    let mut bytes = [1; 200];
    assert_eq!(store.read(object, 0, &mut bytes), Ok(100));
    assert!((0..100).all(|n| bytes[n as usize] == image_byte(n)) && bytes[100] == 1);
    // Cut and grown again, what was cut is gone.
    store.truncate(object, 50).unwrap();
    store.truncate(object, PAGE * 2).unwrap();
    let mut bytes = [1; 200];
    assert_eq!(store.read(object, 0, &mut bytes), Ok(200));
    assert!((0..50).all(|n| bytes[n as usize] == image_byte(n)));
    assert_eq!(bytes[50..], [0; 150]);
    assert_eq!(store.write(object, u64::MAX - 3, &[0; 8]), Err(StoreError::TooLarge));
}

#[test]
fn a_page_taken_away_is_gone_from_every_space_and_asked_for() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let (a, b) = (m.space(), m.space());
        let object = m.memory.store(&mut m.hw).create(2 * PAGE).unwrap();
        map_object(&mut m, a, AT, object, 2, Sharing::Shared);
        map_object(&mut m, a, AT + 8 * PAGE, object, 2, Sharing::Shared);
        map_object(&mut m, b, AT, object, 2, Sharing::Private);
        m.store(a, AT, 5).unwrap();
        assert_eq!([m.load(a, AT + 8 * PAGE), m.load(b, AT)], [Ok(5), Ok(5)]);
        // Read-only first: stores have to ask.
        let generation = m.memory.generation(object).unwrap();
        let frame = m.memory.protect_page_everywhere(&mut m.hw, object, 0, Access::READ).unwrap();
        assert_eq!(m.hw.violation(), None);
        assert_ne!(m.memory.generation(object), Some(generation));
        assert_eq!(m.load(a, AT), Ok(5));
        let need = |access| NeedPage { object, index: 0, access };
        let fault = m.memory.fault(&mut m.hw, a, AT, Access::WRITE);
        assert_eq!(fault, Ok(FaultOutcome::NeedPage(need(Access::WRITE))));
        // Then gone.
        assert_eq!(m.memory.unmap_page_everywhere(&mut m.hw, object, 0), Some(frame));
        assert_eq!(m.hw.violation(), None);
        for (space, va) in [(a, AT), (a, AT + 8 * PAGE), (b, AT)] {
            let fault = m.memory.fault(&mut m.hw, space, va, Access::READ);
            assert_eq!(fault, Ok(FaultOutcome::NeedPage(need(Access::READ))));
        }
        let resolved = m.memory.resolve(&mut m.hw, a, AT + 3, Access::READ);
        assert_eq!(resolved, Ok(Resolved::NeedPage(need(Access::READ))));
        // And back with another content.
        m.hw.write(frame, 0, &6u64.to_le_bytes());
        m.memory.install_page(&mut m.hw, object, 0, (frame, RW)).unwrap();
        assert_eq!([m.load(a, AT), m.load(b, AT)], [Ok(6), Ok(6)]);
        m.store(a, AT + 8 * PAGE, 8).unwrap();
        assert_eq!(m.load(a, AT), Ok(8));
        // A second copy replaces the first.
        let other = m.memory.frames().allocate().unwrap();
        m.hw.zero_frame(other);
        m.memory.install_page(&mut m.hw, object, 0, (other, Access::READ)).unwrap();
        assert_eq!(m.hw.violation(), None);
        assert_eq!([m.load(a, AT), m.load(b, AT)], [Ok(0), Ok(0)]);
        assert_eq!(m.memory.page(object, 0), Some((other, Access::READ)));
        m.memory.store(&mut m.hw).release(object);
        m.exit(a);
        m.exit(b);
        assert_eq!(m.used(), 0);
    }
}

#[test]
fn a_private_page_under_a_hidden_one_is_left_alone() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let s = m.space();
        let object = m.memory.store(&mut m.hw).create(PAGE).unwrap();
        map_object(&mut m, s, AT, object, 1, Sharing::Private);
        m.store(s, AT, 4).unwrap();
        m.memory.unmap_page_everywhere(&mut m.hw, object, 0);
        assert_eq!(m.load(s, AT), Ok(4));
    }
}

#[test]
fn an_object_of_another_instance_asks_for_every_page() {
    let mut m = Machine::new(FORMATS[0], 256, 8);
    let s = m.space();
    let object = ObjectId { home: 9, serial: 77 };
    m.memory.create_replica(object, 2 * PAGE).unwrap();
    assert_eq!(m.memory.create_replica(object, PAGE), Err(MapError::Occupied));
    map_object(&mut m, s, AT, object, 3, Sharing::Shared);
    let need = NeedPage { object, index: 1, access: Access::READ };
    let fault = m.memory.fault(&mut m.hw, s, AT + PAGE, Access::READ);
    assert_eq!(fault, Ok(FaultOutcome::NeedPage(need)));
    assert_eq!(m.load(s, AT + 2 * PAGE), Err(FaultError::PastEnd));
}

#[test]
fn the_door_goes_where_the_program_goes() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let s = m.space();
        m.map_at(s, AT, 1, Access::READ);
        let mut resolve = |va, access| m.memory.resolve(&mut m.hw, s, va, access);
        assert!(matches!(resolve(AT + 123, Access::READ), Ok(Resolved::At(_, 123))));
        assert_eq!(resolve(AT, Access::WRITE), Err(FaultError::Denied));
        assert_eq!(resolve(AT + PAGE, Access::READ), Err(FaultError::NoMapping));
        for va in [machine::LAYOUT.end, 1 << 48, 1 << 63, !0, 0xffff_8000_0000_0000] {
            assert_eq!(resolve(va, Access::READ), Err(FaultError::NoMapping), "{va:#x}");
        }
    }
}
