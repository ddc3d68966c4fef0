//! Names of objects and pages between instances.

use maize_coherence::{ObjectId as Object, PageKey};
use maize_mm::ObjectId;

/// Bits of an object's serial number, and of the upper part of a page's index, in a name. Indices
/// are page numbers of an address space, which do not fit the 32 bits that the protocol has.
const SERIAL_BITS: u32 = 48;
const SEGMENT_BITS: u32 = 6;

/// Pages of a segment of an object, which is an object of its own to the protocol.
pub(crate) const SEGMENT: u64 = 1 << 32;

/// The segment that holds page `index` of an object, and the index in it. `None` for what cannot
/// be named.
pub(crate) fn segment(object: ObjectId, index: u64) -> Option<(Object, u32)> {
    let (segment, rest) = (index / SEGMENT, (index % SEGMENT) as u32);
    let home = u64::from(object.home);
    if object.serial >> SERIAL_BITS != 0
        || segment >> SEGMENT_BITS != 0
        || home >> (64 - SERIAL_BITS - SEGMENT_BITS) != 0
    {
        return None;
    }
    let name = home << (SERIAL_BITS + SEGMENT_BITS) | segment << SERIAL_BITS | object.serial;
    Some((Object(name), rest))
}

/// The page that a name stands for.
pub(crate) fn page_of(key: PageKey) -> (ObjectId, u64) {
    let segment = key.object.0 >> SERIAL_BITS & ((1 << SEGMENT_BITS) - 1);
    (object_of(key.object), segment * SEGMENT + u64::from(key.index))
}

/// The object that a segment belongs to.
pub(crate) fn object_of(segment: Object) -> ObjectId {
    ObjectId {
        home: (segment.0 >> (SERIAL_BITS + SEGMENT_BITS)) as u16,
        serial: segment.0 & ((1 << SERIAL_BITS) - 1),
    }
}

/// The segments of an object.
pub(crate) fn segments(object: ObjectId) -> impl Iterator<Item = Object> {
    (0..1_u64 << SEGMENT_BITS).filter_map(move |n| segment(object, n * SEGMENT).map(|(s, _)| s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_pages_apart() {
        let object = ObjectId { home: 15, serial: 9 };
        for index in [0, 1, SEGMENT - 1, SEGMENT, (1 << 35) - 1, (1 << 38) - 1] {
            let (object_name, rest) = segment(object, index).unwrap();
            let key = PageKey { object: object_name, generation: 3, index: rest };
            assert_eq!(page_of(key), (object, index));
        }
        assert!(segment(object, 1 << 38).is_none());
        assert!(segment(ObjectId { home: 1024, serial: 0 }, 0).is_none());
        assert!(segment(ObjectId { home: 0, serial: 1 << 48 }, 0).is_none());
        assert_eq!(segments(object).count(), 64);
    }
}
