//! What a space takes along when its process goes to another instance.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;

use maize_abi::PAGE_SIZE;
use maize_hal::Frame;

use crate::object::{Found, Role};
use crate::{Area, Memory, ObjectId, SpaceId};

const PAGE: u64 = PAGE_SIZE as u64;

/// Where pages come from that a space has not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// They are zero.
    Zero,
    /// They are a range of the root image: start and bytes.
    Image(u64, u64),
    /// They are this file's, which differs from the image.
    File(ObjectId),
}

impl Memory {
    /// Where pages of an area come from that its space has not written.
    #[must_use]
    pub fn origin(&self, area: &Area) -> Origin {
        match self.objects.base(area.object) {
            None => Origin::Zero,
            Some(file) => match self.pristine_image(file) {
                Some((start, len)) => Origin::Image(start, len),
                None => Origin::File(file),
            },
        }
    }

    /// Pages of an area that its space wrote, addresses and frames, from address `from` on; looks at
    /// up to `most` and says where to go on. All of the space's pages must be here.
    #[must_use]
    pub fn written_pages(
        &self,
        area: &Area,
        from: u64,
        most: usize,
    ) -> (Vec<(u64, Frame)>, Option<u64>) {
        let indices = area.index(from.max(area.start))..area.first + area.pages();
        let base = self.objects.base(area.object);
        let mut known = BTreeSet::new();
        let mut at = Some(area.object);
        while let Some(object) = at.and_then(|id| self.objects.get(id)) {
            if matches!(object.role, Role::File { .. }) {
                break;
            }
            // Of each as many as can be among the first of all, and one to go on with.
            known.extend(object.pages.range(indices.clone()).take(most + 1).map(|(i, _)| i));
            at = object.parent;
        }
        let address = |index: &u64| area.start + (index - area.first) * PAGE;
        let written = known.iter().take(most).filter_map(|index| {
            let Found::Here(owner, copy) = self.objects.find(area.object, *index) else {
                return None;
            };
            (Some(owner) != base).then(|| (address(index), copy.frame))
        });
        (written.collect(), known.iter().nth(most).map(address))
    }

    /// Sets where a space's heap is, for one that is made like another.
    pub fn set_heap_range(&mut self, id: SpaceId, heap: Range<u64>) {
        if let Some(space) = self.spaces.get_mut(&id) {
            space.heap = heap;
        }
    }
}
