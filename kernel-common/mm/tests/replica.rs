//! What spans several instances: pages that the protocol takes and brings, replicas of spaces.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![allow(dead_code, reason = "each test file uses another part of the machine")]

mod machine;

use maize_abi::pte::Access;
use maize_hal::PhysMemory;
use maize_mm::{
    Area, AreaFlags, FaultError, FaultOutcome, NeedPage, ObjectId, PageStore, Sharing, SpaceId,
};

use machine::{FORMATS, LAYOUT, Machine, PAGE, RW};

const AT: u64 = 0x20_0000;

/// The private object behind `va`, and its page there.
fn page_at(m: &Machine, s: SpaceId, va: u64) -> (ObjectId, u64) {
    let area = m.memory.area(s, va).unwrap();
    (area.object, area.index(va))
}

#[test]
fn a_space_whose_last_pages_were_taken_one_by_one_leaves_nothing() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let s = m.space();
        let top = LAYOUT.end - PAGE;
        m.map_at(s, top, 1, RW);
        m.store(s, top, 1).unwrap();
        let (object, index) = page_at(&m, s, top);
        let frame = m.memory.unmap_page_everywhere(&mut m.hw, object, index).unwrap();
        m.memory.frames().release(frame);
        m.exit(s);
        assert_eq!(m.used(), 0);
    }
}

#[test]
fn a_private_page_that_others_read_too_is_not_copied_but_asked_for() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let s = m.space();
        m.map_at(s, AT, 1, RW);
        m.store(s, AT, 3).unwrap();
        let (object, index) = page_at(&m, s, AT);
        m.memory.protect_page_everywhere(&mut m.hw, object, index, Access::READ).unwrap();
        assert_eq!(m.load(s, AT), Ok(3));
        let need = NeedPage { object, index, access: Access::WRITE };
        let fault = m.memory.fault(&mut m.hw, s, AT, Access::WRITE);
        assert_eq!(fault, Ok(FaultOutcome::NeedPage(need)));
        assert_eq!(m.memory.absent_pages(s, 0..LAYOUT.end, 9), [need]);
        assert_eq!(m.memory.absent_pages(s, 0..AT, 9), []);
        // The right to write comes back with the frame as it is.
        let (frame, _) = m.memory.page(object, index).unwrap();
        m.memory.install_page(&mut m.hw, object, index, (frame, Access::all())).unwrap();
        assert_eq!(m.store(s, AT, 4), Ok(()));
        assert_eq!(m.memory.absent_pages(s, 0..LAYOUT.end, 9), []);
        m.exit(s);
        assert_eq!(m.used(), 0);
    }
}

#[test]
fn a_page_is_made_as_its_program_would_see_it() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let parent = m.space();
        m.map_at(parent, AT, 2, RW);
        m.store(parent, AT, 7).unwrap();
        let child = m.fork(parent);
        assert_eq!(m.load(child, AT), Ok(7));
        let (object, index) = page_at(&m, child, AT);
        assert_eq!(m.memory.page(object, index), None, "it shows its ancestor's page");
        let frame = m.memory.materialise(&mut m.hw, object, index).unwrap().unwrap();
        assert_eq!(m.hw.violation(), None);
        // The child's own now: neither sees what the other stores.
        m.hw.write(frame, 0, &8_u64.to_le_bytes());
        assert_eq!([m.load(child, AT), m.load(parent, AT)], [Ok(8), Ok(7)]);
        m.store(child, AT, 9).unwrap();
        assert_eq!(m.memory.page(object, index).map(|(f, _)| f), Some(frame));
        // One that nobody touched is zero, and one that is there stays.
        let zero = m.memory.materialise(&mut m.hw, object, index + 1).unwrap();
        assert_ne!(zero, None);
        assert_eq!(m.memory.materialise(&mut m.hw, object, index + 1).unwrap(), zero);
        assert_eq!(m.load(child, AT + PAGE), Ok(0));
        m.exit(child);
        m.exit(parent);
        assert_eq!(m.used(), 0);
    }
}

