//! The stamp: the first word of a frame, stored last.
//!
//! | bits | meaning |
//! |---|---|
//! | 0-31 | index of the frame's first slot, modulo 2³² |
//! | 32-47 | slots of the frame, at least 1 |
//! | 48-63 | the session's tag |

use crate::Corrupt;

/// The stamp of a slot in which nothing has been published. No frame has it: it has no slots.
pub(crate) const EMPTY: u64 = 0;

/// Slots of the largest frame that a stamp can describe.
pub(crate) const MAX_SLOTS: usize = u16::MAX as usize;

/// The bits of a stamp that are the index.
pub(crate) const INDEX: u64 = 0xffff_ffff;

#[inline]
pub(crate) fn stamp(index: u64, slots: u16, tag: u16) -> u64 {
    (index & INDEX) | u64::from(slots) << 32 | u64::from(tag) << 48
}

/// The slots of the frame whose stamp this is, if it is the frame that is due.
#[inline]
pub(crate) fn slots_of(
    found: u64,
    index: u64,
    tag: u16,
    largest_frame: usize,
) -> Result<usize, Corrupt> {
    let expected = stamp(index, 0, tag);
    let slots = ((found >> 32) & 0xffff) as u16;
    if found & !(0xffff << 32) != expected {
        Err(Corrupt::Stamp { expected, found })
    } else if slots == 0 || usize::from(slots) > largest_frame {
        Err(Corrupt::Slots(slots))
    } else {
        Ok(usize::from(slots))
    }
}