#[test]
fn a_private_copy_of_a_file_is_made_of_the_file() {
    let mut m = Machine::new(FORMATS[0], 256, 8);
    let s = m.space();
    let file = m.memory.store(&mut m.hw).create_from_image(0, 2 * PAGE).unwrap();
    let request = maize_mm::MapRequest {
        backing: maize_mm::Backing::Object { object: file, offset: 0 },
        ..maize_mm::MapRequest::anonymous(maize_mm::Placement::Fixed(AT), 2 * PAGE, RW)
    };
    m.map(s, &request).unwrap();
    assert_eq!(m.memory.pristine_image(file), Some((0, 2 * PAGE)));
    let (object, index) = page_at(&m, s, AT);
    assert_eq!(m.memory.object_len(object), Some(2 * PAGE));
    m.memory.materialise(&mut m.hw, object, index).unwrap().unwrap();
    assert_eq!(m.load(s, AT).unwrap().to_le_bytes()[1], machine::image_byte(1));
    m.store(s, AT, 5).unwrap();
    assert_eq!(m.memory.pristine_image(file), Some((0, 2 * PAGE)), "the file is as it was");
    m.memory.store(&mut m.hw).write(file, 0, &[1]).unwrap();
    assert_eq!(m.memory.pristine_image(file), None);
}

#[test]
fn a_replica_forgets_areas_and_its_objects_keep_their_pages() {
    for format in FORMATS {
        let mut m = Machine::new(format, 256, 8);
        let s = m.space();
        let object = ObjectId { home: 9, serial: 5 };
        m.memory.create_replica(object, 8 * PAGE).unwrap();
        let area = |start: u64, pages: u64, first| Area {
            start,
            end: start + pages * PAGE,
            access: RW,
            may: RW,
            sharing: Sharing::Shared,
            flags: AreaFlags::empty(),
            object,
            first,
            label: None,
        };
        assert_eq!(m.load(s, AT), Err(FaultError::NoMapping));
        m.memory.add_replica_area(&mut m.hw, s, area(AT, 4, 0));
        let frame = m.memory.page_frame(&mut m.hw).unwrap();
        m.hw.zero_frame(frame);
        m.memory.install_page(&mut m.hw, object, 1, (frame, RW)).unwrap();
        m.store(s, AT + PAGE, 6).unwrap();
        // Any part of an area takes all of it.
        m.memory.forget_areas(s, AT + 2 * PAGE..AT + 3 * PAGE);
        m.finish(s);
        assert_eq!(m.load(s, AT + PAGE), Err(FaultError::NoMapping));
        // What is told of again may be in the way of something older.
        m.memory.add_replica_area(&mut m.hw, s, area(AT, 2, 0));
        m.memory.add_replica_area(&mut m.hw, s, area(AT + PAGE, 4, 1));
        m.finish(s);
        assert_eq!(m.load(s, AT + PAGE), Ok(6));
        // One beyond user space is not taken in.
        m.memory.add_replica_area(&mut m.hw, s, area(LAYOUT.end - PAGE, 2, 0));
        assert!(m.memory.area(s, LAYOUT.end - PAGE).is_none());
        m.memory.store(&mut m.hw).release(object);
        m.exit(s);
        assert_eq!(m.used(), 0);
    }
}

#[test]
fn the_area_of_a_fault_grows_the_stack_and_touches_no_page() {
    let mut m = Machine::new(FORMATS[1], 256, 8);
    let s = m.space();
    let mut request = maize_mm::MapRequest::anonymous(
        maize_mm::Placement::Fixed(LAYOUT.end - 2 * PAGE),
        2 * PAGE,
        RW,
    );
    request.flags = AreaFlags::GROWS_DOWN;
    m.map(s, &request).unwrap();
    let deep = LAYOUT.end - 20 * PAGE;
    let used = m.used();
    assert_eq!(m.memory.area_for(s, deep + 8, Access::WRITE).unwrap().start, deep);
    assert_eq!(m.memory.area_for(s, deep, Access::EXECUTE), Err(FaultError::Denied));
    assert_eq!(m.memory.area_for(s, AT, Access::READ), Err(FaultError::NoMapping));
    assert_eq!(m.used(), used);
}
